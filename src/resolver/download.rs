//! Wheels into the store: in parallel, hashed while they arrive, resumed after a cut.
//!
//! What is not the file that the lock names is never stored; nothing here opens a wheel.

use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use reqwest::StatusCode;
use reqwest::header::CONTENT_RANGE;
use tokio::sync::{Semaphore, mpsc};
use url::Url;

use super::http::{HttpClient, HttpError, shown};
use super::index::IndexCredentials;
use crate::diagnostic::Diagnose;
use crate::event::{Reporter, Task, Work};
use crate::oci::{Digest, Digester};
use crate::python::lock::LockedWheel;
use crate::store::{BlobWriter, Store, StoreError};

/// The most that a wheel of unknown size may have.
const CAP: u64 = 16 << 30;
/// Bytes after which a connection that breaks again counts as the first failure.
const PROGRESS: u64 = 1 << 20;
/// Pieces of one file that wait to be written; each has what a connection read at once, up to some hundred KiB.
const PIECES: usize = 4;
/// Files that are checked at once: each takes a thread with its buffer, and hashing is faster than any disk.
const HASHED_AT_ONCE: usize = 2;

/// How wheels are fetched.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// Files that are fetched at the same time.
    pub connections: usize,
    /// Tries of a file in all, the first one included.
    pub tries: u32,
    /// Upper bound of the wait before the second try; doubles with each.
    pub first_wait: Duration,
}

impl Default for FetchOptions {
    fn default() -> Self {
        Self { connections: 12, tries: 5, first_wait: Duration::from_millis(500) }
    }
}

/// Why a wheel is not in the store.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The bytes are not those that the lock names.
    #[error("`{file}` of `{name}` has the hash `{found}`, the lock says `{expected}`")]
    Hash {
        /// The package.
        name: String,
        /// The file.
        file: String,
        /// The lock's hash.
        expected: Digest,
        /// The bytes' hash.
        found: Digest,
    },
    /// The file is longer than the lock says.
    #[error("`{file}` of `{name}` has more than {cap} bytes")]
    TooLarge {
        /// The package.
        name: String,
        /// The file.
        file: String,
        /// The most that it may have.
        cap: u64,
    },
    /// The file is shorter than the lock says.
    #[error("`{file}` of `{name}` ends after {found} of {expected} bytes")]
    Short {
        /// The package.
        name: String,
        /// The file.
        file: String,
        /// Bytes that there are.
        found: u64,
        /// Bytes that the lock says.
        expected: u64,
    },
    /// The lock's URL cannot be used.
    #[error("`{name}` cannot be fetched from `{url}`")]
    Place {
        /// The package.
        name: String,
        /// The URL.
        url: String,
    },
    /// The server did not give the file.
    #[error("`{name}` cannot be fetched, after {tries} tries")]
    Http {
        /// The package.
        name: String,
        /// How often it was tried.
        tries: u32,
        /// The last failure.
        #[source]
        source: HttpError,
    },
    /// A file on this machine cannot be read.
    #[error("`{name}` cannot be read from `{}`", .path.display())]
    File {
        /// The package.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The store cannot take the file.
    #[error("`{name}` cannot be stored")]
    Store {
        /// The package.
        name: String,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// Writing the file failed.
    #[error("`{name}` cannot be written")]
    Write {
        /// The package.
        name: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The runtime is going down.
    #[error("fetching `{name}` was given up")]
    GivenUp {
        /// The package.
        name: String,
    },
}

impl Diagnose for FetchError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Hash { .. } | Self::TooLarge { .. } | Self::Short { .. } => {
                Some("make the lock again if the index replaced the file; otherwise do not trust this index".into())
            }
            Self::File { .. } => Some("put the file where the lock says it is, or make the lock again".into()),
            Self::Http { source, .. } => source.hint(),
            Self::Store { source, .. } => source.hint(),
            _ => None,
        }
    }
}

/// Fetches wheels into a store; clones share their connections.
#[derive(Clone)]
pub struct WheelFetcher {
    store: Store,
    client: Arc<HttpClient>,
    credentials: Arc<IndexCredentials>,
    reporter: Arc<dyn Reporter>,
    options: FetchOptions,
    running: Arc<Semaphore>,
    hashing: Arc<Semaphore>,
}

impl WheelFetcher {
    /// A fetcher into `store`.
    pub fn new(
        store: Store,
        client: Arc<HttpClient>,
        credentials: Arc<IndexCredentials>,
        reporter: Arc<dyn Reporter>,
        options: FetchOptions,
    ) -> Self {
        let running = Arc::new(Semaphore::new(options.connections.max(1)));
        let hashing = Arc::new(Semaphore::new(HASHED_AT_ONCE));
        Self { store, client, credentials, reporter, options, running, hashing }
    }

    /// Fetches all `wheels` that the store has not.
    ///
    /// # Errors
    /// Fails with the first wheel that cannot be had; what others brought is kept.
    pub async fn fetch_all(&self, wheels: &[LockedWheel]) -> Result<(), FetchError> {
        let fetch = |wheel: LockedWheel| {
            let fetcher = self.clone();
            async move { fetcher.fetch(&wheel).await }
        };
        let fetches: Vec<_> = wheels.iter().cloned().map(fetch).collect();
        stream::iter(fetches).buffer_unordered(self.options.connections.max(1)).try_collect().await
    }

    /// Fetches one wheel unless the store has it; builds that want the same wheel wait for each other.
    ///
    /// # Errors
    /// Fails when the wheel cannot be had or is not what the lock says.
    pub async fn fetch(&self, wheel: &LockedWheel) -> Result<(), FetchError> {
        if self.has(wheel).await? {
            return Ok(());
        }
        let _permit = self.running.acquire().await.map_err(|_| given_up(wheel))?;
        let (store, key) = (self.store.clone(), format!("wheel {}", wheel.sha256));
        let _claim = blocking(wheel, move || store.claim(&key)).await?.map_err(|source| stored(wheel, source))?;
        if self.has(wheel).await? {
            return Ok(());
        }
        let task = Task::start(&self.reporter, Work::Download, &wheel.filename, wheel.size);
        self.bring(wheel, &task).await
    }

    /// A page of an index of at most `cap` bytes, with the URL that answered.
    pub(super) async fn page(&self, url: &Url, accept: &'static str, cap: u64) -> Result<(Vec<u8>, Url), HttpError> {
        let response = self.client.get(url, 0, Some(accept), &self.credentials).await?;
        let base = response.url().clone();
        Ok((self.client.body(response, cap).await?, base))
    }

    /// Adds the sizes that the lock lacks: from the store, the folder, or the index; sizes decide which wheels share a layer.
    ///
    /// # Errors
    /// Fails when an index cannot be reached; one that does not tell sizes is no failure.
    pub async fn add_sizes(&self, wheels: &mut [LockedWheel]) -> Result<(), FetchError> {
        let asked = wheels.iter_mut().filter(|wheel| wheel.size.is_none()).map(|wheel| async move {
            wheel.size = self.size(wheel).await?;
            Ok(())
        });
        stream::iter(asked).buffer_unordered(self.options.connections.max(1)).try_collect().await
    }

    async fn size(&self, wheel: &LockedWheel) -> Result<Option<u64>, FetchError> {
        if let Some(size) = self.store.contains(&wheel.sha256) {
            return Ok(Some(size));
        }
        let place = || FetchError::Place { name: wheel.name.clone(), url: wheel.url.clone() };
        let url = Url::parse(&wheel.url).map_err(|_| place())?;
        if url.scheme() == "file" {
            let path = url.to_file_path().map_err(|()| place())?;
            return Ok(std::fs::metadata(path).ok().map(|found| found.len()));
        }
        let mut tries = 0;
        loop {
            tries += 1;
            match self.client.size(&url, &self.credentials).await {
                Ok(size) => return Ok(size),
                Err(error) if tries < self.options.tries && error.is_transient() => {
                    tokio::time::sleep(self.wait(tries, &error)).await;
                }
                Err(source) => return Err(FetchError::Http { name: wheel.name.clone(), tries, source }),
            }
        }
    }

    async fn has(&self, wheel: &LockedWheel) -> Result<bool, FetchError> {
        if self.store.contains(&wheel.sha256).is_none() {
            return Ok(false);
        }
        let (store, digest) = (self.store.clone(), wheel.sha256.clone());
        let _permit = self.hashing.acquire().await.map_err(|_| given_up(wheel))?;
        let found = blocking(wheel, move || store.verified(&digest)).await?;
        Ok(found.map_err(|source| stored(wheel, source))?.is_some())
    }

    async fn bring(&self, wheel: &LockedWheel, task: &Task) -> Result<(), FetchError> {
        let place = || FetchError::Place { name: wheel.name.clone(), url: wheel.url.clone() };
        let url = Url::parse(&wheel.url).map_err(|_| place())?;
        let writer = match wheel.size {
            Some(size) => self.store.writer_for(size),
            None => self.store.writer(),
        };
        let writer = writer.map_err(|source| stored(wheel, source))?;
        let (writer, found) = match url.scheme() {
            "file" => copy(wheel, url.to_file_path().map_err(|()| place())?, writer).await?,
            "http" | "https" => self.download(wheel, &url, writer, task).await?,
            _ => return Err(place()),
        };
        if let Some(expected) = wheel.size.filter(|size| *size != writer.written()) {
            let (name, file, found) = (wheel.name.clone(), wheel.filename.clone(), writer.written());
            return Err(match found > expected {
                true => FetchError::TooLarge { name, file, cap: expected },
                false => FetchError::Short { name, file, found, expected },
            });
        }
        if found != wheel.sha256 {
            let (name, file) = (wheel.name.clone(), wheel.filename.clone());
            return Err(FetchError::Hash { name, file, expected: wheel.sha256.clone(), found });
        }
        let digest = wheel.sha256.clone();
        let placed = blocking(wheel, move || writer.commit(&digest)).await?;
        placed.map(drop).map_err(|source| stored(wheel, source))
    }

    /// Streams `url` through a hashing writer on a thread of its own.
    async fn download(
        &self,
        wheel: &LockedWheel,
        url: &Url,
        writer: BlobWriter,
        task: &Task,
    ) -> Result<(BlobWriter, Digest), FetchError> {
        let (pieces, inbox) = mpsc::channel(PIECES);
        let writing = tokio::task::spawn_blocking(move || write_pieces(writer, inbox));
        let received = self.receive(wheel, url, task, pieces).await;
        let written = writing.await.map_err(|_| given_up(wheel))?;
        let written = written.map_err(|source| FetchError::Write { name: wheel.name.clone(), source });
        // A writer that failed closes the channel, which is why the bytes could not be received.
        match (received, written) {
            (_, Err(error)) | (Err(error), Ok(_)) => Err(error),
            (Ok(()), Ok(written)) => Ok(written),
        }
    }

    async fn receive(
        &self,
        wheel: &LockedWheel,
        url: &Url,
        task: &Task,
        pieces: mpsc::Sender<Bytes>,
    ) -> Result<(), FetchError> {
        let mut received = 0;
        let (mut failures, mut mark) = (0, 0);
        loop {
            let error = match self.attempt(wheel, url, task, &pieces, &mut received).await {
                // A body without length that was cut looks like one that ended.
                Ok(()) if wheel.size.is_some_and(|size| received < size) => {
                    HttpError::Cut { url: shown(url), received }
                }
                Ok(()) => return Ok(()),
                Err(FetchError::Http { source, .. }) => source,
                Err(error) => return Err(error),
            };
            if received >= mark + PROGRESS {
                failures = 0;
            }
            mark = received;
            failures += 1;
            if failures >= self.options.tries || !error.is_transient() {
                return Err(FetchError::Http { name: wheel.name.clone(), tries: failures, source: error });
            }
            tokio::time::sleep(self.wait(failures, &error)).await;
        }
    }

    /// One request: the rest of the file, handed on piece by piece.
    async fn attempt(
        &self,
        wheel: &LockedWheel,
        url: &Url,
        task: &Task,
        pieces: &mpsc::Sender<Bytes>,
        received: &mut u64,
    ) -> Result<(), FetchError> {
        let cap = wheel.size.unwrap_or(CAP);
        let http = |source| FetchError::Http { name: wheel.name.clone(), tries: 1, source };
        let too_large = || FetchError::TooLarge { name: wheel.name.clone(), file: wheel.filename.clone(), cap };
        let mut response = self.client.get(url, *received, None, &self.credentials).await.map_err(http)?;
        let start = first_byte(&response);
        if start > *received {
            return Err(http(HttpError::Cut { url: shown(url), received: *received }));
        }
        if response.content_length().is_some_and(|length| start.saturating_add(length) > cap) {
            return Err(too_large());
        }
        let mut skip = *received - start;
        while let Some(mut piece) = self.client.chunk(&mut response).await.map_err(http)? {
            let known = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
            skip -= known as u64;
            let piece = piece.split_off(known);
            if piece.is_empty() {
                continue;
            }
            let bytes = piece.len() as u64;
            if *received + bytes > cap {
                return Err(too_large());
            }
            pieces.send(piece).await.map_err(|_| given_up(wheel))?;
            *received += bytes;
            task.advance(bytes);
        }
        Ok(())
    }

    /// What the server asks for, else a jittered wait below a doubling bound of thirty seconds at most.
    fn wait(&self, failures: u32, error: &HttpError) -> Duration {
        if let HttpError::Status { wait: Some(wait), .. } = error {
            return *wait;
        }
        let doubled = self.options.first_wait.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let jitter = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), failures) % 1024;
        doubled.min(Duration::from_secs(30)).mul_f64(jitter as f64 / 1024.0)
    }
}

/// Where in the file a body begins; a server that knows no ranges sends it from the start.
fn first_byte(response: &reqwest::Response) -> u64 {
    if response.status() != StatusCode::PARTIAL_CONTENT {
        return 0;
    }
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let start = range.trim().strip_prefix("bytes ").and_then(|range| range.split('-').next());
    start.and_then(|start| start.trim().parse().ok()).unwrap_or(u64::MAX)
}

fn write_pieces(mut writer: BlobWriter, mut inbox: mpsc::Receiver<Bytes>) -> std::io::Result<(BlobWriter, Digest)> {
    let mut digester = Digester::sha256();
    while let Some(piece) = inbox.blocking_recv() {
        digester.update(&piece);
        writer.write_all(&piece)?;
    }
    Ok((writer, digester.finish()))
}

/// Copies a file of this machine; at most one byte more than the lock says is read.
async fn copy(wheel: &LockedWheel, path: PathBuf, mut writer: BlobWriter) -> Result<(BlobWriter, Digest), FetchError> {
    let cap = wheel.size.unwrap_or(CAP);
    let unreadable = {
        let (name, path) = (wheel.name.clone(), path.clone());
        move |source| FetchError::File { name, path, source }
    };
    let copied = blocking(wheel, move || {
        let mut file = std::fs::File::open(&path)?.take(cap + 1);
        let mut digester = Digester::sha256();
        let mut buffer = vec![0; 256 << 10];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok((writer, digester.finish()));
            }
            digester.update(&buffer[..read]);
            writer.write_all(&buffer[..read])?;
        }
    });
    copied.await?.map_err(unreadable)
}

async fn blocking<T: Send + 'static>(
    wheel: &LockedWheel,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, FetchError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| given_up(wheel))
}

fn given_up(wheel: &LockedWheel) -> FetchError {
    FetchError::GivenUp { name: wheel.name.clone() }
}

fn stored(wheel: &LockedWheel, source: StoreError) -> FetchError {
    FetchError::Store { name: wheel.name.clone(), source }
}
