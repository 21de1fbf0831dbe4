//! One exchange: from a request to its answer.
//!
//! The use of methods on routes is decided here; what they do is said in the modules beside this one.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::HeaderName;
use hyper::{Method, Request, StatusCode};

use super::answer::{Answer, Code, Refusal, header, with_bytes};
use super::route::{Query, Route};
use super::storage::Storage;
use super::uploads::Uploads;
use super::{blobs, listing, manifests};

/// What all exchanges share.
pub(super) struct Registry {
    pub(super) storage: Arc<Storage>,
    pub(super) uploads: Uploads,
}

/// Answers a request.
pub(super) async fn answer(registry: &Registry, request: Request<Incoming>) -> Answer {
    let answer = match Route::parse(request.uri().path()) {
        Ok(route) => dispatch(registry, route, request).await,
        Err(refusal) => Err(refusal),
    };
    let answer = answer.unwrap_or_else(Refusal::into_answer);
    header(answer, HeaderName::from_static("docker-distribution-api-version"), "registry/2.0")
}

async fn dispatch(registry: &Registry, route: Route, request: Request<Incoming>) -> Result<Answer, Refusal> {
    let query = Query::parse(request.uri().query());
    let method = request.method().clone();
    let is_head = method == Method::HEAD;
    let is_read = is_head || method == Method::GET;
    match route {
        Route::Ping if is_read => Ok(with_bytes(StatusCode::OK, "application/json", b"{}".to_vec())),
        Route::Catalog if is_read => listing::catalog(registry, &query),
        Route::Tags(name) if is_read => listing::tags(registry, &name, &query),
        Route::Referrers(name, subject) if is_read => listing::referrers(registry, &name, &subject, &query),
        Route::Manifest(name, target) if is_read => manifests::fetch(registry, &name, &target, is_head),
        Route::Manifest(name, target) if method == Method::PUT => {
            manifests::put(registry, name, target, &query, request).await
        }
        Route::Manifest(name, target) if method == Method::DELETE => manifests::delete(registry, &name, &target),
        Route::Blob(name, digest) if is_read => blobs::fetch(registry, &name, &digest, &request),
        Route::Blob(name, digest) if method == Method::DELETE => blobs::delete(registry, &name, &digest),
        Route::Uploads(name) if method == Method::POST => blobs::start(registry, name, &query, request).await,
        Route::Upload(name, id) if is_read => blobs::status(registry, &name, &id).await,
        Route::Upload(name, id) if method == Method::PATCH => blobs::patch(registry, &name, &id, request).await,
        Route::Upload(name, id) if method == Method::PUT => blobs::finish(registry, name, &id, &query, request).await,
        Route::Upload(name, id) if method == Method::DELETE => blobs::cancel(registry, &name, &id).await,
        _ => Err(Code::Unsupported.refuse(format!("`{method}` is not for `{}`", request.uri().path()))),
    }
}
