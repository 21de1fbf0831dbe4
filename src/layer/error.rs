//! What can go wrong while a layer is written.
//!
//! Nothing here says what the writer was for; the caller names the wheel or the source tree.

use std::fmt;
use std::io;

use super::EntryPath;
use super::inflate::InflateError;
use crate::diagnostic::{Class, Diagnose};

/// Why a layer cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    /// The content given by a reader or slice is not as long as the entry says.
    #[error("content of `{path}` is not the expected `{expected}` bytes but {found}")]
    ContentChanged {
        /// The entry.
        path: EntryPath,
        /// The entry's size.
        expected: u64,
        /// What there was instead.
        found: Found,
    },
    /// The content cannot be read.
    #[error("content of `{path}` cannot be read")]
    Read {
        /// The entry.
        path: EntryPath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The compressed content is not what the archive says.
    #[error("compressed content of `{path}` is not usable")]
    Inflate {
        /// The entry.
        path: EntryPath,
        /// Why.
        #[source]
        source: InflateError,
    },
    /// The layer's bytes cannot be written.
    #[error("layer cannot be written")]
    Write(#[source] io::Error),
    /// A symbolic link's target is empty or holds a NUL, which no file system can keep.
    #[error("target of symbolic link `{path}` is empty or holds a NUL")]
    LinkTarget {
        /// The link.
        path: EntryPath,
    },
    /// Content was given for an entry that has none, or none for a file that has some.
    #[error("content was given for `{path}` against its kind")]
    Kind {
        /// The entry.
        path: EntryPath,
    },
    /// An earlier entry failed, and the layer ends in the middle of it.
    #[error("layer was abandoned at an earlier error")]
    Abandoned,
}

/// How much content there was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This many bytes, fewer than expected.
    Fewer(u64),
    /// At least one byte more than expected.
    More,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fewer(bytes) => write!(f, "`{bytes}`"),
            Self::More => f.write_str("more"),
        }
    }
}

impl Diagnose for LayerError {
    fn class(&self) -> Class {
        match self {
            Self::Kind { .. } | Self::Abandoned => Class::Defect,
            _ => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::ContentChanged { .. } => "build again when nothing writes to the file",
            Self::Inflate { .. } => "get the archive again; its bytes are damaged or were made to mislead",
            Self::Write(_) => "check the space that is left where the layer is written",
            Self::LinkTarget { .. } => "remove the link or leave it out",
            Self::Read { .. } | Self::Kind { .. } | Self::Abandoned => return None,
        };
        Some(hint.to_owned())
    }
}
