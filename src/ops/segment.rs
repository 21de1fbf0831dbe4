//! Segments of a backend: found in the target repository by key, else built.
//!
//! Decides neither what needs a backend nor what becomes of the image; the caller takes it as a parent like any other.

use crate::backend::{BackendError, Logins, Order, Segment};
use crate::diagnostic::{Class, Diagnose};
use crate::oci::{
    CONFIG_CAP, Descriptor, Digest, Document, ImageConfig, Manifest, Platform, Raw, Reference, Repository,
};
use crate::plan::SegmentKey;

use super::error::OpsError;
use super::means::Means;
use super::parent::tagged;

/// What is asked about a segment.
#[derive(Clone, Copy, Debug)]
pub struct SegmentRequest<'a> {
    /// The repository that the image goes to, and that remembers it.
    pub target: &'a Repository,
    /// The backend to take; `None` for the first that can be used.
    pub backend: Option<&'a str>,
    /// Build anew whatever is remembered.
    pub refresh: bool,
    /// Where that stands which needs a backend: file and line of a Dockerfile.
    pub place: Option<&'a str>,
    /// What needs a backend, as the user wrote it: `RUN make`, `apt_packages`.
    pub instruction: &'a str,
    /// Why it cannot be done without, as a clause: `it runs a program`.
    pub reason: &'a str,
}

/// The image of a segment.
#[derive(Clone, Debug)]
pub struct SegmentImage {
    /// `repository@digest`, a manifest of the segment's platform.
    pub reference: Reference,
    /// The manifest.
    pub descriptor: Descriptor,
    /// The segment's key.
    pub key: SegmentKey,
    /// Which backend made it now; `None` when it was there.
    pub made_by: Option<String>,
}

impl SegmentImage {
    /// Whether it was there already.
    pub fn is_reused(&self) -> bool {
        self.made_by.is_none()
    }
}

/// What will be done about a segment.
#[derive(Clone, Debug)]
pub enum PlannedSegment {
    /// Nothing: the target repository has its image.
    Reused(Box<SegmentImage>),
    /// A backend builds it.
    Build {
        /// The segment's key.
        key: SegmentKey,
        /// The backend's name.
        backend: String,
    },
}

/// Why there is no image of a segment.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Nothing can build it.
    #[error("{}`{instruction}` needs a backend: {reason}", before(.place))]
    NoBackend {
        /// Where it stands; file and line of a Dockerfile.
        place: Option<String>,
        /// What needs one.
        instruction: String,
        /// Why.
        reason: String,
        /// Why there is none.
        #[source]
        source: BackendError,
    },
    /// The backend pushed another platform's image.
    #[error("backend `{backend}` was asked for {wanted} and made an image for {made}")]
    Platform {
        /// The backend.
        backend: String,
        /// What was asked for.
        wanted: String,
        /// What came.
        made: String,
    },
    /// What the backend says it pushed is not there.
    #[error("backend `{backend}` says that it pushed `{reference}`, and the registry does not have it")]
    NotPushed {
        /// The backend.
        backend: String,
        /// The image.
        reference: String,
    },
}

fn before(place: &Option<String>) -> String {
    place.as_ref().map(|place| format!("{place}: ")).unwrap_or_default()
}

impl Diagnose for SegmentError {
    fn class(&self) -> Class {
        match self {
            Self::NoBackend { source, .. } => source.class(),
            _ => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NoBackend { source, .. } => source.hint(),
            Self::Platform { .. } => {
                Some("build on a machine that runs the platform, or choose another backend".into())
            }
            Self::NotPushed { .. } => {
                Some("see that the backend reaches the registry under the same name as this machine does".into())
            }
        }
    }
}

/// What [`find_or_build`] would do. Downloads the remembered image's documents at the most.
///
/// # Errors
/// Fails when the context cannot be read, the registry does not answer, or there is no backend and one is needed.
pub async fn find(means: &Means, request: SegmentRequest<'_>, segment: &Segment) -> Result<PlannedSegment, OpsError> {
    find_keyed(means, request, segment, &key_of(segment).await?).await
}

/// The same for a segment whose key is known.
///
/// # Errors
/// As [`find`].
pub(super) async fn find_keyed(
    means: &Means,
    request: SegmentRequest<'_>,
    segment: &Segment,
    key: &SegmentKey,
) -> Result<PlannedSegment, OpsError> {
    if !request.refresh
        && let Some(image) = remembered(means, request.target, key, &segment.platform).await?
    {
        return Ok(PlannedSegment::Reused(Box::new(image)));
    }
    Ok(PlannedSegment::Build { key: key.clone(), backend: backend_for(means, request).await? })
}

/// The image of `segment` in the target repository, built when it is not there.
///
/// # Errors
/// Fails as [`find`] does, and when the backend fails; the segment's tag then stands where it stood.
pub async fn find_or_build(
    means: &Means,
    request: SegmentRequest<'_>,
    segment: &Segment,
) -> Result<SegmentImage, OpsError> {
    find_or_build_keyed(means, request, segment, key_of(segment).await?).await
}

/// The same for a segment whose key is known.
///
/// # Errors
/// As [`find_or_build`].
pub(super) async fn find_or_build_keyed(
    means: &Means,
    request: SegmentRequest<'_>,
    segment: &Segment,
    key: SegmentKey,
) -> Result<SegmentImage, OpsError> {
    if let PlannedSegment::Reused(image) = find_keyed(means, request, segment, &key).await? {
        return Ok(*image);
    }
    let (store, name) = (means.store.clone(), key.to_string());
    // Of several builds on one machine one makes the segment, and the others find it.
    let _claim = tokio::task::spawn_blocking(move || store.claim(&name)).await.map_err(OpsError::Worker)??;
    if !request.refresh
        && let Some(image) = remembered(means, request.target, &key, &segment.platform).await?
    {
        return Ok(image);
    }
    build(means, request, segment, key).await
}

/// The key of `segment`, for which its context is read.
///
/// # Errors
/// Fails when the context cannot be read.
pub(super) async fn key_of(segment: &Segment) -> Result<SegmentKey, OpsError> {
    let segment = segment.clone();
    Ok(tokio::task::spawn_blocking(move || segment.key()).await.map_err(OpsError::Worker)??)
}

/// The name of the backend that would build a segment which nobody remembers.
///
/// # Errors
/// Fails when there is none.
pub(super) async fn backend_for(means: &Means, request: SegmentRequest<'_>) -> Result<String, OpsError> {
    let backend = means.backends.choose(request.backend).await.map_err(|source| no_backend(request, source))?;
    Ok(backend.name().to_owned())
}

fn no_backend(request: SegmentRequest<'_>, source: BackendError) -> SegmentError {
    let place = request.place.map(str::to_owned);
    SegmentError::NoBackend { place, instruction: request.instruction.into(), reason: request.reason.into(), source }
}

/// What may become of a segment, before anything of it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// A backend can build it, as far as that was asked.
    Built,
    /// No backend can, and the target repository remembers segments.
    Remembered,
}

/// Fails when nobody can build what `request` is about, and nobody has built it: no backend is at hand, and the target
/// repository remembers no segment. With `asks_it` backends are asked, which may start a program; else it counts that
/// one is installed.
///
/// Asked before anything is fetched that a segment would begin with.
///
/// # Errors
/// Fails when there is no backend, and says why.
pub(super) async fn expect_possible(
    means: &Means,
    request: SegmentRequest<'_>,
    asks_it: bool,
) -> Result<Expected, OpsError> {
    if !asks_it && means.backends.is_any_installed(request.backend) {
        return Ok(Expected::Built);
    }
    let Err(source) = means.backends.choose(request.backend).await else { return Ok(Expected::Built) };
    let remembers = |tags: Vec<String>| tags.iter().any(|tag| tag.starts_with(SegmentKey::TAG_PREFIX));
    // A repository that does not list its tags may remember.
    if !request.refresh && means.registry.tags(request.target).await.map_or(true, remembers) {
        return Ok(Expected::Remembered);
    }
    Err(no_backend(request, source).into())
}

async fn build(
    means: &Means,
    request: SegmentRequest<'_>,
    segment: &Segment,
    key: SegmentKey,
) -> Result<SegmentImage, OpsError> {
    let backend = means.backends.choose(request.backend).await.map_err(|source| no_backend(request, source))?;
    let logins: Logins = means.backends.logins(segment, request.target).await?;
    let scratch = means.store.scratch()?;
    let push_to = Reference::tagged(request.target, &key.tag())?;
    let segment = Segment { no_cache: segment.no_cache || request.refresh, ..segment.clone() };
    means.registry.expect_push(request.target);
    let order = Order {
        segment: &segment,
        push_to: &push_to,
        logins: &logins,
        scratch: scratch.path(),
        reporter: &means.reporter,
    };
    let digest = backend.build(&order).await?;
    let made_by = backend.name().to_owned();
    let pushed = pushed(means, &push_to, &digest, &segment.platform).await?;
    let reference = Reference::pinned(request.target, &digest).to_string();
    let manifest = pushed.ok_or_else(|| SegmentError::NotPushed { backend: made_by.clone(), reference })?;
    let made = platform(means, request.target, manifest.value()).await?;
    if !made.serves(&segment.platform) {
        // Under the key's tag it would be found again.
        let _ = means.registry.delete(&push_to).await;
        let (wanted, made) = (segment.platform.to_string(), made.to_string());
        return Err(SegmentError::Platform { backend: made_by, wanted, made }.into());
    }
    let stands = means.registry.resolve(&push_to).await?;
    if stands.is_none_or(|stands| stands.digest != *manifest.digest()) {
        means
            .registry
            .push_manifest(&push_to, &Document::Manifest(manifest.clone()).media_type(), manifest.bytes())
            .await?;
    }
    Ok(image(request.target, &manifest, key, Some(made_by)))
}

/// The manifest that a backend pushed, by its digest or, where a backend names the digest of something else, by its tag.
async fn pushed(
    means: &Means,
    at: &Reference,
    digest: &Digest,
    platform: &Platform,
) -> Result<Option<Raw<Manifest>>, OpsError> {
    let repository = at.repository();
    let by_digest = means.registry.manifest(&Reference::pinned(&repository, digest)).await?;
    let document = match by_digest {
        Some(document) => Some(document),
        None => means.registry.manifest(at).await?,
    };
    manifest_of(means, &repository, document, platform).await
}

async fn manifest_of(
    means: &Means,
    at: &Repository,
    document: Option<Document>,
    platform: &Platform,
) -> Result<Option<Raw<Manifest>>, OpsError> {
    match document {
        None => Ok(None),
        Some(Document::Manifest(manifest)) => Ok(Some(manifest)),
        Some(Document::Index(index)) => {
            // Some engines wrap an image and its provenance in an index.
            let Some(entry) = index.value().select(platform) else { return Ok(None) };
            match means.registry.manifest(&Reference::pinned(at, &entry.digest)).await? {
                Some(Document::Manifest(manifest)) => Ok(Some(manifest)),
                _ => Ok(None),
            }
        }
    }
}

/// The image that an earlier build left under the key's tag; one for another platform counts as none.
async fn remembered(
    means: &Means,
    at: &Repository,
    key: &SegmentKey,
    wanted: &Platform,
) -> Result<Option<SegmentImage>, OpsError> {
    let document = means.registry.manifest(&Reference::tagged(at, &key.tag())?).await?;
    let Some(manifest) = manifest_of(means, at, document, wanted).await? else { return Ok(None) };
    means.traffic.downloaded(manifest.bytes().len() as u64);
    let found = platform(means, at, manifest.value()).await?;
    Ok(found.serves(wanted).then(|| image(at, &manifest, key.clone(), None)))
}

async fn platform(means: &Means, at: &Repository, manifest: &Manifest) -> Result<Platform, OpsError> {
    let bytes = match means.store.read(&manifest.config.digest, CONFIG_CAP as u64)? {
        Some(bytes) => bytes,
        None => {
            let bytes = means.registry.fetch_blob(at, &manifest.config, CONFIG_CAP as u64).await?;
            means.traffic.downloaded(bytes.len() as u64);
            means.store.put(&bytes)?;
            bytes
        }
    };
    let config = Raw::<ImageConfig>::read(bytes, Some(&manifest.config.digest))
        .map_err(|source| OpsError::ParentDocument { reference: at.to_string(), source })?;
    Ok(config.value().platform())
}

fn image(at: &Repository, manifest: &Raw<Manifest>, key: SegmentKey, made_by: Option<String>) -> SegmentImage {
    SegmentImage {
        reference: Reference::pinned(at, manifest.digest()),
        descriptor: Document::Manifest(manifest.clone()).descriptor(),
        key,
        made_by,
    }
}

/// `segment` with a digest at each image that its Dockerfile names by tag; names with variables stay as they are.
///
/// # Errors
/// Fails when an image does not exist or its registry does not answer.
pub async fn pin(means: &Means, segment: &Segment) -> Result<Segment, OpsError> {
    let mut digests: Vec<(Reference, Digest)> = Vec::new();
    for named in segment.images()?.into_iter().filter(|named| named.digest().is_none()) {
        let absent = || OpsError::NoParent { reference: named.to_string() };
        let descriptor = means.registry.resolve(&tagged(&named)?).await?.ok_or_else(absent)?;
        digests.push((named, descriptor.digest));
    }
    let pinned = |image: &Reference| {
        let found = digests.iter().find(|(named, _)| named == image);
        found.map(|(named, digest)| named.with_digest(digest))
    };
    Ok(segment.clone().with_images(&pinned)?)
}
