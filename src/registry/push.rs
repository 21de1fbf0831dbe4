//! Writing to a registry over HTTP: mounts, blobs, manifests.
//!
//! Does not ask first whether a blob is there; the caller does, and only a lost answer makes this module look.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::auth::{Action, Rights, lock};
use super::contract::{BlobBody, Mounted, blob_name};
use super::error::RegistryError;
use super::exchange::{Answer, Ask, Exchange, Host, text};
use super::origin::validate_upload_location;
use super::pull;
use super::retry::is_transient;
use super::transport::Size;
use super::upload_body::{Progress, Sent};
use crate::oci::media_type::OCI_INDEX;
use crate::oci::{Descriptor, Digest, Digester, Index, MediaType, Raw, Reference, Repository};

/// Upload sessions that a registry opened where a mount was asked for, by repository and digest.
#[derive(Default)]
pub(super) struct Sessions(Mutex<BTreeMap<(String, Digest), Url>>);

impl Sessions {
    fn remember(&self, path: &str, digest: &Digest, url: Url) {
        lock(&self.0).insert((path.to_owned(), digest.clone()), url);
    }

    fn take(&self, path: &str, digest: &Digest) -> Option<Url> {
        lock(&self.0).remove(&(path.to_owned(), digest.clone()))
    }
}

pub(super) async fn mount(
    exchange: &Exchange,
    host: &Host,
    to: &Repository,
    digest: &Digest,
    from: &Repository,
) -> Result<Mounted, RegistryError> {
    let mut url = host.url(&format!("/v2/{}/blobs/uploads/", to.path()))?;
    url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from.path());
    let rights = Rights { mount_from: Some(from.path().to_owned()), ..Rights::new(to.path(), Action::Push) };
    let action = format!("POST mount of `{}` from `{from}`", blob_name(to, digest));
    let ask = Ask { body: Some(Bytes::new()), ..Ask::new(Method::POST, url, rights, action) };
    let answer = match exchange.call(host, &ask).await {
        Ok(answer) => answer,
        // Whoever may not mount may still push.
        Err(RegistryError::Unauthorized { .. }) => return Ok(Mounted::No),
        Err(error) => return Err(error),
    };
    match answer.response.status() {
        StatusCode::CREATED => Ok(Mounted::Yes),
        status if status.is_success() => {
            if let Ok(session) = location(host, &ask, &answer.response) {
                host.sessions.remember(to.path(), digest, session);
            }
            exchange.drain(answer.response, &ask.action).await;
            Ok(Mounted::No)
        }
        _ => {
            exchange.drain(answer.response, &ask.action).await;
            Ok(Mounted::No)
        }
    }
}

/// How a blob's bytes are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// One PUT, with the digest.
    Put,
    /// One PATCH without `Content-Range`, then an empty PUT with the digest.
    Patch,
}

/// How a try to push ended, if not well.
enum Setback {
    /// For good.
    Fatal(RegistryError),
    /// A new session may do better.
    Passing(RegistryError),
    /// The registry wants another authorization.
    Renew,
    /// The registry does not take a blob this way.
    WrongWay(RegistryError),
}

impl From<RegistryError> for Setback {
    fn from(error: RegistryError) -> Self {
        if error.is_transient() { Self::Passing(error) } else { Self::Fatal(error) }
    }
}

/// One blob on its way.
pub(super) struct Upload<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) host: &'a Host,
    pub(super) to: &'a Repository,
    pub(super) blob: &'a Descriptor,
    pub(super) body: BlobBody,
    pub(super) progress: Arc<Progress>,
    pub(super) report: &'a (dyn Fn(u64) + Send + Sync),
}

impl Upload<'_> {
    pub(super) async fn push(&self) -> Result<(), RegistryError> {
        let mut way = Way::Put;
        let mut failures = 0;
        let mut renewed = false;
        loop {
            let error = match self.attempt(way).await {
                Ok(()) => {
                    self.progress.finish(self.blob.size, self.report);
                    return Ok(());
                }
                Err(Setback::Fatal(error)) => return Err(error),
                Err(Setback::WrongWay(error)) if way == Way::Patch => return Err(error),
                Err(Setback::WrongWay(_)) => {
                    way = Way::Patch;
                    continue;
                }
                Err(Setback::Renew) if renewed => {
                    let rights = self.rights();
                    let carried = self.exchange.authorization(self.host, &rights).await?;
                    return Err(self.host.auth.unauthorized(&rights, &carried));
                }
                Err(Setback::Renew) => {
                    renewed = true;
                    continue;
                }
                Err(Setback::Passing(error)) => error,
            };
            failures += 1;
            if self.is_there().await {
                self.progress.finish(self.blob.size, self.report);
                return Ok(());
            }
            if failures >= self.exchange.retry.tries {
                return Err(error.after(failures));
            }
            self.exchange.wait(self.host, failures, None, &self.host.url("/v2/")?).await;
        }
    }

    /// Looks once whether the blob is there: the answer to a commit may have been lost on its way.
    async fn is_there(&self) -> bool {
        let Ok(ask) = pull::blob_ask(self.host, Method::HEAD, self.to, &self.blob.digest) else { return false };
        let Ok((response, _)) = self.exchange.once(self.host, &ask).await else { return false };
        let size = text(response.headers(), CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
        response.status().is_success() && size == Some(self.blob.size)
    }

    async fn attempt(&self, way: Way) -> Result<(), Setback> {
        let session = match self.host.sessions.take(self.to.path(), &self.blob.digest) {
            Some(session) => session,
            // Has its own retries.
            None => self.open().await.map_err(Setback::Fatal)?,
        };
        match way {
            Way::Put => {
                let ask = self.ask(Method::PUT, self.committing(session), "PUT");
                self.accepted(&ask, self.send(&ask).await?, true).await.map(drop)
            }
            Way::Patch => {
                let ask = self.ask(Method::PATCH, session, "PATCH");
                let response = self.accepted(&ask, self.send(&ask).await?, false).await?;
                let newest = match text(response.headers(), LOCATION.as_str()) {
                    Some(_) => location(self.host, &ask, &response)?,
                    None => ask.url,
                };
                let mut ask = self.ask(Method::PUT, self.committing(newest), "PUT");
                ask.body = Some(Bytes::new());
                ask.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
                let sent = Sent::Answer(Box::new(self.exchange.call(self.host, &ask).await?));
                self.accepted(&ask, sent, false).await.map(drop)
            }
        }
    }

    async fn open(&self) -> Result<Url, RegistryError> {
        let url = self.host.url(&format!("/v2/{}/blobs/uploads/", self.to.path()))?;
        let mut ask = self.ask(Method::POST, url, "POST");
        ask.body = Some(Bytes::new());
        ask.size = Size::Small;
        let answer = self.exchange.call(self.host, &ask).await?;
        if !answer.response.status().is_success() {
            return Err(self.exchange.refusal(self.host, &ask, &self.to.to_string(), answer).await);
        }
        let session = location(self.host, &ask, &answer.response)?;
        self.exchange.drain(answer.response, &ask.action).await;
        Ok(session)
    }

    async fn send(&self, ask: &Ask) -> Result<Sent, RegistryError> {
        self.host.respect_quiet().await;
        super::upload_body::send(self, ask).await
    }

    /// Sorts an answer to the bytes of a blob.
    async fn accepted(&self, ask: &Ask, sent: Sent, first_way: bool) -> Result<Response, Setback> {
        let answer = match sent {
            Sent::Answer(answer) => *answer,
            Sent::Renew => return Err(Setback::Renew),
        };
        let status = answer.response.status();
        if status.is_success() {
            return Ok(answer.response);
        }
        if is_transient(status) {
            self.exchange.heed(self.host, answer.response.headers());
        }
        let (error, codes) = self.exchange.refusal_and_codes(self.host, ask, &self.to.to_string(), answer).await;
        let is_broken = codes.iter().any(|code| matches!(code.as_str(), "DIGEST_INVALID" | "SIZE_INVALID"));
        Err(match status.as_u16() {
            400 if is_broken => Setback::Fatal(error),
            // The session is gone, or has bytes already.
            404 | 409 | 410 | 416 => Setback::Passing(error),
            400 | 405 | 411 | 413 | 415 | 501 if first_way => Setback::WrongWay(error),
            _ => error.into(),
        })
    }

    fn committing(&self, mut session: Url) -> Url {
        session.query_pairs_mut().append_pair("digest", self.blob.digest.as_str());
        session
    }

    fn ask(&self, method: Method, url: Url, verb: &str) -> Ask {
        let action = format!("{verb} blob `{}`", blob_name(self.to, &self.blob.digest));
        let mut ask = Ask::new(method, url, self.rights(), action);
        ask.size = Size::Bulk;
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        ask
    }

    fn rights(&self) -> Rights {
        Rights::new(self.to.path(), Action::Push)
    }
}

fn location(host: &Host, ask: &Ask, response: &Response) -> Result<Url, RegistryError> {
    let location = text(response.headers(), LOCATION.as_str());
    let location = location.ok_or_else(|| host.protocol(&ask.action, "no `Location`"))?;
    validate_upload_location(location, response.url(), &host.origin).map_err(|source| host.detour(source))
}

pub(super) async fn push_manifest(
    exchange: &Exchange,
    host: &Host,
    at: &Reference,
    media_type: &MediaType,
    bytes: &[u8],
) -> Result<(), RegistryError> {
    let response = put_manifest(exchange, host, at, media_type, bytes).await?;
    let Some(response) = response else { return Ok(()) };
    let Some((subject, descriptor)) = referrer(media_type, bytes) else { return Ok(()) };
    // The registry says so when it has taken note of the subject (distribution-spec, "Pushing Manifests with Subject").
    if text(response.headers(), "oci-subject").is_some() {
        return Ok(());
    }
    list_referrer(exchange, host, &at.repository(), &subject, descriptor).await
}

/// Puts a manifest. `None` when an immutable tag has that very manifest already.
async fn put_manifest(
    exchange: &Exchange,
    host: &Host,
    at: &Reference,
    media_type: &MediaType,
    bytes: &[u8],
) -> Result<Option<Response>, RegistryError> {
    let actual = match at.digest() {
        Some(digest) => digest_like(digest, bytes),
        None => Digest::of(bytes),
    };
    if at.digest().is_some_and(|digest| *digest != actual) {
        return Err(RegistryError::WrongDigest { what: at.to_string(), actual: Box::new(actual) });
    }
    let name = at.tag().map_or_else(|| pull::manifest_name(at), |tag| Ok(tag.to_owned()))?;
    let url = host.url(&format!("/v2/{}/manifests/{name}", at.path()))?;
    let mut ask = Ask::new(Method::PUT, url, Rights::new(at.path(), Action::Push), format!("PUT manifest `{at}`"));
    let wrong_type = |_| host.protocol(&ask.action, "a media type that is no header's value");
    let content_type = HeaderValue::try_from(media_type.as_str()).map_err(wrong_type)?;
    ask.headers.insert(CONTENT_TYPE, content_type);
    ask.body = Some(Bytes::copy_from_slice(bytes));
    let answer = exchange.call(host, &ask).await?;
    let status = answer.response.status();
    if status.is_success() {
        return Ok(Some(answer.response));
    }
    let error = exchange.refusal(host, &ask, &at.to_string(), answer).await;
    if status.is_client_error()
        && let Some(tag) = at.tag()
        && let Ok(tagged) = Reference::tagged(&at.repository(), tag)
        && let Ok(Some(present)) = pull::resolve(exchange, host, &tagged).await
        && present.digest == actual
    {
        return Ok(None);
    }
    Err(error)
}

/// The subject of a manifest, and the manifest as its referrers' list shows it.
pub(super) fn referrer(media_type: &MediaType, bytes: &[u8]) -> Option<(Digest, Descriptor)> {
    let document: serde_json::Value = serde_json::from_slice(bytes).ok()?;
    let subject = Digest::parse(document.get("subject")?.get("digest")?.as_str()?).ok()?;
    let mut descriptor = Descriptor::of(media_type.as_str(), bytes);
    let own_type = document.get("artifactType").and_then(serde_json::Value::as_str).filter(|text| !text.is_empty());
    let config_type = || document.get("config")?.get("mediaType")?.as_str();
    descriptor.artifact_type = own_type.or_else(config_type).map(str::to_owned);
    let annotations = document.get("annotations").cloned().unwrap_or_default();
    descriptor.annotations = serde_json::from_value(annotations).unwrap_or_default();
    Some((subject, descriptor))
}

/// Adds a referrer to the fallback tag of its subject. Two clients that do so at once may lose one of the two: the
/// distribution specification has no remedy for that.
async fn list_referrer(
    exchange: &Exchange,
    host: &Host,
    at: &Repository,
    subject: &Digest,
    descriptor: Descriptor,
) -> Result<(), RegistryError> {
    let mut listed = pull::tagged_referrers(exchange, host, at, subject).await?;
    if listed.iter().any(|known| known.digest == descriptor.digest) {
        return Ok(());
    }
    listed.push(descriptor);
    let tag = pull::referrers_tag(at, subject)?;
    let broken = |source| RegistryError::Document { what: tag.to_string(), source: Box::new(source) };
    let index = Raw::of(Index::new(listed)).map_err(broken)?;
    put_manifest(exchange, host, &tag, &MediaType::new(OCI_INDEX), index.bytes()).await.map(drop)
}

pub(super) async fn delete(exchange: &Exchange, host: &Host, at: &Reference) -> Result<bool, RegistryError> {
    let name = at.tag().map_or_else(|| pull::manifest_name(at), |tag| Ok(tag.to_owned()))?;
    let url = host.url(&format!("/v2/{}/manifests/{name}", at.path()))?;
    let ask = Ask::new(Method::DELETE, url, Rights::new(at.path(), Action::Delete), format!("DELETE manifest `{at}`"));
    let answer: Answer = exchange.call(host, &ask).await?;
    match answer.response.status() {
        StatusCode::NOT_FOUND => Ok(false),
        status if status.is_success() => Ok(true),
        _ => Err(exchange.refusal(host, &ask, &at.to_string(), answer).await),
    }
}

/// The digest of `bytes` by the algorithm of `other`.
fn digest_like(other: &Digest, bytes: &[u8]) -> Digest {
    let mut digester = Digester::new(other.algorithm());
    digester.update(bytes);
    digester.finish()
}
