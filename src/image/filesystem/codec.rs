//! The bytes of an index: front-coded paths in a compact binary form, compressed with Zstandard.
//!
//! No checksum of its own: an index is kept and pushed as a blob, under its digest.

use std::io::Read;

use super::node::Kept;
use super::{Change, Filesystem, LayerIndex, Libc, Node, NodeKind};
use crate::layer::{EntryPath, EntryPathError};

/// `LSI`, the version of the form, then what it holds.
const MAGIC: &[u8; 4] = b"LSI\x03";
const LAYER: u8 = b'l';
const FILESYSTEM: u8 = b'f';
/// Zstandard's level; an index is written once and read often.
const LEVEL: i32 = 3;
/// The largest index that is read, unpacked.
const MAX_UNPACKED: u64 = 512 << 20;

const DIRECTORY: u8 = 0;
const FILE: u8 = 1;
const SYMLINK: u8 = 2;
const SPECIAL: u8 = 3;
const HARDLINK: u8 = 4;
const WHITEOUT: u8 = 5;
const OPAQUE: u8 = 6;
const KEPT_CONTENT: u8 = 0x10;
const KEPT_LIBC: u8 = 0x20;

/// Why bytes are no index.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The first bytes are another version's, another kind's, or none of ours.
    #[error("these bytes are no index of this version")]
    Magic,
    /// The compressed part is damaged.
    #[error("the index cannot be decompressed")]
    Zstd(#[source] std::io::Error),
    /// The index is larger than any image needs.
    #[error("the index is larger than {MAX_UNPACKED} bytes")]
    TooLarge,
    /// A record ends too early, or holds a value that cannot be.
    #[error("the index is damaged at byte {0}")]
    Damaged(usize),
    /// A path is none.
    #[error("the index holds an impossible path")]
    Path(#[source] EntryPathError),
    /// The paths of a filesystem are not in order, or one has no directory above it.
    #[error("the index holds `{0}` out of place")]
    Order(EntryPath),
}

impl LayerIndex {
    /// The bytes of this index; equal indexes give equal bytes.
    ///
    /// # Errors
    /// Fails when Zstandard does, which is out of memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        let mut body = Body::default();
        body.number(self.changes().len() as u64);
        for (path, change) in self.changes() {
            body.path(path);
            body.change(change);
        }
        body.pack(LAYER)
    }

    /// Reads what [`LayerIndex::to_bytes`] wrote.
    ///
    /// # Errors
    /// Fails on anything else, and on an index of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let body = unpack(bytes, LAYER)?;
        let mut input = Input { bytes: &body, at: 0, last: Vec::new() };
        let mut changes = Vec::new();
        for _ in 0..input.number()? {
            changes.push((input.path()?, input.change()?));
        }
        input.end()?;
        Ok(Self::new(changes))
    }
}

impl Filesystem {
    /// The bytes of this view; equal views give equal bytes.
    ///
    /// # Errors
    /// Fails when Zstandard does, which is out of memory.
    pub fn to_bytes(&self) -> Result<Vec<u8>, CodecError> {
        let mut body = Body::default();
        body.number(self.nodes.len() as u64);
        for (path, node) in &self.nodes {
            body.path(path);
            body.node(node);
        }
        body.pack(FILESYSTEM)
    }

    /// Reads what [`Filesystem::to_bytes`] wrote.
    ///
    /// # Errors
    /// Fails on anything else, and on an index of another version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, CodecError> {
        let body = unpack(bytes, FILESYSTEM)?;
        let mut input = Input { bytes: &body, at: 0, last: Vec::new() };
        let mut nodes: Vec<(EntryPath, Node)> = Vec::new();
        // The last directory that something was found in: most paths have the one of the path before.
        let mut holder: Option<usize> = None;
        for _ in 0..input.number()? {
            let path = input.path()?;
            let Change::Put(node) = input.change()? else { return Err(input.damaged()) };
            let in_order = nodes.last().is_none_or(|(last, _)| *last < path);
            if !in_order || !is_held(&nodes, &mut holder, path.as_bytes()) {
                return Err(CodecError::Order(path));
            }
            nodes.push((path, node));
        }
        input.end()?;
        // In order already, they become a map without a search for each.
        Ok(Self { nodes: nodes.into_iter().collect() })
    }
}

#[derive(Default)]
struct Body {
    bytes: Vec<u8>,
    last: Vec<u8>,
}

impl Body {
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    fn text(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    fn path(&mut self, path: &EntryPath) {
        let path = path.as_bytes();
        let shared = self.last.iter().zip(path).take_while(|(a, b)| a == b).count();
        self.number(shared as u64);
        self.text(&path[shared..]);
        path.clone_into(&mut self.last);
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::Put(node) => self.node(node),
            Change::Link(target) => {
                self.bytes.push(HARDLINK);
                self.text(target.as_bytes());
            }
            Change::Whiteout => self.bytes.push(WHITEOUT),
            Change::Opaque => self.bytes.push(OPAQUE),
        }
    }

    fn node(&mut self, node: &Node) {
        let kind = match node.kind {
            NodeKind::Directory => DIRECTORY,
            NodeKind::File { .. } => FILE,
            NodeKind::Symlink { .. } => SYMLINK,
            NodeKind::Special => SPECIAL,
        };
        let kept = match node.kept {
            Kept::Nothing => 0,
            Kept::Content(_) => KEPT_CONTENT,
            Kept::Libc(_) => KEPT_LIBC,
        };
        self.bytes.push(kind | kept);
        self.number(u64::from(node.mode));
        self.number(node.uid);
        self.number(node.gid);
        match &node.kind {
            NodeKind::File { size } => self.number(*size),
            NodeKind::Symlink { target } => self.text(target),
            NodeKind::Directory | NodeKind::Special => {}
        }
        match &node.kept {
            Kept::Nothing => {}
            Kept::Content(content) => self.text(content),
            Kept::Libc(libc) => {
                let (family, major, minor) = match *libc {
                    Libc::Unknown => (0, 0, 0),
                    Libc::Glibc(major, minor) => (1, major, minor),
                    Libc::Musl(major, minor) => (2, major, minor),
                };
                self.bytes.push(family);
                self.number(u64::from(major));
                self.number(u64::from(minor));
            }
        }
    }

    fn pack(self, kind: u8) -> Result<Vec<u8>, CodecError> {
        let mut packed = MAGIC.to_vec();
        packed.push(kind);
        packed.append(&mut zstd::bulk::compress(&self.bytes, LEVEL).map_err(CodecError::Zstd)?);
        Ok(packed)
    }
}

/// Whether the directory above `path` is among the sorted `nodes`; `holder` is where the last one was.
fn is_held(nodes: &[(EntryPath, Node)], holder: &mut Option<usize>, path: &[u8]) -> bool {
    let Some(slash) = path.iter().rposition(|byte| *byte == b'/') else { return true };
    let above = &path[..slash];
    if holder.is_some_and(|at| nodes[at].0.as_bytes() == above) {
        return true;
    }
    *holder = nodes.binary_search_by(|(path, _)| path.as_bytes().cmp(above)).ok();
    holder.is_some_and(|at| nodes[at].1.is_directory())
}

fn unpack(bytes: &[u8], kind: u8) -> Result<Vec<u8>, CodecError> {
    let packed = bytes.strip_prefix(MAGIC).and_then(|rest| rest.strip_prefix(&[kind])).ok_or(CodecError::Magic)?;
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(CodecError::Zstd)?.single_frame();
    decoder.window_log_max(27).map_err(CodecError::Zstd)?;
    let mut body = Vec::new();
    (&mut decoder).take(MAX_UNPACKED + 1).read_to_end(&mut body).map_err(CodecError::Zstd)?;
    if body.len() as u64 > MAX_UNPACKED {
        return Err(CodecError::TooLarge);
    }
    if !decoder.finish().is_empty() {
        return Err(CodecError::Damaged(bytes.len()));
    }
    Ok(body)
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
    last: Vec<u8>,
}

impl<'a> Input<'a> {
    fn damaged(&self) -> CodecError {
        CodecError::Damaged(self.at)
    }

    fn byte(&mut self) -> Result<u8, CodecError> {
        let byte = *self.bytes.get(self.at).ok_or_else(|| self.damaged())?;
        self.at += 1;
        Ok(byte)
    }

    fn number(&mut self) -> Result<u64, CodecError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if part << shift >> shift != part {
                return Err(self.damaged());
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.damaged())
    }

    fn small(&mut self) -> Result<u32, CodecError> {
        let value = self.number()?;
        u32::try_from(value).map_err(|_| self.damaged())
    }

    fn text(&mut self) -> Result<&'a [u8], CodecError> {
        let len = usize::try_from(self.number()?).map_err(|_| self.damaged())?;
        let end = self.at.checked_add(len).ok_or_else(|| self.damaged())?;
        let text = self.bytes.get(self.at..end).ok_or_else(|| self.damaged())?;
        self.at = end;
        Ok(text)
    }

    fn path(&mut self) -> Result<EntryPath, CodecError> {
        let shared = usize::try_from(self.number()?).map_err(|_| self.damaged())?;
        if shared > self.last.len() {
            return Err(self.damaged());
        }
        let suffix = self.text()?;
        self.last.truncate(shared);
        self.last.extend_from_slice(suffix);
        EntryPath::parse(&self.last).map_err(CodecError::Path)
    }

    fn change(&mut self) -> Result<Change, CodecError> {
        let tag = self.byte()?;
        match tag {
            HARDLINK => Ok(Change::Link(EntryPath::parse(self.text()?).map_err(CodecError::Path)?)),
            WHITEOUT => Ok(Change::Whiteout),
            OPAQUE => Ok(Change::Opaque),
            _ => Ok(Change::Put(self.node(tag)?)),
        }
    }

    fn node(&mut self, tag: u8) -> Result<Node, CodecError> {
        let (mode, uid, gid) = (self.small()?, self.number()?, self.number()?);
        let kind = match tag & 0x0f {
            DIRECTORY => NodeKind::Directory,
            FILE => NodeKind::File { size: self.number()? },
            SYMLINK => NodeKind::Symlink { target: self.text()?.to_vec() },
            SPECIAL => NodeKind::Special,
            _ => return Err(self.damaged()),
        };
        let kept = match tag & 0xf0 {
            0 => Kept::Nothing,
            KEPT_CONTENT => Kept::Content(self.text()?.into()),
            KEPT_LIBC => Kept::Libc(match (self.byte()?, self.small()?, self.small()?) {
                (0, 0, 0) => Libc::Unknown,
                (1, major, minor) => Libc::Glibc(major, minor),
                (2, major, minor) => Libc::Musl(major, minor),
                _ => return Err(self.damaged()),
            }),
            _ => return Err(self.damaged()),
        };
        let kept_of_no_file = kept != Kept::Nothing && tag & 0x0f != FILE;
        if mode > 0o7777 || kept_of_no_file {
            return Err(self.damaged());
        }
        Ok(Node::new(kind, mode, uid, gid).with_kept(kept))
    }

    fn end(&self) -> Result<(), CodecError> {
        if self.at == self.bytes.len() { Ok(()) } else { Err(self.damaged()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> LayerIndex {
        let path = |path: &str| EntryPath::parse(path).unwrap();
        let file = |kept| Change::Put(Node::new(NodeKind::File { size: 1 << 40 }, 0o6755, 1 << 33, 7).with_kept(kept));
        let put = |kind| Change::Put(Node::new(kind, 0o755, 0, 0));
        LayerIndex::new(vec![
            (path("etc"), put(NodeKind::Directory)),
            (path("etc/passwd"), file(Kept::Content(b"root".as_slice().into()))),
            (path("lib/libc.so.6"), file(Kept::Libc(Libc::Glibc(2, 36)))),
            (path("lib/ld-musl-x86_64.so.1"), file(Kept::Libc(Libc::Musl(1, 2)))),
            (path("a"), file(Kept::Nothing)),
            (path("b"), put(NodeKind::Symlink { target: b"/\xff".to_vec() })),
            (path("c"), put(NodeKind::Special)),
            (path("d"), Change::Link(path("a"))),
            (path("etc/group"), Change::Whiteout),
            (path("etc/.wh..wh..opq"), Change::Opaque),
        ])
    }

    #[test]
    fn an_index_survives_its_bytes_and_its_bytes_do_not_change() {
        let bytes = sample().to_bytes().unwrap();
        assert_eq!(LayerIndex::from_bytes(&bytes).unwrap(), sample());
        assert_eq!(sample().to_bytes().unwrap(), bytes);
    }

    #[test]
    fn bytes_of_another_kind_or_with_more_or_less_are_refused() {
        let bytes = sample().to_bytes().unwrap();
        assert!(matches!(Filesystem::from_bytes(&bytes), Err(CodecError::Magic)));
        for end in 0..bytes.len() {
            assert!(LayerIndex::from_bytes(&bytes[..end]).is_err(), "cut to {end}");
        }
        assert!(LayerIndex::from_bytes(&[&bytes[..], b"x"].concat()).is_err());
    }

    fn packed(kind: u8, body: &[u8]) -> Vec<u8> {
        [&MAGIC[..], &[kind], &zstd::bulk::compress(body, LEVEL).unwrap()].concat()
    }

    #[test]
    fn a_filesystem_out_of_order_or_without_folders_is_refused() {
        for (body, good) in [
            (&b"\x02\0\x01a\0\0\0\0\0\x01b\0\0\0\0"[..], true),
            (b"\x02\0\x01b\0\0\0\0\0\x01a\0\0\0\0", false),
            (b"\x02\0\x01a\0\0\0\0\0\x01a\0\0\0\0", false),
            (b"\x01\0\x03a/b\0\0\0\0", false),
            (b"\x02\0\x01a\x03\0\0\0\0\x03a/b\0\0\0\0", false),
            (b"\x01\0\x01a\0\x80\x20\0\0", false),
            (b"\x01\0\x01a\x10\0\0\0\0", false),
            (b"\x01\0\x01a\x05", false),
            (b"\x01\x01\x01a\0\0\0\0", false),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", false),
            (b"\0\0", false),
        ] {
            assert_eq!(Filesystem::from_bytes(&packed(FILESYSTEM, body)).is_ok(), good, "{}", body.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200), at in 0_usize..150, byte: u8) {
            let _ = LayerIndex::from_bytes(&body);
            let _ = LayerIndex::from_bytes(&packed(LAYER, &body));
            let _ = Filesystem::from_bytes(&packed(FILESYSTEM, &body));
            let plain = unpack(&sample().to_bytes().unwrap(), LAYER).unwrap();
            let mut changed = plain;
            let at = at % changed.len();
            changed[at] = byte;
            if let Ok(index) = LayerIndex::from_bytes(&packed(LAYER, &changed)) {
                prop_assert_eq!(LayerIndex::from_bytes(&index.to_bytes().unwrap()).unwrap(), index);
            }
        }
    }
}
