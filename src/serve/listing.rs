//! Listings: repositories, tags and referrers (distribution-spec, "Content Discovery").
//!
//! They come in byte order of their names.

use hyper::StatusCode;
use hyper::header::{HeaderName, LINK};
use serde_json::Value;

use super::answer::{Answer, Code, Refusal, header, with_bytes};
use super::exchange::Registry;
use super::route::{Name, Query};
use crate::oci::Digest;
use crate::oci::media_type::OCI_INDEX;

const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");

/// Answers GET for the tags of a repository.
pub(super) fn tags(registry: &Registry, name: &Name, query: &Query) -> Result<Answer, Refusal> {
    if !registry.storage.exists(name) {
        return Err(Code::NameUnknown.refuse(format!("there is no repository `{}`", name.as_str())));
    }
    let (page, next) = page(registry.storage.tags(name)?, query)?;
    let body = serde_json::json!({ "name": name.as_str(), "tags": page });
    Ok(listed(&body, "application/json", &format!("/v2/{}/tags/list", name.as_str()), next))
}

/// Answers GET for the names of all repositories.
pub(super) fn catalog(registry: &Registry, query: &Query) -> Result<Answer, Refusal> {
    let names = registry.storage.names()?.into_iter().map(|name| name.as_str().to_owned()).collect();
    let (page, next) = page(names, query)?;
    Ok(listed(&serde_json::json!({ "repositories": page }), "application/json", "/v2/_catalog", next))
}

/// Answers GET for what refers to a manifest, which need not exist.
pub(super) fn referrers(registry: &Registry, name: &Name, subject: &Digest, query: &Query) -> Result<Answer, Refusal> {
    let found = registry.storage.referrers(name, subject)?;
    let mut manifests: Vec<Value> = found.iter().filter_map(|bytes| serde_json::from_slice(bytes).ok()).collect();
    // No media type holds a blank; one here was a plus that its sender did not escape.
    let filter = query.one("artifactType").filter(|text| !text.is_empty()).map(|text| text.replace(' ', "+"));
    if let Some(wanted) = &filter {
        manifests.retain(|descriptor| descriptor["artifactType"] == wanted.as_str());
    }
    let body = serde_json::json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    let answer = listed(&body, OCI_INDEX, "", None);
    Ok(if filter.is_some() { header(answer, FILTERS, "artifactType") } else { answer })
}

/// A page's size and the last item on it, when more follow.
type Next = Option<(usize, String)>;

fn page(mut all: Vec<String>, query: &Query) -> Result<(Vec<String>, Next), Refusal> {
    if let Some(last) = query.one("last") {
        all.retain(|item| item.as_str() > last);
    }
    let Some(count) = query.one("n") else { return Ok((all, None)) };
    let parsed = count.parse::<usize>().map_err(|_| Code::Unsupported.refuse(format!("`{count}` is not a number")));
    let count = parsed?;
    let more = all.len() > count;
    all.truncate(count);
    let next = all.last().cloned().filter(|_| more).map(|last| (count, last));
    Ok((all, next))
}

fn listed(body: &Value, media_type: &str, path: &str, next: Next) -> Answer {
    let answer = with_bytes(StatusCode::OK, media_type, body.to_string().into_bytes());
    match next {
        // Names and tags hold nothing that a query would have to escape, but for the slash, which it may hold.
        Some((count, last)) => header(answer, LINK, &format!("<{path}?n={count}&last={last}>; rel=\"next\"")),
        None => answer,
    }
}
