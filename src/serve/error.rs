//! Why the server cannot start.
//!
//! What is wrong with a request is an answer to its sender, not an error of the server.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::diagnostic::Diagnose;
use crate::store::StoreError;

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on `{address}`")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// Another server has the folder.
    #[error("another server uses `{}`", root.display())]
    InUse {
        /// The folder.
        root: PathBuf,
    },
    /// The folder holds something else, or was made by a later version.
    #[error("`{}` is not a registry that this version can serve: its layout is `{found}`", root.display())]
    Layout {
        /// The folder.
        root: PathBuf,
        /// What its layout file says.
        found: String,
    },
    /// The file of users is not one.
    #[error("{} `{}` {reason}", place(*.line), path.display())]
    Passwords {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1; 0 when it is the whole.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// A file or folder cannot be used.
    #[error("cannot use the registry's files")]
    Storage {
        /// Why not.
        #[source]
        source: StoreError,
    },
}

fn place(line: usize) -> String {
    if line == 0 { "the file".to_owned() } else { format!("line {line} of") }
}

impl From<StoreError> for ServeError {
    fn from(source: StoreError) -> Self {
        Self::Storage { source }
    }
}

impl Diagnose for ServeError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Bind { .. } => Some("choose another port, or 0 for any free one".to_owned()),
            Self::InUse { .. } => Some("stop the other server, or serve another folder".to_owned()),
            Self::Layout { .. } => Some("choose an empty folder or a new name".to_owned()),
            Self::Passwords { .. } => Some("add users with `htpasswd -B FILE NAME`".to_owned()),
            Self::Random => None,
            Self::Storage { source } => source.hint(),
        }
    }
}
