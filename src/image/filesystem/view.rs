//! The files of a stage so far, for planning: what is there, what is not, and what nobody knows before it is made.
//!
//! No contents beyond those that an index keeps; where the bytes of a file come from is the plan's to know.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, OnceLock};

use super::capture::{Capture, MAX_CAPTURED};
use super::lookup::{Step, walk};
use super::node::{at_and_below, subtree};
use super::{Change, Filesystem, LayerIndex, LookupError, MergeError, Node};
use crate::layer::EntryPath;

/// The files of a stage.
///
/// A copy shares what it can with its original: the parent's files are held once, however many views stand on them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    base: Arc<Filesystem>,
    /// What was changed on top of the base; after each mark below which nothing is known.
    changes: Arc<BTreeMap<EntryPath, Changed>>,
    /// At and below these paths nothing is known but what `changes` says; `""` is the root.
    unknown: BTreeSet<Vec<u8>>,
    whole: Whole,
}

/// All that is known, in one, once somebody asked; says nothing that the rest of a view does not.
#[derive(Clone, Debug, Default)]
struct Whole(Arc<OnceLock<Arc<Filesystem>>>);

impl PartialEq for Whole {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Whole {}

/// What a change left at its path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Changed {
    node: Option<Node>,
    /// Whether what the base has below the path is gone.
    hides: bool,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// This.
    Known(&'a Node),
    /// Nothing.
    Absent,
    /// Nobody knows before it is made.
    Unknown,
}

impl<'a> Found<'a> {
    /// What is there, if that is known.
    pub fn node(self) -> Option<&'a Node> {
        if let Self::Known(node) = self { Some(node) } else { None }
    }
}

/// Where a path leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached<'a> {
    /// The real path, links followed, parts that do not exist as asked for; empty for the root. When what is there is
    /// unknown, the part that is known.
    pub path: Vec<u8>,
    /// What is there; the root is a directory of which nothing more is said.
    pub found: Found<'a>,
}

impl Reached<'_> {
    /// Whether the path leads to a directory.
    pub fn is_directory(&self) -> bool {
        self.path.is_empty() || self.found.node().is_some_and(Node::is_directory)
    }
}

/// What a directory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing<'a> {
    /// What is known, in byte order.
    pub entries: Vec<(&'a EntryPath, &'a Node)>,
    /// Whether that is all.
    pub is_complete: bool,
}

impl View {
    /// The files of an image.
    pub fn new(base: Arc<Filesystem>) -> Self {
        Self { base, ..Self::default() }
    }

    /// Files of which nothing is known.
    pub fn unknown() -> Self {
        Self { unknown: BTreeSet::from([Vec::new()]), ..Self::default() }
    }

    /// Whether nothing was ever put here.
    pub fn is_empty(&self) -> bool {
        self.base.is_empty() && self.changes.is_empty() && self.unknown.is_empty()
    }

    /// What is at `path`, without following links.
    pub fn find(&self, path: &[u8]) -> Found<'_> {
        if let Some(changed) = self.changes.get(path) {
            return changed.node.as_ref().map_or(Found::Absent, Found::Known);
        }
        if self.changes.is_empty() && self.unknown.is_empty() {
            return self.in_base(path);
        }
        if self.unknown.contains(path) {
            return Found::Unknown;
        }
        let mut above = path;
        while !above.is_empty() {
            above = &above[..above.iter().rposition(|byte| *byte == b'/').unwrap_or(0)];
            if self.changes.get(above).is_some_and(|changed| changed.hides) {
                return Found::Absent;
            }
            if self.unknown.contains(above) {
                return Found::Unknown;
            }
        }
        self.in_base(path)
    }

    fn in_base(&self, path: &[u8]) -> Found<'_> {
        self.base.nodes.get(path).map_or(Found::Absent, Found::Known)
    }

    /// Where `path` (absolute or relative to the root) leads; its last part is followed too when `follow_last`.
    ///
    /// # Errors
    /// Fails when the path loops or passes something that is no directory.
    pub fn reach(&self, path: impl AsRef<[u8]>, follow_last: bool) -> Result<Reached<'_>, LookupError> {
        let step = |real: &[u8]| match self.find(real) {
            Found::Known(node) => Step::of(node),
            Found::Absent => Step::Passes,
            Found::Unknown => Step::Unknown,
        };
        let walked = walk(step, path.as_ref(), follow_last)?;
        let found = if walked.is_known { self.find(&walked.real) } else { Found::Unknown };
        Ok(Reached { path: walked.real, found })
    }

    /// What the directory at `real`, a real path, holds.
    pub fn list(&self, real: &[u8]) -> Listing<'_> {
        let (first, end) = subtree(real);
        let skip = first.len();
        let is_child = |path: &EntryPath| !path.as_bytes()[skip..].contains(&b'/');
        let mut entries: BTreeMap<&EntryPath, &Node> = BTreeMap::new();
        let (hidden, is_complete) = self.state_below(real);
        if !hidden && is_complete {
            for (path, node) in self.base.listed(real) {
                if !self.unknown.contains(path.as_bytes()) {
                    entries.insert(path, node);
                }
            }
        }
        let stop = end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(&end[..]));
        let bounds = (Bound::Included(&first[..]), stop);
        for (path, changed) in self.changes.range::<[u8], _>(bounds).filter(|(path, _)| is_child(path)) {
            match &changed.node {
                Some(node) => entries.insert(path, node),
                None => entries.remove(path),
            };
        }
        let mut marks = self.unknown.range::<[u8], _>(bounds);
        let names_child = |mark: &Vec<u8>| mark.len() > skip && !mark[skip..].contains(&b'/');
        let is_complete =
            is_complete && !marks.any(|mark| names_child(mark) && !self.changes.contains_key(mark.as_slice()));
        Listing { entries: entries.into_iter().collect(), is_complete }
    }

    /// Whether what the base has below `real` is hidden, and whether nothing is unknown there.
    fn state_below(&self, real: &[u8]) -> (bool, bool) {
        let mut above = real;
        loop {
            if self.changes.get(above).is_some_and(|changed| changed.hides) {
                return (true, !self.unknown.contains(above));
            }
            if self.unknown.contains(above) {
                return (false, false);
            }
            if above.is_empty() {
                return (false, true);
            }
            above = &above[..above.iter().rposition(|byte| *byte == b'/').unwrap_or(0)];
        }
    }

    /// What was kept of the file at `path`, links followed; see [`Filesystem::content`]. Nothing is absent that is there
    /// without its content: that is unknown.
    pub fn content(&self, path: impl AsRef<[u8]>) -> Content<'_> {
        match self.reach(path, true).map(|reached| reached.found) {
            Ok(Found::Known(node)) if node.is_file() => node.content().map_or(Content::Unknown, Content::Known),
            Ok(Found::Unknown) => Content::Unknown,
            Ok(Found::Known(_) | Found::Absent) | Err(_) => Content::Absent,
        }
    }

    /// The directories above `path`, a real path, that exist, the outermost first.
    pub fn directories_above(&self, path: &[u8]) -> Vec<(EntryPath, &Node)> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let found = |end: usize| {
            let node = self.find(&path[..end]).node().filter(|node| node.is_directory())?;
            Some((EntryPath::parse(&path[..end]).ok()?, node))
        };
        ends.filter_map(found).collect()
    }

    /// Puts `node` at `path`, a real path: a directory keeps what is below it, anything else replaces all.
    /// Directories above that are missing are made as a runtime makes them.
    pub fn put(&mut self, path: EntryPath, node: Node) {
        let existing = self.find(path.as_bytes());
        let hides = match existing {
            Found::Known(there) if there.is_directory() && node.is_directory() => {
                self.changes.get(&path).is_some_and(|changed| changed.hides)
            }
            Found::Unknown if node.is_directory() => false,
            _ => {
                self.remove(&path);
                true
            }
        };
        let mut above = path.parent();
        while let Some(directory) = above.take() {
            if self.find(directory.as_bytes()) == Found::Absent {
                above = directory.parent();
                let made = Changed { node: Some(Node::implied_directory()), hides: true };
                self.changes_mut().insert(directory, made);
            }
        }
        self.changes_mut().insert(path, Changed { node: Some(node), hides });
    }

    /// Removes `path`, a real path, and all below it.
    pub fn remove(&mut self, path: &EntryPath) {
        self.forget(path.as_bytes());
        self.changes_mut().insert(path.clone(), Changed { node: None, hides: true });
    }

    /// Says that nobody knows what is at `path`, a real path, and below it before it is made; `""` is the root.
    pub fn mark_unknown(&mut self, path: &[u8]) {
        self.forget(path);
        self.forget_whole();
        self.unknown.insert(path.to_vec());
    }

    /// As [`View::mark_unknown`] for what is below `path`; the directory itself stays what it is.
    pub fn mark_contents_unknown(&mut self, path: &EntryPath) {
        let node = self.find(path.as_bytes()).node().filter(|node| node.is_directory()).cloned();
        self.mark_unknown(path.as_bytes());
        if let Some(node) = node {
            self.changes_mut().insert(path.clone(), Changed { node: Some(node), hides: false });
        }
    }

    /// Drops every change and mark at and below `path`.
    fn forget(&mut self, path: &[u8]) {
        for gone in at_and_below(&self.changes, path) {
            self.changes_mut().remove(&gone);
        }
        if !self.unknown.is_empty() {
            self.forget_whole();
            let below = [path, b"/"].concat();
            self.unknown.retain(|at| at != path && !path.is_empty() && !at.starts_with(&below));
        }
    }

    /// Applies a layer.
    ///
    /// # Errors
    /// Fails when an entry lies below something that is no directory, or a hard link has no target.
    pub fn apply(&mut self, layer: LayerIndex) -> Result<(), MergeError> {
        let put: Vec<EntryPath> = match self.unknown.is_empty() {
            true => Vec::new(),
            false => {
                layer.changes().iter().filter(|(_, change)| is_put(change)).map(|(path, _)| path.clone()).collect()
            }
        };
        let files = self.files().as_ref().clone().with_layer(layer, 0, false)?;
        let known = put.into_iter().filter_map(|path| {
            let parent = path.parent().map_or(Ok(Vec::new()), |parent| files.walk(parent.as_bytes(), true)).ok()?;
            let real = if parent.is_empty() {
                path.file_name().to_vec()
            } else {
                [&parent, &b"/"[..], path.file_name()].concat()
            };
            let (path, node) = files.nodes.get_key_value(&real[..])?;
            Some((path.clone(), Changed { node: Some(node.clone()), hides: !node.is_directory() }))
        });
        self.changes = Arc::new(known.collect());
        self.forget_whole();
        self.base = Arc::new(files);
        Ok(())
    }

    /// All that is known, in one; directories above what is known of unknown regions are implied.
    pub fn files(&self) -> Arc<Filesystem> {
        if self.changes.is_empty() && self.unknown.is_empty() {
            return Arc::clone(&self.base);
        }
        Arc::clone(self.whole.0.get_or_init(|| Arc::new(self.joined())))
    }

    fn joined(&self) -> Filesystem {
        let mut files = self.base.as_ref().clone();
        let hidden = self.changes.iter().filter(|(_, changed)| changed.hides).map(|(path, _)| path.as_bytes());
        for path in hidden.chain(self.unknown.iter().map(Vec::as_slice)) {
            let gone: Vec<EntryPath> = files.below(path).map(|(path, _)| path.clone()).collect();
            for path in gone {
                files.nodes.remove(&path);
            }
            files.nodes.remove(path);
        }
        for (path, changed) in self.changes.iter() {
            let Some(node) = &changed.node else { continue };
            let mut above = path.parent();
            while let Some(directory) = above.take().filter(|directory| !files.nodes.contains_key(directory)) {
                above = directory.parent();
                files.nodes.insert(directory, Node::implied_directory());
            }
            files.nodes.insert(path.clone(), node.clone());
        }
        files
    }

    /// A copy of this view keeps what it has put together.
    fn forget_whole(&mut self) {
        match Arc::get_mut(&mut self.whole.0) {
            Some(whole) => drop(whole.take()),
            None => self.whole = Whole::default(),
        }
    }

    /// What was changed on top of the base, to be changed again.
    fn changes_mut(&mut self) -> &mut BTreeMap<EntryPath, Changed> {
        self.forget_whole();
        Arc::make_mut(&mut self.changes)
    }

    /// Whether a view keeps the content of a file of this path and size, for [`Node::with_content`].
    pub fn keeps(path: &EntryPath, size: u64) -> bool {
        // `/etc` may be a link, which makes any file of these names the one that is looked for.
        let names_users = matches!(path.file_name(), b"passwd" | b"group");
        (names_users && size <= MAX_CAPTURED) || Capture::of(path.as_bytes()).is_some_and(|capture| capture.fits(size))
    }
}

fn is_put(change: &Change) -> bool {
    matches!(change, Change::Put(_) | Change::Link(_))
}

/// What is known of a file's content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content<'a> {
    /// This.
    Known(&'a [u8]),
    /// There is no such file.
    Absent,
    /// There may be one, and nobody knows what it holds.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::super::NodeKind;
    use super::*;

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text).unwrap()
    }

    fn directory(mode: u32) -> Node {
        Node::new(NodeKind::Directory, mode, 0, 0)
    }

    fn file(size: u64) -> Node {
        Node::new(NodeKind::File { size }, 0o644, 0, 0)
    }

    fn link(target: &str) -> Node {
        Node::new(NodeKind::Symlink { target: target.into() }, 0o777, 0, 0)
    }

    fn base() -> View {
        let changes = [
            ("a", directory(0o755)),
            ("a-b", file(1)),
            ("a/b", directory(0o700)),
            ("a/b/c", file(2)),
            ("a/d", file(3)),
            ("l", link("a/b")),
        ];
        let layer = LayerIndex::new(changes.map(|(at, node)| (path(at), Change::Put(node))).into());
        View::new(Arc::new(Filesystem::merge([layer]).unwrap()))
    }

    fn listed(view: &View, at: &str) -> (String, bool) {
        let listing = view.list(at.as_bytes());
        let names: Vec<String> = listing.entries.iter().map(|(path, _)| path.to_string()).collect();
        (names.join(" "), listing.is_complete)
    }

    #[test]
    fn changes_lie_over_the_parents_files() {
        let mut view = base();
        assert_eq!(listed(&view, ""), ("a a-b l".into(), true));
        view.put(path("a"), directory(0o711));
        view.put(path("a/new/x"), file(9));
        view.remove(&path("a/d"));
        assert_eq!(listed(&view, "a"), ("a/b a/new".into(), true));
        assert_eq!(view.find(b"a").node().unwrap().mode, 0o711);
        assert_eq!(view.reach("/l/c", true).unwrap().path, b"a/b/c");
        view.put(path("a/b"), file(1));
        assert_eq!(view.find(b"a/b/c"), Found::Absent);
        view.put(path("a/b"), directory(0o755));
        assert_eq!((view.find(b"a/b/c"), listed(&view, "a/b")), (Found::Absent, (String::new(), true)));
        let flat = View::new(view.files());
        assert_eq!(listed(&flat, "a"), ("a/b a/new".into(), true));
        assert_eq!(listed(&flat, "a/b"), (String::new(), true));
    }

    #[test]
    fn what_is_put_together_once_follows_every_change_and_no_change_of_a_copy() {
        let mut view = base();
        view.put(path("n"), file(1));
        type Step = fn(&mut View);
        let steps: [Step; 5] = [
            |view| view.put(path("n"), file(2)),
            |view| view.remove(&path("a/d")),
            |view| view.mark_unknown(b"a/b/c"),
            |view| view.mark_contents_unknown(&path("a")),
            |view| view.apply(LayerIndex::new(vec![(path("m"), Change::Put(file(3)))])).unwrap(),
        ];
        for step in steps {
            let (before, copy) = (view.files(), view.clone());
            step(&mut view);
            assert_eq!(*view.files(), view.joined());
            assert_ne!(view.files(), before);
            assert!(Arc::ptr_eq(&copy.files(), &before));
            let unasked = view.clone();
            step(&mut view);
            assert_eq!((&*unasked.files(), &*view.files()), (&unasked.joined(), &view.joined()));
        }
    }

    #[test]
    fn what_is_marked_is_unknown_until_something_is_put_there() {
        let mut view = base();
        view.mark_contents_unknown(&path("a/b"));
        assert_eq!(view.find(b"a/b").node().unwrap().mode, 0o700);
        assert_eq!((view.find(b"a/b/c"), view.find(b"a/b/z/z")), (Found::Unknown, Found::Unknown));
        assert_eq!(view.reach("l/c/d", true).unwrap(), Reached { path: b"a/b/c".to_vec(), found: Found::Unknown });
        view.put(path("a/b/known"), file(1));
        assert_eq!(listed(&view, "a/b"), ("a/b/known".into(), false));
        assert_eq!(listed(&view, "a"), ("a/b a/d".into(), true));
        view.remove(&path("a/b/c"));
        assert_eq!((view.find(b"a/b/c"), view.find(b"a/b/e")), (Found::Absent, Found::Unknown));
        view.mark_unknown(b"a/e");
        assert_eq!(listed(&view, "a"), ("a/b a/d".into(), false));
        view.remove(&path("a"));
        assert_eq!(view.find(b"a/b/e"), Found::Absent);
        assert_eq!(View::unknown().find(b"x"), Found::Unknown);
        assert_eq!(listed(&View::unknown(), ""), (String::new(), false));
    }

    #[test]
    fn a_layer_is_applied_to_what_is_known() {
        let mut view = base();
        view.mark_unknown(b"u");
        let changes = vec![
            (path("u/x"), Change::Put(file(4))),
            (path("l/y"), Change::Put(file(5))),
            (path("a/d"), Change::Whiteout),
        ];
        view.apply(LayerIndex::new(changes)).unwrap();
        assert_eq!(view.find(b"u/x").node(), Some(&file(4)));
        assert_eq!((view.find(b"u/z"), view.find(b"a/d")), (Found::Unknown, Found::Absent));
        assert_eq!(listed(&view, "a/b"), ("a/b/c a/b/y".into(), true));
    }

    #[test]
    fn the_content_of_a_file_is_known_absent_or_unknown() {
        let mut view = View::default();
        assert_eq!(view.content("etc/passwd"), Content::Absent);
        view.put(path("etc/passwd"), file(3).with_content(*b"abc"));
        assert_eq!(view.content("/etc/passwd"), Content::Known(b"abc"));
        view.put(path("etc/passwd"), file(3));
        assert_eq!(view.content("etc/passwd"), Content::Unknown);
    }
}
