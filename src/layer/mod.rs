//! Layers: entries, the tar and gzip rules, the writer that makes a blob in one pass, the strict reader.
//!
//! Nothing here knows what the entries are for.

mod entry;
pub mod read;

pub use entry::{Entry, EntryKind, EntryPath, EntryPathError, PLACED_MTIME};
