//! An in-memory registry: strict as the specification, for tests and dry runs.
//!
//! Knows neither users nor networks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;

use super::auth::lock;
use super::contract::{BlobBody, BlobStream, Mounted, Pending, Registry, blob_name};
use super::error::RegistryError;
use super::referrers::referrer;
use crate::oci::{Descriptor, Digest, Digester, Document, MediaType, Reference, Repository};

const PIECE: usize = 64 * 1024;

/// Registries in memory; each domain is one. Clones share their content.
#[derive(Clone, Default)]
pub struct Memory(Arc<Mutex<BTreeMap<(String, String), Content>>>);

#[derive(Default)]
struct Content {
    blobs: BTreeMap<Digest, Bytes>,
    manifests: BTreeMap<Digest, (MediaType, Bytes)>,
    tags: BTreeMap<String, Digest>,
}

impl Memory {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    fn with<T>(&self, at: &Repository, work: impl FnOnce(&mut Content) -> T) -> T {
        let key = (at.registry().to_owned(), at.path().to_owned());
        work(lock(&self.0).entry(key).or_default())
    }

    fn find(&self, at: &Reference) -> Option<(MediaType, Digest, Bytes)> {
        self.with(&at.repository(), |content| {
            let digest = match at.digest() {
                Some(digest) => digest,
                None => content.tags.get(at.tag()?)?,
            };
            let (media_type, bytes) = content.manifests.get(digest)?;
            Some((media_type.clone(), digest.clone(), bytes.clone()))
        })
    }

    fn document(&self, at: &Reference) -> Result<Option<Document>, RegistryError> {
        let Some((media_type, digest, bytes)) = self.find(at) else { return Ok(None) };
        read(at, &media_type, bytes.to_vec(), Some(&digest)).map(Some)
    }

    fn blob(&self, at: &Repository, blob: &Descriptor) -> Result<Bytes, RegistryError> {
        let what = blob_name(at, &blob.digest);
        let found = self.with(at, |content| content.blobs.get(&blob.digest).cloned());
        let bytes = found.ok_or_else(|| RegistryError::NotFound { what: what.clone() })?;
        let actual = bytes.len() as u64;
        if actual != blob.size {
            return Err(RegistryError::WrongLength { what, expected: blob.size, actual });
        }
        Ok(bytes)
    }

    fn put(&self, at: &Reference, media_type: &MediaType, bytes: &[u8]) -> Result<(), RegistryError> {
        if at.tag().is_none() && at.digest().is_none() {
            return Err(RegistryError::Unnamed(at.to_string()));
        }
        let document = read(at, media_type, bytes.to_vec(), at.digest())?;
        let digest = document.digest().clone();
        self.with(&at.repository(), |content| {
            let missing = match &document {
                Document::Manifest(manifest) => {
                    let parts = std::iter::once(&manifest.value().config).chain(&manifest.value().layers);
                    let mut due = parts.filter(|part| !part.media_type.is_non_distributable());
                    due.find(|part| !content.blobs.contains_key(&part.digest))
                }
                Document::Index(index) => {
                    index.value().manifests.iter().find(|part| !content.manifests.contains_key(&part.digest))
                }
            };
            if let Some(part) = missing {
                let detail = format!(": `{}`", part.digest);
                return Err(RegistryError::MissingParts { repository: at.repository().to_string(), detail });
            }
            content.manifests.insert(digest.clone(), (media_type.clone(), Bytes::copy_from_slice(bytes)));
            if let Some(tag) = at.tag() {
                content.tags.insert(tag.to_owned(), digest);
            }
            Ok(())
        })
    }

    async fn take(
        &self,
        to: &Repository,
        blob: &Descriptor,
        body: BlobBody,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), RegistryError> {
        let what = blob_name(to, &blob.digest);
        let mut stream = body.open(0).await?;
        let mut bytes = Vec::new();
        let mut digester = Digester::new(blob.digest.algorithm());
        while let Some(chunk) = stream.next().await {
            let chunk = chunk?;
            digester.update(&chunk);
            bytes.extend_from_slice(&chunk);
            progress(chunk.len() as u64);
        }
        let (expected, actual) = (blob.size, bytes.len() as u64);
        if actual != expected {
            return Err(RegistryError::WrongLength { what, expected, actual });
        }
        let actual = digester.finish();
        if actual != blob.digest {
            return Err(RegistryError::WrongDigest { what, actual: Box::new(actual) });
        }
        self.with(to, |content| content.blobs.insert(actual, bytes.into()));
        Ok(())
    }
}

fn read(
    at: &Reference,
    media_type: &MediaType,
    bytes: Vec<u8>,
    expected: Option<&Digest>,
) -> Result<Document, RegistryError> {
    let broken = |source| RegistryError::Document { what: at.to_string(), source: Box::new(source) };
    Document::read(Some(media_type.as_str()), bytes, expected).map_err(broken)
}

fn done<'a, T: Send + 'a>(result: Result<T, RegistryError>) -> Pending<'a, T> {
    Box::pin(std::future::ready(result))
}

impl Registry for Memory {
    fn resolve<'a>(&'a self, at: &'a Reference) -> Pending<'a, Option<Descriptor>> {
        done(self.document(at).map(|found| found.map(|document| document.descriptor())))
    }

    fn manifest<'a>(&'a self, at: &'a Reference) -> Pending<'a, Option<Document>> {
        done(self.document(at))
    }

    fn blob_size<'a>(&'a self, at: &'a Repository, digest: &'a Digest) -> Pending<'a, Option<u64>> {
        done(Ok(self.with(at, |content| content.blobs.get(digest).map(|bytes| bytes.len() as u64))))
    }

    fn read_blob<'a>(&'a self, at: &'a Repository, blob: &'a Descriptor) -> Pending<'a, BlobStream> {
        done(self.blob(at, blob).map(|bytes| {
            let pieces: Vec<_> = (0..bytes.len()).step_by(PIECE).collect();
            let piece = move |start: usize| Ok(bytes.slice(start..bytes.len().min(start + PIECE)));
            stream::iter(pieces).map(piece).boxed()
        }))
    }

    fn mount<'a>(&'a self, to: &'a Repository, digest: &'a Digest, from: &'a Repository) -> Pending<'a, Mounted> {
        let known = if to.registry() == from.registry() {
            self.with(from, |content| content.blobs.get(digest).cloned())
        } else {
            None
        };
        done(Ok(match known {
            Some(bytes) => {
                self.with(to, |content| content.blobs.insert(digest.clone(), bytes));
                Mounted::Yes
            }
            None => Mounted::No,
        }))
    }

    fn push_blob<'a>(
        &'a self,
        to: &'a Repository,
        blob: &'a Descriptor,
        body: BlobBody,
        progress: &'a (dyn Fn(u64) + Send + Sync),
    ) -> Pending<'a, ()> {
        Box::pin(self.take(to, blob, body, progress))
    }

    fn push_manifest<'a>(&'a self, at: &'a Reference, media_type: &'a MediaType, bytes: &'a [u8]) -> Pending<'a, ()> {
        done(self.put(at, media_type, bytes))
    }

    fn referrers<'a>(&'a self, at: &'a Repository, subject: &'a Digest) -> Pending<'a, Vec<Descriptor>> {
        done(Ok(self.with(at, |content| {
            let all = content.manifests.values().filter_map(|(media_type, bytes)| referrer(media_type, bytes));
            all.filter(|(of, _)| of == subject).map(|(_, descriptor)| descriptor).collect()
        })))
    }

    fn tags<'a>(&'a self, at: &'a Repository) -> Pending<'a, Vec<String>> {
        done(Ok(self.with(at, |content| content.tags.keys().cloned().collect())))
    }

    fn delete<'a>(&'a self, at: &'a Reference) -> Pending<'a, bool> {
        done(Ok(self.with(&at.repository(), |content| match (at.tag(), at.digest()) {
            (Some(tag), _) => content.tags.remove(tag).is_some(),
            (None, Some(digest)) => {
                content.tags.retain(|_, tagged| tagged != digest);
                content.manifests.remove(digest).is_some()
            }
            (None, None) => false,
        })))
    }
}
