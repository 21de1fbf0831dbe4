//! Why a source tree cannot be read.

use std::io;
use std::path::{Path, PathBuf};

use crate::diagnostic::{Class, Diagnose};
use crate::inputs::ignore::IgnoreError;

/// Why a source tree cannot be listed or hashed.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The root is not there or no directory.
    #[error("source root `{}` cannot be read", path.display())]
    Root {
        /// The root as it was given.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The root itself is among the folders to leave out.
    #[error("source root `{}` is a folder that Lapstrake itself writes to", path.display())]
    RootExcluded {
        /// The root.
        path: PathBuf,
    },
    /// A file, directory or link cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Unreadable {
        /// Where.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// A file changed while it was read.
    #[error("`{}` changed while it was read", path.display())]
    SourceChanged {
        /// The file.
        path: PathBuf,
    },
    /// The ignore rules cannot be followed.
    #[error(transparent)]
    Ignore(#[from] IgnoreError),
    /// The worker threads did not start.
    #[error("threads to hash the sources cannot be started")]
    Threads {
        /// The cause.
        #[source]
        source: rayon::ThreadPoolBuildError,
    },
}

impl WalkError {
    /// What a failed access to `path` means: a path that was listed and is gone has changed.
    pub(in crate::inputs) fn at(path: &Path, source: io::Error) -> Self {
        let path = path.into();
        if source.kind() == io::ErrorKind::NotFound {
            Self::SourceChanged { path }
        } else {
            Self::Unreadable { path, source }
        }
    }
}

impl Diagnose for WalkError {
    fn class(&self) -> Class {
        match self {
            Self::Root { .. } | Self::RootExcluded { .. } => Class::Usage,
            Self::Ignore(error) => error.class(),
            Self::Unreadable { .. } | Self::SourceChanged { .. } | Self::Threads { .. } => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Root { .. } => Some("name an existing folder as the source root".into()),
            Self::RootExcluded { .. } => Some("choose a cache and output folder outside the sources".into()),
            Self::Unreadable { .. } => Some("make it readable, or leave it out in `.dockerignore`".into()),
            Self::SourceChanged { .. } => Some("build again when nothing writes to the sources".into()),
            Self::Ignore(error) => error.hint(),
            Self::Threads { .. } => Some("raise the limit on processes, or ask for fewer threads".into()),
        }
    }
}
