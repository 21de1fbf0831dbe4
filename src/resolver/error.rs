//! What can go wrong between requirements and a lock.
//!
//! What uv says is shown whole; nothing here guesses at a reason that uv did not give.

use std::path::PathBuf;

use super::child::ChildError;
use super::download::FetchError;
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
    /// The requirements contradict each other or what there is.
    #[error("the requirements cannot be resolved\n{explanation}{}", listed(.sources))]
    Unsatisfiable {
        /// uv's explanation, whole.
        explanation: String,
        /// The requirements that it speaks of, each with the file that it stands in.
        sources: Vec<String>,
    },
    /// A requirement has no wheel, and building one is ruled out.
    #[error("a requirement has no usable wheel\n{explanation}{}", listed(.sources))]
    NoWheel {
        /// uv's explanation, whole.
        explanation: String,
        /// The requirements that it speaks of.
        sources: Vec<String>,
    },
    /// pip is to resolve and is not there.
    #[error("no `python3` on PATH has pip")]
    NoPip,
    /// The pip found is too old.
    #[error("pip {found} is older than {minimum}")]
    OldPip {
        /// Its version.
        found: String,
        /// The oldest that does.
        minimum: &'static str,
    },
    /// pip failed otherwise.
    #[error("pip failed\n{explanation}")]
    Pip {
        /// pip's messages, whole.
        explanation: String,
    },
    /// pip's report cannot be read.
    #[error("pip's report cannot be used: {reason}")]
    Report {
        /// What is wrong with it.
        reason: String,
    },
    /// A source does not build.
    #[error("`{requirement}` cannot be built into a wheel\n{explanation}")]
    Build {
        /// The requirement.
        requirement: String,
        /// What uv and the build backend say, the end of it.
        explanation: String,
    },
    /// A wheel that was built here is of no use in the image: it takes a backend.
    #[error("`{requirement}` {reason}")]
    NotForTarget {
        /// The requirement.
        requirement: String,
        /// What it builds and why that does not fit.
        reason: String,
    },
    /// A repository is named, and there is no git.
    #[error("`{url}` is a git repository, and `git` is not on PATH")]
    NoGit {
        /// The repository.
        url: String,
    },
    /// A repository does not give what is asked for.
    #[error("`{url}` cannot be checked out\n{explanation}")]
    Git {
        /// The repository, without credentials.
        url: String,
        /// What git says.
        explanation: String,
    },
    /// The source of a wheel cannot be fetched.
    #[error("a source cannot be fetched")]
    Fetch(#[from] FetchError),
    /// The runtime is going down.
    #[error("building a wheel was given up")]
    GivenUp,
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

impl ResolveError {
    /// Whether a backend, which runs on the image's own platform, would get on from here.
    pub fn takes_a_backend(&self) -> bool {
        matches!(self, Self::NotForTarget { .. })
    }
}

fn listed(sources: &[String]) -> String {
    sources.iter().map(|source| format!("\nrequired: {source}")).collect()
}

impl Diagnose for ResolveError {
    fn class(&self) -> Class {
        match self {
            Self::Decided { .. } | Self::SecretArgument { .. } => Class::Usage,
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
            Self::NoPip => "install it with `python3 -m ensurepip`, or set `python_package_installer: uv`".into(),
            Self::OldPip { .. } => "update it with `python3 -m pip install --upgrade pip`".into(),
            Self::Pip { .. } => "pip's words above name it: an argument or a line that it cannot read, an index out of reach".into(),
            Self::Report { .. } => "use another version of pip, or set `python_package_installer: uv`".into(),
            Self::NoPython => "install any Python 3, for instance with `uv python install`".into(),
            Self::Platform { .. } => "choose linux/amd64 or linux/arm64, or give the project a `pylock.toml`".into(),
            Self::Decided { argument } => format!("take `{argument}` out of `python_package_installer_args`"),
            Self::SecretArgument { .. } => {
                "give credentials in `index-url`, `extra-index-url`, the environment or a netrc file".into()
            }
            Self::NoWheel { .. } => {
                "require a version that has wheels, or allow building: take `no-build` and `only-binary` away".into()
            }
            Self::Build { .. } => {
                "install what the build misses on this machine, or require a version that has wheels".into()
            }
            Self::NotForTarget { .. } => {
                "require a version that has wheels for it, build one there and name its folder in `find-links`, or \
                 build the image on a machine like it"
                    .into()
            }
            Self::NoGit { .. } => "install git, or require a release instead of a repository".into(),
            Self::Git { .. } => "see that the address and the revision are right and that this machine may read it".into(),
            Self::Fetch(error) => return error.hint(),
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
            Self::Child(_) | Self::GivenUp => return None,
        })
    }
}
