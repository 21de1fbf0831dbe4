//! The bytes and the index of a layer, wherever its blob is: in a repository or in the store.
//!
//! Nothing is kept but the index.

use std::io::Read;
use std::sync::Arc;

use futures_util::TryStreamExt;
use tokio_util::io::{StreamReader, SyncIoBridge};

use crate::event::Task;
use crate::image::filesystem::{IndexError, LayerIndex};
use crate::layer::read::ReadLimits;
use crate::oci::{Compression, Descriptor, DiffId, Repository};

use super::error::OpsError;
use super::means::Means;

/// The kind of the store's records of indexes.
const LAYER: &str = "layer-index";

/// A blob and where it is.
#[derive(Clone, Debug)]
pub(super) struct LayerBlob {
    /// Which.
    pub descriptor: Descriptor,
    /// The repository; `None` for the store, which is asked first in any case.
    pub repository: Option<Repository>,
}

impl LayerBlob {
    /// How its bytes are compressed.
    pub(super) fn compression(&self) -> Compression {
        self.descriptor.media_type.layer_compression().unwrap_or(Compression::Gzip)
    }

    /// A reader of its bytes, for blocking threads; `task` is told of what arrives.
    ///
    /// # Errors
    /// Fails when the blob is nowhere, or the registry does not give it.
    pub(super) async fn open(&self, means: &Means, task: Option<Task>) -> Result<Box<dyn Read + Send>, OpsError> {
        if means.store.contains(&self.descriptor.digest).is_some()
            && let Some(file) = means.store.open_blob(&self.descriptor.digest)?
        {
            return Ok(Box::new(file));
        }
        let Some(repository) = &self.repository else {
            return Err(OpsError::LostBlob { digest: self.descriptor.digest.to_string() });
        };
        let blob = means.registry.read_blob(repository, &self.descriptor).await?;
        let traffic = Arc::clone(&means.traffic);
        let counted = blob.inspect_ok(move |bytes| {
            traffic.downloaded(bytes.len() as u64);
            if let Some(task) = &task {
                task.advance(bytes.len() as u64);
            }
        });
        Ok(Box::new(SyncIoBridge::new(StreamReader::new(counted.map_err(std::io::Error::other)))))
    }

    /// Its index out of the store.
    ///
    /// # Errors
    /// Fails when the store cannot be read.
    pub(super) fn known_index(&self, means: &Means) -> Result<Option<LayerIndex>, OpsError> {
        let bytes = means.store.record(LAYER, self.descriptor.digest.as_str())?;
        Ok(bytes.and_then(|bytes| LayerIndex::from_bytes(&bytes).ok()))
    }

    /// Reads its index, and the digest of the tar inside.
    ///
    /// # Errors
    /// Fails when the blob cannot be had; inside, when it is no layer.
    pub(super) async fn read_index(
        &self,
        means: &Means,
        task: Task,
    ) -> Result<Result<(LayerIndex, DiffId), IndexError>, OpsError> {
        let (reader, compression) = (self.open(means, Some(task)).await?, self.compression());
        let limits = ReadLimits::default();
        let read = tokio::task::spawn_blocking(move || LayerIndex::read(reader, compression, &limits));
        let read = read.await.map_err(OpsError::Worker)?;
        Ok(read.map(|(index, _, diff_id)| (index, diff_id)))
    }

    /// Keeps its index in the store.
    ///
    /// # Errors
    /// Fails when the store cannot be written.
    pub(super) fn keep_index(&self, means: &Means, index: &LayerIndex) -> Result<(), OpsError> {
        if let Ok(bytes) = index.to_bytes() {
            means.store.put_record(LAYER, self.descriptor.digest.as_str(), &bytes)?;
        }
        Ok(())
    }
}
