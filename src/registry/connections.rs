//! Connections: one HTTP client for each way of reaching a host, made when first needed.
//!
//! Sends nothing; follows no redirect and adds no credential of its own but a proxy's.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use url::Url;

use super::access::{AccessTable, ProxyRule};
use super::handshakes::Handshakes;
use super::proxy::{Proxies, Proxy, ProxyError};
use super::trust::{Trust, TrustError, no_trust, platform_trust};

/// What a request moves: small documents may share an HTTP/2 connection, bulk gets HTTP/1.1 connections of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Size {
    Small,
    Bulk,
}

/// Why there is no connection to be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionsError {
    #[error("cannot set up TLS")]
    Setup(#[source] TrustError),
    #[error(transparent)]
    Proxy(#[from] ProxyError),
}

/// Clients by scheme, host and port, and by what is moved.
type Key = (String, Size);

/// The connections of a run. Reading the trust store costs milliseconds, so that waits for the first https URL.
pub(crate) struct Connections {
    user_agent: String,
    patience: Duration,
    extra_roots: Vec<Vec<u8>>,
    proxies: Proxies,
    table: AccessTable,
    clients: Mutex<BTreeMap<Key, reqwest::Client>>,
    configs: Mutex<BTreeMap<Option<String>, Trust>>,
    handshakes: Mutex<BTreeMap<String, Arc<Handshakes>>>,
}

impl Connections {
    /// Connections that name themselves `user_agent` and are made within `patience`.
    pub(crate) fn new(user_agent: String, patience: Duration) -> Self {
        Self {
            user_agent,
            patience,
            extra_roots: Vec::new(),
            proxies: Proxies::default(),
            table: AccessTable::default(),
            clients: Mutex::default(),
            configs: Mutex::default(),
            handshakes: Mutex::default(),
        }
    }

    /// The same connections, trusting the certificates of these PEM texts too.
    pub(crate) fn trusting(mut self, extra_roots: Vec<Vec<u8>>) -> Self {
        self.extra_roots = extra_roots;
        self
    }

    /// The same connections, through these proxies.
    pub(crate) fn through(mut self, proxies: Proxies) -> Self {
        self.proxies = proxies;
        self
    }

    /// The same connections, with what is configured for single hosts.
    pub(super) fn with(mut self, table: AccessTable) -> Self {
        self.table = table;
        self
    }

    pub(super) fn table(&self) -> &AccessTable {
        &self.table
    }

    /// The client for requests to `url`.
    pub(crate) fn client(&self, url: &Url, size: Size) -> Result<reqwest::Client, ConnectionsError> {
        let proxy = self.proxy(url)?;
        let key = (url.origin().ascii_serialization(), size);
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&key) {
            return Ok(client.clone());
        }
        let client = self.make(url, size, proxy)?;
        clients.insert(key, client.clone());
        Ok(client)
    }

    /// The proxy on the way to `url`.
    pub(crate) fn proxy(&self, url: &Url) -> Result<Option<&Proxy>, ProxyError> {
        match self.table.of_url(url).and_then(|(_, access)| access.proxy.as_ref()) {
            Some(ProxyRule::Direct) => Ok(None),
            Some(ProxyRule::Through(proxy)) => Ok(Some(proxy)),
            None => self.proxies.on_the_way(url),
        }
    }

    /// What the handshakes with the host of `url` told.
    pub(super) fn handshakes(&self, url: &Url) -> Arc<Handshakes> {
        let mut handshakes = self.handshakes.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(handshakes.entry(url.origin().ascii_serialization()).or_default())
    }

    /// The TLS configuration for `url`; without ALPN.
    pub(super) fn tls(&self, url: &Url) -> Result<rustls::ClientConfig, ConnectionsError> {
        Ok(self.handshakes(url).noted(self.trusted(url)?))
    }

    /// The TLS configuration of all hosts that share an entry.
    fn trusted(&self, url: &Url) -> Result<Trust, ConnectionsError> {
        let (key, access) = self.table.of_url(url).unzip();
        let key = key.map(str::to_owned);
        let mut configs = self.configs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = configs.get(&key) {
            return Ok(config.clone());
        }
        let own = access.map(|access| access.roots.as_slice()).unwrap_or_default();
        let roots: Vec<&[u8]> = self.extra_roots.iter().chain(own).map(Vec::as_slice).collect();
        let identity = access.and_then(|access| access.identity.as_ref());
        let config = platform_trust(&roots, identity).map_err(ConnectionsError::Setup)?;
        configs.insert(key, config.clone());
        Ok(config)
    }

    fn make(&self, url: &Url, size: Size, proxy: Option<&Proxy>) -> Result<reqwest::Client, ConnectionsError> {
        let secure = url.scheme() == "https";
        // A proxy may itself be spoken to by https, whatever the scheme beyond it.
        let needs_tls = secure || proxy.is_some_and(|proxy| proxy.url().scheme() == "https");
        let mut tls = if needs_tls { self.tls(url)? } else { no_trust().map_err(ConnectionsError::Setup)? };
        tls.alpn_protocols = match (secure, size) {
            (true, Size::Small) => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
            _ => vec![b"http/1.1".to_vec()],
        };
        let broken = |error| ConnectionsError::Setup(Box::new(error));
        let mut builder = reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .connect_timeout(self.patience)
            .pool_idle_timeout(Duration::from_secs(60))
            .no_proxy()
            .tls_backend_preconfigured(tls);
        if !secure || size == Size::Bulk {
            builder = builder.http1_only();
        }
        if let Some(proxy) = proxy {
            builder = builder.proxy(reqwest::Proxy::all(proxy.url().clone()).map_err(broken)?);
        }
        builder.build().map_err(broken)
    }
}
