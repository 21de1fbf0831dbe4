//! Exchanges: a request with its authorization, redirects, renewal and retries.
//!
//! Does not know what the requests mean; `pull` and `push` do.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION};
use reqwest::{Method, Request, Response, StatusCode};
use url::Url;

use super::ahead::Ahead;
use super::auth::{Action, Auth, Authorization, Rights, is_own, lock};
use super::error::{self, RegistryError};
use super::flights::Flights;
use super::manners::Manners;
use super::mount::Sessions;
use super::origin::{Origin, place, validate_redirect};
use super::pool::{Place, Pools};
use super::retry::{RetryPolicy, is_transient};
use super::transport::{Size, Transport};

const REDIRECT_LIMIT: usize = 10;
pub(super) const ERROR_CAP: u64 = 64 << 10;

/// One registry as the client knows it.
pub(super) struct Host {
    pub(super) domain: String,
    pub(super) origin: Origin,
    pub(super) auth: Auth,
    pub(super) sessions: Sessions,
    pub(super) ahead: Ahead,
    pub(super) manners: Manners,
    pub(super) pools: Pools,
    pub(super) flights: Flights,
    /// Until when the registry wants to be left alone.
    quiet_until: Mutex<Option<Instant>>,
}

/// What all exchanges share.
pub(super) struct Exchange {
    pub(super) transport: Transport,
    pub(super) retry: RetryPolicy,
}

/// One request, described so that it can be made again.
#[derive(Clone)]
pub(super) struct Ask {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) size: Size,
    pub(super) rights: Rights,
    /// What is asked for, as messages name it.
    pub(super) action: String,
}

/// An answer that is not an error of its own kind yet.
pub(super) struct Answer {
    pub(super) response: Response,
    pub(super) carried: Authorization,
    pub(super) tries: u32,
    /// The place that the request takes at its registry, until the answer is dropped.
    pub(super) place: Option<Place>,
}

impl Host {
    pub(super) fn new(domain: &str, origin: Origin, auth: Auth) -> Arc<Self> {
        Arc::new(Self {
            domain: domain.to_owned(),
            origin,
            auth,
            sessions: Sessions::default(),
            ahead: Ahead::default(),
            manners: Manners::of(domain),
            pools: Pools::default(),
            flights: Flights::default(),
            quiet_until: Mutex::default(),
        })
    }

    /// The URL of `path`, which begins with `/v2/`.
    pub(super) fn url(&self, path: &str) -> Result<Url, RegistryError> {
        self.origin.url(path).map_err(|source| self.detour(source))
    }

    pub(super) fn detour(&self, source: super::origin::Detour) -> RegistryError {
        RegistryError::Detour { host: self.domain.clone(), source }
    }

    pub(super) fn protocol(&self, action: &str, fault: &'static str) -> RegistryError {
        RegistryError::Protocol { host: self.domain.clone(), action: action.to_owned(), fault }
    }

    pub(super) async fn respect_quiet(&self) {
        let until = *lock(&self.quiet_until);
        if let Some(until) = until {
            tokio::time::sleep_until(until.into()).await;
        }
    }

    fn keep_quiet(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut quiet = lock(&self.quiet_until);
        *quiet = Some(quiet.map_or(until, |earlier| earlier.max(until)));
    }
}

impl Ask {
    pub(super) fn new(method: Method, url: Url, rights: Rights, action: String) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: None, size: Size::Small, rights, action }
    }
}

impl Exchange {
    /// Sends a request that may be sent twice until its answer is no passing trouble. The answer may still mean failure.
    pub(super) async fn call(&self, host: &Host, ask: &Ask) -> Result<Answer, RegistryError> {
        let mut failures = 0;
        loop {
            let sent = self.once(host, ask).await;
            let (again, most) = match &sent {
                Ok(answer) => (is_transient(answer.response.status()), self.retry.tries),
                Err(error) => (error.is_transient(), self.retry.tries_after(error)),
            };
            failures += u32::from(again);
            if again && failures < most {
                let headers = sent.ok().map(|answer| answer.response.headers().clone());
                self.wait(host, failures, headers.as_ref(), &ask.action).await;
                continue;
            }
            let tries = failures.max(1);
            let answer = sent.map_err(|error| if most == 0 { error } else { error.after(tries) })?;
            return Ok(Answer { tries, ..answer });
        }
    }

    /// Takes note of the time that the registry wants to be left alone, for all tasks.
    pub(super) fn heed(&self, host: &Host, headers: &HeaderMap) {
        if let Some(asked) = self.retry.asked_wait(headers) {
            host.keep_quiet(asked);
        }
    }

    /// Waits before another try at `action`: as long as the registry asks for, which then holds for all tasks, or as
    /// we choose.
    pub(super) async fn wait(&self, host: &Host, failures: u32, headers: Option<&HeaderMap>, action: &str) {
        match headers.and_then(|headers| self.retry.asked_wait(headers)) {
            Some(asked) => {
                host.keep_quiet(asked);
                tokio::time::sleep(asked).await;
            }
            None => tokio::time::sleep(self.retry.wait(failures, action)).await,
        }
    }

    /// One try, as soon as there is a place for it at the registry: follows redirects, and replays once when the
    /// registry wants another authorization.
    pub(super) async fn once(&self, host: &Host, ask: &Ask) -> Result<Answer, RegistryError> {
        let pool = match ask.size {
            Size::Small => &host.pools.small,
            Size::Bulk => &host.pools.download,
        };
        let place = pool.place().await;
        host.respect_quiet().await;
        let (response, carried) = self.authorized(host, ask).await?;
        match response.status().as_u16() {
            429 | 503 => place.busy(),
            status if status < 500 => place.well(),
            _ => {}
        }
        host.manners.recognise(response.headers());
        Ok(Answer { response, carried, tries: 1, place: Some(place) })
    }

    async fn authorized(&self, host: &Host, ask: &Ask) -> Result<(Response, Authorization), RegistryError> {
        let carried = self.authorization(host, &ask.rights).await?;
        let response = self.follow(host, ask, &carried).await?;
        if !wants_other_identity(&response, host) {
            return Ok((response, carried));
        }
        host.auth.refused(&ask.rights, &carried, response.headers()).await?;
        self.drain(response, &ask.action).await;
        let renewed = self.authorization(host, &ask.rights).await?;
        if renewed.header.is_none() {
            return Err(host.auth.unauthorized(&ask.rights, &renewed));
        }
        let response = self.follow(host, ask, &renewed).await?;
        if wants_other_identity(&response, host) {
            return Err(host.auth.unauthorized(&ask.rights, &renewed));
        }
        Ok((response, renewed))
    }

    pub(super) async fn authorization(&self, host: &Host, rights: &Rights) -> Result<Authorization, RegistryError> {
        host.auth.authorization(rights, &self.transport, &self.retry).await
    }

    async fn follow(&self, host: &Host, ask: &Ask, carried: &Authorization) -> Result<Response, RegistryError> {
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECT_LIMIT {
            let mut request = Request::new(ask.method.clone(), url.clone());
            *request.headers_mut() = ask.headers.clone();
            *request.body_mut() = ask.body.clone().map(Into::into);
            if let Some(header) = carried.header.as_ref().filter(|_| is_own(&url, &host.origin)) {
                request.headers_mut().insert(AUTHORIZATION, header.clone());
            }
            let response = self.transport.send(request, ask.size, &ask.action).await?;
            let is_read = matches!(ask.method, Method::GET | Method::HEAD);
            if !is_read || !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(response);
            }
            let location = text(response.headers(), LOCATION.as_str());
            let location = location.ok_or_else(|| host.protocol(&ask.action, "a redirect without `Location`"))?;
            url = validate_redirect(location, &url, &host.origin).map_err(|source| host.detour(source))?;
            self.drain(response, &ask.action).await;
        }
        Err(RegistryError::Redirects { host: host.domain.clone(), limit: REDIRECT_LIMIT })
    }

    /// Reads what is left of an answer, if it is little, so that its connection can be used again.
    pub(super) async fn drain(&self, response: Response, action: &str) {
        // What fails here fails again, with a message, at the next request.
        let _ = self.transport.body(response, ERROR_CAP, action).await;
    }

    /// The error that an answer other than success means.
    pub(super) async fn refusal(&self, host: &Host, ask: &Ask, what: &str, answer: Answer) -> RegistryError {
        self.refusal_and_codes(host, ask, what, answer).await.0
    }

    /// The error that an answer other than success means, with the registry's error codes.
    pub(super) async fn refusal_and_codes(
        &self,
        host: &Host,
        ask: &Ask,
        what: &str,
        answer: Answer,
    ) -> (RegistryError, Vec<String>) {
        let Answer { response, carried, tries, .. } = answer;
        let status = response.status();
        let answered_by = place(response.url());
        let own = is_own(response.url(), &host.origin);
        let body = self.transport.body(response, ERROR_CAP, &ask.action).await.ok().flatten().unwrap_or_default();
        let detail = error::detail(&body, &carried.secrets);
        let codes = error::codes(&body);
        let has = |code: &str| codes.iter().any(|found| found == code);
        let host = host.domain.clone();
        let error = match status {
            StatusCode::TOO_MANY_REQUESTS => RegistryError::RateLimited { host, tries },
            StatusCode::FORBIDDEN if own => {
                RegistryError::Denied { host, identity: carried.identity(), scope: ask.rights.scope(), detail }
            }
            _ if has("MANIFEST_BLOB_UNKNOWN") => {
                RegistryError::MissingParts { repository: format!("{host}/{}", ask.rights.path), detail }
            }
            StatusCode::NOT_FOUND if has("NAME_UNKNOWN") && ask.rights.action == Action::Push => {
                RegistryError::NoRepository { repository: format!("{host}/{}", ask.rights.path), detail }
            }
            StatusCode::NOT_FOUND => RegistryError::NotFound { what: what.to_owned() },
            status => RegistryError::Status {
                host: if own { host } else { answered_by },
                action: ask.action.clone(),
                status: status.as_u16(),
                tries,
                detail,
            },
        };
        (error, codes)
    }
}

pub(super) fn wants_other_identity(response: &Response, host: &Host) -> bool {
    response.status() == StatusCode::UNAUTHORIZED && is_own(response.url(), &host.origin)
}

/// The text of a header.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The URL of the next page (RFC 8288, `rel="next"`), which must be the registry's own.
pub(super) fn next_page(host: &Host, response: &Response, action: &str) -> Result<Option<Url>, RegistryError> {
    let Some(link) = text(response.headers(), "link") else { return Ok(None) };
    let Some((target, parameters)) = link.trim().strip_prefix('<').and_then(|rest| rest.split_once('>')) else {
        return Ok(None);
    };
    if !parameters.replace(['"', ' '], "").contains("rel=next") {
        return Ok(None);
    }
    let url = response.url().join(target).map_err(|_| host.protocol(action, "a `Link` that is no URL"))?;
    if !is_own(&url, &host.origin) {
        return Err(host.protocol(action, "a next page on another host"));
    }
    Ok(Some(url))
}
