//! Writes an image into an OCI layout or a docker archive.
//!
//! A layout takes several blobs at once, an archive one after the other. The sinks check what they are given.

use std::collections::BTreeMap;
use std::io::Read;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::event::{Task, Work};
use crate::oci::{Descriptor, Digest, Reference};
use crate::plan::Action;
use crate::store::{DockerArchive, ImageSink, OciLayout};

use super::super::error::OpsError;
use super::super::means::Means;
use super::super::parent::tagged;
use super::TRANSFERS;
use super::collect::Collection;
use super::locator::Locator;
use super::source::{Source, blocking};

/// Bytes that are read from a file at once.
const PIECE: usize = 64 << 10;

/// Writes a collection to a place that is no registry.
pub(super) async fn write(
    means: &Means,
    source: &Source,
    collection: &Collection,
    to: &Locator,
) -> Result<BTreeMap<Digest, Action>, OpsError> {
    match to {
        Locator::OciLayout { path, tag, .. } => {
            let (path, tag) = (path.clone(), tag.clone());
            let layout = blocking(move || Ok(OciLayout::create(&path, tag.as_deref())?)).await?;
            into_layout(means, source, collection, &layout, &to.to_string()).await
        }
        Locator::DockerArchive { path, names } => {
            let names: Vec<Reference> = names.iter().map(tagged).collect::<Result<_, _>>()?;
            let path = path.clone();
            let archive = blocking(move || Ok(DockerArchive::create(&path, &names)?)).await?;
            into_archive(means, source, collection, archive, &to.to_string()).await
        }
        Locator::Registry(_) => Err(OpsError::NoTarget),
    }
}

async fn into_layout(
    means: &Means,
    source: &Source,
    collection: &Collection,
    layout: &OciLayout,
    name: &str,
) -> Result<BTreeMap<Digest, Action>, OpsError> {
    let written = stream::iter(collection.blobs(name, |_| true)?).map(|descriptor| async move {
        let action = blob(means, source, layout.clone(), &descriptor).await?.1;
        Ok::<_, OpsError>((descriptor.digest, action))
    });
    let mut done: BTreeMap<_, _> = written.buffered(TRANSFERS).try_collect().await?;
    let _task = Task::start(&means.reporter, Work::Publish, name, None);
    let (mut layout, collection) = (layout.clone(), collection.clone());
    let finished = blocking(move || {
        let mut done = Vec::new();
        for document in collection.documents() {
            let is_present = layout.has_blob(&document.descriptor())?;
            if !is_present {
                layout.put_manifest(document)?;
            }
            done.push((document.digest().clone(), if is_present { Action::Hit } else { Action::Copy }));
        }
        let listed = collection.documents().filter(|document| collection.referrers.contains(document.digest()));
        let listed: Vec<Descriptor> = listed.map(|document| document.descriptor()).collect();
        layout.list(&listed)?;
        Box::new(layout).finish(&collection.root.descriptor())?;
        Ok(done)
    });
    done.extend(finished.await?);
    Ok(done)
}

async fn into_archive(
    means: &Means,
    source: &Source,
    collection: &Collection,
    mut archive: DockerArchive,
    name: &str,
) -> Result<BTreeMap<Digest, Action>, OpsError> {
    let mut done = BTreeMap::new();
    for descriptor in collection.blobs(name, |_| true)? {
        let (back, action) = blob(means, source, archive, &descriptor).await?;
        archive = back;
        done.insert(descriptor.digest, action);
    }
    let _task = Task::start(&means.reporter, Work::Publish, name, None);
    done.extend(collection.documents().map(|document| (document.digest().clone(), Action::Copy)));
    let collection = collection.clone();
    blocking(move || {
        for document in collection.documents() {
            archive.put_manifest(document)?;
        }
        Ok(Box::new(archive).finish(&collection.root.descriptor())?)
    })
    .await?;
    Ok(done)
}

/// Writes one blob, unless the sink has it, and gives the sink back.
async fn blob<S: ImageSink + 'static>(
    means: &Means,
    source: &Source,
    mut sink: S,
    descriptor: &Descriptor,
) -> Result<(S, Action), OpsError> {
    let wanted = descriptor.clone();
    let (mut sink, is_present) = blocking(move || {
        let is_present = sink.has_blob(&wanted)?;
        Ok((sink, is_present))
    })
    .await?;
    if is_present {
        return Ok((sink, Action::Hit));
    }
    let work = if source.repository().is_some() { Work::Download } else { Work::Copy };
    let task = Task::start(&means.reporter, work, descriptor.digest.short(), Some(descriptor.size));
    let stream = source.body(means, descriptor)?.open(0).await?;
    let stream = stream.inspect_ok(move |bytes| task.advance(bytes.len() as u64)).map_err(std::io::Error::other);
    let mut reader = SyncIoBridge::new(StreamReader::new(stream));
    let wanted = descriptor.clone();
    let sink = blocking(move || {
        sink.put_blob(&wanted, &mut reader)?;
        Ok(sink)
    });
    Ok((sink.await?, Action::Copy))
}

/// The pieces of a reader, each read on a blocking thread while the one before is used.
pub(super) fn pieces<R: Read + Send + 'static>(reader: R) -> impl Stream<Item = std::io::Result<Bytes>> + Send {
    let step = |mut reader: R| async move {
        let read = tokio::task::spawn_blocking(move || {
            let mut piece = Vec::with_capacity(PIECE);
            (&mut reader).take(PIECE as u64).read_to_end(&mut piece).map(|_| (Bytes::from(piece), reader))
        });
        let (piece, reader) = read.await.map_err(std::io::Error::other)??;
        Ok::<_, std::io::Error>((!piece.is_empty()).then_some((piece, reader)))
    };
    stream::try_unfold(reader, step).boxed()
}
