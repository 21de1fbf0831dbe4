//! One exchange: from a request to its answer.
//!
//! Who may ask, and the use of methods on routes, is decided here; what they do is said in the modules
//! beside this one.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{ALLOW, AUTHORIZATION, HeaderName, WWW_AUTHENTICATE};
use hyper::{Method, Request, StatusCode};

use super::answer::{Answer, Code, Refusal, header, with_bytes};
use super::login::Login;
use super::route::{Query, Route};
use super::storage::Storage;
use super::uploads::Uploads;
use super::{blobs, body, listing, manifests};

/// What all exchanges share.
pub(super) struct Registry {
    pub(super) storage: Arc<Storage>,
    pub(super) uploads: Uploads,
    pub(super) login: Option<Arc<Login>>,
    pub(super) is_read_only: bool,
    /// How long a sender may be silent.
    pub(super) silence: Duration,
}

/// Answers a request.
pub(super) async fn answer(registry: &Registry, request: Request<Incoming>) -> Answer {
    let answer = match admitted(registry, &request).await {
        Ok(route) => dispatch(registry, route, request).await,
        Err(refusal) => {
            // A sender that is not heard out sees a broken connection instead of the refusal.
            body::discard(request.into_body(), registry.silence).await;
            Err(refusal)
        }
    };
    let answer = answer.unwrap_or_else(Refusal::into_answer);
    header(answer, HeaderName::from_static("docker-distribution-api-version"), "registry/2.0")
}

/// The route of a request that its sender may make; strangers do not learn which routes there are.
async fn admitted(registry: &Registry, request: &Request<Incoming>) -> Result<Route, Refusal> {
    if let Some(login) = &registry.login {
        let header = request.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        if !login.admits(header).await {
            let refusal = Code::Unauthorized.refuse("the name or the password is not known here");
            return Err(refusal.with(WWW_AUTHENTICATE, "Basic realm=\"lapstrake\", charset=\"UTF-8\"".to_owned()));
        }
    }
    let route = Route::parse(request.uri().path())?;
    let (method, path) = (request.method(), request.uri().path());
    let is_read = |method: &str| matches!(method, "GET" | "HEAD");
    let allowed: Vec<&str> =
        route.methods().iter().copied().filter(|method| !registry.is_read_only || is_read(method)).collect();
    if allowed.contains(&method.as_str()) {
        return Ok(route);
    }
    let refusal = if registry.is_read_only && !is_read(method.as_str()) {
        Code::Unsupported.refuse("this registry is served for reading only")
    } else {
        Code::Unsupported.refuse(format!("`{method}` is not for `{path}`"))
    };
    Err(refusal.with(ALLOW, allowed.join(", ")))
}

async fn dispatch(registry: &Registry, route: Route, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let query = Query::parse(request.uri().query());
    let method = request.method().clone();
    let is_head = method == Method::HEAD;
    match route {
        Route::Ping => Ok(with_bytes(StatusCode::OK, "application/json", b"{}".to_vec())),
        Route::Catalog => listing::catalog(registry, &query),
        Route::Tags(name) => listing::tags(registry, &name, &query),
        Route::Referrers(name, subject) => listing::referrers(registry, &name, &subject, &query),
        Route::Manifest(name, target) if method == Method::PUT => {
            manifests::put(registry, name, target, &query, request).await
        }
        Route::Manifest(name, target) if method == Method::DELETE => manifests::delete(registry, &name, &target),
        Route::Manifest(name, target) => manifests::fetch(registry, &name, &target, is_head),
        Route::Blob(name, digest) if method == Method::DELETE => blobs::delete(registry, &name, &digest),
        Route::Blob(name, digest) => blobs::fetch(registry, &name, &digest, &request),
        Route::Uploads(name) => blobs::start(registry, name, &query, request).await,
        Route::Upload(name, id) if method == Method::PATCH => blobs::patch(registry, &name, &id, request).await,
        Route::Upload(name, id) if method == Method::PUT => blobs::finish(registry, name, &id, &query, request).await,
        Route::Upload(name, id) if method == Method::DELETE => blobs::cancel(registry, &name, &id).await,
        Route::Upload(name, id) => blobs::status(registry, &name, &id).await,
    }
}
