//! The HTTP of object stores, over our own connections: the platform's trust store, our proxies, no redirects.
//!
//! It notes how the last exchange ended, so that an error can say so without repeating a server's words.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
};
use url::Url;

use crate::registry::{Connections, Facts, Origin, Proxies, Size};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);
/// How long one request may take, its body included; uploads go in parts.
const REQUEST: Duration = Duration::from_secs(300);

/// The connections of one store; clones share them.
#[derive(Clone)]
pub(super) struct Wire(Arc<Inner>);

struct Inner {
    connections: Connections,
    insecure: Vec<String>,
    last: Mutex<Option<String>>,
}

/// Why a request was not sent.
#[derive(Debug, thiserror::Error)]
enum NotSent {
    #[error("`{0}` is no address")]
    Address(String),
    #[error("`{0}` would be spoken to by plain http; name it under `lapstrake.insecure_registries` to allow that")]
    Plain(String),
    #[error("no answer within {0} s")]
    Silent(u64),
}

impl Wire {
    pub(super) fn new(facts: &Facts) -> Self {
        let connections = Connections::new(facts.user_agent.clone(), CONNECT)
            .trusting(facts.extra_roots.clone())
            .through(Proxies::from_variables(&facts.variables));
        Self(Arc::new(Inner { connections, insecure: facts.insecure.clone(), last: Mutex::default() }))
    }

    /// How the last exchange ended, unless well.
    pub(super) fn last(&self) -> Option<String> {
        self.0.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, what: Option<String>) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = what;
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let text = request.uri().to_string();
        let url = Url::parse(&text).map_err(|_| refused(NotSent::Address(without_query(&text))))?;
        let origin = Origin::of_url(&url).ok_or_else(|| refused(NotSent::Address(without_query(&text))))?;
        let host = url.host_str().unwrap_or_default();
        let named = match url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let is_allowed = |entry: &String| entry.eq_ignore_ascii_case(&named) || entry.eq_ignore_ascii_case(host);
        if !origin.is_secure() && !origin.is_loopback() && !self.0.insecure.iter().any(is_allowed) {
            return Err(refused(NotSent::Plain(named)));
        }
        let client = self.0.connections.client(&url, Size::Bulk);
        let client = client.map_err(|error| HttpError::new(HttpErrorKind::Unknown, error))?;
        let sent = tokio::time::timeout(REQUEST, HttpService::call(&client, request)).await;
        sent.unwrap_or_else(|_| Err(HttpError::new(HttpErrorKind::Timeout, NotSent::Silent(REQUEST.as_secs()))))
    }
}

fn refused(why: NotSent) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, why)
}

/// A signature may stand in the query.
fn without_query(text: &str) -> String {
    text.split('?').next().unwrap_or_default().to_owned()
}

/// The causes of an error, on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut said: Vec<String> = Vec::new();
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        let text = cause.to_string();
        // Some errors repeat their cause in their own text.
        if !said.last().is_some_and(|last| last.ends_with(&text)) {
            said.push(text);
        }
        next = cause.source();
    }
    said.join(": ")
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wire")
    }
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let answer = self.send(request).await;
        self.note(match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answered with HTTP {}", answer.status().as_u16())),
            Err(error) => Some(causes(error)),
        });
        answer
    }
}

impl HttpConnector for Wire {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}
