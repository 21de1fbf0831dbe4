//! All backends of this machine, and which of them builds.
//!
//! The order is fixed; nothing is started to find out.

use std::sync::Arc;

use super::buildah::Buildah;
use super::buildkit::BuildKit;
use super::contract::{Absence, Backend};
use super::docker::{Builder, Docker};
use super::error::{BackendError, Tried};
use super::external::External;
use super::logins::Logins;
use super::segment::Segment;
use crate::oci::Repository;
use crate::registry::{Client, Keychain};
use crate::resolver::child::ChildEnvironment;

/// The name by which every backend is refused.
pub const NONE: &str = "none";

/// The backend that was chosen.
pub type Chosen = Arc<dyn Backend>;

/// The backends, and what they are lent.
#[derive(Clone)]
pub struct Backends {
    environment: ChildEnvironment,
    keychain: Arc<dyn Keychain>,
    client: Arc<Client>,
    roots: Vec<Vec<u8>>,
}

impl Backends {
    /// The backends that children with `environment` reach; `client` knows the ways to registries, `keychain` the logins,
    /// `roots` are PEM texts of certificates to trust beside the platform's.
    pub fn new(
        environment: ChildEnvironment,
        keychain: Arc<dyn Keychain>,
        client: Arc<Client>,
        roots: Vec<Vec<u8>>,
    ) -> Self {
        Self { environment, keychain, client, roots }
    }

    /// The environment that children get; secrets of the settings come from it too.
    pub fn environment(&self) -> &ChildEnvironment {
        &self.environment
    }

    /// All backends, in the order in which they are tried.
    pub fn all(&self) -> Vec<Chosen> {
        // Of our own login a backend gets no more than it needs, in a file.
        let environment = &self.environment.clone().without("LAPSTRAKE_PASSWORD");
        let mut all: Vec<Chosen> = vec![
            Arc::new(BuildKit::new(environment)),
            Arc::new(Buildah::new("buildah", environment)),
            Arc::new(Buildah::new("podman", environment)),
            Arc::new(Docker::new(Builder::Buildx, environment)),
            Arc::new(Docker::new(Builder::Classic, environment)),
        ];
        all.extend(External::all(environment).into_iter().map(|external| -> Chosen { Arc::new(external) }));
        all
    }

    /// Whether the program of a backend is there, of the one named `wanted` or of any; nothing is started to find out.
    pub fn is_any_installed(&self, wanted: Option<&str>) -> bool {
        let is_wanted = |backend: &Chosen| wanted.is_none_or(|wanted| backend.name() == wanted);
        self.all().iter().filter(|backend| is_wanted(backend)).any(|backend| backend.is_installed())
    }

    /// The backend named `wanted`, or the first that can be used; [`NONE`] is the name of none.
    ///
    /// # Errors
    /// Fails when there is none, and says of each why; also when one that is set up does not work.
    pub async fn choose(&self, wanted: Option<&str>) -> Result<Chosen, BackendError> {
        if wanted == Some(NONE) {
            return Err(BackendError::SwitchedOff);
        }
        let all = self.all();
        if let Some(wanted) = wanted {
            let known = || all.iter().map(|backend| format!("`{}`", backend.name())).collect();
            let found = all.iter().find(|backend| backend.name() == wanted);
            let found = found.ok_or_else(|| BackendError::Unknown { name: wanted.to_owned(), known: known() })?;
            let unusable = |absence: Absence| unusable(&**found, &absence);
            return found.available().await.map(|()| Arc::clone(found)).map_err(unusable);
        }
        let mut tried = Vec::new();
        for backend in all {
            match backend.available().await {
                Ok(()) => return Ok(backend),
                Err(absence @ Absence::Broken(_)) => return Err(unusable(&*backend, &absence)),
                Err(Absence::Missing(reason)) => tried.push(Tried { name: backend.name().to_owned(), reason }),
            }
        }
        Err(BackendError::NoneAtHand { tried })
    }

    /// What a backend is lent for `segment`, whose image goes to `target`.
    ///
    /// # Errors
    /// Fails when a source of credentials is broken, or the segment is no Dockerfile.
    pub async fn logins(&self, segment: &Segment, target: &Repository) -> Result<Logins, BackendError> {
        let found = Logins::gather(&segment.images()?, target, &*self.keychain, &self.client).await?;
        Ok(Logins { roots: self.roots.clone(), ..found })
    }
}

fn unusable(backend: &dyn Backend, absence: &Absence) -> BackendError {
    BackendError::Unusable { name: backend.name().to_owned(), reason: absence.reason().to_owned() }
}
