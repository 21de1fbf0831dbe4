//! Remotes and their URLs: what may be shown and recorded, and when two mean the same repository.
//!
//! Nothing is fetched from them.

use std::fmt;

/// A remote of a checkout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// What the checkout calls it.
    pub name: String,
    /// Where it is.
    pub url: RemoteUrl,
    /// The refs that a fetch writes, as patterns with at most one `*`.
    pub(super) tracks: Vec<String>,
}

impl Remote {
    /// Whether `name`, such as `refs/remotes/origin/main`, is written by fetches from this remote.
    pub(super) fn writes(&self, name: &str) -> bool {
        self.tracks.iter().any(|pattern| match pattern.split_once('*') {
            Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| rest.ends_with(after)),
            None => name == pattern,
        })
    }
}

/// The URL of a repository, without anything secret: no password, and for http no user name, query or fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUrl(String);

impl RemoteUrl {
    /// Takes what is secret out of `text`: a URL, a path, or `user@host:path`.
    pub fn parse(text: &str) -> Self {
        let Some((scheme, rest)) = text.split_once("://") else { return Self(text.to_owned()) };
        let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        let rest = if is_http { rest.split(['?', '#']).next().unwrap_or_default() } else { rest };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let authority = match authority.rsplit_once('@') {
            Some((_, host)) if is_http => host.to_owned(),
            // The user of ssh is part of the address, and its name no secret.
            Some((user, host)) => format!("{}@{host}", user.split(':').next().unwrap_or_default()),
            None => authority.to_owned(),
        };
        Self(format!("{scheme}://{authority}{path}"))
    }

    /// The URL.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is a place of this machine, where no container can fetch from.
    pub fn is_local(&self) -> bool {
        self.host_and_path().is_none()
    }

    /// Whether both mean one repository, whatever the protocol, the user and the ending `.git`.
    pub fn is_same_place(&self, other: &Self) -> bool {
        match (self.host_and_path(), other.host_and_path()) {
            (Some(one), Some(other)) => one == other,
            (None, None) => self.local_path() == other.local_path(),
            _ => false,
        }
    }

    fn local_path(&self) -> &str {
        let path = self.0.strip_prefix("file://").unwrap_or(&self.0).trim_end_matches('/');
        path.strip_suffix(".git").unwrap_or(path).trim_end_matches('/')
    }

    /// Host in lower case without user and port, and the path; `None` for a path or `file://` URL.
    fn host_and_path(&self) -> Option<(String, String)> {
        let (authority, path) = match self.0.split_once("://") {
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("file") => return None,
            Some((_, rest)) => rest.split_once('/')?,
            // As git tells them apart: a slash before the first colon makes it a path.
            None => self.0.split_once(':').filter(|(host, _)| !host.contains('/'))?,
        };
        let host = authority.rsplit('@').next().unwrap_or_default();
        let host = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let path = path.trim_matches('/');
        Some((host.to_ascii_lowercase(), path.strip_suffix(".git").unwrap_or(path).to_owned()))
    }
}

impl fmt::Display for RemoteUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lose_what_is_secret() {
        for (text, expected) in [
            ("https://ci:s3cret@git.example/a/b.git", "https://git.example/a/b.git"),
            ("https://s3cret@git.example", "https://git.example"),
            ("https://git.example/a.git?private_token=s3cret#x", "https://git.example/a.git"),
            ("https://a:p@ss@git.example/b", "https://git.example/b"),
            ("ssh://git:s3cret@git.example:22/a/b.git", "ssh://git@git.example:22/a/b.git"),
            ("git@git.example:a/b.git", "git@git.example:a/b.git"),
            ("/srv/git/a@b.git", "/srv/git/a@b.git"),
        ] {
            assert_eq!(RemoteUrl::parse(text).as_str(), expected);
        }
    }

    #[test]
    fn one_repository_has_many_urls() {
        let url = RemoteUrl::parse("https://git.example/a/b.git");
        for same in [
            "git@GIT.example:a/b",
            "ssh://git@git.example:22/a/b.git/",
            "http://git.example/a/b/",
            "https://token@git.example:443/a/b.git",
        ] {
            assert!(url.is_same_place(&RemoteUrl::parse(same)), "{same}");
        }
        assert!(RemoteUrl::parse("/srv/a.git").is_same_place(&RemoteUrl::parse("file:///srv/a")));
        for other in ["https://git.example/a/c.git", "https://other.example/a/b.git", "/a/b.git", "file:///a/b.git"] {
            assert!(!url.is_same_place(&RemoteUrl::parse(other)), "{other}");
        }
    }

    #[test]
    fn places_of_this_machine_are_known() {
        for (text, local) in [
            ("/srv/git/a.git", true),
            ("../a", true),
            ("file:///srv/a", true),
            ("./a:b", true),
            ("git@host:a", false),
            ("https://host/a", false),
            ("ssh://host/a", false),
        ] {
            assert_eq!(RemoteUrl::parse(text).is_local(), local, "{text}");
        }
    }

    #[test]
    fn a_remote_knows_which_refs_are_its_own() {
        let tracks = vec!["refs/remotes/origin/*".to_owned(), "refs/tags/v1".to_owned()];
        let remote = Remote { name: "origin".into(), url: RemoteUrl::parse("x"), tracks };
        let known = ["refs/remotes/origin/a/b", "refs/tags/v1", "refs/tags/v10", "refs/remotes/other/a"];
        assert_eq!(known.map(|name| remote.writes(name)), [true, true, false, false]);
    }
}
