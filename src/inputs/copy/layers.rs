//! Writes a layer of files that stand in other layers: those of a stage or image that is copied from.
//!
//! Each layer that holds something is streamed once, and once more for contents that are wanted under another name too.
//! Nothing is unpacked to disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use crate::diagnostic::{Class, Diagnose};
use crate::image::filesystem::{IndexError, MetFile, visit_files};
use crate::inputs::context::{append_bare, entry_of, write_frame};
use crate::layer::read::ReadLimits;
use crate::layer::{LayerError, LayerWriter};
use crate::oci::{Compression, Digest};
use crate::plan::files::{FileContent, PlacedEntry, PlacedFiles, PlacedKind};

/// A layer that contents are read from.
pub struct SourceLayer {
    /// Its bytes.
    pub blob: Box<dyn Read + Send>,
    /// How they are compressed.
    pub compression: Compression,
    /// What their digest has to be.
    pub digest: Digest,
}

/// Why such a layer cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum LayersError {
    /// A source layer cannot be opened.
    #[error("a layer of what is copied from cannot be opened")]
    Open(#[source] io::Error),
    /// A source layer cannot be read.
    #[error("a layer of what is copied from cannot be read")]
    Read(#[source] IndexError),
    /// A source layer has other bytes than it should.
    #[error("layer `{0}` of what is copied from has other bytes")]
    Digest(Digest),
    /// A source layer lacks a file that its index has.
    #[error("layer `{0}` of what is copied from lacks a file of its index")]
    Lacks(Digest),
    /// The layer cannot be written.
    #[error(transparent)]
    Layer(#[from] LayerError),
}

impl Diagnose for LayersError {
    fn class(&self) -> Class {
        Class::Failed
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Open(_) | Self::Read(_) => {
                Some("try again; if it stays so, the layer is damaged where it lies".into())
            }
            Self::Digest(_) | Self::Lacks(_) => {
                Some("the registry or the store serves other bytes than it says".into())
            }
            Self::Layer(error) => error.hint(),
        }
    }
}

/// Appends what `files` holds: contents of [`FileContent::Layer`] from the layers that `open` opens by their number, and
/// those that need no layer.
///
/// # Errors
/// Fails when a layer cannot be read, has other bytes than its digest says, or the writer fails.
pub fn write_from_layers<W: Write>(
    files: &PlacedFiles,
    open: &mut dyn FnMut(usize) -> io::Result<SourceLayer>,
    writer: &mut LayerWriter<W>,
) -> Result<(), LayersError> {
    write_frame(files, writer)?;
    let mut wanted: BTreeMap<usize, BTreeMap<usize, Vec<&PlacedEntry>>> = BTreeMap::new();
    let mut links = Vec::new();
    for placed in &files.entries {
        match &placed.kind {
            PlacedKind::File { size: 1.., content: FileContent::Layer(origin) } => {
                wanted.entry(origin.layer).or_default().entry(origin.entry).or_default().push(placed);
            }
            PlacedKind::File { content: FileContent::Text(bytes), .. } => {
                writer.append_bytes(&entry_of(placed), bytes)?;
            }
            PlacedKind::File { .. } => writer.append(&entry_of(placed))?,
            PlacedKind::Hardlink { .. } => links.push(placed),
            PlacedKind::Directory | PlacedKind::Symlink { .. } => append_bare(files, placed, writer)?,
        }
    }
    for (layer, mut entries) in wanted {
        while !entries.is_empty() {
            stream(open(layer).map_err(LayersError::Open)?, &mut entries, writer)?;
        }
    }
    for link in links {
        append_bare(files, link, writer)?;
    }
    Ok(())
}

/// Writes one of the entries that each file is wanted for.
fn stream<W: Write>(
    source: SourceLayer,
    wanted: &mut BTreeMap<usize, Vec<&PlacedEntry>>,
    writer: &mut LayerWriter<W>,
) -> Result<(), LayersError> {
    let mut failed = None;
    let mut met = BTreeSet::new();
    let mut visit = |file: &MetFile, content: &mut dyn Read| {
        let Some(placed) = wanted.get_mut(&file.number).and_then(Vec::pop) else { return Ok(()) };
        met.insert(file.number);
        writer.append_capable(&entry_of(placed), file.capability.as_deref(), content).map_err(|error| {
            failed = Some(error);
            io::Error::other("the new layer cannot be written")
        })
    };
    let read = visit_files(source.blob, source.compression, &ReadLimits::default(), &mut visit);
    if let Some(error) = failed {
        return Err(error.into());
    }
    let (digest, _) = read.map_err(LayersError::Read)?;
    // A digest of another algorithm was verified where the bytes came from.
    if source.digest.algorithm() == digest.algorithm() && digest != source.digest {
        return Err(LayersError::Digest(source.digest));
    }
    if wanted.keys().any(|number| !met.contains(number)) {
        return Err(LayersError::Lacks(source.digest));
    }
    wanted.retain(|_, placed| !placed.is_empty());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::filesystem::Origin;
    use crate::image::users::Owner;
    use crate::layer::{Entry, EntryKind, EntryPath};

    /// A layer with one file, `ping`, that may open raw sockets.
    fn capable() -> Vec<u8> {
        let mut writer = LayerWriter::new(Vec::new());
        let kind = EntryKind::File { size: 4 };
        let entry = Entry { path: EntryPath::parse("ping").unwrap(), kind, mode: 0o755, uid: 0, gid: 0, mtime: 0 };
        writer.append_capable(&entry, Some(CAP_NET_RAW), &mut &b"ping"[..]).unwrap();
        writer.finish().unwrap().1
    }

    /// `cap_net_raw=ep` in the second version of the attribute, NULs and all.
    const CAP_NET_RAW: &[u8] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

    #[test]
    fn a_copied_file_keeps_its_capabilities() {
        let blob = capable();
        let content = FileContent::Layer(Origin { layer: 0, entry: 0 });
        let kind = PlacedKind::File { size: 4, content };
        let path = EntryPath::parse("bin/ping").unwrap();
        let placed = PlacedEntry { path, kind, mode: 0o755, owner: Owner { uid: 7, gid: 7 } };
        let files = PlacedFiles { entries: vec![placed], ..PlacedFiles::default() };
        let digest = Digest::of(&blob);
        let mut open = |_| {
            let blob: Box<dyn Read + Send> = Box::new(io::Cursor::new(blob.clone()));
            Ok(SourceLayer { blob, compression: Compression::Gzip, digest: digest.clone() })
        };
        let mut writer = LayerWriter::new(Vec::new());
        write_from_layers(&files, &mut open, &mut writer).unwrap();
        let (_, copy) = writer.finish().unwrap();
        let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(&copy[..]));
        let mut entry = archive.entries().unwrap().last().unwrap().unwrap();
        let records: Vec<_> = entry.pax_extensions().unwrap().unwrap().map(Result::unwrap).collect();
        assert_eq!(records[0].key(), Ok("SCHILY.xattr.security.capability"));
        assert_eq!(records[0].value_bytes(), CAP_NET_RAW);
        let mut met = Vec::new();
        visit_files(&copy[..], Compression::Gzip, &ReadLimits::default(), &mut |file, _| {
            met.push(file.capability.clone());
            Ok(())
        })
        .unwrap();
        assert_eq!(met, [Some(CAP_NET_RAW.to_vec())]);
    }
}
