//! Claims: one process makes an entry while the others wait for it.
//!
//! A claim says nothing about whether the entry exists; look again after taking one.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use super::{Store, StoreError, folder};
use crate::oci::Digest;

/// The right to make the entry of a key; given back when dropped, and by the kernel when the process dies.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    _file: File,
    /// Keeps a prune from removing the lock.
    _store: Store,
}

impl Store {
    /// Claims `key`, waiting for whoever has it. Blocks the thread.
    ///
    /// # Errors
    /// Fails when the lock's file cannot be made.
    pub fn claim(&self, key: &str) -> Result<Claim, StoreError> {
        let path = self.claim_path(key);
        loop {
            let file = open(&path)?;
            match file.lock() {
                // Where locks are unknown two processes may both make an entry, which is waste and no fault.
                Err(error) if error.kind() != ErrorKind::Unsupported => {
                    return Err(StoreError::io("lock", &path, error));
                }
                _ => {}
            }
            if is_current(&file, &path)? {
                return Ok(Claim { path, _file: file, _store: self.clone() });
            }
        }
    }

    /// Claims `key` when nobody has it.
    ///
    /// # Errors
    /// Fails when the lock's file cannot be made.
    pub fn try_claim(&self, key: &str) -> Result<Option<Claim>, StoreError> {
        let path = self.claim_path(key);
        loop {
            let file = open(&path)?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) if error.kind() != ErrorKind::Unsupported => {
                    return Err(StoreError::io("lock", &path, error));
                }
                _ => {}
            }
            if is_current(&file, &path)? {
                return Ok(Some(Claim { path, _file: file, _store: self.clone() }));
            }
        }
    }

    fn claim_path(&self, key: &str) -> PathBuf {
        self.inner.locks_folder().join(Digest::of(key.as_bytes()).hex())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Removed while still locked; who waits on the old file sees that it is no longer current.
        let _ = fs::remove_file(&self.path);
    }
}

fn open(path: &PathBuf) -> Result<File, StoreError> {
    let make = || OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let made = match make() {
        Err(error) if folder::is_absent(&error) => {
            folder::create(path.parent().unwrap_or(path))?;
            make()
        }
        made => made,
    };
    made.map_err(|error| StoreError::io("open", path, error))
}

/// Whether the locked file is still the one at its path.
fn is_current(file: &File, path: &PathBuf) -> Result<bool, StoreError> {
    let held = file.metadata().map_err(|error| StoreError::io("read", path, error))?;
    match fs::symlink_metadata(path) {
        Ok(found) => Ok((held.dev(), held.ino()) == (found.dev(), found.ino())),
        Err(error) if folder::is_absent(&error) => Ok(false),
        Err(error) => Err(StoreError::io("read", path, error)),
    }
}
