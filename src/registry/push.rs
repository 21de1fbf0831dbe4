//! Writing documents to a registry over HTTP: manifests, and their removal.
//!
//! Blobs come by `upload` and `mount`, before the manifests that refer to them.

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode};

use super::auth::{Action, Rights};
use super::error::RegistryError;
use super::exchange::{Answer, Ask, Exchange, Host, text};
use super::pull;
use super::referrers::{list_referrer, referrer};
use crate::oci::{Digest, Digester, MediaType, Reference};

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

/// How often a manifest is put whose parts the registry does not see.
///
/// distribution 2 writes in place where a repository has a blob: while another pusher of the same blob ends, nothing
/// can be read there.
const PUTS: u32 = 3;

/// Puts a manifest. `None` when an immutable tag has that very manifest already.
pub(super) async fn put_manifest(
    exchange: &Exchange,
    host: &Host,
    at: &Reference,
    media_type: &MediaType,
    bytes: &[u8],
) -> Result<Option<Response>, RegistryError> {
    let mut failures = 0;
    loop {
        match put_once(exchange, host, at, media_type, bytes).await {
            Err(RegistryError::MissingParts { .. }) if failures + 1 < PUTS => failures += 1,
            ended => return ended,
        }
        exchange.wait(host, failures, None, "PUT manifest").await;
    }
}

async fn put_once(
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
    if matches!(error, RegistryError::MissingParts { .. }) {
        // What we brought has been removed meanwhile.
        host.flights.forget(at.path());
    }
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

pub(super) async fn delete(exchange: &Exchange, host: &Host, at: &Reference) -> Result<bool, RegistryError> {
    let name = at.tag().map_or_else(|| pull::manifest_name(at), |tag| Ok(tag.to_owned()))?;
    let url = host.url(&format!("/v2/{}/manifests/{name}", at.path()))?;
    let ask = Ask::new(Method::DELETE, url, Rights::new(at.path(), Action::Delete), format!("DELETE manifest `{at}`"));
    let answer: Answer = exchange.call(host, &ask).await?;
    host.flights.forget(at.path());
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
