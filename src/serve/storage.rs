//! Storage: what the server keeps in its folder.
//!
//! Everything here blocks. Nothing here knows HTTP.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use tempfile::NamedTempFile;

use super::ServeError;
use super::route::{Name, is_tag};
use crate::oci::Digest;
use crate::store::{StoreError, folder};

const LAYOUT: &str = "lapstrake-registry 1\n";
const PARTS: [&str; 3] = ["blobs", "repositories", "uploads"];

/// The folder of a server.
#[derive(Debug)]
pub(super) struct Storage {
    root: PathBuf,
    durable: bool,
    synced: Mutex<BTreeSet<Digest>>,
    /// Held as long as the server runs.
    _lock: Option<File>,
}

/// A manifest as it is kept.
pub(super) struct Kept {
    pub(super) digest: Digest,
    pub(super) media_type: String,
    pub(super) size: u64,
}

/// Where a blob may be mounted from.
pub(super) enum Source {
    /// This repository; none when its name is not one.
    Named(Option<Name>),
    /// Any repository.
    Any,
}

impl Storage {
    /// Opens the folder, making it when empty or absent, and removes uploads that were cut off.
    pub(super) fn open(root: &Path, durable: bool) -> Result<Self, ServeError> {
        folder::create(root)?;
        let root = std::path::absolute(root).map_err(|error| StoreError::io("resolve", root, error))?;
        check_layout(&root)?;
        for part in PARTS {
            let path = root.join(part);
            if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_dir()) {
                return Err(ServeError::Layout { root, found: format!("{part}, which is not a folder") });
            }
        }
        let path = root.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = lock.map_err(|error| StoreError::io("open", &path, error))?;
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(ServeError::InUse { root }),
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                return Err(StoreError::io("lock", &path, error).into());
            }
            _ => {}
        }
        let storage = Self { root, durable, synced: Mutex::default(), _lock: Some(lock) };
        folder::create(&storage.uploads())?;
        let in_root = folder::names(&storage.root)?.into_iter().filter(|path| is_temporary(path));
        for remains in folder::names(&storage.uploads())?.into_iter().chain(in_root) {
            folder::remove(&remains)?;
        }
        Ok(storage)
    }

    /// Opens the folder of a registry that another process may be serving.
    pub(super) fn attach(root: &Path) -> Result<Self, ServeError> {
        if !root.join("layout").exists() {
            return Err(ServeError::Layout { root: root.to_owned(), found: "missing".to_owned() });
        }
        let root = std::path::absolute(root).map_err(|error| StoreError::io("resolve", root, error))?;
        check_layout(&root)?;
        Ok(Self { root, durable: false, synced: Mutex::default(), _lock: None })
    }

    /// Keeps what is in the folder from being pruned, until the file is dropped.
    pub(super) fn writing(&self) -> Result<File, StoreError> {
        self.locked(File::lock_shared)
    }

    /// Keeps everybody from writing what refers to something, until the file is dropped.
    pub(super) fn sweeping(&self) -> Result<File, StoreError> {
        self.locked(File::lock)
    }

    fn locked(&self, lock: fn(&File) -> io::Result<()>) -> Result<File, StoreError> {
        let path = self.root.join("sweep");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|error| StoreError::io("open", &path, error))?;
        match lock(&file) {
            Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(StoreError::io("lock", &path, error)),
            _ => Ok(file),
        }
    }

    /// A file for an upload.
    pub(super) fn upload_file(&self) -> Result<NamedTempFile, StoreError> {
        folder::temporary(&self.uploads())
    }

    /// Where content with this digest is or would be.
    pub(super) fn content(&self, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        self.root.join("blobs").join(digest.algorithm().name()).join(&hex[..2]).join(hex)
    }

    /// Opens content for reading; a link in its place is not followed.
    pub(super) fn open_content(&self, digest: &Digest) -> Result<File, StoreError> {
        let path = self.content(digest);
        self.check_way(&path)?;
        let absent = || StoreError::io("read", &path, io::Error::from(io::ErrorKind::NotFound));
        folder::open_regular(&path)?.ok_or_else(absent)
    }

    /// Refuses a path that would lead out of the folder over a link that somebody put there.
    fn check_way(&self, path: &Path) -> Result<(), StoreError> {
        let inside = path.ancestors().skip(1).take_while(|above| **above != *self.root);
        for above in inside {
            if fs::symlink_metadata(above).is_ok_and(|found| !found.is_dir()) {
                let source = io::Error::other(format!("`{}` is not a folder", above.display()));
                return Err(StoreError::Io { verb: "use", path: path.to_owned(), source });
            }
        }
        Ok(())
    }

    /// Removes what is at a path inside the folder.
    pub(super) fn remove(&self, path: &Path) -> Result<(), StoreError> {
        self.check_way(path)?;
        folder::remove(path)
    }

    /// Puts a verified upload into the repository.
    pub(super) fn put_blob(&self, name: &Name, digest: &Digest, file: NamedTempFile) -> Result<(), StoreError> {
        let path = self.content(digest);
        let size = file.as_file().metadata().map_err(|error| StoreError::io("read", &path, error))?.len();
        let _writing = self.writing()?;
        self.place(digest, file)?;
        self.link_blob(name, digest, size)
    }

    /// Puts a blob of another repository into this one; false when it is not there.
    ///
    /// Without a source it may come from any repository.
    pub(super) fn mount(&self, name: &Name, digest: &Digest, source: Source) -> Result<bool, StoreError> {
        let _writing = self.writing()?;
        let found = match (self.blob(name, digest), source) {
            (Some(size), _) => Some(size),
            (None, Source::Named(from)) => from.and_then(|from| self.blob(&from, digest)),
            (None, Source::Any) => self.blob_anywhere(digest)?,
        };
        match found {
            Some(size) => self.link_blob(name, digest, size).map(|()| true),
            None => Ok(false),
        }
    }

    /// Notes that somebody asked for the digest, since what will name it may be on its way.
    pub(super) fn touch(&self, name: &Name, digest: &Digest) {
        folder::touch_path(&self.blob_link(name, digest));
        folder::touch_path(&self.manifest_link(name, digest));
    }

    /// The size of the blob, when it is in the repository.
    pub(super) fn blob(&self, name: &Name, digest: &Digest) -> Option<u64> {
        let text = fs::read_to_string(self.blob_link(name, digest)).ok()?;
        let size: u64 = text.trim_end().parse().ok()?;
        self.has_content(digest, size).then_some(size)
    }

    fn blob_anywhere(&self, digest: &Digest) -> Result<Option<u64>, StoreError> {
        Ok(self.names()?.iter().find_map(|name| self.blob(name, digest)))
    }

    fn link_blob(&self, name: &Name, digest: &Digest, size: u64) -> Result<(), StoreError> {
        self.write(&self.blob_link(name, digest), format!("{size}\n").as_bytes(), false)
    }

    /// Takes a blob out of the repository; false when it was not there.
    pub(super) fn remove_blob(&self, name: &Name, digest: &Digest) -> Result<bool, StoreError> {
        let was_there = self.blob(name, digest).is_some();
        self.remove(&self.blob_link(name, digest))?;
        Ok(was_there)
    }

    /// Puts a manifest into the repository after the blobs it needs are safe on disk.
    pub(super) fn put_manifest(
        &self,
        name: &Name,
        kept: &Kept,
        bytes: &[u8],
        needs: &[Digest],
    ) -> Result<(), StoreError> {
        for digest in needs {
            self.sync(digest)?;
        }
        if !self.has_content(&kept.digest, kept.size) {
            let mut file = self.upload_file()?;
            let path = self.content(&kept.digest);
            let written = io::Write::write_all(&mut file, bytes);
            written.map_err(|error| StoreError::sized("write", &path, Some(kept.size), error))?;
            self.place(&kept.digest, file)?;
        }
        self.sync(&kept.digest)?;
        let link = format!("{} {}\n", kept.size, kept.media_type);
        self.write(&self.manifest_link(name, &kept.digest), link.as_bytes(), self.durable)
    }

    /// The manifest with this digest, when it is in the repository.
    pub(super) fn manifest(&self, name: &Name, digest: &Digest) -> Option<Kept> {
        let text = fs::read_to_string(self.manifest_link(name, digest)).ok()?;
        let (size, media_type) = text.trim_end().split_once(' ')?;
        let size: u64 = size.parse().ok()?;
        let kept = Kept { digest: digest.clone(), media_type: media_type.to_owned(), size };
        self.has_content(digest, size).then_some(kept)
    }

    /// Takes a manifest out of the repository, with the tags that name it; false when it was not there.
    pub(super) fn remove_manifest(&self, name: &Name, digest: &Digest) -> Result<bool, StoreError> {
        let was_there = self.manifest(name, digest).is_some();
        for tag in self.tags(name)? {
            if self.tag(name, &tag).as_ref() == Some(digest) {
                self.remove_tag(name, &tag)?;
            }
        }
        self.remove(&self.manifest_link(name, digest))?;
        Ok(was_there)
    }

    /// What a tag names.
    pub(super) fn tag(&self, name: &Name, tag: &str) -> Option<Digest> {
        let text = fs::read_to_string(self.tags_folder(name).join(tag)).ok()?;
        Digest::parse(text.trim_end()).ok()
    }

    /// Moves a tag.
    pub(super) fn put_tag(&self, name: &Name, tag: &str, digest: &Digest) -> Result<(), StoreError> {
        self.write(&self.tags_folder(name).join(tag), format!("{digest}\n").as_bytes(), self.durable)
    }

    /// Removes a tag; false when there was none.
    pub(super) fn remove_tag(&self, name: &Name, tag: &str) -> Result<bool, StoreError> {
        let was_there = self.tag(name, tag).is_some();
        self.remove(&self.tags_folder(name).join(tag))?;
        Ok(was_there)
    }

    /// All tags of the repository, in byte order.
    pub(super) fn tags(&self, name: &Name) -> Result<Vec<String>, StoreError> {
        let paths = folder::names(&self.tags_folder(name))?;
        Ok(paths
            .iter()
            .filter_map(|path| path.file_name()?.to_str())
            .filter(|tag| is_tag(tag))
            .map(str::to_owned)
            .collect())
    }

    /// Notes that a manifest refers to `subject`; `descriptor` is what the referrers API tells of it.
    pub(super) fn put_referrer(
        &self,
        name: &Name,
        subject: &Digest,
        referrer: &Digest,
        descriptor: &[u8],
    ) -> Result<(), StoreError> {
        self.write(&self.referrer_file(name, subject, referrer), descriptor, self.durable)
    }

    /// Forgets a referrer.
    pub(super) fn remove_referrer(&self, name: &Name, subject: &Digest, referrer: &Digest) -> Result<(), StoreError> {
        self.remove(&self.referrer_file(name, subject, referrer))
    }

    /// The descriptors of what refers to `subject`, in order of their digests.
    pub(super) fn referrers(&self, name: &Name, subject: &Digest) -> Result<Vec<Vec<u8>>, StoreError> {
        let paths = folder::names(&self.referrers_folder(name, subject))?;
        let is_whole =
            |path: &&PathBuf| path.file_name().is_some_and(|name| !name.as_encoded_bytes().starts_with(b"."));
        paths
            .iter()
            .filter(is_whole)
            .map(|path| fs::read(path).map_err(|error| StoreError::io("read", path, error)))
            .collect()
    }

    /// Whether anything was ever pushed to the repository.
    pub(super) fn exists(&self, name: &Name) -> bool {
        self.repository(name).is_dir()
    }

    /// The names of all repositories, in order.
    pub(super) fn names(&self) -> Result<Vec<Name>, StoreError> {
        let root = self.root.join("repositories");
        let mut found = BTreeSet::new();
        let mut todo = vec![String::new()];
        while let Some(prefix) = todo.pop() {
            for path in folder::names(&root.join(&prefix))? {
                let Some(part) = path.file_name().and_then(|part| part.to_str()) else { continue };
                // A link could lead round in circles.
                if !fs::symlink_metadata(&path).is_ok_and(|found| found.is_dir()) {
                    continue;
                }
                if part.starts_with('_') {
                    found.extend(Name::parse(&prefix));
                } else {
                    todo.push(if prefix.is_empty() { part.to_owned() } else { format!("{prefix}/{part}") });
                }
            }
        }
        Ok(found.into_iter().collect())
    }

    fn place(&self, digest: &Digest, file: NamedTempFile) -> Result<(), StoreError> {
        let path = self.content(digest);
        self.check_way(&path)?;
        self.synced.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
        folder::place(file, &path, 0o644)
    }

    /// Makes content survive a power cut, once.
    fn sync(&self, digest: &Digest) -> Result<(), StoreError> {
        let is_new = || !self.synced.lock().unwrap_or_else(PoisonError::into_inner).contains(digest);
        if self.durable && is_new() {
            let path = self.content(digest);
            let synced = File::open(&path).and_then(|file| file.sync_all());
            synced.map_err(|error| StoreError::io("sync", &path, error))?;
            folder::sync(path.parent().unwrap_or(&path))?;
            self.synced.lock().unwrap_or_else(PoisonError::into_inner).insert(digest.clone());
        }
        Ok(())
    }

    fn write(&self, path: &Path, bytes: &[u8], durable: bool) -> Result<(), StoreError> {
        self.check_way(path)?;
        let mut file = self.upload_file()?;
        let written = io::Write::write_all(&mut file, bytes)
            .and_then(|()| if durable { file.as_file().sync_all() } else { Ok(()) });
        written.map_err(|error| StoreError::sized("write", path, Some(bytes.len() as u64), error))?;
        folder::place(file, path, 0o644)?;
        if durable { folder::sync(path.parent().unwrap_or(path)) } else { Ok(()) }
    }

    fn has_content(&self, digest: &Digest, size: u64) -> bool {
        fs::symlink_metadata(self.content(digest)).is_ok_and(|found| found.is_file() && found.len() == size)
    }

    fn uploads(&self) -> PathBuf {
        self.root.join("uploads")
    }

    /// Where everything is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where the repository is or would be.
    pub(super) fn repository(&self, name: &Name) -> PathBuf {
        self.root.join("repositories").join(name.as_str())
    }

    fn blob_link(&self, name: &Name, digest: &Digest) -> PathBuf {
        self.repository(name).join("_blobs").join(digest.algorithm().name()).join(digest.hex())
    }

    fn manifest_link(&self, name: &Name, digest: &Digest) -> PathBuf {
        self.repository(name).join("_manifests").join(digest.algorithm().name()).join(digest.hex())
    }

    fn tags_folder(&self, name: &Name) -> PathBuf {
        self.repository(name).join("_tags")
    }

    /// Where the descriptors of what refers to `subject` are.
    pub(super) fn referrers_folder(&self, name: &Name, subject: &Digest) -> PathBuf {
        self.repository(name).join("_referrers").join(subject.algorithm().name()).join(subject.hex())
    }

    fn referrer_file(&self, name: &Name, subject: &Digest, referrer: &Digest) -> PathBuf {
        let file = format!("{}-{}", referrer.algorithm().name(), referrer.hex());
        self.referrers_folder(name, subject).join(file)
    }
}

fn check_layout(root: &Path) -> Result<(), ServeError> {
    let path = root.join("layout");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if folder::is_absent(&error) => String::new(),
        Err(error) => return Err(StoreError::io("read", &path, error).into()),
    };
    if text == LAYOUT {
        return Ok(());
    }
    let names = folder::names(root)?;
    let is_own = |path: &&PathBuf| {
        path.file_name().is_some_and(|name| name == "layout" || name == "lock" || name == "sweep" || is_temporary(path))
    };
    if text.is_empty() && names.iter().all(|path| is_own(&path)) {
        return Ok(folder::replace_durably(&path, LAYOUT.as_bytes())?);
    }
    let found = if text.is_empty() { "missing".to_owned() } else { text.lines().next().unwrap_or_default().to_owned() };
    Err(ServeError::Layout { root: root.to_owned(), found })
}

/// Whether a file was being written when its writer was killed.
fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".part-"))
}
