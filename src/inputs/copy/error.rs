//! Why files cannot be copied.

use crate::diagnostic::{Class, Diagnose};
use crate::image::filesystem::LookupError;
use crate::inputs::ignore::IgnoreError;
use crate::inputs::source::WalkError;
use crate::plan::files::{Blocked, NotNative};

/// Why a `COPY` or `ADD` cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The source is not there.
    #[error("`{source_path}` is not in {place}")]
    Missing {
        /// The source, as written.
        source_path: String,
        /// Where it was looked for: `the build context` or `stage x`.
        place: String,
        /// A path that is spelt nearly so.
        near: Option<String>,
        /// Whether the ignore file leaves it out.
        is_ignored: bool,
    },
    /// A path of the source cannot be followed.
    #[error("`{source_path}` cannot be followed")]
    Source {
        /// The source, as written.
        source_path: String,
        /// Why.
        #[source]
        source: LookupError,
    },
    /// A wildcard is malformed.
    #[error("wildcard `{0}` is malformed")]
    Wildcard(String),
    /// A pattern of `--exclude` or `--parents` is malformed.
    #[error(transparent)]
    Pattern(#[from] IgnoreError),
    /// The destination cannot be followed.
    #[error("destination `{destination}` cannot be followed")]
    Destination {
        /// The destination.
        destination: String,
        /// Why.
        #[source]
        source: LookupError,
    },
    /// A file would take a directory's place.
    #[error("a file cannot take the place of the directory `/{0}`")]
    FileOverDirectory(String),
    /// A directory would take the place of something else.
    #[error("a directory cannot take the place of `/{0}`, which is none")]
    DirectoryOverFile(String),
    /// A file of the context cannot be read.
    #[error(transparent)]
    Context(#[from] WalkError),
    /// An archive ends early or is damaged behind its first entry.
    #[error("archive `{path}` cannot be unpacked")]
    Archive {
        /// The archive, below the context's root.
        path: String,
        /// Why.
        #[source]
        source: crate::layer::read::TarError,
    },
    /// It is done, but not here.
    #[error(transparent)]
    NotNative(#[from] NotNative),
}

impl CopyError {
    /// The reason, when a backend could do it nevertheless.
    pub fn not_native(&self) -> Option<&str> {
        if let Self::NotNative(NotNative { reason }) = self { Some(reason) } else { None }
    }
}

impl From<Blocked> for CopyError {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::NoDirectory(path) => Self::DirectoryOverFile(path.to_string()),
            Blocked::Unknown(path) => NotNative::unknown(path.as_bytes()).into(),
        }
    }
}

impl Diagnose for CopyError {
    fn class(&self) -> Class {
        match self {
            Self::Context(error) => error.class(),
            Self::Archive { .. } | Self::NotNative(_) => Class::Failed,
            _ => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { is_ignored: true, source_path, .. } => {
                Some(format!("the ignore file leaves it out; add the line `!{source_path}`, or take its pattern out"))
            }
            Self::Missing { near: Some(near), .. } => Some(format!("there is `{near}`")),
            Self::Missing { .. } => Some("name a path below the root of the source".into()),
            Self::Source { .. } => Some("links are followed within the source; name what they lead to".into()),
            Self::Wildcard(_) => Some("close each `[`, and write `\\` before a literal one".into()),
            Self::Pattern(error) => error.hint(),
            Self::Destination { .. } | Self::FileOverDirectory(_) | Self::DirectoryOverFile(_) => {
                Some("choose another destination, or remove what is there first".into())
            }
            Self::Context(error) => error.hint(),
            Self::Archive { .. } => Some("mend the archive, or copy it as it is with `COPY`".into()),
            Self::NotNative(_) => None,
        }
    }
}
