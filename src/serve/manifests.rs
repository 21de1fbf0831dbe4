//! Manifests: reading, checking, putting, deleting (distribution-spec, "Pushing manifests").
//!
//! The bytes are kept as they came; only what they refer to is looked at.

use std::collections::BTreeMap;
use std::fs;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderName, LOCATION};
use hyper::{Request, StatusCode};
use serde::Deserialize;
use tokio::task::spawn_blocking;

use super::answer::{Answer, CONTENT_DIGEST, Code, Refusal, empty, header, with_body};
use super::blobs::content;
use super::body;
use super::exchange::Registry;
use super::route::{Name, Query, Target, parse_tag};
use super::storage::{Kept, Storage};
use crate::oci::{Digest, Digester, MediaType};
use crate::store::{StoreError, folder};

/// The largest manifest in bytes, as distribution-spec advises.
const LIMIT: usize = 4 * 1024 * 1024;
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
const TAG: HeaderName = HeaderName::from_static("oci-tag");

/// What a manifest or index refers to.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: Option<String>,
    artifact_type: Option<String>,
    config: Option<Pointer>,
    layers: Option<Vec<Pointer>>,
    manifests: Option<Vec<Pointer>>,
    subject: Option<Pointer>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pointer {
    media_type: MediaType,
    digest: Digest,
    size: u64,
}

/// The digests in a manifest or index.
pub(super) struct References {
    pub(super) blobs: Vec<Digest>,
    pub(super) manifests: Vec<Digest>,
    pub(super) subject: Option<Digest>,
}

impl References {
    /// Reads what content refers to; `None` when there is no such content.
    pub(super) fn of(storage: &Storage, digest: &Digest) -> Result<Option<Self>, StoreError> {
        let path = storage.content(digest);
        let bytes = match fs::read(&path) {
            Err(error) if folder::is_absent(&error) => return Ok(None),
            read => read.map_err(|error| StoreError::io("read", &path, error))?,
        };
        let read = serde_json::from_slice::<Document>(&bytes);
        let document = read.map_err(|error| StoreError::io("read", &path, error.into()))?;
        let digests = |pointers: Option<Vec<Pointer>>| pointers.into_iter().flatten().map(|pointer| pointer.digest);
        Ok(Some(Self {
            blobs: digests(document.layers).chain(document.config.map(|config| config.digest)).collect(),
            manifests: digests(document.manifests).collect(),
            subject: document.subject.map(|subject| subject.digest),
        }))
    }
}

/// Answers HEAD and GET for a manifest.
pub(super) fn fetch(registry: &Registry, name: &Name, target: &Target, is_head: bool) -> Result<Answer, Refusal> {
    let kept = find(&registry.storage, name, target).ok_or_else(|| unknown(name, target))?;
    if is_head && !registry.is_read_only {
        registry.storage.touch(name, &kept.digest);
    }
    let body = if is_head { None } else { Some(content(registry, &kept.digest, 0, kept.size)?) };
    let answer = header(with_body(StatusCode::OK, kept.size, body), CONTENT_TYPE, &kept.media_type);
    Ok(header(answer, CONTENT_DIGEST, kept.digest.as_str()))
}

/// Answers PUT for a manifest.
pub(super) async fn put(
    registry: &Registry,
    name: Name,
    target: Target,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let declared = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let declared = declared.map(|text| text.split(';').next().unwrap_or_default().trim().to_owned());
    let mut tags = query.all("tag").map(parse_tag).collect::<Result<Vec<_>, _>>()?;
    let bytes = body::whole(request.into_body(), LIMIT, registry.silence).await?;
    let digest = match &target {
        Target::Digest(expected) => {
            let mut digester = Digester::new(expected.algorithm());
            digester.update(&bytes);
            digester.finish()
        }
        Target::Tag(_) => Digest::of(&bytes),
    };
    let extra = tags.clone();
    match target {
        Target::Digest(expected) if expected != digest => {
            return Err(Code::DigestInvalid.refuse(format!("expected `{expected}`, received `{digest}`")));
        }
        Target::Digest(_) => {}
        Target::Tag(tag) => tags.push(tag),
    }
    let (document, media_type) = read(&bytes, declared)?;
    let location = format!("/v2/{}/manifests/{digest}", name.as_str());
    let mut answer = header(empty(StatusCode::CREATED), LOCATION, &location);
    answer = header(answer, CONTENT_DIGEST, digest.as_str());
    if let Some(subject) = &document.subject {
        answer = header(answer, SUBJECT, subject.digest.as_str());
    }
    for tag in &extra {
        answer = header(answer, TAG, tag);
    }
    let storage = registry.storage.clone();
    let kept = Kept { digest, media_type, size: bytes.len() as u64 };
    let task = spawn_blocking(move || keep(&storage, &name, &kept, &document, &bytes, &tags));
    task.await.unwrap_or_else(|_| Err(Code::ManifestInvalid.refuse("the manifest was not kept")))?;
    Ok(answer)
}

/// Answers DELETE: a tag is removed alone, a digest with the tags that name it.
pub(super) fn delete(registry: &Registry, name: &Name, target: &Target) -> Result<Answer, Refusal> {
    let storage = &registry.storage;
    let removed = match target {
        Target::Tag(tag) => storage.remove_tag(name, tag)?,
        Target::Digest(digest) => {
            let references = References::of(storage, digest).ok().flatten();
            if let Some(subject) = references.and_then(|references| references.subject) {
                storage.remove_referrer(name, &subject, digest)?;
            }
            storage.remove_manifest(name, digest)?
        }
    };
    if removed { Ok(empty(StatusCode::ACCEPTED)) } else { Err(unknown(name, target)) }
}

fn find(storage: &Storage, name: &Name, target: &Target) -> Option<Kept> {
    match target {
        Target::Digest(digest) => storage.manifest(name, digest),
        Target::Tag(tag) => storage.manifest(name, &storage.tag(name, tag)?),
    }
}

/// Reads a document and its media type; the two must agree on what it is.
fn read(bytes: &[u8], declared: Option<String>) -> Result<(Document, String), Refusal> {
    let invalid = |message: String| Code::ManifestInvalid.refuse(message);
    let document: Document = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
    let media_type = declared.or_else(|| document.media_type.clone());
    let media_type = MediaType::new(media_type.ok_or_else(|| invalid("the media type is missing".to_owned()))?);
    if let Some(own) = document.media_type.as_deref().filter(|own| *own != media_type.as_str()) {
        return Err(invalid(format!("sent as `{media_type}`, says it is `{own}`")));
    }
    let fits = if media_type.is_manifest() {
        document.config.is_some() && document.manifests.is_none()
    } else if media_type.is_index() {
        document.manifests.is_some() && document.config.is_none() && document.layers.is_none()
    } else {
        return Err(Code::MediaTypeUnsupported.refuse(format!("`{media_type}` is no manifest's media type")));
    };
    if !fits {
        return Err(invalid(format!("the fields are not those of `{media_type}`")));
    }
    Ok((document, media_type.as_str().to_owned()))
}

/// Checks what a document refers to, then keeps it: content, referrer, tags, in this order.
fn keep(
    storage: &Storage,
    name: &Name,
    kept: &Kept,
    document: &Document,
    bytes: &[u8],
    tags: &[String],
) -> Result<(), Refusal> {
    // What is found here must not be pruned before it is referred to.
    let _writing = storage.writing()?;
    let mut needs = Vec::new();
    for blob in document.config.iter().chain(document.layers.iter().flatten()) {
        match storage.blob(name, &blob.digest) {
            Some(size) => check_size(blob, size)?,
            None if blob.media_type.is_non_distributable() => continue,
            None => return Err(missing(name, blob)),
        }
        needs.push(blob.digest.clone());
    }
    for child in document.manifests.iter().flatten() {
        let found = storage.manifest(name, &child.digest).map(|kept| kept.size);
        // Build caches are indexes of blobs.
        let found = found.or_else(|| storage.blob(name, &child.digest));
        check_size(child, found.ok_or_else(|| missing(name, child))?)?;
        needs.push(child.digest.clone());
    }
    storage.put_manifest(name, kept, bytes, &needs)?;
    if let Some(subject) = &document.subject {
        storage.put_referrer(name, &subject.digest, &kept.digest, describe(kept, document).as_bytes())?;
    }
    for tag in tags {
        storage.put_tag(name, tag, &kept.digest)?;
    }
    Ok(())
}

/// The descriptor that the referrers API tells of a document (distribution-spec, "Listing Referrers").
fn describe(kept: &Kept, document: &Document) -> String {
    let mut descriptor = serde_json::json!({
        "mediaType": kept.media_type,
        "digest": kept.digest,
        "size": kept.size,
    });
    let of_config = || document.config.as_ref().map(|config| config.media_type.as_str().to_owned());
    let artifact_type = document.artifact_type.clone().filter(|text| !text.is_empty()).or_else(of_config);
    if let Some(artifact_type) = artifact_type {
        descriptor["artifactType"] = artifact_type.into();
    }
    if let Some(annotations) = &document.annotations {
        descriptor["annotations"] = serde_json::json!(annotations);
    }
    descriptor.to_string()
}

fn check_size(pointer: &Pointer, found: u64) -> Result<(), Refusal> {
    if pointer.size == found {
        return Ok(());
    }
    Err(Code::SizeInvalid.refuse(format!("`{}` has {found} bytes, not {}", pointer.digest, pointer.size)))
}

fn missing(name: &Name, pointer: &Pointer) -> Refusal {
    Code::ManifestBlobUnknown.refuse(format!("`{}` has no `{}`", name.as_str(), pointer.digest))
}

fn unknown(name: &Name, target: &Target) -> Refusal {
    let target = match target {
        Target::Tag(tag) => tag,
        Target::Digest(digest) => digest.as_str(),
    };
    Code::ManifestUnknown.refuse(format!("`{}` has no manifest `{target}`", name.as_str()))
}
