//! Upload sessions that are opened before there are bytes: while a blob is still made, its registry can say who may push and where to.
//!
//! What nobody takes is left to the registry, which forgets sessions without bytes by itself. A failure here is none: whoever then
//! pushes opens a session of its own, and hears why that is not to be had.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use tokio::task::JoinHandle;

use super::auth::{Action, Rights, lock};
use super::exchange::{Ask, Exchange, Host};
use super::upload::Session;
use crate::oci::Repository;

/// How old a session may be that is still used: registries keep one for minutes at least.
const FRESH: Duration = Duration::from_secs(60);
/// How many wait at most for one repository.
const MOST: usize = 4;

/// When a session was asked for, and what comes of it.
type Opening<S> = (Instant, JoinHandle<Option<S>>);

/// The sessions of one registry that nobody uses yet, by the path of their repository.
pub(super) struct Ahead<S = Session>(Mutex<BTreeMap<String, VecDeque<Opening<S>>>>);

impl<S> Default for Ahead<S> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl Ahead {
    /// Asks for a session in `to`, beside whatever else is done. Runs on the current runtime.
    pub(super) fn open(&self, exchange: &Arc<Exchange>, host: &Arc<Host>, to: &Repository) {
        let mut waiting = lock(&self.0);
        let waiting = waiting.entry(to.path().to_owned()).or_default();
        if waiting.len() < MOST {
            let (exchange, host, to) = (Arc::clone(exchange), Arc::clone(host), to.clone());
            let opening = tokio::spawn(async move { opened(&exchange, &host, &to).await });
            waiting.push_back((Instant::now(), opening));
        }
    }
}

impl<S> Ahead<S> {
    /// Whether a session waits, or is on its way.
    pub(super) fn has(&self, path: &str) -> bool {
        lock(&self.0).get(path).is_some_and(|waiting| waiting.iter().any(|(asked, _)| asked.elapsed() < FRESH))
    }

    /// A session that waits, or comes: who asked first is soonest answered.
    pub(super) async fn take(&self, path: &str) -> Option<S> {
        loop {
            let (asked, opening) = lock(&self.0).get_mut(path)?.pop_front()?;
            if asked.elapsed() < FRESH
                && let Ok(Some(session)) = opening.await
            {
                return Some(session);
            }
        }
    }
}

async fn opened(exchange: &Exchange, host: &Host, to: &Repository) -> Option<Session> {
    let url = host.url(&format!("/v2/{}/blobs/uploads/", to.path())).ok()?;
    let action = format!("POST upload to `{to}`");
    let mut ask = Ask::new(Method::POST, url, Rights::new(to.path(), Action::Push), action);
    ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    ask.body = Some(Bytes::new());
    let answer = exchange.once(host, &ask).await.ok()?;
    let session = answer.response.status().is_success().then(|| Session::opened(host, &ask, &answer.response).ok());
    exchange.drain(answer.response, &ask.action).await;
    session.flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_session_that_is_still_good_is_taken() {
        let ahead = Ahead::<u8>::default();
        let now = Instant::now();
        let opening = |asked: Instant, session| (asked, tokio::spawn(async move { session }));
        let old = now.checked_sub(FRESH).unwrap();
        let waiting = [opening(old, Some(1)), opening(now, None), opening(now, Some(2)), opening(now, Some(3))];
        lock(&ahead.0).insert("team/app".to_owned(), waiting.into());
        assert!(ahead.has("team/app") && !ahead.has("team/other"));
        assert_eq!(ahead.take("team/other").await, None);
        assert_eq!(ahead.take("team/app").await, Some(2));
        assert_eq!(ahead.take("team/app").await, Some(3));
        assert_eq!(ahead.take("team/app").await, None);
        lock(&ahead.0).insert("team/app".to_owned(), [opening(old, Some(1))].into());
        assert!(!ahead.has("team/app"));
    }
}
