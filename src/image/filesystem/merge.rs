//! Layers on top of each other: what a runtime shows once it has applied them in order.
//!
//! The rules are containerd's (`pkg/archive`, `applyNaive`), applied to paths only; no file is touched.

use std::collections::BTreeSet;

use super::{Change, Filesystem, LayerIndex, LookupError, Node, Origin};
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
            merged = merged.with_layer(layer, below, false)?;
        }
        Ok(merged)
    }

    /// As [`Filesystem::merge`]; every file then says in its [`Node::origin`] where its content stands.
    ///
    /// # Errors
    /// As [`Filesystem::merge`].
    pub fn merge_located(layers: impl IntoIterator<Item = LayerIndex>) -> Result<Self, MergeError> {
        let mut merged = Self::default();
        for (below, layer) in layers.into_iter().enumerate() {
            merged = merged.with_layer(layer, below, true)?;
        }
        Ok(merged)
    }

    /// Applies one layer more, which has `below` layers below it.
    pub(super) fn with_layer(self, layer: LayerIndex, below: usize, locate: bool) -> Result<Self, MergeError> {
        let mut apply = Apply { merged: self, layer: below + 1, placed: BTreeSet::new(), last_parent: None };
        let track = layer.changes().iter().any(|(_, change)| *change == Change::Opaque);
        for (entry, (path, mut change)) in layer.into_changes().into_iter().enumerate() {
            if let Change::Put(node) = &mut change
                && locate
                && node.is_file()
            {
                node.origin = Some(Origin { layer: below, entry });
            }
            apply.change(&path, change, track)?;
        }
        Ok(apply.merged)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::filesystem::NodeKind;

    fn path(path: &str) -> EntryPath {
        EntryPath::parse(path).unwrap()
    }

    /// A layer: `a/` a folder, `a -> b` a link, `a = b` a hard link, `-a` a whiteout, `!a` an opaque folder, `a` a file;
    /// `a:7` is one of seven bytes.
    fn layer(lines: &[&str]) -> LayerIndex {
        let put = |kind| Change::Put(Node::new(kind, 0o700, 1, 1));
        let change = |line: &&str| {
            if let Some((from, target)) = line.split_once(" -> ") {
                return (path(from), put(NodeKind::Symlink { target: target.into() }));
            }
            if let Some((from, target)) = line.split_once(" = ") {
                return (path(from), Change::Link(path(target)));
            }
            if let Some(gone) = line.strip_prefix('-') {
                return (path(gone), Change::Whiteout);
            }
            if let Some(folder) = line.strip_prefix('!') {
                return (path(&format!("{folder}.wh..wh..opq")), Change::Opaque);
            }
            match line.split_once(':') {
                Some((file, size)) => (path(file), put(NodeKind::File { size: size.parse().unwrap() })),
                None if line.ends_with('/') => (path(line.trim_end_matches('/')), put(NodeKind::Directory)),
                None => (path(line), put(NodeKind::File { size: 0 })),
            }
        };
        LayerIndex::new(lines.iter().map(change).collect())
    }

    /// The merged view in the words of `layer`; folders that nothing brought have a `?`.
    fn merged(layers: &[&[&str]]) -> Result<String, MergeError> {
        let merged = Filesystem::merge(layers.iter().map(|lines| layer(lines)))?;
        assert_eq!(Filesystem::from_bytes(&merged.to_bytes().unwrap()).unwrap(), merged);
        let line = |(path, node): (&EntryPath, &Node)| match &node.kind {
            NodeKind::Directory if node.mode == 0o755 => format!("{path}/?"),
            NodeKind::Directory => format!("{path}/"),
            NodeKind::File { size: 0 } | NodeKind::Special => path.to_string(),
            NodeKind::File { size } => format!("{path}:{size}"),
            NodeKind::Symlink { target } => format!("{path}->{}", target.escape_ascii()),
        };
        Ok(merged.iter().map(line).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn layers_are_applied_as_runtimes_apply_them() {
        for (what, layers, expected) in [
            ("a file replaces a file", &[&["a:1"][..], &["a:2"]][..], "a:2"),
            ("the last of two entries of a layer counts", &[&["a:1", "a:2"]], "a:2"),
            ("a missing folder is made", &[&["a/b/c"]], "a/? a/b/? a/b/c"),
            ("a folder keeps what is below it", &[&["d/", "d/a"], &["d/", "d/b"]], "d/ d/a d/b"),
            ("a file replaces a folder", &[&["d/", "d/a", "d-e"], &["d"]], "d d-e"),
            ("a folder replaces a file", &[&["d"], &["d/", "d/a"]], "d/ d/a"),
            ("a folder replaces a link to a folder", &[&["l/", "d -> l"], &["d/", "d/a"]], "d/ d/a l/"),
            (
                "a file below a link goes where it leads",
                &[&["usr/lib/", "lib -> usr/lib"], &["lib/a"]],
                "lib->usr/lib usr/? usr/lib/ usr/lib/a",
            ),
            ("a link may lead to what is not there yet", &[&["l -> /x/y", "l/a"]], "l->/x/y x/? x/y/? x/y/a"),
            ("a link that climbs stays inside", &[&["l -> ../../x", "l/a"]], "l->../../x x/? x/a"),
            ("a link is replaced, not followed", &[&["a:1", "l -> a"], &["l:2"]], "a:1 l:2"),
            ("a whiteout removes a file", &[&["d/", "d/a", "d/b"], &["-d/a"]], "d/ d/b"),
            ("a whiteout removes a folder", &[&["d/", "d/e/", "d/e/a", "d/e-f"], &["-d/e"]], "d/ d/e-f"),
            ("a whiteout follows links on the way", &[&["u/", "u/a", "l -> u"], &["-l/a"]], "l->u u/"),
            ("a whiteout of nothing does nothing", &[&["a"], &["-b"]], "a"),
            ("what a whiteout removed can come back", &[&["d/", "d/a"], &["-d", "d/", "d/b"]], "d/ d/b"),
            ("an opaque folder hides what was below", &[&["d/", "d/a", "d/e/b"], &["d/", "d/c", "!d/"]], "d/ d/c"),
            ("wherever its marker stands", &[&["d/", "d/a"], &["d/", "!d/", "d/c"]], "d/ d/c"),
            ("but not what the layer has at depth", &[&["d/e/b", "d/e/x"], &["d/e/c", "!d/"]], "d/? d/e/? d/e/c"),
            ("an opaque root hides all", &[&["a", "d/b"], &["c", "!"]], "c"),
            ("a hard link is the file", &[&["a:3", "b = a"], &["a:4"]], "a:4 b:3"),
            ("a hard link may name a lower layer's file", &[&["d/a:3"], &["b = d/a"]], "b:3 d/? d/a:3"),
            ("a hard link to a link is the link", &[&["a", "l -> a", "b = l"]], "a b->a l->a"),
            (
                "after a replaced folder the way is walked anew",
                &[&["d/a", "d/b", "d", "e/a", "-e", "e/b"]],
                "d e/? e/b",
            ),
        ] {
            assert_eq!(merged(layers).unwrap(), expected, "{what}");
        }
    }

    #[test]
    fn layers_that_no_runtime_could_apply_are_refused() {
        let error = |layers: &[&[&str]]| merged(layers).unwrap_err().to_string();
        assert_eq!(error(&[&["a"], &["a/b"]]), "entry `a/b` of layer 2 cannot be placed");
        assert_eq!(error(&[&["l -> l", "l/a"]]), "entry `l/a` of layer 1 cannot be placed");
        assert_eq!(error(&[&["b = a"]]), "entry `b` of layer 1 is a hard link to `a`, which is no file");
        assert_eq!(error(&[&["a/", "b = a"]]), "entry `b` of layer 1 is a hard link to `a`, which is no file");
    }
}
