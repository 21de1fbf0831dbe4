//! Upload sessions: bodies that arrive in one or many requests.
//!
//! Sessions live in memory and their bytes in the server's folder; a restart forgets both, as
//! distribution-spec allows. This module does not know what repository the bytes are for, beyond
//! keeping the sessions of different ones apart.

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::{Bytes, Incoming};
use hyper::header::RETRY_AFTER;
use tempfile::NamedTempFile;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::answer::{Code, Refusal};
use super::body;
use super::route::Name;
use super::storage::Storage;
use crate::oci::{Algorithm, Digest, Digester};
use crate::store::StoreError;

/// Bytes gathered before they are written.
const GATHER: usize = 512 * 1024;
/// How long a session is kept that nobody uses.
const UNUSED: Duration = Duration::from_secs(60 * 60);
/// How long, when nothing was sent to it: a mount that was not possible opens one that its asker may not want.
const UNUSED_EMPTY: Duration = Duration::from_secs(5 * 60);
/// When to ask again for a session, in seconds.
const LATER: u64 = 60;
/// Sessions kept at once; each may hold a file open.
const LIMIT: usize = 512;

/// The open sessions.
#[derive(Default)]
pub(super) struct Uploads(Mutex<Sessions>);

#[derive(Default)]
struct Sessions {
    opened: u64,
    random: RandomState,
    open: BTreeMap<String, Session>,
}

struct Session {
    of: Name,
    used: Instant,
    upload: Arc<AsyncMutex<Upload>>,
}

/// The bytes of one session so far.
pub(super) struct Upload {
    storage: Arc<Storage>,
    file: Option<NamedTempFile>,
    algorithm: Algorithm,
    digester: Option<Digester>,
    size: u64,
}

/// Exclusive use of one session.
pub(super) type Held = OwnedMutexGuard<Upload>;

impl Uploads {
    /// Opens a session that expects a digest of `algorithm`; another one costs a second reading.
    ///
    /// Sessions that nobody used for long make room; when that is not enough, no more are opened.
    pub(super) fn open(&self, storage: &Arc<Storage>, name: &Name, algorithm: Algorithm) -> Result<String, Refusal> {
        self.open_at(storage, name, algorithm, Instant::now())
    }

    fn open_at(
        &self,
        storage: &Arc<Storage>,
        name: &Name,
        algorithm: Algorithm,
        now: Instant,
    ) -> Result<String, Refusal> {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        sessions.open.retain(|_, session| !session.is_abandoned(now));
        if sessions.open.len() >= LIMIT {
            let seconds = LATER.to_string();
            return Err(Code::TooMany.refuse(format!("{LIMIT} uploads are open already")).with(RETRY_AFTER, seconds));
        }
        sessions.opened += 1;
        let mut hasher = sessions.random.build_hasher();
        hasher.write_u64(sessions.opened);
        let id = format!("{:010x}-{:016x}", sessions.opened, hasher.finish());
        let upload = Arc::new(AsyncMutex::new(Upload::new(Arc::clone(storage), algorithm)));
        sessions.open.insert(id.clone(), Session { of: name.clone(), used: now, upload });
        Ok(id)
    }

    /// Waits for exclusive use of the session.
    pub(super) async fn hold(&self, name: &Name, id: &str) -> Result<Held, Refusal> {
        let found = {
            let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            sessions.open.get_mut(id).filter(|session| session.of == *name).map(|session| {
                session.used = Instant::now();
                Arc::clone(&session.upload)
            })
        };
        let unknown = || Code::UploadUnknown.refuse(format!("upload `{id}` is not known"));
        let held = found.ok_or_else(unknown)?.lock_owned().await;
        // Whoever had it before may have ended it.
        let is_open = self.0.lock().unwrap_or_else(PoisonError::into_inner).open.contains_key(id);
        if is_open { Ok(held) } else { Err(unknown()) }
    }

    /// Ends the session.
    pub(super) fn close(&self, id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).open.remove(id);
    }
}

impl Session {
    fn is_abandoned(&self, now: Instant) -> bool {
        // A session in use is held by the exchange that uses it, too.
        let Ok(upload) = self.upload.try_lock() else { return false };
        let patience = if upload.size == 0 { UNUSED_EMPTY } else { UNUSED };
        Arc::strong_count(&self.upload) == 1 && self.used + patience <= now
    }
}

impl Upload {
    pub(super) fn new(storage: Arc<Storage>, algorithm: Algorithm) -> Self {
        Self { storage, file: None, algorithm, digester: None, size: 0 }
    }

    /// The bytes received.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Appends bytes. After a fault the upload is empty again, since nobody knows how much of them was written.
    fn write(&mut self, chunks: &[Bytes]) -> Result<(), StoreError> {
        let appended = self.append(chunks);
        if appended.is_err() {
            (self.file, self.digester, self.size) = (None, None, 0);
        }
        appended
    }

    fn append(&mut self, chunks: &[Bytes]) -> Result<(), StoreError> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(self.storage.upload_file()?),
        };
        let digester = self.digester.get_or_insert_with(|| Digester::new(self.algorithm));
        for chunk in chunks {
            digester.update(chunk);
            let need = Some(self.size + chunk.len() as u64);
            let written = file.as_file_mut().write_all(chunk);
            written.map_err(|error| StoreError::sized("write", file.path(), need, error))?;
            self.size += chunk.len() as u64;
        }
        Ok(())
    }

    /// Checks the digest and puts the bytes into the repository.
    fn commit(&mut self, name: &Name, digest: &Digest) -> Result<(), Refusal> {
        self.write(&[])?;
        let Some((mut file, digester)) = self.file.take().zip(self.digester.take()) else {
            return Err(Code::UploadUnknown.refuse("the upload has ended"));
        };
        let found = if digest.algorithm() == self.algorithm {
            digester.finish()
        } else {
            rehash(&mut file, digest.algorithm())?
        };
        if found != *digest {
            return Err(Code::DigestInvalid.refuse(format!("expected `{digest}`, received `{found}`")));
        }
        Ok(self.storage.put_blob(name, digest, file)?)
    }
}

/// Takes a request's body into the session.
///
/// What arrived before a fault stays in the session, so that its sender can ask for the range and go on.
pub(super) async fn receive(held: Held, mut body: Incoming, silence: Duration) -> Result<Held, Refusal> {
    let mut held = Turn::Idle(held);
    let mut chunks = Vec::new();
    let mut gathered = 0;
    let outcome = loop {
        let chunk = match body::next(&mut body, silence).await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => break Ok(()),
            Err(refusal) => break Err(refusal),
        };
        gathered += chunk.len();
        chunks.push(chunk);
        if gathered >= GATHER {
            held = Turn::Busy(held.write(std::mem::take(&mut chunks)).await?);
            gathered = 0;
        }
    };
    let held = Turn::Busy(held.write(chunks).await?).idle().await?;
    outcome.map(|()| held)
}

/// Checks the digest and puts the session's bytes into the repository.
pub(super) async fn commit(mut held: Held, name: Name, digest: Digest) -> Result<(), Refusal> {
    let task = spawn_blocking(move || held.commit(&name, &digest));
    task.await.unwrap_or_else(|_| Err(Code::UploadInvalid.refuse("the upload was interrupted")))
}

type Writing = JoinHandle<Result<Held, StoreError>>;

/// The session while its body arrives: the next bytes are received as the last are written.
enum Turn {
    Idle(Held),
    Busy(Writing),
}

impl Turn {
    async fn idle(self) -> Result<Held, Refusal> {
        match self {
            Self::Idle(held) => Ok(held),
            Self::Busy(task) => {
                let ended = task.await.map_err(|_| Code::UploadInvalid.refuse("the upload was interrupted"))?;
                Ok(ended?)
            }
        }
    }

    async fn write(self, chunks: Vec<Bytes>) -> Result<Writing, Refusal> {
        let mut held = self.idle().await?;
        Ok(spawn_blocking(move || held.write(&chunks).map(|()| held)))
    }
}

fn rehash(file: &mut NamedTempFile, algorithm: Algorithm) -> Result<Digest, StoreError> {
    let path = file.path().to_owned();
    let mut digester = Digester::new(algorithm);
    let mut buffer = vec![0; GATHER];
    let file = file.as_file_mut();
    let mut read = || {
        file.seek(SeekFrom::Start(0))?;
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                count => digester.update(&buffer[..count]),
            }
        }
    };
    read().map_err(|error| StoreError::io("read", &path, error))?;
    Ok(digester.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sessions_that_nobody_uses_make_room() {
        let folder = tempfile::tempdir().unwrap();
        let storage = Arc::new(Storage::open(folder.path(), false).unwrap());
        let name = Name::parse("a").unwrap();
        let uploads = Uploads::default();
        let start = Instant::now();
        let open = |after: Duration| uploads.open_at(&storage, &name, Algorithm::Sha256, start + after);
        let now = Duration::ZERO;
        let (empty, begun, held) = (open(now).unwrap(), open(now).unwrap(), open(now).unwrap());
        uploads.hold(&name, &begun).await.unwrap().write(&[Bytes::from_static(b"x")]).unwrap();
        let in_use = uploads.hold(&name, &held).await.unwrap();
        for _ in 3..LIMIT {
            open(now).unwrap();
        }
        assert!(open(now).is_err());
        open(UNUSED_EMPTY).unwrap();
        assert!(uploads.hold(&name, &empty).await.is_err());
        assert!(uploads.hold(&name, &begun).await.is_ok(), "what has bytes is kept for longer");
        open(2 * UNUSED).unwrap();
        assert!(uploads.hold(&name, &begun).await.is_err());
        drop(in_use);
        assert!(uploads.hold(&name, &held).await.is_ok(), "what is in use is kept");
    }
}
