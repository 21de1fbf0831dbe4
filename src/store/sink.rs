//! Image sinks: what a finished image is written to when it is not pushed.
//!
//! A sink checks every byte that it takes. It does not choose what to write.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::StoreError;
use crate::diagnostic::Diagnose;
use crate::oci::{Descriptor, Digest, Digester, Document, DocumentError};

const BUFFER: usize = 256 * 1024;

/// Takes one image: its blobs, then its manifests (those of an index before the index), then its end.
///
/// Nothing is seen at the sink's path before [`ImageSink::finish`], and a sink that is dropped leaves
/// what was there before.
pub trait ImageSink: Send {
    /// Whether the sink has the blob already, whole; then [`ImageSink::put_blob`] need not be called.
    ///
    /// # Errors
    /// Fails when the blob is there and cannot be read.
    fn has_blob(&mut self, blob: &Descriptor) -> Result<bool, SinkError>;

    /// Takes a blob, checking its size and digest.
    ///
    /// # Errors
    /// Fails when the content is not what the descriptor says, or cannot be read or written.
    fn put_blob(&mut self, blob: &Descriptor, content: &mut dyn Read) -> Result<(), SinkError>;

    /// Takes a manifest or an index after everything that it refers to.
    ///
    /// # Errors
    /// Fails when something that it refers to is missing, or it cannot be written.
    fn put_manifest(&mut self, document: &Document) -> Result<(), SinkError>;

    /// Makes the image seen, with `root` as its manifest or index.
    ///
    /// # Errors
    /// Fails when the image is not whole or cannot be written.
    fn finish(self: Box<Self>, root: &Descriptor) -> Result<(), SinkError>;
}

/// Why an output could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// A file or folder could not be read or written.
    #[error(transparent)]
    Storage(#[from] StoreError),
    /// A blob's source broke off.
    #[error("cannot read blob `{digest}`")]
    Content {
        /// The blob.
        digest: Digest,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A blob has another size than its descriptor says; sizes are in bytes.
    #[error("blob `{digest}` has {found} bytes where {expected} were expected")]
    Size {
        /// The blob.
        digest: Digest,
        /// The descriptor's size.
        expected: u64,
        /// The bytes found, counted to the first that is too much.
        found: u64,
    },
    /// A blob has another digest than its descriptor says.
    #[error("blob has digest `{found}` where `{expected}` was expected")]
    Mismatch {
        /// The descriptor's digest.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// Something that a manifest refers to is not there.
    #[error("`{}` lacks `{digest}`", path.display())]
    Incomplete {
        /// The output.
        path: PathBuf,
        /// What it lacks.
        digest: Digest,
    },
    /// The folder holds something else.
    #[error("`{}` is not an OCI layout: {found}", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// Something else than a file is where a file is to be.
    #[error("`{}` is {found}, and the archive is a file", path.display())]
    NotAFile {
        /// The output.
        path: PathBuf,
        /// What is there.
        found: &'static str,
    },
    /// The layout's index is not JSON of the right shape.
    #[error("`{}` is not a valid index", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A manifest in the layout is not one.
    #[error("`{}` holds an invalid manifest", path.display())]
    Document {
        /// The layout.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: DocumentError,
    },
    /// The layout has no such image, or several and none was named.
    #[error("{}", describe_choice(path, wanted.as_deref()))]
    Choice {
        /// The layout.
        path: PathBuf,
        /// The tag that was asked for.
        wanted: Option<String>,
        /// The tags that it has.
        known: Vec<String>,
    },
    /// A Docker archive holds exactly one image.
    #[error("a Docker archive holds one image, not {found}")]
    OneImage {
        /// How many there are.
        found: usize,
    },
    /// A name for a Docker archive has no tag.
    #[error("`{0}` has no tag")]
    Untagged(String),
}

fn describe_choice(path: &Path, wanted: Option<&str>) -> String {
    match wanted {
        Some(tag) => format!("`{}` has no image `{tag}`", path.display()),
        None => format!("`{}` does not hold exactly one image", path.display()),
    }
}

impl Diagnose for SinkError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Storage(error) => error.hint(),
            Self::Document { source, .. } => source.hint(),
            Self::Foreign { .. } => {
                Some("name a folder with an OCI layout; to write, an empty one or a new name does too".to_owned())
            }
            Self::NotAFile { .. } => Some("name a file, as in `docker-archive:image.tar`".to_owned()),
            Self::Choice { known, .. } if known.is_empty() => None,
            Self::Choice { known, .. } => Some(format!("name one of them after a colon: {}", known.join(", "))),
            Self::OneImage { .. } => Some("choose one platform, or write an OCI layout with `oci:`".to_owned()),
            Self::Untagged(name) => Some(format!("write `{name}:TAG`")),
            Self::Mismatch { .. } | Self::Size { .. } => Some("fetch the blob again: its source altered it".to_owned()),
            Self::Content { .. } | Self::Incomplete { .. } | Self::Index { .. } => None,
        }
    }
}

/// Copies a blob, checking its size and digest as it passes. `path` is named in errors of `out`.
pub(super) fn copy(
    blob: &Descriptor,
    content: &mut dyn Read,
    out: &mut dyn Write,
    path: &Path,
) -> Result<(), SinkError> {
    let mut digester = Digester::new(blob.digest.algorithm());
    let mut buffer = vec![0; BUFFER];
    let mut found = 0;
    let size = |found| SinkError::Size { digest: blob.digest.clone(), expected: blob.size, found };
    loop {
        let count = match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(SinkError::Content { digest: blob.digest.clone(), source }),
        };
        found += count as u64;
        if found > blob.size {
            return Err(size(found));
        }
        digester.update(&buffer[..count]);
        let written = out.write_all(&buffer[..count]);
        written.map_err(|error| StoreError::sized("write", path, Some(blob.size), error))?;
    }
    if found < blob.size {
        return Err(size(found));
    }
    let digest = digester.finish();
    if digest == blob.digest {
        Ok(())
    } else {
        Err(SinkError::Mismatch { expected: blob.digest.clone(), found: digest })
    }
}

/// What a document refers to and an output has to hold.
pub(super) fn needs(document: &Document) -> Vec<&Descriptor> {
    match document {
        Document::Manifest(raw) => {
            let manifest = raw.value();
            let blobs = manifest.layers.iter().chain([&manifest.config]);
            blobs.filter(|blob| !blob.media_type.is_non_distributable()).collect()
        }
        Document::Index(raw) => raw.value().manifests.iter().collect(),
    }
}

/// `blobs/<algorithm>/<hex>` (image-spec, image-layout.md).
pub(super) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().name(), digest.hex())
}

/// The content of an `oci-layout` file.
pub(super) const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
/// The annotation that holds an image's tag in a layout's index.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";
