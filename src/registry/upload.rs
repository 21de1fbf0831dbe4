//! Uploads of blobs: sessions, the ways to send bytes, and what to do when one fails.
//!
//! Does not ask first whether a blob is there; the caller does, and only a lost answer makes this module look.

use std::sync::Arc;

use bytes::Bytes;
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION, RANGE};
use reqwest::{Method, Response, StatusCode};
use url::Url;

use super::auth::{Action, Rights};
use super::contract::{BlobBody, blob_name};
use super::error::RegistryError;
use super::exchange::{Ask, Exchange, Host, text};
use super::known::Way;
use super::manners::{Bounds, Sending};
use super::origin::validate_upload_location;
use super::pool::Place;
use super::pull;
use super::retry::{GOOD_PROGRESS, is_transient};
use super::transport::Size;
use super::upload_body::{self, Progress, Sent, Source};
use crate::oci::{Descriptor, Repository};

/// An upload session of a registry.
pub(super) struct Session {
    /// The newest `Location`.
    url: Url,
    /// How many bytes it has.
    offset: u64,
    bounds: Bounds,
}

impl Session {
    /// The session that an answer opens.
    pub(super) fn opened(host: &Host, ask: &Ask, response: &Response) -> Result<Self, RegistryError> {
        let url = location(host, ask, response)?;
        Ok(Self { url, offset: 0, bounds: Bounds::announced(response.headers()) })
    }
}

/// How a try to push ended, if not well.
enum Setback {
    /// For good.
    Fatal(RegistryError),
    /// The session may have bytes, and the rest may follow.
    Passing(RegistryError),
    /// The session is of no more use; a new one may do better.
    Gone(RegistryError),
    /// The registry wants another authorization.
    Renew,
    /// The registry does not take a blob this way.
    WrongWay(RegistryError),
    /// The request has more bytes than the registry or a proxy takes.
    TooLarge(RegistryError),
}

impl From<RegistryError> for Setback {
    fn from(error: RegistryError) -> Self {
        if error.is_transient() { Self::Passing(error) } else { Self::Fatal(error) }
    }
}

/// What is learnt over the tries of one push.
struct Course {
    sending: Sending,
    put_refused: bool,
    chunks_refused: bool,
    /// A session that may hold bytes.
    broken: Option<Url>,
    /// Whether the bytes of this try come after those of another one.
    resumed: bool,
    /// Whether resumption led to wrong bytes.
    spoilt: bool,
    /// Whether the blob may be there, since its commit was sent.
    committing: bool,
    /// Whether the session was opened before there were bytes, and may have been forgotten since.
    ahead: bool,
    /// Whether the authorization was renewed since bytes were last taken.
    renewed: bool,
    failures: u32,
    /// Bytes that the registry said it has, and how many at the last failure.
    reached: u64,
    mark: u64,
}

/// One blob on its way.
pub(super) struct Upload<'a> {
    pub(super) exchange: &'a Exchange,
    pub(super) host: &'a Host,
    pub(super) to: &'a Repository,
    pub(super) blob: &'a Descriptor,
    pub(super) body: BlobBody,
    pub(super) progress: Arc<Progress>,
    pub(super) report: &'a (dyn Fn(u64) + Send + Sync),
}

impl Upload<'_> {
    pub(super) async fn push(&self) -> Result<(), RegistryError> {
        let mut course = Course {
            sending: Sending::Whole(Way::Put),
            put_refused: false,
            chunks_refused: false,
            broken: None,
            resumed: false,
            spoilt: false,
            committing: false,
            ahead: false,
            renewed: false,
            failures: 0,
            reached: 0,
            mark: 0,
        };
        loop {
            let ended = {
                let place = self.host.pools.upload(self.blob.size).await;
                self.attempt(&mut course, &place).await
            };
            let is_there = match ended {
                Ok(()) => true,
                Err(setback) => self.recover(&mut course, setback).await?,
            };
            if is_there {
                if course.put_refused && course.sending == Sending::Whole(Way::Patch) {
                    self.host.manners.takes(Way::Patch);
                }
                self.progress.finish(self.blob.size, self.report);
                return Ok(());
            }
        }
    }

    /// Prepares another try, or says that the blob is there after all.
    async fn recover(&self, course: &mut Course, setback: Setback) -> Result<bool, RegistryError> {
        let error = match setback {
            Setback::Fatal(error) => return Err(error),
            Setback::WrongWay(error) => {
                match course.sending {
                    Sending::Whole(Way::Put) => course.put_refused = true,
                    Sending::Chunks(_) => course.chunks_refused = true,
                    Sending::Whole(Way::Patch) => return Err(error),
                }
                return Ok(false);
            }
            Setback::TooLarge(error) => {
                let sent = match course.sending {
                    Sending::Whole(_) => self.blob.size,
                    Sending::Chunks(bytes) => bytes,
                };
                let another = !course.chunks_refused && self.host.manners.too_large(sent);
                return if another { Ok(false) } else { Err(error) };
            }
            Setback::Renew if course.renewed => {
                let rights = self.rights();
                let carried = self.exchange.authorization(self.host, &rights).await?;
                return Err(self.host.auth.unauthorized(&rights, &carried));
            }
            Setback::Renew => {
                course.renewed = true;
                return Ok(false);
            }
            Setback::Gone(_) if course.ahead => return Ok(false),
            Setback::Passing(error) | Setback::Gone(error) => error,
        };
        if course.reached >= course.mark + GOOD_PROGRESS {
            course.failures = 0;
        }
        (course.mark, course.renewed) = (course.reached, false);
        course.failures += 1;
        if course.committing && self.is_there().await {
            return Ok(true);
        }
        match self.exchange.retry.tries_after(&error) {
            0 => return Err(error),
            most if course.failures >= most => return Err(error.after(course.failures)),
            _ => {}
        }
        let action = format!("push {}", blob_name(self.to, &self.blob.digest));
        self.exchange.wait(self.host, course.failures, None, &action).await;
        Ok(false)
    }

    /// Looks once whether the blob is there: the answer to a commit may have been lost on its way.
    async fn is_there(&self) -> bool {
        let Ok(ask) = pull::blob_ask(self.host, Method::HEAD, self.to, &self.blob.digest) else { return false };
        let Ok(answer) = self.exchange.once(self.host, &ask).await else { return false };
        let size = text(answer.response.headers(), CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
        answer.response.status().is_success() && size == Some(self.blob.size)
    }

    async fn attempt(&self, course: &mut Course, place: &Place) -> Result<(), Setback> {
        course.committing = false;
        let mut session = self.session(course).await?;
        course.resumed = session.offset > 0;
        course.reached = course.reached.max(session.offset);
        course.sending = match self.host.manners.sending(self.blob.size, session.bounds) {
            Sending::Whole(Way::Put) if course.put_refused => Sending::Whole(Way::Patch),
            Sending::Chunks(_) if course.chunks_refused => Sending::Whole(Way::Patch),
            sending => sending,
        };
        let sent = self.transmit(&mut session, course, place).await;
        let may_resume = self.host.manners.known().resumes && self.blob.size >= GOOD_PROGRESS && !course.spoilt;
        match &sent {
            Err(Setback::Passing(_)) if may_resume => course.broken = Some(session.url),
            Err(Setback::Renew) if may_resume && session.offset > 0 => course.broken = Some(session.url),
            _ => {}
        }
        sent
    }

    /// The session of the last try when it can go on, one that a mount has opened or that was opened ahead, or a new
    /// one.
    async fn session(&self, course: &mut Course) -> Result<Session, Setback> {
        course.ahead = false;
        if let Some(url) = course.broken.take()
            && let Some(session) = self.resumable(url).await
        {
            return Ok(session);
        }
        if let Some(session) = self.host.sessions.take(self.to.path(), &self.blob.digest) {
            return Ok(session);
        }
        if let Some(session) = self.host.ahead.take(self.to.path()).await {
            course.ahead = true;
            return Ok(session);
        }
        // Has its own retries.
        self.open().await.map_err(Setback::Fatal)
    }

    /// Asks a session how many bytes it has; `None` when it does not say so, or has none.
    async fn resumable(&self, url: Url) -> Option<Session> {
        let mut ask = self.ask(Method::GET, url, "GET upload of");
        ask.size = Size::Small;
        let answer = self.exchange.once(self.host, &ask).await.ok()?;
        if answer.response.status() != StatusCode::NO_CONTENT {
            return None;
        }
        let range = text(answer.response.headers(), RANGE.as_str())?;
        let (first, last) = range.trim_start_matches("bytes=").split_once('-')?;
        let offset = last.trim().parse::<u64>().ok()?.checked_add(1)?;
        // One byte is what a registry says that has none.
        if first.trim() != "0" || offset <= 1 || offset > self.blob.size {
            return None;
        }
        let url = match text(answer.response.headers(), LOCATION.as_str()) {
            Some(_) => location(self.host, &ask, &answer.response).ok()?,
            None => ask.url,
        };
        Some(Session { url, offset, bounds: Bounds::announced(answer.response.headers()) })
    }

    async fn open(&self) -> Result<Session, RegistryError> {
        let url = self.host.url(&format!("/v2/{}/blobs/uploads/", self.to.path()))?;
        let mut ask = self.ask(Method::POST, url, "POST");
        ask.body = Some(Bytes::new());
        ask.size = Size::Small;
        let answer = self.exchange.call(self.host, &ask).await?;
        if !answer.response.status().is_success() {
            return Err(self.exchange.refusal(self.host, &ask, &self.to.to_string(), answer).await);
        }
        let session = Session::opened(self.host, &ask, &answer.response)?;
        self.exchange.drain(answer.response, &ask.action).await;
        Ok(session)
    }

    /// Sends what the session lacks, and commits it.
    async fn transmit(&self, session: &mut Session, course: &mut Course, place: &Place) -> Result<(), Setback> {
        let size = self.blob.size;
        let source = Source::open(&self.body, self.to, self.blob, session.offset).await?;
        if course.sending == Sending::Whole(Way::Put) && session.offset == 0 {
            let ask = self.ask(Method::PUT, self.committing(&session.url), "PUT");
            course.committing = true;
            return self.send(&ask, Some((&source, 0, size)), course, place).await.map(drop);
        }
        let step = match course.sending {
            Sending::Chunks(bytes) => bytes,
            Sending::Whole(_) => self.host.manners.known().ranged.max(1),
        };
        while session.offset < size {
            let is_whole = session.offset == 0 && !matches!(course.sending, Sending::Chunks(_));
            let length = if is_whole { size } else { step.min(size - session.offset) };
            let mut ask = self.ask(Method::PATCH, session.url.clone(), "PATCH");
            if !is_whole {
                let range = format!("{}-{}", session.offset, session.offset + length - 1);
                ask.headers.extend(HeaderValue::try_from(range).ok().map(|range| (CONTENT_RANGE, range)));
            }
            let piece = Some((&source, session.offset, length));
            let response = self.send(&ask, piece, course, place).await?;
            if text(response.headers(), LOCATION.as_str()).is_some() {
                session.url = location(self.host, &ask, &response)?;
            }
            session.offset += length;
            (course.reached, course.renewed) = (session.offset, false);
        }
        let ask = self.ask(Method::PUT, self.committing(&session.url), "PUT");
        course.committing = true;
        self.send(&ask, None, course, place).await.map(drop)
    }

    /// Sends one request with a piece of the blob (source, offset, length), or with nothing, and sorts its answer.
    async fn send(
        &self,
        ask: &Ask,
        piece: Option<(&Source, u64, u64)>,
        course: &mut Course,
        place: &Place,
    ) -> Result<Response, Setback> {
        self.host.respect_quiet().await;
        let answer = match upload_body::send(self, ask, piece).await? {
            Sent::Answer(answer) => *answer,
            Sent::Renew => return Err(Setback::Renew),
        };
        let status = answer.response.status();
        if status.is_success() {
            place.well();
            return Ok(answer.response);
        }
        if matches!(status.as_u16(), 429 | 503) {
            place.busy();
        }
        if is_transient(status) {
            self.exchange.heed(self.host, answer.response.headers());
        }
        let (error, codes) = self.exchange.refusal_and_codes(self.host, ask, &self.to.to_string(), answer).await;
        let is_broken = codes.iter().any(|code| matches!(code.as_str(), "DIGEST_INVALID" | "SIZE_INVALID"));
        Err(match status.as_u16() {
            400 if is_broken && course.resumed && !course.spoilt => {
                course.spoilt = true;
                Setback::Gone(error)
            }
            400 if is_broken => Setback::Fatal(error),
            // The session is gone, or has bytes already.
            404 | 409 | 410 | 416 => Setback::Gone(error),
            413 if piece.is_some() => Setback::TooLarge(error),
            400 | 405 | 411 | 415 | 501 if piece.is_some() => Setback::WrongWay(error),
            _ => error.into(),
        })
    }

    fn committing(&self, session: &Url) -> Url {
        let mut url = session.clone();
        url.query_pairs_mut().append_pair("digest", self.blob.digest.as_str());
        url
    }

    pub(super) fn ask(&self, method: Method, url: Url, verb: &str) -> Ask {
        let action = format!("{verb} blob `{}`", blob_name(self.to, &self.blob.digest));
        let mut ask = Ask::new(method, url, self.rights(), action);
        ask.size = Size::Bulk;
        ask.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        ask
    }

    fn rights(&self) -> Rights {
        Rights::new(self.to.path(), Action::Push)
    }
}

fn location(host: &Host, ask: &Ask, response: &Response) -> Result<Url, RegistryError> {
    let location = text(response.headers(), LOCATION.as_str());
    let location = location.ok_or_else(|| host.protocol(&ask.action, "no `Location`"))?;
    validate_upload_location(location, response.url(), &host.origin).map_err(|source| host.detour(source))
}
