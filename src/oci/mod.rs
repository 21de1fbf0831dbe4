//! The words of the OCI specifications: digests, media types, descriptors, documents, references.
//!
//! Nothing here talks to a registry or a disk.

mod config;
mod descriptor;
mod digest;
mod document;
mod index;
mod json;
mod manifest;
pub mod media_type;
mod platform;
mod raw;
mod reference;
mod sha256;

pub use config::{CONFIG_CAP, DEFAULT_PATH, HistoryEntry, ImageConfig};
pub use descriptor::{Descriptor, DescriptorError};
pub use digest::{Algorithm, DiffId, Digest, DigestError, Digester};
pub use document::{Document, DocumentError};
pub use index::Index;
pub use manifest::{MANIFEST_CAP, Manifest};
pub use media_type::{Compression, MediaType};
pub use platform::{Platform, PlatformError};
pub use raw::{Raw, Read};
pub use reference::{Reference, ReferenceError, ReferenceParts, Repository, is_tag};
