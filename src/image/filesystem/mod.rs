//! The index of an image's files: every path, and the contents of the few files that planning needs.
//!
//! Nothing is ever unpacked to disk here, and file contents in general are not kept.

mod capture;
mod codec;
mod layer_index;
mod libc;
mod lookup;
mod merge;
mod node;
mod read;
mod view;

pub use codec::CodecError;
pub use layer_index::{Change, LayerIndex};
pub use libc::Libc;
pub use lookup::{LookupError, ResolvedPath, Way};
pub use merge::MergeError;
pub(crate) use node::at_and_below;
pub use node::{Filesystem, Node, NodeKind, Origin};
pub use read::{IndexError, MetFile, visit_files};
pub use view::{Content, Found, Listing, Reached, View};
