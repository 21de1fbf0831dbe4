//! The words of the OCI specifications: digests, media types, descriptors, documents, references.
//!
//! Nothing here talks to a registry or a disk.

mod descriptor;
mod digest;
pub mod media_type;
mod platform;

pub use descriptor::Descriptor;
pub use digest::{Algorithm, DiffId, Digest, DigestError, Digester};
pub use media_type::{Compression, MediaType};
pub use platform::{Platform, PlatformError};
