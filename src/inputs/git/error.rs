//! Why git cannot tell about a folder.

use std::path::PathBuf;

use crate::diagnostic::Diagnose;
use crate::layer::EntryPathError;
use crate::resolver::child::ChildError;

/// Why git cannot tell about a folder.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The folder cannot be found.
    #[error("`{}` cannot be looked at", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The folder is in a checkout, and there is no program to ask.
    #[error("there is no `git` on `PATH`")]
    NoProgram,
    /// Git did not come to an end.
    #[error("git cannot be asked")]
    Child(#[from] ChildError),
    /// Git said no. What it said is shown without control sequences.
    #[error("`git {asked}` failed: {said}")]
    Refused {
        /// The command's name.
        asked: String,
        /// The last line of what it said.
        said: String,
    },
    /// Git's answer is of another form than its documentation says.
    #[error("the answer of `git {asked}` makes no sense")]
    Answer {
        /// The command's name.
        asked: &'static str,
    },
    /// A file has a name that no archive can hold.
    #[error("git names a file that cannot be packed")]
    Path(#[from] EntryPathError),
}

impl Diagnose for GitError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Folder { .. } => "name an existing folder as the source root".to_owned(),
            Self::NoProgram => "install git, or put it on `PATH`".to_owned(),
            Self::Refused { said, .. } if said.contains("safe.directory") || said.contains("dubious ownership") => {
                "the checkout belongs to somebody else; run as its owner, or add it to git's `safe.directory`"
                    .to_owned()
            }
            Self::Child(_) | Self::Refused { .. } | Self::Path(_) => {
                "see that `git status` works in the source root".to_owned()
            }
            Self::Answer { .. } => "use git 2.25 or later".to_owned(),
        })
    }
}
