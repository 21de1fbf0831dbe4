//! The index of the parent's files: from the store, from beside the image, or by streaming its layers once.
//!
//! Nothing of the parent is kept but the index.

use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};

use crate::event::{Task, Work};
use crate::image::ParentImage;
use crate::image::filesystem::{Filesystem, LayerIndex};
use crate::oci::{Descriptor, DiffId, Digest, Repository};

use super::artifact::{self, Artifact};
use super::error::OpsError;
use super::layer_blob::LayerBlob;
use super::means::Means;

/// The artifact type of an index that was pushed, and the media type of its one blob.
pub(super) const ARTIFACT: &str = "application/vnd.lapstrake.parent-index.v1";
const MERGED: &str = "parent-index";
/// The most bytes of an index that is read back.
const CAP: u64 = 64 << 20;
/// How many layers are streamed at once.
const STREAMS: usize = 4;

/// An index, and whether it still has to be pushed beside the image.
#[derive(Clone, Debug)]
pub(super) struct ParentIndex {
    /// The parent's files.
    pub files: Arc<Filesystem>,
    /// The bytes to push when the target has none yet.
    pub unpublished: Option<Vec<u8>>,
}

impl ParentIndex {
    /// The bytes to push wherever the target may have none.
    pub(super) fn bytes(&self) -> Option<Vec<u8>> {
        self.unpublished.clone().or_else(|| self.files.to_bytes().ok())
    }
}

/// The tag under which the index of the parent with this digest is kept.
fn tag_of(parent: &Digest) -> String {
    format!("lapstrake-parent-{}", &parent.hex()[..40])
}

/// Finds or makes the index of `parent`, whose layers are in `from`; `beside` is where images are published.
///
/// # Errors
/// Fails when a layer cannot be fetched, is not what its digest says, or is no layer that a runtime would take.
pub(super) async fn find(
    means: &Means,
    parent: &ParentImage,
    from: &Repository,
    beside: Option<&Repository>,
) -> Result<ParentIndex, OpsError> {
    let key = (parent.descriptor.digest.clone(), beside.cloned());
    means.memory.indexes.get(key, async || look_for(means, parent, from, beside).await).await
}

/// The index of the parent with this digest where no layer has to be fetched for it: that of the store, else the one in
/// `beside`.
///
/// # Errors
/// Fails when the store cannot be read or written.
pub(super) async fn at_hand(
    means: &Means,
    digest: &Digest,
    beside: Option<&Repository>,
) -> Result<Option<ParentIndex>, OpsError> {
    if let Some(files) = stored(means, digest)? {
        return Ok(Some(ParentIndex { files: Arc::new(files), unpublished: None }));
    }
    if let Some(bytes) = published(means, digest, beside).await
        && let Ok(files) = Filesystem::from_bytes(&bytes)
    {
        means.store.put_record(MERGED, digest.as_str(), &bytes)?;
        return Ok(Some(ParentIndex { files: Arc::new(files), unpublished: None }));
    }
    Ok(None)
}

/// Whether this machine has the index of the parent with this digest, whole or not.
///
/// # Errors
/// Fails as [`crate::store::Store::has_record`] does.
pub(super) fn is_stored(means: &Means, digest: &Digest) -> Result<bool, OpsError> {
    Ok(means.store.has_record(MERGED, digest.as_str())?)
}

async fn look_for(
    means: &Means,
    parent: &ParentImage,
    from: &Repository,
    beside: Option<&Repository>,
) -> Result<ParentIndex, OpsError> {
    let digest = &parent.descriptor.digest;
    if let Some(index) = at_hand(means, digest, beside).await? {
        return Ok(index);
    }
    let files = streamed(means, parent, from).await?;
    let bytes = files.to_bytes().map_err(|source| layer_error(parent, digest, source))?;
    means.store.put_record(MERGED, digest.as_str(), &bytes)?;
    Ok(ParentIndex { files: Arc::new(files), unpublished: beside.map(|_| bytes) })
}

fn stored(means: &Means, digest: &Digest) -> Result<Option<Filesystem>, OpsError> {
    let bytes = means.store.record(MERGED, digest.as_str())?;
    Ok(bytes.and_then(|bytes| Filesystem::from_bytes(&bytes).ok()))
}

/// The index that an earlier build pushed; every failure counts as absence, since streaming gives the same.
async fn published(means: &Means, digest: &Digest, beside: Option<&Repository>) -> Option<Vec<u8>> {
    artifact::fetch(means, beside?, ARTIFACT, &tag_of(digest), CAP).await
}

async fn streamed(means: &Means, parent: &ParentImage, from: &Repository) -> Result<Filesystem, OpsError> {
    let diff_ids = parent.config.diff_ids();
    let layers: Vec<LayerIndex> = stream::iter(parent.manifest.layers.iter().zip(diff_ids))
        .map(|(layer, diff_id)| layer_index(means, parent, from, layer, diff_id))
        .buffered(STREAMS)
        .try_collect()
        .await?;
    Filesystem::merge(layers).map_err(|source| layer_error(parent, &parent.descriptor.digest, source))
}

async fn layer_index(
    means: &Means,
    parent: &ParentImage,
    from: &Repository,
    layer: &Descriptor,
    diff_id: DiffId,
) -> Result<LayerIndex, OpsError> {
    let blob = LayerBlob { descriptor: layer.clone(), repository: Some(from.clone()) };
    if let Some(index) = blob.known_index(means)? {
        return Ok(index);
    }
    let task = Task::start(&means.reporter, Work::Index, layer.digest.short(), Some(layer.size));
    let read = blob.read_index(means, task).await?;
    let (index, found) = read.map_err(|source| layer_error(parent, &layer.digest, source))?;
    if found != diff_id {
        let (digest, reference) = (layer.digest.to_string(), parent.name.clone());
        return Err(OpsError::ParentDiffId {
            reference,
            digest,
            expected: diff_id.to_string(),
            found: found.to_string(),
        });
    }
    blob.keep_index(means, &index)?;
    Ok(index)
}

fn layer_error(
    parent: &ParentImage,
    digest: &Digest,
    source: impl std::error::Error + Send + Sync + 'static,
) -> OpsError {
    OpsError::ParentLayer { reference: parent.name.clone(), digest: digest.to_string(), source: Box::new(source) }
}

/// Pushes `bytes` beside the images in `beside`, as a referrer of the parent, under a tag that the next machine knows.
///
/// # Errors
/// Fails when the registry refuses.
pub(super) async fn publish(
    means: &Means,
    parent: &Descriptor,
    bytes: Vec<u8>,
    beside: &Repository,
) -> Result<(), OpsError> {
    let tag = tag_of(&parent.digest);
    let push = async || {
        artifact::push(means, beside, Artifact { kind: ARTIFACT, tag: tag.clone(), bytes, subject: Some(parent) }).await
    };
    means.memory.published.get(format!("{beside}:{tag}"), push).await
}
