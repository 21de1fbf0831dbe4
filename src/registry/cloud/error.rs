//! What can go wrong with a cloud's own credentials, and what to do about it.
//!
//! No variant holds a credential or a text of a server; of a URL only host and port are kept.

use std::path::PathBuf;

use super::super::helper_process::HelperError;
use crate::diagnostic::Diagnose;

/// Why a server of a cloud gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// The client cannot be set up.
    #[error("cannot set up TLS")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It cannot be talked to.
    #[error("`{host}` cannot be talked to")]
    Lost {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// It says nothing.
    #[error("`{host}` gave no answer within {seconds} s")]
    Silent {
        /// The host.
        host: String,
        /// How long.
        seconds: u64,
    },
    /// Its answer has no end.
    #[error("`{host}` answers with more than {cap} bytes")]
    TooLarge {
        /// The host.
        host: String,
        /// The limit.
        cap: usize,
    },
}

/// Why a cloud's own credential cannot be had, although there is a source for it.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// A file cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file is larger than any honest one.
    #[error("`{}` is larger than {cap} bytes", path.display())]
    FileTooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        cap: u64,
    },
    /// A file is not the JSON that it should be.
    #[error("`{}` has wrong JSON at line {line}, column {column}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// Something that has to be there is absent or unusable.
    #[error("`{of}` has no usable `{field}`")]
    Field {
        /// The file, the profile or the environment.
        of: String,
        /// What it lacks.
        field: &'static str,
    },
    /// There is no such profile.
    #[error("there is no profile `{0}` in the AWS files")]
    Profile(String),
    /// Profiles that refer to each other.
    #[error("profile `{0}` refers to itself over `source_profile`")]
    Loop(String),
    /// A way to a credential that is not known here.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// A session that has ended.
    #[error("the session of profile `{0}` has ended")]
    SessionEnded(String),
    /// The program that should print a credential is broken.
    #[error("the program of `credential_process` gave none")]
    Process(#[source] HelperError),
    /// An address that no credential may go to.
    #[error("the address `{place}` in `{of}` is neither https nor on this machine")]
    Plain {
        /// Host and port.
        place: String,
        /// The file or variable.
        of: String,
    },
    /// A server gave no answer.
    #[error(transparent)]
    Web(#[from] WebError),
    /// A server says no.
    #[error("`{host}` answers {status}{}", code.map(|code| format!(" ({code})")).unwrap_or_default())]
    Refused {
        /// Who.
        host: String,
        /// The HTTP status.
        status: u16,
        /// The error's code, when it is one that is known.
        code: Option<&'static str>,
    },
    /// An answer that holds no credential.
    #[error("the answer of `{host}` is not what it should be")]
    Junk {
        /// Who.
        host: String,
    },
    /// Nobody says who we are.
    #[error("no AWS identity was found for `{0}`")]
    NoIdentity(String),
}

impl Diagnose for CloudError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Refused { code: Some("ExpiredToken" | "ExpiredTokenException" | "invalid_grant"), .. } => {
                "the credential has ended; log in to the cloud again".to_owned()
            }
            Self::Refused { code: Some("RequestExpired" | "InvalidSignatureException"), .. } => {
                "check the secret, and that this machine's clock is right".to_owned()
            }
            Self::Refused { status: 400..=499, .. } => {
                "ask who runs the account for the right; LAPSTRAKE_CLOUD_CREDENTIALS=off does without this credential"
                    .to_owned()
            }
            Self::SessionEnded(profile) => format!("run `aws sso login --profile {profile}`"),
            Self::Unsupported(_) => {
                "let the cloud's own tool log in, and pass its token to `lapstrake login`".to_owned()
            }
            Self::NoIdentity(_) => {
                "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run with a role".to_owned()
            }
            Self::Web(_) | Self::Refused { .. } | Self::Junk { .. } => {
                "try again; to do without the clouds' own credentials, set LAPSTRAKE_CLOUD_CREDENTIALS=off".to_owned()
            }
            _ => "mend it, or take it away; a source that is there is never passed over".to_owned(),
        })
    }
}
