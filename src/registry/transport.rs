//! Transport: connections, one request at a time, bounded bodies.
//!
//! Follows no redirect, adds no credential, retries nothing; those are decisions of `exchange`.

use std::error::Error as _;
use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Request, Response};

use super::error::RegistryError;
use super::origin::{Origin, place};
use super::trust::{no_trust, platform_trust};

/// What a request moves: small documents may share an HTTP/2 connection, blobs get HTTP/1.1 connections of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Small,
    Bulk,
}

/// The connections of one client, made when first needed: reading the trust store costs milliseconds.
pub(super) struct Transport {
    user_agent: String,
    extra_roots: Vec<Vec<u8>>,
    offline: bool,
    pub(super) patience: Duration,
    tls: OnceLock<rustls::ClientConfig>,
    loopback: OnceLock<reqwest::Client>,
    plain: OnceLock<reqwest::Client>,
    small: OnceLock<reqwest::Client>,
    bulk: OnceLock<reqwest::Client>,
}

impl Transport {
    pub(super) fn new(user_agent: String, extra_roots: Vec<Vec<u8>>, offline: bool, patience: Duration) -> Self {
        Self {
            user_agent,
            extra_roots,
            offline,
            patience,
            tls: OnceLock::new(),
            loopback: OnceLock::new(),
            plain: OnceLock::new(),
            small: OnceLock::new(),
            bulk: OnceLock::new(),
        }
    }

    /// Sends one request and waits for the head of its answer.
    pub(super) async fn send(&self, request: Request, size: Size, action: &str) -> Result<Response, RegistryError> {
        let host = place(request.url());
        let client = self.ready(&request, size)?;
        match tokio::time::timeout(self.patience, client.execute(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(classify(error, host, action)),
            Err(_) => Err(self.stalled(host, action)),
        }
    }

    /// The connections for a request, unless the network is switched off.
    pub(super) fn ready(&self, request: &Request, size: Size) -> Result<reqwest::Client, RegistryError> {
        if self.offline {
            return Err(RegistryError::Offline { host: place(request.url()) });
        }
        self.client(request.url(), size)
    }

    pub(super) fn stalled(&self, host: String, action: &str) -> RegistryError {
        RegistryError::Stalled { host, action: action.to_owned(), seconds: self.patience.as_secs(), tries: 1 }
    }

    /// The next piece of a body; `None` at its end.
    pub(super) async fn chunk(&self, response: &mut Response, action: &str) -> Result<Option<Bytes>, RegistryError> {
        match tokio::time::timeout(self.patience, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(classify(error, place(response.url()), action)),
            Err(_) => Err(self.stalled(place(response.url()), action)),
        }
    }

    /// A whole body of at most `cap` bytes; `None` when there is more.
    pub(super) async fn body(
        &self,
        mut response: Response,
        cap: u64,
        action: &str,
    ) -> Result<Option<Vec<u8>>, RegistryError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(&mut response, action).await? {
            if (body.len() + chunk.len()) as u64 > cap {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(body))
    }

    fn client(&self, url: &url::Url, size: Size) -> Result<reqwest::Client, RegistryError> {
        let secure = url.scheme() == "https";
        let loopback = Origin::of_url(url).is_some_and(|origin| origin.is_loopback());
        let cell = match (secure, loopback, size) {
            (false, true, _) => &self.loopback,
            (false, false, _) => &self.plain,
            (true, _, Size::Small) => &self.small,
            (true, _, Size::Bulk) => &self.bulk,
        };
        if let Some(client) = cell.get() {
            return Ok(client.clone());
        }
        let mut tls = if secure { self.tls()?.clone() } else { no_trust().map_err(RegistryError::Setup)? };
        tls.alpn_protocols = match (secure, size) {
            (true, Size::Small) => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            _ => vec![b"http/1.1".to_vec()],
        };
        let mut builder = reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.patience)
            .pool_idle_timeout(Duration::from_secs(60))
            .tls_backend_preconfigured(tls);
        if !secure || size == Size::Bulk {
            builder = builder.http1_only();
        }
        if loopback {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| RegistryError::Setup(Box::new(error)))?;
        Ok(cell.get_or_init(|| client).clone())
    }

    fn tls(&self) -> Result<&rustls::ClientConfig, RegistryError> {
        if let Some(config) = self.tls.get() {
            return Ok(config);
        }
        let config = platform_trust(&self.extra_roots).map_err(RegistryError::Setup)?;
        Ok(self.tls.get_or_init(|| config))
    }
}

/// Names the condition behind a failed request. URLs are removed: their queries may be signatures.
pub(super) fn classify(error: reqwest::Error, host: String, action: &str) -> RegistryError {
    let source = error.without_url();
    let mut cause = source.source();
    let mut unknown_host = false;
    let mut refused = false;
    let mut tls = None;
    while let Some(error) = cause {
        unknown_host |= error.to_string().contains("dns error");
        let mut inner: &(dyn std::error::Error + 'static) = error;
        // An `io::Error` hides what it wraps from `source`, and may wrap another one.
        while let Some(io) = inner.downcast_ref::<std::io::Error>() {
            refused |= io.kind() == std::io::ErrorKind::ConnectionRefused;
            let Some(wrapped) = io.get_ref() else { break };
            inner = wrapped;
        }
        tls = tls.or(inner.downcast_ref::<rustls::Error>());
        cause = inner.source();
    }
    match tls {
        Some(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => {
            RegistryError::PlainHttp { host }
        }
        Some(_) => RegistryError::Tls { host, source },
        None if unknown_host => RegistryError::UnknownHost { host, source },
        None if refused => RegistryError::Refused { host, source },
        None => RegistryError::Interrupted { host, action: action.to_owned(), tries: 1, source },
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::registry::trust::no_trust;

    #[tokio::test]
    async fn https_to_a_host_that_speaks_plain_http_is_told_apart() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 64]).await;
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").await;
        });
        let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(no_trust().unwrap()).build();
        let failed = client.unwrap().get(format!("https://{address}/v2/")).send().await.unwrap_err();
        let error = classify(failed, address.to_string(), "GET");
        assert!(matches!(error, RegistryError::PlainHttp { .. }), "{error:?}");
        assert!(!error.is_transient());
        server.await.unwrap();
    }
}
