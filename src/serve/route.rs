//! Routes: what a request's path names.
//!
//! Names, tags and digests are checked here, so that what follows may put them into paths. Nothing
//! here knows whether they exist.

use url::form_urlencoded;

use super::answer::{Code, Refusal};
use crate::oci::Digest;

/// A repository's name, checked against distribution-spec, "Pulling manifests".
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name(String);

/// What a manifest is asked for by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Tag(String),
    Digest(Digest),
}

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Ping,
    Catalog,
    Tags(Name),
    Manifest(Name, Target),
    Referrers(Name, Digest),
    Blob(Name, Digest),
    Uploads(Name),
    Upload(Name, String),
}

const NAME_LIMIT: usize = 255;

impl Name {
    /// Parses `component(/component)*`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let is_name = text.len() <= NAME_LIMIT && text.split('/').all(is_component);
        is_name.then(|| Self(text.to_owned()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let is_separator = |text: &str| matches!(text, "." | "_" | "__") || text.bytes().all(|b| b == b'-');
    let Some(last) = text.chars().next_back() else { return false };
    if !text.starts_with(is_word) || !is_word(last) {
        return false;
    }
    text.split(is_word).filter(|between| !between.is_empty()).all(is_separator)
}

/// `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
pub(super) fn is_tag(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(is_word)
        && text.bytes().all(|b| is_word(b) || matches!(b, b'.' | b'-'))
}

impl Route {
    /// The methods that a route has.
    pub(super) fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Ping | Self::Catalog | Self::Tags(_) | Self::Referrers(..) => &["GET", "HEAD"],
            Self::Manifest(..) => &["GET", "HEAD", "PUT", "DELETE"],
            Self::Blob(..) => &["GET", "HEAD", "DELETE"],
            Self::Uploads(_) => &["POST"],
            Self::Upload(..) => &["GET", "HEAD", "PATCH", "PUT", "DELETE"],
        }
    }

    /// Parses a request's path.
    pub(super) fn parse(path: &str) -> Result<Self, Refusal> {
        // Of all that stands in such paths, some clients escape the colon of a digest.
        let path = path.replace("%3A", ":").replace("%3a", ":");
        let none = || Code::NotFound.refuse(format!("nothing is at `{path}`"));
        if path == "/v2" || path == "/v2/" {
            return Ok(Self::Ping);
        }
        let rest = path.strip_prefix("/v2/").ok_or_else(none)?;
        if rest == "_catalog" {
            return Ok(Self::Catalog);
        }
        let parts: Vec<&str> = rest.split('/').collect();
        match parts.as_slice() {
            [name @ .., "tags", "list"] => Ok(Self::Tags(checked(name)?)),
            [name @ .., "blobs", "uploads"] | [name @ .., "blobs", "uploads", ""] => Ok(Self::Uploads(checked(name)?)),
            [name @ .., "blobs", "uploads", id] => Ok(Self::Upload(checked(name)?, (*id).to_owned())),
            [name @ .., "blobs", digest] => Ok(Self::Blob(checked(name)?, parse_digest(digest)?)),
            [name @ .., "referrers", digest] => Ok(Self::Referrers(checked(name)?, parse_digest(digest)?)),
            [name @ .., "manifests", target] => Ok(Self::Manifest(checked(name)?, parse_target(target)?)),
            _ => Err(none()),
        }
    }
}

fn checked(parts: &[&str]) -> Result<Name, Refusal> {
    let text = parts.join("/");
    Name::parse(&text).ok_or_else(|| Code::NameInvalid.refuse(format!("`{text}` is not a repository's name")))
}

/// Parses a digest of a request.
pub(super) fn parse_digest(text: &str) -> Result<Digest, Refusal> {
    Digest::parse(text).map_err(|error| Code::DigestInvalid.refuse(error.to_string()))
}

fn parse_target(text: &str) -> Result<Target, Refusal> {
    if text.contains(':') {
        return parse_digest(text).map(Target::Digest);
    }
    parse_tag(text).map(Target::Tag)
}

/// Parses a tag of a request.
pub(super) fn parse_tag(text: &str) -> Result<String, Refusal> {
    if is_tag(text) { Ok(text.to_owned()) } else { Err(Code::TagInvalid.refuse(format!("`{text}` is not a tag"))) }
}

/// The parameters of a request's query.
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The first value of `name`.
    pub(super) fn one(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    /// All values of `name`, in their order.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_specification() {
        for name in ["a", "a/b", "library/python", "a.b_c__d-e---f/0"] {
            assert!(Name::parse(name).is_some(), "{name}");
        }
        let long = "a/".repeat(200) + "a";
        for name in
            ["", "/", "a/", "/a", "a//b", "..", "a/../b", "_blobs", "a_", "a..b", "a___b", "A", "a b", "ä", &long]
        {
            assert!(Name::parse(name).is_none(), "{name}");
        }
    }

    #[test]
    fn paths_name_routes() {
        let digest = Digest::of(b"");
        let name = |text: &str| Name::parse(text).unwrap();
        let cases = [
            ("/v2/".to_owned(), Route::Ping),
            ("/v2/_catalog".to_owned(), Route::Catalog),
            ("/v2/a/tags/list".to_owned(), Route::Tags(name("a"))),
            ("/v2/a/tags/tags/list".to_owned(), Route::Tags(name("a/tags"))),
            ("/v2/a/blobs/uploads/".to_owned(), Route::Uploads(name("a"))),
            ("/v2/a/b/blobs/uploads/x1".to_owned(), Route::Upload(name("a/b"), "x1".to_owned())),
            (format!("/v2/a/blobs/{digest}"), Route::Blob(name("a"), digest.clone())),
            (format!("/v2/a/blobs/sha256%3A{}", digest.hex()), Route::Blob(name("a"), digest.clone())),
            ("/v2/a/manifests/Latest_1".to_owned(), Route::Manifest(name("a"), Target::Tag("Latest_1".to_owned()))),
            (format!("/v2/a/referrers/{digest}"), Route::Referrers(name("a"), digest.clone())),
        ];
        for (path, route) in cases {
            assert_eq!(Route::parse(&path).unwrap(), route, "{path}");
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_refused() {
        for path in [
            "/",
            "/v1/a/tags/list",
            "/v2/../etc/tags/list",
            "/v2/%2e%2e/tags/list",
            "/v2/a%2F..%2F../tags/list",
            "/v2/a/manifests/..",
            "/v2/a/manifests/.hidden",
            "/v2/a/blobs/sha256:../../x",
            "/v2/a/blobs/sha256:abc",
            "/v2/_tags/manifests/x",
            "/v2/tags/list",
        ] {
            assert!(Route::parse(path).is_err(), "{path}");
        }
    }
}
