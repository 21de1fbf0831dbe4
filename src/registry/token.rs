//! Token servers: one request, one token (distribution, "Token Authentication" and "OAuth2 Token Authentication").
//!
//! Keeps no token; `auth` does.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::auth::describe;
use super::error::{self, RegistryError};
use super::keychain::Credential;
use super::origin::place;
use super::retry::{RetryPolicy, is_transient};
use super::transport::{Size, Transport};

const ANSWER_CAP: u64 = 1 << 20;
const ERROR_CAP: u64 = 64 << 10;
const DEFAULT_LIFETIME: u64 = 60;
const LONGEST_LIFETIME: u64 = 3600;
const CLIENT_ID: &str = "lapstrake";

/// An access token.
pub(super) struct Token {
    pub(super) value: String,
    /// When to fetch another one, some time before this one ends.
    pub(super) renew_at: Instant,
}

/// Whom to ask for a token, and as whom.
pub(super) struct TokenRequest<'a> {
    pub(super) realm: &'a Url,
    pub(super) service: Option<&'a str>,
    pub(super) credential: Option<Credential>,
    pub(super) source: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default, deserialize_with = "lenient_seconds")]
    expires_in: Option<f64>,
}

/// A number of seconds, also as text; anything else counts as absent.
fn lenient_seconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value.as_f64().or_else(|| value.as_str()?.trim().parse().ok()))
}

/// Fetches a token for `scopes`, with the retries of any small request.
pub(super) async fn fetch(
    wanted: &TokenRequest<'_>,
    scopes: &[&str],
    transport: &Transport,
    retry: &RetryPolicy,
) -> Result<Token, RegistryError> {
    let mut failures = 0;
    loop {
        let started = Instant::now();
        let sent = transport.send(wanted.request(scopes)?, Size::Small, "GET token").await;
        failures += 1;
        let asked = sent.as_ref().ok().and_then(|response| retry.asked_wait(response.headers()));
        let again = match &sent {
            Ok(response) => is_transient(response.status()),
            // What has no count of tries is tried again by whoever wants the token.
            Err(error) => error.is_transient() && error.tries().is_some(),
        };
        if again && failures < retry.tries {
            let wait = asked.unwrap_or_else(|| retry.wait(failures, wanted.realm.as_str()));
            tokio::time::sleep(wait).await;
            continue;
        }
        let response = sent.map_err(|error| error.after(failures))?;
        return wanted.read(response, scopes, started, transport, failures).await;
    }
}

impl TokenRequest<'_> {
    pub(super) fn request(&self, scopes: &[&str]) -> Result<Request, RegistryError> {
        let mut url = self.realm.clone();
        let broken = || RegistryError::Token { host: place(self.realm) };
        if let Some(Credential::IdentityToken(token)) = &self.credential {
            let mut form = Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token").append_pair("client_id", CLIENT_ID);
            form.append_pair("refresh_token", token).append_pair("scope", &scopes.join(" "));
            form.extend_pairs(self.service.map(|service| ("service", service)));
            let mut request = Request::new(Method::POST, url);
            let urlencoded = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(CONTENT_TYPE, urlencoded);
            *request.body_mut() = Some(form.finish().into());
            return Ok(request);
        }
        let service = self.service.map(|service| ("service", service));
        url.query_pairs_mut().extend_pairs(service).extend_pairs(scopes.iter().map(|scope| ("scope", *scope)));
        let mut request = Request::new(Method::GET, url);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(Credential::Password { username, password }) = &self.credential {
            let pair = STANDARD.encode(format!("{username}:{password}"));
            let mut header = HeaderValue::try_from(format!("Basic {pair}")).map_err(|_| broken())?;
            header.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, header);
        }
        Ok(request)
    }

    pub(super) async fn read(
        &self,
        response: Response,
        scopes: &[&str],
        started: Instant,
        transport: &Transport,
        tries: u32,
    ) -> Result<Token, RegistryError> {
        let host = place(self.realm);
        let status = response.status();
        if !status.is_success() {
            return Err(self.refusal(response, scopes, transport, tries).await);
        }
        let body = transport.body(response, ANSWER_CAP, "GET token").await?;
        let body = body.ok_or_else(|| RegistryError::TooLarge { what: "the token".to_owned(), cap: ANSWER_CAP })?;
        // The cause would quote the token.
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| RegistryError::Token { host: host.clone() })?;
        let given = |token: Option<String>| token.filter(|token| !token.is_empty());
        let value = given(answer.token).or(given(answer.access_token)).ok_or(RegistryError::Token { host })?;
        Ok(Token { value, renew_at: started + usable(answer.expires_in) })
    }

    async fn refusal(&self, response: Response, scopes: &[&str], transport: &Transport, tries: u32) -> RegistryError {
        let host = place(self.realm);
        let scope = scopes.join(" ");
        let identity = describe(self.source.as_deref());
        match response.status() {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => RegistryError::Unauthorized { host, identity, scope },
            StatusCode::TOO_MANY_REQUESTS => RegistryError::RateLimited { host, tries },
            status => {
                let body = transport.body(response, ERROR_CAP, "GET token").await.ok().flatten().unwrap_or_default();
                let detail = error::detail(&body, &self.secrets());
                RegistryError::Status { host, action: "GET token".to_owned(), status: status.as_u16(), tries, detail }
            }
        }
    }

    fn secrets(&self) -> Vec<String> {
        match &self.credential {
            Some(Credential::Password { username, password }) => {
                vec![STANDARD.encode(format!("{username}:{password}")), password.clone()]
            }
            Some(Credential::IdentityToken(token) | Credential::RegistryToken(token)) => vec![token.clone()],
            None => Vec::new(),
        }
    }
}

/// How long a token is used: to its end less a quarter, at most 30 s, so that it does not end on the way.
fn usable(expires_in: Option<f64>) -> Duration {
    let seconds = expires_in.filter(|seconds| *seconds >= 1.0).unwrap_or(DEFAULT_LIFETIME as f64);
    let lifetime = Duration::from_secs_f64(seconds.min(LONGEST_LIFETIME as f64));
    lifetime - (lifetime / 4).min(Duration::from_secs(30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_before_they_end() {
        for (expires_in, expected) in [
            (None, 45.0),
            (Some(0.0), 45.0),
            (Some(-5.0), 45.0),
            (Some(2.0), 1.5),
            (Some(300.0), 270.0),
            (Some(1e300), 3570.0),
            (Some(f64::NAN), 45.0),
            (Some(f64::INFINITY), 3570.0),
        ] {
            assert_eq!(usable(expires_in).as_secs_f64(), expected, "{expires_in:?}");
        }
    }

    #[test]
    fn lifetimes_are_read_in_all_forms() {
        for (json, expected) in [
            ("{}", None),
            (r#"{"expires_in":null}"#, None),
            (r#"{"expires_in":300}"#, Some(300.0)),
            (r#"{"expires_in":"300"}"#, Some(300.0)),
            (r#"{"expires_in":-1}"#, Some(-1.0)),
            (r#"{"expires_in":{"at":1}}"#, None),
        ] {
            assert_eq!(serde_json::from_str::<Answer>(json).unwrap().expires_in, expected, "{json}");
        }
    }
}
