//! What can go wrong between requirements and a lock.
//!
//! What uv says is shown whole; nothing here guesses at a reason that uv did not give.

use std::path::PathBuf;

use super::child::ChildError;
use crate::diagnostic::{Class, Diagnose};
use crate::python::lock::LockError;
use crate::store::StoreError;

/// Why there is no lock.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No usable uv was found.
    #[error("`uv` is not on PATH")]
    NoUv {
        /// Why it could not be fetched either.
        #[source]
        source: Option<Box<ResolveError>>,
    },
    /// The uv that was named is not one.
    #[error("`{}` is not a usable uv", .program.display())]
    NotUv {
        /// The program.
        program: PathBuf,
        /// What running it did, when it could be run.
        #[source]
        source: Option<ChildError>,
    },
    /// The uv found is too old.
    #[error("`{}` is uv {found}, older than {minimum}", .program.display())]
    OldUv {
        /// The program.
        program: PathBuf,
        /// Its version.
        found: String,
        /// The oldest that does.
        minimum: &'static str,
    },
    /// uv is not fetched for this machine.
    #[error("uv is not fetched for {machine}, only for Linux on x86_64 and aarch64")]
    UvMachine {
        /// The machine.
        machine: String,
    },
    /// Fetching uv's wheel failed.
    #[error("uv cannot be fetched: {reason}")]
    UvFetch {
        /// What went wrong.
        reason: String,
    },
    /// The keyring was asked for and is not there.
    #[error("`keyring` is not on PATH, and `keyring-provider` asks for it")]
    NoKeyring,
    /// The host has no Python, which uv needs to resolve.
    #[error("uv found no Python on this machine, and resolving takes one of any version")]
    NoPython,
    /// uv has no name for the target.
    #[error("uv cannot resolve for {platform}")]
    Platform {
        /// The target's platform.
        platform: String,
    },
    /// An installer argument contradicts what the image decides.
    #[error("installer argument `{argument}` cannot be set: the image decides it")]
    Decided {
        /// The argument.
        argument: String,
    },
    /// An installer argument holds a credential where it would be seen.
    #[error("installer argument `{argument}` holds a credential, which other users of this machine would see")]
    SecretArgument {
        /// The argument.
        argument: String,
    },
    /// Wheels are refused by `no-binary`.
    #[error("installer argument `no-binary` asks for source distributions, and building those is not supported yet")]
    NoBinary,
    /// The requirements contradict each other or what there is.
    #[error("the requirements cannot be resolved\n{explanation}{}", listed(.sources))]
    Unsatisfiable {
        /// uv's explanation, whole.
        explanation: String,
        /// The requirements that it speaks of, each with the file that it stands in.
        sources: Vec<String>,
    },
    /// A requirement has no wheel.
    #[error("a requirement has no usable wheel, and building source distributions is not supported yet\n{explanation}{}", listed(.sources))]
    NoWheel {
        /// uv's explanation, whole.
        explanation: String,
        /// The requirements that it speaks of.
        sources: Vec<String>,
    },
    /// A file is not among those that a requirement allows.
    #[error("`{file}` has the hash `{found}`, which `{line}` does not allow")]
    Hash {
        /// The wheel.
        file: String,
        /// Its hash.
        found: String,
        /// The requirement, without its hashes.
        line: String,
        /// Whether the requirement has hashes of this kind.
        has_sha256: bool,
    },
    /// Hashes are required, and no requirement has one for a package.
    #[error("`{name}` {version} has no hash among the requirements, and hashes are required")]
    NoHash {
        /// The package.
        name: String,
        /// Its version.
        version: String,
    },
    /// uv announces a change in words that are not understood.
    #[error("uv says `{line}`, which is not understood here")]
    Change {
        /// uv's line.
        line: String,
    },
    /// uv would install a package and then does not lock it.
    #[error("uv would install `{name}` and gives no file for it")]
    Lost {
        /// The package.
        name: String,
    },
    /// uv failed otherwise.
    #[error("uv failed\n{explanation}")]
    Uv {
        /// uv's messages, whole.
        explanation: String,
    },
    /// uv's answer cannot be read.
    #[error("uv gave an answer that cannot be used")]
    Answer(#[source] LockError),
    /// A child process failed.
    #[error("resolving was cut short")]
    Child(#[from] ChildError),
    /// The store failed.
    #[error("the store failed while resolving")]
    Store(#[from] StoreError),
    /// A file for uv cannot be written.
    #[error("cannot write `{}`", .path.display())]
    Scratch {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn listed(sources: &[String]) -> String {
    sources.iter().map(|source| format!("\nrequired: {source}")).collect()
}

impl Diagnose for ResolveError {
    fn class(&self) -> Class {
        match self {
            Self::Decided { .. } | Self::SecretArgument { .. } | Self::NoBinary => Class::Usage,
            Self::Answer(error) => match error.class() {
                Class::Usage => Class::Failed,
                class => class,
            },
            _ => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoUv { .. } | Self::UvMachine { .. } | Self::UvFetch { .. } | Self::NotUv { .. } => {
                "install it with `pip install uv`, or give the project a `pylock.toml`, which needs no uv".into()
            }
            Self::OldUv { .. } => "update it with `pip install --upgrade uv` or `uv self update`".into(),
            Self::NoKeyring => "install it with `pip install keyring`, or give the password in another way".into(),
            Self::NoPython => "install any Python 3, for instance with `uv python install`".into(),
            Self::Platform { .. } => "choose linux/amd64 or linux/arm64, or give the project a `pylock.toml`".into(),
            Self::Decided { argument } => format!("take `{argument}` out of `python_package_installer_args`"),
            Self::SecretArgument { .. } => {
                "give credentials in `index-url`, `extra-index-url`, the environment or a netrc file".into()
            }
            Self::NoBinary => "take `no-binary` out of `python_package_installer_args`".into(),
            Self::NoWheel { .. } => {
                "require a version that has wheels, or build one with `pip wheel` and name its folder in `find-links`"
                    .into()
            }
            Self::Hash { has_sha256: false, .. } => "write a sha256 hash, the only kind that is compared".into(),
            Self::Hash { .. } => {
                "find out why the index has another file; if it is the one that you want, write its hash".into()
            }
            Self::NoHash { name, .. } => format!("add a line for `{name}` with its version and hash"),
            Self::Change { .. } | Self::Lost { .. } => {
                "use another version of uv, or give the project a `pylock.toml`, which needs no uv".into()
            }
            Self::Unsatisfiable { .. } => "loosen one of the requirements named above".into(),
            Self::Answer(error) => return error.hint(),
            Self::Store(error) => return error.hint(),
            Self::Uv { .. } => {
                "uv's words above name it: a line that it cannot read, an index out of reach, a cache folder (UV_CACHE_DIR) that is locked".into()
            }
            Self::Scratch { .. } => "see that there is room, and that the folder can be written".into(),
            Self::Child(_) => return None,
        })
    }
}
