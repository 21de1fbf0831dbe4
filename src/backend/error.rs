//! Why a backend made no image.
//!
//! What an instruction said before it failed is part of the error; secrets have been taken out of it.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::diagnostic::{Class, Diagnose};
use crate::dockerfile::DockerfileError;
use crate::inputs::ignore::IgnoreError;
use crate::inputs::source::WalkError;
use crate::registry::{KeychainError, RegistryError};
use crate::resolver::child::ChildError;

/// A backend that was asked and cannot be used, with the reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// Its name.
    pub name: String,
    /// Why not.
    pub reason: String,
}

/// Why a backend made no image.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// Nothing on this machine can build.
    #[error("no backend is at hand{}", listed(.tried))]
    NoneAtHand {
        /// All that were asked.
        tried: Vec<Tried>,
    },
    /// No backend may be used.
    #[error("backends are switched off")]
    SwitchedOff,
    /// The backend that was chosen cannot be used.
    #[error("backend `{name}` cannot be used: {reason}")]
    Unusable {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
    /// There is no backend of this name.
    #[error("there is no backend `{name}`")]
    Unknown {
        /// The name that was asked for.
        name: String,
        /// What can be asked for.
        known: Vec<String>,
    },
    /// An instruction failed.
    #[error("`{instruction}` failed in {backend}: {reason}{}", quoted(.lines))]
    Instruction {
        /// The backend.
        backend: String,
        /// The instruction, as the backend shows it.
        instruction: String,
        /// How it ended.
        reason: String,
        /// Its last lines.
        lines: Vec<String>,
    },
    /// The build failed otherwise: an image cannot be had or pushed, or the Dockerfile is wrong.
    #[error("{backend} could not build: {reason}{}", quoted(.lines))]
    Failed {
        /// The backend.
        backend: String,
        /// What it says.
        reason: String,
        /// Its last lines.
        lines: Vec<String>,
    },
    /// The backend cannot do what the segment needs.
    #[error("{backend} cannot build this: {what}")]
    Unable {
        /// The backend.
        backend: String,
        /// What it cannot do.
        what: String,
    },
    /// The private daemon did not start.
    #[error("`buildkitd` did not start{}", quoted(.lines))]
    Daemon {
        /// Its last lines.
        lines: Vec<String>,
    },
    /// The backend says that it is done, and does not say what it made.
    #[error("{backend} ended well and named no image digest")]
    NoDigest {
        /// The backend.
        backend: String,
    },
    /// A program breaks the protocol.
    #[error("{backend} answers outside the protocol: {what}")]
    Protocol {
        /// The backend.
        backend: String,
        /// What is wrong.
        what: String,
    },
    /// A program cannot be run to its end.
    #[error("{backend} cannot be run")]
    Run {
        /// The backend.
        backend: String,
        /// Why.
        #[source]
        source: ChildError,
    },
    /// A file of the build cannot be written.
    #[error("cannot write `{}`", path.display())]
    Scratch {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The ignore rules of a context make no sense.
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
    /// A context cannot be read.
    #[error(transparent)]
    Context(#[from] WalkError),
    /// What is to be built is no Dockerfile.
    #[error("the segment's Dockerfile cannot be read: {0}")]
    Dockerfile(Box<DockerfileError>),
    /// A login cannot be had.
    #[error(transparent)]
    Login(#[from] KeychainError),
    /// A registry's address cannot be used.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl From<DockerfileError> for BackendError {
    fn from(error: DockerfileError) -> Self {
        Self::Dockerfile(Box::new(error))
    }
}

fn listed(tried: &[Tried]) -> String {
    tried.iter().fold(String::new(), |mut text, Tried { name, reason }| {
        let _ = write!(text, "\n{name}: {reason}");
        text
    })
}

fn quoted(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = write!(text, "\n| {line}");
        text
    })
}

impl Diagnose for BackendError {
    fn class(&self) -> Class {
        match self {
            Self::Unknown { .. } => Class::Usage,
            Self::Ignore(error) => error.class(),
            Self::Context(error) => error.class(),
            Self::Dockerfile(error) => error.class(),
            Self::Login(error) => error.class(),
            Self::Registry(error) => error.class(),
            _ => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoneAtHand { .. } => "install BuildKit (`buildctl`, `buildkitd`, `runc`) or buildah, or point \
                                        `BUILDKIT_HOST` at a daemon; docs/guides/backends.md says how"
                .to_owned(),
            Self::SwitchedOff => {
                "leave away `--backend none` or `lapstrake.backend: none`, or write what needs one in \
                                  another way; `lapstrake plan` says of each instruction why it does"
                    .to_owned()
            }
            Self::Unusable { .. } => "mend it, or choose another with `--backend` or `lapstrake.backend`".to_owned(),
            Self::Unknown { known, .. } => format!("choose one of {}", known.join(", ")),
            Self::Instruction { reason, .. } if reason.contains("exec format error") => {
                "programs of another architecture run through emulation only; install QEMU's binfmt handlers on the \
                 backend's machine"
                    .to_owned()
            }
            Self::Instruction { .. } => "mend the instruction; what it said stands above".to_owned(),
            Self::Failed { .. } => "see what the backend says above; `--backend` chooses another".to_owned(),
            Self::Unable { .. } => "choose another backend with `--backend buildkit`".to_owned(),
            Self::Daemon { .. } => {
                "point `BUILDKIT_HOST` at a daemon that runs, or choose another backend with `--backend`".to_owned()
            }
            Self::NoDigest { .. } | Self::Protocol { .. } => {
                "docs/guides/backends.md says what a backend answers; report this to whoever maintains it".to_owned()
            }
            Self::Run { .. } => "see that the program can be run by hand".to_owned(),
            Self::Scratch { .. } => "see that the folder is yours and its disk has room".to_owned(),
            Self::Ignore(error) => return error.hint(),
            Self::Context(error) => return error.hint(),
            Self::Dockerfile(error) => return error.hint(),
            Self::Login(error) => return error.hint(),
            Self::Registry(error) => return error.hint(),
        })
    }
}
