//! Transport: one request at a time, bounded bodies, and a name for each way in which that can fail.
//!
//! Follows no redirect, adds no credential, retries nothing; those are decisions of `exchange`.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::{Request, Response, StatusCode};
use url::Url;

use super::connections::{Connections, ConnectionsError};
use super::error::RegistryError;
use super::failure::classify;
use super::origin::place;

pub(super) use super::connections::Size;

/// Sends requests; clones share their connections.
#[derive(Clone)]
pub(super) struct Transport {
    connections: Arc<Connections>,
    offline: bool,
    pub(super) patience: Duration,
}

impl Transport {
    pub(super) fn new(connections: Connections, offline: bool, patience: Duration) -> Self {
        Self { connections: Arc::new(connections), offline, patience }
    }

    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Whether the network is switched off.
    pub(super) fn is_offline(&self) -> bool {
        self.offline
    }

    /// Sends one request and waits for the head of its answer.
    pub(super) async fn send(&self, request: Request, size: Size, action: &str) -> Result<Response, RegistryError> {
        let url = request.url().clone();
        let client = self.ready(&request, size)?;
        match tokio::time::timeout(self.patience, client.execute(request)).await {
            Ok(Ok(response)) if response.status() == StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
                let proxy = self.connections.proxy(&url).ok().flatten().map(ToString::to_string);
                Err(RegistryError::ProxyLogin { proxy: proxy.unwrap_or_default(), host: place(&url) })
            }
            Ok(Ok(response)) => {
                self.connections.handshakes(&url).answered();
                Ok(response)
            }
            Ok(Err(error)) => Err(self.failed(error, &url, action)),
            Err(_) => Err(self.stalled(place(&url), action)),
        }
    }

    /// The connections for a request, unless the network is switched off.
    pub(super) fn ready(&self, request: &Request, size: Size) -> Result<reqwest::Client, RegistryError> {
        if self.offline {
            return Err(RegistryError::Offline { host: place(request.url()) });
        }
        Ok(self.connections.client(request.url(), size)?)
    }

    /// The condition behind a failed request to `url`.
    pub(super) fn failed(&self, error: reqwest::Error, url: &Url, action: &str) -> RegistryError {
        let handshakes = self.connections.handshakes(url);
        match classify(error, place(url), action, self.connections.proxy(url).ok().flatten()) {
            RegistryError::Tls { host, fault, source } => {
                RegistryError::Tls { host, fault: handshakes.behind(fault), source }
            }
            RegistryError::Interrupted { host, action, tries, source } => match handshakes.behind_a_loss() {
                Some(fault) => RegistryError::Tls { host, fault, source },
                None => RegistryError::Interrupted { host, action, tries, source },
            },
            error => error,
        }
    }

    pub(super) fn stalled(&self, host: String, action: &str) -> RegistryError {
        RegistryError::Stalled { host, action: action.to_owned(), seconds: self.patience.as_secs(), tries: 1 }
    }

    /// The next piece of a body; `None` at its end.
    pub(super) async fn chunk(&self, response: &mut Response, action: &str) -> Result<Option<Bytes>, RegistryError> {
        match tokio::time::timeout(self.patience, response.chunk()).await {
            Ok(Ok(chunk)) => Ok(chunk),
            Ok(Err(error)) => Err(self.failed(error, response.url(), action)),
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
}

impl From<ConnectionsError> for RegistryError {
    fn from(error: ConnectionsError) -> Self {
        match error {
            ConnectionsError::Setup(source) => Self::Setup(source),
            ConnectionsError::Proxy(source) => Self::ProxyForm(source),
        }
    }
}
