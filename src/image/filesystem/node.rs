//! The merged view of an image's layers: paths and what is there.
//!
//! How layers become one view is said in `merge`; how paths are followed, in `lookup`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Libc;
use crate::layer::EntryPath;

/// What a path of an image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// A directory.
    Directory,
    /// A regular file of `size` bytes, whatever number of names it has.
    File {
        /// Number of content bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as written.
        target: Vec<u8>,
    },
    /// A device or a named pipe.
    Special,
}

/// One path of an image: its kind, its metadata, and what was kept of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    pub(super) kept: Kept,
}

/// What an index keeps of a file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Kept {
    #[default]
    Nothing,
    Content(Arc<[u8]>),
    Libc(Libc),
}

impl Node {
    /// A node of which no content is kept.
    pub fn new(kind: NodeKind, mode: u32, uid: u64, gid: u64) -> Self {
        Self { kind, mode, uid, gid, kept: Kept::Nothing }
    }

    /// The directory that a runtime makes where a layer has none for its files: mode 0755, owned by root.
    pub(super) fn implied_directory() -> Self {
        Self::new(NodeKind::Directory, 0o755, 0, 0)
    }

    /// The same node with `content` kept.
    #[must_use]
    pub fn with_content(mut self, content: impl Into<Arc<[u8]>>) -> Self {
        self.kept = Kept::Content(content.into());
        self
    }

    pub(super) fn with_kept(mut self, kept: Kept) -> Self {
        self.kept = kept;
        self
    }

    /// The kept content; see [`Filesystem::content`] for what is kept in which form.
    pub fn content(&self) -> Option<&[u8]> {
        match &self.kept {
            Kept::Content(bytes) => Some(bytes),
            Kept::Nothing | Kept::Libc(_) => None,
        }
    }

    /// The C library that this file was recognised as.
    pub fn libc(&self) -> Option<Libc> {
        match self.kept {
            Kept::Libc(libc) => Some(libc),
            Kept::Nothing | Kept::Content(_) => None,
        }
    }

    /// Whether this is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind == NodeKind::Directory
    }

    /// Whether this is a regular file.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, NodeKind::File { .. })
    }
}

/// The files of an image as a container would see them.
///
/// **Invariant:** the parent of every node is a directory of the same view; the root itself has no node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filesystem {
    pub(super) nodes: BTreeMap<EntryPath, Node>,
}

impl Filesystem {
    /// What is at `path`, without following links.
    pub fn node(&self, path: &EntryPath) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// Every path, in byte order.
    pub fn iter(&self) -> impl Iterator<Item = (&EntryPath, &Node)> {
        self.nodes.iter()
    }

    /// Number of paths.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether the image has no file at all.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Every path below `directory`, at any depth, in byte order; `""` is the root.
    pub(super) fn below(&self, directory: &[u8]) -> impl Iterator<Item = (&EntryPath, &Node)> {
        let (first, end) = subtree(directory);
        let bounds = (
            std::ops::Bound::Included(&first[..]),
            end.as_ref().map_or(std::ops::Bound::Unbounded, |e| std::ops::Bound::Excluded(&e[..])),
        );
        self.nodes.range::<[u8], _>(bounds)
    }
}

/// The bounds of the paths below `directory`: the byte after `/` ends them.
pub(super) fn subtree(directory: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    if directory.is_empty() {
        return (Vec::new(), None);
    }
    ([directory, b"/"].concat(), Some([directory, b"0"].concat()))
}
