//! From a layer's blob to its index, in one streaming pass.
//!
//! Memory is bounded by the limits, not by the blob: what is not kept passes by.

use std::io::{self, BufReader, Read};

use super::capture::Capture;
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

/// A regular file of a layer, as [`visit_files`] meets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetFile {
    /// The number that its entry has in the layer's index.
    pub number: usize,
    /// Its attribute `security.capability`.
    pub capability: Option<Vec<u8>>,
}

/// Reads a whole layer in one pass and hands the content of each regular file to `visit`; gives the digests of the blob and of the tar inside.
///
/// What `visit` leaves unread is passed over.
///
/// # Errors
/// Fails as [`LayerIndex::read`], and when `visit` does.
pub fn visit_files(
    blob: impl Read,
    compression: Compression,
    limits: &ReadLimits,
    visit: &mut dyn FnMut(&MetFile, &mut dyn Read) -> io::Result<()>,
) -> Result<(Digest, DiffId), IndexError> {
    let mut packed = Digester::sha256();
    let mut unpacked = Digester::sha256();
    let blob = Hashing { source: blob, digester: &mut packed };
    let tar = decompress(blob, compression, limits).map_err(IndexError::Decompress)?;
    let tar = BufReader::with_capacity(BUFFER, Hashing { source: tar, digester: &mut unpacked });
    let mut tar = TarReader::new(tar, limits);
    let mut number = 0;
    while let Some(entry) = tar.next_entry().map_err(IndexError::Tar)? {
        let Some((path, role)) = role_of(&entry)? else { continue };
        if role == Role::Content && entry.kind == TarKind::File {
            let met = MetFile { number, capability: entry.capability };
            visit(&met, &mut tar).map_err(|source| IndexError::Content { path, source })?;
        }
        number += 1;
    }
    drop(tar);
    Ok((packed.finish(), DiffId(unpacked.finish())))
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

/// What the name of an entry makes of it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Content,
    Whiteout,
    Opaque,
}

/// The path that an entry is about, and its role; `None` for the root and for AUFS' own files.
fn role_of(entry: &TarEntry) -> Result<Option<(EntryPath, Role)>, IndexError> {
    let Some(path) = normalise(&entry.path)? else {
        let is_root = entry.kind == TarKind::Directory;
        return if is_root { Ok(None) } else { Err(impossible(&entry.path)) };
    };
    if path.file_name() == OPAQUE {
        return Ok(Some((path, Role::Opaque)));
    }
    if path.as_bytes().starts_with(AUFS) {
        return Ok(None);
    }
    let Some(name) = path.file_name().strip_prefix(WHITEOUT) else { return Ok(Some((path, Role::Content))) };
    let removed = match path.parent() {
        Some(parent) => parent.join(name),
        None => EntryPath::parse(name),
    };
    let removed = removed.map_err(|_| IndexError::Whiteout { path: path.to_string() })?;
    Ok(Some((removed, Role::Whiteout)))
}

/// What `entry` changes; `None` for what is passed over.
fn change<R: Read>(entry: TarEntry, tar: &mut TarReader<R>) -> Result<Option<(EntryPath, Change)>, IndexError> {
    let path = match role_of(&entry)? {
        None => return Ok(None),
        Some((path, Role::Opaque)) => return Ok(Some((path, Change::Opaque))),
        Some((path, Role::Whiteout)) => return Ok(Some((path, Change::Whiteout))),
        Some((path, Role::Content)) => path,
    };
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
    let Some(capture) = Capture::of(path.as_bytes()).filter(|capture| capture.fits(size)) else {
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

#[cfg(test)]
mod tests {
    use super::super::{Filesystem, Libc};
    use super::*;

    fn tar(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, kind, text) in entries {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_entry_type(*kind);
            header.set_mode(0o640);
            header.set_uid(5);
            header.set_gid(6);
            let content = if *kind == tar::EntryType::Regular { text.as_bytes() } else { b"" };
            if content.is_empty() && !text.is_empty() {
                header.as_gnu_mut().unwrap().linkname[..text.len()].copy_from_slice(text.as_bytes());
            }
            header.set_size(content.len() as u64);
            header.set_cksum();
            builder.append(&header, content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn index(entries: &[(&str, tar::EntryType, &str)]) -> Result<LayerIndex, IndexError> {
        let tar = tar(entries);
        let (index, blob, diff_id) = LayerIndex::read(&tar[..], Compression::None, &ReadLimits::default())?;
        assert_eq!((&blob, &diff_id.0), (&Digest::of(&tar), &Digest::of(&tar)));
        Ok(index)
    }

    use tar::EntryType::{Directory, Link, Regular, Symlink};

    #[test]
    fn paths_are_normalised_and_whiteouts_told_from_files() {
        let index = index(&[
            ("./", Directory, ""),
            ("./a//b/", Directory, ""),
            ("/a/./c", Regular, "content"),
            ("d", Link, "./a/c"),
            ("e", Symlink, "../a"),
            ("a/.wh.x", Regular, ""),
            ("a/.wh..wh.x", Regular, ""),
            ("a/.wh..wh..opq", Regular, ""),
            (".wh..wh..opq", Regular, ""),
            (".wh..wh.plnk/1.2", Regular, ""),
        ])
        .unwrap();
        let lines: Vec<String> = index
            .changes()
            .iter()
            .map(|(path, change)| match change {
                Change::Put(node) => format!("{path} {:o} {} {} {:?}", node.mode, node.uid, node.gid, node.kind),
                Change::Link(target) => format!("{path} = {target}"),
                other => format!("{path} {other:?}"),
            })
            .collect();
        let expected = [
            "a/b 640 5 6 Directory",
            "a/c 640 5 6 File { size: 7 }",
            "d = a/c",
            "e 640 5 6 Symlink { target: [46, 46, 47, 97] }",
            "a/x Whiteout",
            "a/.wh.x Whiteout",
            "a/.wh..wh..opq Opaque",
            ".wh..wh..opq Opaque",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn entries_that_leave_the_root_or_name_nothing_are_refused() {
        for (path, kind, text) in [
            ("../a", Regular, ""),
            ("a/../b", Directory, ""),
            ("a", Link, "../b"),
            ("a", Link, "/"),
            ("a", Symlink, ""),
            (".", Regular, ""),
            ("", Regular, ""),
        ] {
            assert!(matches!(index(&[(path, kind, text)]), Err(IndexError::Path { .. })), "{path} {text}");
        }
        for path in [".wh.", ".wh..", ".wh...", "a/.wh.", "a/.wh..."] {
            assert!(matches!(index(&[(path, Regular, "")]), Err(IndexError::Whiteout { .. })), "{path}");
        }
    }

    #[test]
    fn what_planning_needs_is_kept_and_nothing_else() {
        let glibc = "..GNU C Library (x) stable release version 2.31.\n";
        let index = index(&[
            ("etc/passwd", Regular, "root:x:0:0::/:"),
            ("etc/hosts", Regular, "1 a"),
            ("lib/libc.so.6", Regular, glibc),
            ("s/a-1.dist-info/METADATA", Regular, "Name: a\n\nlong text"),
        ])
        .unwrap();
        let fs = Filesystem::merge([index]).unwrap();
        assert_eq!(fs.content("/etc/passwd"), Some(&b"root:x:0:0::/:"[..]));
        assert_eq!(fs.content("/s/a-1.dist-info/METADATA"), Some(&b"Name: a\n"[..]));
        assert_eq!(fs.content("/etc/hosts"), None);
        assert_eq!(fs.resolve("lib/libc.so.6").unwrap().node.libc(), Some(Libc::Glibc(2, 31)));
    }

    #[test]
    fn both_digests_are_those_of_a_compressed_layer() {
        let tar = tar(&[("a", Regular, "1")]);
        let blob = zstd::bulk::compress(&tar, 3).unwrap();
        let (_, digest, diff_id) = LayerIndex::read(&blob[..], Compression::Zstd, &ReadLimits::default()).unwrap();
        assert_eq!((digest, diff_id.0), (Digest::of(&blob), Digest::of(&tar)));
    }
}
