//! Brings one layer's blob to the target: nothing, a mount, a copy, or what was made, pushed.
//!
//! What is done for which layer was decided in the plan; a mount that the registry refuses becomes a copy.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::TryStreamExt;

use crate::event::{Task, Work};
use crate::oci::{Descriptor, Repository};
use crate::registry::{BlobBody, Mounted};

use super::error::OpsError;
use super::means::Means;

/// Mounts `blob` from `from` into `to`; copies it when the registry does not mount.
///
/// # Errors
/// Fails when the blob can neither be mounted nor copied.
pub(super) async fn mount(
    means: &Means,
    to: &Repository,
    blob: &Descriptor,
    from: &Repository,
    name: &str,
) -> Result<(), OpsError> {
    let task = Task::start(&means.reporter, Work::Mount, name, None);
    if means.registry.mount(to, &blob.digest, from).await? == Mounted::Yes {
        means.traffic.mounted(blob.size);
        return Ok(());
    }
    drop(task);
    copy(means, to, blob, from, name).await
}

/// Streams `blob` from `from` to `to`; nothing of it touches a disk.
///
/// # Errors
/// Fails when either side does, or when the bytes are not what the descriptor says.
pub(super) async fn copy(
    means: &Means,
    to: &Repository,
    blob: &Descriptor,
    from: &Repository,
    name: &str,
) -> Result<(), OpsError> {
    let task = Task::start(&means.reporter, Work::Copy, name, Some(blob.size));
    push(means, to, blob, body(means, from, blob), &task).await
}

/// The bytes of `blob` in `from`, counted as they come; opened when they are first wanted.
pub(super) fn body(means: &Means, from: &Repository, blob: &Descriptor) -> BlobBody {
    let (registry, source, wanted) = (Arc::clone(&means.registry), from.clone(), blob.clone());
    let traffic = Arc::clone(&means.traffic);
    BlobBody::Stream(Arc::new(move |offset| {
        let (registry, source, wanted) = (Arc::clone(&registry), source.clone(), wanted.clone());
        let traffic = Arc::clone(&traffic);
        Box::pin(async move {
            let stream = registry.read_blob_from(&source, &wanted, offset).await?;
            let counted = stream.inspect_ok(move |bytes| traffic.downloaded(bytes.len() as u64));
            Ok(Box::pin(counted) as crate::registry::BlobStream)
        })
    }))
}

/// Pushes the file at `path`, which holds `blob`.
///
/// # Errors
/// Fails when the file cannot be read or the registry refuses.
pub(super) async fn push_file(
    means: &Means,
    to: &Repository,
    blob: &Descriptor,
    path: PathBuf,
    name: &str,
) -> Result<(), OpsError> {
    let task = Task::start(&means.reporter, Work::Upload, name, Some(blob.size));
    push(means, to, blob, BlobBody::File(path), &task).await
}

/// Pushes `blob` from the store, where its bytes are checked first.
///
/// # Errors
/// Fails when the store has lost it or the registry refuses.
pub(super) async fn push_stored(means: &Means, to: &Repository, blob: &Descriptor, name: &str) -> Result<(), OpsError> {
    let (store, digest) = (means.store.clone(), blob.digest.clone());
    let verified = tokio::task::spawn_blocking(move || store.verified(&digest));
    match verified.await.map_err(OpsError::Worker)?? {
        Some(path) => push_file(means, to, blob, path, name).await,
        None => Err(OpsError::LostBlob { digest: blob.digest.to_string() }),
    }
}

/// Pushes a small blob from memory.
///
/// # Errors
/// Fails when the registry refuses.
pub(super) async fn push_bytes(
    means: &Means,
    to: &Repository,
    blob: &Descriptor,
    bytes: Vec<u8>,
    name: &str,
) -> Result<(), OpsError> {
    let task = Task::start(&means.reporter, Work::Upload, name, Some(blob.size));
    push(means, to, blob, BlobBody::Bytes(bytes.into()), &task).await
}

/// Pushes `body`, counting what goes.
///
/// # Errors
/// Fails when the bytes cannot be had, or the registry refuses.
pub(super) async fn push(
    means: &Means,
    to: &Repository,
    blob: &Descriptor,
    body: BlobBody,
    task: &Task,
) -> Result<(), OpsError> {
    let moved = |bytes: u64| {
        means.traffic.uploaded(bytes);
        task.advance(bytes);
    };
    Ok(means.registry.push_blob(to, blob, body, &moved).await?)
}
