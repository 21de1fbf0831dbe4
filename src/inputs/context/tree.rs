//! A walk of the build context, and its files' digests once they are asked for.
//!
//! The walk is the one of the sources; only what is kept of it differs.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use crate::image::filesystem::{Filesystem, Node, NodeKind, Origin, View};
use crate::inputs::ignore::IgnoreRules;
use crate::inputs::source::{self, LeftOut, Unhashed, WalkError, WalkOptions};
use crate::layer::EntryPath;
use crate::oci::Digest;

/// The files of a build context.
#[derive(Debug)]
pub struct ContextTree {
    root: PathBuf,
    options: WalkOptions,
    view: View,
    files: BTreeMap<EntryPath, Unhashed>,
    left_out: Vec<LeftOut>,
    ignored: Vec<EntryPath>,
    digests: Mutex<BTreeMap<EntryPath, Digest>>,
}

impl ContextTree {
    /// Lists what `rules` leave of the folder at `root`; no file is opened.
    ///
    /// # Errors
    /// Fails when the root is no directory, when anything that is not ignored cannot be listed, and when an ignore
    /// pattern turns out to be malformed.
    pub fn walk(root: &Path, rules: &IgnoreRules, options: &WalkOptions) -> Result<Self, WalkError> {
        let mut listed = source::list(root, rules, options)?;
        listed.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        listed.ignored.sort_unstable();
        let mut shared: BTreeMap<(u64, u64), usize> = BTreeMap::new();
        let mut nodes: Vec<(EntryPath, Node)> = Vec::new();
        for (path, mode) in listed.directories {
            nodes.push((path, Node::new(NodeKind::Directory, mode, 0, 0)));
        }
        for (path, target) in listed.links {
            nodes.push((path, Node::new(NodeKind::Symlink { target }, 0o777, 0, 0)));
        }
        for file in &listed.files {
            let mut node = Node::new(NodeKind::File { size: file.size }, file.mode, 0, 0);
            let next = shared.len();
            node.origin = file.shared.map(|of| Origin { layer: 0, entry: *shared.entry(of).or_insert(next) });
            nodes.push((file.path.clone(), node));
        }
        Ok(Self {
            root: listed.root,
            options: options.clone(),
            view: View::new(Arc::new(nodes.into_iter().collect::<Filesystem>())),
            files: listed.files.into_iter().map(|file| (file.path.clone(), file)).collect(),
            left_out: listed.left_out,
            ignored: listed.ignored,
            digests: Mutex::default(),
        })
    }

    /// The folder, without links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Its files, owned by root as BuildKit sees them. Names of one file share their [`Node::origin`].
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Sockets, pipes and devices that no rule ignores; each is worth a warning.
    pub fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// What the rules ignore, sorted; of a directory that is ignored whole, the directory alone.
    pub fn ignored(&self) -> &[EntryPath] {
        &self.ignored
    }

    /// Whether `path`, or a directory above it, is ignored.
    pub fn ignores(&self, path: &EntryPath) -> bool {
        std::iter::successors(Some(path.clone()), EntryPath::parent).any(|at| self.ignored.binary_search(&at).is_ok())
    }

    /// The SHA-256 digests of these files; each file is read once, however often it is asked for.
    ///
    /// # Errors
    /// Fails when one cannot be read, or is not as long as it was when it was listed.
    pub fn digests(&self, paths: &[EntryPath]) -> Result<Vec<Digest>, WalkError> {
        let mut known = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        let unknown = paths.iter().filter(|path| !known.contains_key(*path));
        let mut files: Vec<Unhashed> = unknown.filter_map(|path| self.files.get(path)).cloned().collect();
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        files.dedup_by(|a, b| a.path == b.path);
        let digests = source::digests(&self.root, &files, &self.options)?;
        known.extend(files.into_iter().map(|file| file.path).zip(digests));
        let gone = |path: &EntryPath| WalkError::SourceChanged { path: source::place(&self.root, path) };
        paths.iter().map(|path| known.get(path).cloned().ok_or_else(|| gone(path))).collect()
    }

    /// The bytes of the file at `path`.
    ///
    /// # Errors
    /// Fails when it cannot be read.
    pub fn read(&self, path: &EntryPath) -> Result<Vec<u8>, WalkError> {
        let at = source::place(&self.root, path);
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut self.open(path)?, &mut bytes).map_err(|source| WalkError::at(&at, source))?;
        Ok(bytes)
    }

    /// Opens the file at `path`.
    ///
    /// # Errors
    /// Fails when it cannot be opened, or is no regular file any more.
    pub(in crate::inputs) fn open(&self, path: &EntryPath) -> Result<File, WalkError> {
        source::open(&source::place(&self.root, path))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text).unwrap()
    }

    #[test]
    fn modes_are_those_on_disk_and_nothing_is_hashed_unasked() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        fs::create_dir(at("d")).unwrap();
        for name in ["d/f", "huge", "out"] {
            fs::write(at(name), name).unwrap();
        }
        for (name, mode) in [("d/f", 0o4711), ("d", 0o1700), ("huge", 0)] {
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::hard_link(at("d/f"), at("twin")).unwrap();
        let rules = IgnoreRules::parse(b"out\n").unwrap();
        let tree = ContextTree::walk(root.path(), &rules, &WalkOptions::default()).unwrap();
        let node = |name: &str| tree.view().find(name.as_bytes()).node().unwrap().clone();
        assert_eq!((node("d").mode, node("d/f").mode, node("huge").mode), (0o1700, 0o4711, 0));
        assert!(
            node("d/f").origin.is_some() && node("d/f").origin == node("twin").origin && node("huge").origin.is_none()
        );
        fs::remove_file(at("huge")).unwrap();
        let digests = tree.digests(&[path("twin"), path("d/f"), path("twin")]).unwrap();
        assert!(digests.iter().all(|digest| *digest == Digest::of(b"d/f")));
        assert!(matches!(tree.digests(&[path("huge")]), Err(WalkError::SourceChanged { .. })));
        assert!(tree.ignores(&path("out")) && !tree.ignores(&path("d/f")));
        assert_eq!(tree.read(&path("d/f")).unwrap(), b"d/f");
    }

    #[test]
    fn a_directory_that_is_ignored_but_for_one_file_keeps_its_mode() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        fs::write(root.path().join("d/f"), "").unwrap();
        fs::set_permissions(root.path().join("d"), fs::Permissions::from_mode(0o711)).unwrap();
        let rules = IgnoreRules::parse(b"d\n!d/f\n").unwrap();
        let tree = ContextTree::walk(root.path(), &rules, &WalkOptions::default()).unwrap();
        assert_eq!(tree.view().find(b"d").node().unwrap().mode, 0o711);
    }
}
