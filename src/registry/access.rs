//! Access: how each registry is reached, as the user configured it.
//!
//! Plain data, looked up by host; reads no file and opens no connection.

use std::collections::BTreeMap;

use url::Url;

use super::origin::{Origin, OriginError, served_by, without_port};
use super::proxy::Proxy;
use super::trust::ClientIdentity;
use crate::oci::{Reference, ReferenceError, Repository};

/// How one registry is reached.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Where manifests and blobs are looked for first, in this order.
    pub mirrors: Vec<Mirror>,
    /// Whether the registry speaks plain http; `None` for what its address suggests: loopback does, all others do not.
    pub plain_http: Option<bool>,
    /// PEM texts of certificates to trust at this registry, beside those that are trusted everywhere.
    pub roots: Vec<Vec<u8>>,
    /// The certificate by which this registry knows us; no other host is shown it.
    pub identity: Option<ClientIdentity>,
    /// The proxy on the way to this registry, instead of the one that the environment names.
    pub proxy: Option<ProxyRule>,
}

/// The way to one registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProxyRule {
    /// Without any proxy.
    Direct,
    /// Through this one, even to this machine.
    Through(Proxy),
}

/// A registry that has what another one has, perhaps below a prefix: with the mirror `mirror.example/hub`,
/// `docker.io/library/x` is `mirror.example/hub/library/x`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mirror {
    registry: String,
    prefix: String,
}

impl Mirror {
    /// Reads `host[:port][/prefix]`.
    ///
    /// # Errors
    /// Fails when a repository at such a place would have no valid name.
    pub fn parse(text: &str) -> Result<Self, ReferenceError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let repository = Repository::parse(&format!("{text}/image"))?;
        let (registry, prefix) = text.split_once('/').unwrap_or((text, ""));
        // A word without dot or port is no host, as in references.
        if repository.registry() != registry {
            return Err(ReferenceError::Format(text.to_owned()));
        }
        Ok(Self { registry: registry.to_owned(), prefix: prefix.to_owned() })
    }

    /// The host, with its port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Where the mirror has `at`.
    pub(super) fn repository(&self, at: &Repository) -> Result<Repository, ReferenceError> {
        let path = match self.prefix.as_str() {
            "" => at.path().to_owned(),
            prefix => format!("{prefix}/{}", at.path()),
        };
        Repository::parse(&format!("{}/{path}", self.registry))
    }

    /// Where the mirror has `at`.
    pub(super) fn reference(&self, at: &Reference) -> Result<Reference, ReferenceError> {
        let mut text = self.repository(&at.repository())?.to_string();
        text.extend(at.tag().map(|tag| format!(":{tag}")));
        text.extend(at.digest().map(|digest| format!("@{digest}")));
        Reference::parse(&text)
    }
}

impl std::fmt::Display for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.registry)?;
        if self.prefix.is_empty() { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

/// What is configured for which registry: keys are `host` for all its ports, or `host:port`.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccessTable {
    entries: BTreeMap<String, Access>,
    /// `host` or `host:port` to speak plain http with.
    insecure: Vec<String>,
}

impl AccessTable {
    pub(crate) fn new(entries: BTreeMap<String, Access>, insecure: Vec<String>) -> Self {
        let entries = entries.into_iter().map(|(key, access)| (served_by(&key).to_ascii_lowercase(), access));
        Self { entries: entries.collect(), insecure }
    }

    /// The entry for a registry as references name it, or for a host and port.
    pub(super) fn of(&self, domain: &str) -> Option<(&str, &Access)> {
        let domain = served_by(domain).to_ascii_lowercase();
        let found = self.entries.get_key_value(&domain).or_else(|| self.entries.get_key_value(without_port(&domain)));
        found.map(|(key, access)| (key.as_str(), access))
    }

    /// The entry for the host and port of `url`.
    pub(super) fn of_url(&self, url: &Url) -> Option<(&str, &Access)> {
        let host = url.host_str()?;
        let port = url.port_or_known_default()?;
        self.of(&format!("{host}:{port}"))
    }

    /// Scheme, host and port of a registry. A flag that allows plain http beats the entry.
    pub(super) fn origin(&self, domain: &str) -> Result<Origin, OriginError> {
        let flagged = Origin::is_named(domain, &self.insecure).then_some(true);
        let plain = flagged.or_else(|| self.of(domain).and_then(|(_, access)| access.plain_http));
        Origin::spoken(domain, plain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_have_repositories_below_their_prefix() {
        let at = Reference::parse("python:3.12").unwrap();
        for (text, expected) in [
            ("mirror.example", "mirror.example/library/python:3.12"),
            ("mirror.example:5000/hub/", "mirror.example:5000/hub/library/python:3.12"),
            ("localhost/a/b", "localhost/a/b/library/python:3.12"),
        ] {
            assert_eq!(Mirror::parse(text).unwrap().reference(&at).unwrap().to_string(), expected);
        }
        for text in ["", "/", "a b", "mirror", "https://mirror.example", "mirror.example/UPPER"] {
            assert!(Mirror::parse(text).is_err(), "{text}");
        }
        assert_eq!(Mirror::parse("mirror.example:5000/hub/").unwrap().to_string(), "mirror.example:5000/hub");
    }

    fn table(keys: &[(&str, Option<bool>)], insecure: &[&str]) -> AccessTable {
        let entry = |(key, plain): &(&str, Option<bool>)| {
            ((*key).to_owned(), Access { plain_http: *plain, ..Access::default() })
        };
        AccessTable::new(keys.iter().map(entry).collect(), insecure.iter().map(|host| (*host).to_owned()).collect())
    }

    #[test]
    fn entries_are_found_by_host_and_port_or_by_host() {
        let table = table(&[("docker.io", None), ("a.test", None), ("a.test:5000", None), ("b.test:443", None)], &[]);
        let by_domain = |domain: &str| table.of(domain).map(|(key, _)| key.to_owned());
        let by_url = |url: &str| table.of_url(&Url::parse(url).unwrap()).map(|(key, _)| key.to_owned());
        assert_eq!(by_domain("docker.io").as_deref(), Some("registry-1.docker.io"));
        assert_eq!(by_domain("A.test:5000").as_deref(), Some("a.test:5000"));
        assert_eq!(by_domain("a.test:5001").as_deref(), Some("a.test"));
        assert_eq!(by_domain("c.test"), None);
        assert_eq!(by_url("https://registry-1.docker.io/v2/").as_deref(), Some("registry-1.docker.io"));
        assert_eq!(by_url("https://b.test/v2/").as_deref(), Some("b.test:443"));
        assert_eq!(by_url("http://b.test/v2/"), None);
    }

    #[test]
    fn an_entry_says_the_scheme_and_a_flag_beats_it() {
        let plain = [("a.test", Some(true)), ("localhost:1", Some(false)), ("b.test", Some(false))];
        let table = table(&plain, &["b.test"]);
        for (domain, expected) in [
            ("a.test", "http://a.test"),
            ("a.test:5000", "http://a.test:5000"),
            ("b.test", "http://b.test"),
            ("localhost:1", "https://localhost:1"),
            ("localhost:2", "http://localhost:2"),
            ("c.test", "https://c.test"),
        ] {
            assert_eq!(table.origin(domain).unwrap().to_string(), expected);
        }
    }
}
