//! The HTTP client: one for all registries of a run.
//!
//! Reads neither environment nor files of its own accord; only the platform's trust store and `SSL_CERT_FILE` are
//! looked up by the library below it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::access::{Access, AccessTable, Mirror};
use super::auth::{Auth, lock};
use super::connections::Connections;
use super::contract::{BlobBody, BlobStream, Mounted, Pending, Registry};
use super::error::RegistryError;
use super::exchange::{Exchange, Host};
use super::flights::Turn;
use super::keychain::{Anonymous, Keychain};
use super::known::Mounting;
use super::login::{self, Checked, LoginError};
use super::mirrored;
use super::mirrors::Mirrors;
use super::mount::mount;
use super::proxy::Proxies;
use super::retry::RetryPolicy;
use super::single;
use super::transport::Transport;
use super::upload::Upload;
use super::{download, pull, push, referrers};
use crate::event::{Reporter, Silent};
use crate::oci::{Descriptor, Digest, Document, MediaType, Reference, Repository};

/// How a client behaves.
#[derive(Clone)]
pub struct ClientConfig {
    /// Who we are to which registry.
    pub keychain: Arc<dyn Keychain>,
    /// Registries (`host` or `host:port`) that are spoken to by plain http. Loopback hosts always are. This never
    /// means https without verification.
    pub insecure: Vec<String>,
    /// PEM texts of certificates to trust beside the platform's.
    pub extra_roots: Vec<Vec<u8>>,
    /// How single registries are reached, by `host` (all its ports) or `host:port`.
    pub access: BTreeMap<String, Access>,
    /// The proxies on the way to registries that have none of their own.
    pub proxies: Proxies,
    /// Is told what came from a mirror, and which mirror failed.
    pub reporter: Arc<dyn Reporter>,
    /// Whether the network is switched off.
    pub offline: bool,
    /// The `User-Agent`.
    pub user_agent: String,
    /// Tries and waits.
    pub retry: RetryPolicy,
    /// How long nothing may move before a request counts as lost.
    pub patience: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            keychain: Arc::new(Anonymous),
            insecure: Vec::new(),
            extra_roots: Vec::new(),
            access: BTreeMap::new(),
            proxies: Proxies::default(),
            reporter: Arc::new(Silent),
            offline: false,
            user_agent: concat!("lapstrake/", env!("CARGO_PKG_VERSION")).to_owned(),
            retry: RetryPolicy::default(),
            patience: Duration::from_secs(30),
        }
    }
}

/// Tries of a request to a mirror: somebody else has it too.
const MIRROR_TRIES: u32 = 2;

/// Registries over HTTP. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Client {
    exchange: Arc<Exchange>,
    /// The same for mirrors, with less patience.
    mirror_exchange: Arc<Exchange>,
    mirrors: Arc<Mirrors>,
    keychain: Arc<dyn Keychain>,
    hosts: Arc<Mutex<BTreeMap<String, Arc<Host>>>>,
}

impl Client {
    /// A client. Nothing is connected and no trust store is read before the first request.
    pub fn new(config: ClientConfig) -> Self {
        let table = AccessTable::new(config.access, config.insecure);
        let connections = Connections::new(config.user_agent, config.patience)
            .trusting(config.extra_roots)
            .through(config.proxies)
            .with(table);
        let transport = Transport::new(connections, config.offline, config.patience);
        let hasty = RetryPolicy { tries: config.retry.tries.min(MIRROR_TRIES), ..config.retry.clone() };
        Self {
            exchange: Arc::new(Exchange { transport: transport.clone(), retry: config.retry }),
            mirror_exchange: Arc::new(Exchange { transport, retry: hasty }),
            mirrors: Arc::new(Mirrors::new(config.reporter)),
            keychain: config.keychain,
            hosts: Arc::default(),
        }
    }

    pub(super) fn host(&self, domain: &str) -> Result<Arc<Host>, RegistryError> {
        let mut hosts = lock(&self.hosts);
        if let Some(host) = hosts.get(domain) {
            return Ok(host.clone());
        }
        let origin = self.table().origin(domain)?;
        let auth = Auth::new(domain, origin.clone(), self.keychain.clone());
        let host = Host::new(domain, origin, auth);
        hosts.insert(domain.to_owned(), host.clone());
        Ok(host)
    }

    /// Checks a user name and password at the registry `domain`, whatever the keychain holds.
    ///
    /// # Errors
    /// Fails when the registry refuses them, cannot be reached, or is none.
    pub async fn check_login(&self, domain: &str, username: &str, password: &str) -> Result<Checked, LoginError> {
        login::check(&self.exchange, &*self.host(domain)?, username, password).await
    }

    pub(super) fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    pub(super) fn mirror_exchange(&self) -> &Arc<Exchange> {
        &self.mirror_exchange
    }

    pub(super) fn mirrors(&self) -> &Mirrors {
        &self.mirrors
    }

    /// The mirrors to ask before the registry itself; none when nobody may be asked.
    pub(super) fn mirrors_of(&self, at: &Repository) -> Vec<Mirror> {
        if self.exchange.transport.is_offline() { Vec::new() } else { self.mirrors.of(at, self.table()) }
    }

    pub(super) fn table(&self) -> &AccessTable {
        self.exchange.transport.connections().table()
    }

    pub(super) fn keychain(&self) -> &Arc<dyn Keychain> {
        &self.keychain
    }
}

impl Registry for Client {
    fn resolve<'a>(&'a self, at: &'a Reference) -> Pending<'a, Option<Descriptor>> {
        Box::pin(mirrored::resolve(self, at))
    }

    fn manifest<'a>(&'a self, at: &'a Reference) -> Pending<'a, Option<Document>> {
        Box::pin(mirrored::manifest(self, at))
    }

    fn blob_size<'a>(&'a self, at: &'a Repository, digest: &'a Digest) -> Pending<'a, Option<u64>> {
        Box::pin(async move { pull::blob_size(&self.exchange, &*self.host(at.registry())?, at, digest).await })
    }

    fn read_blob<'a>(&'a self, at: &'a Repository, blob: &'a Descriptor) -> Pending<'a, BlobStream> {
        Box::pin(mirrored::read_blob(self, at, blob))
    }

    fn read_blob_from<'a>(&'a self, at: &'a Repository, blob: &'a Descriptor, offset: u64) -> Pending<'a, BlobStream> {
        if offset == 0 {
            return self.read_blob(at, blob);
        }
        Box::pin(async move {
            download::read_blob(self.exchange.clone(), self.host(at.registry())?, at, blob, offset).await
        })
    }

    fn fetch_blob<'a>(&'a self, at: &'a Repository, blob: &'a Descriptor, cap: u64) -> Pending<'a, Vec<u8>> {
        Box::pin(mirrored::fetch_blob(self, at, blob, cap))
    }

    fn expect_push(&self, to: &Repository) {
        self.mirrors.leave_out(to);
    }

    fn prepare_push(&self, to: &Repository) {
        if let Ok(host) = self.host(to.registry())
            && !host.manners.is_known_to_take_single()
        {
            host.ahead.open(&self.exchange, &host, to);
        }
    }

    fn mount<'a>(&'a self, to: &'a Repository, digest: &'a Digest, from: &'a Repository) -> Pending<'a, Mounted> {
        Box::pin(async move {
            if to.registry() != from.registry() || to.path() == from.path() {
                return Ok(Mounted::No);
            }
            mount(&self.exchange, &*self.host(to.registry())?, to, digest, from.path()).await
        })
    }

    fn push_blob<'a>(
        &'a self,
        to: &'a Repository,
        blob: &'a Descriptor,
        body: BlobBody,
        progress: &'a (dyn Fn(u64) + Send + Sync),
    ) -> Pending<'a, ()> {
        Box::pin(async move {
            let host = self.host(to.registry())?;
            let mounting = host.manners.known().mounting;
            let Turn::Ours(lead) = host.flights.turn(mounting, to.path(), blob).await else { return Ok(()) };
            if let Some(from) = lead.elsewhere.as_deref().filter(|_| mounting == Mounting::Any)
                && mount(&self.exchange, &host, to, &blob.digest, from).await? == Mounted::Yes
            {
                lead.done();
                return Ok(());
            }
            let mut upload = Upload {
                exchange: &self.exchange,
                host: &host,
                to,
                blob,
                body,
                progress: Arc::default(),
                report: progress,
            };
            if !single::push(&mut upload).await? {
                upload.push().await?;
            }
            lead.done();
            Ok(())
        })
    }

    fn push_manifest<'a>(&'a self, at: &'a Reference, media_type: &'a MediaType, bytes: &'a [u8]) -> Pending<'a, ()> {
        Box::pin(
            async move { push::push_manifest(&self.exchange, &*self.host(at.domain())?, at, media_type, bytes).await },
        )
    }

    fn referrers<'a>(&'a self, at: &'a Repository, subject: &'a Digest) -> Pending<'a, Vec<Descriptor>> {
        Box::pin(
            async move { referrers::referrers(&self.exchange, &*self.host(at.registry())?, at, subject, None).await },
        )
    }

    fn referrers_of_type<'a>(
        &'a self,
        at: &'a Repository,
        subject: &'a Digest,
        artifact_type: &'a str,
    ) -> Pending<'a, Vec<Descriptor>> {
        Box::pin(async move {
            let host = self.host(at.registry())?;
            referrers::referrers(&self.exchange, &host, at, subject, Some(artifact_type)).await
        })
    }

    fn tags<'a>(&'a self, at: &'a Repository) -> Pending<'a, Vec<String>> {
        Box::pin(async move { pull::tags(&self.exchange, &*self.host(at.registry())?, at).await })
    }

    fn some_tags<'a>(&'a self, at: &'a Repository) -> Pending<'a, Vec<String>> {
        Box::pin(async move { pull::first_tags(&self.exchange, &*self.host(at.registry())?, at).await })
    }

    fn delete<'a>(&'a self, at: &'a Reference) -> Pending<'a, bool> {
        Box::pin(async move { push::delete(&self.exchange, &*self.host(at.domain())?, at).await })
    }
}
