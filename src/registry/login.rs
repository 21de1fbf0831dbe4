//! Logins: whether a registry takes a user name and password.
//!
//! Keeps nothing; `login_store` does.

use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Request, Response, StatusCode};

use super::challenge::{self, Challenge};
use super::docker_config::{hostname, is_hub};
use super::error::RegistryError;
use super::exchange::{Exchange, Host};
use super::keychain::Credential;
use super::origin::{Origin, place, validate_realm};
use super::token::TokenRequest;
use super::transport::Size;
use crate::diagnostic::{Class, Diagnose};

const ACTION: &str = "GET /v2/";

/// What a registry made of a user name and password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It asked for them and takes them.
    Accepted,
    /// It lets everybody in, so they prove nothing.
    NotAsked,
}

/// Why a login is not kept.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The text names no registry.
    #[error("`{0}` is not the name of a registry")]
    Name(String),
    /// The registry or its token server says no.
    #[error("`{host}` refuses this user name and password with status {status}")]
    Refused {
        /// Who says no.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// The answer is not one of a registry.
    #[error("`{host}` answers {status} to GET /v2/, as no registry does")]
    NoRegistry {
        /// The host.
        host: String,
        /// The HTTP status.
        status: u16,
    },
    /// The registry cannot be talked to.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Diagnose for LoginError {
    fn class(&self) -> Class {
        match self {
            Self::Name(_) => Class::Usage,
            Self::Registry(error) => error.class(),
            _ => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Name(_) => Some("write `HOST` or `HOST:PORT` alone, as in `lapstrake login ghcr.io`".to_owned()),
            Self::Refused { .. } => Some(
                "nothing was stored; check both, and whether the registry wants a token where you gave a password"
                    .to_owned(),
            ),
            Self::NoRegistry { .. } => Some("nothing was stored; check the host and port".to_owned()),
            Self::Registry(error) => error.hint(),
        }
    }
}

/// The registry that `text` names, as references write it: all names of Docker Hub, with or without a scheme and
/// `/v1/`, are `docker.io`.
///
/// # Errors
/// Fails when `text` has a path or is no address.
pub fn registry_name(text: &str) -> Result<String, LoginError> {
    let refused = || LoginError::Name(text.to_owned());
    let bare = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let path = bare.split_once('/').map_or("", |(_, path)| path).trim_end_matches('/');
    if !matches!(path, "" | "v1" | "v2") {
        return Err(refused());
    }
    let host = hostname(text).to_ascii_lowercase();
    Origin::of(&host, &[]).map_err(|_| refused())?;
    Ok(if is_hub(&host) { "docker.io".to_owned() } else { host })
}

/// Asks the registry as `username`, by the way of authentication that it wants.
pub(super) async fn check(
    exchange: &Exchange,
    host: &Host,
    username: &str,
    password: &str,
) -> Result<Checked, LoginError> {
    let first = ask(exchange, host, None).await?;
    let basic = || header(host, format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))));
    let (authorization, asked) = match first.status() {
        status if status.is_success() => (basic()?, Checked::NotAsked),
        StatusCode::UNAUTHORIZED => match challenge_of(&first, host)? {
            Challenge::Basic => (basic()?, Checked::Accepted),
            Challenge::Bearer { realm, service, .. } => {
                let credential = Credential::Password { username: username.to_owned(), password: password.to_owned() };
                let token = token(exchange, host, &realm, service.as_deref(), credential).await?;
                (header(host, format!("Bearer {token}"))?, Checked::Accepted)
            }
        },
        status => return Err(LoginError::NoRegistry { host: host.domain.clone(), status: status.as_u16() }),
    };
    exchange.drain(first, ACTION).await;
    match ask(exchange, host, Some(authorization)).await?.status() {
        status if status.is_success() => Ok(asked),
        status => Err(refusal(host.domain.clone(), status)),
    }
}

fn refusal(host: String, status: StatusCode) -> LoginError {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => LoginError::Refused { host, status: status.as_u16() },
        _ => LoginError::NoRegistry { host, status: status.as_u16() },
    }
}

async fn ask(exchange: &Exchange, host: &Host, authorization: Option<HeaderValue>) -> Result<Response, RegistryError> {
    let mut request = Request::new(Method::GET, host.url("/v2/")?);
    if let Some(value) = authorization {
        request.headers_mut().insert(AUTHORIZATION, value);
    }
    exchange.transport.send(request, Size::Small, ACTION).await
}

fn challenge_of(response: &Response, host: &Host) -> Result<Challenge, RegistryError> {
    let texts = response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let asked: Vec<Challenge> = texts.flat_map(challenge::parse).collect();
    let bearer = asked.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    bearer.or(asked.first()).cloned().ok_or_else(|| RegistryError::Challenge { host: host.domain.clone() })
}

/// A token for no scope at all, which proves the password.
async fn token(
    exchange: &Exchange,
    host: &Host,
    realm: &str,
    service: Option<&str>,
    credential: Credential,
) -> Result<String, LoginError> {
    let realm = validate_realm(realm, &host.origin)
        .map_err(|source| RegistryError::Realm { host: host.domain.clone(), source })?;
    let wanted = TokenRequest { realm: &realm, service, credential: Some(credential), source: None };
    let started = Instant::now();
    let response = exchange.transport.send(wanted.request(&[])?, Size::Small, "GET token").await?;
    let status = response.status();
    if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        return Err(refusal(place(&realm), status));
    }
    Ok(wanted.read(response, &[], started, &exchange.transport, 1).await?.value)
}

fn header(host: &Host, text: String) -> Result<HeaderValue, RegistryError> {
    let mut value = HeaderValue::try_from(text).map_err(|_| RegistryError::Token { host: host.domain.clone() })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries_are_named_in_many_ways() {
        for (text, expected) in [
            ("docker.io", Some("docker.io")),
            ("index.docker.io", Some("docker.io")),
            ("registry-1.docker.io", Some("docker.io")),
            ("https://index.docker.io/v1/", Some("docker.io")),
            ("ghcr.io", Some("ghcr.io")),
            ("GHCR.io", Some("ghcr.io")),
            ("https://ghcr.io/", Some("ghcr.io")),
            ("http://localhost:5000", Some("localhost:5000")),
            ("[::1]:5000", Some("[::1]:5000")),
            ("ghcr.io/me", None),
            ("https://ghcr.io/me/app", None),
            ("", None),
            ("me@ghcr.io", None),
            ("ftp://ghcr.io", None),
            ("a b", None),
        ] {
            assert_eq!(registry_name(text).ok().as_deref(), expected, "{text}");
        }
    }
}
