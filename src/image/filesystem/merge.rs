//! Layers on top of each other: what a runtime shows once it has applied them in order.
//!
//! The rules are containerd's (`pkg/archive`, `applyNaive`), applied to paths only; no file is touched.

use std::collections::BTreeSet;

use super::{Change, Filesystem, LayerIndex, LookupError, Node};
use crate::diagnostic::Diagnose;
use crate::layer::EntryPath;

/// Why a layer cannot be applied; a runtime would refuse the image too.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// An entry's path cannot be followed.
    #[error("entry `{path}` of layer {layer} cannot be placed")]
    Path {
        /// Counted from 1, the lowest.
        layer: usize,
        /// The entry.
        path: EntryPath,
        /// Why.
        #[source]
        source: LookupError,
    },
    /// A hard link's target does not exist or is a directory.
    #[error("entry `{path}` of layer {layer} is a hard link to `{target}`, which is no file")]
    HardlinkTarget {
        /// Counted from 1, the lowest.
        layer: usize,
        /// The entry.
        path: EntryPath,
        /// What it names.
        target: EntryPath,
    },
}

impl Diagnose for MergeError {
    fn hint(&self) -> Option<String> {
        Some("the parent image is damaged and no runtime could unpack it; choose another parent".into())
    }
}

impl Filesystem {
    /// Applies `layers`, the lowest first.
    ///
    /// # Errors
    /// Fails when an entry lies below something that is no directory, or a hard link has no target.
    pub fn merge(layers: impl IntoIterator<Item = LayerIndex>) -> Result<Self, MergeError> {
        let mut merged = Self::default();
        for (below, layer) in layers.into_iter().enumerate() {
            let mut apply = Apply { merged, layer: below + 1, placed: BTreeSet::new(), last_parent: None };
            let track = layer.changes().iter().any(|(_, change)| *change == Change::Opaque);
            for (path, change) in layer.into_changes() {
                apply.change(&path, change, track)?;
            }
            merged = apply.merged;
        }
        Ok(merged)
    }
}

struct Apply {
    merged: Filesystem,
    layer: usize,
    /// What this layer has brought, directories on the way included; kept only when the layer has an opaque directory.
    placed: BTreeSet<EntryPath>,
    /// The directory of the last entry, as written and in truth; most entries share it with the one before.
    last_parent: Option<(EntryPath, Vec<u8>)>,
}

impl Apply {
    fn change(&mut self, path: &EntryPath, change: Change, track: bool) -> Result<(), MergeError> {
        let real = self.place_of(path)?;
        match change {
            Change::Whiteout => self.remove(&real),
            Change::Opaque => self.clear(real.parent().as_ref().map_or(&[], EntryPath::as_bytes)),
            Change::Put(node) => self.put(real, node, track),
            Change::Link(target) => {
                let node = self.link_target(path, &target)?;
                self.put(real, node, track);
            }
        }
        Ok(())
    }

    fn walk(&self, entry: &EntryPath, path: &EntryPath) -> Result<Vec<u8>, MergeError> {
        self.merged.walk(path.as_bytes(), true).map_err(|source| self.misplaced(entry, source))
    }

    fn misplaced(&self, entry: &EntryPath, source: LookupError) -> MergeError {
        MergeError::Path { layer: self.layer, path: entry.clone(), source }
    }

    /// The real path of `path`: links followed in its directories, not in its last component.
    fn place_of(&mut self, path: &EntryPath) -> Result<EntryPath, MergeError> {
        let Some(parent) = path.parent() else { return Ok(path.clone()) };
        let directory = match &self.last_parent {
            Some((written, real)) if *written == parent => real.clone(),
            _ => {
                let real = self.walk(path, &parent)?;
                self.make_directories(path, &real)?;
                self.last_parent = Some((parent, real.clone()));
                real
            }
        };
        join(&directory, path.file_name()).ok_or_else(|| self.no_entry(path))
    }

    fn no_entry(&self, path: &EntryPath) -> MergeError {
        self.misplaced(path, LookupError::NoEntry { path: path.to_string() })
    }

    fn make_directories(&mut self, entry: &EntryPath, directory: &[u8]) -> Result<(), MergeError> {
        let ends: Vec<usize> =
            (0..directory.len()).filter(|at| directory[*at] == b'/').chain([directory.len()]).collect();
        for end in ends {
            let Ok(path) = EntryPath::parse(&directory[..end]) else { continue };
            match self.merged.nodes.get(&path) {
                None => {
                    self.merged.nodes.insert(path, Node::implied_directory());
                }
                Some(node) if node.is_directory() => {}
                Some(_) => {
                    let source = LookupError::NotADirectory { path: entry.to_string(), through: path };
                    return Err(self.misplaced(entry, source));
                }
            }
        }
        Ok(())
    }

    fn put(&mut self, real: EntryPath, node: Node, track: bool) {
        let stays = node.is_directory() && self.merged.nodes.get(&real).is_some_and(Node::is_directory);
        if !stays {
            self.remove(&real);
        }
        if track {
            let mut above = Some(real.clone());
            while let Some(path) = above {
                above = path.parent();
                self.placed.insert(path);
            }
        }
        self.merged.nodes.insert(real, node);
    }

    fn remove(&mut self, real: &EntryPath) {
        let Some(node) = self.merged.nodes.remove(real) else { return };
        self.last_parent = None;
        if node.is_directory() {
            let below: Vec<EntryPath> = self.merged.below(real.as_bytes()).map(|(path, _)| path.clone()).collect();
            for path in below {
                self.merged.nodes.remove(&path);
            }
        }
    }

    /// Makes a directory opaque: what lower layers have in it goes.
    fn clear(&mut self, directory: &[u8]) {
        self.last_parent = None;
        let placed = &self.placed;
        let lower: Vec<EntryPath> = self
            .merged
            .below(directory)
            .map(|(path, _)| path)
            .filter(|path| !placed.contains(*path))
            .cloned()
            .collect();
        for path in lower {
            self.merged.nodes.remove(&path);
        }
    }

    fn link_target(&self, entry: &EntryPath, target: &EntryPath) -> Result<Node, MergeError> {
        let real = self.merged.walk(target.as_bytes(), false).map_err(|source| self.misplaced(entry, source))?;
        match self.merged.nodes.get(&real[..]) {
            Some(node) if !node.is_directory() => Ok(node.clone()),
            _ => Err(MergeError::HardlinkTarget { layer: self.layer, path: entry.clone(), target: target.clone() }),
        }
    }
}

fn join(directory: &[u8], name: &[u8]) -> Option<EntryPath> {
    if directory.is_empty() {
        return EntryPath::parse(name).ok();
    }
    EntryPath::parse([directory, b"/", name].concat()).ok()
}
