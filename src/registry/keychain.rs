//! Keychains: who we are to a registry, and where that was found.
//!
//! Nothing here talks to a registry, and nothing prints a secret: [`Credential`] shows its kind alone.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;

use super::cloud::CloudError;
use super::helper_process::HelperError;
use crate::diagnostic::Diagnose;

/// What proves an identity.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// User name and password, or a token that takes a password's place.
    Password {
        /// User name.
        username: String,
        /// Password.
        password: String,
    },
    /// A refresh token, exchanged for access tokens at the realm (OAuth 2.0, RFC 6749, section 6).
    IdentityToken(String),
    /// An access token, sent to the registry as it is.
    RegistryToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password { .. } => "Password(..)",
            Self::IdentityToken(_) => "IdentityToken(..)",
            Self::RegistryToken(_) => "RegistryToken(..)",
        })
    }
}

/// A credential with the name of its source, which messages may show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The proof.
    pub credential: Credential,
    /// Where it was found: a file's path, a helper's name, a flag.
    pub source: String,
    /// When to look it up anew, some time before it ends; `None` when it is not known to end.
    pub renew_at: Option<Instant>,
}

impl Identity {
    /// An identity that is not known to end.
    pub fn new(credential: Credential, source: impl Into<String>) -> Self {
        Self { credential, source: source.into(), renew_at: None }
    }

    /// Whether it is time to look it up anew.
    pub fn is_old(&self) -> bool {
        self.renew_at.is_some_and(|at| at <= Instant::now())
    }
}

/// A lookup under way.
pub type Lookup<'a> = BoxFuture<'a, Result<Option<Identity>, KeychainError>>;

/// Finds identities.
pub trait Keychain: Send + Sync {
    /// The identity for the repository `path` at `domain` (as written in references, `docker.io`); `None` means anonymous.
    ///
    /// # Errors
    /// Fails when a source that would answer is broken; a broken source is never taken for an absent one.
    fn identity<'a>(&'a self, domain: &'a str, path: &'a str) -> Lookup<'a>;
}

/// Why a keychain cannot answer.
#[derive(Debug, thiserror::Error)]
pub enum KeychainError {
    /// A file of credentials cannot be read.
    #[error("cannot read credentials from `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of credentials is not the JSON that it should be. The cause is left out: it would quote the file.
    #[error("`{}` is not a Docker configuration: wrong JSON at line {line}, column {column}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// A file of credentials is larger than any honest one.
    #[error("`{}` is larger than {cap} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        cap: u64,
    },
    /// An entry's members are no texts, or its `auth` is not base64 of `user:password`.
    #[error("the entry of `{key}` in `{}` has no usable `auth` (base64 of `user:password`)", path.display())]
    Auth {
        /// The file.
        path: PathBuf,
        /// The key below `auths`.
        key: String,
    },
    /// A credential helper is broken.
    #[error("credential helper `docker-credential-{helper}` gave no answer for `{server}`")]
    Helper {
        /// The helper's name, without `docker-credential-`.
        helper: String,
        /// What it was asked for.
        server: String,
        /// Why.
        #[source]
        source: HelperError,
    },
    /// A file of credentials cannot be written.
    #[error("cannot write credentials to `{}`", path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A cloud's own source of credentials is there and broken.
    #[error("the credential from `{found_in}` cannot be had")]
    Cloud {
        /// The source, as the cloud's documentation names it.
        found_in: String,
        /// Why.
        #[source]
        source: Box<CloudError>,
    },
}

impl Diagnose for KeychainError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { .. } => "make the file readable, or point DOCKER_CONFIG at another directory".to_owned(),
            Self::Malformed { .. } | Self::TooLarge { .. } | Self::Auth { .. } => {
                "mend the file, or move it away and log in again with `lapstrake login`".to_owned()
            }
            Self::Unwritable { .. } => "see that the folder is yours and its disk has room".to_owned(),
            Self::Cloud { source, .. } => return source.hint(),
            Self::Helper { helper, server, source } => match source {
                HelperError::Missing => format!(
                    "install `docker-credential-{helper}` in PATH, or remove it from `credHelpers` or `credsStore`"
                ),
                _ => format!("try it by hand: `echo {server} | docker-credential-{helper} get`"),
            },
        })
    }
}

/// The keychain that knows nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anonymous;

impl Keychain for Anonymous {
    fn identity<'a>(&'a self, _domain: &'a str, _path: &'a str) -> Lookup<'a> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// One identity that was given outright, by a flag or the environment.
#[derive(Clone, Debug)]
pub struct Given {
    /// The registry that it is for, as written in references.
    pub domain: String,
    /// The identity.
    pub identity: Identity,
}

impl Keychain for Given {
    fn identity<'a>(&'a self, domain: &'a str, _path: &'a str) -> Lookup<'a> {
        let found = (domain == self.domain).then(|| self.identity.clone());
        Box::pin(std::future::ready(Ok(found)))
    }
}

/// Several keychains; the first that knows an identity answers.
#[derive(Clone, Default)]
pub struct Chain(pub Vec<Arc<dyn Keychain>>);

impl Keychain for Chain {
    fn identity<'a>(&'a self, domain: &'a str, path: &'a str) -> Lookup<'a> {
        Box::pin(async move {
            for keychain in &self.0 {
                if let Some(identity) = keychain.identity(domain, path).await? {
                    return Ok(Some(identity));
                }
            }
            Ok(None)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let password = Credential::Password { username: "user".into(), password: "hunter2".into() };
        let identity = Identity::new(password, "a flag");
        let token = Credential::IdentityToken("hunter2".into());
        assert!(!format!("{identity:?} {token:?}").contains("hunter2"));
    }

    #[tokio::test]
    async fn the_first_keychain_that_knows_answers() {
        let given = |domain: &str, source: &str| -> Arc<dyn Keychain> {
            let credential = Credential::RegistryToken("t".into());
            Arc::new(Given { domain: domain.into(), identity: Identity::new(credential, source) })
        };
        let chain =
            Chain(vec![Arc::new(Anonymous), given("a.test", "one"), given("b.test", "two"), given("a.test", "three")]);
        let source = |found: Option<Identity>| found.map(|identity| identity.source);
        assert_eq!(source(chain.identity("a.test", "x").await.unwrap()).as_deref(), Some("one"));
        assert_eq!(source(chain.identity("b.test", "x").await.unwrap()).as_deref(), Some("two"));
        assert_eq!(source(chain.identity("c.test", "x").await.unwrap()), None);
    }
}
