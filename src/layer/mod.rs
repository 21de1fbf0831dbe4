//! Layers: entries, the tar and gzip rules, the writer that makes a blob in one pass, the strict reader.
//!
//! Nothing here knows what the entries are for.

mod entry;
mod error;
mod gzip;
mod headers;
mod inflate;
pub mod read;
mod sink;
pub(crate) mod tar;
mod writer;

pub use entry::{Entry, EntryKind, EntryPath, EntryPathError, PLACED_MTIME};
pub use error::{Found, LayerError};
pub use inflate::InflateError;
pub use writer::{FinishedLayer, LAYER_FORMAT, LayerBuffers, LayerWriter};
