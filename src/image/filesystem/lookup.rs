//! Following paths inside an image: symbolic links, absolute targets, `..`.
//!
//! Nothing leaves the image: an absolute target starts at the image's root, and `..` stops there.

use std::collections::VecDeque;

use super::{Filesystem, Node, NodeKind};
use crate::layer::EntryPath;

/// How many links one path may pass before it counts as a loop; Linux's own limit.
const MAX_LINKS: usize = 40;

/// Why a path cannot be followed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum LookupError {
    /// More links than a path may have.
    #[error("path `{path}` passes more than {MAX_LINKS} symbolic links")]
    Loop {
        /// The path asked for.
        path: String,
    },
    /// Something on the way is no directory.
    #[error("path `{path}` leads through `{through}`, which is no directory")]
    NotADirectory {
        /// The path asked for.
        path: String,
        /// What is in the way.
        through: EntryPath,
    },
    /// The path is the root, or holds a NUL.
    #[error("path `{path}` names no entry")]
    NoEntry {
        /// The path asked for.
        path: String,
    },
}

impl crate::diagnostic::Diagnose for LookupError {
    fn hint(&self) -> Option<String> {
        Some("the parent image has something in the way of what is installed; use another parent".to_owned())
    }
}

/// A path with all its links followed, and what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedPath<'a> {
    /// The real path.
    pub path: EntryPath,
    /// What is there; never a link.
    pub node: &'a Node,
}

/// Where something that is to be written really goes, and the directories on the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way<'a> {
    /// The real path: links of the image followed, the parts that do not exist yet as asked for.
    pub path: EntryPath,
    /// The directories from the top to `path` itself that exist, with their metadata.
    pub directories: Vec<(EntryPath, &'a Node)>,
}

impl Filesystem {
    /// What `path` (absolute or relative to the root) is when every link is followed; `None` when it
    /// does not exist, loops, or is the root.
    pub fn resolve(&self, path: impl AsRef<[u8]>) -> Option<ResolvedPath<'_>> {
        let real = self.walk(path.as_ref(), true).ok()?;
        let (path, node) = self.nodes.get_key_value(&real[..])?;
        Some(ResolvedPath { path: path.clone(), node })
    }

    /// What was kept of the file at `path`, links followed.
    ///
    /// Kept are, up to 16 MiB each: `etc/passwd`, `etc/group`, `etc/os-release`, `usr/lib/os-release`, `pyvenv.cfg`, the
    /// templates of `activate` in `venv/scripts`, and of `*.dist-info` folders `METADATA` (its header lines), `RECORD`
    /// (paths only, hashes and sizes dropped), `INSTALLER`, `REQUESTED` and `direct_url.json`; of eggs the header lines of
    /// `PKG-INFO`.
    pub fn content(&self, path: impl AsRef<[u8]>) -> Option<&[u8]> {
        self.resolve(path)?.node.content()
    }

    /// Whether `path` is a directory, links followed.
    pub fn is_directory(&self, path: impl AsRef<[u8]>) -> bool {
        self.walk(path.as_ref(), true)
            .is_ok_and(|real| real.is_empty() || self.nodes.get(&real[..]).is_some_and(Node::is_directory))
    }

    /// The entries of the directory at `path`, links on the way followed, in byte order; none when it is no directory.
    pub fn children(&self, path: impl AsRef<[u8]>) -> Vec<(&EntryPath, &Node)> {
        let Ok(real) = self.walk(path.as_ref(), true) else { return Vec::new() };
        self.listed(&real).collect()
    }

    /// Where a directory or file that is to be written to `path` really goes.
    ///
    /// A layer that wrote `lib/x` into an image whose `/lib` is a link to `usr/lib` would replace the
    /// link in some runtimes; this gives `usr/lib/x`. The last component is followed too when it is a link.
    ///
    /// # Errors
    /// Fails when the path loops, passes something that is no directory, or names the root.
    pub fn directory_on_the_way(&self, path: impl AsRef<[u8]>) -> Result<Way<'_>, LookupError> {
        let asked = path.as_ref();
        let real = self.walk(asked, true)?;
        let path = EntryPath::parse(&real).map_err(|_| LookupError::NoEntry { path: text(asked) })?;
        let ends = real.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let directories = ends
            .chain([real.len()])
            .filter_map(|end| self.nodes.get_key_value(&real[..end]))
            .filter(|(_, node)| node.is_directory())
            .map(|(path, node)| (path.clone(), node))
            .collect();
        Ok(Way { path, directories })
    }

    /// The real path of `path`; empty for the root. Parts that do not exist are taken as they are.
    pub(super) fn walk(&self, path: &[u8], follow_last: bool) -> Result<Vec<u8>, LookupError> {
        let step = |real: &[u8]| self.nodes.get(real).map_or(Step::Passes, Step::of);
        walk(step, path, follow_last).map(|walked| walked.real)
    }
}

/// What one part of a path is to a walk.
pub(super) enum Step<'a> {
    /// A directory, or nothing.
    Passes,
    /// A link to this target.
    Link(&'a [u8]),
    /// What is no directory.
    Blocks,
    /// It is not known what is there.
    Unknown,
}

impl<'a> Step<'a> {
    pub(super) fn of(node: &'a Node) -> Self {
        match &node.kind {
            NodeKind::Directory => Self::Passes,
            NodeKind::Symlink { target } => Self::Link(target),
            NodeKind::File { .. } | NodeKind::Special => Self::Blocks,
        }
    }
}

/// Where a walk ended.
pub(super) struct Walked {
    /// The real path; empty for the root.
    pub(super) real: Vec<u8>,
    /// Whether all parts were known; if not, `real` ends with the first that was not.
    pub(super) is_known: bool,
}

/// Follows `path` by what `step` says of each real path.
pub(super) fn walk<'a>(
    step: impl Fn(&[u8]) -> Step<'a>,
    path: &[u8],
    follow_last: bool,
) -> Result<Walked, LookupError> {
    let mut real = Vec::with_capacity(path.len());
    let mut rest: VecDeque<Vec<u8>> = components(path).map(<[u8]>::to_vec).collect();
    let mut links = 0;
    while let Some(part) = rest.pop_front() {
        if part == b".." {
            let end = real.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
            real.truncate(end);
            continue;
        }
        let parent = real.len();
        if parent > 0 {
            real.push(b'/');
        }
        real.extend_from_slice(&part);
        let is_last = rest.is_empty();
        match step(&real) {
            Step::Link(target) if !is_last || follow_last => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(LookupError::Loop { path: text(path) });
                }
                real.truncate(if target.starts_with(b"/") { 0 } else { parent });
                for part in components(target).rev() {
                    rest.push_front(part.to_vec());
                }
            }
            Step::Blocks if !is_last => {
                let through = EntryPath::parse(&real).map_err(|_| LookupError::NoEntry { path: text(path) })?;
                return Err(LookupError::NotADirectory { path: text(path), through });
            }
            Step::Unknown => return Ok(Walked { real, is_known: false }),
            Step::Passes | Step::Link(_) | Step::Blocks => {}
        }
    }
    Ok(Walked { real, is_known: true })
}

/// The parts of a path that say something: not the empty ones and not `.`.
fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(part, [] | [b'.']))
}

pub(super) fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory() -> Node {
        Node::implied_directory()
    }

    fn link(target: &str) -> Node {
        Node::new(NodeKind::Symlink { target: target.into() }, 0o777, 0, 0)
    }

    fn tree(nodes: &[(&str, Node)]) -> Filesystem {
        let nodes = nodes.iter().map(|(path, node)| (EntryPath::parse(path).unwrap(), node.clone())).collect();
        Filesystem { nodes }
    }

    fn merged_usr() -> Filesystem {
        tree(&[
            ("lib", link("usr/lib")),
            ("loop", link("loop")),
            ("out", link("../../../usr/./lib/x")),
            ("usr", directory()),
            ("usr/lib", Node::new(NodeKind::Directory, 0o711, 7, 8)),
            ("usr/lib-2", directory()),
            ("usr/lib/absolute", link("/lib/x")),
            ("usr/lib/x", Node::new(NodeKind::File { size: 1 }, 0o644, 0, 0).with_content(*b"1")),
        ])
    }

    #[test]
    fn links_are_followed_inside_the_image() {
        let fs = merged_usr();
        for path in ["/lib/x", "usr/lib/x", "lib/absolute", "/out", "usr/../lib/./x", "/../../lib//x"] {
            assert_eq!(fs.resolve(path).map(|found| found.path.to_string()).as_deref(), Some("usr/lib/x"), "{path}");
        }
        assert_eq!(fs.content("/lib/absolute"), Some(&b"1"[..]));
        for path in ["/", "loop", "loop/x", "usr/lib/x/y", "nowhere"] {
            assert!(fs.resolve(path).is_none(), "{path}");
        }
        assert!(fs.is_directory("/") && fs.is_directory("lib") && !fs.is_directory("lib/x"));
    }

    #[test]
    fn children_are_those_of_the_real_directory_alone() {
        let names = |path: &str| -> Vec<String> {
            merged_usr().children(path).iter().map(|(path, _)| path.to_string()).collect()
        };
        assert_eq!(names("lib"), ["usr/lib/absolute", "usr/lib/x"]);
        assert_eq!(names("/"), ["lib", "loop", "out", "usr"]);
        assert!(names("usr/lib/x").is_empty() && names("nowhere").is_empty());
    }

    #[test]
    fn what_is_written_goes_to_the_real_directory() {
        let fs = merged_usr();
        let way = fs.directory_on_the_way("/lib/python3/new/x").unwrap();
        assert_eq!(way.path.as_bytes(), b"usr/lib/python3/new/x");
        let modes: Vec<_> =
            way.directories.iter().map(|(path, node)| (path.to_string(), node.mode, node.uid)).collect();
        assert_eq!(modes, [("usr".to_owned(), 0o755, 0), ("usr/lib".to_owned(), 0o711, 7)]);
        assert!(matches!(fs.directory_on_the_way("lib/x/y"), Err(LookupError::NotADirectory { .. })));
        assert!(matches!(fs.directory_on_the_way("loop/y"), Err(LookupError::Loop { .. })));
        assert!(matches!(fs.directory_on_the_way("/"), Err(LookupError::NoEntry { .. })));
    }
}
