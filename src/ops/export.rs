//! Writes an image into a folder or file instead of a registry.
//!
//! The parent's layers are fetched into the store first; everything that is written comes from there.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::TryStreamExt;
use futures_util::future::try_join_all;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::event::{Task, Work};
use crate::image::Image;
use crate::oci::{Descriptor, Document, Repository};
use crate::store::{DockerArchive, ImageSink, OciLayout};

use super::error::OpsError;
use super::means::Means;
use super::parent::tagged;
use super::request::{BuildRequest, Output};

/// Fetches those of `blobs` that the store lacks from `at`.
///
/// # Errors
/// Fails when one cannot be had or is not what its digest says.
pub(super) async fn fetch(means: &Means, at: &Repository, blobs: &[Descriptor]) -> Result<(), OpsError> {
    let absent = blobs.iter().filter(|blob| means.store.contains(&blob.digest).is_none());
    try_join_all(absent.map(|blob| fetch_one(means, at, blob))).await.map(drop)
}

async fn fetch_one(means: &Means, at: &Repository, blob: &Descriptor) -> Result<(), OpsError> {
    let task = Task::start(&means.reporter, Work::Download, blob.digest.short(), Some(blob.size));
    let traffic = Arc::clone(&means.traffic);
    let stream = means.registry.read_blob(at, blob).await?.inspect_ok(move |bytes| {
        traffic.downloaded(bytes.len() as u64);
        task.advance(bytes.len() as u64);
    });
    let mut reader = SyncIoBridge::new(StreamReader::new(stream.map_err(std::io::Error::other)));
    let (store, blob) = (means.store.clone(), blob.clone());
    let copied = tokio::task::spawn_blocking(move || {
        let mut writer = store.writer_for(blob.size)?;
        // The stream fails when its bytes are not those of the digest.
        std::io::copy(&mut reader, &mut writer)
            .map_err(|source| OpsError::FetchBlob { digest: blob.digest.to_string(), source })?;
        writer.commit(&blob.digest)?;
        Ok(())
    });
    copied.await.map_err(OpsError::Worker)?
}

/// Writes finished images, whose blobs are all in the store, to the output that is asked for.
///
/// # Errors
/// Fails when the output cannot be written; what was there before then stays.
pub(super) async fn write(
    means: &Means,
    request: &BuildRequest,
    images: &[&Image],
    document: &Document,
) -> Result<(), OpsError> {
    for image in images {
        means.store.put(image.config.bytes())?;
    }
    let manifests: Vec<Document> = images.iter().map(|image| Document::Manifest(image.manifest.clone())).collect();
    let (means, request, root) = (means.clone(), request.clone(), document.clone());
    let work = move || {
        let (mut sink, path) = sink(&request)?;
        let _task = Task::start(&means.reporter, Work::Publish, &path.display().to_string(), None);
        for document in &manifests {
            if let Document::Manifest(manifest) = document {
                let manifest = manifest.value();
                for blob in manifest.layers.iter().chain([&manifest.config]) {
                    put(&means, &mut *sink, blob)?;
                }
            }
            sink.put_manifest(document)?;
        }
        if matches!(root, Document::Index(_)) {
            sink.put_manifest(&root)?;
        }
        sink.finish(&root.descriptor())?;
        Ok(())
    };
    tokio::task::spawn_blocking(work).await.map_err(OpsError::Worker)?
}

fn sink(request: &BuildRequest) -> Result<(Box<dyn ImageSink>, PathBuf), OpsError> {
    let mut names = Vec::new();
    for target in &request.targets {
        names.push(tagged(target)?);
    }
    match &request.output {
        Output::OciLayout(path) => {
            let tag = names.first().and_then(|name| name.tag());
            Ok((Box::new(OciLayout::create(path, tag)?), path.clone()))
        }
        Output::DockerArchive(path) => Ok((Box::new(DockerArchive::create(path, &names)?), path.clone())),
        Output::Registry => Err(OpsError::NoTarget),
    }
}

fn put(means: &Means, sink: &mut dyn ImageSink, blob: &Descriptor) -> Result<(), OpsError> {
    if blob.media_type.is_non_distributable() || sink.has_blob(blob)? {
        return Ok(());
    }
    let Some(mut content) = means.store.open_blob(&blob.digest)? else {
        return Err(OpsError::LostBlob { digest: blob.digest.to_string() });
    };
    Ok(sink.put_blob(blob, &mut content)?)
}
