//! The merged view of an image's layers: paths and what is there.
//!
//! How layers become one view is said in `merge`; how paths are followed, in `lookup`.

use std::collections::BTreeMap;
use std::ops::Bound;
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
    /// Which file it is; names of one file share it. Only views that were made to copy from say so.
    pub origin: Option<Origin>,
}

/// A file, whatever number of names it has: where its content stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The layer, the lowest being 0.
    pub layer: usize,
    /// The entry of that layer's index.
    pub entry: usize,
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
        Self { kind, mode, uid, gid, kept: Kept::Nothing, origin: None }
    }

    /// The directory that a runtime makes where a layer has none for its files: mode 0755, owned by root.
    pub fn implied_directory() -> Self {
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

impl FromIterator<(EntryPath, Node)> for Filesystem {
    /// Directories that are missing above a path are implied.
    fn from_iter<T: IntoIterator<Item = (EntryPath, Node)>>(nodes: T) -> Self {
        let mut files = Self { nodes: nodes.into_iter().collect() };
        let missing = |path: &EntryPath| path.parent().filter(|parent| !files.nodes.contains_key(parent));
        let mut above: Vec<EntryPath> = files.nodes.keys().filter_map(missing).collect();
        while let Some(directory) = above.pop() {
            above.extend(directory.parent().filter(|parent| !files.nodes.contains_key(parent)));
            files.nodes.insert(directory, Node::implied_directory());
        }
        files
    }
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

    /// The entries of `directory`, a real path, in byte order; `""` is the root. What lies deeper is jumped over.
    pub(super) fn listed<'a>(&'a self, directory: &[u8]) -> impl Iterator<Item = (&'a EntryPath, &'a Node)> + use<'a> {
        let (mut from, end) = subtree(directory);
        let skip = from.len();
        let mut is_after = false;
        std::iter::from_fn(move || {
            loop {
                let start = if is_after { Bound::Excluded(&from[..]) } else { Bound::Included(&from[..]) };
                let stop = end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..]));
                let (path, node) = self.nodes.range::<[u8], _>((start, stop)).next()?;
                let bytes = path.as_bytes();
                match bytes[skip..].iter().position(|byte| *byte == b'/') {
                    Some(slash) => {
                        from = [&bytes[..skip + slash], b"0"].concat();
                        is_after = false;
                    }
                    None => {
                        from = bytes.to_vec();
                        is_after = true;
                        return Some((path, node));
                    }
                }
            }
        })
    }

    /// Every path below `directory`, at any depth, in byte order; `""` is the root.
    pub(super) fn below(&self, directory: &[u8]) -> impl Iterator<Item = (&EntryPath, &Node)> {
        let (first, end) = subtree(directory);
        let bounds = (Bound::Included(&first[..]), end.as_ref().map_or(Bound::Unbounded, |e| Bound::Excluded(&e[..])));
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

/// The keys of `map` at and below `path`, whatever the map holds.
pub(crate) fn at_and_below<V>(map: &BTreeMap<EntryPath, V>, path: &[u8]) -> Vec<EntryPath> {
    let (first, end) = subtree(path);
    let stop = end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..]));
    let below = map.range::<[u8], _>((Bound::Included(&first[..]), stop)).map(|(path, _)| path);
    map.get_key_value(path).map(|(path, _)| path).into_iter().chain(below).cloned().collect()
}
