//! References: which image, in which repository, of which registry.
//!
//! The grammar and the meaning of a missing registry are those of distribution/reference; a missing
//! tag stays missing, no `latest` is made up.

use std::fmt;
use std::str::FromStr;

use super::{Digest, DigestError};
use crate::diagnostic::{Class, Diagnose};

const DEFAULT_DOMAIN: &str = "docker.io";
const LEGACY_DOMAIN: &str = "index.docker.io";
const OFFICIAL: &str = "library/";
/// The longest path of a repository, in bytes.
const PATH_MAX: usize = 255;
const TAG_MAX: usize = 128;

/// A repository: a registry's name as written (`docker.io`, `registry.example:5000`) and a path in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: String,
    path: String,
}

/// A repository with a tag, a digest, both or neither.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// The parts of a reference as they stand in a text, with nothing added (distribution/reference's `Parse`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferenceParts<'a> {
    /// The registry, when the text begins with one.
    pub domain: Option<&'a str>,
    /// The path in the registry.
    pub path: &'a str,
    /// The tag.
    pub tag: Option<&'a str>,
    /// The digest.
    pub digest: Option<Digest>,
}

/// Why a text is not a reference.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceError {
    /// The text is empty.
    #[error("image reference is empty")]
    Empty,
    /// The text does not follow the grammar.
    #[error("`{0}` is not an image reference")]
    Format(String),
    /// The repository's path has upper-case letters.
    #[error("repository of `{0}` is not in lower case")]
    Uppercase(String),
    /// The repository's path exceeds 255 bytes.
    #[error("repository of `{0}` is longer than 255 characters")]
    TooLong(String),
    /// The text is 64 hexadecimal digits: an image's identifier in a daemon, which no registry knows.
    #[error("`{0}` is an image identifier, not an image reference")]
    Identifier(String),
    /// The part after `@` is no digest.
    #[error("digest of `{text}` is not valid")]
    Digest {
        /// The text.
        text: String,
        /// What is wrong with it.
        #[source]
        source: DigestError,
    },
    /// A tag does not follow the grammar.
    #[error("`{0}` is not a tag")]
    Tag(String),
    /// The text is a host and a port, which the grammar takes for an image of Docker Hub with a tag of digits.
    #[error("`{0}` is a registry without a repository")]
    BareRegistry(String),
    /// A repository was asked for, and the text has a tag or digest.
    #[error("`{0}` names an image where a repository was expected")]
    NotRepository(String),
}

impl Diagnose for ReferenceError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Empty | Self::Format(_) => {
                "write `[registry/]repository[:tag][@sha256:hex]`, without `https://`".to_owned()
            }
            Self::Uppercase(text) => format!("write `{}`", text.to_lowercase()),
            Self::TooLong(_) => "use a shorter path".to_owned(),
            Self::Identifier(_) => "write `repository@sha256:hex` to name an image by its digest".to_owned(),
            Self::Digest { .. } => "a digest is `sha256:` and 64 lower-case hexadecimal digits".to_owned(),
            Self::Tag(_) => {
                "a tag has letters, digits, `_`, `.` and `-`, 128 at most, and begins with none of `.-`".to_owned()
            }
            Self::BareRegistry(text) => format!(
                "write `{text}/REPOSITORY` for an image there, or `{DEFAULT_DOMAIN}/{OFFICIAL}{text}` for the one of Docker Hub"
            ),
            Self::NotRepository(_) => "leave out the tag and the digest".to_owned(),
        })
    }
}

impl Reference {
    /// Parses a reference; without a registry it is Docker Hub's (distribution/reference's `ParseNormalizedNamed`).
    ///
    /// # Errors
    /// Fails when the text does not follow the grammar, has an invalid digest, or is a bare image identifier.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(ReferenceError::Identifier(text.to_owned()));
        }
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (domain, remainder) = split_domain(text);
        let remote = remainder.split(':').next().unwrap_or_default();
        if remote.chars().any(char::is_uppercase) {
            return Err(ReferenceError::Uppercase(text.to_owned()));
        }
        let full = format!("{domain}/{remainder}");
        let parts = ReferenceParts::parse(&full).map_err(|error| error.about(text))?;
        let registry = parts.domain.ok_or_else(|| ReferenceError::Format(text.to_owned()))?.to_owned();
        Ok(Self {
            repository: Repository { registry, path: parts.path.to_owned() },
            tag: parts.tag.map(str::to_owned),
            digest: parts.digest,
        })
    }

    /// Parses a reference that a person wrote: as [`Reference::parse`] does, but `host:port` alone is refused.
    ///
    /// # Errors
    /// Fails when the text is no reference, or one that hardly anybody means.
    pub fn written(text: &str) -> Result<Self, ReferenceError> {
        let is_host = |host: &str| !host.contains('/') && (host.contains('.') || host == "localhost");
        let is_port = |tag: &str| tag.parse::<u16>().is_ok();
        match text.split('@').next().and_then(|name| name.split_once(':')) {
            Some((host, tag)) if is_host(host) && is_port(tag) => Err(ReferenceError::BareRegistry(text.to_owned())),
            _ => Self::parse(text),
        }
    }

    /// The reference of a tag in a repository.
    ///
    /// # Errors
    /// Fails when `tag` does not follow the grammar of tags.
    pub fn tagged(repository: &Repository, tag: &str) -> Result<Self, ReferenceError> {
        if !is_tag(tag) {
            return Err(ReferenceError::Tag(tag.to_owned()));
        }
        Ok(Self { repository: repository.clone(), tag: Some(tag.to_owned()), digest: None })
    }

    /// The reference of a digest in a repository, without tag.
    pub fn pinned(repository: &Repository, digest: &Digest) -> Self {
        Self { repository: repository.clone(), tag: None, digest: Some(digest.clone()) }
    }

    /// The registry's name, port included; `docker.io` for Docker Hub.
    pub fn domain(&self) -> &str {
        &self.repository.registry
    }

    /// The path in the registry.
    pub fn path(&self) -> &str {
        &self.repository.path
    }

    /// The tag.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// The repository, without tag and digest.
    pub fn repository(&self) -> Repository {
        self.repository.clone()
    }

    /// The same repository and digest with another tag.
    ///
    /// # Errors
    /// Fails when `tag` does not follow the grammar of tags.
    pub fn with_tag(&self, tag: &str) -> Result<Self, ReferenceError> {
        Self::tagged(&self.repository, tag).map(|tagged| Self { digest: self.digest.clone(), ..tagged })
    }

    /// The same repository and tag with another digest.
    #[must_use]
    pub fn with_digest(&self, digest: &Digest) -> Self {
        Self { digest: Some(digest.clone()), ..self.clone() }
    }

    /// The short name that people know: `docker.io/library/ubuntu:24.04` is `ubuntu:24.04`.
    pub fn familiar(&self) -> String {
        let full = self.to_string();
        let Some(short) = full.strip_prefix("docker.io/") else { return full };
        let official = self.path().strip_prefix(OFFICIAL).is_some_and(|rest| !rest.contains('/'));
        short.strip_prefix(OFFICIAL).filter(|_| official).unwrap_or(short).to_owned()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl Repository {
    /// Parses a repository; without a registry it is Docker Hub's.
    ///
    /// # Errors
    /// Fails when the text is no reference, or one with a tag or digest.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let reference = Reference::parse(text)?;
        if reference.tag.is_some() || reference.digest.is_some() {
            return Err(ReferenceError::NotRepository(text.to_owned()));
        }
        Ok(reference.repository)
    }

    /// The registry's name as written, port included; `docker.io` for Docker Hub.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl FromStr for Repository {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl<'a> ReferenceParts<'a> {
    /// Parses a text by the grammar alone; `test.com:5000` is the path `test.com` with the tag `5000`.
    ///
    /// # Errors
    /// Fails when the text does not follow the grammar or has an invalid digest.
    pub fn parse(text: &'a str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
        let last = rest.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match rest[last..].find(':') {
            Some(colon) => (&rest[..last + colon], Some(&rest[last + colon + 1..])),
            None => (rest, None),
        };
        let Some((domain, path)) = split_name(name) else {
            return Err(match split_name(&name.to_lowercase()) {
                Some(_) => ReferenceError::Uppercase(text.to_owned()),
                None => ReferenceError::Format(text.to_owned()),
            });
        };
        if !tag.is_none_or(is_tag) || !digest.is_none_or(is_digest_shaped) {
            return Err(ReferenceError::Format(text.to_owned()));
        }
        if path.len() > PATH_MAX {
            return Err(ReferenceError::TooLong(text.to_owned()));
        }
        let digest = digest.map(Digest::parse).transpose();
        let digest = digest.map_err(|source| ReferenceError::Digest { text: text.to_owned(), source })?;
        Ok(Self { domain, path, tag, digest })
    }
}

impl ReferenceError {
    fn about(self, text: &str) -> Self {
        let text = text.to_owned();
        match self {
            Self::Format(_) => Self::Format(text),
            Self::Uppercase(_) => Self::Uppercase(text),
            Self::TooLong(_) => Self::TooLong(text),
            Self::Digest { source, .. } => Self::Digest { text, source },
            other => other,
        }
    }
}

/// Splits the registry off and adds what is left out, as `splitDockerDomain` does.
fn split_domain(text: &str) -> (&str, String) {
    let (domain, remainder) = match text.split_once('/') {
        None => (DEFAULT_DOMAIN, text),
        Some((LEGACY_DOMAIN, rest)) => (DEFAULT_DOMAIN, rest),
        Some((first, rest))
            if first == "localhost" || first.contains(['.', ':']) || first.chars().any(char::is_uppercase) =>
        {
            (first, rest)
        }
        Some(_) => (DEFAULT_DOMAIN, text),
    };
    if domain == DEFAULT_DOMAIN && !remainder.contains('/') {
        return (domain, format!("{OFFICIAL}{remainder}"));
    }
    (domain, remainder.to_owned())
}

/// Splits `[domain/]path`; `None` when neither reading follows the grammar.
fn split_name(name: &str) -> Option<(Option<&str>, &str)> {
    if let Some((domain, path)) = name.split_once('/')
        && is_domain(domain)
        && is_path(path)
    {
        return Some((Some(domain), path));
    }
    is_path(name).then_some((None, name))
}

fn is_domain(text: &str) -> bool {
    let (host, port) = match text.rfind(']') {
        Some(end) if text[end + 1..].is_empty() => (text, None),
        Some(end) => match text[end + 1..].strip_prefix(':') {
            Some(port) => (&text[..=end], Some(port)),
            None => return false,
        },
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port_is_plain = port.is_none_or(|port| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()));
    let ipv6 = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let host_is_plain = match ipv6 {
        Some(inner) => !inner.is_empty() && inner.bytes().all(|b| b.is_ascii_hexdigit() || b == b':'),
        None => host.split('.').all(is_domain_component),
    };
    port_is_plain && host_is_plain
}

fn is_domain_component(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('-')
        && !text.ends_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

fn is_path(text: &str) -> bool {
    text.split('/').all(is_path_component)
}

/// Runs of lower-case letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |c: char| matches!(c, 'a'..='z' | '0'..='9');
    let is_separator = |gap: &str| matches!(gap, "." | "_" | "__") || gap.bytes().all(|b| b == b'-');
    text.starts_with(alphanumeric) && text.ends_with(alphanumeric) && text.split(alphanumeric).all(is_separator)
}

/// Whether a text follows the grammar of tags: a letter, digit or `_`, then 127 at most of those, `.` and `-`.
pub fn is_tag(text: &str) -> bool {
    text.len() <= TAG_MAX
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

fn is_digest_shaped(text: &str) -> bool {
    let Some((algorithm, hex)) = text.split_once(':') else { return false };
    let part = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    algorithm.split(['-', '_', '+', '.']).all(part) && hex.len() >= 32 && hex.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_a_port_alone_is_no_image_that_a_person_means() {
        for text in ["127.0.0.1:5000", "localhost:5000", "registry.example:443", "localhost:5000@sha256:00"] {
            assert_eq!(Reference::written(text), Err(ReferenceError::BareRegistry(text.to_owned())));
        }
        for text in [
            "python:3",
            "python:3.12",
            "localhost/app:5000",
            "127.0.0.1:5000/app",
            "a.b/c:1",
            "node.js:v18",
            "a.b:99999",
        ] {
            assert_eq!(Reference::written(text), Reference::parse(text), "{text}");
            assert!(Reference::written(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn parse_adds_the_registry_and_nothing_else() {
        for (text, full, familiar) in [
            ("ubuntu", "docker.io/library/ubuntu", "ubuntu"),
            ("index.docker.io/ubuntu:24.04", "docker.io/library/ubuntu:24.04", "ubuntu:24.04"),
            ("a/b/c", "docker.io/a/b/c", "a/b/c"),
            ("library/a/b", "docker.io/library/a/b", "library/a/b"),
            ("localhost/x", "localhost/x", "localhost/x"),
            ("Host/x", "Host/x", "Host/x"),
            ("[::1]:5000/x:y", "[::1]:5000/x:y", "[::1]:5000/x:y"),
            ("test.com:5000", "docker.io/library/test.com:5000", "test.com:5000"),
        ] {
            let reference = Reference::parse(text).unwrap();
            assert_eq!((reference.to_string().as_str(), reference.familiar().as_str()), (full, familiar));
            assert_eq!(Reference::parse(full).unwrap(), reference, "{full}");
        }
    }

    #[test]
    fn parse_names_the_condition_of_each_refusal() {
        let long = "a".repeat(256);
        let hex = "0".repeat(64);
        for (text, expected) in [
            ("", ReferenceError::Empty),
            ("https://a/b", ReferenceError::Format("https://a/b".into())),
            ("a/b:c:d", ReferenceError::Format("a/b:c:d".into())),
            ("a//b", ReferenceError::Format("a//b".into())),
            ("a/B", ReferenceError::Uppercase("a/B".into())),
            (&long, ReferenceError::TooLong(long.clone())),
            (&hex, ReferenceError::Identifier(hex.clone())),
        ] {
            assert_eq!(Reference::parse(text), Err(expected), "{text}");
        }
        let error = Reference::parse(&format!("a@sha256:{}", "0".repeat(63))).unwrap_err();
        assert!(matches!(error, ReferenceError::Digest { .. }), "{error}");
    }

    #[test]
    fn tag_and_digest_are_set_on_a_repository() {
        let repository = Repository::parse("registry.example:5000/team/app").unwrap();
        let digest = Digest::of(b"image");
        let tagged = Reference::tagged(&repository, "v1").unwrap();
        assert_eq!(tagged.to_string(), "registry.example:5000/team/app:v1");
        assert_eq!(tagged.with_digest(&digest).to_string(), format!("registry.example:5000/team/app:v1@{digest}"));
        assert_eq!(Reference::pinned(&repository, &digest).with_tag("v2").unwrap().tag(), Some("v2"));
        assert_eq!(Reference::tagged(&repository, "-x"), Err(ReferenceError::Tag("-x".into())));
        assert_eq!(Repository::parse("a:b"), Err(ReferenceError::NotRepository("a:b".into())));
    }
}
