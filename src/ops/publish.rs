//! Publishes documents: manifests, the index over them, and tags, in that order.
//!
//! Blobs are in the target before anything here begins.

use futures_util::future::try_join_all;

use crate::event::{Task, Work};
use crate::image::{Image, annotation};
use crate::oci::{Descriptor, Document, Index, MediaType, Platform, Raw, Reference, Repository, media_type};
use crate::plan::{Action, LayerKind, ResolutionKey};
use crate::registry::Mounted;

use super::build::{BuiltLayer, Done};
use super::earlier::target_repository;
use super::error::OpsError;
use super::means::Means;
use super::parent::tagged;
use super::plan::Planned;
use super::request::BuildRequest;
use super::{export, parent, transfer};

/// The document that the images come to: the only manifest, or an index over all of them.
///
/// # Errors
/// Fails when the index cannot be written.
pub(super) fn document(planned: &Planned, images: &[&Image]) -> Result<Document, OpsError> {
    if let [only] = images {
        return Ok(Document::Manifest(only.manifest.clone()));
    }
    let mut index = Index::new(images.iter().map(|image| image.descriptor.clone()).collect());
    index.annotations.insert(annotation::PLAN_KEY.into(), planned.key.to_string());
    index.annotations.insert(annotation::BASE_NAME.into(), planned.parent.to_string());
    index.annotations.insert(annotation::BASE_DIGEST.into(), planned.parent_descriptor.digest.to_string());
    let index =
        Raw::of(index).map_err(|source| OpsError::ParentDocument { reference: planned.parent.to_string(), source })?;
    Ok(Document::Index(index))
}

/// Publishes finished images: manifests by digest when there are several, then the tags of keys, then the user's.
///
/// # Errors
/// Fails when the registry refuses; tags that were not reached stand where they stood.
pub(super) async fn images(
    means: &Means,
    request: &BuildRequest,
    planned: &Planned,
    finished: &[(Option<ResolutionKey>, Image)],
    document: &Document,
) -> Result<(), OpsError> {
    let Some(repository) = target_repository(request) else { return Ok(()) };
    let _task = Task::start(&means.reporter, Work::Publish, &repository.to_string(), None);
    let manifest_type = MediaType::new(media_type::OCI_MANIFEST);
    let is_index = matches!(document, Document::Index(_));
    let mut names = Vec::new();
    for (resolution, image) in finished {
        let own = is_index.then(|| Reference::pinned(&repository, image.manifest.digest()));
        let key = resolution.as_ref().map(|key| Reference::tagged(&repository, &key.tag())).transpose()?;
        names.extend(own.into_iter().chain(key).map(|name| (name, image.manifest.bytes())));
    }
    let plan_key = Reference::tagged(&repository, &planned.key.tag())?;
    let mut last = Vec::new();
    if is_index {
        last.push(plan_key)
    } else {
        names.push((plan_key, document.bytes()))
    }
    // None of these names is the user's, so their order does not matter; one after the other they cost round trips.
    let pushes = names.iter().map(|(name, bytes)| means.registry.push_manifest(name, &manifest_type, bytes));
    try_join_all(pushes).await?;
    means.traffic.uploaded(names.iter().map(|(_, bytes)| bytes.len() as u64).sum());
    for target in &request.targets {
        last.push(tagged(target)?);
    }
    for mirror in mirrors(request) {
        for (_, image) in finished {
            bring_image(means, &repository, &mirror, image, matches!(document, Document::Index(_))).await?;
        }
    }
    tag(means, document, &last).await
}

/// The repositories of all targets but the first one's.
fn mirrors(request: &BuildRequest) -> Vec<Repository> {
    let mut others = Vec::new();
    for repository in request.targets.iter().map(Reference::repository).skip(1) {
        if Some(&repository) != target_repository(request).as_ref() && !others.contains(&repository) {
            others.push(repository);
        }
    }
    others
}

/// Brings an image that is in `from` to another repository, with its manifest when an index is to refer to it.
async fn bring_image(
    means: &Means,
    from: &Repository,
    to: &Repository,
    image: &Image,
    with_manifest: bool,
) -> Result<(), OpsError> {
    let manifest = image.manifest.value();
    for blob in manifest.layers.iter().chain([&manifest.config]) {
        bring(means, from, to, blob.clone()).await?;
    }
    if with_manifest {
        let at = Reference::pinned(to, image.manifest.digest());
        means.registry.push_manifest(&at, &MediaType::new(media_type::OCI_MANIFEST), image.manifest.bytes()).await?;
    }
    Ok(())
}

/// Lets each of `names` stand for `document`, in order.
///
/// # Errors
/// Fails when the registry refuses one.
pub(super) async fn tag(means: &Means, document: &Document, names: &[Reference]) -> Result<(), OpsError> {
    for name in names {
        means.registry.push_manifest(name, &document.media_type(), document.bytes()).await?;
        means.traffic.uploaded(document.bytes().len() as u64);
    }
    Ok(())
}

/// For which platforms a published document of ours is; a manifest says so itself.
pub(super) fn platforms(means: &Means, request: &BuildRequest, document: &Document) -> Vec<Platform> {
    match document {
        Document::Index(index) => index.value().platforms(),
        Document::Manifest(_) if !request.platforms.is_empty() => request.platforms.clone(),
        Document::Manifest(manifest) => {
            let said = manifest.value().annotations.get(annotation::PLATFORM).and_then(|text| text.parse().ok());
            vec![said.unwrap_or_else(|| means.host_platform.clone())]
        }
    }
}

/// Publishes the parent as it is: by registry calls alone, all platforms, byte for byte.
///
/// # Errors
/// Fails when something of the parent cannot be had or the target refuses.
pub(super) async fn parent(
    means: &Means,
    request: &BuildRequest,
    named: &Reference,
    document: Document,
    platforms: Vec<Platform>,
) -> Result<Done, OpsError> {
    let from = named.repository();
    let manifests = parent::documents(means, named, &document).await?;
    let mut layers = Vec::new();
    for manifest in &manifests {
        let Document::Manifest(manifest) = manifest else { continue };
        let blobs: Vec<_> = manifest.value().layers.iter().chain([&manifest.value().config]).cloned().collect();
        match target_repository(request) {
            None => export::fetch(means, &from, &blobs).await?,
            Some(target) => {
                for blob in &blobs {
                    layers.extend(bring(means, &from, &target, blob.clone()).await?);
                }
                for mirror in mirrors(request) {
                    for blob in &blobs {
                        bring(means, &target, &mirror, blob.clone()).await?;
                    }
                }
            }
        }
    }
    match target_repository(request) {
        None => export::write_documents(means, request, manifests, document.clone()).await?,
        Some(target) => {
            if matches!(document, Document::Index(_)) {
                let repositories = [vec![target], mirrors(request)].concat();
                for (manifest, repository) in
                    manifests.iter().flat_map(|one| repositories.iter().map(move |at| (one, at)))
                {
                    let at = Reference::pinned(repository, manifest.digest());
                    means.registry.push_manifest(&at, &manifest.media_type(), manifest.bytes()).await?;
                }
            }
            let names = request.targets.iter().map(tagged).collect::<Result<Vec<_>, _>>()?;
            tag(means, &document, &names).await?;
        }
    }
    Ok(Done { document, platforms, layers, reused: false })
}

/// Brings one blob of the parent to the target, and says what was done when it is a layer.
async fn bring(
    means: &Means,
    from: &Repository,
    target: &Repository,
    blob: Descriptor,
) -> Result<Option<BuiltLayer>, OpsError> {
    let action = if from == target || means.registry.blob_size(target, &blob.digest).await?.is_some() {
        Action::Hit
    } else if means.registry.mount(target, &blob.digest, from).await? == Mounted::Yes {
        means.traffic.mounted(blob.size);
        Action::Mount
    } else {
        transfer::copy(means, target, &blob, from, blob.digest.short()).await?;
        Action::Copy
    };
    let is_layer = blob.media_type.layer_compression().is_some();
    let title = "parent layer".to_owned();
    Ok(is_layer.then_some(BuiltLayer { key: None, kind: LayerKind::Parent, title, descriptor: blob, action }))
}
