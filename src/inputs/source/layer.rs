//! Writes a source tree as one layer.
//!
//! The files are read again: what is written is what was hashed, or the layer is refused. Links that lead to the
//! destination are not resolved; the caller gives the path that the parent image resolves it to.

use std::io::{self, Read, Write};
use std::path::Path;

use super::content;
use super::error::WalkError;
use super::tree::{SourceEntry, SourceKind, SourceTree};
use super::walk::place;
use crate::diagnostic::{Class, Diagnose};
use crate::layer::{Entry, EntryKind, EntryPath, LayerError, LayerWriter, PLACED_MTIME};
use crate::oci::{Digest, Digester};

/// What `chmod a+rw` adds to a mode.
const ALL_READ_WRITE: u32 = 0o666;
/// The mode of a directory and of an executable file after `chmod a+rw`.
const OPEN: u32 = 0o777;
/// The mode of any other file after `chmod a+rw`.
const OPEN_FILE: u32 = 0o666;

/// Why a source layer cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum SourceLayerError {
    /// A source cannot be read, or is not what it was when it was hashed.
    #[error(transparent)]
    Source(#[from] WalkError),
    /// The layer cannot be written.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

impl Diagnose for SourceLayerError {
    fn class(&self) -> Class {
        match self {
            Self::Source(error) => error.class(),
            Self::Layer(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.hint(),
            Self::Layer(error) => error.hint(),
        }
    }
}

/// Mode and owner of a directory that the parent image has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParentDirectory {
    /// Permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
}

/// Where a source tree goes in an image.
pub struct Placement<'a> {
    /// The directory that takes the tree, such as `app`.
    pub destination: EntryPath,
    /// Owner of everything placed, the destination included.
    pub uid: u64,
    /// Group of everything placed.
    pub gid: u64,
    /// The directories of the parent image; `None` for one that it lacks, which is then made as root's with `0755`.
    pub parent: &'a dyn Fn(&EntryPath) -> Option<ParentDirectory>,
}

/// Appends the tree that was walked at `root` to a layer: each directory on the way, the destination, the entries.
///
/// Modes are those that `chmod -R a+rw` leaves after a checkout: `0666` for files, `0777` for executable ones,
/// directories and links.
///
/// # Errors
/// Fails with [`WalkError::SourceChanged`] when a file is not what it was when the tree was walked; when one cannot be
/// read; or when the writer fails.
pub fn write_layer<W: Write>(
    tree: &SourceTree,
    root: &Path,
    placement: &Placement<'_>,
    writer: &mut LayerWriter<W>,
) -> Result<(), SourceLayerError> {
    for directory in way_to(placement) {
        writer.append(&directory)?;
    }
    for source in tree.entries() {
        let path = placement.destination.join(source.path.as_bytes()).map_err(|error| {
            let source = io::Error::new(io::ErrorKind::InvalidData, error);
            WalkError::at(&place(root, &placement.destination), source)
        })?;
        let mode = match &source.kind {
            SourceKind::Directory | SourceKind::Symlink { .. } | SourceKind::File { executable: true, .. } => OPEN,
            SourceKind::File { .. } => OPEN_FILE,
        };
        append_source(source, path, mode, (placement.uid, placement.gid), root, writer)?;
    }
    Ok(())
}

/// Appends one entry of a tree that was walked at `root`, as `path`.
pub(super) fn append_source<W: Write>(
    source: &SourceEntry,
    path: EntryPath,
    mode: u32,
    (uid, gid): (u64, u64),
    root: &Path,
    writer: &mut LayerWriter<W>,
) -> Result<(), SourceLayerError> {
    let kind = match &source.kind {
        SourceKind::Directory => EntryKind::Directory,
        SourceKind::Symlink { target } => EntryKind::Symlink { target: target.clone() },
        SourceKind::File { size, .. } => EntryKind::File { size: *size },
    };
    let entry = Entry { path, kind, mode, uid, gid, mtime: PLACED_MTIME };
    match &source.kind {
        SourceKind::File { digest, .. } => append_file(&entry, digest, &place(root, &source.path), writer),
        SourceKind::Directory | SourceKind::Symlink { .. } => Ok(writer.append(&entry)?),
    }
}

/// The directories from the top down to the destination.
fn way_to(placement: &Placement<'_>) -> Vec<Entry> {
    let mut way = Vec::new();
    let mut next = Some(placement.destination.clone());
    while let Some(path) = next {
        next = path.parent();
        let above = ParentDirectory { mode: 0o755, uid: 0, gid: 0 };
        let mut found = (placement.parent)(&path).unwrap_or(above);
        if path == placement.destination {
            found = ParentDirectory { mode: found.mode | ALL_READ_WRITE, uid: placement.uid, gid: placement.gid };
        }
        let ParentDirectory { mode, uid, gid } = found;
        way.push(Entry { path, kind: EntryKind::Directory, mode, uid, gid, mtime: PLACED_MTIME });
    }
    way.reverse();
    way
}

/// Appends the file at `path` on disk, which must have the digest that is expected.
pub(in crate::inputs) fn append_file<W: Write>(
    entry: &Entry,
    expected: &Digest,
    path: &Path,
    writer: &mut LayerWriter<W>,
) -> Result<(), SourceLayerError> {
    let mut file = Hashed { inner: content::open(path)?, digester: Digester::sha256() };
    let changed = || WalkError::SourceChanged { path: path.into() };
    writer.append_reader(entry, &mut file).map_err(|error| match error {
        LayerError::ContentChanged { .. } => SourceLayerError::from(changed()),
        LayerError::Read { source, .. } => WalkError::at(path, source).into(),
        other => other.into(),
    })?;
    if file.digester.finish() == *expected { Ok(()) } else { Err(changed().into()) }
}

/// Hashes what is read through it.
struct Hashed<R> {
    inner: R,
    digester: Digester,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digester.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::inputs::ignore::IgnoreRules;
    use crate::inputs::source::{WalkOptions, walk};

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text).unwrap()
    }

    fn write(tree: &SourceTree, root: &Path) -> Result<Vec<u8>, SourceLayerError> {
        let parent =
            |path: &EntryPath| (path.as_bytes() == b"opt").then_some(ParentDirectory { mode: 0o1755, uid: 3, gid: 4 });
        let placement = Placement { destination: path("opt/app"), uid: 1000, gid: 100, parent: &parent };
        let mut writer = LayerWriter::new(Vec::new());
        write_layer(tree, root, &placement, &mut writer)?;
        Ok(writer.finish()?.1)
    }

    fn sample(root: &Path) -> SourceTree {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "content").unwrap();
        fs::write(root.join("run"), "").unwrap();
        fs::set_permissions(root.join("run"), std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink("../outside", root.join("link")).unwrap();
        walk(root, &IgnoreRules::default(), &WalkOptions::default()).unwrap()
    }

    #[test]
    fn modes_and_owners_are_folded_into_the_headers() {
        let root = tempfile::tempdir().unwrap();
        let blob = write(&sample(root.path()), root.path()).unwrap();
        let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(&blob[..]));
        let headers = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            assert_eq!(header.mtime().unwrap(), PLACED_MTIME.cast_unsigned());
            (name, header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap())
        });
        let expected = [
            ("opt/", 0o1755, 3, 4),
            ("opt/app/", 0o777, 1000, 100),
            ("opt/app/d/", 0o777, 1000, 100),
            ("opt/app/d/f", 0o666, 1000, 100),
            ("opt/app/link", 0o777, 1000, 100),
            ("opt/app/run", 0o777, 1000, 100),
        ];
        let expected = expected.map(|(name, mode, uid, gid)| (name.to_owned(), mode, uid, gid));
        assert_eq!(headers.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_file_that_changed_since_the_walk_is_named() {
        let disturbances: [fn(&Path); 5] = [
            |file| fs::write(file, "CONTENT").unwrap(),
            |file| fs::write(file, "content and more").unwrap(),
            |file| fs::write(file, "short").unwrap(),
            |file| fs::remove_file(file).unwrap(),
            |file| {
                fs::rename(file, file.with_extension("moved")).unwrap();
                std::os::unix::fs::symlink("f.moved", file).unwrap();
            },
        ];
        for disturb in disturbances {
            let root = tempfile::tempdir().unwrap();
            let tree = sample(root.path());
            let file = root.path().join("d/f");
            disturb(&file);
            let error = write(&tree, root.path()).unwrap_err();
            let named = matches!(&error, SourceLayerError::Source(WalkError::SourceChanged { path }) if *path == file);
            assert!(named, "{error:?}");
        }
    }
}
