//! The contract of a registry, which the HTTP client and the in-memory registry both keep.
//!
//! Says nothing about hosts, tokens or retries: to a use case, a registry is a place with blobs, manifests and tags.

use std::io::SeekFrom;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncSeekExt as _;
use tokio_util::io::ReaderStream;

use super::error::RegistryError;
use crate::oci::{Descriptor, Digest, Document, MediaType, Reference, Repository};

/// A request under way.
pub type Pending<'a, T> = BoxFuture<'a, Result<T, RegistryError>>;

/// The bytes of a blob; ends in an error when length or digest are not those of the descriptor.
pub type BlobStream = Pin<Box<dyn Stream<Item = Result<Bytes, RegistryError>> + Send>>;

/// Opens a blob's bytes once more, from an offset on.
pub type Reopen = Arc<dyn Fn(u64) -> BoxFuture<'static, Result<BlobStream, RegistryError>> + Send + Sync>;

/// Bytes of a file that are read at once. The connection queues several such pieces, so that more is memory and no speed.
const FILE_BUFFER: usize = 64 * 1024;

/// The bytes to push; can be opened again for another try.
#[derive(Clone)]
pub enum BlobBody {
    /// In memory.
    Bytes(Bytes),
    /// In a file, which must not change.
    File(PathBuf),
    /// From elsewhere, another registry for one.
    Stream(Reopen),
}

/// Whether a blob was mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounted {
    /// It is in the target repository now.
    Yes,
    /// It has to be pushed.
    No,
}

impl BlobBody {
    /// Opens the bytes from `offset` on; what lies beyond the end gives nothing.
    ///
    /// # Errors
    /// Fails when the file cannot be opened, or the source does not answer.
    pub async fn open(&self, offset: u64) -> Result<BlobStream, RegistryError> {
        match self {
            Self::Bytes(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                let bytes = bytes.slice(start..);
                Ok(futures_util::stream::once(std::future::ready(Ok(bytes))).boxed())
            }
            Self::File(path) => {
                let named = path.clone();
                let broken = move |source| RegistryError::Body { path: named.clone(), source };
                let mut file = tokio::fs::File::open(path).await.map_err(&broken)?;
                if offset > 0 {
                    file.seek(SeekFrom::Start(offset)).await.map_err(&broken)?;
                }
                Ok(ReaderStream::with_capacity(file, FILE_BUFFER).map_err(broken).boxed())
            }
            Self::Stream(reopen) => reopen(offset).await,
        }
    }
}

/// Drops the first `offset` bytes of a stream.
fn skipping(stream: BlobStream, offset: u64) -> BlobStream {
    let mut left = offset;
    let rest = stream.try_filter_map(move |mut chunk| {
        let known = usize::try_from(left).unwrap_or(usize::MAX).min(chunk.len());
        left -= known as u64;
        let rest = chunk.split_off(known);
        std::future::ready(Ok((!rest.is_empty()).then_some(rest)))
    });
    rest.boxed()
}

/// A registry, or several behind one client: every reference names its own.
pub trait Registry: Send + Sync {
    /// Says that `to` is going to be written to. From now on it is read from the registry itself: what a mirror says of
    /// it may be old.
    fn expect_push(&self, _to: &Repository) {}

    /// Says that a blob is being made which is going to be pushed to `to`: what can be asked before it is there may be
    /// asked now. Costs nothing when it is said in vain, and fails never.
    fn prepare_push(&self, _to: &Repository) {}

    /// What a tag or digest points at now; `None` when it is absent.
    fn resolve<'a>(&'a self, at: &'a Reference) -> Pending<'a, Option<Descriptor>>;

    /// The manifest or index at a tag or digest; `None` when it is absent. At most 4 MiB; a digest is checked; a
    /// document that could be taken for another kind is refused.
    fn manifest<'a>(&'a self, at: &'a Reference) -> Pending<'a, Option<Document>>;

    /// The size of a blob; `None` when the repository does not have it.
    fn blob_size<'a>(&'a self, at: &'a Repository, digest: &'a Digest) -> Pending<'a, Option<u64>>;

    /// Opens a blob for reading. Lost connections are resumed.
    fn read_blob<'a>(&'a self, at: &'a Repository, blob: &'a Descriptor) -> Pending<'a, BlobStream>;

    /// Opens a blob for reading from `offset` on, for an upload that goes on there. From the beginning it is verified as
    /// by [`Registry::read_blob`]; a rest is checked for its length at least, and whoever takes the whole verifies it.
    fn read_blob_from<'a>(&'a self, at: &'a Repository, blob: &'a Descriptor, offset: u64) -> Pending<'a, BlobStream> {
        Box::pin(async move { Ok(skipping(self.read_blob(at, blob).await?, offset)) })
    }

    /// A whole small blob, verified; one larger than `cap` bytes is refused before anything is fetched.
    fn fetch_blob<'a>(&'a self, at: &'a Repository, blob: &'a Descriptor, cap: u64) -> Pending<'a, Vec<u8>> {
        Box::pin(async move {
            if blob.size > cap {
                return Err(RegistryError::TooLarge { what: blob_name(at, &blob.digest), cap });
            }
            let mut stream = self.read_blob(at, blob).await?;
            let mut bytes = Vec::with_capacity(usize::try_from(blob.size).unwrap_or_default());
            while let Some(chunk) = stream.try_next().await? {
                bytes.extend_from_slice(&chunk);
            }
            Ok(bytes)
        })
    }

    /// Mounts a blob of `from` into `to`, when both are of one registry and it allows that. An upload session that the
    /// registry opens instead is used by the next push of that blob.
    fn mount<'a>(&'a self, to: &'a Repository, digest: &'a Digest, from: &'a Repository) -> Pending<'a, Mounted>;

    /// Pushes a blob, unless an earlier or concurrent push by the same client brings it there. `progress` takes the
    /// bytes that have moved since it was last called; over all tries they add up to the blob's size, or to nothing
    /// when it came another way.
    fn push_blob<'a>(
        &'a self,
        to: &'a Repository,
        blob: &'a Descriptor,
        body: BlobBody,
        progress: &'a (dyn Fn(u64) + Send + Sync),
    ) -> Pending<'a, ()>;

    /// Puts a manifest or index at a tag, or at its digest when the reference has no tag. One with a subject becomes a
    /// referrer of it.
    fn push_manifest<'a>(&'a self, at: &'a Reference, media_type: &'a MediaType, bytes: &'a [u8]) -> Pending<'a, ()>;

    /// The manifests whose subject is `subject` (distribution-spec, "Listing Referrers").
    fn referrers<'a>(&'a self, at: &'a Repository, subject: &'a Digest) -> Pending<'a, Vec<Descriptor>>;

    /// The manifests whose subject is `subject` and whose artifact type is `artifact_type`: of an image, the media type
    /// of its config (distribution-spec, "Listing Referrers").
    fn referrers_of_type<'a>(
        &'a self,
        at: &'a Repository,
        subject: &'a Digest,
        artifact_type: &'a str,
    ) -> Pending<'a, Vec<Descriptor>> {
        Box::pin(async move {
            let mut listed = self.referrers(at, subject).await?;
            listed.retain(|referrer| referrer.artifact_type.as_deref() == Some(artifact_type));
            Ok(listed)
        })
    }

    /// All tags; none when the repository does not exist.
    fn tags<'a>(&'a self, at: &'a Repository) -> Pending<'a, Vec<String>>;

    /// Some tags, as many as one request tells; none when the repository does not exist.
    fn some_tags<'a>(&'a self, at: &'a Repository) -> Pending<'a, Vec<String>> {
        self.tags(at)
    }

    /// Removes a tag, or a manifest when the reference has no tag; says whether it was there.
    fn delete<'a>(&'a self, at: &'a Reference) -> Pending<'a, bool>;
}

/// A blob as messages name it.
pub(super) fn blob_name(at: &Repository, digest: &Digest) -> String {
    format!("{}/{}@{digest}", at.registry(), at.path())
}
