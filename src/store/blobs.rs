//! Blobs: bytes under the name of their digest.
//!
//! Whoever writes a blob has hashed it; whoever reads one gets bytes that were hashed in this process.
//! This module does not decide how long a blob is kept.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use tempfile::NamedTempFile;

use super::disk::Stamp;
use super::error::is_full;
use super::{Store, StoreError, folder};
use crate::oci::{Digest, Digester};

const BUFFER: usize = 256 * 1024;
/// Smaller files are not worth a reservation of their space.
const RESERVE_FROM: u64 = 1024 * 1024;

/// A blob being written; it is gone when dropped without a commit.
#[derive(Debug)]
pub struct BlobWriter {
    store: Store,
    file: NamedTempFile,
    written: u64,
    need: Option<u64>,
}

/// A blob whose bytes were hashed in this process and match its digest.
#[derive(Debug)]
pub struct VerifiedFile {
    file: File,
    size: u64,
}

impl Store {
    /// The size in bytes of the blob, when it is there.
    ///
    /// This only asks for its name: the bytes may be damaged, which is found when they are read. It counts as a use.
    pub fn contains(&self, digest: &Digest) -> Option<u64> {
        let path = self.path(digest);
        let found = fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
        folder::touch_path(&path);
        Some(found.len())
    }

    /// Where the blob is or would be. Prefer [`Store::verified`], which says whether it is whole.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.inner.root.join("blobs").join(digest.algorithm().name()).join(&hex[..2]).join(hex)
    }

    /// The path of the blob after hashing it, once in a process; `None` when absent or damaged.
    ///
    /// # Errors
    /// Fails when the file is there and cannot be read.
    pub fn verified(&self, digest: &Digest) -> Result<Option<PathBuf>, StoreError> {
        Ok(self.open_blob(digest)?.map(|_| self.path(digest)))
    }

    /// Opens the blob after hashing it, once in a process; `None` when absent or damaged.
    ///
    /// A damaged blob, and a link or folder in its place, is removed.
    ///
    /// # Errors
    /// Fails when the file is there and cannot be read.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<VerifiedFile>, StoreError> {
        let path = self.path(digest);
        let Some(mut file) = folder::open_regular(&path)? else {
            folder::remove(&path)?;
            return Ok(None);
        };
        folder::touch(&file);
        let stamp = stamp(&file, &path)?;
        if self.verified_before(digest) == Some(stamp) {
            return Ok(Some(VerifiedFile { file, size: stamp.2 }));
        }
        if hash(&mut file, digest, &path)? != *digest {
            folder::remove(&path)?;
            return Ok(None);
        }
        file.seek(SeekFrom::Start(0)).map_err(|error| StoreError::io("read", &path, error))?;
        self.remember(digest, stamp);
        Ok(Some(VerifiedFile { file, size: stamp.2 }))
    }

    /// The bytes of a small blob; `None` when absent or damaged.
    ///
    /// # Errors
    /// Fails when the blob has more than `cap` bytes or cannot be read.
    pub fn read(&self, digest: &Digest, cap: u64) -> Result<Option<Vec<u8>>, StoreError> {
        if let Some(size) = self.contains(digest).filter(|size| *size > cap) {
            return Err(StoreError::TooLarge { digest: digest.clone(), size, cap });
        }
        let Some(mut blob) = self.open_blob(digest)? else { return Ok(None) };
        let mut bytes = Vec::new();
        blob.read_to_end(&mut bytes).map_err(|error| StoreError::io("read", &self.path(digest), error))?;
        Ok(Some(bytes))
    }

    /// Puts bytes under their SHA-256 digest.
    ///
    /// # Errors
    /// Fails when they cannot be written.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest, StoreError> {
        let digest = Digest::of(bytes);
        if self.contains(&digest) == Some(bytes.len() as u64) && self.open_blob(&digest)?.is_some() {
            return Ok(digest);
        }
        let mut writer = self.writer_for(bytes.len() as u64)?;
        let path = self.path(&digest);
        let need = Some(bytes.len() as u64);
        writer.file.write_all(bytes).map_err(|error| StoreError::sized("write", &path, need, error))?;
        writer.commit(&digest)?;
        Ok(digest)
    }

    /// Starts a blob of unknown size.
    ///
    /// # Errors
    /// Fails when the store cannot be written.
    pub fn writer(&self) -> Result<BlobWriter, StoreError> {
        let file = folder::temporary(&self.inner.temporary_folder())?;
        Ok(BlobWriter { store: self.clone(), file, written: 0, need: None })
    }

    /// Starts a blob of `need` bytes, reserving the space where the file system can.
    ///
    /// # Errors
    /// Fails when the store cannot be written or has no room; the error says how much it takes.
    pub fn writer_for(&self, need: u64) -> Result<BlobWriter, StoreError> {
        let mut writer = self.writer()?;
        writer.need = Some(need);
        if need >= RESERVE_FROM {
            let keep = rustix::fs::FallocateFlags::KEEP_SIZE;
            let reserved = rustix::fs::fallocate(writer.file.as_file(), keep, 0, need).map_err(io::Error::from);
            if let Err(error) = reserved
                && is_full(&error)
            {
                return Err(StoreError::Full { path: self.inner.root.clone(), need: Some(need) });
            }
        }
        Ok(writer)
    }

    pub(super) fn forget_verified(&self) {
        self.inner.verified.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn verified_before(&self, digest: &Digest) -> Option<Stamp> {
        self.inner.verified.lock().unwrap_or_else(PoisonError::into_inner).get(digest).copied()
    }

    fn remember(&self, digest: &Digest, stamp: Stamp) {
        self.inner.verified.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.clone(), stamp);
    }
}

impl BlobWriter {
    /// Gives the bytes their name. The caller has hashed them while they passed by.
    ///
    /// # Errors
    /// Fails when the file cannot be put in its place.
    pub fn commit(self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let path = self.store.path(digest);
        let stamp = stamp(self.file.as_file(), &path)?;
        folder::place_in_store(self.file, &path, 0o644)?;
        self.store.remember(digest, stamp);
        Ok(path)
    }

    /// The bytes written so far.
    pub fn written(&self) -> u64 {
        self.written
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.file.write(bytes).map_err(|error| {
            if is_full(&error) {
                let need = self.need.or(Some(self.written + bytes.len() as u64));
                let full = StoreError::Full { path: self.store.inner.root.clone(), need };
                io::Error::new(io::ErrorKind::StorageFull, full)
            } else {
                error
            }
        })?;
        self.written += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl VerifiedFile {
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The file, open for reading at its start.
    pub fn into_file(self) -> File {
        self.file
    }
}

impl Read for VerifiedFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read(buffer)
    }
}

impl Seek for VerifiedFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// Hashes what is left of `file` with the algorithm of `expected`.
pub(super) fn hash(file: &mut File, expected: &Digest, path: &Path) -> Result<Digest, StoreError> {
    let mut digester = Digester::new(expected.algorithm());
    let mut buffer = vec![0; BUFFER];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digester.finish()),
            Ok(count) => digester.update(&buffer[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(StoreError::io("read", path, error)),
        }
    }
}

fn stamp(file: &File, path: &Path) -> Result<Stamp, StoreError> {
    let found = file.metadata().map_err(|error| StoreError::io("read", path, error))?;
    Ok((found.dev(), found.ino(), found.len()))
}
