//! Lists a source tree and hashes its files.
//!
//! The one place where directories are listed for the sources. Links are never followed; sockets, pipes and devices
//! never opened.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use super::content;
use super::error::WalkError;
use super::tree::{LeftOut, Omission, SourceEntry, SourceKind, SourceTree};
use crate::inputs::ignore::{IgnoreRules, Matched};
use crate::layer::EntryPath;
use crate::oci::Digest;

/// The mode bits that an image keeps.
const PERMISSIONS: u32 = 0o7777;
/// The mode bit that makes a file executable for its owner.
const OWNER_EXECUTES: u32 = 0o100;

/// Up to so many files of so many bytes are hashed sooner than threads for them are started.
const FEW_FILES: usize = 64;
const FEW_BYTES: u64 = 1 << 20;

/// How to walk.
#[derive(Clone, Debug, Default)]
pub struct WalkOptions {
    /// Threads that hash; zero means one for each core.
    pub threads: usize,
    /// Folders and files that are no sources even when they lie inside the root, such as the store and the outputs.
    pub without: Vec<PathBuf>,
}

/// Lists what `rules` leave of the tree at `root`, and hashes the files.
///
/// Equal trees give equal results, whatever the times, modes (but the executable bit), order of directories, number
/// of threads and place.
///
/// # Errors
/// Fails when the root is no directory, when anything that is not ignored cannot be read, when a file changes while
/// it is hashed, and when an ignore pattern turns out to be malformed.
pub fn walk(root: &Path, rules: &IgnoreRules, options: &WalkOptions) -> Result<SourceTree, WalkError> {
    let listed = list(root, rules, options)?;
    let directory = |(path, _)| SourceEntry { path, kind: SourceKind::Directory };
    let link = |(path, target)| SourceEntry { path, kind: SourceKind::Symlink { target } };
    let mut entries: Vec<SourceEntry> = listed.directories.into_iter().map(directory).collect();
    entries.extend(listed.links.into_iter().map(link));
    entries.extend(hashed(&listed.root, listed.files, options)?);
    Ok(SourceTree::new(entries, listed.left_out).with_ignored(listed.ignored))
}

/// What a walk found, in no order; nothing was opened.
pub(in crate::inputs) struct Listed {
    /// The root without links.
    pub(in crate::inputs) root: PathBuf,
    /// Directories with their permission bits.
    pub(in crate::inputs) directories: Vec<(EntryPath, u32)>,
    /// Links with their targets.
    pub(in crate::inputs) links: Vec<(EntryPath, Vec<u8>)>,
    /// Regular files.
    pub(in crate::inputs) files: Vec<Unhashed>,
    /// What was left out though no rule ignores it.
    pub(in crate::inputs) left_out: Vec<LeftOut>,
    /// What the rules ignore.
    pub(in crate::inputs) ignored: Vec<EntryPath>,
}

/// Lists what `rules` leave of the tree at `root`.
///
/// # Errors
/// As [`walk`], but for what only reading a file shows.
pub(in crate::inputs) fn list(root: &Path, rules: &IgnoreRules, options: &WalkOptions) -> Result<Listed, WalkError> {
    let unusable = |source| WalkError::Root { path: root.into(), source };
    let at = fs::canonicalize(root).map_err(unusable)?;
    let without = excluded(&at, options)?;
    let mut listing = Listing::new(at, rules, without);
    listing.run().map_err(|error| match error {
        WalkError::Unreadable { path, source } if path == listing.listed.root => unusable(source),
        other => other,
    })?;
    let Listing { mut listed, brought_back, .. } = listing;
    listed.ignored.retain(|path| !brought_back.contains(path));
    Ok(listed)
}

/// Hashes `files` on as many threads as `options` say.
pub(super) fn hashed(root: &Path, files: Vec<Unhashed>, options: &WalkOptions) -> Result<Vec<SourceEntry>, WalkError> {
    let digests = digests(root, &files, options)?;
    let entry = |(file, digest): (Unhashed, Digest)| SourceEntry {
        path: file.path,
        kind: SourceKind::File { size: file.size, executable: file.mode & OWNER_EXECUTES != 0, digest },
    };
    Ok(files.into_iter().zip(digests).map(entry).collect())
}

/// The digests of `files`, by as many threads as `options` say.
pub(in crate::inputs) fn digests(
    root: &Path,
    files: &[Unhashed],
    options: &WalkOptions,
) -> Result<Vec<Digest>, WalkError> {
    let bytes: u64 = files.iter().map(|file| file.size).sum();
    if files.len() <= FEW_FILES && bytes <= FEW_BYTES {
        let mut buffer = vec![0; content::BUFFER];
        return files.iter().map(|file| hash(root, file, &mut buffer)).collect();
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(options.threads)
        .build()
        .map_err(|source| WalkError::Threads { source })?;
    pool.install(|| hash_all(root, files))
}

fn hash_all(root: &Path, files: &[Unhashed]) -> Result<Vec<Digest>, WalkError> {
    let buffer = || vec![0; content::BUFFER];
    files.par_iter().map_init(buffer, |buffer, file| hash(root, file, buffer)).collect()
}

fn hash(root: &Path, file: &Unhashed, buffer: &mut [u8]) -> Result<Digest, WalkError> {
    content::hash(&place(root, &file.path), file.size, buffer)
}

/// Where on disk an entry lies.
pub(in crate::inputs) fn place(root: &Path, path: &EntryPath) -> PathBuf {
    root.join(OsStr::from_bytes(path.as_bytes()))
}

/// The paths to leave out, relative to the root.
pub(super) fn excluded(root: &Path, options: &WalkOptions) -> Result<BTreeSet<Vec<u8>>, WalkError> {
    let mut found = BTreeSet::new();
    for path in options.without.iter().filter_map(|path| fs::canonicalize(path).ok()) {
        match path.strip_prefix(root) {
            Ok(below) if below.as_os_str().is_empty() => return Err(WalkError::RootExcluded { path }),
            Ok(below) => found.insert(below.as_os_str().as_bytes().to_vec()),
            Err(_) => continue,
        };
    }
    Ok(found)
}

/// A file that was met and is still to be hashed.
#[derive(Clone, Debug)]
pub(in crate::inputs) struct Unhashed {
    pub(in crate::inputs) path: EntryPath,
    pub(in crate::inputs) size: u64,
    /// Permission bits with setuid, setgid and sticky.
    pub(in crate::inputs) mode: u32,
    /// Device and inode, of a file that has other names.
    pub(in crate::inputs) shared: Option<(u64, u64)>,
}

impl Unhashed {
    /// The file at `path`, by what its directory entry says.
    pub(super) fn new(path: EntryPath, metadata: &Metadata) -> Self {
        let shared = (metadata.nlink() > 1).then(|| (metadata.dev(), metadata.ino()));
        Self { path, size: metadata.len(), mode: metadata.mode() & PERMISSIONS, shared }
    }
}

/// A directory that is still to be listed.
struct Pending {
    /// Its path below the root; `None` for the root.
    path: Option<EntryPath>,
    matched: Arc<Matched>,
    is_ignored: bool,
}

struct Listing<'a> {
    rules: &'a IgnoreRules,
    without: BTreeSet<Vec<u8>>,
    pending: Vec<Pending>,
    /// Ignored directories that are listed nevertheless, since they hold something that is not ignored.
    brought_back: BTreeSet<EntryPath>,
    listed: Listed,
}

impl<'a> Listing<'a> {
    fn new(root: PathBuf, rules: &'a IgnoreRules, without: BTreeSet<Vec<u8>>) -> Self {
        let top = Pending { path: None, matched: Arc::default(), is_ignored: false };
        let listed = Listed {
            root,
            directories: Vec::new(),
            links: Vec::new(),
            files: Vec::new(),
            left_out: Vec::new(),
            ignored: Vec::new(),
        };
        Self { rules, without, pending: vec![top], brought_back: BTreeSet::new(), listed }
    }

    fn run(&mut self) -> Result<(), WalkError> {
        while let Some(directory) = self.pending.pop() {
            let at =
                directory.path.as_ref().map_or_else(|| self.listed.root.clone(), |path| place(&self.listed.root, path));
            #[expect(clippy::disallowed_methods, reason = "the walk of the sources; the result is sorted")]
            let listed = fs::read_dir(&at).and_then(Iterator::collect::<io::Result<Vec<_>>>);
            let listed = match listed {
                Ok(listed) => listed,
                Err(error) if directory.is_ignored && error.kind() == io::ErrorKind::PermissionDenied => continue,
                Err(source) => return Err(WalkError::at(&at, source)),
            };
            let mut keeps_any = false;
            for entry in listed {
                let kind = entry.file_type().map_err(|source| WalkError::at(&entry.path(), source))?;
                keeps_any |= self.meet(&directory, &entry, kind)?;
            }
            if let Some(path) = directory.path.filter(|_| keeps_any && directory.is_ignored) {
                self.bring_back(path)?;
            }
        }
        Ok(())
    }

    /// Judges one name in `directory`; true when it is kept.
    fn meet(&mut self, directory: &Pending, entry: &fs::DirEntry, kind: FileType) -> Result<bool, WalkError> {
        let name = entry.file_name();
        let joined = match &directory.path {
            Some(above) => above.join(name.as_bytes()),
            None => EntryPath::parse(name.as_bytes()),
        };
        let invalid = |error| WalkError::at(&entry.path(), io::Error::new(io::ErrorKind::InvalidData, error));
        let path = joined.map_err(invalid)?;
        if self.without.contains(path.as_bytes()) {
            return Ok(false);
        }
        let judgement = self.rules.judge(path.as_bytes(), kind.is_dir(), &directory.matched)?;
        if judgement.descend {
            let (matched, is_ignored) = (Arc::new(judgement.matched), judgement.is_ignored);
            self.pending.push(Pending { path: Some(path.clone()), matched, is_ignored });
        }
        if judgement.is_ignored {
            // What lies below an ignored directory is not named again.
            if !directory.is_ignored {
                self.listed.ignored.push(path);
            }
            return Ok(false);
        }
        self.keep(path, entry, kind)
    }

    /// Takes what is not ignored; false for what cannot be taken.
    fn keep(&mut self, path: EntryPath, entry: &fs::DirEntry, kind: FileType) -> Result<bool, WalkError> {
        let unreadable = |source| WalkError::at(&entry.path(), source);
        if kind.is_dir() {
            let mode = entry.metadata().map_err(unreadable)?.mode() & PERMISSIONS;
            self.listed.directories.push((path, mode));
        } else if kind.is_symlink() {
            let target = fs::read_link(entry.path()).map_err(unreadable)?;
            self.listed.links.push((path, target.into_os_string().into_vec()));
        } else if kind.is_file() {
            let metadata = entry.metadata().map_err(unreadable)?;
            self.listed.files.push(Unhashed::new(path, &metadata));
        } else {
            self.listed.left_out.push(LeftOut { path, what: omission(kind) });
            return Ok(false);
        }
        Ok(true)
    }

    /// Lists an ignored directory and those above it.
    fn bring_back(&mut self, path: EntryPath) -> Result<(), WalkError> {
        let mut next = Some(path);
        while let Some(path) = next {
            next = path.parent();
            if !self.brought_back.insert(path.clone()) {
                break;
            }
            let at = place(&self.listed.root, &path);
            let metadata = at.symlink_metadata().map_err(|source| WalkError::at(&at, source))?;
            self.listed.directories.push((path, metadata.mode() & PERMISSIONS));
        }
        Ok(())
    }
}

/// What a file is that is neither file, directory nor link.
pub(super) fn omission(kind: FileType) -> Omission {
    if kind.is_socket() {
        Omission::Socket
    } else if kind.is_fifo() {
        Omission::Fifo
    } else {
        Omission::Device
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    fn walk_all(root: &Path, without: &[PathBuf]) -> Result<SourceTree, WalkError> {
        walk(root, &IgnoreRules::default(), &WalkOptions { threads: 2, without: without.to_vec() })
    }

    fn paths(tree: &SourceTree) -> Vec<&[u8]> {
        tree.entries().iter().map(|entry| entry.path.as_bytes()).collect()
    }

    fn set_mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn entries_are_sorted_by_bytes_and_any_name_is_taken() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("a")).unwrap();
        for name in [&b"a/x"[..], b"a-b", b"new\nline", b"\xff\xfe", b"\xc3\xbc"] {
            fs::write(root.path().join(OsStr::from_bytes(name)), name).unwrap();
        }
        fs::hard_link(root.path().join("a-b"), root.path().join("hard")).unwrap();
        let tree = walk_all(root.path(), &[]).unwrap();
        let expected: [&[u8]; 7] = [b"a", b"a-b", b"a/x", b"hard", b"new\nline", b"\xc3\xbc", b"\xff\xfe"];
        assert_eq!(paths(&tree), expected);
        assert_eq!((tree.file_count(), tree.total_bytes()), (6, 3 + 3 + 3 + 8 + 2 + 2));
        let digest = Digest::of(b"a-b");
        assert_eq!(tree.entries()[3].kind, SourceKind::File { size: 3, executable: false, digest });
    }

    #[test]
    fn links_stay_links_and_special_files_are_left_out_unopened() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        symlink("self", at("self")).unwrap();
        symlink("/etc", at("abroad")).unwrap();
        symlink("gone", at("dangling")).unwrap();
        let _socket = UnixListener::bind(at("socket")).unwrap();
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), rustix::fs::FileType::Fifo, mode, 0).unwrap();
        let tree = walk_all(root.path(), &[]).unwrap();
        let targets: Vec<_> = tree.entries().iter().map(|entry| entry.kind.clone()).collect();
        let link = |target: &str| SourceKind::Symlink { target: target.into() };
        assert_eq!(targets, [link("/etc"), link("gone"), link("self")]);
        let said: Vec<_> = tree.left_out().iter().map(ToString::to_string).collect();
        assert_eq!(said, ["`pipe` is a named pipe and was left out", "`socket` is a socket and was left out"]);
    }

    #[test]
    fn the_key_ignores_times_modes_place_and_threads() {
        let [one, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        // More than are hashed without threads.
        let names: Vec<String> = (0..=FEW_FILES).map(|number| format!("n{number}")).chain(["x".into()]).collect();
        let reversed = names.iter().rev().cloned().collect();
        for (root, names, mode) in [(&one, names, 0o644), (&other, reversed, 0o600)] {
            fs::create_dir(root.path().join("d")).unwrap();
            set_mode(&root.path().join("d"), mode | 0o111);
            for name in names {
                let path = root.path().join("d").join(&name);
                fs::write(&path, &name).unwrap();
                set_mode(&path, mode | if name == "x" { 0o100 } else { 0 });
            }
        }
        let key = |root: &Path, threads| {
            let options = WalkOptions { threads, ..WalkOptions::default() };
            walk(root, &IgnoreRules::default(), &options).unwrap().key_material()
        };
        assert_eq!(key(one.path(), 1), key(other.path(), 3));
        set_mode(&one.path().join("d/x"), 0o655);
        assert_ne!(key(one.path(), 1), key(other.path(), 3));
    }

    #[test]
    fn the_store_and_outputs_are_no_sources() {
        let root = tempfile::tempdir().unwrap();
        for name in ["cache/blob", "src/out/x", "src/outer"] {
            fs::create_dir_all(root.path().join(name).parent().unwrap()).unwrap();
            fs::write(root.path().join(name), "x").unwrap();
        }
        let without = ["cache", "src/../src/out", "absent"].map(|name| root.path().join(name));
        let tree = walk_all(root.path(), &without).unwrap();
        assert_eq!(paths(&tree), [&b"src"[..], b"src/outer"]);
        assert!(matches!(walk_all(root.path(), &[root.path().into()]), Err(WalkError::RootExcluded { .. })));
    }

    #[test]
    fn roots_that_are_no_directories_are_refused() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("file"), "").unwrap();
        for name in ["file", "absent"] {
            assert!(matches!(walk_all(&root.path().join(name), &[]), Err(WalkError::Root { .. })), "{name}");
        }
    }

    #[test]
    fn a_file_longer_or_shorter_than_listed_has_changed() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("f"), "four").unwrap();
        for (size, fits) in [(3, false), (4, true), (5, false)] {
            let file = Unhashed { path: EntryPath::parse("f").unwrap(), size, mode: 0o644, shared: None };
            let hashed = hash_all(root.path(), &[file]);
            assert_eq!(hashed.is_ok(), fits);
            assert!(fits || matches!(hashed, Err(WalkError::SourceChanged { .. })));
        }
    }

    #[test]
    fn trees_may_be_deep() {
        let root = tempfile::tempdir().unwrap();
        let deep = "d/".repeat(1500);
        fs::create_dir_all(root.path().join(&deep)).unwrap();
        fs::write(root.path().join(&deep).join("f"), "x").unwrap();
        assert_eq!(walk_all(root.path(), &[]).unwrap().entries().len(), 1501);
    }
}
