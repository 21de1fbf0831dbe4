//! Mounts: a blob that another repository of the registry has, without its bytes.
//!
//! Never asks for a mount from another registry: some refuse the whole request then.

use std::collections::BTreeMap;
use std::sync::Mutex;

use bytes::Bytes;
use reqwest::{Method, StatusCode};

use super::auth::{Action, Rights, lock};
use super::contract::{Mounted, blob_name};
use super::error::RegistryError;
use super::exchange::{Ask, Exchange, Host};
use super::known::Mounting;
use super::upload::Session;
use crate::oci::{Digest, Repository};

/// Upload sessions that a registry opened where something else was asked for, by repository and digest.
#[derive(Default)]
pub(super) struct Sessions(Mutex<BTreeMap<(String, Digest), Session>>);

impl Sessions {
    pub(super) fn remember(&self, path: &str, digest: &Digest, session: Session) {
        lock(&self.0).insert((path.to_owned(), digest.clone()), session);
    }

    pub(super) fn has(&self, path: &str, digest: &Digest) -> bool {
        lock(&self.0).contains_key(&(path.to_owned(), digest.clone()))
    }

    pub(super) fn take(&self, path: &str, digest: &Digest) -> Option<Session> {
        lock(&self.0).remove(&(path.to_owned(), digest.clone()))
    }
}

/// Mounts a blob of the repository `from` into `to`, when the registry is known to do so at all.
pub(super) async fn mount(
    exchange: &Exchange,
    host: &Host,
    to: &Repository,
    digest: &Digest,
    from: &str,
) -> Result<Mounted, RegistryError> {
    if host.manners.known().mounting == Mounting::Never {
        return Ok(Mounted::No);
    }
    let mut url = host.url(&format!("/v2/{}/blobs/uploads/", to.path()))?;
    url.query_pairs_mut().append_pair("mount", digest.as_str()).append_pair("from", from);
    let rights = Rights { mount_from: Some(from.to_owned()), ..Rights::new(to.path(), Action::Push) };
    let action = format!("POST mount of `{}` from `{from}`", blob_name(to, digest));
    let ask = Ask { body: Some(Bytes::new()), ..Ask::new(Method::POST, url, rights, action) };
    let answer = match exchange.call(host, &ask).await {
        Ok(answer) => answer,
        // Whoever may not mount may still push.
        Err(RegistryError::Unauthorized { .. }) => return Ok(Mounted::No),
        Err(error) => return Err(error),
    };
    let status = answer.response.status();
    if status == StatusCode::CREATED {
        return Ok(Mounted::Yes);
    }
    if status.is_success()
        && let Ok(session) = Session::opened(host, &ask, &answer.response)
    {
        host.sessions.remember(to.path(), digest, session);
    }
    exchange.drain(answer.response, &ask.action).await;
    Ok(Mounted::No)
}
