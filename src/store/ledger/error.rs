//! What can go wrong with the ledger's file.
//!
//! What stands in the file is judged by others.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use super::record::BuildId;
use crate::diagnostic::{Class, Diagnose};

/// How many names an error lists.
const SHOWN: usize = 5;

/// Why the ledger could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file or its folder cannot be read or written.
    #[error("cannot {verb} the ledger `{}`", path.display())]
    Io {
        /// What was tried, as an infinitive.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The database refuses.
    #[error("cannot {verb} the ledger `{}`", path.display())]
    Database {
        /// What was tried, as an infinitive.
        verb: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rusqlite::Error,
    },
    /// The file may be read and not written.
    #[error("the ledger `{}` is read-only", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// No room is left for what has to be written.
    #[error("no space left for the ledger `{}`", path.display())]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// Other processes held it all the time.
    #[error("the ledger `{}` is in use by other processes, and did not become free", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A later version of Lapstrake made it.
    #[error("the ledger `{}` has layout {found}, this version reads up to {known}", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The layout it has.
        found: u32,
        /// The layout that this version writes.
        known: u32,
    },
    /// The file is something else.
    #[error("`{}` is not a ledger of builds", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file does not hold together.
    #[error("the ledger `{}` is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        #[source]
        source: rusqlite::Error,
    },
    /// A text can begin no build's name.
    #[error("`{0}` is not the name of a build")]
    NotAName(String),
    /// No build has this name, or one that begins so.
    #[error("no build `{0}` is in the ledger")]
    Unknown(String),
    /// Several builds' names begin so.
    #[error("`{prefix}` is the beginning of {}", listed(candidates))]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// Whose names begin with it.
        candidates: Vec<BuildId>,
    },
}

fn listed(candidates: &[BuildId]) -> String {
    let mut names: Vec<String> = candidates.iter().take(SHOWN).map(|id| format!("`{id}`")).collect();
    if candidates.len() > SHOWN {
        names.push("others".to_owned());
    }
    let last = names.pop().unwrap_or_default();
    if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) }
}

impl LedgerError {
    pub(super) fn io(verb: &'static str, path: &Path, source: io::Error) -> Self {
        if crate::store::error::is_full(&source) {
            Self::Full { path: path.to_owned() }
        } else {
            Self::Io { verb, path: path.to_owned(), source }
        }
    }

    pub(super) fn of_database(verb: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::DiskFull) => Self::Full { path },
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { path },
            Some(ErrorCode::NotADatabase) => Self::Foreign { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, source },
            _ => Self::Database { verb, path, source },
        }
    }

    /// Whether the file could only not be written.
    pub(super) fn is_unwritable(&self) -> bool {
        match self {
            Self::ReadOnly { .. } => true,
            Self::Database { source, .. } => source.sqlite_error_code() == Some(ErrorCode::CannotOpen),
            _ => false,
        }
    }
}

impl Diagnose for LedgerError {
    fn class(&self) -> Class {
        match self {
            Self::NotAName(_) | Self::Unknown(_) | Self::Ambiguous { .. } => Class::Usage,
            _ => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { .. } | Self::Database { .. } | Self::ReadOnly { .. } => {
                "name a file in a folder that this user may write with `LAPSTRAKE_LEDGER`, or do without: \
                 `LAPSTRAKE_LEDGER=off`"
                    .to_owned()
            }
            Self::Full { .. } => {
                "free some space, for instance with `lapstrake cache prune`, or name another file with \
                 `LAPSTRAKE_LEDGER`"
                    .to_owned()
            }
            Self::Busy { .. } => "run the command again".to_owned(),
            Self::Newer { .. } => "use that version, or name another file with `LAPSTRAKE_LEDGER`".to_owned(),
            Self::Foreign { .. } => "name another file with `LAPSTRAKE_LEDGER`".to_owned(),
            Self::Damaged { path, .. } => format!(
                "move `{}` away; `lapstrake builds sync REPOSITORY` brings back what registries know",
                path.display()
            ),
            Self::NotAName(_) => "a name has hexadecimal digits; `lapstrake builds list` shows them".to_owned(),
            Self::Unknown(_) => "`lapstrake builds list` shows what there is".to_owned(),
            Self::Ambiguous { .. } => "give more of its digits".to_owned(),
        })
    }
}
