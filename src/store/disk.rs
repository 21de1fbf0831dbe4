//! The store as a folder: its layout, its version and who uses it.
//!
//! ```text
//! layout                                 `lapstrake-store 1`
//! users                                  locked by every process that has the store open
//! blobs/<algorithm>/<aa>/<hex>           one file a blob, named by its digest
//! records/<kind>/<aa>/<hash of key>      small checksummed values
//! locks/<hash of key>                    who is making what
//! tmp/                                   files being written, and scratch folders
//! ```
//! The modification time of an entry is the time of its last use. This module does not read entries.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;

use super::{StoreError, folder};
use crate::oci::Digest;

const LAYOUT: u32 = 1;
const LAYOUT_NAME: &str = "lapstrake-store ";
const OWN_NAMES: [&str; 6] = ["layout", "users", "blobs", "records", "locks", "tmp"];

/// A content-addressed store in a folder, shared by threads and processes. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) root: PathBuf,
    users: File,
    pub(super) verified: Mutex<BTreeMap<Digest, Stamp>>,
    /// Removed when the last clone is dropped.
    _scratch: Option<TempDir>,
}

/// Which file was verified: device, inode, size in bytes.
pub(super) type Stamp = (u64, u64, u64);

impl Store {
    /// Opens the store in `root`, making it when the folder is empty or absent.
    ///
    /// Waits while another process prunes. Remains of killed processes are removed when nobody else is there.
    ///
    /// # Errors
    /// Fails when the folder cannot be written, holds something else, or is of a later version.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        Self::open_in(root, None)
    }

    /// A store that lives as long as its last clone, for when the usual one cannot be had.
    ///
    /// # Errors
    /// Fails when `parent` cannot be written.
    pub fn temporary(parent: &Path) -> Result<Self, StoreError> {
        let scratch = tempfile::Builder::new().prefix("lapstrake-").tempdir_in(parent);
        let scratch = scratch.map_err(|error| StoreError::io("write in", parent, error))?;
        let root = scratch.path().join("store");
        Self::open_in(&root, Some(scratch))
    }

    fn open_in(root: &Path, scratch: Option<TempDir>) -> Result<Self, StoreError> {
        folder::create(root)?;
        let root = std::path::absolute(root).map_err(|error| StoreError::io("resolve", root, error))?;
        check_layout(&root)?;
        folder::create(&root.join("tmp"))?;
        let path = root.join("users");
        let users = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let users = users.map_err(|error| StoreError::io("open", &path, error))?;
        let inner = Inner { root, users, verified: Mutex::default(), _scratch: scratch };
        if inner.try_alone()? {
            inner.clear_scratch()?;
        }
        inner.share()?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The folder, absolute.
    pub fn root(&self) -> &Path {
        &self.inner.root
    }

    /// A new folder on the store's file system, removed when dropped.
    ///
    /// # Errors
    /// Fails when the store cannot be written.
    pub fn scratch(&self) -> Result<TempDir, StoreError> {
        let parent = self.inner.temporary_folder();
        let made = tempfile::Builder::new().prefix(".scratch-").tempdir_in(&parent);
        made.map_err(|error| StoreError::io("write in", &parent, error))
    }
}

impl Inner {
    pub(super) fn temporary_folder(&self) -> PathBuf {
        self.root.join("tmp")
    }

    pub(super) fn locks_folder(&self) -> PathBuf {
        self.root.join("locks")
    }

    /// Tries to have the store alone; when that fails no lock is held.
    pub(super) fn try_alone(&self) -> Result<bool, StoreError> {
        match self.users.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            // Some network file systems know no locks: then nobody is ever known to be alone.
            Err(TryLockError::Error(error)) if error.kind() == std::io::ErrorKind::Unsupported => Ok(false),
            Err(TryLockError::Error(error)) => Err(StoreError::io("lock", &self.root.join("users"), error)),
        }
    }

    /// Holds the store as one of its users, waiting for a prune to end.
    pub(super) fn share(&self) -> Result<(), StoreError> {
        match self.users.lock_shared() {
            Err(error) if error.kind() != std::io::ErrorKind::Unsupported => {
                Err(StoreError::io("lock", &self.root.join("users"), error))
            }
            _ => Ok(()),
        }
    }

    /// Removes what is being written; only for who has the store alone.
    pub(super) fn clear_scratch(&self) -> Result<(), StoreError> {
        for path in folder::names(&self.temporary_folder())? {
            folder::remove(&path)?;
        }
        Ok(())
    }
}

fn check_layout(root: &Path) -> Result<(), StoreError> {
    let path = root.join("layout");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if folder::is_absent(&error) => String::new(),
        Err(error) => return Err(StoreError::io("read", &path, error)),
    };
    let foreign = |found: String| StoreError::Foreign { path: root.to_owned(), found };
    if text.trim().is_empty() {
        // New, or its first write was cut short. Entries prove themselves, so nothing is lost by going on.
        let is_foreign = |name: &str| !OWN_NAMES.contains(&name) && !name.starts_with(".part-");
        let names = folder::names(root)?;
        let mut names = names.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy());
        if let Some(name) = names.find(|name| is_foreign(name)) {
            return Err(foreign(name.into_owned()));
        }
        return folder::replace_durably(&path, format!("{LAYOUT_NAME}{LAYOUT}\n").as_bytes());
    }
    match text.trim().strip_prefix(LAYOUT_NAME).and_then(|version| version.parse().ok()) {
        Some(LAYOUT) => Ok(()),
        Some(found) => Err(StoreError::Newer { path: root.to_owned(), found, known: LAYOUT }),
        None => Err(foreign("a `layout` file of something else".to_owned())),
    }
}
