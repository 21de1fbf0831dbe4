//! Resolves the requirements of an image, and stops there.
//!
//! The answer is the one that a build installs: what the parent has is not in it, and nothing is published.

use std::path::Path;

use crate::oci::{Platform, Reference};
use crate::python::lock::{Lock, PylockHead};

use super::error::OpsError;
use super::ground::{Ground, Mode, ground};
use super::installation;
use super::means::Means;
use super::plan::Planning;
use super::request::BuildRequest;
use super::{earlier, facts, parent, plan, project, python, resolution};

/// What is installed into the image of one platform.
#[derive(Clone, Debug)]
pub struct ImageLock {
    /// The platform.
    pub platform: Platform,
    /// The version of the image's Python.
    pub python: (u32, u32),
    /// The image that the packages are installed upon, by digest.
    pub parent: Reference,
    /// The packages, and what they replace.
    pub lock: Lock,
}

impl ImageLock {
    /// The text of a `pylock.toml` (PEP 751) that is to lie in `folder`.
    pub fn to_pylock(&self, folder: &Path) -> String {
        self.lock.to_pylock(&PylockHead {
            python: self.python,
            machine: resolution::machine(&self.platform).to_owned(),
            parent: self.parent.to_string(),
            folder: folder.to_owned(),
        })
    }
}

/// The locks of an image, one a platform; none when nothing is installed, and when a backend has yet to make the parent.
///
/// # Errors
/// Fails as the plan of the image does.
pub async fn image_locks(means: &Means, request: &BuildRequest) -> Result<Vec<ImageLock>, OpsError> {
    let request = match installation::command(request) {
        Some(_) => installation::below(request)?,
        None => request.clone(),
    };
    let Ground { request, is_there, .. } = ground(means, &request, Mode::Look).await?;
    if !is_there && request.settings.docker.dockerfile.is_some() {
        return Ok(Vec::new());
    }
    let named = request.settings.docker.parent_image.clone().ok_or(OpsError::ParentUnset)?;
    let local = facts::gather(means, &request).await?;
    if local.wanted.is_none() && !project::is_asked(&request) {
        return Ok(Vec::new());
    }
    let pinned = parent::pin(means, &named).await?.read(means).await?;
    let known = match request.no_cache {
        true => crate::plan::Known::default(),
        false => earlier::known(means, &request, earlier::published(means, &request).await?).await,
    };
    let mut locks = Vec::new();
    for platform in plan::wanted_platforms(means, &request, &pinned) {
        let image = pinned.image(means, platform.as_ref()).await?;
        let digest = image.descriptor.digest.clone();
        let mut planning = Planning::new(means, &request, &local, pinned.reference.repository(), image);
        let (python, lock) = python::locked_packages(&mut planning, &known).await?;
        let platform = planning.parent.config.platform();
        locks.push(ImageLock { platform, python, parent: named.with_digest(&digest), lock });
    }
    Ok(locks)
}
