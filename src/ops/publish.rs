//! Publishes documents: manifests, the index over them, and tags, in that order.
//!
//! Blobs are in the target before anything here begins.

use crate::event::Work;
use crate::image::{Image, annotation};
use crate::oci::{Document, Index, MediaType, Platform, Raw, Reference, media_type};
use crate::plan::ResolutionKey;

use super::build::{BuiltLayer, Done};
use super::earlier::target_repository;
use super::error::OpsError;
use super::means::Means;
use super::parent::tagged;
use super::plan::Planned;
use super::request::BuildRequest;
use super::task::Task;
use super::{export, parent, transfer};
use crate::plan::{Action, LayerKind};
use crate::registry::Mounted;

/// The document that the images come to: the only manifest, or an index over all of them.
///
/// # Errors
/// Fails when the index cannot be written.
pub fn document(planned: &Planned, images: &[&Image]) -> Result<Document, OpsError> {
    if let [only] = images {
        return Ok(Document::Manifest(only.manifest.clone()));
    }
    let mut index = Index::new(images.iter().map(|image| image.descriptor.clone()).collect());
    index.annotations.insert(annotation::PLAN_KEY.into(), planned.key.to_string());
    index.annotations.insert(annotation::BASE_NAME.into(), planned.parent.to_string());
    index.annotations.insert(annotation::BASE_DIGEST.into(), planned.parent_descriptor.digest.to_string());
    let index = Raw::of(index).map_err(|source| OpsError::ParentDocument { reference: planned.parent.to_string(), source })?;
    Ok(Document::Index(index))
}

/// Publishes finished images: manifests by digest when there are several, then the tags of keys, then the user's.
///
/// # Errors
/// Fails when the registry refuses; tags that were not reached stand where they stood.
pub async fn images(
    means: &Means,
    request: &BuildRequest,
    planned: &Planned,
    finished: &[(Option<ResolutionKey>, Image)],
    document: &Document,
) -> Result<(), OpsError> {
    let Some(repository) = target_repository(request) else { return Ok(()) };
    let _task = Task::start(&means.reporter, Work::Publish, &repository.to_string(), None);
    let manifest_type = MediaType::new(media_type::OCI_MANIFEST);
    for (resolution, image) in finished {
        let bytes = image.manifest.bytes();
        if matches!(document, Document::Index(_)) {
            let at = Reference::pinned(&repository, image.manifest.digest());
            means.registry.push_manifest(&at, &manifest_type, bytes).await?;
        }
        if let Some(key) = resolution {
            let at = Reference::tagged(&repository, &key.tag())?;
            means.registry.push_manifest(&at, &manifest_type, bytes).await?;
        }
    }
    let mut names = vec![Reference::tagged(&repository, &planned.key.tag())?];
    for target in &request.targets {
        names.push(tagged(target)?);
    }
    tag(means, document, &names).await
}

/// Lets each of `names` stand for `document`, in order.
///
/// # Errors
/// Fails when the registry refuses one.
pub async fn tag(means: &Means, document: &Document, names: &[Reference]) -> Result<(), OpsError> {
    for name in names {
        means.registry.push_manifest(name, &document.media_type(), document.bytes()).await?;
        means.traffic.uploaded(document.bytes().len() as u64);
    }
    Ok(())
}
