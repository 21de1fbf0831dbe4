//! Docker archives as a source: what `docker save`, `skopeo` and Lapstrake itself write.
//!
//! An archive that has an OCI layout inside gives that manifest, digest and all. An older one knows only a config and
//! layers: it gives an OCI manifest over them as they are, so that the image's identifier stays and equal archives give
//! equal digests. Nothing is compressed here.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::archive_members::{ArchiveError, Extent, Members};
use super::sink::{blob_path, needs};
use super::{BlobSlice, SinkError};
use crate::layer::read::{ReadLimits, decompress};
use crate::oci::media_type::{OCI_CONFIG, OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD};
use crate::oci::{
    CONFIG_CAP, Compression, Descriptor, DiffId, Digest, Digester, Document, ImageConfig, MANIFEST_CAP, Manifest, Raw,
    Reference,
};

const LIST: &str = "manifest.json";
const INDEX: &str = "index.json";
const BUFFER: usize = 256 << 10;

/// One image of a docker archive, open for reading.
#[derive(Debug)]
pub struct ArchiveReader {
    path: PathBuf,
    root: Document,
    documents: BTreeMap<Digest, Document>,
    blobs: BTreeMap<Digest, (BlobSlice, u64)>,
}

/// An entry of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// The members of `index.json` that are used.
#[derive(Debug, Deserialize)]
struct Entries {
    manifests: Vec<Descriptor>,
}

impl ArchiveReader {
    /// Opens the archive at `path`, and finds the image `name` in it, or the only one.
    ///
    /// # Errors
    /// Fails when it is no such archive, has no such image, or contradicts itself.
    pub fn open(path: &Path, name: Option<&Reference>) -> Result<Self, ArchiveError> {
        let members = Members::read(path)?;
        let list = members.bytes(LIST, MANIFEST_CAP)?;
        let list: Vec<Listed> = serde_json::from_slice(&list).map_err(|source| in_list(path, LIST, source))?;
        let listed = chosen(path, &list, name)?;
        let config = members.bytes(&listed.config, CONFIG_CAP)?;
        let of_config = Descriptor::of(OCI_CONFIG, &config);
        named_truly(path, &listed.config, &of_config.digest)?;
        let read = Raw::<ImageConfig>::read(config, None);
        let config = read.map_err(|source| in_document(path, &listed.config, source))?;
        let diff_ids = config.value().diff_ids();
        if diff_ids.len() != listed.layers.len() {
            let (listed, diff_ids) = (listed.layers.len(), diff_ids.len());
            return Err(ArchiveError::Layers { path: path.to_owned(), listed, diff_ids });
        }
        let mut opening = Opening { path, members, blobs: BTreeMap::new(), documents: BTreeMap::new() };
        let root = match opening.modern(listed, &of_config.digest)? {
            Some(root) => root,
            None => opening.legacy(listed, of_config, &diff_ids)?,
        };
        let Opening { blobs, mut documents, .. } = opening;
        documents.insert(root.digest().clone(), root.clone());
        Ok(Self { path: path.to_owned(), root, documents, blobs })
    }

    /// The image's document.
    pub fn root(&self) -> &Document {
        &self.root
    }

    /// A document of the image.
    pub fn document(&self, digest: &Digest) -> Option<&Document> {
        self.documents.get(digest)
    }

    /// Where a blob of the image is.
    ///
    /// # Errors
    /// Fails when it is not there, or has another size.
    pub fn slice(&self, blob: &Descriptor) -> Result<BlobSlice, SinkError> {
        match self.blobs.get(&blob.digest) {
            Some((slice, size)) if *size == blob.size => Ok(slice.clone()),
            Some((_, found)) => {
                Err(SinkError::Size { digest: blob.digest.clone(), expected: blob.size, found: *found })
            }
            None => Err(SinkError::Incomplete { path: self.path.clone(), digest: blob.digest.clone() }),
        }
    }
}

/// The entry that is asked for.
fn chosen<'a>(path: &Path, list: &'a [Listed], name: Option<&Reference>) -> Result<&'a Listed, ArchiveError> {
    let mut known = Vec::new();
    let mut fitting = Vec::new();
    for listed in list {
        let mut fits = name.is_none();
        for tag in listed.repo_tags.iter().flatten() {
            let parsed = Reference::parse(tag);
            let parsed = parsed.map_err(|source| ArchiveError::Name { path: path.to_owned(), source })?;
            fits |= name.is_some_and(|name| {
                *name == parsed || (name.tag().is_none() && latest(name).as_ref() == Some(&parsed))
            });
            known.push(parsed.familiar());
        }
        if fits {
            fitting.push(listed);
        }
    }
    match fitting.as_slice() {
        [only] => Ok(only),
        _ => Err(ArchiveError::Choice { path: path.to_owned(), wanted: name.map(Reference::familiar), known }),
    }
}

struct Opening<'a> {
    path: &'a Path,
    members: Members,
    blobs: BTreeMap<Digest, (BlobSlice, u64)>,
    documents: BTreeMap<Digest, Document>,
}

impl Opening<'_> {
    /// The document of the OCI layout inside that has this config; `None` when there is none.
    fn modern(&mut self, listed: &Listed, config: &Digest) -> Result<Option<Document>, ArchiveError> {
        if !self.members.has(INDEX) || !self.members.has("oci-layout") {
            return Ok(None);
        }
        let bytes = self.members.bytes(INDEX, MANIFEST_CAP)?;
        let index: Entries = serde_json::from_slice(&bytes).map_err(|source| in_list(self.path, INDEX, source))?;
        for entry in &index.manifests {
            let Some(document) = self.document(entry)? else { continue };
            match &document {
                Document::Manifest(manifest) if manifest.value().config.digest == *config => {
                    return self.taken(listed, manifest).map(Some);
                }
                Document::Manifest(_) => {}
                Document::Index(index) => {
                    let entries = index.value().manifests.clone();
                    if let Some(root) = self.of_index(listed, config, document.clone(), &entries)? {
                        return Ok(Some(root));
                    }
                }
            }
        }
        Ok(None)
    }

    /// An index that is here as a whole, or the manifest of it that is: archives hold one platform.
    fn of_index(
        &mut self,
        listed: &Listed,
        config: &Digest,
        index: Document,
        entries: &[Descriptor],
    ) -> Result<Option<Document>, ArchiveError> {
        let mut found = None;
        for entry in entries {
            if let Some(Document::Manifest(manifest)) = self.document(entry)?
                && manifest.value().config.digest == *config
            {
                found = Some(self.taken(listed, &manifest)?);
            }
        }
        let Some(found) = found else { return Ok(None) };
        if entries.len() > 1 {
            return Ok(Some(found));
        }
        self.documents.insert(found.digest().clone(), found);
        Ok(Some(index))
    }

    /// Takes a manifest with its blobs, which have to be those of the list.
    fn taken(&mut self, listed: &Listed, manifest: &Raw<Manifest>) -> Result<Document, ArchiveError> {
        let layers = &manifest.value().layers;
        let two_faces = || ArchiveError::TwoFaces { path: self.path.to_owned() };
        if layers.len() != listed.layers.len() {
            return Err(two_faces());
        }
        for (layer, name) in layers.iter().zip(&listed.layers) {
            if !layer.media_type.is_non_distributable()
                && self.members.find(name)? != self.members.find(&blob_path(&layer.digest))?
            {
                return Err(two_faces());
            }
        }
        let document = Document::Manifest(manifest.clone());
        for blob in needs(&document) {
            let extent = self.members.find(&blob_path(&blob.digest))?;
            self.blobs.insert(blob.digest.clone(), (self.members.slice(extent), extent.size));
        }
        Ok(document)
    }

    /// The document at a descriptor of the layout inside; `None` when it is not in the archive.
    fn document(&self, at: &Descriptor) -> Result<Option<Document>, ArchiveError> {
        let name = blob_path(&at.digest);
        if !self.members.has(&name) || !(at.media_type.is_index() || at.media_type.is_manifest()) {
            return Ok(None);
        }
        let bytes = self.members.bytes(&name, MANIFEST_CAP)?;
        let read = Document::read(Some(at.media_type.as_str()), bytes, Some(&at.digest));
        read.map(Some).map_err(|source| in_document(self.path, &name, source))
    }

    /// An OCI manifest over the config and the layers as they are.
    fn legacy(&mut self, listed: &Listed, config: Descriptor, diff_ids: &[DiffId]) -> Result<Document, ArchiveError> {
        let extent = self.members.find(&listed.config)?;
        self.blobs.insert(config.digest.clone(), (self.members.slice(extent), extent.size));
        let mut layers = Vec::new();
        for (name, diff_id) in listed.layers.iter().zip(diff_ids) {
            let extent = self.members.find(name)?;
            let layer = self.layer(name, extent, diff_id)?;
            self.blobs.insert(layer.digest.clone(), (self.members.slice(extent), extent.size));
            layers.push(layer);
        }
        let manifest = Raw::of(Manifest::new(config, layers));
        Ok(Document::Manifest(manifest.map_err(|source| in_document(self.path, LIST, source))?))
    }

    /// Reads a layer once, to learn its digest and to see that it is the config's.
    fn layer(&self, name: &str, extent: Extent, diff_id: &DiffId) -> Result<Descriptor, ArchiveError> {
        let broken = |source| ArchiveError::Layer { path: self.path.to_owned(), member: name.to_owned(), source };
        let mut magic = Vec::new();
        self.members.open(extent)?.take(4).read_to_end(&mut magic).map_err(broken)?;
        let (media_type, compression) = match magic.as_slice() {
            [0x1f, 0x8b, ..] => (OCI_LAYER_GZIP, Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd] => (OCI_LAYER_ZSTD, Compression::Zstd),
            _ => (OCI_LAYER, Compression::None),
        };
        let mut packed = Hashing { source: self.members.open(extent)?, digester: Digester::sha256() };
        let mut unpacked = Digester::new(diff_id.0.algorithm());
        {
            let mut content = decompress(&mut packed, compression, &ReadLimits::default()).map_err(broken)?;
            let mut buffer = vec![0; BUFFER];
            loop {
                match content.read(&mut buffer).map_err(broken)? {
                    0 => break,
                    read => unpacked.update(&buffer[..read]),
                }
            }
        }
        let found = unpacked.finish();
        if found != diff_id.0 {
            let (path, member, expected) = (self.path.to_owned(), name.to_owned(), diff_id.0.clone());
            return Err(ArchiveError::Lies { path, member, expected, found });
        }
        let digest = packed.digester.finish();
        named_truly(self.path, name, &digest)?;
        Ok(Descriptor::new(media_type, digest, extent.size))
    }
}

struct Hashing<R> {
    source: R,
    digester: Digester,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(out)?;
        self.digester.update(&out[..read]);
        Ok(read)
    }
}

/// A member that is named by a digest has to have it.
fn named_truly(path: &Path, member: &str, found: &Digest) -> Result<(), ArchiveError> {
    let Some(hex) = member.strip_prefix("blobs/sha256/") else { return Ok(()) };
    match Digest::parse(&format!("sha256:{hex}")) {
        Ok(expected) if expected != *found => {
            let (path, member, found) = (path.to_owned(), member.to_owned(), found.clone());
            Err(ArchiveError::Lies { path, member, expected, found })
        }
        _ => Ok(()),
    }
}

fn latest(name: &Reference) -> Option<Reference> {
    name.with_tag("latest").ok()
}

fn in_list(path: &Path, member: &'static str, source: serde_json::Error) -> ArchiveError {
    ArchiveError::List { path: path.to_owned(), member, source }
}

fn in_document(path: &Path, member: &str, source: crate::oci::DocumentError) -> ArchiveError {
    ArchiveError::Document { path: path.to_owned(), member: member.to_owned(), source }
}
