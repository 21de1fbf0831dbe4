//! Why an artifact store cannot be used.
//!
//! What a server says in an error is not shown, since it may repeat a secret; its status is.

use std::path::PathBuf;

use crate::diagnostic::{Class, Diagnose};
use crate::registry::KeychainError;

/// Why an artifact store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The text names no store.
    #[error("artifact store `{0}` is neither a folder nor a place in a cloud")]
    Form(String),
    /// The text holds what may be a secret, which is not repeated.
    #[error("the URI of the artifact store holds a user name, a query or a fragment")]
    Secret,
    /// The network is switched off.
    #[error("artifact store `{0}` is out of reach in offline mode")]
    Offline(String),
    /// A file or folder cannot be read or written.
    #[error("artifact store: cannot write `{}`", path.display())]
    Folder {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing says who we are.
    #[error("artifact store `{location}` needs an identity of {cloud}, and there is none")]
    NoIdentity {
        /// The store.
        location: String,
        /// The cloud.
        cloud: &'static str,
    },
    /// An identity that is there cannot be used.
    #[error(transparent)]
    Identity(#[from] KeychainError),
    /// A variable that the cloud's tools read is missing or makes no sense.
    #[error("artifact store `{location}`: {what}")]
    Setting {
        /// The store.
        location: String,
        /// What is wrong.
        what: String,
    },
    /// The cloud did not do what it was asked.
    #[error("artifact store `{location}`: {what}")]
    Refused {
        /// The store.
        location: String,
        /// What was met, such as `it answered with HTTP 403`.
        what: String,
    },
}

impl Diagnose for ArtifactError {
    fn class(&self) -> Class {
        match self {
            Self::Form(_) | Self::Secret | Self::Setting { .. } => Class::Usage,
            _ => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Form(_) => "write a folder, `s3://BUCKET/PATH`, `gs://BUCKET/PATH` or `az://CONTAINER/PATH`",
            Self::Secret => "write the address alone; identities come from the environment",
            Self::Offline(_) => "leave `--offline`, or set `allow_download_from_artifact_store: false`",
            Self::Folder { .. } => "see that the folder can be written and has room",
            Self::NoIdentity { cloud, .. } => match *cloud {
                "AWS" => "set `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, or log in with `aws sso login`",
                "Google" => "set `GOOGLE_APPLICATION_CREDENTIALS`, or run `gcloud auth application-default login`",
                _ => {
                    "set `AZURE_STORAGE_ACCOUNT_KEY`, `AZURE_STORAGE_SAS_TOKEN`, or the variables of a service principal"
                }
            },
            Self::Identity(error) => return error.hint(),
            Self::Setting { .. } => "set the variable as the cloud's own tools document it",
            Self::Refused { .. } => "see that the bucket is there and that the identity may write to it",
        };
        Some(text.to_owned())
    }
}
