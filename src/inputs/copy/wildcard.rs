//! Expands the wildcards of a source, by the rules of Go's `filepath.Match`.
//!
//! `**` is no more than `*` here; only the patterns of `--parents` and `--exclude` know it.

use super::error::CopyError;
use crate::image::filesystem::{Found, Node, View};
use crate::inputs::ignore::glob_matches;

/// The paths that a source stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Expanded {
    /// The one path that it names, clean, as it was written; it need not exist.
    Named(Vec<u8>),
    /// What its wildcards match, in the order in which it is copied.
    Matched(Vec<Vec<u8>>),
    /// Nobody knows before the source is made.
    Unknown,
}

/// Whether a path has wildcards.
pub(super) fn has_wildcards(path: &[u8]) -> bool {
    let mut bytes = path.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'*' | b'?' | b'[' => return true,
            b'\\' => {
                bytes.next();
            }
            _ => {}
        }
    }
    false
}

/// Expands `source`, a clean path without leading slash; empty for the root.
pub(super) fn expand(view: &View, source: &[u8]) -> Result<Expanded, CopyError> {
    let mut above: Vec<&[u8]> = source.split(|byte| *byte == b'/').collect();
    let Some(first) = above.iter().position(|part| has_wildcards(part)) else {
        return Ok(Expanded::Named(source.to_vec()));
    };
    let pattern = above.split_off(first).join(&b'/');
    let above = above.join(&b'/');
    let shown = || String::from_utf8_lossy(source).into_owned();
    let reached = view.reach(&above, true).map_err(|source| CopyError::Source { source_path: shown(), source })?;
    match reached.found {
        _ if reached.path.is_empty() => {}
        Found::Unknown => return Ok(Expanded::Unknown),
        Found::Known(node) if node.is_directory() => {}
        Found::Known(_) | Found::Absent => {
            let source_path = shown();
            return Err(CopyError::Missing { source_path, place: String::new(), near: None, is_ignored: false });
        }
    }
    let mut walk = Walk { view, pattern: &pattern, skip: reached.path.len(), found: Vec::new(), is_complete: true };
    walk.directory(&reached.path).map_err(|_| CopyError::Wildcard(shown()))?;
    Ok(if walk.is_complete { Expanded::Matched(walk.found) } else { Expanded::Unknown })
}

struct Walk<'a> {
    view: &'a View,
    pattern: &'a [u8],
    skip: usize,
    found: Vec<Vec<u8>>,
    is_complete: bool,
}

/// A pattern that turned out to be malformed.
struct Malformed;

impl Walk<'_> {
    fn directory(&mut self, real: &[u8]) -> Result<(), Malformed> {
        let listing = self.view.list(real);
        self.is_complete &= listing.is_complete;
        for (path, node) in listing.entries {
            self.meet(path.as_bytes(), node)?;
        }
        Ok(())
    }

    fn meet(&mut self, path: &[u8], node: &Node) -> Result<(), Malformed> {
        let below = &path[self.skip..];
        let below = below.strip_prefix(b"/").unwrap_or(below);
        if glob_matches(self.pattern, below).map_err(|_| Malformed)? {
            self.found.push(path.to_vec());
            return Ok(());
        }
        // Only a class can match a slash; without one, deeper paths have too many.
        let slashes = |path: &[u8]| path.iter().filter(|byte| **byte == b'/').count();
        let is_deep = slashes(below) >= slashes(self.pattern) && !self.pattern.contains(&b'[');
        if node.is_directory() && !is_deep { self.directory(path) } else { Ok(()) }
    }
}
