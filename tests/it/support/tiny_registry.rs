//! The smallest registry that a push can end well at, as a script of the fault server.
//!
//! It has no referrers API, and takes uploads as its habits say: what it lacks, a client must make do without.

use std::collections::BTreeMap;
use std::sync::Mutex;

use lapstrake::oci::Digest;

use super::fault::{Reply, Seen};

/// What the registry takes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// Whether a blob may come with the PUT.
    pub(crate) put: bool,
    /// Whether PATCH is known.
    pub(crate) patch: bool,
    /// Whether `Content-Range` is taken.
    pub(crate) ranged: bool,
    /// Whether an upload can be asked how far it is.
    pub(crate) status: bool,
    /// The most bytes of a request, as a proxy has it: nobody announces it.
    pub(crate) body: usize,
    /// `OCI-Chunk-Max-Length`, when it is announced.
    pub(crate) announced: Option<usize>,
    /// Whether blobs are mounted.
    pub(crate) mounts: bool,
}

impl Default for Habits {
    fn default() -> Self {
        let body = usize::MAX;
        Self { put: true, patch: false, ranged: true, status: false, body, announced: None, mounts: true }
    }
}

/// The content of the registry, by repository path.
#[derive(Default)]
pub(crate) struct TinyRegistry(Mutex<State>);

#[derive(Default)]
struct State {
    habits: Habits,
    /// By number: the bytes, and how often a new `Location` was given.
    sessions: BTreeMap<usize, (Vec<u8>, usize)>,
    opened: usize,
    blobs: BTreeMap<(String, String), Vec<u8>>,
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    tags: BTreeMap<String, BTreeMap<String, String>>,
}

impl TinyRegistry {
    /// A registry with habits of its own.
    pub(crate) fn with(habits: Habits) -> Self {
        Self(Mutex::new(State { habits, ..State::default() }))
    }

    /// A blob that the registry has.
    pub(crate) fn blob(&self, path: &str, digest: &Digest) -> Option<Vec<u8>> {
        self.0.lock().unwrap().blobs.get(&(path.to_owned(), digest.to_string())).cloned()
    }

    /// What a tag stands for.
    pub(crate) fn tag(&self, path: &str, tag: &str) -> Option<String> {
        self.0.lock().unwrap().tags.get(path)?.get(tag).cloned()
    }

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
        if let Some((path, id)) = rest.split_once("/blobs/uploads/") {
            match id.parse() {
                Ok(id) => state.upload(seen, path, id, &query),
                Err(_) => state.open(seen, path, &query),
            }
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
    fn open(&mut self, seen: &Seen, path: &str, query: &BTreeMap<String, String>) -> Reply {
        if seen.method != "POST" {
            return Reply::status(405);
        }
        if let (Some(digest), Some(from), true) = (query.get("mount"), query.get("from"), self.habits.mounts)
            && let Some(bytes) = self.blobs.get(&(from.clone(), digest.clone())).cloned()
        {
            self.blobs.insert((path.to_owned(), digest.clone()), bytes);
            return Reply::status(201);
        }
        self.opened += 1;
        self.sessions.insert(self.opened, (Vec::new(), 0));
        let reply = self.progress(202, path, self.opened);
        match self.habits.announced {
            Some(most) => reply.header("oci-chunk-min-length", 1).header("oci-chunk-max-length", most),
            None => reply,
        }
    }

    /// An answer that says how far a session is, and where it goes on.
    fn progress(&self, status: u16, path: &str, id: usize) -> Reply {
        let (bytes, newest) = &self.sessions[&id];
        let last = bytes.len().saturating_sub(1);
        let location = format!("/v2/{path}/blobs/uploads/{id}?newest={newest}");
        Reply::status(status).header("location", location).header("range", format!("0-{last}"))
    }

    fn upload(&mut self, seen: &Seen, path: &str, id: usize, query: &BTreeMap<String, String>) -> Reply {
        let habits = self.habits;
        let length = seen.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0_usize);
        let Some((bytes, newest)) = self.sessions.get_mut(&id) else {
            return Reply::status(404).body(r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#);
        };
        let is_newest = query.get("newest").map(String::as_str) == Some(&newest.to_string());
        match seen.method.as_str() {
            "GET" if habits.status => self.progress(204, path, id),
            "PATCH" | "PUT" if length > habits.body => Reply::status(413).body("<html>too large</html>"),
            "PATCH" if !habits.patch => Reply::status(405),
            "PATCH" | "PUT" if !is_newest => Reply::status(404),
            "PATCH" => {
                let start = seen.header("content-range").map(|range| range.split('-').next().unwrap().parse::<usize>());
                match start {
                    Some(_) if !habits.ranged => return Reply::status(400),
                    Some(start) if start != Ok(bytes.len()) => return Reply::status(416),
                    None if !bytes.is_empty() => return Reply::status(416),
                    _ => bytes.extend_from_slice(&seen.body),
                }
                if seen.whole {
                    *newest += 1;
                }
                self.progress(202, path, id)
            }
            "PUT" if !habits.put && length > 0 => Reply::status(405),
            "PUT" => {
                bytes.extend_from_slice(&seen.body);
                if seen.whole { self.commit(path, id, query) } else { Reply::status(400) }
            }
            _ => Reply::status(404),
        }
    }

    fn commit(&mut self, path: &str, id: usize, query: &BTreeMap<String, String>) -> Reply {
        let Some((bytes, _)) = self.sessions.remove(&id) else { return Reply::status(404) };
        match query.get("digest") {
            Some(digest) if *digest == Digest::of(&bytes).to_string() => {
                self.blobs.insert((path.to_owned(), digest.clone()), bytes);
                Reply::status(201)
            }
            _ => Reply::status(400).body(r#"{"errors":[{"code":"DIGEST_INVALID","message":"no"}]}"#),
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
