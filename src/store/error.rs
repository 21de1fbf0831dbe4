//! What can go wrong with files that Lapstrake keeps.
//!
//! A damaged entry is not an error: it is removed and reported as absent.

use std::io;
use std::path::{Path, PathBuf};

use crate::diagnostic::Diagnose;
use crate::oci::Digest;

/// Why the store could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder could not be read or written.
    #[error("cannot {verb} `{}`", path.display())]
    Io {
        /// What was tried, as an infinitive.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The file system has no room, or the user no quota, for what has to be written.
    #[error("no space left for {} in `{}`", needed(*.need), path.display())]
    Full {
        /// Where it was to be written.
        path: PathBuf,
        /// How many bytes it takes, when known.
        need: Option<u64>,
    },
    /// A later version of Lapstrake made this store.
    #[error("store `{}` has layout {found}, this version reads up to {known}", path.display())]
    Newer {
        /// The store's root.
        path: PathBuf,
        /// The layout it has.
        found: u32,
        /// The layout that this version writes.
        known: u32,
    },
    /// The folder holds something else.
    #[error("`{}` is not a store: it holds `{found}`", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What was found in it.
        found: String,
    },
    /// A blob is larger than its reader allows.
    #[error("blob `{digest}` has {size} bytes, more than the {cap} allowed")]
    TooLarge {
        /// The blob.
        digest: Digest,
        /// Its size in bytes.
        size: u64,
        /// The reader's cap in bytes.
        cap: u64,
    },
    /// A record's kind is not one lower-case word.
    #[error("record kind `{0}` is not a word of lower-case letters, digits and dashes")]
    Kind(String),
}

fn needed(need: Option<u64>) -> String {
    need.map_or_else(|| "more bytes".to_owned(), |bytes| format!("{bytes} bytes"))
}

impl StoreError {
    pub(crate) fn io(verb: &'static str, path: &Path, source: io::Error) -> Self {
        Self::sized(verb, path, None, source)
    }

    pub(crate) fn sized(verb: &'static str, path: &Path, need: Option<u64>, source: io::Error) -> Self {
        if is_full(&source) {
            Self::Full { path: path.to_owned(), need }
        } else {
            Self::Io { verb, path: path.to_owned(), source }
        }
    }
}

/// Whether an error says that no room is left, on the disk or in a quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl Diagnose for StoreError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { path, source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                format!("make `{}` writable for this user, or choose another folder; the store's with `--store`", path.display())
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::ReadOnlyFilesystem => {
                "choose a folder on a writable file system; the store's with `--store`".to_owned()
            }
            Self::Full { .. } => {
                "free some space, for instance with `lapstrake cache prune`, or choose another folder; the store's with `--store`"
                    .to_owned()
            }
            Self::Newer { .. } => "use that version, or choose another folder with `--store`".to_owned(),
            Self::Foreign { .. } => "choose an empty folder or a new name with `--store`".to_owned(),
            Self::Io { .. } | Self::TooLarge { .. } | Self::Kind(_) => return None,
        })
    }
}
