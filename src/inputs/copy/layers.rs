//! Writes a layer of files that stand in other layers: those of a stage or image that is copied from.
//!
//! Each layer that holds something is streamed once, and once more for contents that are wanted under another name too.
//! Nothing is unpacked to disk.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};

use crate::diagnostic::{Class, Diagnose};
use crate::image::filesystem::{IndexError, visit_files};
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
    let mut visit = |number: usize, content: &mut dyn Read| {
        let Some(placed) = wanted.get_mut(&number).and_then(Vec::pop) else { return Ok(()) };
        met.insert(number);
        writer.append_reader(&entry_of(placed), content).map_err(|error| {
            failed = Some(error);
            io::Error::other("the new layer cannot be written")
        })
    };
    let read = visit_files(source.blob, source.compression, &ReadLimits::default(), &mut visit);
    if let Some(error) = failed {
        return Err(error.into());
    }
    let (digest, _) = read.map_err(LayersError::Read)?;
    if digest != source.digest {
        return Err(LayersError::Digest(source.digest));
    }
    if wanted.keys().any(|number| !met.contains(number)) {
        return Err(LayersError::Lacks(source.digest));
    }
    wanted.retain(|_, placed| !placed.is_empty());
    Ok(())
}
