//! The build context of a Dockerfile: its files with all permission bits, and layers of what was placed from it.
//!
//! What an instruction selects is decided by `copy`; nothing is hashed that nobody selects.

mod tree;
mod write;

pub use tree::ContextTree;
pub use write::write_files;
pub(super) use write::{append_bare, entry_of, write_frame};
