//! The files of a stage so far, and a draft of what the next layer does to them.
//!
//! Every change gives the layer and what is there afterwards; nothing is changed in place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::diagnostic::Diagnose;
use crate::image::filesystem::{Found, LayerIndex, MergeError, Node, NodeKind, View, at_and_below};
use crate::image::users::{Owner, copy_owner};
use crate::layer::EntryPath;

use super::super::layers::DirectoryEntry;
use super::placed::{FileContent, PlacedEntry, PlacedFiles, PlacedKind};

/// Why something cannot be done without running it, as a clause: "`/x` is not known before it is made".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct NotNative {
    /// The clause.
    pub reason: String,
}

impl Diagnose for NotNative {}

impl NotNative {
    /// With this reason.
    pub fn because(reason: impl Into<String>) -> Self {
        Self { reason: reason.into() }
    }

    /// What is at `path` is only known once it is made.
    pub fn unknown(path: &[u8]) -> Self {
        Self::because(format!("what is at `/{}` is not known before it is made", String::from_utf8_lossy(path)))
    }
}

/// The files of a stage, and where the contents of those come from that its own plan placed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StageFiles {
    view: View,
    contents: Arc<BTreeMap<EntryPath, Held>>,
}

/// A file whose content the plan can place once more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) size: u64,
    pub(super) content: FileContent,
    /// Whether it has other names, which would change with it.
    pub(super) is_shared: bool,
}

/// What one instruction comes to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// Its layer; when that is empty, none is needed.
    pub files: PlacedFiles,
    /// The stage's files after it.
    pub after: StageFiles,
}

impl StageFiles {
    /// The files that a stage begins with.
    pub fn new(view: View) -> Self {
        Self { view, contents: Arc::default() }
    }

    /// What is there.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// Whom files belong to that are copied for `text`, a user and a group, by BuildKit's rules.
    ///
    /// # Errors
    /// Fails when the files that name them are not known.
    pub fn owner(&self, text: &str) -> Result<Owner, NotNative> {
        copy_owner(&self.view, text).map_err(|error| NotNative::because(error.to_string()))
    }

    /// Where the content of the file at `path`, a real path, comes from, when this plan placed it.
    pub fn content(&self, path: &EntryPath) -> Option<&FileContent> {
        self.contents.get(path).map(|held| &held.content)
    }

    pub(super) fn held(&self, path: &EntryPath) -> Option<&Held> {
        self.contents.get(path)
    }

    /// Puts a node that something else made, such as a file of a copied layer.
    pub fn put(&mut self, path: EntryPath, node: Node) {
        self.forget(path.as_bytes(), node.is_directory());
        self.view.put(path, node);
    }

    /// Removes a path and all below it.
    pub fn remove(&mut self, path: &EntryPath) {
        self.forget(path.as_bytes(), false);
        self.view.remove(path);
    }

    /// See [`View::mark_unknown`].
    pub fn mark_unknown(&mut self, path: &[u8]) {
        self.forget(path, false);
        self.view.mark_unknown(path);
    }

    /// See [`View::mark_contents_unknown`].
    pub fn mark_contents_unknown(&mut self, path: &EntryPath) {
        self.forget(path.as_bytes(), false);
        self.view.mark_contents_unknown(path);
    }

    /// See [`View::apply`].
    ///
    /// # Errors
    /// As [`View::apply`].
    pub fn apply(&mut self, layer: LayerIndex) -> Result<(), MergeError> {
        self.contents = Arc::default();
        self.view.apply(layer)
    }

    /// Drops what is held at `path`, and below it unless a directory joins the one that is there.
    fn forget(&mut self, path: &[u8], joins: bool) {
        if joins {
            if self.contents.contains_key(path) {
                Arc::make_mut(&mut self.contents).remove(path);
            }
            return;
        }
        for gone in at_and_below(&self.contents, path) {
            Arc::make_mut(&mut self.contents).remove(&gone);
        }
    }
}

/// A layer in the making, and what it leaves.
#[derive(Clone, Debug)]
pub struct Draft {
    before: StageFiles,
    after: StageFiles,
    entries: BTreeMap<EntryPath, PlacedEntry>,
    removed: BTreeSet<EntryPath>,
    /// Directories that took the place of others, whose contents must not show.
    emptied: BTreeSet<EntryPath>,
    is_partial: bool,
}

impl Draft {
    /// A layer on top of `stage`.
    pub fn on(stage: &StageFiles) -> Self {
        Self {
            before: stage.clone(),
            after: stage.clone(),
            entries: BTreeMap::new(),
            removed: BTreeSet::new(),
            emptied: BTreeSet::new(),
            is_partial: false,
        }
    }

    /// What is there by now.
    pub fn view(&self) -> &View {
        &self.after.view
    }

    /// The entry that this layer has at `path`.
    pub fn entry(&self, path: &EntryPath) -> Option<&PlacedEntry> {
        self.entries.get(path)
    }

    /// Places an entry; `kept` is its content where a [`View`] keeps it.
    pub fn put(&mut self, entry: PlacedEntry, kept: Option<Arc<[u8]>>) {
        let path = entry.path.clone();
        let is_directory = entry.kind == PlacedKind::Directory;
        if is_directory {
            if self.removed.remove(&path) {
                self.emptied.insert(path.clone());
            }
        } else {
            self.release(&path);
            self.drop_below(&path);
            if self.before.view.find(path.as_bytes()).node().is_some_and(Node::is_directory) {
                // Whatever comes next at this path hides the directory; should it be one again, it begins empty.
                self.removed.insert(path.clone());
            }
        }
        let mut node = self.node_of(&entry);
        if let (Some(kept), NodeKind::File { .. }) = (kept, &node.kind) {
            node = node.with_content(kept);
        }
        self.after.put(path.clone(), node);
        if let Some(held) = self.held_of(&entry) {
            Arc::make_mut(&mut self.after.contents).insert(path.clone(), held);
        }
        self.entries.insert(path, entry);
    }

    fn node_of(&self, entry: &PlacedEntry) -> Node {
        let kind = match &entry.kind {
            PlacedKind::Directory => NodeKind::Directory,
            PlacedKind::Symlink { target } => NodeKind::Symlink { target: target.clone() },
            PlacedKind::File { size, .. } => NodeKind::File { size: *size },
            PlacedKind::Hardlink { target } => match self.after.view.find(target.as_bytes()) {
                Found::Known(node) => node.kind.clone(),
                Found::Absent | Found::Unknown => NodeKind::File { size: 0 },
            },
        };
        Node::new(kind, entry.mode, entry.owner.uid, entry.owner.gid)
    }

    fn held_of(&mut self, entry: &PlacedEntry) -> Option<Held> {
        match &entry.kind {
            PlacedKind::File { content: FileContent::Layer(_), .. } => None,
            PlacedKind::File { size, content } => {
                Some(Held { size: *size, content: content.clone(), is_shared: false })
            }
            PlacedKind::Hardlink { target } => {
                let held = Arc::make_mut(&mut self.after.contents).get_mut(target)?;
                held.is_shared = true;
                Some(held.clone())
            }
            PlacedKind::Directory | PlacedKind::Symlink { .. } => None,
        }
    }

    /// Makes `path` another name of the file that this layer has at `target`, which then has this mode and owner by all its
    /// names; false when there is no such file.
    pub fn put_name(&mut self, path: EntryPath, target: EntryPath, mode: u32, owner: Owner) -> bool {
        let first = match self.entries.get(&target).map(|entry| &entry.kind) {
            Some(PlacedKind::File { .. }) => target,
            Some(PlacedKind::Hardlink { target }) => target.clone(),
            Some(PlacedKind::Directory | PlacedKind::Symlink { .. }) | None => return false,
        };
        self.put(PlacedEntry { path, kind: PlacedKind::Hardlink { target: first.clone() }, mode, owner }, None);
        let mut changed = Vec::new();
        for (path, entry) in &mut self.entries {
            if *path == first || entry.kind == (PlacedKind::Hardlink { target: first.clone() }) {
                (entry.mode, entry.owner) = (mode, owner);
                changed.push(entry.clone());
            }
        }
        for entry in changed {
            let Found::Known(node) = self.after.view.find(entry.path.as_bytes()) else { continue };
            let mut node = node.clone();
            (node.mode, node.uid, node.gid) = (mode, owner.uid, owner.gid);
            self.after.view.put(entry.path, node);
        }
        true
    }

    /// Gives the content of the file at `path`, which goes, to another of its names.
    fn release(&mut self, path: &EntryPath) {
        let Some(PlacedEntry { kind: kind @ PlacedKind::File { .. }, .. }) = self.entries.get(path) else { return };
        let (kind, mut first) = (kind.clone(), None);
        if !self.after.held(path).is_none_or(|held| held.is_shared) {
            return;
        }
        for (name, entry) in &mut self.entries {
            if entry.kind != (PlacedKind::Hardlink { target: path.clone() }) {
                continue;
            }
            match &first {
                None => {
                    entry.kind = kind.clone();
                    first = Some(name.clone());
                }
                Some(first) => entry.kind = PlacedKind::Hardlink { target: first.clone() },
            }
        }
    }

    /// See [`View::mark_unknown`]; the layer is then not complete.
    pub fn mark_unknown(&mut self, path: &[u8]) {
        self.is_partial = true;
        self.after.mark_unknown(path);
    }

    /// See [`View::mark_contents_unknown`]; the root is marked whole.
    pub fn mark_contents_unknown(&mut self, path: &[u8]) {
        self.is_partial = true;
        match EntryPath::parse(path) {
            Ok(path) => self.after.mark_contents_unknown(&path),
            Err(_) => self.after.mark_unknown(b""),
        }
    }

    /// Whether something was marked.
    pub fn is_partial(&self) -> bool {
        self.is_partial
    }

    /// Removes a path and all below it.
    pub fn remove(&mut self, path: &EntryPath) {
        self.release(path);
        self.drop_below(path);
        self.entries.remove(path);
        if self.before.view.find(path.as_bytes()) != Found::Absent {
            self.removed.insert(path.clone());
        }
        self.after.remove(path);
    }

    /// Drops what this layer does below `path`.
    fn drop_below(&mut self, path: &EntryPath) {
        for gone in at_and_below(&self.entries, path.as_bytes()) {
            if gone != *path {
                self.release(&gone);
                self.entries.remove(&gone);
            }
        }
        let below = [path.as_bytes(), b"/"].concat();
        self.removed.retain(|at| !at.as_bytes().starts_with(&below));
        self.emptied.retain(|at| at != path && !at.as_bytes().starts_with(&below));
    }

    /// Makes the directory at `path`, a real path, and those above that are missing.
    ///
    /// Without an owner it is root's, and of the group of a directory above that hands its group on.
    ///
    /// # Errors
    /// Fails when something on the way is no directory, or unknown.
    pub fn make_directories(&mut self, path: &[u8], mode: u32, owner: Option<Owner>) -> Result<(), Blocked> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let ends: Vec<usize> = ends.chain([path.len()]).filter(|end| *end > 0).collect();
        let mut gid = 0;
        for end in ends {
            let Ok(at) = EntryPath::parse(&path[..end]) else { continue };
            match self.view().find(at.as_bytes()) {
                Found::Known(node) if node.is_directory() => {
                    gid = if node.mode & HANDS_GROUP_ON != 0 { node.gid } else { 0 };
                }
                Found::Known(_) => return Err(Blocked::NoDirectory(at)),
                Found::Unknown => return Err(Blocked::Unknown(at)),
                Found::Absent => {
                    let owner = owner.unwrap_or(Owner { uid: 0, gid });
                    self.put(PlacedEntry { path: at, kind: PlacedKind::Directory, mode, owner }, None);
                    gid = 0;
                }
            }
        }
        Ok(())
    }

    /// The layer and what is there afterwards.
    pub fn finish(self) -> Placed {
        let Self { after, entries, mut removed, emptied, .. } = self;
        removed.retain(|path| !entries.contains_key(path));
        let mut directories: BTreeMap<EntryPath, DirectoryEntry> = BTreeMap::new();
        for path in entries.keys().chain(&removed) {
            for (path, node) in after.view.directories_above(path.as_bytes()) {
                if !entries.contains_key(&path) {
                    let owner = Owner { uid: node.uid, gid: node.gid };
                    directories.insert(path.clone(), DirectoryEntry { path, mode: node.mode, owner });
                }
            }
        }
        let files = PlacedFiles {
            directories: directories.into_values().collect(),
            removed: removed.into_iter().collect(),
            emptied: emptied.into_iter().collect(),
            entries: entries.into_values().collect(),
        };
        Placed { files: files.in_order(), after }
    }
}

/// The bit by which a directory hands its group on to what is made in it.
const HANDS_GROUP_ON: u32 = 0o2000;

/// Why a directory cannot be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// Something there is no directory.
    NoDirectory(EntryPath),
    /// Nobody knows what is there.
    Unknown(EntryPath),
}

impl From<Blocked> for NotNative {
    fn from(blocked: Blocked) -> Self {
        match blocked {
            Blocked::NoDirectory(path) => Self::because(format!("`/{path}` is no directory")),
            Blocked::Unknown(path) => Self::unknown(path.as_bytes()),
        }
    }
}

impl Placed {
    /// Changes that were made one upon the other, the first of them to `before`, as one layer.
    pub fn joined(before: &StageFiles, made: Vec<Self>) -> Self {
        let mut draft = Draft::on(before);
        let mut after = before.clone();
        for placed in made {
            let PlacedFiles { removed, emptied, entries, .. } = placed.files;
            removed.iter().for_each(|path| draft.remove(path));
            for entry in entries {
                if emptied.contains(&entry.path) {
                    draft.remove(&entry.path);
                }
                draft.put(entry, None);
            }
            after = placed.after;
        }
        Self { files: draft.finish().files, after }
    }

    /// The same layer on top of `stage`, which it was made without a look at: what `COPY --link` does.
    #[must_use]
    pub fn over(self, stage: &StageFiles) -> Self {
        let mut after = stage.clone();
        let made = self.after;
        for entry in &self.files.entries {
            let Some(node) = made.view.find(entry.path.as_bytes()).node() else { continue };
            after.put(entry.path.clone(), node.clone());
            if let Some(held) = made.contents.get(&entry.path) {
                Arc::make_mut(&mut after.contents).insert(entry.path.clone(), held.clone());
            }
        }
        Self { files: self.files, after }
    }
}
