//! Writes a layer of placed files.
//!
//! What is written is what was hashed, or the layer is refused. Contents that stand in other layers are not written here.

use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use crate::inputs::copy::{ArchiveReader, open_archive};
use crate::inputs::source::{self, SourceLayerError, WalkError};
use crate::layer::read::TarEntry;
use crate::layer::{Entry, EntryKind, EntryPath, LayerError, LayerWriter, PLACED_MTIME};
use crate::oci::{Digest, Digester};
use crate::plan::DirectoryEntry;
use crate::plan::files::{FileContent, PlacedEntry, PlacedFiles, PlacedKind};

/// Appends what `files` holds, of the context at `root`: the directories above, removals, entries in their order.
///
/// # Errors
/// Fails with [`WalkError::SourceChanged`] when a file or archive is not what it was when it was hashed; when one cannot
/// be read; or when the writer fails.
pub fn write_files<W: Write>(
    files: &PlacedFiles,
    root: &Path,
    writer: &mut LayerWriter<W>,
) -> Result<(), SourceLayerError> {
    let mut archive: Option<OpenArchive> = None;
    write_frame(files, writer)?;
    for placed in &files.entries {
        let entry = entry_of(placed);
        match &placed.kind {
            PlacedKind::File { content: FileContent::Context { path, digest }, .. } => {
                source::append_file(&entry, digest, &source::place(root, path), writer)?;
            }
            PlacedKind::File { content: FileContent::Text(bytes), .. } => writer.append_bytes(&entry, bytes)?,
            PlacedKind::File { content: FileContent::Member { archive: path, digest, entry: number }, .. } => {
                let open = match archive.take() {
                    Some(open) if open.path == *path && open.next <= *number => open,
                    other => {
                        other.map(OpenArchive::finish).transpose()?;
                        OpenArchive::open(root, path, digest)?
                    }
                };
                archive = Some(open.append(&entry, *number, writer)?);
            }
            PlacedKind::File { content: FileContent::Layer(_), .. } => {
                return Err(LayerError::Kind { path: placed.path.clone() }.into());
            }
            PlacedKind::Directory | PlacedKind::Symlink { .. } | PlacedKind::Hardlink { .. } => {
                append_bare(files, placed, writer)?;
            }
        }
    }
    archive.map_or(Ok(()), OpenArchive::finish)
}

/// Appends the directories above and the removals of `files`.
pub(in crate::inputs) fn write_frame<W: Write>(
    files: &PlacedFiles,
    writer: &mut LayerWriter<W>,
) -> Result<(), LayerError> {
    for DirectoryEntry { path, mode, owner } in &files.directories {
        let (path, kind) = (path.clone(), EntryKind::Directory);
        writer.append(&Entry { path, kind, mode: *mode, uid: owner.uid, gid: owner.gid, mtime: PLACED_MTIME })?;
    }
    for path in &files.removed {
        writer.append(&marker(path.whiteout()))?;
    }
    Ok(())
}

/// Appends an entry without content.
pub(in crate::inputs) fn append_bare<W: Write>(
    files: &PlacedFiles,
    placed: &PlacedEntry,
    writer: &mut LayerWriter<W>,
) -> Result<(), LayerError> {
    writer.append(&entry_of(placed))?;
    if placed.kind == PlacedKind::Directory && files.emptied.contains(&placed.path) {
        writer.append(&marker(placed.path.opaque_whiteout()))?;
    }
    Ok(())
}

/// The entry of a tar.
pub(in crate::inputs) fn entry_of(placed: &PlacedEntry) -> Entry {
    let kind = match &placed.kind {
        PlacedKind::Directory => EntryKind::Directory,
        PlacedKind::File { size, .. } => EntryKind::File { size: *size },
        PlacedKind::Symlink { target } => EntryKind::Symlink { target: target.clone() },
        PlacedKind::Hardlink { target } => EntryKind::Hardlink { target: target.clone() },
    };
    let PlacedEntry { path, mode, owner, .. } = placed;
    Entry { path: path.clone(), kind, mode: *mode, uid: owner.uid, gid: owner.gid, mtime: PLACED_MTIME }
}

fn marker(path: EntryPath) -> Entry {
    Entry { path, kind: EntryKind::File { size: 0 }, mode: 0o644, uid: 0, gid: 0, mtime: PLACED_MTIME }
}

/// An archive that is read from its first entry on.
struct OpenArchive {
    path: EntryPath,
    at: std::path::PathBuf,
    expected: Digest,
    digester: Arc<Mutex<Digester>>,
    reader: ArchiveReader,
    /// The number of the entry that comes next.
    next: u64,
}

impl OpenArchive {
    fn open(root: &Path, path: &EntryPath, expected: &Digest) -> Result<Self, WalkError> {
        let at = source::place(root, path);
        let digester = Arc::new(Mutex::new(Digester::sha256()));
        let file = Digested { inner: source::open(&at)?, digester: Arc::clone(&digester) };
        let reader = open_archive(file).map_err(|source| WalkError::at(&at, source))?;
        Ok(Self { path: path.clone(), at, expected: expected.clone(), digester, reader, next: 0 })
    }

    fn changed(&self) -> WalkError {
        WalkError::SourceChanged { path: self.at.clone() }
    }

    fn append<W: Write>(
        mut self,
        entry: &Entry,
        number: u64,
        writer: &mut LayerWriter<W>,
    ) -> Result<Self, SourceLayerError> {
        let mut found: Option<TarEntry> = None;
        while self.next <= number {
            found = self.reader.next_entry().map_err(|_| self.changed())?;
            self.next += 1;
        }
        if found.is_none() {
            return Err(self.changed().into());
        }
        writer.append_reader(entry, &mut self.reader).map_err(|error| match error {
            LayerError::ContentChanged { .. } | LayerError::Read { .. } => SourceLayerError::from(self.changed()),
            other => other.into(),
        })?;
        Ok(self)
    }

    /// Reads to the end, where the digest shows whether the archive is the one that was planned with.
    fn finish(mut self) -> Result<(), SourceLayerError> {
        while self.reader.next_entry().map_err(|_| self.changed())?.is_some() {}
        let digester = self.digester.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if digester.finish() == self.expected { Ok(()) } else { Err(self.changed().into()) }
    }
}

/// Hashes what is read through it, for one who holds the digester too.
struct Digested<R> {
    inner: R,
    digester: Arc<Mutex<Digester>>,
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.digester.lock().unwrap_or_else(PoisonError::into_inner).update(&buffer[..count]);
        Ok(count)
    }
}
