//! What earlier builds left: in the target repository, in images named by `--cache-from`, in the store.
//!
//! A repository that does not answer here costs reuse, never the build.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::image::annotation;
use crate::oci::{Descriptor, DiffId, Digest, Document, Reference, Repository};
use crate::plan::{Known, KnownLayer, LayerKey, Place, PlanKey, ResolutionKey};

use super::error::OpsError;
use super::kept_locks::{self, KeptLock};
use super::means::Means;
use super::parent::tagged;
use super::request::{BuildRequest, Output};

const LAYERS: &str = "layers";

/// The repository that images are published to; `None` for outputs that are no registry.
pub(super) fn target_repository(request: &BuildRequest) -> Option<Repository> {
    match request.output {
        Output::Registry => request.targets.first().map(Reference::repository),
        Output::OciLayout(_) | Output::DockerArchive(_) => None,
    }
}

/// The document that the first target name stands for now.
pub(super) async fn published(means: &Means, request: &BuildRequest) -> Result<Option<Document>, OpsError> {
    if request.output != Output::Registry || request.no_cache {
        return Ok(None);
    }
    let Some(target) = request.targets.first() else { return Ok(None) };
    let document = means.registry.manifest(&tagged(target)?).await?;
    count(means, document.as_ref());
    Ok(document)
}

fn count(means: &Means, document: Option<&Document>) {
    means.traffic.downloaded(document.map_or(0, |document| document.bytes().len() as u64));
}

/// The published image with this plan key, and the target names that do not point to it.
///
/// `earlier` is what the first target stands for: when it has the key, no further request is needed for it.
pub(super) async fn reusable(
    means: &Means,
    request: &BuildRequest,
    earlier: &Option<Document>,
    key: &PlanKey,
) -> Result<Option<(Document, Vec<Reference>)>, OpsError> {
    let Some(repository) = target_repository(request) else { return Ok(None) };
    let has_key = |document: &Document| {
        document.annotations().get(annotation::PLAN_KEY).is_some_and(|found| *found == key.to_string())
    };
    let (document, unasked) = match earlier {
        Some(document) if has_key(document) => (document.clone(), &request.targets[1..]),
        _ => {
            let at = Reference::tagged(&repository, &key.tag())?;
            let found = means.registry.manifest(&at).await?;
            count(means, found.as_ref());
            match found.filter(has_key) {
                Some(document) => (document, &request.targets[..]),
                None => return Ok(None),
            }
        }
    };
    let missing = missing_names(means, request, &document, unasked).await?;
    Ok(missing.map(|missing| (document, missing)))
}

/// Those of `names` that do not point to `document` yet; `None` when one is in a repository that may not have it.
pub(super) async fn missing_names(
    means: &Means,
    request: &BuildRequest,
    document: &Document,
    names: &[Reference],
) -> Result<Option<Vec<Reference>>, OpsError> {
    let Some(repository) = target_repository(request) else { return Ok(None) };
    let mut missing = Vec::new();
    for target in names {
        if target.repository() != repository {
            return Ok(None);
        }
        let target = tagged(target)?;
        let stands_for = means.registry.resolve(&target).await?;
        if stands_for.is_none_or(|descriptor| descriptor.digest != *document.digest()) {
            missing.push(target);
        }
    }
    Ok(Some(missing))
}

/// The map from keys to layers that `earlier` and the images of `--cache-from` give.
pub(super) async fn known(means: &Means, request: &BuildRequest, earlier: Option<Document>) -> Known {
    let mut known = Known::default();
    if let (Some(document), Some(at)) = (earlier, target_repository(request)) {
        add(means, &mut known, &at, document, &Place::Target).await;
    }
    for reference in &request.cache_from {
        let Ok(reference) = tagged(reference) else { continue };
        match means.registry.manifest(&reference).await {
            Ok(Some(document)) => {
                count(means, Some(&document));
                let at = reference.repository();
                let place = place_of(request, &at);
                add(means, &mut known, &at, document, &place).await;
            }
            Ok(None) => warn(means, format!("cache image `{reference}` does not exist")),
            Err(error) => warn(means, format!("cache image `{reference}` cannot be read: {error}")),
        }
    }
    known
}

/// Adds the image kept under the tag of `key`, when the target repository has one; gives the lock that is kept there in its
/// place when no image has such layers.
pub(super) async fn add_resolved(
    means: &Means,
    request: &BuildRequest,
    key: &ResolutionKey,
    known: &mut Known,
) -> Option<KeptLock> {
    let at = target_repository(request)?;
    let reference = Reference::tagged(&at, &key.tag()).ok()?;
    let fetch = async || {
        let document = means.registry.manifest(&reference).await?;
        count(means, document.as_ref());
        Ok::<_, OpsError>(document)
    };
    let document = means.memory.resolved.get(reference.to_string(), fetch).await.ok()??;
    let lock = kept_locks::of_document(means, &at, key, &document).await;
    if lock.is_none() {
        add(means, known, &at, document, &Place::Target).await;
    }
    lock
}

fn place_of(request: &BuildRequest, at: &Repository) -> Place {
    if target_repository(request).as_ref() == Some(at) { Place::Target } else { Place::Repository(at.clone()) }
}

fn warn(means: &Means, text: String) {
    means.reporter.report(Event::Warning { text });
}

async fn add(means: &Means, known: &mut Known, at: &Repository, document: Document, place: &Place) {
    match document {
        Document::Manifest(manifest) => known.add_manifest(manifest.value(), place),
        Document::Index(index) => {
            for entry in &index.value().manifests {
                let child = Reference::pinned(at, &entry.digest);
                if let Ok(Some(Document::Manifest(manifest))) = means.registry.manifest(&child).await {
                    means.traffic.downloaded(manifest.bytes().len() as u64);
                    known.add_manifest(manifest.value(), place);
                }
            }
        }
    }
}

/// Which of `layers` the target does not have.
pub(super) async fn absent_blobs(
    means: &Means,
    target: Option<&Repository>,
    layers: &[Descriptor],
    known: &Known,
) -> Result<BTreeSet<Digest>, OpsError> {
    let Some(target) = target else { return Ok(layers.iter().map(|layer| layer.digest.clone()).collect()) };
    let unknown = layers.iter().filter(|layer| known.blob(&layer.digest) != Some(&Place::Target));
    let digests: BTreeSet<Digest> = unknown.map(|layer| layer.digest.clone()).collect();
    let asked = digests.into_iter().map(|digest| async move {
        let ask = async || Ok::<_, OpsError>(means.registry.blob_size(target, &digest).await?.is_some());
        let is_there = means.memory.blobs.get((target.clone(), digest.clone()), ask).await?;
        Ok::<_, OpsError>((!is_there).then_some(digest))
    });
    let found = try_join_all(asked).await?;
    Ok(found.into_iter().flatten().collect())
}

#[derive(Serialize, Deserialize)]
struct StoredLayer {
    descriptor: Descriptor,
    diff_id: DiffId,
}

/// The layer made under `key` on this machine, when its blob is still in the store.
pub(super) fn stored_layer(means: &Means, key: &LayerKey) -> Result<Option<KnownLayer>, OpsError> {
    let Some(bytes) = means.store.record(LAYERS, key.0.as_str())? else { return Ok(None) };
    let Ok(stored) = serde_json::from_slice::<StoredLayer>(&bytes) else { return Ok(None) };
    if means.store.contains(&stored.descriptor.digest) != Some(stored.descriptor.size) {
        return Ok(None);
    }
    Ok(Some(KnownLayer { descriptor: stored.descriptor, diff_id: stored.diff_id, place: Place::Store }))
}

/// Remembers that the layer of `key` is in the store.
pub(super) fn remember_layer(
    means: &Means,
    key: &LayerKey,
    descriptor: &Descriptor,
    diff_id: &DiffId,
) -> Result<(), OpsError> {
    let stored = StoredLayer { descriptor: descriptor.clone(), diff_id: diff_id.clone() };
    if let Ok(bytes) = serde_json::to_vec(&stored) {
        means.store.put_record(LAYERS, key.0.as_str(), &bytes)?;
    }
    Ok(())
}
