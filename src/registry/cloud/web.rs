//! Small requests to the clouds' servers: token services by https, metadata services by plain http without a proxy.
//!
//! Follows no redirect, and keeps nothing.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, StatusCode};
use serde::de::DeserializeOwned;
use url::Url;
use url::form_urlencoded::Serializer;

use super::super::connections::{Connections, Size};
use super::super::origin::{Origin, place};
use super::super::proxy::Proxies;
use super::super::retry::{RetryPolicy, is_transient};
use super::codes;
use super::error::{CloudError, WebError};
use super::facts::Facts;

const ANSWER_CAP: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a token service may take to be connected to.
const FAR_CONNECT: Duration = Duration::from_secs(10);
/// How long a metadata service may take to be connected to: it is next door, or not there.
const NEAR_CONNECT: Duration = Duration::from_secs(1);
const TRIES: u32 = 3;

/// What a server answered.
pub(crate) struct Answer {
    pub(crate) host: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// The error that this answer means.
    pub(crate) fn refusal(&self) -> CloudError {
        CloudError::Refused { host: self.host.clone(), status: self.status.as_u16(), code: codes::known(&self.body) }
    }

    /// The body, when the answer means success.
    pub(crate) fn success(self) -> Result<Self, CloudError> {
        if self.status.is_success() { Ok(self) } else { Err(self.refusal()) }
    }

    /// The body's JSON, when the answer means success.
    pub(crate) fn json<T: DeserializeOwned>(self) -> Result<T, CloudError> {
        let answer = self.success()?;
        serde_json::from_slice(&answer.body).map_err(|_| CloudError::Junk { host: answer.host })
    }

    /// The body's text, when the answer means success.
    pub(crate) fn text(self) -> Result<String, CloudError> {
        let answer = self.success()?;
        String::from_utf8(answer.body).map_err(|_| CloudError::Junk { host: answer.host })
    }
}

/// The connections: those that may go through a proxy, and those to next door.
pub(crate) struct Web {
    far: Connections,
    near: Connections,
}

impl Web {
    pub(crate) fn new(facts: &Facts) -> Self {
        let connections = |patience| Connections::new(facts.user_agent.clone(), patience);
        Self {
            far: connections(FAR_CONNECT)
                .trusting(facts.extra_roots.clone())
                .through(Proxies::from_variables(&facts.variables)),
            near: connections(NEAR_CONNECT),
        }
    }

    /// Asks a token service; passing troubles are tried again.
    pub(crate) async fn ask(&self, request: Request) -> Result<Answer, WebError> {
        let retry = RetryPolicy { first_wait: Duration::from_millis(200), ..RetryPolicy::default() };
        let is_near = is_on_this_machine(request.url());
        let client = if is_near { self.near(request.url())? } else { self.far(request.url())? };
        let mut failures = 0;
        loop {
            let again = request.try_clone();
            let url = request.url().as_str();
            let Some(copy) = again else { return send(&client, request, PATIENCE).await };
            let sent = send(&client, copy, PATIENCE).await;
            failures += 1;
            let passing = match &sent {
                Ok(answer) => is_transient(answer.status),
                Err(error) => matches!(error, WebError::Lost { .. }),
            };
            if !passing || failures == TRIES {
                return sent;
            }
            tokio::time::sleep(retry.wait(failures, url)).await;
        }
    }

    /// Asks a metadata service; `None` when there is nobody who answers.
    pub(crate) async fn ask_near(&self, request: Request, patience: Duration) -> Result<Option<Answer>, WebError> {
        match send(&self.near(request.url())?, request, patience).await {
            Ok(answer) => Ok(Some(answer)),
            Err(WebError::Lost { .. } | WebError::Silent { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn far(&self, url: &Url) -> Result<Client, WebError> {
        self.far.client(url, Size::Bulk).map_err(|error| WebError::Setup(Box::new(error)))
    }

    fn near(&self, url: &Url) -> Result<Client, WebError> {
        self.near.client(url, Size::Bulk).map_err(|error| WebError::Setup(Box::new(error)))
    }
}

async fn send(client: &Client, request: Request, patience: Duration) -> Result<Answer, WebError> {
    let host = place(request.url());
    let lost = |source: reqwest::Error| WebError::Lost { host: host.clone(), source: source.without_url() };
    let whole = async {
        let mut response = client.execute(request).await.map_err(lost)?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > ANSWER_CAP {
                return Err(WebError::TooLarge { host: host.clone(), cap: ANSWER_CAP });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Answer { host: host.clone(), status: response.status(), headers: response.headers().clone(), body })
    };
    let silent = || WebError::Silent { host: host.clone(), seconds: patience.as_secs() };
    tokio::time::timeout(patience, whole).await.unwrap_or_else(|_| Err(silent()))
}

/// A GET with headers, whose values are never shown.
pub(crate) fn get(url: Url, headers: &[(&'static str, &str)]) -> Request {
    let mut request = Request::new(Method::GET, url);
    set_headers(&mut request, headers);
    request
}

/// A POST of a form.
pub(crate) fn post_form(url: Url, fields: &[(&str, &str)]) -> Request {
    let form = Serializer::new(String::new()).extend_pairs(fields).finish();
    post(url, "application/x-www-form-urlencoded", form)
}

/// A POST of a body of this type.
pub(crate) fn post(url: Url, media_type: &'static str, body: String) -> Request {
    let mut request = Request::new(Method::POST, url);
    request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    *request.body_mut() = Some(body.into());
    request
}

/// Sets headers; a value that no header can have is left out, and the server then says no.
pub(crate) fn set_headers(request: &mut Request, headers: &[(&'static str, &str)]) {
    for (name, value) in headers {
        if let Ok(mut value) = HeaderValue::try_from(*value) {
            value.set_sensitive(true);
            request.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
}

/// The address `text` of a token service, which `of` names: https, or on this machine.
pub(crate) fn address(text: &str, of: &str) -> Result<Url, CloudError> {
    let url = any_address(text, of)?;
    if url.scheme() == "https" || is_on_this_machine(&url) {
        return Ok(url);
    }
    Err(CloudError::Plain { place: place(&url), of: of.to_owned() })
}

/// The address `text` of a metadata service, which `of` names.
pub(crate) fn any_address(text: &str, of: &str) -> Result<Url, CloudError> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    url.ok_or_else(|| CloudError::Field { of: of.to_owned(), field: "address" })
}

fn is_on_this_machine(url: &Url) -> bool {
    url.scheme() == "http" && Origin::of_url(url).is_some_and(|origin| origin.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_by_https_or_stay_on_this_machine() {
        for (text, expected) in [
            ("https://sts.amazonaws.com/", true),
            ("http://127.0.0.1:5000/x", true),
            ("http://localhost/x", true),
            ("http://sts.amazonaws.com/", false),
            ("http://10.0.0.1/", false),
            ("ftp://127.0.0.1/", false),
            ("nonsense", false),
        ] {
            assert_eq!(address(text, "a test").is_ok(), expected, "{text}");
        }
    }
}
