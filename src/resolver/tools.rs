//! The resolver as use cases hold it: uv, found when first needed, and the wheel fetcher's parts.
//!
//! Holds what the command line knows of this machine; asks nothing of it by itself.

use std::sync::Arc;

use tokio::sync::OnceCell;

use super::child::ChildEnvironment;
use super::download::{FetchOptions, WheelFetcher};
use super::error::ResolveError;
use super::http::HttpClient;
use super::index::IndexCredentials;
use super::request::ResolveRequest;
use super::resolve::resolve;
use super::uv::Uv;
use crate::event::Reporter;
use crate::python::lock::{Lock, WheelFit};
use crate::store::Store;

/// Chooses versions through uv, and makes fetchers of wheels.
pub struct Resolver {
    environment: ChildEnvironment,
    client: Arc<HttpClient>,
    uv: OnceCell<Uv>,
}

impl Resolver {
    /// A resolver whose children get `environment`, and whose downloads go through `client`.
    pub fn new(environment: ChildEnvironment, client: HttpClient) -> Self {
        Self { environment, client: Arc::new(client), uv: OnceCell::new() }
    }

    /// The environment that children get.
    pub fn environment(&self) -> &ChildEnvironment {
        &self.environment
    }

    /// Whether the network is switched off.
    pub fn is_offline(&self) -> bool {
        self.client.is_offline()
    }

    /// Resolves `request`.
    ///
    /// # Errors
    /// Fails when there is no uv, or uv finds no answer.
    pub async fn resolve(&self, request: &ResolveRequest, fit: WheelFit<'_>) -> Result<Lock, ResolveError> {
        let uv = self.uv.get_or_try_init(|| self.find()).await?;
        resolve(request, uv, fit).await
    }

    async fn find(&self) -> Result<Uv, ResolveError> {
        Uv::on_path(&self.environment).await.ok_or(ResolveError::NoUv { source: None })
    }

    /// A fetcher of wheels into `store`; all its clones share their connections.
    pub fn fetcher(&self, store: &Store, credentials: IndexCredentials, reporter: &Arc<dyn Reporter>) -> WheelFetcher {
        let (credentials, reporter) = (Arc::new(credentials), Arc::clone(reporter));
        WheelFetcher::new(store.clone(), Arc::clone(&self.client), credentials, reporter, FetchOptions::default())
    }
}
