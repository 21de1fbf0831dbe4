//! The body of an upload: streamed, counted, watched for progress.
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
use super::contract::{BlobStream, blob_name};
use super::error::RegistryError;
use super::exchange::{Answer, Ask, wants_other_identity};
use super::origin::place;
use super::push::Upload;

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
    /// Bytes of the try under way.
    moved: AtomicU64,
    ended: AtomicBool,
    reported: AtomicU64,
}

impl Progress {
    fn start(&self) {
        self.moved.store(0, Ordering::Relaxed);
        self.ended.store(false, Ordering::Relaxed);
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

type Broken = Arc<Mutex<Option<RegistryError>>>;

/// Sends the blob by one request, once.
pub(super) async fn send(upload: &Upload<'_>, ask: &Ask) -> Result<Sent, RegistryError> {
    let exchange = upload.exchange;
    let host = upload.host;
    let carried = exchange.authorization(host, &ask.rights).await?;
    let mut request = Request::new(ask.method.clone(), ask.url.clone());
    *request.headers_mut() = ask.headers.clone();
    request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(upload.blob.size));
    if let Some(header) = carried.header.as_ref().filter(|_| is_own(&ask.url, &host.origin)) {
        request.headers_mut().insert(AUTHORIZATION, header.clone());
    }
    let client = exchange.transport.ready(&request, ask.size)?;
    let broken = Broken::default();
    upload.progress.start();
    let bytes = counted(upload, upload.body.open(0).await?, broken.clone());
    *request.body_mut() = Some(Body::wrap_stream(bytes));
    let response = match watched(upload, ask, client.execute(request)).await {
        Ok(response) => response,
        Err(error) => return Err(lock(&broken).take().unwrap_or(error)),
    };
    if wants_other_identity(&response, host) {
        host.auth.refused(&ask.rights, &carried, response.headers()).await?;
        exchange.drain(response, &ask.action).await;
        return Ok(Sent::Renew);
    }
    Ok(Sent::Answer(Box::new(Answer { response, carried, tries: 1 })))
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

/// The bytes of the body, counted; exactly as many as the descriptor says, or an error.
fn counted(
    upload: &Upload<'_>,
    bytes: BlobStream,
    broken: Broken,
) -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let what = blob_name(upload.to, &upload.blob.digest);
    let expected = upload.blob.size;
    let progress = upload.progress.clone();
    let start = (bytes, 0_u64, false);
    stream::unfold(start, move |(mut bytes, mut total, failed)| {
        let (what, progress, broken) = (what.clone(), progress.clone(), broken.clone());
        async move {
            if failed {
                return None;
            }
            let error = match bytes.next().await {
                None if total == expected => {
                    progress.ended.store(true, Ordering::Relaxed);
                    return None;
                }
                Some(Ok(chunk)) if total + chunk.len() as u64 <= expected => {
                    total += chunk.len() as u64;
                    progress.moved.store(total, Ordering::Relaxed);
                    return Some((Ok(chunk), (bytes, total, false)));
                }
                Some(Ok(chunk)) => RegistryError::WrongLength { what, expected, actual: total + chunk.len() as u64 },
                None => RegistryError::WrongLength { what, expected, actual: total },
                Some(Err(error)) => error,
            };
            *lock(&broken) = Some(error);
            Some((Err(std::io::Error::other("the source of the upload failed")), (bytes, total, true)))
        }
    })
}
