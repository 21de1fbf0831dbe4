//! What a use case works with: registries, the store, the resolver, and whoever watches.
//!
//! Handles only. What is to be done stands in the request.

use std::sync::Arc;

use crate::artifacts::Artifacts;
use crate::backend::Backends;
use crate::event::Reporter;
use crate::oci::Platform;
use crate::registry::Registry;
use crate::resolver::Resolver;
use crate::store::Store;

use super::once::Memory;
use super::traffic::Traffic;

/// The handles that every use case shares; cloning shares them.
#[derive(Clone)]
pub struct Means {
    /// All registries.
    pub registry: Arc<dyn Registry>,
    /// Opens artifact stores.
    pub artifacts: Arc<Artifacts>,
    /// The local store.
    pub store: Store,
    /// Chooses versions and fetches wheels.
    pub resolver: Arc<Resolver>,
    /// Build what only a Dockerfile can say.
    pub backends: Arc<Backends>,
    /// The text of the user's netrc file.
    pub netrc: Option<Arc<str>>,
    /// Takes events.
    pub reporter: Arc<dyn Reporter>,
    /// What this run found out and made.
    pub memory: Arc<Memory>,
    /// Counts bytes.
    pub traffic: Arc<Traffic>,
    /// What this machine runs; the platform of a build that names none.
    pub host_platform: Platform,
    /// How many threads make layers.
    pub threads: usize,
    /// Whether the record of a build is kept beside its image ([`record_build`](super::record_build)).
    pub keeps_records: bool,
}
