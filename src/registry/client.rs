//! The HTTP client: one for all registries of a run.
//!
//! Reads neither environment nor files of its own accord; only the platform's trust store, `SSL_CERT_FILE` and the
//! proxy variables are looked up by the libraries below it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::auth::{Auth, lock};
use super::contract::{BlobBody, BlobStream, Mounted, Pending, Registry};
use super::error::RegistryError;
use super::exchange::{Exchange, Host};
use super::flights::Turn;
use super::keychain::{Anonymous, Keychain};
use super::known::Mounting;
use super::login::{self, Checked, LoginError};
use super::mount::mount;
use super::origin::Origin;
use super::retry::RetryPolicy;
use super::transport::Transport;
use super::upload::Upload;
use super::{download, pull, push, referrers};
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
            offline: false,
            user_agent: concat!("lapstrake/", env!("CARGO_PKG_VERSION")).to_owned(),
            retry: RetryPolicy::default(),
            patience: Duration::from_secs(30),
        }
    }
}

/// Registries over HTTP. Cheap to clone; clones share connections and tokens.
#[derive(Clone)]
pub struct Client {
    exchange: Arc<Exchange>,
    keychain: Arc<dyn Keychain>,
    insecure: Arc<[String]>,
    hosts: Arc<Mutex<BTreeMap<String, Arc<Host>>>>,
}

impl Client {
    /// A client. Nothing is connected and no trust store is read before the first request.
    pub fn new(config: ClientConfig) -> Self {
        let transport = Transport::new(config.user_agent, config.extra_roots, config.offline, config.patience);
        Self {
            exchange: Arc::new(Exchange { transport, retry: config.retry }),
            keychain: config.keychain,
            insecure: config.insecure.into(),
            hosts: Arc::default(),
        }
    }

    fn host(&self, domain: &str) -> Result<Arc<Host>, RegistryError> {
        let mut hosts = lock(&self.hosts);
        if let Some(host) = hosts.get(domain) {
            return Ok(host.clone());
        }
        let origin = Origin::of(domain, &self.insecure)?;
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
}

impl Registry for Client {
    fn resolve<'a>(&'a self, at: &'a Reference) -> Pending<'a, Option<Descriptor>> {
        Box::pin(async move { pull::resolve(&self.exchange, &*self.host(at.domain())?, at).await })
    }

    fn manifest<'a>(&'a self, at: &'a Reference) -> Pending<'a, Option<Document>> {
        Box::pin(async move { pull::manifest(&self.exchange, &*self.host(at.domain())?, at).await })
    }

    fn blob_size<'a>(&'a self, at: &'a Repository, digest: &'a Digest) -> Pending<'a, Option<u64>> {
        Box::pin(async move { pull::blob_size(&self.exchange, &*self.host(at.registry())?, at, digest).await })
    }

    fn read_blob<'a>(&'a self, at: &'a Repository, blob: &'a Descriptor) -> Pending<'a, BlobStream> {
        self.read_blob_from(at, blob, 0)
    }

    fn read_blob_from<'a>(&'a self, at: &'a Repository, blob: &'a Descriptor, from: u64) -> Pending<'a, BlobStream> {
        Box::pin(
            async move { download::read_blob(self.exchange.clone(), self.host(at.registry())?, at, blob, from).await },
        )
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
            let upload = Upload {
                exchange: &self.exchange,
                host: &host,
                to,
                blob,
                body,
                progress: Arc::default(),
                report: progress,
            };
            upload.push().await?;
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

    fn delete<'a>(&'a self, at: &'a Reference) -> Pending<'a, bool> {
        Box::pin(async move { push::delete(&self.exchange, &*self.host(at.domain())?, at).await })
    }
}
