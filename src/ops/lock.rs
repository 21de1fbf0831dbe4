//! A project's lock: what a build would install, as `pylock.toml`.
//!
//! Nothing is built into an image; what the parent has and satisfies is not in the lock.

use crate::oci::Platform;
use crate::plan::Known;
use crate::python::lock::PylockHead;

use super::error::OpsError;
use super::facts;
use super::ground::{Mode, ground};
use super::means::Means;
use super::plan::Planning;
use super::request::BuildRequest;
use super::{parent, python, resolution};

/// The lock of one platform's image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectLock {
    /// The platform.
    pub platform: Platform,
    /// How many packages it names.
    pub packages: usize,
    /// The text of `pylock.toml`, to be written into the source root.
    pub text: String,
}

/// Resolves the requirements of `request` for each of its platforms.
///
/// # Errors
/// Fails when something asked for is missing or contradictory, or when a registry or index does not answer.
pub async fn lock(means: &Means, request: &BuildRequest) -> Result<Vec<ProjectLock>, OpsError> {
    let request = ground(means, request, Mode::Look).await?.request;
    let named = request.settings.docker.parent_image.clone().ok_or(OpsError::ParentUnset)?;
    let local = facts::gather(means, &request).await?;
    let pinned = parent::pin(means, &named).await?.read(means).await?;
    let wanted: Vec<Option<Platform>> = match request.platforms.as_slice() {
        [] if pinned.platforms().len() > 1 => vec![Some(means.host_platform.clone())],
        [] => vec![None],
        several => several.iter().cloned().map(Some).collect(),
    };
    let mut locks = Vec::new();
    for platform in wanted {
        let image = pinned.image(means, platform.as_ref()).await?;
        let mut planning = Planning::new(means, &request, &local, pinned.reference.repository(), image);
        let files = planning.files().await?;
        let environment = python::environment(&planning, &files)?;
        let lock = python::lock(&planning, &environment, &Known::default()).await?.lock;
        let platform = planning.parent.config.platform();
        let head = PylockHead {
            python: environment.version,
            machine: resolution::machine(&platform).to_owned(),
            parent: format!("{}@{}", pinned.reference.repository(), pinned.descriptor.digest),
            folder: request.source_root.clone(),
        };
        locks.push(ProjectLock { platform, packages: lock.packages.len(), text: lock.to_pylock(&head) });
    }
    Ok(locks)
}
