//! Probing: what a registry is like and what it allows us, found out by requests that leave nothing behind.
//!
//! Judges nothing: what is good or bad about an answer is for the caller to say.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, DATE, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use url::Url;

use super::access::Mirror;
use super::auth::{Action, Rights};
use super::client::Client;
use super::contract::Registry as _;
use super::error::RegistryError;
use super::exchange::{Ask, Host, text};
use super::failure::TlsFault;
use super::known::Mounting;
use super::origin::validate_upload_location;
use super::transport::Size;
use crate::diagnostic::Diagnose;
use crate::oci::{Digest, Document, Reference, Repository};

/// How many images are looked at for a blob.
const IMAGES: usize = 3;

/// How a registry is reached.
#[derive(Clone, Debug)]
pub struct Way {
    /// Scheme, host and port.
    pub origin: String,
    /// Whether by https.
    pub is_secure: bool,
    /// The proxy on the way and who names it.
    pub proxy: Option<String>,
    /// Where pulls are tried first.
    pub mirrors: Vec<Mirror>,
    /// Whether a certificate of ours is shown when the registry asks for one.
    pub has_identity: bool,
}

/// Why no connection comes about, step by step.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("`{host}` has no address")]
    Name {
        /// The host.
        host: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nobody answers.
    #[error("`{address}` takes no connection")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No TLS comes about.
    #[error("no trusted TLS connection: {fault}")]
    Tls {
        /// What is wrong.
        fault: TlsFault,
        /// What to do about it.
        cure: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Nothing moved for too long.
    #[error("nothing moves for {} s", .0.as_secs())]
    Stalled(Duration),
    /// The client cannot be set up, or the network is switched off.
    #[error(transparent)]
    Registry(#[from] RegistryError),
}

impl Diagnose for ConnectError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Name { .. } => "check the spelling, and the network's name server".to_owned(),
            Self::Tcp { .. } => "check host and port, that the registry runs, and firewalls between".to_owned(),
            Self::Tls { cure, .. } => cure.clone(),
            Self::Stalled(_) => "a firewall may drop what goes there; perhaps a proxy is needed".to_owned(),
            Self::Registry(error) => return error.hint(),
        })
    }
}

/// A registry's answer to the question whether it is one (distribution-spec, "Determining Support").
#[derive(Clone, Debug)]
pub struct Greeting {
    /// The HTTP status: 200 and 401 are a registry's.
    pub status: u16,
    /// Its clock.
    pub date: Option<SystemTime>,
    /// Whether the answer came by HTTP/2.
    pub is_http2: bool,
}

/// Whether a repository can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readable {
    /// It can.
    Yes,
    /// There is no such repository yet.
    Absent,
}

/// Whether a registry mounts blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounts {
    /// It took a mount.
    Yes,
    /// It opened an upload instead.
    No,
    /// It is known not to, and was not asked.
    Never {
        /// What kind of registry it is.
        registry: &'static str,
    },
    /// The repository has no blob that could be mounted without leaving a new one.
    NoBlob,
}

/// What an upload session told; it was ended before any byte was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadSession {
    /// Whether the registry has removed it; else it goes away by itself in time.
    pub removed: bool,
    /// The least bytes of a chunk, if told.
    pub chunk_min: Option<u64>,
    /// The most bytes of a chunk, if told.
    pub chunk_max: Option<u64>,
}

impl Client {
    /// How `domain` is reached.
    ///
    /// # Errors
    /// Fails when that is no address, or when its proxy cannot be used.
    pub fn way(&self, domain: &str) -> Result<Way, RegistryError> {
        let host = self.host(domain)?;
        let connections = self.exchange().transport.connections();
        let proxy = connections.proxy(&host.url("/v2/")?).map_err(RegistryError::ProxyForm)?;
        let access = self.table().of(domain).map(|(_, access)| access);
        Ok(Way {
            origin: host.origin.to_string(),
            is_secure: host.origin.is_secure(),
            proxy: proxy.map(ToString::to_string),
            mirrors: access.map(|access| access.mirrors.clone()).unwrap_or_default(),
            has_identity: access.is_some_and(|access| access.identity.is_some()),
        })
    }

    /// The addresses of `domain`.
    ///
    /// # Errors
    /// Fails when it has none.
    pub async fn look_up(&self, domain: &str) -> Result<Vec<IpAddr>, ConnectError> {
        let host = self.reachable(domain)?;
        let (name, port) = host.origin.endpoint();
        let failed = |source| ConnectError::Name { host: name.to_owned(), source };
        let found = self.patiently(tokio::net::lookup_host((name, port))).await?.map_err(failed)?;
        let mut addresses: Vec<IpAddr> = found.map(|address| address.ip()).collect();
        addresses.dedup();
        Ok(addresses)
    }

    /// Opens a connection to one address of `domain`, without sending anything.
    ///
    /// # Errors
    /// Fails when nobody listens there.
    pub async fn connect(&self, domain: &str, address: IpAddr) -> Result<TcpStream, ConnectError> {
        let host = self.reachable(domain)?;
        let address = SocketAddr::new(address, host.origin.endpoint().1);
        let failed = |source| ConnectError::Tcp { address, source };
        self.patiently(TcpStream::connect(address)).await?.map_err(failed)
    }

    /// Makes a connection safe, and says by which version of TLS.
    ///
    /// # Errors
    /// Fails when the handshake does.
    pub async fn encrypt(&self, domain: &str, stream: TcpStream) -> Result<&'static str, ConnectError> {
        let host = self.reachable(domain)?;
        let url = host.url("/v2/")?;
        let tls = self.exchange().transport.connections().tls(&url).map_err(RegistryError::from)?;
        let name = host.origin.endpoint().0.to_owned();
        let failed = |source: std::io::Error| {
            let tls = source.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
            let fault = tls.map_or(TlsFault::Handshake, TlsFault::of);
            ConnectError::Tls { fault, cure: fault.cure(domain), source }
        };
        let server = ServerName::try_from(name).map_err(|error| failed(std::io::Error::other(error)))?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(tls));
        let stream = self.patiently(connector.connect(server, stream)).await?.map_err(failed)?;
        Ok(match stream.get_ref().1.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS",
        })
    }

    /// The version of TLS by which `domain` was last spoken to; known after a request, through whatever proxy.
    pub fn encrypted_by(&self, domain: &str) -> Option<&'static str> {
        let url = self.host(domain).ok()?.url("/v2/").ok()?;
        self.exchange().transport.connections().handshakes(&url).version()
    }

    fn reachable(&self, domain: &str) -> Result<Arc<Host>, RegistryError> {
        let host = self.host(domain)?;
        if self.exchange().transport.is_offline() {
            return Err(RegistryError::Offline { host: domain.to_owned() });
        }
        Ok(host)
    }

    async fn patiently<T>(&self, work: impl Future<Output = T>) -> Result<T, ConnectError> {
        let patience = self.exchange().transport.patience;
        tokio::time::timeout(patience, work).await.map_err(|_| ConnectError::Stalled(patience))
    }

    /// Asks `domain` whether it is a registry, as nobody.
    ///
    /// # Errors
    /// Fails when there is no answer.
    pub async fn greet(&self, domain: &str) -> Result<Greeting, RegistryError> {
        let host = self.host(domain)?;
        let transport = &self.exchange().transport;
        let request = reqwest::Request::new(Method::GET, host.url("/v2/")?);
        let response = transport.send(request, Size::Small, "GET /v2/").await?;
        let date = text(response.headers(), DATE.as_str()).and_then(|date| httpdate::parse_http_date(date).ok());
        let greeting = Greeting {
            status: response.status().as_u16(),
            date,
            is_http2: response.version() == reqwest::Version::HTTP_2,
        };
        self.exchange().drain(response, "GET /v2/").await;
        Ok(greeting)
    }

    /// Where our identity at `domain` comes from; `None` for an anonymous user.
    ///
    /// # Errors
    /// Fails when a source that should answer is broken.
    pub async fn identity(&self, domain: &str, path: &str) -> Result<Option<String>, RegistryError> {
        let failed = |source| RegistryError::Keychain { host: domain.to_owned(), source };
        let found = self.keychain().identity(domain, path).await.map_err(failed)?;
        Ok(found.map(|identity| identity.source))
    }

    /// Logs in at `domain`, for no repository in particular.
    ///
    /// # Errors
    /// Fails when the registry does not accept who we are.
    pub async fn log_in(&self, domain: &str) -> Result<(), RegistryError> {
        let host = self.host(domain)?;
        let ask = Ask::new(Method::GET, host.url("/v2/")?, Rights::new("", Action::Pull), "GET /v2/".to_owned());
        let answer = self.exchange().call(&host, &ask).await?;
        if answer.response.status().is_success() {
            return Ok(());
        }
        Err(self.exchange().refusal(&host, &ask, domain, answer).await)
    }

    /// Whether `at` can be read.
    ///
    /// # Errors
    /// Fails when the registry denies it, or does not answer.
    pub async fn may_pull(&self, at: &Repository) -> Result<Readable, RegistryError> {
        let host = self.host(at.registry())?;
        let url = host.url(&format!("/v2/{}/tags/list?n=1", at.path()))?;
        let ask = Ask::new(Method::GET, url, Rights::new(at.path(), Action::Pull), format!("GET tags of `{at}`"));
        let answer = self.exchange().call(&host, &ask).await?;
        match answer.response.status() {
            StatusCode::NOT_FOUND => Ok(Readable::Absent),
            status if status.is_success() => Ok(Readable::Yes),
            _ => Err(self.exchange().refusal(&host, &ask, &at.to_string(), answer).await),
        }
    }

    /// Whether `at` can be pushed to: opens an upload session and ends it again.
    ///
    /// # Errors
    /// Fails when the registry denies it, or does not answer.
    pub async fn may_push(&self, at: &Repository) -> Result<UploadSession, RegistryError> {
        let host = self.host(at.registry())?;
        let url = host.url(&format!("/v2/{}/blobs/uploads/", at.path()))?;
        let rights = Rights::new(at.path(), Action::Push);
        let mut ask = Ask::new(Method::POST, url, rights, format!("POST upload to `{at}`"));
        ask.body = Some(Bytes::new());
        ask.headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        let answer = self.exchange().call(&host, &ask).await?;
        if !answer.response.status().is_success() {
            return Err(self.exchange().refusal(&host, &ask, &at.to_string(), answer).await);
        }
        let told = |name: &str| text(answer.response.headers(), name).and_then(|text| text.parse().ok());
        let (chunk_min, chunk_max) = (told("oci-chunk-min-length"), told("oci-chunk-max-length"));
        let removed = match session(&host, &answer.response) {
            Some(url) => self.end_session(&host, at, url).await,
            None => false,
        };
        self.exchange().drain(answer.response, &ask.action).await;
        Ok(UploadSession { removed, chunk_min, chunk_max })
    }

    /// Tries a mount that changes nothing: of a blob that an image of `at` has, from `at` itself.
    ///
    /// # Errors
    /// Fails when the registry denies it, or does not answer.
    pub async fn may_mount(&self, at: &Repository) -> Result<Mounts, RegistryError> {
        let host = self.host(at.registry())?;
        if host.manners.known().mounting == Mounting::Never {
            return Ok(Mounts::Never { registry: host.manners.known().name });
        }
        let Some(digest) = self.some_blob(at).await? else { return Ok(Mounts::NoBlob) };
        let mut url = host.url(&format!("/v2/{}/blobs/uploads/", at.path()))?;
        url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", at.path());
        let rights = Rights::new(at.path(), Action::Push);
        let mut ask = Ask::new(Method::POST, url, rights, format!("POST mount in `{at}`"));
        ask.body = Some(Bytes::new());
        let answer = self.exchange().call(&host, &ask).await?;
        let status = answer.response.status();
        if !status.is_success() {
            return Err(self.exchange().refusal(&host, &ask, &at.to_string(), answer).await);
        }
        if status != StatusCode::CREATED
            && let Some(url) = session(&host, &answer.response)
        {
            self.end_session(&host, at, url).await;
        }
        self.exchange().drain(answer.response, &ask.action).await;
        Ok(if status == StatusCode::CREATED { Mounts::Yes } else { Mounts::No })
    }

    /// A blob that an image of `at` refers to.
    async fn some_blob(&self, at: &Repository) -> Result<Option<Digest>, RegistryError> {
        for tag in self.some_tags(at).await?.iter().take(IMAGES) {
            let Ok(name) = Reference::tagged(at, tag) else { continue };
            let found = match self.manifest(&name).await? {
                Some(Document::Index(index)) => match index.value().manifests.first() {
                    Some(first) => self.manifest(&Reference::pinned(at, &first.digest)).await?,
                    None => None,
                },
                found => found,
            };
            if let Some(Document::Manifest(manifest)) = found {
                return Ok(Some(manifest.value().config.digest.clone()));
            }
        }
        Ok(None)
    }

    /// Ends an upload session; one that does not go is left to the registry.
    async fn end_session(&self, host: &Host, at: &Repository, url: Url) -> bool {
        let ask =
            Ask::new(Method::DELETE, url, Rights::new(at.path(), Action::Push), format!("DELETE upload to `{at}`"));
        match self.exchange().once(host, &ask).await {
            Ok(answer) => answer.response.status().is_success(),
            Err(_) => false,
        }
    }

    /// Whether the registry of `at` lists referrers by an API; else by tags of their own.
    ///
    /// # Errors
    /// Fails when the registry denies it, or does not answer.
    pub async fn has_referrers_api(&self, at: &Repository) -> Result<bool, RegistryError> {
        let host = self.host(at.registry())?;
        let nothing = Digest::of(b"");
        let url = host.url(&format!("/v2/{}/referrers/{nothing}", at.path()))?;
        let rights = Rights::new(at.path(), Action::Pull);
        let ask = Ask::new(Method::GET, url, rights, format!("GET referrers in `{at}`"));
        let answer = self.exchange().call(&host, &ask).await?;
        match answer.response.status().as_u16() {
            400 | 404 | 405 => Ok(false),
            200..=299 => Ok(true),
            _ => Err(self.exchange().refusal(&host, &ask, &at.to_string(), answer).await),
        }
    }
}

fn session(host: &Host, response: &Response) -> Option<Url> {
    let location = text(response.headers(), LOCATION.as_str())?;
    validate_upload_location(location, response.url(), &host.origin).ok()
}
