//! Docker archives: `docker-archive:FILE`, for `docker load` and every tool that reads its format.
//!
//! The archive has both faces that `docker save` gives it since version 25: `manifest.json` for those
//! who unpack layers by it, and an OCI layout for those who keep the image's digest. Layers go in as
//! they are, compressed or not; readers of either face look at the bytes. Equal images give equal
//! archives.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::sink::{LAYOUT, REF_NAME, blob_path, copy, needs};
use super::{ImageSink, SinkError, StoreError, folder};
use crate::layer::tar::{END, padding, push_header};
use crate::layer::{Entry, EntryKind, EntryPath};
use crate::oci::media_type::OCI_INDEX;
use crate::oci::{Descriptor, Digest, Document, Reference};

/// The annotation by which containerd names an image that it imports.
const IMAGE_NAME: &str = "io.containerd.image.name";

/// An archive that is being written beside its place.
#[derive(Debug)]
pub struct DockerArchive {
    path: PathBuf,
    file: NamedTempFile,
    names: Vec<(String, String)>,
    written: BTreeSet<Digest>,
    images: Vec<Image>,
}

#[derive(Debug)]
struct Image {
    config: Digest,
    layers: Vec<Digest>,
}

impl DockerArchive {
    /// Starts an archive that will replace `path`, whose image will be loaded as `names`.
    ///
    /// # Errors
    /// Fails when a name has no tag, something else than a file is at `path`, or its folder cannot be written.
    pub fn create(path: &Path, names: &[Reference]) -> Result<Self, SinkError> {
        let tagged = |name: &Reference| {
            let tag = name.tag().ok_or_else(|| SinkError::Untagged(name.to_string()))?;
            Ok((format!("{}/{}:{tag}", name.domain(), name.path()), tag.to_owned()))
        };
        let names = names.iter().map(tagged).collect::<Result<_, SinkError>>()?;
        let path = place_of(path)?;
        let file = folder::temporary(folder_of(&path))?;
        let mut archive = Self { path, file, names, written: BTreeSet::new(), images: Vec::new() };
        archive.put_folder("blobs")?;
        archive.put_folder("blobs/sha256")?;
        archive.put_file("oci-layout", LAYOUT)?;
        Ok(archive)
    }

    fn put_folder(&mut self, name: &str) -> Result<(), SinkError> {
        self.header(name, EntryKind::Directory, 0o755)
    }

    fn put_file(&mut self, name: &str, bytes: &[u8]) -> Result<(), SinkError> {
        let size = bytes.len() as u64;
        self.header(name, EntryKind::File { size }, 0o644)?;
        self.raw(bytes)?;
        self.raw(padding(size))
    }

    fn header(&mut self, name: &str, kind: EntryKind, mode: u32) -> Result<(), SinkError> {
        let path = EntryPath::parse(name).map_err(|error| self.fault(error))?;
        let mut blocks = Vec::new();
        push_header(&Entry { path, kind, mode, uid: 0, gid: 0, mtime: 0 }, &mut blocks);
        self.raw(&blocks)
    }

    fn raw(&mut self, bytes: &[u8]) -> Result<(), SinkError> {
        let written = self.file.as_file_mut().write_all(bytes);
        Ok(written.map_err(|error| StoreError::sized("write", &self.path, Some(bytes.len() as u64), error))?)
    }

    fn fault(&self, error: impl Display) -> SinkError {
        StoreError::io("write", &self.path, std::io::Error::other(error.to_string())).into()
    }

    fn entry(&mut self, blob: &Descriptor, content: &mut dyn Read) -> Result<(), SinkError> {
        if !self.written.contains(&blob.digest) {
            self.header(&blob_path(&blob.digest), EntryKind::File { size: blob.size }, 0o644)?;
            copy(blob, content, self.file.as_file_mut(), &self.path)?;
            self.raw(padding(blob.size))?;
            self.written.insert(blob.digest.clone());
        }
        Ok(())
    }

    fn index(&self, root: &Descriptor) -> Result<Value, SinkError> {
        let entry = |name: Option<&(String, String)>| {
            let mut entry = root.clone();
            entry.annotations.remove(REF_NAME);
            if let Some((full, tag)) = name {
                entry.annotations.insert(IMAGE_NAME.to_owned(), full.clone());
                entry.annotations.insert(REF_NAME.to_owned(), tag.clone());
            }
            serde_json::to_value(entry).map_err(|error| self.fault(error))
        };
        let mut entries = self.names.iter().map(|name| entry(Some(name))).collect::<Result<Vec<_>, _>>()?;
        if entries.is_empty() {
            entries.push(entry(None)?);
        }
        Ok(json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries }))
    }
}

impl ImageSink for DockerArchive {
    fn has_blob(&mut self, blob: &Descriptor) -> Result<bool, SinkError> {
        Ok(self.written.contains(&blob.digest))
    }

    fn put_blob(&mut self, blob: &Descriptor, content: &mut dyn Read) -> Result<(), SinkError> {
        let start = self.file.as_file_mut().metadata().map_err(|error| StoreError::io("write", &self.path, error))?;
        let put = self.entry(blob, content);
        if put.is_err() {
            // Half an entry would make the rest unreadable; the next one starts where this one did.
            let file = self.file.as_file_mut();
            let back = file.set_len(start.len()).and_then(|()| std::io::Seek::seek(file, std::io::SeekFrom::End(0)));
            back.map_err(|error| StoreError::io("write", &self.path, error))?;
        }
        put
    }

    fn put_manifest(&mut self, document: &Document) -> Result<(), SinkError> {
        if let Some(missing) = needs(document).into_iter().find(|blob| !self.written.contains(&blob.digest)) {
            return Err(SinkError::Incomplete { path: self.path.clone(), digest: missing.digest.clone() });
        }
        self.put_blob(&document.descriptor(), &mut document.bytes())?;
        if let Document::Manifest(raw) = document {
            let manifest = raw.value();
            let layers = manifest.layers.iter().map(|layer| layer.digest.clone()).collect();
            self.images.push(Image { config: manifest.config.digest.clone(), layers });
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>, root: &Descriptor) -> Result<(), SinkError> {
        if !self.written.contains(&root.digest) {
            return Err(SinkError::Incomplete { path: self.path.clone(), digest: root.digest.clone() });
        }
        let [image] = self.images.as_slice() else {
            return Err(SinkError::OneImage { found: self.images.len() });
        };
        let tags: Vec<&str> = self.names.iter().map(|(full, _)| full.as_str()).collect();
        let manifest = json!([{
            "Config": blob_path(&image.config),
            "RepoTags": tags,
            "Layers": image.layers.iter().map(blob_path).collect::<Vec<_>>(),
        }]);
        let index = self.index(root)?.to_string();
        self.put_file("index.json", index.as_bytes())?;
        self.put_file("manifest.json", manifest.to_string().as_bytes())?;
        self.raw(&END)?;
        let Self { path, file, .. } = *self;
        file.as_file().sync_all().map_err(|error| StoreError::sized("write", &path, None, error))?;
        folder::place(file, &path, 0o644)?;
        folder::sync(folder_of(&path))?;
        Ok(())
    }
}

/// Where the archive goes: what a link points at, and never the place of a folder or a device.
fn place_of(path: &Path) -> Result<PathBuf, SinkError> {
    let taken = |found| SinkError::NotAFile { path: path.to_owned(), found };
    match path.metadata() {
        Ok(found) if found.is_dir() => Err(taken("a folder")),
        Ok(found) if !found.is_file() => Err(taken("a device or a pipe")),
        Ok(_) => Ok(path.canonicalize().map_err(|error| StoreError::io("write", path, error))?),
        // Nothing there, or nothing that can be looked at: writing will tell.
        Err(_) => Ok(path.to_owned()),
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}
