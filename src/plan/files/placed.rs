//! What a layer of placed files holds, and its key.
//!
//! The bytes are written by `inputs::context`.

use std::sync::Arc;

use crate::image::filesystem::Origin;
use crate::image::users::Owner;
use crate::layer::EntryPath;
use crate::oci::Digest;

use super::super::key::LayerKey;
use super::super::layers::{DirectoryEntry, add_owner, hasher};

/// Where the bytes of a placed file come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileContent {
    /// A file of the build context.
    Context {
        /// Where it lies, below the context's root.
        path: EntryPath,
        /// SHA-256 of its bytes.
        digest: Digest,
    },
    /// These bytes.
    Text(Arc<[u8]>),
    /// A member of an archive in the build context.
    Member {
        /// The archive, below the context's root.
        archive: EntryPath,
        /// SHA-256 of the archive's bytes as they lie there.
        digest: Digest,
        /// Which of its entries, counted from 0.
        entry: u64,
    },
    /// A file of the layers that a stage is copied from.
    Layer(Origin),
}

/// What a placed entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlacedKind {
    /// A directory.
    Directory,
    /// A regular file.
    File {
        /// Number of bytes.
        size: u64,
        /// Where they come from.
        content: FileContent,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as written.
        target: Vec<u8>,
    },
    /// Another name of a file of the same layer.
    Hardlink {
        /// The file's first name.
        target: EntryPath,
    },
}

/// One entry of a layer of placed files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedEntry {
    /// Where it really is in the image.
    pub path: EntryPath,
    /// What.
    pub kind: PlacedKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Its owner.
    pub owner: Owner,
}

/// All that a layer of placed files holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlacedFiles {
    /// The directories above, as the image has them.
    pub directories: Vec<DirectoryEntry>,
    /// What goes, with all below it.
    pub removed: Vec<EntryPath>,
    /// Directories among the entries that begin empty, whatever lower layers have there.
    pub emptied: Vec<EntryPath>,
    /// What comes: directories, links and files by path, then members of archives in the archives' order, then hard links.
    pub entries: Vec<PlacedEntry>,
}

impl PlacedFiles {
    /// Whether nothing changes, so that no layer is needed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.removed.is_empty()
    }

    /// The sum of the files' sizes in bytes.
    pub fn total_bytes(&self) -> u64 {
        let size = |entry: &PlacedEntry| if let PlacedKind::File { size, .. } = entry.kind { size } else { 0 };
        self.entries.iter().map(size).sum()
    }

    /// Puts the entries into the order in which they are written.
    pub(super) fn in_order(mut self) -> Self {
        self.entries.sort_by(|a, b| order(a).cmp(&order(b)));
        self
    }
}

/// Hard links come after what they name; members of an archive are read in one pass.
fn order(entry: &PlacedEntry) -> (u8, Option<(&EntryPath, u64)>, &EntryPath) {
    match &entry.kind {
        PlacedKind::Hardlink { .. } => (2, None, &entry.path),
        PlacedKind::File { content: FileContent::Member { archive, entry: number, .. }, .. } => {
            (1, Some((archive, *number)), &entry.path)
        }
        _ => (0, None, &entry.path),
    }
}

/// The key of a layer of placed files: all that shapes its bytes, and no place on this machine.
pub fn files_key(files: &PlacedFiles) -> LayerKey {
    let mut key = hasher("files/1");
    for directory in &files.directories {
        key.add("directory", directory.path.as_bytes());
        key.add("mode", directory.mode.to_le_bytes());
        add_owner(&mut key, directory.owner);
    }
    for path in &files.removed {
        key.add("removed", path.as_bytes());
    }
    for path in &files.emptied {
        key.add("emptied", path.as_bytes());
    }
    for entry in &files.entries {
        key.add("path", entry.path.as_bytes());
        key.add("mode", entry.mode.to_le_bytes());
        add_owner(&mut key, entry.owner);
        match &entry.kind {
            PlacedKind::Directory => key.add("kind", "directory"),
            PlacedKind::Symlink { target } => key.add("symlink", target),
            PlacedKind::Hardlink { target } => key.add("hardlink", target.as_bytes()),
            PlacedKind::File { content: FileContent::Context { digest, .. }, .. } => key.add("file", digest.as_str()),
            PlacedKind::File { content: FileContent::Text(bytes), .. } => key.add("file", Digest::of(bytes).as_str()),
            PlacedKind::File { content: FileContent::Member { digest, entry, .. }, .. } => {
                key.add("archive", digest.as_str());
                key.add("member", entry.to_le_bytes());
            }
            PlacedKind::File { content: FileContent::Layer(origin), .. } => {
                key.add("layer", (origin.layer as u64).to_le_bytes());
                key.add("entry", (origin.entry as u64).to_le_bytes());
            }
        }
    }
    LayerKey(key.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: PlacedKind) -> PlacedEntry {
        PlacedEntry { path: EntryPath::parse(path).unwrap(), kind, mode: 0o644, owner: Owner::default() }
    }

    fn text(bytes: &[u8]) -> PlacedKind {
        PlacedKind::File { size: bytes.len() as u64, content: FileContent::Text(bytes.into()) }
    }

    fn key(entries: &[PlacedEntry]) -> LayerKey {
        files_key(&PlacedFiles { entries: entries.to_vec(), ..PlacedFiles::default() })
    }

    #[test]
    fn the_key_covers_contents_and_metadata_but_no_place_of_the_context() {
        let at = |path: &str| {
            let (path, digest) = (EntryPath::parse(path).unwrap(), Digest::of(b"x"));
            entry("a", PlacedKind::File { size: 1, content: FileContent::Context { path, digest } })
        };
        assert_eq!(key(&[at("one/a")]), key(&[at("two/a")]));
        assert_eq!(key(&[at("a")]), key(&[entry("a", text(b"x"))]), "where equal bytes come from is no matter");
        let base = key(&[entry("a", text(b"x"))]);
        let mut others = vec![
            key(&[entry("b", text(b"x"))]),
            key(&[entry("a", text(b"y"))]),
            key(&[entry("a", PlacedKind::Directory)]),
            key(&[PlacedEntry { mode: 0o600, ..entry("a", text(b"x")) }]),
            key(&[PlacedEntry { owner: Owner { uid: 1, gid: 0 }, ..entry("a", text(b"x")) }]),
            key(&[entry("a", PlacedKind::Symlink { target: b"x".into() })]),
            files_key(&PlacedFiles { removed: vec![EntryPath::parse("a").unwrap()], ..PlacedFiles::default() }),
        ];
        others.push(base);
        others.sort();
        others.dedup();
        assert_eq!(others.len(), 8);
    }

    #[test]
    fn links_come_after_what_they_name_and_members_in_their_archives_order() {
        let member = |path: &str, number| {
            let (archive, digest) = (EntryPath::parse("x.tar").unwrap(), Digest::of(b""));
            entry(path, PlacedKind::File { size: 0, content: FileContent::Member { archive, digest, entry: number } })
        };
        let target = EntryPath::parse("z").unwrap();
        let entries = vec![
            entry("a", PlacedKind::Hardlink { target }),
            member("b", 7),
            member("c", 2),
            entry("z", text(b"")),
            entry("d", PlacedKind::Directory),
        ];
        let files = PlacedFiles { entries, ..PlacedFiles::default() }.in_order();
        let paths: Vec<String> = files.entries.iter().map(|entry| entry.path.to_string()).collect();
        assert_eq!(paths, ["d", "z", "c", "b", "a"]);
    }
}
