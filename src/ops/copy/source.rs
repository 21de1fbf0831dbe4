//! Where an image is read from: documents, blobs and referrers, whatever kind of place it is.
//!
//! Every byte is compared with its digest on its way; nothing is kept.

use std::io::Read as _;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _};

use crate::oci::{Descriptor, Digest, Document, Reference, Repository};
use crate::registry::{BlobBody, BlobStream, RegistryError};
use crate::store::{ArchiveReader, BlobSlice, OciLayout};

use super::super::error::OpsError;
use super::super::means::Means;
use super::super::{parent, transfer};
use super::error::CopyError;
use super::locator::Locator;

/// A place that is open for reading.
#[derive(Clone)]
pub(in crate::ops) enum Source {
    /// A repository.
    Registry(Repository),
    /// An OCI layout.
    Layout(Arc<OciLayout>),
    /// A docker archive.
    Archive(Arc<ArchiveReader>),
}

/// Opens a place and reads the document of the image.
pub(super) async fn open(means: &Means, at: &Locator) -> Result<(Source, Document), OpsError> {
    match at {
        Locator::Registry(reference) => {
            let named = parent::tagged(reference)?;
            let found = means.registry.manifest(&named).await?;
            let root = found.ok_or_else(|| CopyError::NoSource(named.to_string()))?;
            means.traffic.downloaded(root.bytes().len() as u64);
            Ok((Source::Registry(named.repository()), root))
        }
        Locator::OciLayout { path, tag, digest } => {
            let (path, tag, digest) = (path.clone(), tag.clone(), digest.clone());
            let opened = blocking(move || {
                let layout = OciLayout::open(&path)?;
                let root = match digest {
                    Some(digest) => layout.document_at(&digest)?,
                    None => Some(layout.document(&layout.select(tag.as_deref())?)?),
                };
                Ok((layout, root))
            });
            let (layout, root) = opened.await?;
            let root = root.ok_or_else(|| CopyError::NoSource(at.to_string()))?;
            Ok((Source::Layout(Arc::new(layout)), root))
        }
        Locator::DockerArchive { path, names } => {
            let (path, name) = (path.clone(), names.first().cloned());
            let archive = blocking(move || Ok(ArchiveReader::open(&path, name.as_ref())?)).await?;
            let root = archive.root().clone();
            Ok((Source::Archive(Arc::new(archive)), root))
        }
    }
}

/// Runs file work where it may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, OpsError> + Send + 'static,
) -> Result<T, OpsError> {
    tokio::task::spawn_blocking(work).await.map_err(OpsError::Worker)?
}

impl Source {
    /// The repository, when it is one.
    pub(super) fn repository(&self) -> Option<&Repository> {
        match self {
            Self::Registry(repository) => Some(repository),
            Self::Layout(_) | Self::Archive(_) => None,
        }
    }

    /// Whether it is a repository of the same registry, from which blobs can be mounted.
    pub(super) fn is_of_registry(&self, of: &Repository) -> bool {
        self.repository().is_some_and(|repository| repository.registry() == of.registry())
    }

    /// The document with this digest; `None` when there is none.
    pub(super) async fn document(&self, means: &Means, digest: &Digest) -> Result<Option<Document>, OpsError> {
        match self {
            Self::Registry(repository) => {
                let found = means.registry.manifest(&Reference::pinned(repository, digest)).await?;
                means.traffic.downloaded(found.as_ref().map_or(0, |document| document.bytes().len() as u64));
                Ok(found)
            }
            Self::Layout(layout) => {
                let (layout, digest) = (Arc::clone(layout), digest.clone());
                blocking(move || Ok(layout.document_at(&digest)?)).await
            }
            Self::Archive(archive) => Ok(archive.document(digest).cloned()),
        }
    }

    /// What names `subject` as its subject, as the place lists it.
    pub(super) async fn referrers(&self, means: &Means, subject: &Digest) -> Result<Vec<Descriptor>, OpsError> {
        match self {
            Self::Registry(repository) => Ok(means.registry.referrers(repository, subject).await?),
            Self::Layout(layout) => {
                let (layout, subject) = (Arc::clone(layout), subject.clone());
                blocking(move || Ok(layout.referrers(&subject)?)).await
            }
            Self::Archive(_) => Ok(Vec::new()),
        }
    }

    /// The bytes of a blob, to be pushed or written.
    pub(super) fn body(&self, means: &Means, blob: &Descriptor) -> Result<BlobBody, OpsError> {
        Ok(match self {
            Self::Registry(repository) => transfer::body(means, repository, blob),
            Self::Layout(layout) => sliced(layout.slice(blob)?, blob),
            Self::Archive(archive) => sliced(archive.slice(blob)?, blob),
        })
    }

    /// A whole small blob.
    pub(super) async fn fetch(&self, means: &Means, blob: &Descriptor, cap: u64) -> Result<Vec<u8>, OpsError> {
        if blob.size > cap {
            return Err(RegistryError::TooLarge { what: blob.digest.to_string(), cap }.into());
        }
        let mut stream = self.body(means, blob)?.open(0).await?;
        let mut bytes = Vec::new();
        while let Some(chunk) = stream.try_next().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// A part of a file as a body; ends in an error when it is not what the descriptor says.
fn sliced(slice: BlobSlice, blob: &Descriptor) -> BlobBody {
    let blob = blob.clone();
    BlobBody::Stream(Arc::new(move |offset| {
        let (slice, blob) = (slice.clone(), blob.clone());
        Box::pin(async move {
            let path = slice.path().to_owned();
            let broken = move |source| RegistryError::Body { path: path.clone(), source };
            let opened = tokio::task::spawn_blocking(move || {
                let mut reader = slice.open(&blob)?;
                // What comes before is read too, since the digest is over the whole.
                std::io::copy(&mut (&mut reader).take(offset), &mut std::io::sink())?;
                Ok(reader)
            })
            .await;
            let reader = opened.map_err(std::io::Error::other).and_then(|opened| opened).map_err(&broken)?;
            Ok(super::sink::pieces(reader).map_err(broken).boxed() as BlobStream)
        })
    }))
}
