//! Strict reading of layers that others made: decompression and tar.
//!
//! What Go's `compress/gzip` and `archive/tar` read is read the same way, or refused; there is no third
//! reading. Nothing is written anywhere.

mod decompress;
mod gzip;
mod header;
mod limits;
mod pax;
mod tar;
mod zstandard;

pub use decompress::{Decompressed, decompress};
pub use gzip::GzipError;
pub use limits::ReadLimits;
pub(super) use pax::CAPABILITY;
pub use tar::{TarEntry, TarError, TarKind, TarReader};
pub use zstandard::ZstdError;
