//! The resolver as use cases hold it: uv, found when first needed, and the wheel fetcher's parts.
//!
//! Holds what the command line knows of this machine; asks nothing of it by itself.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::OnceCell;

use super::arguments::{index_credentials, index_urls};
use super::build::WheelBuilder;
use super::child::ChildEnvironment;
use super::chosen::Chosen;
use super::download::{FetchOptions, WheelFetcher};
use super::error::ResolveError;
use super::http::HttpClient;
use super::index::IndexCredentials;
use super::pip::Pip;
use super::request::ResolveRequest;
use super::resolve::{resolve, resolve_beside};
use super::resolved::Resolved;
use super::uv::Uv;
use super::uv_wheel::UvSources;
use crate::event::Reporter;
use crate::python::tags::CompatibleTags;
use crate::settings::Installer;
use crate::store::Store;

/// Chooses versions through uv, and makes fetchers of wheels.
pub struct Resolver {
    environment: ChildEnvironment,
    client: Arc<HttpClient>,
    program: Option<PathBuf>,
    uv: OnceCell<Uv>,
    pip: OnceCell<Pip>,
}

impl Resolver {
    /// A resolver whose children get `environment`, and whose downloads go through `client`; `program` names a uv.
    pub fn new(environment: ChildEnvironment, client: HttpClient, program: Option<PathBuf>) -> Self {
        Self { environment, client: Arc::new(client), program, uv: OnceCell::new(), pip: OnceCell::new() }
    }

    /// The environment that children get.
    pub fn environment(&self) -> &ChildEnvironment {
        &self.environment
    }

    /// Whether the network is switched off.
    pub fn is_offline(&self) -> bool {
        self.client.is_offline()
    }

    /// Resolves `request` by its installer for an interpreter that takes `tags`; a uv that has to be fetched is kept in `store`.
    ///
    /// # Errors
    /// Fails when there is no uv and none can be fetched, or no pip, or when neither finds an answer.
    pub async fn resolve(
        &self,
        request: &ResolveRequest,
        tags: &CompatibleTags,
        store: &Store,
        reporter: &Arc<dyn Reporter>,
    ) -> Result<Resolved, ResolveError> {
        match request.installer {
            Installer::Uv => {
                let uv = self.uv(request, store, reporter).await?;
                resolve(request, uv, tags).await
            }
            Installer::Pip => self.pip(request).await?.resolve(request, tags).await,
        }
    }

    /// The lock of `chosen` with what the lines that `request` adds need beside it; `None` when everything has to be
    /// chosen anew, because something else differs or a version chosen before would have to change.
    ///
    /// # Errors
    /// Fails when there is no uv and none can be fetched.
    pub async fn extend(
        &self,
        chosen: &Chosen,
        request: &ResolveRequest,
        tags: &CompatibleTags,
        store: &Store,
        reporter: &Arc<dyn Reporter>,
    ) -> Result<Option<Resolved>, ResolveError> {
        match chosen.lines_added(request) {
            None => Ok(None),
            Some(0) => Ok(Some(Resolved { lock: chosen.lock().clone(), unbuilt: Vec::new() })),
            Some(_) => {
                let Some(question) = chosen.question_of(request) else { return Ok(None) };
                let kept = &chosen.lock().packages;
                let found = match request.installer {
                    Installer::Uv => {
                        let uv = self.uv(request, store, reporter).await?;
                        resolve_beside(&question, kept, uv, tags).await
                    }
                    Installer::Pip => self.pip(request).await?.resolve_beside(&question, kept, tags).await,
                };
                chosen.with(found)
            }
        }
    }

    async fn pip(&self, request: &ResolveRequest) -> Result<&Pip, ResolveError> {
        self.pip.get_or_try_init(|| Pip::locate(&self.environment, &request.scratch)).await
    }

    /// A builder of wheels for the image that `request` is about.
    ///
    /// # Errors
    /// Fails when there is no uv and none can be fetched, or when this machine has no Python.
    pub async fn builder<'a>(
        &'a self,
        request: &'a ResolveRequest,
        tags: &'a CompatibleTags,
        store: &'a Store,
        fetcher: &'a WheelFetcher,
        reporter: &'a Arc<dyn Reporter>,
    ) -> Result<WheelBuilder<'a>, ResolveError> {
        let uv = self.uv(request, store, reporter).await?;
        WheelBuilder::new(uv, request, tags, store, fetcher, reporter).await
    }

    /// The uv that `request` would be resolved with; one that has to be fetched is kept in `store`.
    ///
    /// # Errors
    /// Fails when there is no uv and none can be fetched.
    pub async fn uv(
        &self,
        request: &ResolveRequest,
        store: &Store,
        reporter: &Arc<dyn Reporter>,
    ) -> Result<&Uv, ResolveError> {
        self.uv.get_or_try_init(|| self.find(request, store, reporter)).await
    }

    async fn find(
        &self,
        request: &ResolveRequest,
        store: &Store,
        reporter: &Arc<dyn Reporter>,
    ) -> Result<Uv, ResolveError> {
        let fetcher = self.fetcher(store, index_credentials(request), reporter);
        let sources = UvSources {
            program: self.program.as_deref(),
            environment: &self.environment,
            store,
            fetcher: &fetcher,
            indexes: &index_urls(request),
            offline: self.is_offline(),
        };
        Uv::locate(&sources).await
    }

    /// A fetcher of wheels into `store`; all its clones share their connections.
    pub fn fetcher(&self, store: &Store, credentials: IndexCredentials, reporter: &Arc<dyn Reporter>) -> WheelFetcher {
        let (credentials, reporter) = (Arc::new(credentials), Arc::clone(reporter));
        WheelFetcher::new(store.clone(), Arc::clone(&self.client), credentials, reporter, FetchOptions::default())
    }
}
