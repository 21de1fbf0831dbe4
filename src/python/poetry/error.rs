//! Why it is not known what Poetry would install.
//!
//! Each is a clause; none is a fault of the project alone.

use crate::diagnostic::Diagnose;

/// Why it is not known what Poetry would install.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoetryError {
    /// A file is no TOML, or not of Poetry's form.
    #[error("`{file}` cannot be read: {reason}")]
    Syntax {
        /// Which file.
        file: &'static str,
        /// What the reader says.
        reason: String,
    },
    /// The project has a table or a key whose meaning is not worked out.
    #[error("`{key}` of pyproject.toml decides what is installed")]
    Key {
        /// The key with its tables.
        key: String,
    },
    /// The lock is of a version that is not known.
    #[error("the lock has version {version}")]
    LockVersion {
        /// The version found.
        version: String,
    },
    /// The lock was made for another project file.
    #[error("the lock is older than pyproject.toml")]
    Stale,
    /// A group that is named is none of the project's.
    #[error("the project has no group `{name}`")]
    NoGroup {
        /// Its name.
        name: String,
    },
    /// An extra that is named is none of the project's.
    #[error("the project has no extra `{name}`")]
    NoExtra {
        /// Its name.
        name: String,
    },
    /// The interpreter is none that the project or a package is for.
    #[error("`{name}` is not for Python {python}, but for {versions}")]
    Python {
        /// The project or package.
        name: String,
        /// The interpreter's version.
        python: String,
        /// The constraint.
        versions: String,
    },
    /// A constraint or marker is not understood.
    #[error("`{text}` of `{name}` is not understood")]
    Unread {
        /// The dependency or package.
        name: String,
        /// The text.
        text: String,
    },
    /// A package comes from no index.
    #[error("`{name}` comes from a {kind}")]
    Place {
        /// The package.
        name: String,
        /// `git`, `url`, `file` or `directory`.
        kind: String,
    },
    /// A dependency has no package in the lock, or several that fit.
    #[error("which `{name}` of the lock is meant is not told by it")]
    Ambiguous {
        /// The dependency.
        name: String,
    },
    /// Groups and markers of the lock tell something else than its dependencies.
    #[error("the lock's groups and its dependencies disagree about `{name}`")]
    Disagreement {
        /// The first package that only one of them has.
        name: String,
    },
    /// A package has no file with a SHA-256.
    #[error("the lock has no file of `{name}` with a SHA-256")]
    NoHash {
        /// The package.
        name: String,
    },
}

impl Diagnose for PoetryError {}
