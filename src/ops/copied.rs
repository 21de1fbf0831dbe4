//! Files copied out of another stage or image: planned by what is known, made from its layers.
//!
//! Only layers that hold something of it are fetched, and none is unpacked to disk.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::runtime::Handle;

use crate::event::{Task, Work};
use crate::image::filesystem::{Filesystem, LayerIndex, View};
use crate::inputs::copy::{CopyError, SourceLayer, copy_from_view, write_from_layers};
use crate::layer::LayerWriter;
use crate::plan::files::{CopiedFiles, CopyArguments, CopySource, FileContent, PlacedKind, StageFiles, copied_layer};
use crate::plan::{Making, PlannedLayer};
use crate::store::BlobWriter;

use super::error::OpsError;
use super::layer_blob::LayerBlob;
use super::means::Means;

/// How many layers are streamed at once for their indexes.
const STREAMS: usize = 4;

/// Plans a `COPY --from`: the layer, and the stage's files after it.
///
/// `files` are those of the source, as far as they are known; what is not stays unknown in the stage.
///
/// # Errors
/// Fails as [`copy_from_view`] does.
pub fn plan_copy(
    source: &CopySource,
    files: &View,
    arguments: &CopyArguments,
    stage: &StageFiles,
    title: String,
) -> Result<(PlannedLayer, StageFiles), CopyError> {
    let selection = copy_from_view(arguments, files, &source.name, stage)?;
    let layer = copied_layer(source, arguments, stage, &selection.placed.files, title);
    Ok((layer, selection.placed.after))
}

/// Bytes that `layer` fetches when it is made: those of the layers that hold contents of it, each once for every line
/// that copies. `None` where it is no copy, and where what is in a layer is not known yet.
///
/// # Errors
/// Fails when the store cannot be read.
pub(super) fn fetched(means: &Means, layer: &PlannedLayer) -> Result<Option<u64>, OpsError> {
    let Some(Making::Copied(copied)) = &layer.making else { return Ok(None) };
    let CopiedFiles { source, arguments, before } = &**copied;
    let (mut blobs, mut indexes) = (Vec::new(), Vec::new());
    for layer in &source.layers {
        let Some((descriptor, _)) = &layer.blob else { return Ok(None) };
        let blob = LayerBlob { descriptor: descriptor.clone(), repository: None };
        let Some(index) = blob.known_index(means)? else { return Ok(None) };
        indexes.push(index);
        blobs.push(blob);
    }
    let view = View::new(Arc::new(Filesystem::merge_located(indexes)?));
    let selection = copy_from_view(arguments, &view, &source.name, before)?;
    let wanted = selection.placed.files.entries.iter().filter_map(|entry| match &entry.kind {
        PlacedKind::File { size: 1.., content: FileContent::Layer(origin) } => Some(origin.layer),
        _ => None,
    });
    let wanted: BTreeSet<usize> = wanted.collect();
    let absent = wanted.into_iter().filter_map(|at| blobs.get(at)).map(|blob| &blob.descriptor);
    Ok(Some(absent.filter(|blob| means.store.contains(&blob.digest).is_none()).map(|blob| blob.size).sum()))
}

/// The layers that are copied from, each with its index.
#[derive(Default)]
pub(super) struct CopiedLayers {
    blobs: Vec<LayerBlob>,
    indexes: Vec<LayerIndex>,
}

impl CopiedLayers {
    /// Finds or reads the indexes of `blobs`, the layers of the stage or image `name`.
    ///
    /// # Errors
    /// Fails when a layer cannot be had, or is none.
    pub(super) async fn open(means: &Means, name: &str, blobs: Vec<LayerBlob>) -> Result<Self, OpsError> {
        let index = |blob: LayerBlob| async move {
            if let Some(index) = blob.known_index(means)? {
                return Ok(index);
            }
            let digest = blob.descriptor.digest.clone();
            let task = Task::start(&means.reporter, Work::Index, digest.short(), Some(blob.descriptor.size));
            let read = blob.read_index(means, task).await?;
            let broken = |source| OpsError::CopySource { name: name.into(), digest: digest.to_string(), source };
            let (index, _) = read.map_err(broken)?;
            blob.keep_index(means, &index)?;
            Ok::<_, OpsError>(index)
        };
        let indexes = stream::iter(blobs.clone()).map(index).buffered(STREAMS).try_collect().await?;
        Ok(Self { blobs, indexes })
    }

    /// Writes the layer, on a blocking thread of the runtime.
    ///
    /// # Errors
    /// Fails when what is copied is not there, conflicts with what the stage has, or cannot be read.
    pub(super) fn write(
        self,
        means: &Means,
        copied: &CopiedFiles,
        writer: &mut LayerWriter<BlobWriter>,
    ) -> Result<(), OpsError> {
        let CopiedFiles { source, arguments, before } = copied;
        let view = View::new(Arc::new(Filesystem::merge_located(self.indexes)?));
        let selection = copy_from_view(arguments, &view, &source.name, before)?;
        let runtime = Handle::current();
        let mut open = |layer: usize| {
            let blob = self.blobs.get(layer).ok_or_else(|| io::Error::other("no such layer"))?;
            let reader = runtime.block_on(blob.open(means, None)).map_err(io::Error::other)?;
            let (compression, digest) = (blob.compression(), blob.descriptor.digest.clone());
            Ok(SourceLayer { blob: reader, compression, digest })
        };
        Ok(write_from_layers(&selection.placed.files, &mut open, writer)?)
    }
}

#[cfg(test)]
mod tests;
