//! `COPY` and `ADD`: which files they take, and where each goes, as BuildKit has it.
//!
//! Files are selected and placed on paper; nothing is written here, and nothing is fetched.

mod archive;
mod error;
mod layers;
mod place;
mod select;
mod sources;
mod wildcard;

pub use archive::{ArchiveReader, open_archive};
pub use error::CopyError;
pub use layers::{LayersError, SourceLayer, write_from_layers};
pub use select::{Selection, copy_from_context, copy_from_view};
