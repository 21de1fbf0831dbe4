//! Blobs: reading, mounting, uploading, deleting (distribution-spec, "Pulling blobs", "Pushing blobs").
//!
//! A blob is seen only in the repositories that it was pushed to or mounted into.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;

use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{
    ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap, HeaderName, LOCATION, RANGE,
};
use hyper::{Method, Request, StatusCode};
use tokio::task::spawn_blocking;

use super::answer::{Answer, Body, CONTENT_DIGEST, Code, Refusal, empty, header, with_body};
use super::exchange::Registry;
use super::route::{Name, Query, parse_digest};
use super::storage::Source;
use super::uploads::{self, Held};
use crate::oci::{Algorithm, Digest};
use crate::store::StoreError;

const CHUNK: u64 = 512 * 1024;
const UPLOAD_ID: HeaderName = HeaderName::from_static("docker-upload-uuid");

/// Answers HEAD and GET for a blob, whole or one range of it.
pub(super) fn fetch(
    registry: &Registry,
    name: &Name,
    digest: &Digest,
    request: &Request<Incoming>,
) -> Result<Answer, Refusal> {
    let size = registry.storage.blob(name, digest).ok_or_else(|| unknown(name, digest))?;
    let range = request.headers().get(RANGE).and_then(|value| value.to_str().ok()).map(|text| parse_range(text, size));
    let (status, from, length) = match range {
        None | Some(Range::Whole) => (StatusCode::OK, 0, size),
        Some(Range::Part(from, length)) => (StatusCode::PARTIAL_CONTENT, from, length),
        Some(Range::Outside) => {
            let refusal = Code::RangeInvalid.refuse(format!("the blob has {size} bytes"));
            return Ok(header(refusal.into_answer(), CONTENT_RANGE, &format!("bytes */{size}")));
        }
    };
    let is_head = request.method() == Method::HEAD;
    if is_head && !registry.is_read_only {
        registry.storage.touch(name, digest);
    }
    let body = if is_head { None } else { Some(content(registry, digest, from, length)?) };
    let mut answer = with_body(status, length, body);
    if status == StatusCode::PARTIAL_CONTENT {
        answer = header(answer, CONTENT_RANGE, &format!("bytes {from}-{}/{size}", from + length - 1));
    }
    answer = header(answer, CONTENT_TYPE, "application/octet-stream");
    answer = header(answer, ACCEPT_RANGES, "bytes");
    Ok(header(answer, CONTENT_DIGEST, digest.as_str()))
}

/// Answers DELETE for a blob.
pub(super) fn delete(registry: &Registry, name: &Name, digest: &Digest) -> Result<Answer, Refusal> {
    if registry.storage.remove_blob(name, digest)? {
        Ok(empty(StatusCode::ACCEPTED))
    } else {
        Err(unknown(name, digest))
    }
}

/// Answers POST: mounts a blob, takes a whole one, or opens an upload.
pub(super) async fn start(
    registry: &Registry,
    name: Name,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    if let Some(digest) = query.one("mount") {
        let digest = parse_digest(digest)?;
        let source = query.one("from").map_or(Source::Any, |from| Source::Named(Name::parse(from)));
        let (storage, target, wanted) = (Arc::clone(&registry.storage), name.clone(), digest.clone());
        let mounting = spawn_blocking(move || storage.mount(&target, &wanted, source)).await;
        if mounting.map_err(|_| Code::UploadInvalid.refuse("the mount was interrupted"))?? {
            return Ok(created(&name, &digest));
        }
    } else if let Some(digest) = query.one("digest") {
        let digest = parse_digest(digest)?;
        let id = registry.uploads.open(&registry.storage, &name, digest.algorithm())?;
        let taken = take(registry, &name, &id, &digest, request).await;
        registry.uploads.close(&id);
        return taken;
    }
    let algorithm = match query.one("digest-algorithm") {
        None | Some("sha256") => Algorithm::Sha256,
        Some("sha512") => Algorithm::Sha512,
        Some("sha384") => Algorithm::Sha384,
        Some(other) => return Err(Code::DigestInvalid.refuse(format!("digest algorithm `{other}` is not known"))),
    };
    let id = registry.uploads.open(&registry.storage, &name, algorithm)?;
    Ok(progress(StatusCode::ACCEPTED, &name, &id, 0))
}

/// Answers GET for an upload: how far it is.
pub(super) async fn status(registry: &Registry, name: &Name, id: &str) -> Result<Answer, Refusal> {
    let held = registry.uploads.hold(name, id).await?;
    Ok(progress(StatusCode::NO_CONTENT, name, id, held.size()))
}

/// Answers PATCH for an upload: the next bytes of it.
pub(super) async fn patch(
    registry: &Registry,
    name: &Name,
    id: &str,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let held = registry.uploads.hold(name, id).await?;
    let held = receive(registry, name, id, held, request).await?;
    Ok(progress(StatusCode::ACCEPTED, name, id, held.size()))
}

/// Answers PUT for an upload: the last bytes of it, and its digest.
pub(super) async fn finish(
    registry: &Registry,
    name: Name,
    id: &str,
    query: &Query,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let digest = query.one("digest").ok_or_else(|| Code::DigestInvalid.refuse("the parameter `digest` is missing"))?;
    let digest = parse_digest(digest)?;
    take(registry, &name, id, &digest, request).await
}

/// Answers DELETE for an upload.
pub(super) async fn cancel(registry: &Registry, name: &Name, id: &str) -> Result<Answer, Refusal> {
    let _held = registry.uploads.hold(name, id).await?;
    registry.uploads.close(id);
    Ok(empty(StatusCode::NO_CONTENT))
}

/// Takes the rest of a body and ends the upload; it goes on after a wrong range or a broken body.
async fn take(
    registry: &Registry,
    name: &Name,
    id: &str,
    digest: &Digest,
    request: Request<Incoming>,
) -> Result<Answer, Refusal> {
    let held = registry.uploads.hold(name, id).await?;
    let held = receive(registry, name, id, held, request).await?;
    let committed = uploads::commit(held, name.clone(), digest.clone()).await;
    registry.uploads.close(id);
    committed.map(|()| created(name, digest))
}

async fn receive(
    registry: &Registry,
    name: &Name,
    id: &str,
    held: Held,
    request: Request<Incoming>,
) -> Result<Held, Refusal> {
    let before = held.size();
    let expected = match chunk_range(request.headers())? {
        Some((start, _)) if start != before => {
            let refusal = Code::RangeInvalid.refuse(format!("the next byte is {before}, not {start}"));
            return Err(refusal.at(upload_path(name, id)));
        }
        range => range.map(|(start, end)| end - start + 1),
    };
    let length = request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let differs = |found: u64| {
        let wanted = expected?;
        (wanted != found)
            .then(|| Code::SizeInvalid.refuse(format!("Content-Range has {wanted} bytes, the body {found}")))
    };
    if let Some(refusal) = length.and_then(differs) {
        return Err(refusal);
    }
    let held = uploads::receive(held, request.into_body(), registry.silence).await?;
    match differs(held.size() - before) {
        // The bytes are in the file already, and nobody can say which ones they were.
        Some(refusal) => {
            registry.uploads.close(id);
            Err(refusal)
        }
        None => Ok(held),
    }
}

/// The first and last byte that `Content-Range` names, if there is one.
fn chunk_range(headers: &HeaderMap) -> Result<Option<(u64, u64)>, Refusal> {
    let Some(value) = headers.get(CONTENT_RANGE) else { return Ok(None) };
    let parse = || {
        let text = value.to_str().ok()?;
        let text = text.strip_prefix("bytes ").unwrap_or(text);
        let (start, end) = text.split_once('/').map_or(text, |(range, _)| range).split_once('-')?;
        let (start, end) = (start.trim().parse().ok()?, end.trim().parse::<u64>().ok()?);
        (start <= end && end < u64::MAX).then_some((start, end))
    };
    parse().map(Some).ok_or_else(|| Code::UploadInvalid.refuse("Content-Range is not of the form `first-last`"))
}

enum Range {
    Whole,
    Part(u64, u64),
    Outside,
}

/// Parses `Range` (RFC 9110, 14.2); several ranges and other units are answered with the whole.
fn parse_range(text: &str, size: u64) -> Range {
    let parse = || {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        let (first, last) = (first.trim(), last.trim());
        if first.is_empty() {
            let count = last.parse::<u64>().ok()?.min(size);
            return Some((size - count, size));
        }
        let first = first.parse::<u64>().ok()?;
        let end = if last.is_empty() { size } else { last.parse::<u64>().ok()?.saturating_add(1).min(size) };
        Some((first, end))
    };
    match parse() {
        None => Range::Whole,
        Some((first, end)) if first < end => Range::Part(first, end - first),
        Some(_) => Range::Outside,
    }
}

/// A body with `length` bytes of content, read as fast as it is sent.
pub(super) fn content(registry: &Registry, digest: &Digest, from: u64, length: u64) -> Result<Body, Refusal> {
    let path = registry.storage.content(digest);
    let mut file = registry.storage.open_content(digest)?;
    file.seek(SeekFrom::Start(from)).map_err(|error| StoreError::io("read", &path, error))?;
    let chunks = stream::try_unfold((file, length), |(mut file, left)| async move {
        if left == 0 {
            return Ok(None);
        }
        let read = spawn_blocking(move || {
            let mut chunk = vec![0; usize::try_from(left.min(CHUNK)).unwrap_or_default()];
            file.read_exact(&mut chunk).map(|()| (file, chunk))
        });
        let (file, chunk) = read.await.map_err(io::Error::other)??;
        let left = left - chunk.len() as u64;
        Ok::<_, io::Error>(Some((Frame::data(Bytes::from(chunk)), (file, left))))
    });
    Ok(StreamBody::new(chunks).boxed_unsync())
}

fn created(name: &Name, digest: &Digest) -> Answer {
    let answer = header(empty(StatusCode::CREATED), LOCATION, &format!("/v2/{}/blobs/{digest}", name.as_str()));
    header(answer, CONTENT_DIGEST, digest.as_str())
}

fn upload_path(name: &Name, id: &str) -> String {
    format!("/v2/{}/blobs/uploads/{id}", name.as_str())
}

fn progress(status: StatusCode, name: &Name, id: &str, size: u64) -> Answer {
    let answer = header(empty(status), LOCATION, &upload_path(name, id));
    let answer = header(answer, RANGE, &format!("0-{}", size.saturating_sub(1)));
    header(answer, UPLOAD_ID, id)
}

fn unknown(name: &Name, digest: &Digest) -> Refusal {
    Code::BlobUnknown.refuse(format!("`{}` has no blob `{digest}`", name.as_str()))
}
