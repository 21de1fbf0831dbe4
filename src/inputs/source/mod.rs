//! The source tree: listed, hashed, and written as a layer.
//!
//! What belongs to the tree is decided by the ignore rules that the caller gives; nothing is known of git here.

mod content;
mod error;
mod layer;
mod tree;
mod walk;

pub use error::WalkError;
pub use layer::{ParentDirectory, Placement, SourceLayerError, write_layer};
pub use tree::{LeftOut, Omission, SourceEntry, SourceKind, SourceTree};
pub use walk::{WalkOptions, walk};
