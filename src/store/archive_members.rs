//! The members of a docker archive: where in the file each one is.
//!
//! Nothing is unpacked. A name that climbs out, stands twice or is neither file nor link inside is refused, since
//! tools that do unpack would not agree on it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::{BlobSlice, StoreError};
use crate::diagnostic::Diagnose;
use crate::layer::read::{ReadLimits, TarError, TarKind, TarReader};
use crate::oci::{Digest, DocumentError, ReferenceError};

/// The most members of an archive.
const MEMBERS: u64 = 100_000;
const BUFFER: usize = 256 << 10;

/// Why a docker archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The file cannot be read.
    #[error(transparent)]
    Storage(#[from] StoreError),
    /// The whole archive is compressed.
    #[error("`{}` is compressed", path.display())]
    Compressed {
        /// The archive.
        path: PathBuf,
    },
    /// The file is no tar, or one that tools read differently.
    #[error("`{}` is not a tar that all tools read alike", path.display())]
    Tar {
        /// The archive.
        path: PathBuf,
        /// Why not.
        #[source]
        source: TarError,
    },
    /// A member's name leads out of the archive, or is no text.
    #[error("`{}` has a member `{member}`, which leads out of the archive", path.display())]
    Escapes {
        /// The archive.
        path: PathBuf,
        /// The member.
        member: String,
    },
    /// A member is there twice.
    #[error("`{}` has two members `{member}`", path.display())]
    Twice {
        /// The archive.
        path: PathBuf,
        /// The member.
        member: String,
    },
    /// A member that the archive's list names is not there, or is no file.
    #[error("`{}` has no file `{member}`", path.display())]
    NoMember {
        /// The archive.
        path: PathBuf,
        /// The member.
        member: String,
    },
    /// A member is larger than such a member may be.
    #[error("`{member}` in `{}` is larger than the limit of {cap} bytes", path.display())]
    TooLarge {
        /// The archive.
        path: PathBuf,
        /// The member.
        member: String,
        /// The limit.
        cap: usize,
    },
    /// A list in the archive is not JSON of the right form.
    #[error("`{member}` in `{}` is not what it should be", path.display())]
    List {
        /// The archive.
        path: PathBuf,
        /// The member.
        member: &'static str,
        /// Why not.
        #[source]
        source: serde_json::Error,
    },
    /// A manifest or config is none.
    #[error("`{member}` in `{}` is not a usable document", path.display())]
    Document {
        /// The archive.
        path: PathBuf,
        /// The member.
        member: String,
        /// Why not.
        #[source]
        source: DocumentError,
    },
    /// A name in the archive is none.
    #[error("`{}` names an image in a way that is no reference", path.display())]
    Name {
        /// The archive.
        path: PathBuf,
        /// Why not.
        #[source]
        source: ReferenceError,
    },
    /// The archive has no such image, or several and none was named.
    #[error("{}", describe_choice(path, wanted.as_deref()))]
    Choice {
        /// The archive.
        path: PathBuf,
        /// The name that was asked for.
        wanted: Option<String>,
        /// The names that there are.
        known: Vec<String>,
    },
    /// The config has another number of layers than the list.
    #[error("`{}` lists {listed} layers, and the config has {diff_ids}", path.display())]
    Layers {
        /// The archive.
        path: PathBuf,
        /// In the list.
        listed: usize,
        /// In the config.
        diff_ids: usize,
    },
    /// A layer or config is not what its name or the config says.
    #[error("`{member}` in `{}` comes to `{found}`, and should come to `{expected}`", path.display())]
    Lies {
        /// The archive.
        path: PathBuf,
        /// The member.
        member: String,
        /// The digest that is said.
        expected: Digest,
        /// The digest of the bytes.
        found: Digest,
    },
    /// A compressed layer cannot be unpacked.
    #[error("layer `{member}` in `{}` cannot be unpacked", path.display())]
    Layer {
        /// The archive.
        path: PathBuf,
        /// The member.
        member: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The archive's two lists of layers differ.
    #[error("`{}` lists other layers in `manifest.json` than in its OCI manifest", path.display())]
    TwoFaces {
        /// The archive.
        path: PathBuf,
    },
}

fn describe_choice(path: &Path, wanted: Option<&str>) -> String {
    match wanted {
        Some(name) => format!("`{}` has no image `{name}`", path.display()),
        None => format!("`{}` does not hold exactly one image", path.display()),
    }
}

impl Diagnose for ArchiveError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Storage(error) => return error.hint(),
            Self::Compressed { .. } => "decompress the archive first, for instance with `gunzip`".to_owned(),
            Self::NoMember { member, .. } if member == "manifest.json" => {
                "a docker archive is what `docker save` writes; an OCI layout is a folder, named with `oci:`".to_owned()
            }
            Self::Choice { known, .. } if known.is_empty() => return None,
            Self::Choice { known, .. } => format!("name one of them after a colon: {}", known.join(", ")),
            Self::Document { source, .. } => return source.hint(),
            Self::Name { source, .. } => return source.hint(),
            _ => "the archive is damaged or made to mislead; save the image anew".to_owned(),
        })
    }
}

/// Where the content of a file in an archive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// From the start of the archive, in bytes.
    pub(super) offset: u64,
    /// In bytes.
    pub(super) size: u64,
}

enum Member {
    File(Extent),
    Link(String),
    Other,
}

/// All members of an archive by name.
pub(super) struct Members {
    path: PathBuf,
    all: BTreeMap<String, Member>,
}

impl Members {
    /// Reads the headers of the archive at `path`.
    pub(super) fn read(path: &Path) -> Result<Self, ArchiveError> {
        let file = File::open(path).map_err(|error| StoreError::io("open", path, error))?;
        let mut file = BufReader::with_capacity(BUFFER, file);
        let io = |error| StoreError::io("read", path, error);
        let mut magic = [0; 4];
        let read = file.read(&mut magic).map_err(io)?;
        if matches!(magic[..read], [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd] | [0xfd, b'7', b'z', ..]) {
            return Err(ArchiveError::Compressed { path: path.to_owned() });
        }
        file.seek(SeekFrom::Start(0)).map_err(io)?;
        let at = Rc::new(Cell::new(0));
        let limits = ReadLimits { entries: MEMBERS, ..ReadLimits::default() };
        let mut reader = TarReader::new(Counted { source: file, at: Rc::clone(&at) }, &limits);
        let mut members = Self { path: path.to_owned(), all: BTreeMap::new() };
        let broken = |source| ArchiveError::Tar { path: path.to_owned(), source };
        while let Some(entry) = reader.next_entry().map_err(broken)? {
            let Some(name) = inside(&entry.path, "") else {
                let member = String::from_utf8_lossy(&entry.path).into_owned();
                return Err(ArchiveError::Escapes { path: path.to_owned(), member });
            };
            let member = match &entry.kind {
                TarKind::Directory => continue,
                TarKind::File => Member::File(Extent { offset: at.get(), size: entry.size }),
                TarKind::Symlink { target } => {
                    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
                    inside(target, folder).map_or(Member::Other, Member::Link)
                }
                _ => Member::Other,
            };
            if members.all.insert(name.clone(), member).is_some() {
                return Err(ArchiveError::Twice { path: path.to_owned(), member: name });
            }
        }
        Ok(members)
    }

    /// The file with this name; one link inside the archive is followed, as older versions of `docker save` write them.
    pub(super) fn find(&self, name: &str) -> Result<Extent, ArchiveError> {
        let absent = || ArchiveError::NoMember { path: self.path.clone(), member: name.to_owned() };
        let name = inside(name.as_bytes(), "").ok_or_else(absent)?;
        match self.all.get(&name) {
            Some(Member::File(extent)) => Ok(*extent),
            Some(Member::Link(target)) => match self.all.get(target) {
                Some(Member::File(extent)) => Ok(*extent),
                _ => Err(absent()),
            },
            _ => Err(absent()),
        }
    }

    /// Whether there is a file with this name.
    pub(super) fn has(&self, name: &str) -> bool {
        matches!(self.all.get(name), Some(Member::File(_)))
    }

    /// The bytes of a small member.
    pub(super) fn bytes(&self, name: &str, cap: usize) -> Result<Vec<u8>, ArchiveError> {
        let extent = self.find(name)?;
        if extent.size > cap as u64 {
            return Err(ArchiveError::TooLarge { path: self.path.clone(), member: name.to_owned(), cap });
        }
        let mut bytes = Vec::new();
        self.open(extent)?.read_to_end(&mut bytes).map_err(|error| StoreError::io("read", &self.path, error))?;
        Ok(bytes)
    }

    /// Opens the content of a member.
    pub(super) fn open(&self, extent: Extent) -> Result<impl Read + use<>, ArchiveError> {
        let io = |error| StoreError::io("read", &self.path, error);
        let mut file = File::open(&self.path).map_err(io)?;
        file.seek(SeekFrom::Start(extent.offset)).map_err(io)?;
        Ok(BufReader::with_capacity(BUFFER, file).take(extent.size))
    }

    /// The part of the archive that begins there.
    pub(super) fn slice(&self, extent: Extent) -> BlobSlice {
        BlobSlice::new(&self.path, extent.offset)
    }
}

/// The name that `text` comes to, seen from `folder`; `None` when that is not inside of the archive.
fn inside(text: &[u8], folder: &str) -> Option<String> {
    let text = std::str::from_utf8(text).ok().filter(|text| !text.starts_with('/') && !text.contains('\0'))?;
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in text.split('/') {
        match part {
            "" | "." => {}
            ".." if folder.is_empty() => return None,
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    (!parts.is_empty() || text.starts_with('.')).then(|| parts.join("/"))
}

/// Counts the bytes that were read.
struct Counted<R> {
    source: R,
    at: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(out)?;
        self.at.set(self.at.get() + read as u64);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_inside() {
        for (text, folder, expected) in [
            ("a/b", "", Some("a/b")),
            ("./a//b/", "", Some("a/b")),
            ("../layer.tar", "x", Some("layer.tar")),
            ("../y/layer.tar", "x", Some("y/layer.tar")),
            ("../../layer.tar", "x", None),
            ("a/../../b", "", None),
            ("a/../b", "", None),
            ("/etc/passwd", "", None),
            ("", "", None),
        ] {
            assert_eq!(inside(text.as_bytes(), folder).as_deref(), expected, "{text} from {folder:?}");
        }
        assert_eq!(inside(b"\xff", ""), None);
    }
}
