//! Places what one source path holds, entry by entry, as BuildKit's copier does it on disk.
//!
//! Which source paths there are is decided by `select`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::error::CopyError;
use crate::image::filesystem::{Found, Node, NodeKind, Origin, View};
use crate::image::users::Owner;
use crate::inputs::ignore::{IgnoreRules, Matched};
use crate::layer::EntryPath;
use crate::plan::files::{CopyArguments, Draft, FileContent, NotNative, PlacedEntry, PlacedKind};

/// The mode of a symbolic link.
const LINK: u32 = 0o777;
/// Names that mean removal inside a layer.
const WHITEOUT: &[u8] = b".wh.";

/// Where the contents of a source's files come from.
pub(super) trait Contents {
    /// The content of the file at `path`, which a layer names.
    fn content(&mut self, path: &EntryPath, node: &Node) -> Result<FileContent, CopyError>;

    /// Its bytes, for a file that a view keeps.
    fn bytes(&mut self, path: &EntryPath, node: &Node) -> Result<Option<Arc<[u8]>>, CopyError>;

    /// Whether contents are only noted, so that members of archives need not be read.
    fn notes_only(&self) -> bool {
        false
    }
}

/// Places files of one source on one draft.
pub(super) struct Placer<'a> {
    pub(super) source: &'a View,
    pub(super) contents: &'a mut dyn Contents,
    pub(super) arguments: &'a CopyArguments,
    /// The patterns of `--exclude`.
    pub(super) exclude: &'a IgnoreRules,
    /// The pattern of `--parents`.
    pub(super) include: Option<IgnoreRules>,
    pub(super) draft: &'a mut Draft,
    /// Whether anything was selected.
    pub(super) has_any: bool,
    /// Directories above the current entry, and whether each is placed.
    above: Vec<Above>,
    /// Where a file of several names was placed first.
    names: BTreeMap<Origin, EntryPath>,
}

struct Above {
    source: Node,
    target: Vec<u8>,
    is_placed: bool,
}

/// Where an entry stands: in the source, below what is copied, and in the image.
struct At<'a> {
    /// The real path in the source; empty for the root.
    source: &'a [u8],
    /// The path below what is copied; empty for that itself.
    below: &'a [u8],
    /// The real path in the image; empty for the root.
    target: &'a [u8],
}

impl<'a> Placer<'a> {
    pub(super) fn new(
        source: &'a View,
        contents: &'a mut dyn Contents,
        arguments: &'a CopyArguments,
        exclude: &'a IgnoreRules,
        draft: &'a mut Draft,
    ) -> Self {
        let (include, above, names) = (None, Vec::new(), BTreeMap::new());
        Self { source, contents, arguments, exclude, include, draft, has_any: false, above, names }
    }

    /// Makes the directories on the way to the destination; gives the real path of the destination itself.
    pub(super) fn destination(&mut self) -> Result<Vec<u8>, CopyError> {
        let written = self.arguments.destination.as_bytes();
        let slash = written.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
        let way = if self.arguments.is_directory { written } else { &written[..slash] };
        let way = self.reach(way)?;
        self.make_directories(&way)?;
        self.reach(written)
    }

    /// Copies what is at `source`, a real path; `name` is the last part of the path that led there.
    pub(super) fn copy(&mut self, source: &[u8], name: &[u8]) -> Result<(), CopyError> {
        let mut target = self.destination()?;
        let root = Node::implied_directory();
        let node = if source.is_empty() { &root } else { self.known(source)? };
        let is_directory = node.is_directory();
        let there = self.draft.view().find(&target);
        let is_there = target.is_empty() || there.node().is_some_and(Node::is_directory);
        if there == Found::Unknown && !target.is_empty() {
            return Err(NotNative::unknown(&target).into());
        }
        if !is_directory && is_there {
            target = join(&target, name);
        } else if is_directory && there == Found::Absent && !target.is_empty() {
            let made = target.clone();
            self.make_directories(&made)?;
        }
        let parent = target.iter().rposition(|byte| *byte == b'/').map_or(&[][..], |slash| &target[..slash]);
        self.make_directories(parent)?;
        self.names.clear();
        let at = At { source, below: b"", target: &target };
        self.entry(&at, node, false, &Matched::default(), &Matched::default())
    }

    fn known(&self, source: &[u8]) -> Result<&'a Node, CopyError> {
        self.source.find(source).node().ok_or_else(|| NotNative::unknown(source).into())
    }

    fn reach(&self, path: &[u8]) -> Result<Vec<u8>, CopyError> {
        let failed = |source| CopyError::Destination { destination: self.arguments.destination.clone(), source };
        let reached = self.draft.view().reach(path, true).map_err(failed)?;
        if reached.found == Found::Unknown && !reached.path.is_empty() {
            return Err(NotNative::unknown(&reached.path).into());
        }
        Ok(reached.path)
    }

    fn make_directories(&mut self, real: &[u8]) -> Result<(), CopyError> {
        Ok(self.draft.make_directories(real, self.arguments.directory_mode(), self.arguments.owner)?)
    }

    fn entry(
        &mut self,
        at: &At<'_>,
        node: &Node,
        overwrite: bool,
        included: &Matched,
        excluded: &Matched,
    ) -> Result<(), CopyError> {
        let (mut include, mut below) = (true, (Matched::default(), Matched::default()));
        if !at.below.is_empty() {
            if let Some(rules) = &self.include {
                let judgement = rules.judge(at.below, node.is_directory(), included)?;
                (include, below.0) = (judgement.is_ignored, judgement.matched);
            }
            let judgement = self.exclude.judge(at.below, node.is_directory(), excluded)?;
            include &= !judgement.is_ignored;
            below.1 = judgement.matched;
        }
        if !include && !node.is_directory() {
            return Ok(());
        }
        if include && !at.below.is_empty() {
            self.has_any = true;
            self.place_above()?;
        }
        if node.is_directory() {
            return self.directory(at, node, overwrite, include, &below);
        }
        self.has_any = true;
        self.file(at, node)
    }

    fn directory(
        &mut self,
        at: &At<'_>,
        node: &Node,
        overwrite: bool,
        include: bool,
        (included, excluded): &(Matched, Matched),
    ) -> Result<(), CopyError> {
        if include && !at.target.is_empty() {
            let exists = self.directory_at(at.target)?;
            if !exists || overwrite {
                let mode = self.mode(node);
                self.put(at.target, PlacedKind::Directory, mode, self.owner(node), None)?;
            }
        }
        let listing = self.source.list(at.source);
        if !listing.is_complete {
            if !include {
                return Err(NotNative::unknown(at.source).into());
            }
            self.draft.mark_contents_unknown(at.target);
        }
        self.above.push(Above { source: node.clone(), target: at.target.to_vec(), is_placed: include });
        for (path, child) in listing.entries {
            let name = path.file_name();
            let (below, target) = (join(at.below, name), join(at.target, name));
            let at = At { source: path.as_bytes(), below: &below, target: &target };
            self.entry(&at, child, true, included, excluded)?;
        }
        self.above.pop();
        Ok(())
    }

    /// Places the directories above an entry of which none was selected itself: those that exist get the mode alone.
    fn place_above(&mut self) -> Result<(), CopyError> {
        for at in 0..self.above.len() {
            if self.above[at].is_placed {
                continue;
            }
            let (node, target) = (self.above[at].source.clone(), self.above[at].target.clone());
            self.above[at].is_placed = true;
            let there = self.draft.view().find(&target).node().map(|node| Owner { uid: node.uid, gid: node.gid });
            let exists = self.directory_at(&target)?;
            let (mode, owner) = match there.filter(|_| exists) {
                Some(owner) => (node.mode, owner),
                None => (self.mode(&node), self.owner(&node)),
            };
            self.put(&target, PlacedKind::Directory, mode, owner, None)?;
        }
        Ok(())
    }

    /// Whether a directory is at `target`; anything else there is an error.
    fn directory_at(&self, target: &[u8]) -> Result<bool, CopyError> {
        match self.draft.view().find(target) {
            Found::Absent => Ok(false),
            Found::Known(node) if node.is_directory() => Ok(true),
            Found::Known(_) => Err(CopyError::DirectoryOverFile(text(target))),
            Found::Unknown => Err(NotNative::unknown(target).into()),
        }
    }

    fn file(&mut self, at: &At<'_>, node: &Node) -> Result<(), CopyError> {
        match self.draft.view().find(at.target) {
            _ if at.target.is_empty() => return Err(CopyError::FileOverDirectory(String::new())),
            Found::Known(there) if there.is_directory() => return Err(CopyError::FileOverDirectory(text(at.target))),
            // Whatever file an installation may have left there is replaced.
            Found::Unknown if node.is_file() && names_a_file(at.target) => {}
            Found::Unknown => return Err(NotNative::unknown(at.target).into()),
            Found::Known(_) | Found::Absent => {}
        }
        let owner = self.owner(node);
        let (source, target) = (entry_path(at.source)?, entry_path(at.target)?);
        match &node.kind {
            NodeKind::Directory => Ok(()),
            NodeKind::Special => Err(NotNative::because(format!("`/{source}` is a device or a pipe")).into()),
            NodeKind::Symlink { target: to } => {
                self.put(at.target, PlacedKind::Symlink { target: to.clone() }, LINK, owner, None)
            }
            NodeKind::File { size } => {
                let first = node.origin.and_then(|origin| self.names.get(&origin).cloned());
                let mode = self.mode(node);
                if let Some(first) = first.filter(|first| self.draft.entry(first).is_some()) {
                    return self.put(at.target, PlacedKind::Hardlink { target: first }, mode, owner, None);
                }
                if let Some(origin) = node.origin {
                    self.names.insert(origin, target.clone());
                }
                let kind = PlacedKind::File { size: *size, content: self.contents.content(&source, node)? };
                let kept = if View::keeps(&target, *size) { self.contents.bytes(&source, node)? } else { None };
                self.put(at.target, kind, mode, owner, kept)
            }
        }
    }

    fn put(
        &mut self,
        target: &[u8],
        kind: PlacedKind,
        mode: u32,
        owner: Owner,
        kept: Option<Arc<[u8]>>,
    ) -> Result<(), CopyError> {
        let path = entry_path(target)?;
        if path.file_name().starts_with(WHITEOUT) {
            return Err(NotNative::because(format!("`/{path}` means a removal inside a layer")).into());
        }
        self.draft.put(PlacedEntry { path, kind, mode, owner }, kept);
        Ok(())
    }

    fn mode(&self, node: &Node) -> u32 {
        self.arguments.mode.as_ref().map_or(node.mode, |change| change.apply(node.mode, node.is_directory()))
    }

    fn owner(&self, node: &Node) -> Owner {
        self.arguments.owner.unwrap_or(Owner { uid: node.uid, gid: node.gid })
    }
}

/// `name` below `directory`, which is empty for the root.
pub(super) fn join(directory: &[u8], name: &[u8]) -> Vec<u8> {
    if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() }
}

pub(super) fn entry_path(real: &[u8]) -> Result<EntryPath, CopyError> {
    EntryPath::parse(real).map_err(|error| NotNative::because(error.to_string()).into())
}

/// Whether no folder has such a name: it has an extension, and not one of those that folders of packages have.
fn names_a_file(path: &[u8]) -> bool {
    let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let extension = name.iter().rposition(|byte| *byte == b'.').filter(|at| *at > 0).map(|at| &name[at + 1..]);
    let of_folders: [&[u8]; 5] = [b"", b"dist-info", b"egg-info", b"data", b"libs"];
    extension.is_some_and(|extension| !of_folders.contains(&extension))
}

pub(super) fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
