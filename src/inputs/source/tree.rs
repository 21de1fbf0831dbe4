//! What a walk found: entries sorted by the bytes of their paths.
//!
//! No times, owners or modes but the executable bit: two checkouts of the same commit are the same tree.

use std::fmt;

use crate::layer::EntryPath;
use crate::oci::{Digest, Digester};

/// A source tree. Equal trees give equal layers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceTree {
    entries: Vec<SourceEntry>,
    left_out: Vec<LeftOut>,
    ignored: Vec<EntryPath>,
}

/// One file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceEntry {
    /// Where, relative to the root of the tree.
    pub path: EntryPath,
    /// What.
    pub kind: SourceKind,
}

/// What a source entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Number of bytes.
        size: u64,
        /// Whether its owner may execute it.
        executable: bool,
        /// SHA-256 of its bytes.
        digest: Digest,
    },
    /// A symbolic link, wherever it points.
    Symlink {
        /// Its target, as it is written.
        target: Vec<u8>,
    },
}

/// Something that an image cannot usefully hold, met on the walk and never opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Where.
    pub path: EntryPath,
    /// What it is.
    pub what: Omission,
}

/// The kinds of files that are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Omission {
    /// A Unix socket.
    Socket,
    /// A named pipe.
    Fifo,
    /// A block or character device.
    Device,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.what {
            Omission::Socket => "socket",
            Omission::Fifo => "named pipe",
            Omission::Device => "device",
        };
        write!(f, "`{}` is a {what} and was left out", self.path)
    }
}

impl SourceTree {
    /// Sorts entries into a tree; a directory may be given more than once.
    pub(super) fn new(mut entries: Vec<SourceEntry>, mut left_out: Vec<LeftOut>) -> Self {
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        entries.dedup_by(|a, b| a.path == b.path);
        left_out.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Self { entries, left_out, ignored: Vec::new() }
    }

    /// The same tree, which says of these paths that they are ignored.
    #[must_use]
    pub fn with_ignored(mut self, mut ignored: Vec<EntryPath>) -> Self {
        ignored.sort_unstable();
        ignored.dedup();
        self.ignored = ignored;
        self
    }

    /// The tree without the entries that `is_out` names.
    #[must_use]
    pub fn without(mut self, is_out: impl Fn(&SourceEntry) -> bool) -> Self {
        self.entries.retain(|entry| !is_out(entry));
        self
    }

    /// The entries, sorted by the bytes of their paths: a directory stands before what it holds.
    pub fn entries(&self) -> &[SourceEntry] {
        &self.entries
    }

    /// What was left out though no rule ignores it, sorted; each is worth a warning.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// What the rules ignore, sorted; of a directory that is ignored whole, the directory alone.
    pub fn ignored(&self) -> &[EntryPath] {
        &self.ignored
    }

    /// The sum of the files' sizes in bytes.
    pub fn total_bytes(&self) -> u64 {
        let size = |entry: &SourceEntry| if let SourceKind::File { size, .. } = entry.kind { size } else { 0 };
        self.entries.iter().map(size).sum()
    }

    /// The number of regular files.
    pub fn file_count(&self) -> usize {
        self.entries.iter().filter(|entry| matches!(entry.kind, SourceKind::File { .. })).count()
    }

    /// The digest of paths, kinds, executable bits, contents and link targets: all that the source layer depends on
    /// beside its place and owner.
    pub fn key_material(&self) -> Digest {
        let mut digester = Digester::sha256();
        digester.update(b"lapstrake source tree 1\0");
        let mut field = |bytes: &[u8]| {
            digester.update(&(bytes.len() as u64).to_le_bytes());
            digester.update(bytes);
        };
        for SourceEntry { path, kind } in &self.entries {
            field(path.as_bytes());
            match kind {
                SourceKind::Directory => field(b"d"),
                SourceKind::File { executable, digest, .. } => {
                    field(if *executable { b"x" } else { b"f" });
                    field(digest.as_str().as_bytes());
                }
                SourceKind::Symlink { target } => {
                    field(b"l");
                    field(target);
                }
            }
        }
        digester.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: SourceKind) -> SourceEntry {
        SourceEntry { path: EntryPath::parse(path).unwrap(), kind }
    }

    fn file(content: &[u8], executable: bool) -> SourceKind {
        SourceKind::File { size: content.len() as u64, executable, digest: Digest::of(content) }
    }

    #[test]
    fn the_key_covers_all_that_shapes_the_layer() {
        let link = |target: &str| SourceKind::Symlink { target: target.into() };
        let trees = [
            vec![],
            vec![entry("a", SourceKind::Directory)],
            vec![entry("a", file(b"", false))],
            vec![entry("a", file(b"", true))],
            vec![entry("a", file(b"x", false))],
            vec![entry("b", file(b"x", false))],
            vec![entry("a", link("x"))],
            vec![entry("a", link("y"))],
            vec![entry("a", link("x")), entry("b", file(b"x", false))],
        ];
        let keys: std::collections::BTreeSet<_> =
            trees.iter().map(|tree| SourceTree::new(tree.clone(), vec![]).key_material()).collect();
        assert_eq!(keys.len(), trees.len());
    }

    #[test]
    fn the_order_of_discovery_does_not_matter() {
        let (a, b) = (entry("a", file(b"1", false)), entry("b", SourceKind::Directory));
        let one = SourceTree::new(vec![a.clone(), b.clone()], vec![]);
        let other = SourceTree::new(vec![b, a], vec![]);
        assert_eq!((one.key_material(), one.total_bytes(), one.file_count()), (other.key_material(), 1, 1));
        assert_eq!(one, other);
    }
}
