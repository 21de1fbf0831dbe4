//! Two trees of files, path by path: type, mode, owner, content, link target.
//!
//! Times are not compared: an installer writes the hour of its run, and an image must not.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::harness::Halt;

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    File(u64),
    Link(PathBuf),
    Other,
}

/// A path's node, mode and owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) node: Node,
    pub(crate) mode: u32,
    pub(crate) owner: (u32, u32),
}

/// All paths below `root`, relative to it.
pub(crate) fn walk(root: &Path) -> Result<BTreeMap<PathBuf, Found>, Halt> {
    let mut all = BTreeMap::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder))? {
            let path = folder.join(entry?.file_name());
            let data = root.join(&path).symlink_metadata()?;
            let node = if data.is_dir() {
                folders.push(path.clone());
                Node::Directory
            } else if data.is_file() {
                Node::File(data.len())
            } else if data.is_symlink() {
                Node::Link(std::fs::read_link(root.join(&path))?)
            } else {
                Node::Other
            };
            let mode = if data.is_symlink() { 0 } else { data.mode() & 0o7777 };
            all.insert(path, Found { node, mode, owner: (data.uid(), data.gid()) });
        }
    }
    Ok(all)
}

/// One place where two trees are not the same.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) path: PathBuf,
    pub(crate) what: String,
}

/// The differences of two trees, and how many paths were compared.
pub(crate) fn trees(ours: &Path, theirs: &Path) -> Result<(Vec<Difference>, usize), Halt> {
    let (left, right) = (walk(ours)?, walk(theirs)?);
    let paths: BTreeSet<&PathBuf> = left.keys().chain(right.keys()).collect();
    let mut differences = Vec::new();
    for path in &paths {
        let what = match (left.get(*path), right.get(*path)) {
            (Some(_), None) => Some("only in the image".to_owned()),
            (None, Some(_)) => Some("not in the image".to_owned()),
            (Some(a), Some(b)) if a != b => Some(format!("{a:?} in the image, {b:?} expected")),
            (Some(Found { node: Node::File(_), .. }), _) => {
                let equal = std::fs::read(ours.join(path))? == std::fs::read(theirs.join(path))?;
                (!equal).then(|| "other content".to_owned())
            }
            _ => None,
        };
        differences.extend(what.map(|what| Difference { path: (*path).clone(), what }));
    }
    Ok((differences, paths.len()))
}

/// Sorts differences by the reason that explains them.
///
/// Gives a line a reason with its count.
///
/// # Errors
/// Fails when one has no reason, and names the first of them.
pub(crate) fn explained(
    differences: Vec<Difference>,
    reason: impl Fn(&Difference) -> Option<&'static str>,
) -> Result<Vec<String>, Halt> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unexplained = Vec::new();
    for difference in differences {
        match reason(&difference) {
            Some(reason) => *counts.entry(reason).or_default() += 1,
            None => unexplained.push(format!("{}: {}", difference.path.display(), difference.what)),
        }
    }
    if unexplained.is_empty() {
        return Ok(counts.iter().map(|(reason, count)| format!("expected: {count} paths: {reason}")).collect());
    }
    let shown = unexplained.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    Err(Halt::Failed(format!("{} unexplained differences\n{shown}", unexplained.len())))
}
