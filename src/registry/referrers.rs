//! Referrers: the manifests that name another one as their subject.
//!
//! Does not decide what refers to what; that stands in the manifests.

use reqwest::Method;
use reqwest::header::{ACCEPT, HeaderValue};

use super::auth::{Action, Rights};
use super::contract::blob_name;
use super::error::RegistryError;
use super::exchange::{Ask, Exchange, Host, next_page, text};
use super::known::Listing;
use super::pull::{PAGES_CAP, manifest, read_document};
use super::push::put_manifest;
use crate::oci::media_type::OCI_INDEX;
use crate::oci::{Descriptor, Digest, Document, Index, MediaType, Raw, Reference, Repository};

/// The tag that lists the referrers of `subject` where there is no API for them (distribution-spec, "Referrers Tag Schema").
pub(super) fn referrers_tag(at: &Repository, subject: &Digest) -> Result<Reference, RegistryError> {
    let tag = format!("{}-{}", subject.algorithm().name(), subject.hex().get(..64).unwrap_or_default());
    Reference::tagged(at, &tag).map_err(|_| RegistryError::Unnamed(at.to_string()))
}

/// The manifests whose subject is `subject`, of one artifact type or of all.
pub(super) async fn referrers(
    exchange: &Exchange,
    host: &Host,
    at: &Repository,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Descriptor>, RegistryError> {
    let mut all = match host.manners.known().listing {
        Listing::Tag => Listed { referrers: tagged_referrers(exchange, host, at, subject).await?, filtered: false },
        Listing::Api => listed(exchange, host, at, subject, artifact_type).await?,
    };
    if let (Some(wanted), false) = (artifact_type, all.filtered) {
        all.referrers.retain(|referrer| referrer.artifact_type.as_deref() == Some(wanted));
    }
    Ok(all.referrers)
}

/// What a registry lists.
struct Listed {
    referrers: Vec<Descriptor>,
    /// Whether the registry has left out other artifact types on every page (`OCI-Filters-Applied`).
    filtered: bool,
}

async fn listed(
    exchange: &Exchange,
    host: &Host,
    at: &Repository,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Listed, RegistryError> {
    let what = blob_name(at, subject);
    let mut url = host.url(&format!("/v2/{}/referrers/{subject}", at.path()))?;
    if let Some(artifact_type) = artifact_type {
        url.query_pairs_mut().append_pair("artifactType", artifact_type);
    }
    let action = format!("GET referrers of `{what}`");
    let mut ask = Ask::new(Method::GET, url, Rights::new(at.path(), Action::Pull), action);
    ask.headers.insert(ACCEPT, HeaderValue::from_static(OCI_INDEX));
    let mut all = Listed { referrers: Vec::new(), filtered: true };
    for page in 0..PAGES_CAP {
        let answer = exchange.call(host, &ask).await?;
        let status = answer.response.status();
        if page == 0 && matches!(status.as_u16(), 400 | 404 | 405) {
            exchange.drain(answer.response, &ask.action).await;
            let referrers = tagged_referrers(exchange, host, at, subject).await?;
            return Ok(Listed { referrers, filtered: false });
        }
        if !status.is_success() {
            return Err(exchange.refusal(host, &ask, &what, answer).await);
        }
        let next = next_page(host, &answer.response, &ask.action)?;
        let applied = text(answer.response.headers(), "oci-filters-applied").unwrap_or_default();
        all.filtered &= applied.split(',').any(|filter| filter.trim() == "artifactType");
        match read_document(exchange, &ask, what.clone(), answer.response, None).await? {
            Document::Index(index) => all.referrers.extend(index.value().manifests.iter().cloned()),
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
pub(super) async fn list_referrer(
    exchange: &Exchange,
    host: &Host,
    at: &Repository,
    subject: &Digest,
    descriptor: Descriptor,
) -> Result<(), RegistryError> {
    let mut listed = tagged_referrers(exchange, host, at, subject).await?;
    if listed.iter().any(|known| known.digest == descriptor.digest) {
        return Ok(());
    }
    listed.push(descriptor);
    let tag = referrers_tag(at, subject)?;
    let broken = |source| RegistryError::Document { what: tag.to_string(), source: Box::new(source) };
    let index = Raw::of(Index::new(listed)).map_err(broken)?;
    put_manifest(exchange, host, &tag, &MediaType::new(OCI_INDEX), index.bytes()).await.map(drop)
}
