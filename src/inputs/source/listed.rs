//! Reads a tree of which the files are known by name.
//!
//! Directories are not listed: a tree has those that its files lie in, and no empty ones.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use super::error::WalkError;
use super::tree::{LeftOut, SourceEntry, SourceKind, SourceTree};
use super::walk::{Unhashed, WalkOptions, excluded, hashed, omission, place};
use crate::layer::EntryPath;

/// Reads `files` below `root`, and hashes them. What is not there, is a directory, or lies behind a link is passed over.
///
/// # Errors
/// Fails when the root is no directory, when a file cannot be read, or when one changes while it is hashed.
pub fn read_listed(
    root: &Path,
    files: impl IntoIterator<Item = EntryPath>,
    options: &WalkOptions,
) -> Result<SourceTree, WalkError> {
    let unusable = |source| WalkError::Root { path: root.into(), source };
    let root = fs::canonicalize(root).map_err(unusable)?;
    let without = excluded(&root, options)?;
    let mut found = Found::default();
    for path in files {
        let is_excluded = |path: &EntryPath| without.contains(path.as_bytes());
        if !is_excluded(&path) && !above(&path).any(|directory| is_excluded(&directory)) {
            found.meet(&root, path)?;
        }
    }
    let directory = |path| SourceEntry { path, kind: SourceKind::Directory };
    let mut entries: Vec<SourceEntry> = found.directories.into_iter().map(directory).collect();
    entries.extend(found.links);
    entries.extend(hashed(&root, found.files, options)?);
    Ok(SourceTree::new(entries, found.left_out))
}

/// The directories that `path` lies in, the innermost first.
fn above(path: &EntryPath) -> impl Iterator<Item = EntryPath> {
    std::iter::successors(path.parent(), EntryPath::parent)
}

#[derive(Default)]
struct Found {
    /// Directories that something lies in.
    directories: BTreeSet<EntryPath>,
    links: Vec<SourceEntry>,
    files: Vec<Unhashed>,
    left_out: Vec<LeftOut>,
}

impl Found {
    fn meet(&mut self, root: &Path, path: EntryPath) -> Result<(), WalkError> {
        for directory in above(&path) {
            let at = place(root, &directory);
            if !self.directories.contains(&directory) && !at.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
                return Ok(());
            }
        }
        let at = place(root, &path);
        let metadata = match at.symlink_metadata() {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(source) => return Err(WalkError::at(&at, source)),
        };
        let kind = metadata.file_type();
        if kind.is_dir() {
            return Ok(());
        }
        self.directories.extend(above(&path));
        if kind.is_symlink() {
            let target = fs::read_link(&at).map_err(|source| WalkError::at(&at, source))?;
            let target = target.into_os_string().into_vec();
            self.links.push(SourceEntry { path, kind: SourceKind::Symlink { target } });
        } else if kind.is_file() {
            self.files.push(Unhashed::new(path, &metadata));
        } else {
            self.left_out.push(LeftOut { path, what: omission(kind) });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::inputs::ignore::IgnoreRules;
    use crate::inputs::source::walk;

    fn paths(names: &[&str]) -> Vec<EntryPath> {
        names.iter().map(|name| EntryPath::parse(name).unwrap()).collect()
    }

    #[test]
    fn a_list_of_all_files_reads_as_a_walk_does() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("a/b")).unwrap();
        for name in ["a/b/f", "a/sp ace", "top"] {
            fs::write(root.path().join(name), name).unwrap();
        }
        symlink("top", root.path().join("link")).unwrap();
        let listed = paths(&["link", "top", "a/b/f", "a/sp ace", "top", "gone", "a/b"]);
        let read = read_listed(root.path(), listed, &WalkOptions::default()).unwrap();
        let walked = walk(root.path(), &IgnoreRules::default(), &WalkOptions::default()).unwrap();
        assert_eq!(read, walked);
    }

    #[test]
    fn nothing_is_read_through_links_or_from_excluded_folders() {
        let [root, outside] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        fs::write(outside.path().join("secret"), "s").unwrap();
        symlink(outside.path(), root.path().join("d")).unwrap();
        fs::create_dir(root.path().join("store")).unwrap();
        fs::write(root.path().join("store/blob"), "b").unwrap();
        let options = WalkOptions { without: vec![root.path().join("store")], ..WalkOptions::default() };
        let read = read_listed(root.path(), paths(&["d/secret", "store/blob"]), &options).unwrap();
        assert!(read.entries().is_empty(), "{read:?}");
    }
}
