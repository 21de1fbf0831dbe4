//! Reading documents from a registry over HTTP: manifests, tags, and whether a blob is there.
//!
//! Keeps nothing: what is read twice is fetched twice.

use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::auth::{Action, Rights};
use super::contract::blob_name;
use super::error::RegistryError;
use super::exchange::{Answer, Ask, Exchange, Host, next_page, text};
use crate::oci::media_type::{DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST};
use crate::oci::{Descriptor, Digest, Document, MANIFEST_CAP, Reference, Repository};

const TAGS_CAP: usize = 100_000;
/// Pages of a list that are read.
pub(super) const PAGES_CAP: usize = 1_000;

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

pub(super) async fn read_document(
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

#[derive(Deserialize)]
struct TagList {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

pub(super) async fn tags(exchange: &Exchange, host: &Host, at: &Repository) -> Result<Vec<String>, RegistryError> {
    let mut ask = tags_ask(host, at)?;
    let mut all = Vec::new();
    for _ in 0..PAGES_CAP {
        let Some((page, next)) = tag_page(exchange, host, at, &ask).await? else { return Ok(all) };
        all.extend(page);
        match next {
            Some(_) if all.len() > TAGS_CAP => break,
            Some(next) => ask.url = next,
            None => return Ok(all),
        }
    }
    let what = format!("the list of tags of {}/{}", at.registry(), at.path());
    Err(RegistryError::TooLarge { what, cap: TAGS_CAP as u64 })
}

/// The first page of tags.
pub(super) async fn first_tags(
    exchange: &Exchange,
    host: &Host,
    at: &Repository,
) -> Result<Vec<String>, RegistryError> {
    let page = tag_page(exchange, host, at, &tags_ask(host, at)?).await?;
    Ok(page.map(|(tags, _)| tags).unwrap_or_default())
}

fn tags_ask(host: &Host, at: &Repository) -> Result<Ask, RegistryError> {
    let action = format!("GET tags of `{}/{}`", at.registry(), at.path());
    let url = host.url(&format!("/v2/{}/tags/list?n=1000", at.path()))?;
    Ok(Ask::new(Method::GET, url, Rights::new(at.path(), Action::Pull), action))
}

/// One page of tags, and where the next one is; `None` when the repository does not exist.
async fn tag_page(
    exchange: &Exchange,
    host: &Host,
    at: &Repository,
    ask: &Ask,
) -> Result<Option<(Vec<String>, Option<Url>)>, RegistryError> {
    let answer = exchange.call(host, ask).await?;
    match answer.response.status() {
        StatusCode::NOT_FOUND => return Ok(None),
        status if status.is_success() => {}
        _ => {
            let what = format!("{}/{}", at.registry(), at.path());
            return Err(exchange.refusal(host, ask, &what, answer).await);
        }
    }
    let next = next_page(host, &answer.response, &ask.action)?;
    let page: TagList = read_json(exchange, host, ask, answer).await?;
    Ok(Some((page.tags.unwrap_or_default(), next)))
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
