//! From a layer's blob to its index, in one streaming pass.
//!
//! Memory is bounded by the limits, not by the blob: what is not kept passes by.

use std::io::{self, BufReader, Read};

use super::capture::{Capture, MAX_CAPTURED};
use super::libc::LibcScan;
use super::node::Kept;
use super::{Change, LayerIndex, Node, NodeKind};
use crate::diagnostic::Diagnose;
use crate::layer::EntryPath;
use crate::layer::read::{ReadLimits, TarEntry, TarError, TarKind, TarReader, decompress};
use crate::oci::{Compression, DiffId, Digest, Digester};

/// Linux's limit of paths and link targets.
const MAX_PATH: usize = 4096;
/// What one index may keep of paths, targets and contents.
const MAX_KEPT: u64 = 256 << 20;
/// Buffer of uncompressed bytes.
const BUFFER: usize = 128 << 10;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
/// Begins the names of AUFS' own files at the root, which no runtime unpacks.
const AUFS: &[u8] = b".wh..wh.";

/// Why a layer has no index.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The blob cannot be decompressed.
    #[error("the layer cannot be decompressed")]
    Decompress(#[source] io::Error),
    /// The tar is refused.
    #[error("the layer's tar is refused")]
    Tar(#[source] TarError),
    /// The content of an entry cannot be read.
    #[error("the content of `{path}` cannot be read")]
    Content {
        /// The entry.
        path: EntryPath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A path or hard link that leaves the root, names the root, holds a NUL or is too long.
    #[error("the layer has an entry of the impossible path `{path}`")]
    Path {
        /// The path as it stands there.
        path: String,
    },
    /// A whiteout that names nothing.
    #[error("the layer has the impossible whiteout `{path}`")]
    Whiteout {
        /// The path as it stands there.
        path: String,
    },
    /// Paths and contents take more memory than an index is given.
    #[error("the paths and metadata of the layer take more than {MAX_KEPT} bytes")]
    TooLarge,
}

impl Diagnose for IndexError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Content { .. } | Self::TooLarge => None,
            _ => Some("the layer is damaged or hostile; pull the parent again or choose another".into()),
        }
    }
}

pub(super) fn read_layer(
    blob: impl Read,
    compression: Compression,
    limits: &ReadLimits,
) -> Result<(LayerIndex, Digest, DiffId), IndexError> {
    let mut packed = Digester::sha256();
    let mut unpacked = Digester::sha256();
    let blob = Hashing { source: blob, digester: &mut packed };
    let tar = decompress(blob, compression, limits).map_err(IndexError::Decompress)?;
    let tar = BufReader::with_capacity(BUFFER, Hashing { source: tar, digester: &mut unpacked });
    let mut tar = TarReader::new(tar, limits);
    let mut changes = Vec::new();
    let mut left = MAX_KEPT;
    while let Some(entry) = tar.next_entry().map_err(IndexError::Tar)? {
        let Some((path, change)) = change(entry, &mut tar)? else { continue };
        left = left.checked_sub(cost(&path, &change)).ok_or(IndexError::TooLarge)?;
        changes.push((path, change));
    }
    drop(tar);
    Ok((LayerIndex::new(changes), packed.finish(), DiffId(unpacked.finish())))
}

struct Hashing<'a, R> {
    source: R,
    digester: &'a mut Digester,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(out)?;
        self.digester.update(&out[..read]);
        Ok(read)
    }
}

fn cost(path: &EntryPath, change: &Change) -> u64 {
    let more = match change {
        Change::Put(node) => {
            let target = if let NodeKind::Symlink { target } = &node.kind { target.len() } else { 0 };
            target + node.content().map_or(0, <[u8]>::len)
        }
        Change::Link(target) => target.as_bytes().len(),
        Change::Whiteout | Change::Opaque => 0,
    };
    (path.as_bytes().len() + more) as u64
}

/// What `entry` changes; `None` for the root and for AUFS' own files.
fn change<R: Read>(entry: TarEntry, tar: &mut TarReader<R>) -> Result<Option<(EntryPath, Change)>, IndexError> {
    let Some(path) = normalise(&entry.path)? else {
        let is_root = entry.kind == TarKind::Directory;
        return if is_root { Ok(None) } else { Err(impossible(&entry.path)) };
    };
    if path.file_name() == OPAQUE {
        return Ok(Some((path, Change::Opaque)));
    }
    if path.as_bytes().starts_with(AUFS) {
        return Ok(None);
    }
    if let Some(name) = path.file_name().strip_prefix(WHITEOUT) {
        let removed = match path.parent() {
            Some(parent) => parent.join(name),
            None => EntryPath::parse(name),
        };
        let removed = removed.map_err(|_| IndexError::Whiteout { path: path.to_string() })?;
        return Ok(Some((removed, Change::Whiteout)));
    }
    let kind = match entry.kind {
        TarKind::Hardlink { target } => {
            let target = normalise(&target)?.ok_or_else(|| impossible(&target))?;
            return Ok(Some((path, Change::Link(target))));
        }
        TarKind::Directory => NodeKind::Directory,
        TarKind::File => NodeKind::File { size: entry.size },
        TarKind::Symlink { target } if target.len() > MAX_PATH || target.is_empty() => return Err(impossible(&target)),
        TarKind::Symlink { target } => NodeKind::Symlink { target },
        TarKind::CharDevice | TarKind::BlockDevice | TarKind::Fifo => NodeKind::Special,
    };
    let kept = match kind {
        NodeKind::File { size } => keep(&path, size, tar)?,
        _ => Kept::Nothing,
    };
    let node = Node::new(kind, entry.mode, entry.uid, entry.gid).with_kept(kept);
    Ok(Some((path, Change::Put(node))))
}

fn keep<R: Read>(path: &EntryPath, size: u64, tar: &mut TarReader<R>) -> Result<Kept, IndexError> {
    let failed = |source| IndexError::Content { path: path.clone(), source };
    if let Some(mut scan) = LibcScan::for_file(path.file_name()) {
        let mut piece = vec![0; 64 << 10];
        loop {
            match tar.read(&mut piece).map_err(failed)? {
                0 => return Ok(scan.finish().map_or(Kept::Nothing, Kept::Libc)),
                read => scan.update(&piece[..read]),
            }
        }
    }
    let Some(capture) = Capture::of(path.as_bytes()).filter(|_| size <= MAX_CAPTURED) else {
        return Ok(Kept::Nothing);
    };
    let mut content = Vec::new();
    tar.read_to_end(&mut content).map_err(failed)?;
    Ok(Kept::Content(capture.reduce(content).into()))
}

/// A tar's path as an image's: no leading, doubled or trailing slash, no `.`; `None` for the root. `..` is refused.
fn normalise(written: &[u8]) -> Result<Option<EntryPath>, IndexError> {
    let parts: Vec<&[u8]> = written.split(|byte| *byte == b'/').filter(|part| !matches!(part, [] | [b'.'])).collect();
    if parts.is_empty() {
        return Ok(None);
    }
    if written.len() > MAX_PATH {
        return Err(impossible(&written[..MAX_PATH]));
    }
    EntryPath::parse(parts.join(&b'/')).map(Some).map_err(|_| impossible(written))
}

fn impossible(path: &[u8]) -> IndexError {
    IndexError::Path { path: String::from_utf8_lossy(path).into_owned() }
}
