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
    /// The folder cannot be used.
    #[error("cannot use the registry's folder")]
    Storage {
        /// Why not.
        #[source]
        source: StoreError,
    },
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
            Self::Storage { source } => source.hint(),
        }
    }
}
