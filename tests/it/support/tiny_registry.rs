//! The smallest registry that a push can end well at, as a script of the fault server.
//!
//! It takes one-request uploads only, and has no referrers API: what it lacks, a client must make do without.

use std::collections::BTreeMap;
use std::sync::Mutex;

use lapstrake::oci::Digest;

use super::fault::{Reply, Seen};

/// The content of the registry, by repository path.
#[derive(Default)]
pub(crate) struct TinyRegistry(Mutex<State>);

#[derive(Default)]
struct State {
    blobs: BTreeMap<(String, String), Vec<u8>>,
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    tags: BTreeMap<String, BTreeMap<String, String>>,
}

impl TinyRegistry {
    /// Puts a blob in place.
    pub(crate) fn put_blob(&self, path: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.0.lock().unwrap().blobs.insert((path.to_owned(), digest.to_string()), bytes.to_vec());
        digest
    }

    /// What the registry answers.
    pub(crate) fn reply(&self, seen: &Seen) -> Reply {
        let target = seen.target.strip_prefix("/v2/").unwrap_or_default();
        let (rest, query) = target.split_once('?').unwrap_or((target, ""));
        let query: BTreeMap<String, String> =
            url::form_urlencoded::parse(query.as_bytes()).map(|(k, v)| (k.into_owned(), v.into_owned())).collect();
        let mut state = self.0.lock().unwrap();
        if let Some((path, _)) = rest.split_once("/blobs/uploads/") {
            state.upload(seen, path, &query)
        } else if let Some((path, digest)) = rest.split_once("/blobs/") {
            state.blob(path, digest)
        } else if let Some((path, name)) = rest.split_once("/manifests/") {
            state.manifest(seen, path, name)
        } else if let Some(path) = rest.strip_suffix("/tags/list") {
            state.tag_page(path, query.get("last").map_or("", String::as_str))
        } else {
            Reply::status(404)
        }
    }
}

impl State {
    fn upload(&mut self, seen: &Seen, path: &str, query: &BTreeMap<String, String>) -> Reply {
        let session = format!("/v2/{path}/blobs/uploads/1?state=x");
        match (seen.method.as_str(), query.get("mount"), query.get("from"), query.get("digest")) {
            ("POST", Some(digest), Some(from), _) => match self.blobs.get(&(from.clone(), digest.clone())).cloned() {
                Some(bytes) => {
                    self.blobs.insert((path.to_owned(), digest.clone()), bytes);
                    Reply::status(201)
                }
                None => Reply::status(202).header("location", session),
            },
            ("POST", ..) => Reply::status(202).header("location", session),
            ("PUT", _, _, Some(digest)) if *digest == Digest::of(&seen.body).to_string() => {
                self.blobs.insert((path.to_owned(), digest.clone()), seen.body.clone());
                Reply::status(201)
            }
            ("PUT", ..) => Reply::status(400).body(r#"{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}"#),
            _ => Reply::status(405),
        }
    }

    fn blob(&self, path: &str, digest: &str) -> Reply {
        self.blobs
            .get(&(path.to_owned(), digest.to_owned()))
            .map_or(Reply::status(404), |bytes| Reply::ok(bytes.clone()))
    }

    fn manifest(&mut self, seen: &Seen, path: &str, name: &str) -> Reply {
        let tags = self.tags.entry(path.to_owned()).or_default();
        if seen.method == "PUT" {
            let digest = Digest::of(&seen.body).to_string();
            let media_type = seen.header("content-type").unwrap_or_default().to_owned();
            if let Some(reply) = missing_part(&self.blobs, path, &seen.body) {
                return reply;
            }
            self.manifests.insert((path.to_owned(), digest.clone()), (media_type, seen.body.clone()));
            if !name.contains(':') {
                tags.insert(name.to_owned(), digest);
            }
            return Reply::status(201);
        }
        if seen.method == "DELETE" && !name.contains(':') {
            return Reply::status(if tags.remove(name).is_some() { 202 } else { 404 });
        }
        let digest = tags.get(name).cloned().unwrap_or_else(|| name.to_owned());
        if seen.method == "DELETE" {
            tags.retain(|_, tagged| *tagged != digest);
            let known = self.manifests.remove(&(path.to_owned(), digest)).is_some();
            return Reply::status(if known { 202 } else { 404 });
        }
        match self.manifests.get(&(path.to_owned(), digest.clone())) {
            Some((media_type, bytes)) => {
                Reply::ok(bytes.clone()).header("content-type", media_type).header("docker-content-digest", digest)
            }
            None => Reply::status(404),
        }
    }

    /// Two tags a page.
    fn tag_page(&self, path: &str, last: &str) -> Reply {
        let Some(tags) = self.tags.get(path) else { return Reply::status(404) };
        let names: Vec<&String> = tags.keys().filter(|name| name.as_str() > last).take(2).collect();
        let reply = Reply::ok(serde_json::json!({ "name": path, "tags": names }).to_string());
        match names.last() {
            Some(name) if names.len() == 2 => {
                reply.header("link", format!("</v2/{path}/tags/list?n=2&last={name}>; rel=\"next\""))
            }
            _ => reply,
        }
    }
}

fn missing_part(blobs: &BTreeMap<(String, String), Vec<u8>>, path: &str, manifest: &[u8]) -> Option<Reply> {
    let document: serde_json::Value = serde_json::from_slice(manifest).unwrap();
    let layers = document["layers"].as_array().cloned().unwrap_or_default();
    let mut parts = layers.into_iter().chain(document.get("config").cloned());
    let absent = parts.any(|part| !blobs.contains_key(&(path.to_owned(), part["digest"].as_str().unwrap().to_owned())));
    let body = r#"{"errors":[{"code":"MANIFEST_BLOB_UNKNOWN","message":"blob unknown"}]}"#;
    absent.then(|| Reply::status(404).body(body))
}
