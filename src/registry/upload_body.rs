//! The body of an upload: streamed, in one piece or several, counted, watched for progress.
//!
//! Decides nothing about the answer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::{self, StreamExt as _};
use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderValue};
use reqwest::{Body, Request, Response};

use super::auth::{is_own, lock};
use super::contract::{BlobBody, BlobStream, blob_name};
use super::error::RegistryError;
use super::exchange::{Answer, Ask, wants_other_identity};
use super::origin::place;
use super::upload::Upload;
use crate::oci::{Descriptor, Repository};

const TICK: Duration = Duration::from_millis(100);
/// How much longer than for bytes we wait for the commit: some registries copy the whole blob then.
const COMMIT_PATIENCE: u32 = 10;

/// What an upload came to.
pub(super) enum Sent {
    /// An answer.
    Answer(Box<Answer>),
    /// The registry wants another authorization, which is there now.
    Renew,
}

/// How far an upload is, over all of its tries.
#[derive(Default)]
pub(super) struct Progress {
    /// Bytes that the session has, with those of the request under way.
    moved: AtomicU64,
    ended: AtomicBool,
    reported: AtomicU64,
}

impl Progress {
    fn start(&self, offset: u64, is_empty: bool) {
        self.moved.store(offset, Ordering::Relaxed);
        self.ended.store(is_empty, Ordering::Relaxed);
    }

    /// Reports what is new; bytes that are sent once more are not.
    fn report(&self, report: &(dyn Fn(u64) + Send + Sync)) -> u64 {
        let moved = self.moved.load(Ordering::Relaxed);
        let before = self.reported.fetch_max(moved, Ordering::Relaxed);
        if moved > before {
            report(moved - before);
        }
        moved
    }

    pub(super) fn finish(&self, size: u64, report: &(dyn Fn(u64) + Send + Sync)) {
        self.moved.store(size, Ordering::Relaxed);
        self.report(report);
    }
}

/// Bytes handed to the connection at once, so that progress is seen in steps of this size.
const PIECE: u64 = 64 * 1024;

type Broken = Arc<Mutex<Option<RegistryError>>>;

/// The bytes of one blob, read once, for one request after the other.
pub(super) struct Source(Arc<tokio::sync::Mutex<Reading>>);

struct Reading {
    what: String,
    stream: BlobStream,
    /// Read and not yet sent.
    left: Bytes,
    /// Bytes handed on, counted from the blob's beginning.
    at: u64,
    size: u64,
}

impl Source {
    /// Opens the blob's bytes from `offset` on.
    pub(super) async fn open(
        body: &BlobBody,
        to: &Repository,
        blob: &Descriptor,
        offset: u64,
    ) -> Result<Self, RegistryError> {
        let what = blob_name(to, &blob.digest);
        let stream = body.open(offset).await?;
        let reading = Reading { what, stream, left: Bytes::new(), at: offset, size: blob.size };
        Ok(Self(Arc::new(tokio::sync::Mutex::new(reading))))
    }
}

impl Reading {
    /// At most `most` more bytes. The last ones come only when there are exactly as many as the descriptor says, and
    /// the stream has found nothing wrong with them.
    async fn next(&mut self, most: u64) -> Result<Bytes, RegistryError> {
        while self.left.is_empty() {
            self.left = match self.stream.next().await {
                Some(chunk) => chunk?,
                None => return Err(self.wrong_length(0)),
            };
        }
        let most = usize::try_from(most.min(PIECE)).unwrap_or(usize::MAX).min(self.left.len());
        let piece = self.left.split_to(most);
        self.at += piece.len() as u64;
        if self.at > self.size {
            return Err(self.wrong_length(0));
        }
        if self.at == self.size {
            self.end().await?;
        }
        Ok(piece)
    }

    async fn end(&mut self) -> Result<(), RegistryError> {
        if !self.left.is_empty() {
            return Err(self.wrong_length(self.left.len()));
        }
        while let Some(chunk) = self.stream.next().await {
            match chunk?.len() {
                0 => {}
                more => return Err(self.wrong_length(more)),
            }
        }
        Ok(())
    }

    fn wrong_length(&self, more: usize) -> RegistryError {
        RegistryError::WrongLength { what: self.what.clone(), expected: self.size, actual: self.at + more as u64 }
    }
}

/// Sends a piece of the blob (source, offset, length) by one request, once; or nothing, by an empty one.
pub(super) async fn send(
    upload: &Upload<'_>,
    ask: &Ask,
    piece: Option<(&Source, u64, u64)>,
) -> Result<Sent, RegistryError> {
    let exchange = upload.exchange;
    let host = upload.host;
    let carried = exchange.authorization(host, &ask.rights).await?;
    let mut request = Request::new(ask.method.clone(), ask.url.clone());
    *request.headers_mut() = ask.headers.clone();
    let (offset, length) = piece.map_or((upload.blob.size, 0), |(_, offset, length)| (offset, length));
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
    if let Some(header) = carried.header.as_ref().filter(|_| is_own(&ask.url, &host.origin)) {
        request.headers_mut().insert(AUTHORIZATION, header.clone());
    }
    let client = exchange.transport.ready(&request, ask.size)?;
    let broken = Broken::default();
    upload.progress.start(offset, length == 0);
    *request.body_mut() = match piece {
        Some((source, offset, length)) if length > 0 => {
            Some(Body::wrap_stream(counted(upload, source, (offset, length), broken.clone())))
        }
        Some((source, ..)) => {
            source.0.lock().await.end().await?;
            Some(Body::from(Bytes::new()))
        }
        None => Some(Body::from(Bytes::new())),
    };
    let response = match watched(upload, ask, client.execute(request)).await {
        Ok(response) => response,
        Err(error) => return Err(lock(&broken).take().unwrap_or(error)),
    };
    host.manners.recognise(response.headers());
    if wants_other_identity(&response, host) {
        host.auth.refused(&ask.rights, &carried, response.headers()).await?;
        exchange.drain(response, &ask.action).await;
        return Ok(Sent::Renew);
    }
    Ok(Sent::Answer(Box::new(Answer { response, carried, tries: 1, place: None })))
}

/// Waits for the answer as long as bytes move.
async fn watched(
    upload: &Upload<'_>,
    ask: &Ask,
    sending: impl Future<Output = Result<Response, reqwest::Error>>,
) -> Result<Response, RegistryError> {
    let patience = upload.exchange.transport.patience;
    let mut sending = std::pin::pin!(sending);
    let mut last = (0, Instant::now());
    loop {
        match tokio::time::timeout(TICK.min(patience), &mut sending).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(error)) => return Err(upload.exchange.transport.failed(error, &ask.url, &ask.action)),
            Err(_) => {}
        }
        let moved = upload.progress.report(upload.report);
        if moved != last.0 {
            last = (moved, Instant::now());
        }
        let ended = upload.progress.ended.load(Ordering::Relaxed);
        let limit = if ended { patience * COMMIT_PATIENCE } else { patience };
        if last.1.elapsed() > limit {
            return Err(upload.exchange.transport.stalled(place(&ask.url), &ask.action));
        }
    }
}

/// The bytes of a piece (offset, length), counted; exactly as many, or an error.
fn counted(
    upload: &Upload<'_>,
    source: &Source,
    (offset, length): (u64, u64),
    broken: Broken,
) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let (progress, reading) = (upload.progress.clone(), Arc::clone(&source.0));
    let end = offset + length;
    stream::unfold(Some(offset), move |at| {
        let (progress, broken, reading) = (progress.clone(), broken.clone(), Arc::clone(&reading));
        async move {
            let at = at.filter(|at| *at < end)?;
            let mut reading = reading.lock().await;
            // Bytes that an earlier request took without having sent them are lost to this one.
            let read = if reading.at == at { reading.next(end - at).await } else { Err(reading.wrong_length(0)) };
            match read {
                Ok(bytes) => {
                    let at = at + bytes.len() as u64;
                    progress.moved.store(at, Ordering::Relaxed);
                    progress.ended.store(at == end, Ordering::Relaxed);
                    Some((Ok(bytes), Some(at)))
                }
                Err(error) => {
                    *lock(&broken) = Some(error);
                    Some((Err(std::io::Error::other("the source of the upload failed")), None))
                }
            }
        }
    })
}
