//! Publishes documents: manifests, the index over them, and tags, in that order.
//!
//! Blobs are in the target before anything here begins.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use crate::event::{Task, Work};
use crate::image::{Image, annotation};
use crate::oci::{Digest, Document, Index, MediaType, Platform, Raw, Reference, Repository, media_type};
use crate::plan::{Action, PlannedLayer, ResolutionKey};

use super::build::{BuiltLayer, Done};
use super::copy::{self, Chance, Collection, ItemKind, Locator, Source};
use super::earlier::target_repository;
use super::error::OpsError;
use super::ledger;
use super::means::Means;
use super::parent::tagged;
use super::plan::Planned;
use super::request::{BuildRequest, Output};

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
    if let Some(parent) = &planned.parent_descriptor {
        index.annotations.insert(annotation::BASE_DIGEST.into(), parent.digest.to_string());
    }
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
    let mut resolutions = Vec::new();
    for (resolution, image) in finished {
        let own = is_index.then(|| Reference::pinned(&repository, image.manifest.digest()));
        names.extend(own.map(|name| (name, image.manifest.bytes())));
        if let Some(key) = resolution {
            resolutions.push((Reference::tagged(&repository, &key.tag())?, image.manifest.bytes()));
        }
    }
    let plan_key = Reference::tagged(&repository, &planned.key.tag())?;
    let mut last = Vec::new();
    if is_index {
        last.push(plan_key)
    } else {
        names.push((plan_key, document.bytes()))
    }
    // None of these names is the user's, so their order does not matter; one after the other they cost round trips.
    let push = async |name: &Reference, bytes: &[u8]| {
        means.registry.push_manifest(name, &manifest_type, bytes).await?;
        means.traffic.uploaded(bytes.len() as u64);
        Ok::<_, OpsError>(())
    };
    let pushes = names.iter().map(|(name, bytes)| push(name, bytes));
    // Of several images of one run with the same Python layers any will do.
    let kept = resolutions.iter().map(|(name, bytes)| {
        let published = &means.memory.published;
        published.get(name.to_string(), || push(name, bytes))
    });
    let record = async {
        ledger::prepare(means, &repository).await;
        Ok(())
    };
    tokio::try_join!(try_join_all(pushes), try_join_all(kept), record)?;
    for target in &request.targets {
        last.push(tagged(target)?);
    }
    let mirrors = mirrors(request);
    let pairs = mirrors.iter().flat_map(|mirror| finished.iter().map(move |(_, image)| (mirror, image)));
    try_join_all(pairs.map(|(mirror, image)| bring_image(means, &repository, mirror, image, is_index))).await?;
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
    let (manifest, source) = (image.manifest.value(), Source::Registry(from.clone()));
    let layers = manifest.layers.iter().map(|layer| (layer, Chance::Fair));
    let blobs = layers.chain([(&manifest.config, Chance::Slim)]);
    try_join_all(blobs.map(|(blob, chance)| copy::bring(means, &source, to, blob, chance))).await?;
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

/// Publishes the parent as it is: all platforms, byte for byte.
///
/// # Errors
/// Fails when something of the parent cannot be had or the target refuses.
pub(super) async fn parent(
    means: &Means,
    request: &BuildRequest,
    named: &Reference,
    document: Document,
    platforms: Vec<Platform>,
    planned: &[PlannedLayer],
) -> Result<Done, OpsError> {
    let source = Source::Registry(named.repository());
    let names = request.targets.iter().map(tagged).collect::<Result<Vec<_>, _>>()?;
    let targets = match &request.output {
        Output::Registry => names.into_iter().map(Locator::Registry).collect(),
        Output::OciLayout(path) => {
            let tag = names.first().and_then(|name| name.tag()).map(str::to_owned);
            vec![Locator::OciLayout { path: path.clone(), tag, digest: None }]
        }
        Output::DockerArchive(path) => vec![Locator::DockerArchive { path: path.clone(), names }],
    };
    let collection = Collection::gather(means, &named.to_string(), &source, document.clone(), false).await?;
    let mut done = copy::to_all(means, &source, &collection, &targets).await?;
    let items = if done.is_empty() { Vec::new() } else { done.swap_remove(0).items };
    let of_layers = items.into_iter().filter(|item| item.kind == ItemKind::Layer);
    let mut actions: BTreeMap<Digest, Action> = of_layers.map(|item| (item.descriptor.digest, item.action)).collect();
    let layers = planned.iter().filter_map(|layer| {
        let descriptor = layer.blob.as_ref()?.0.clone();
        // What one image brings is there for the images after it.
        let action = actions.remove(&descriptor.digest).unwrap_or(Action::Hit);
        Some(BuiltLayer { key: None, kind: layer.kind, title: layer.title.clone(), descriptor, action })
    });
    Ok(Done { document, platforms, layers: layers.collect(), reused: false })
}
