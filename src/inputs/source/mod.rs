//! The source tree: listed, hashed, and written as a layer or an archive.
//!
//! What belongs to the tree is decided by the ignore rules or the list of files that the caller gives; nothing is
//! known of git here.

mod archive;
mod content;
mod error;
mod layer;
mod listed;
mod root;
mod tree;
mod walk;

pub use archive::write_archive;
pub(super) use content::{head, open};
pub use error::WalkError;
pub(super) use layer::append_file;
pub use layer::{ParentDirectory, Placement, SourceLayerError, write_layer};
pub use listed::read_listed;
pub use root::zenml_root;
pub use tree::{LeftOut, Omission, SourceEntry, SourceKind, SourceTree};
pub(super) use walk::{Unhashed, digests, list, place};
pub use walk::{WalkOptions, walk};
