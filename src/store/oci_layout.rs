//! OCI layouts: `oci:DIR[:tag]` as an output and as a source (image-spec, image-layout.md).
//!
//! Images that are in the folder already stay there; only the entry of the same tag is replaced. What
//! nobody refers to any more is left for whoever owns the folder.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::blobs::hash;
use super::sink::{LAYOUT, REF_NAME, blob_path, copy, needs};
use super::{BlobSlice, ImageSink, SinkError, StoreError, folder};
use crate::oci::media_type::OCI_INDEX;
use crate::oci::{Descriptor, Digest, Document, MANIFEST_CAP};

/// A folder in OCI's image layout; clones write to the same one.
#[derive(Clone, Debug)]
pub struct OciLayout {
    root: PathBuf,
    tag: Option<String>,
    /// The `oci-layout` file, locked while the layout is in use.
    lock: Arc<File>,
}

impl OciLayout {
    /// Opens or makes the layout in `root`, to write an image under `tag` or under none.
    ///
    /// # Errors
    /// Fails when the folder holds something else or cannot be written.
    pub fn create(root: &Path, tag: Option<&str>) -> Result<Self, SinkError> {
        folder::create(root)?;
        let path = root.join("oci-layout");
        let other = folder::names(root)?.into_iter().find(|path| !is_part(path));
        if let Some(other) = other.filter(|_| !path.exists()) {
            let name = other.file_name().unwrap_or_default().to_string_lossy().into_owned();
            return Err(SinkError::Foreign { path: root.to_owned(), found: format!("it holds `{name}`") });
        }
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
        let file = file.map_err(|error| StoreError::io("write", &path, error))?;
        let locked = file.try_lock();
        // Made in its place and not renamed over another one, so that all writers lock the same file.
        if !matches!(locked, Err(TryLockError::WouldBlock)) {
            begin(&file).map_err(|error| StoreError::sized("write", &path, Some(LAYOUT.len() as u64), error))?;
        }
        if locked.is_ok() {
            // Nobody else writes: what is left of writers that were killed can go.
            for part in folder::names(root)?.iter().filter(|path| is_part(path)) {
                folder::remove(part)?;
            }
        }
        // Waits for who is at the lines above; where locks are unknown, writers had better come one at a time.
        let _ = file.lock_shared();
        Ok(Self { tag: tag.map(str::to_owned), lock: Arc::new(file), ..Self::open(root)? })
    }

    /// Opens the layout in `root` to read from it.
    ///
    /// # Errors
    /// Fails when the folder is not a layout of version 1.
    pub fn open(root: &Path) -> Result<Self, SinkError> {
        let foreign = |found: &str| SinkError::Foreign { path: root.to_owned(), found: found.to_owned() };
        let path = root.join("oci-layout");
        let lock = folder::open_regular(&path)?.ok_or_else(|| foreign("it has no `oci-layout` file"))?;
        let mut text = Vec::new();
        (&lock).take(4096).read_to_end(&mut text).map_err(|error| StoreError::io("read", &path, error))?;
        let version = serde_json::from_slice::<Value>(&text).unwrap_or_default();
        if !version["imageLayoutVersion"].as_str().is_some_and(|version| version.starts_with("1.")) {
            return Err(foreign("its `oci-layout` file does not name version 1"));
        }
        Ok(Self { root: root.to_owned(), tag: None, lock: Arc::new(lock) })
    }

    /// The descriptors in the layout's index, in their order.
    ///
    /// # Errors
    /// Fails when the index is damaged.
    pub fn entries(&self) -> Result<Vec<Descriptor>, SinkError> {
        let index = self.index()?;
        serde_json::from_value(index["manifests"].clone()).map_err(|source| self.bad_index(source))
    }

    /// The descriptor of the image under `tag`, or of the only image when `tag` is none.
    ///
    /// # Errors
    /// Fails when there is no such image; the error lists the tags.
    pub fn select(&self, tag: Option<&str>) -> Result<Descriptor, SinkError> {
        let entries = self.entries()?;
        let name = |entry: &Descriptor| entry.annotations.get(REF_NAME).cloned();
        let mut fitting = entries.iter().filter(|entry| tag.is_none() || name(entry).as_deref() == tag);
        match (fitting.next(), fitting.next()) {
            (Some(one), None) => Ok(one.clone()),
            _ => Err(SinkError::Choice {
                path: self.root.clone(),
                wanted: tag.map(str::to_owned),
                known: entries.iter().filter_map(name).collect(),
            }),
        }
    }

    /// The manifest or index that a descriptor points at, checked.
    ///
    /// # Errors
    /// Fails when it is missing, damaged or too large.
    pub fn document(&self, at: &Descriptor) -> Result<Document, SinkError> {
        if at.size > MANIFEST_CAP as u64 {
            let cap = MANIFEST_CAP as u64;
            return Err(StoreError::TooLarge { digest: at.digest.clone(), size: at.size, cap }.into());
        }
        let mut bytes = Vec::new();
        let content = |source| SinkError::Content { digest: at.digest.clone(), source };
        self.open_blob(at)?.read_to_end(&mut bytes).map_err(content)?;
        let read = Document::read(Some(at.media_type.as_str()), bytes, Some(&at.digest));
        read.map_err(|source| SinkError::Document { path: self.root.clone(), source })
    }

    /// Opens a blob after hashing it.
    ///
    /// # Errors
    /// Fails when it is missing or damaged.
    pub fn open_blob(&self, at: &Descriptor) -> Result<File, SinkError> {
        let path = self.root.join(blob_path(&at.digest));
        let missing = || SinkError::Incomplete { path: self.root.clone(), digest: at.digest.clone() };
        let mut file = folder::open_regular(&path)?.ok_or_else(missing)?;
        let found = file.metadata().map_err(|error| StoreError::io("read", &path, error))?.len();
        if found != at.size {
            return Err(SinkError::Size { digest: at.digest.clone(), expected: at.size, found });
        }
        let found = hash(&mut file, &at.digest, &path)?;
        if found != at.digest {
            return Err(SinkError::Mismatch { expected: at.digest.clone(), found });
        }
        io::Seek::rewind(&mut file).map_err(|error| StoreError::io("read", &path, error))?;
        Ok(file)
    }

    /// The manifest or index with this digest, checked; `None` when the layout does not have it.
    ///
    /// # Errors
    /// Fails when it is damaged, too large, or no such document.
    pub fn document_at(&self, digest: &Digest) -> Result<Option<Document>, SinkError> {
        let path = self.root.join(blob_path(digest));
        let Some(file) = folder::open_regular(&path)? else { return Ok(None) };
        let (size, cap) = (file.metadata().map_err(|error| StoreError::io("read", &path, error))?.len(), MANIFEST_CAP);
        if size > cap as u64 {
            return Err(StoreError::TooLarge { digest: digest.clone(), size, cap: cap as u64 }.into());
        }
        let mut bytes = Vec::new();
        file.take(cap as u64)
            .read_to_end(&mut bytes)
            .map_err(|source| SinkError::Content { digest: digest.clone(), source })?;
        let read = Document::read(None, bytes, Some(digest));
        read.map(Some).map_err(|source| SinkError::Document { path: self.root.clone(), source })
    }

    /// Those documents in the layout's index that name `subject` as their subject.
    ///
    /// # Errors
    /// Fails when the index or one of them is damaged.
    pub fn referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, SinkError> {
        let mut found = Vec::new();
        for entry in self.entries()? {
            let document = self.document(&entry)?;
            if document.subject().is_some_and(|named| named.digest == *subject) {
                found.push(document.descriptor());
            }
        }
        Ok(found)
    }

    /// Where a blob is; its bytes are checked when they are read.
    ///
    /// # Errors
    /// Fails when it is missing or of another size.
    pub fn slice(&self, blob: &Descriptor) -> Result<BlobSlice, SinkError> {
        let path = self.root.join(blob_path(&blob.digest));
        let missing = || SinkError::Incomplete { path: self.root.clone(), digest: blob.digest.clone() };
        let file = folder::open_regular(&path)?.ok_or_else(missing)?;
        let found = file.metadata().map_err(|error| StoreError::io("read", &path, error))?.len();
        if found != blob.size {
            return Err(SinkError::Size { digest: blob.digest.clone(), expected: blob.size, found });
        }
        Ok(BlobSlice::new(&path, 0))
    }

    /// Puts documents that are in the layout into its index, without a name: referrers are found there.
    ///
    /// # Errors
    /// Fails when the index cannot be written.
    pub fn list(&self, documents: &[Descriptor]) -> Result<(), SinkError> {
        if documents.is_empty() {
            return Ok(());
        }
        let nameless = Self { tag: None, ..self.clone() };
        let _ = self.lock.lock();
        let mut index = self.index()?;
        for document in documents {
            index = nameless.with_entry(index, document)?;
        }
        folder::replace_durably(&self.root.join("index.json"), index.to_string().as_bytes())?;
        Ok(())
    }

    fn index(&self) -> Result<Value, SinkError> {
        let path = self.root.join("index.json");
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|source| self.bad_index(source)),
            Err(error) if folder::is_absent(&error) => {
                Ok(json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [] }))
            }
            Err(error) => Err(StoreError::io("read", &path, error).into()),
        }
    }

    fn bad_index(&self, source: serde_json::Error) -> SinkError {
        SinkError::Index { path: self.root.join("index.json"), source }
    }

    fn has(&self, digest: &Digest, size: u64) -> bool {
        let found = fs::symlink_metadata(self.root.join(blob_path(digest)));
        found.is_ok_and(|found| found.is_file() && found.len() == size)
    }

    /// The index with `root` under this layout's tag; entries of other tags stay as they are.
    fn with_entry(&self, mut index: Value, root: &Descriptor) -> Result<Value, SinkError> {
        let mut entry = root.clone();
        entry.annotations.remove(REF_NAME);
        entry.annotations.extend(self.tag.iter().map(|tag| (REF_NAME.to_owned(), tag.clone())));
        let added = serde_json::to_value(&entry).map_err(|source| self.bad_index(source))?;
        let manifests = match index["manifests"].take() {
            Value::Array(manifests) => manifests,
            _ => Vec::new(),
        };
        let is_other = |old: &Value| {
            let name = old["annotations"][REF_NAME].as_str();
            name != self.tag.as_deref() || (self.tag.is_none() && old["digest"] != added["digest"])
        };
        let mut manifests: Vec<Value> = manifests.into_iter().filter(is_other).collect();
        manifests.push(added);
        index["manifests"] = Value::Array(manifests);
        Ok(index)
    }

    fn write(&self, blob: &Descriptor, content: &mut dyn Read) -> Result<(), SinkError> {
        let path = self.root.join(blob_path(&blob.digest));
        let mut file = folder::temporary(&self.root)?;
        copy(blob, content, file.as_file_mut(), &path)?;
        // What an index refers to has to be there after a power cut.
        file.as_file().sync_all().map_err(|error| StoreError::sized("write", &path, Some(blob.size), error))?;
        folder::place(file, &path, 0o644)?;
        folder::sync(path.parent().unwrap_or(&path))?;
        Ok(())
    }
}

fn is_part(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".part-"))
}

/// Writes an `oci-layout` file that is new, or was cut short by a power cut.
fn begin(mut file: &File) -> io::Result<()> {
    if file.metadata()?.len() == 0 {
        file.write_all(LAYOUT)?;
        file.sync_all()?;
    }
    Ok(())
}

impl ImageSink for OciLayout {
    fn has_blob(&mut self, blob: &Descriptor) -> Result<bool, SinkError> {
        match self.open_blob(blob) {
            Ok(_) => Ok(true),
            Err(SinkError::Storage(error)) => Err(error.into()),
            Err(_) => Ok(false),
        }
    }

    fn put_blob(&mut self, blob: &Descriptor, content: &mut dyn Read) -> Result<(), SinkError> {
        self.write(blob, content)
    }

    fn put_manifest(&mut self, document: &Document) -> Result<(), SinkError> {
        for blob in needs(document) {
            if !self.has(&blob.digest, blob.size) {
                return Err(SinkError::Incomplete { path: self.root.clone(), digest: blob.digest.clone() });
            }
        }
        self.write(&document.descriptor(), &mut document.bytes())
    }

    fn finish(self: Box<Self>, root: &Descriptor) -> Result<(), SinkError> {
        if !self.has(&root.digest, root.size) {
            return Err(SinkError::Incomplete { path: self.root, digest: root.digest.clone() });
        }
        // Two writers of one layout: the second to finish sees the entry of the first.
        let _ = self.lock.lock();
        let index = self.with_entry(self.index()?, root)?;
        folder::replace_durably(&self.root.join("index.json"), index.to_string().as_bytes())?;
        Ok(())
    }
}
