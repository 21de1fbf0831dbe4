//! Requests to package indexes and file hosts.
//!
//! Redirects are followed here, one by one, so that a credential never leaves its origin. Retrying is the caller's.

use std::error::Error as _;
use std::time::Duration;

use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_LENGTH, HeaderValue, LOCATION, RANGE, RETRY_AFTER,
};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::index::IndexCredentials;
use crate::diagnostic::Diagnose;
use crate::registry::{Connections, ConnectionsError, Proxies, ProxyError, Size};

const REDIRECTS: usize = 10;

/// Requests to indexes.
///
/// HTTP/1.1 alone: files come faster over several connections than over the streams of one.
pub struct HttpClient {
    offline: bool,
    patience: Duration,
    connections: Connections,
}

/// Why a request has no answer that can be used. URLs are shown without query and userinfo.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The network is switched off.
    #[error("`{url}` cannot be asked: the network is switched off")]
    Offline {
        /// What was asked for.
        url: String,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Setup(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The proxy on the way cannot be used.
    #[error(transparent)]
    Proxy(ProxyError),
    /// The connection failed or broke.
    #[error("connection to `{url}` failed")]
    Interrupted {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// No byte came for the time that is waited.
    #[error("`{url}` sent nothing for {} s", .patience.as_secs())]
    Stalled {
        /// What was asked for.
        url: String,
        /// How long.
        patience: Duration,
    },
    /// The answer is neither a success nor a redirect.
    #[error("`{url}` answered {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// The answer's status.
        status: StatusCode,
        /// How long the server asks to wait.
        wait: Option<Duration>,
    },
    /// A redirect leads nowhere, in a circle, or from an encrypted connection to a plain one.
    #[error("`{url}` redirects to `{to}`, which is not followed")]
    Redirect {
        /// Who redirected.
        url: String,
        /// Where to.
        to: String,
    },
    /// A body ended before the file did.
    #[error("`{url}` was cut after {received} bytes")]
    Cut {
        /// What was asked for.
        url: String,
        /// Bytes that came.
        received: u64,
    },
    /// A body is longer than it may be.
    #[error("`{url}` sends more than {cap} bytes")]
    TooLong {
        /// What was asked for.
        url: String,
        /// The most that is taken.
        cap: u64,
    },
}

impl HttpError {
    /// Whether the same request may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Interrupted { .. } | Self::Stalled { .. } | Self::Cut { .. } => true,
            Self::Status { status, .. } => {
                matches!(status.as_u16(), 408 | 425 | 429 | 499 | 500 | 502 | 503 | 504 | 520..=524)
            }
            _ => false,
        }
    }
}

impl From<ConnectionsError> for HttpError {
    fn from(error: ConnectionsError) -> Self {
        match error {
            ConnectionsError::Setup(source) => Self::Setup(source),
            ConnectionsError::Proxy(source) => Self::Proxy(source),
        }
    }
}

impl Diagnose for HttpError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Offline { .. } => {
                Some("leave `--offline` out, or run once with the network to fill the store".into())
            }
            Self::Status { status, url, .. } if matches!(status.as_u16(), 401 | 403) => {
                Some(format!("give credentials for the host of `{url}` in the index URL or in a netrc file"))
            }
            Self::Interrupted { source, .. } if is_certificate_fault(source) => {
                Some("name the certificates of your network by `--ca-file`, or in `SSL_CERT_FILE`".into())
            }
            Self::Proxy(error) => error.hint(),
            _ => None,
        }
    }
}

fn is_certificate_fault(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(error) = cause {
        if error.to_string().contains("certificate") {
            return true;
        }
        cause = error.source();
    }
    false
}

impl HttpClient {
    /// A client that names itself `user_agent`, waits `patience` for a next byte, and connects nowhere when `offline`.
    pub fn new(user_agent: &str, patience: Duration, offline: bool) -> Self {
        Self { offline, patience, connections: Connections::new(user_agent.into(), patience) }
    }

    /// The same client, trusting the certificates of these PEM texts too.
    #[must_use]
    pub fn trusting(mut self, extra_roots: Vec<Vec<u8>>) -> Self {
        self.connections = self.connections.trusting(extra_roots);
        self
    }

    /// The same client, going through these proxies.
    #[must_use]
    pub fn through(mut self, proxies: Proxies) -> Self {
        self.connections = self.connections.through(proxies);
        self
    }

    /// Whether the network is switched off.
    pub fn is_offline(&self) -> bool {
        self.offline
    }

    /// GETs `url` from byte `from` on, following redirects; the credential for its origin goes along and no further.
    pub(super) async fn get(
        &self,
        url: &Url,
        from: u64,
        accept: Option<&'static str>,
        credentials: &IndexCredentials,
    ) -> Result<Response, HttpError> {
        self.ask(Method::GET, url, from, accept, credentials).await
    }

    /// The size in bytes of the file at `url`, as a HEAD tells it; `None` when the server does not tell.
    pub(super) async fn size(&self, url: &Url, credentials: &IndexCredentials) -> Result<Option<u64>, HttpError> {
        match self.ask(Method::HEAD, url, 0, None, credentials).await {
            Ok(answer) => {
                let length = answer.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
                Ok(length.and_then(|text| text.parse().ok()))
            }
            Err(HttpError::Status { status, .. }) if matches!(status.as_u16(), 403 | 404 | 405 | 501) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn ask(
        &self,
        method: Method,
        url: &Url,
        from: u64,
        accept: Option<&'static str>,
        credentials: &IndexCredentials,
    ) -> Result<Response, HttpError> {
        let mut at = url.clone();
        let _ = at.set_username("");
        let _ = at.set_password(None);
        let mut credential = credentials.for_url(&at);
        for _ in 0..=REDIRECTS {
            let held = credential.map(|held| (held.user(), held.password()));
            let response = self.send(method.clone(), &at, from, accept, held).await?;
            let status = response.status();
            if status.is_success() {
                return Ok(response);
            }
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                let wait = response.headers().get(RETRY_AFTER).and_then(asked_wait);
                return Err(HttpError::Status { url: shown(&at), status, wait });
            }
            let next = redirected(&at, response.headers().get(LOCATION))?;
            if next.origin() != at.origin() {
                credential = None;
            }
            at = next;
        }
        Err(HttpError::Redirect { url: shown(url), to: shown(&at) })
    }

    /// The whole body, of at most `cap` bytes.
    pub(super) async fn body(&self, mut response: Response, cap: u64) -> Result<Vec<u8>, HttpError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(&mut response).await? {
            if body.len() as u64 + chunk.len() as u64 > cap {
                return Err(HttpError::TooLong { url: shown(response.url()), cap });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    /// The next bytes of a body; `None` at its end.
    pub(super) async fn chunk(&self, response: &mut Response) -> Result<Option<bytes::Bytes>, HttpError> {
        match tokio::time::timeout(self.patience, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(HttpError::Interrupted { url: shown(response.url()), source: error.without_url() }),
            Err(_) => Err(HttpError::Stalled { url: shown(response.url()), patience: self.patience }),
        }
    }

    async fn send(
        &self,
        method: Method,
        url: &Url,
        from: u64,
        accept: Option<&'static str>,
        credential: Option<(&str, &str)>,
    ) -> Result<Response, HttpError> {
        if self.offline {
            return Err(HttpError::Offline { url: shown(url) });
        }
        let mut request =
            self.connections.client(url, Size::Bulk)?.request(method, url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(accept) = accept {
            request = request.header(ACCEPT, accept);
        }
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        if let Some((user, password)) = credential {
            request = request.header(AUTHORIZATION, basic(user, password));
        }
        match tokio::time::timeout(self.patience, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(HttpError::Interrupted { url: shown(url), source: error.without_url() }),
            Err(_) => Err(HttpError::Stalled { url: shown(url), patience: self.patience }),
        }
    }
}

fn basic(user: &str, password: &str) -> HeaderValue {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::from_str(&format!("Basic {text}")).unwrap_or(HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

fn redirected(at: &Url, location: Option<&HeaderValue>) -> Result<Url, HttpError> {
    let text = location.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let refused = |to: &str| HttpError::Redirect { url: shown(at), to: to.to_owned() };
    let mut next = at.join(text).map_err(|_| refused(""))?;
    let is_weaker = at.scheme() == "https" && next.scheme() != "https";
    if text.is_empty() || is_weaker || !matches!(next.scheme(), "http" | "https") {
        return Err(refused(&shown(&next)));
    }
    let _ = next.set_username("");
    let _ = next.set_password(None);
    Ok(next)
}

/// Seconds of a `Retry-After`, a minute at most; dates are left to the usual backoff.
fn asked_wait(value: &HeaderValue) -> Option<Duration> {
    let seconds: u64 = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(60)))
}

/// A URL for people: without query, fragment and userinfo.
pub(super) fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.into()
}
