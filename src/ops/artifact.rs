//! Small documents that are kept beside images: one blob in a manifest of its own, under a tag that the next machine knows.
//!
//! What they hold is the callers' business; whoever cannot read one makes it again.

use crate::oci::{Descriptor, Document, DocumentError, Manifest, MediaType, Raw, Reference, Repository, media_type};
use crate::registry::BlobBody;

use super::error::OpsError;
use super::means::Means;

/// One document on its way.
pub(super) struct Artifact<'a> {
    /// The artifact type, and the media type of its one blob.
    pub kind: &'static str,
    /// The tag.
    pub tag: String,
    /// The content.
    pub bytes: Vec<u8>,
    /// What it is about, which makes it a referrer.
    pub subject: Option<&'a Descriptor>,
}

/// The document of `kind` under `tag`, at most `cap` bytes; every failure counts as absence.
pub(super) async fn fetch(means: &Means, at: &Repository, kind: &str, tag: &str, cap: u64) -> Option<Vec<u8>> {
    let name = Reference::tagged(at, tag).ok()?;
    let document = means.registry.manifest(&name).await.ok()??;
    means.traffic.downloaded(document.bytes().len() as u64);
    content(means, at, kind, &document, cap).await
}

/// What the artifact `document` of `kind` in `at` holds, at most `cap` bytes; `None` of anything else, and of what cannot
/// be had.
pub(super) async fn content(
    means: &Means,
    at: &Repository,
    kind: &str,
    document: &Document,
    cap: u64,
) -> Option<Vec<u8>> {
    let Document::Manifest(manifest) = document else { return None };
    let blob = manifest.value().layers.first().filter(|blob| blob.media_type.as_str() == kind)?;
    let bytes = means.registry.fetch_blob(at, blob, cap).await.ok()?;
    means.traffic.downloaded(bytes.len() as u64);
    Some(bytes)
}

/// Pushes a document into `at`.
///
/// # Errors
/// Fails when the registry refuses; some take no artifacts.
pub(super) async fn push(means: &Means, at: &Repository, artifact: Artifact<'_>) -> Result<(), OpsError> {
    let blob = Descriptor::of(artifact.kind, &artifact.bytes);
    let ((), empty) = tokio::try_join!(bring(means, at, &blob, artifact.bytes), empty(means, at))?;
    let mut manifest = Manifest::new(empty.clone(), vec![blob.clone()]);
    manifest.artifact_type = Some(artifact.kind.to_owned());
    manifest.subject = artifact.subject.map(|subject| Descriptor { platform: None, ..subject.clone() });
    let unwritable = |source: DocumentError| OpsError::ParentDocument { reference: at.to_string(), source };
    let manifest = Raw::of(manifest).map_err(unwritable)?;
    let name = Reference::tagged(at, &artifact.tag)?;
    means.registry.push_manifest(&name, &MediaType::new(media_type::OCI_MANIFEST), manifest.bytes()).await?;
    Ok(())
}

/// Pushes a blob of an artifact.
///
/// # Errors
/// Fails when the registry refuses.
pub(super) async fn bring(means: &Means, at: &Repository, blob: &Descriptor, bytes: Vec<u8>) -> Result<(), OpsError> {
    means.registry.push_blob(at, blob, BlobBody::Bytes(bytes.into()), &|_| ()).await?;
    means.traffic.uploaded(blob.size);
    Ok(())
}

/// The blob `{}`, which artifacts name that need no config or no content (image-spec, manifest.md, "Guidance for an Empty Descriptor").
/// Brings it, unless `at` has it; asked once in a run.
///
/// # Errors
/// Fails when the registry refuses.
pub(super) async fn empty(means: &Means, at: &Repository) -> Result<Descriptor, OpsError> {
    let empty = Descriptor::of(media_type::OCI_EMPTY, b"{}");
    let brought = async || {
        // A registry that does not say is brought it.
        let found = means.registry.blob_size(at, &empty.digest).await;
        if found.is_ok_and(|size| size == Some(empty.size)) {
            Ok(())
        } else {
            bring(means, at, &empty, b"{}".to_vec()).await
        }
    };
    means.memory.published.get(Reference::pinned(at, &empty.digest).to_string(), brought).await?;
    Ok(empty)
}
