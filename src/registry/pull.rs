//! Reading from a registry over HTTP: manifests, blobs, tags, referrers.
//!
//! Keeps nothing: what is read twice is fetched twice.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;

use super::auth::{Action, Rights};
use super::contract::{BlobStream, blob_name};
use super::error::RegistryError;
use super::exchange::{Answer, Ask, Exchange, Host, next_page, text};
use super::transport::Size;
use crate::oci::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use crate::oci::{Descriptor, Digest, Digester, Document, MANIFEST_CAP, Reference, Repository};

const TAGS_CAP: usize = 100_000;
const PAGES_CAP: usize = 1_000;
/// Progress after which a lost connection counts as the first one again.
const GOOD_PROGRESS: u64 = 1 << 20;

/// The reference by which a manifest is read: its digest, or else its tag.
pub(super) fn manifest_name(at: &Reference) -> Result<String, RegistryError> {
    let name = at.digest().map(ToString::to_string).or_else(|| at.tag().map(str::to_owned));
    name.ok_or_else(|| RegistryError::Unnamed(at.to_string()))
}

pub(super) fn manifest_ask(host: &Host, method: Method, at: &Reference) -> Result<Ask, RegistryError> {
    let url = host.url(&format!("/v2/{}/manifests/{}", at.path(), manifest_name(at)?))?;
    let action = format!("{method} manifest `{at}`");
    let mut ask = Ask::new(method, url, Rights::new(at.path(), Action::Pull), action);
    let types = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST].map(HeaderValue::from_static);
    for media_type in types {
        ask.headers.append(ACCEPT, media_type);
    }
    Ok(ask)
}

pub(super) async fn resolve(
    exchange: &Exchange,
    host: &Host,
    at: &Reference,
) -> Result<Option<Descriptor>, RegistryError> {
    let ask = manifest_ask(host, Method::HEAD, at)?;
    let answer = exchange.call(host, &ask).await?;
    let status = answer.response.status();
    if status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    if status.is_success()
        && let Some(descriptor) = described(&answer.response, at)
    {
        return Ok(Some(descriptor));
    }
    // Some registries answer HEAD without a digest, or not at all.
    if status.is_success() || matches!(status.as_u16(), 400 | 405 | 501) {
        return Ok(manifest(exchange, host, at).await?.map(|document| document.descriptor()));
    }
    Err(exchange.refusal(host, &ask, &at.to_string(), answer).await)
}

fn described(response: &Response, at: &Reference) -> Option<Descriptor> {
    let headers = response.headers();
    let digest = Digest::parse(text(headers, "docker-content-digest")?).ok()?;
    let size = text(headers, CONTENT_LENGTH.as_str())?.parse().ok().filter(|size| *size > 0)?;
    let media_type = text(headers, CONTENT_TYPE.as_str())?.split(';').next()?.trim().to_owned();
    let known = [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST].contains(&media_type.as_str());
    let as_asked = at.digest().is_none_or(|asked| *asked == digest);
    (known && as_asked).then(|| Descriptor::new(media_type, digest, size))
}

pub(super) async fn manifest(
    exchange: &Exchange,
    host: &Host,
    at: &Reference,
) -> Result<Option<Document>, RegistryError> {
    let ask = manifest_ask(host, Method::GET, at)?;
    let answer = exchange.call(host, &ask).await?;
    match answer.response.status() {
        StatusCode::NOT_FOUND => return Ok(None),
        status if status.is_success() => {}
        _ => return Err(exchange.refusal(host, &ask, &at.to_string(), answer).await),
    }
    read_document(exchange, &ask, at.to_string(), answer.response, at.digest()).await.map(Some)
}

async fn read_document(
    exchange: &Exchange,
    ask: &Ask,
    what: String,
    response: Response,
    expected: Option<&Digest>,
) -> Result<Document, RegistryError> {
    let content_type = text(response.headers(), CONTENT_TYPE.as_str()).map(str::to_owned);
    let cap = MANIFEST_CAP as u64;
    let Some(body) = exchange.transport.body(response, cap, &ask.action).await? else {
        return Err(RegistryError::TooLarge { what, cap });
    };
    Document::read(content_type.as_deref(), body, expected)
        .map_err(|source| RegistryError::Document { what, source: Box::new(source) })
}

pub(super) fn blob_ask(host: &Host, method: Method, at: &Repository, digest: &Digest) -> Result<Ask, RegistryError> {
    let url = host.url(&format!("/v2/{}/blobs/{digest}", at.path()))?;
    let action = format!("{method} blob `{}`", blob_name(at, digest));
    Ok(Ask::new(method, url, Rights::new(at.path(), Action::Pull), action))
}

pub(super) async fn blob_size(
    exchange: &Exchange,
    host: &Host,
    at: &Repository,
    digest: &Digest,
) -> Result<Option<u64>, RegistryError> {
    let ask = blob_ask(host, Method::HEAD, at, digest)?;
    let answer = exchange.call(host, &ask).await?;
    match answer.response.status() {
        StatusCode::NOT_FOUND => Ok(None),
        status if status.is_success() => {
            let length = text(answer.response.headers(), CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
            length.map(Some).ok_or_else(|| host.protocol(&ask.action, "no `Content-Length`"))
        }
        _ => Err(exchange.refusal(host, &ask, &blob_name(at, digest), answer).await),
    }
}

/// A download under way.
struct Download {
    exchange: Arc<Exchange>,
    host: Arc<Host>,
    ask: Ask,
    what: String,
    blob: Descriptor,
    response: Response,
    digester: Option<Digester>,
    /// Verified bytes so far, handed on.
    got: u64,
    /// Bytes to drop, since a registry that ignores `Range` sends them again.
    skip: u64,
    failures: u32,
    /// Bytes at the last failure.
    mark: u64,
}

pub(super) async fn read_blob(
    exchange: Arc<Exchange>,
    host: Arc<Host>,
    at: &Repository,
    blob: &Descriptor,
) -> Result<BlobStream, RegistryError> {
    let mut ask = blob_ask(&host, Method::GET, at, &blob.digest)?;
    ask.size = Size::Bulk;
    let what = blob_name(at, &blob.digest);
    let answer = exchange.call(&host, &ask).await?;
    if answer.response.status() != StatusCode::OK {
        return Err(exchange.refusal(&host, &ask, &what, answer).await);
    }
    let response = answer.response;
    if let Some(actual) = response.content_length().filter(|length| *length > blob.size) {
        return Err(RegistryError::WrongLength { what, expected: blob.size, actual });
    }
    let digester = Some(Digester::new(blob.digest.algorithm()));
    let blob = blob.clone();
    let start = Download { exchange, host, ask, what, blob, response, digester, got: 0, skip: 0, failures: 0, mark: 0 };
    Ok(Box::pin(stream::try_unfold(start, |mut download| async move {
        Ok(download.next().await?.map(|chunk| (chunk, download)))
    })))
}

impl Download {
    async fn next(&mut self) -> Result<Option<Bytes>, RegistryError> {
        loop {
            match self.exchange.transport.chunk(&mut self.response, &self.ask.action).await {
                Ok(Some(chunk)) => {
                    if let Some(fresh) = self.take(chunk)? {
                        return Ok(Some(fresh));
                    }
                }
                Ok(None) if self.got == self.blob.size => return self.verify().map(|()| None),
                Ok(None) => {
                    let (expected, actual) = (self.blob.size, self.got);
                    self.resume(RegistryError::WrongLength { what: self.what.clone(), expected, actual }).await?;
                }
                Err(error) if error.is_transient() => self.resume(error).await?,
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>, RegistryError> {
        let known = usize::try_from(self.skip).unwrap_or(usize::MAX).min(chunk.len());
        self.skip -= known as u64;
        let chunk = chunk.split_off(known);
        if chunk.is_empty() {
            return Ok(None);
        }
        self.got += chunk.len() as u64;
        if self.got > self.blob.size {
            let (expected, actual) = (self.blob.size, self.got);
            return Err(RegistryError::WrongLength { what: self.what.clone(), expected, actual });
        }
        if let Some(digester) = &mut self.digester {
            digester.update(&chunk);
        }
        if self.got == self.blob.size {
            // Before the last bytes are handed on: whoever pushes them has never sent all of a wrong blob.
            self.verify()?;
        }
        Ok(Some(chunk))
    }

    fn verify(&mut self) -> Result<(), RegistryError> {
        match self.digester.take().map(Digester::finish) {
            Some(actual) if actual != self.blob.digest => {
                Err(RegistryError::WrongDigest { what: self.what.clone(), actual: Box::new(actual) })
            }
            _ => Ok(()),
        }
    }

    /// Opens the rest of the blob after a loss; gives `loss` back when that has been tried often enough.
    async fn resume(&mut self, loss: RegistryError) -> Result<(), RegistryError> {
        if self.got >= self.mark + GOOD_PROGRESS {
            self.failures = 0;
        }
        self.failures += 1;
        self.mark = self.got;
        if self.failures >= self.exchange.retry.tries {
            return Err(loss.after(self.failures));
        }
        self.exchange.wait(&self.host, self.failures, None, &self.ask.url).await;
        let mut ask = self.ask.clone();
        if self.got > 0 {
            let range = format!("bytes={}-", self.got);
            ask.headers.extend(HeaderValue::try_from(range).ok().map(|value| (RANGE, value)));
        }
        let answer = self.exchange.call(&self.host, &ask).await?;
        let range = text(answer.response.headers(), CONTENT_RANGE.as_str());
        let rest = format!("bytes {}-", self.got);
        self.skip = match answer.response.status() {
            StatusCode::PARTIAL_CONTENT if range.is_some_and(|range| range.starts_with(&rest)) => 0,
            StatusCode::OK => self.got,
            StatusCode::PARTIAL_CONTENT => {
                return Err(self.host.protocol(&self.ask.action, "another range than was asked for"));
            }
            _ => return Err(self.exchange.refusal(&self.host, &ask, &self.what, answer).await),
        };
        self.response = answer.response;
        Ok(())
    }
}

#[derive(Deserialize)]
struct TagList {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

pub(super) async fn tags(exchange: &Exchange, host: &Host, at: &Repository) -> Result<Vec<String>, RegistryError> {
    let what = format!("{}/{}", at.registry(), at.path());
    let action = format!("GET tags of `{what}`");
    let url = host.url(&format!("/v2/{}/tags/list?n=1000", at.path()))?;
    let mut ask = Ask::new(Method::GET, url, Rights::new(at.path(), Action::Pull), action);
    let mut all = Vec::new();
    for _ in 0..PAGES_CAP {
        let answer = exchange.call(host, &ask).await?;
        match answer.response.status() {
            StatusCode::NOT_FOUND => return Ok(all),
            status if status.is_success() => {}
            _ => return Err(exchange.refusal(host, &ask, &what, answer).await),
        }
        let next = next_page(host, &answer.response, &ask.action)?;
        let page: TagList = read_json(exchange, host, &ask, answer).await?;
        all.extend(page.tags.unwrap_or_default());
        match next {
            Some(_) if all.len() > TAGS_CAP => break,
            Some(next) => ask.url = next,
            None => return Ok(all),
        }
    }
    Err(RegistryError::TooLarge { what: format!("the list of tags of {what}"), cap: TAGS_CAP as u64 })
}

async fn read_json<T: serde::de::DeserializeOwned>(
    exchange: &Exchange,
    host: &Host,
    ask: &Ask,
    answer: Answer,
) -> Result<T, RegistryError> {
    let cap = MANIFEST_CAP as u64;
    let Some(body) = exchange.transport.body(answer.response, cap, &ask.action).await? else {
        return Err(RegistryError::TooLarge { what: ask.action.clone(), cap });
    };
    let wrong = |source| RegistryError::Json { host: host.domain.clone(), action: ask.action.clone(), source };
    serde_json::from_slice(&body).map_err(wrong)
}

/// The tag that lists the referrers of `subject` where there is no API for them (distribution-spec, "Referrers Tag Schema").
pub(super) fn referrers_tag(at: &Repository, subject: &Digest) -> Result<Reference, RegistryError> {
    let tag = format!("{}-{}", subject.algorithm().name(), subject.hex().get(..64).unwrap_or_default());
    Reference::tagged(at, &tag).map_err(|_| RegistryError::Unnamed(at.to_string()))
}

pub(super) async fn referrers(
    exchange: &Exchange,
    host: &Host,
    at: &Repository,
    subject: &Digest,
) -> Result<Vec<Descriptor>, RegistryError> {
    let what = blob_name(at, subject);
    let url = host.url(&format!("/v2/{}/referrers/{subject}", at.path()))?;
    let action = format!("GET referrers of `{what}`");
    let mut ask = Ask::new(Method::GET, url, Rights::new(at.path(), Action::Pull), action);
    ask.headers.insert(ACCEPT, HeaderValue::from_static(OCI_INDEX));
    let mut all = Vec::new();
    for page in 0..PAGES_CAP {
        let answer = exchange.call(host, &ask).await?;
        let status = answer.response.status();
        if page == 0 && matches!(status.as_u16(), 400 | 404 | 405) {
            return tagged_referrers(exchange, host, at, subject).await;
        }
        if !status.is_success() {
            return Err(exchange.refusal(host, &ask, &what, answer).await);
        }
        let next = next_page(host, &answer.response, &ask.action)?;
        match read_document(exchange, &ask, what.clone(), answer.response, None).await? {
            Document::Index(index) => all.extend(index.value().manifests.iter().cloned()),
            Document::Manifest(_) => return Err(host.protocol(&ask.action, "a manifest in place of an index")),
        }
        match next {
            Some(next) => ask.url = next,
            None => return Ok(all),
        }
    }
    Err(RegistryError::TooLarge { what: format!("the list of referrers of {what}"), cap: PAGES_CAP as u64 })
}

/// The referrers that the fallback tag lists.
pub(super) async fn tagged_referrers(
    exchange: &Exchange,
    host: &Host,
    at: &Repository,
    subject: &Digest,
) -> Result<Vec<Descriptor>, RegistryError> {
    let tag = referrers_tag(at, subject)?;
    Ok(match manifest(exchange, host, &tag).await? {
        Some(Document::Index(index)) => index.value().manifests.clone(),
        Some(Document::Manifest(_)) | None => Vec::new(),
    })
}
