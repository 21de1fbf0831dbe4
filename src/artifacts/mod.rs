//! Artifact stores: a folder or a bucket of a cloud, where archives of code are put for containers to fetch.
//!
//! It puts files there and looks whether they are; it neither lists, reads nor deletes.

mod error;
mod location;
mod open;
mod store;
mod wire;

pub use error::ArtifactError;
pub use location::{Location, Place};
pub use open::Artifacts;
pub use store::ArtifactStore;
