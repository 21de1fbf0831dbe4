//! Writes installations into a layer.
//!
//! It streams: contents go from the archives to the layer, deflated ones as they are, and their RECORD hashes are
//! checked on the way. Which wheels share a layer is decided elsewhere.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use super::install::{Installation, InstalledFile, Source};
use super::record::{Checker, RecordError};
use super::wheel::{Wheel, WheelError};
use super::zip::{Member, Method};
use crate::diagnostic::Diagnose;
use crate::layer::{Entry, EntryKind, EntryPath, LayerError, LayerWriter, PLACED_MTIME};
use crate::oci::Digest;

/// How the entry of a folder looks that the parent image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirectoryMeta {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Seconds since 1970-01-01 UTC.
    pub mtime: i64,
}

/// Who owns what is placed, and what is there already.
pub struct Placement<'a> {
    /// Owner of files and new folders.
    pub uid: u64,
    /// Group of files and new folders.
    pub gid: u64,
    /// What the parent image has at a path, if that is a folder.
    pub parent: &'a dyn Fn(&EntryPath) -> Option<DirectoryMeta>,
}

/// Two wheels own one path with different contents; the later one wins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The path.
    pub path: EntryPath,
    /// File name of the wheel whose file is lost.
    pub lost: String,
    /// File name of the wheel whose file is placed.
    pub kept: String,
}

impl std::fmt::Display for Conflict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` is in both `{}` and `{}`; the file of the latter is kept", self.path, self.lost, self.kept)
    }
}

/// Why an installation could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// A file of a wheel was refused by the layer, or the layer could not be written.
    #[error("`{path}` of wheel `{wheel}` cannot be placed")]
    Layer {
        /// The wheel's file name.
        wheel: String,
        /// The path in the image.
        path: EntryPath,
        /// Why.
        #[source]
        source: LayerError,
    },
    /// The content of a member is not what RECORD or the archive say.
    #[error(transparent)]
    Wheel(#[from] WheelError),
    /// A path is a file in one wheel and a folder in another.
    #[error("`{path}` is a file in wheel `{wheel}`, but a folder in another wheel")]
    FileAndFolder {
        /// The path.
        path: EntryPath,
        /// The wheel with the file.
        wheel: String,
    },
    /// An entry of a folder cannot be written.
    #[error("folder `{path}` cannot be placed")]
    Folder {
        /// The path.
        path: EntryPath,
        /// Why.
        #[source]
        source: LayerError,
    },
}

impl Diagnose for PlaceError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Wheel(error) => error.hint(),
            Self::Layer { source: LayerError::Inflate { .. }, .. } => {
                Some("the wheel is damaged; remove it from the store and fetch it again".to_owned())
            }
            Self::FileAndFolder { .. } => Some("the two distributions cannot be installed together".to_owned()),
            Self::Layer { .. } | Self::Folder { .. } => None,
        }
    }
}

/// A wheel with what installing it, or a part of it, leaves behind.
pub type Placed<'a> = (&'a Wheel, &'a Installation);

enum Item<'a> {
    Folder,
    File { wheel: &'a Wheel, file: &'a InstalledFile },
}

/// Writes a group of installations, in lock order, as the entries of one layer.
///
/// Entries are sorted by path; every folder on the way to a file has one, as the parent has it or with mode 0755 of the
/// placement's owner. Gives the paths at which a later wheel overrode an earlier one.
///
/// # Errors
/// Fails when a content does not have its size, CRC-32 or RECORD hash, or when the layer cannot be written.
pub fn write<W: Write>(
    group: &[Placed<'_>],
    placement: &Placement<'_>,
    writer: &mut LayerWriter<W>,
) -> Result<Vec<Conflict>, PlaceError> {
    let (items, conflicts) = merge(group)?;
    for (path, item) in &items {
        let (uid, gid, mtime) = (placement.uid, placement.gid, PLACED_MTIME);
        match item {
            Item::Folder => {
                let new = DirectoryMeta { mode: 0o755, uid, gid, mtime };
                let DirectoryMeta { mode, uid, gid, mtime } = (placement.parent)(path).unwrap_or(new);
                let entry = Entry { path: path.clone(), kind: EntryKind::Directory, mode, uid, gid, mtime };
                writer.append(&entry).map_err(|source| PlaceError::Folder { path: path.clone(), source })?;
            }
            Item::File { wheel, file } => {
                let kind = EntryKind::File { size: file.size };
                let entry = Entry { path: path.clone(), kind, mode: file.mode, uid, gid, mtime };
                write_file(wheel, file, &entry, writer)?;
            }
        }
    }
    Ok(conflicts)
}

type Merged<'a> = (BTreeMap<EntryPath, Item<'a>>, Vec<Conflict>);

/// All entries of a group by path.
fn merge<'a>(group: &[Placed<'a>]) -> Result<Merged<'a>, PlaceError> {
    let mut items: BTreeMap<EntryPath, Item<'a>> = BTreeMap::new();
    let mut conflicts = Vec::new();
    for (wheel, installation) in group {
        for file in &installation.files {
            let item = Item::File { wheel, file };
            if let Some(Item::File { wheel: earlier, file: lost }) = items.insert(file.path.clone(), item)
                && !same_content((earlier, lost), (wheel, file))
            {
                let (lost, kept) = (earlier.file().to_owned(), wheel.file().to_owned());
                conflicts.push(Conflict { path: file.path.clone(), lost, kept });
            }
        }
    }
    for (_, installation) in group {
        for folder in &installation.empty_folders {
            add_folders(&mut items, Some(folder.clone()))?;
        }
        for file in &installation.files {
            add_folders(&mut items, file.path.parent())?;
        }
    }
    Ok((items, conflicts))
}

/// Adds `folder` and those above it; what was added before has its own above it already.
fn add_folders(items: &mut BTreeMap<EntryPath, Item<'_>>, mut folder: Option<EntryPath>) -> Result<(), PlaceError> {
    while let Some(path) = folder {
        match items.get(&path) {
            Some(Item::Folder) => break,
            Some(Item::File { wheel, .. }) => {
                return Err(PlaceError::FileAndFolder { path, wheel: wheel.file().to_owned() });
            }
            None => {}
        }
        folder = path.parent();
        items.insert(path, Item::Folder);
    }
    Ok(())
}

fn same_content(one: (&Wheel, &InstalledFile), other: (&Wheel, &InstalledFile)) -> bool {
    let digest = |(wheel, file): (&Wheel, &InstalledFile)| match &file.source {
        Source::Member(index) => wheel.digests[*index].clone(),
        Source::Bytes(content) => Some(Digest::of(content)),
    };
    one.1.size == other.1.size
        && one.1.mode == other.1.mode
        && digest(one).is_some_and(|own| Some(own) == digest(other))
}

fn write_file<W: Write>(
    wheel: &Wheel,
    file: &InstalledFile,
    entry: &Entry,
    writer: &mut LayerWriter<W>,
) -> Result<(), PlaceError> {
    let refused = |source| PlaceError::Layer { wheel: wheel.file().to_owned(), path: file.path.clone(), source };
    let index = match &file.source {
        Source::Bytes(content) => return writer.append_bytes(entry, content).map_err(refused),
        Source::Member(index) => *index,
    };
    let member = &wheel.archive.members()[index];
    let mut checker = wheel.digests[index].as_ref().map(Checker::new);
    let result = match (member.method, member.size) {
        (Method::Deflated, 1..) => {
            let mut raw = wheel.archive.raw(member);
            let record = checker.as_mut().map(Checker::digester);
            writer.append_deflated(entry, &mut raw, member.compressed, member.crc32, record)
        }
        _ => {
            let mut content = wheel.archive.reader(member);
            writer.append_reader(entry, &mut Inspected { inner: &mut content, checker: &mut checker })
        }
    };
    result.map_err(refused)?;
    finish(checker, member).map_err(|reason| wheel.refused(reason).into())
}

fn finish(checker: Option<Checker>, member: &Member) -> Result<(), RecordError> {
    checker.map_or(Ok(()), |checker| checker.finish(&member.name))
}

/// Shows what passes by to a checker.
struct Inspected<'a> {
    inner: &'a mut dyn Read,
    checker: &'a mut Option<Checker>,
}

impl Read for Inspected<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(checker) = self.checker.as_mut() {
            checker.update(&buffer[..count]);
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
