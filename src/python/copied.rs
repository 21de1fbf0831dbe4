//! What a build left, with the modules that it only copied told by their sources: it stays the same after an edit of one.
//!
//! Nothing is built here. Where it is not sure that contents are copied and not read, they count.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::uv_environment::{LeftKind, bytes, recorded};
use super::uv_project::UvProject;

/// The files of a project, by their paths below it.
pub type Sources<'a> = BTreeMap<&'a str, &'a [u8]>;

/// Files by which a build may do anything with a module.
const DECISIVE: [&str; 5] = ["setup.py", "setup.cfg", "hatch.toml", "hatch_build.py", "pdm_build.py"];

/// Something that a build left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CopiedKind {
    /// A folder.
    Folder,
    /// A link.
    Link(String),
    /// A file.
    File {
        /// Its permission bits.
        mode: u32,
        /// What it says.
        #[serde(with = "bytes")]
        bytes: Vec<u8>,
    },
    /// The copy of a source.
    Copy {
        /// Its permission bits.
        mode: u32,
        /// The source's path below the project.
        of: String,
    },
}

/// All that was left, by absolute paths.
pub type Copied = BTreeMap<String, CopiedKind>;

/// The modules of which builds of these sources take copies and read nothing; none where that is not sure.
///
/// Backends read modules for what `dynamic` names, and where a file of settings names them.
pub fn modules<'a>(sources: &Sources<'a>) -> BTreeSet<&'a str> {
    let is_decisive = |path: &&&str| DECISIVE.contains(&name_of(path));
    if sources.keys().any(|path| is_decisive(&path)) {
        return BTreeSet::new();
    }
    let mut settings = String::new();
    for (path, text) in sources.iter().filter(|(path, _)| name_of(path) == "pyproject.toml") {
        let text = String::from_utf8_lossy(text);
        match UvProject::parse(&text) {
            Ok(about) if !about.is_dynamic => settings += &text,
            // The root of a workspace need not be a project.
            _ if *path == "pyproject.toml" || text.contains("[project]") => return BTreeSet::new(),
            _ => settings += &text,
        }
    }
    let modules = sources.keys().filter(|path| path.ends_with(".py") && !settings.contains(name_of(path)));
    modules.copied().collect()
}

/// What was left with `modules` by reference; `None` where something may be made of one in another way.
pub fn by_reference(
    left: &BTreeMap<String, LeftKind>,
    environment: &str,
    sources: &Sources<'_>,
    modules: &BTreeSet<&str>,
) -> Option<Copied> {
    let started: BTreeSet<String> = left.iter().flat_map(|(path, kind)| entry_points(path, kind)).collect();
    let scripts = format!("{environment}/bin/");
    let names: BTreeSet<&str> = modules.iter().map(|path| name_of(path)).collect();
    let mut copied = Copied::new();
    for (path, kind) in left {
        let kind = match kind {
            LeftKind::Folder => CopiedKind::Folder,
            LeftKind::Link(target) => CopiedKind::Link(target.clone()),
            // The first line of a script is the installer's.
            LeftKind::File { .. } if path.strip_prefix(&scripts).is_some_and(|name| !started.contains(name)) => {
                return None;
            }
            LeftKind::File { mode, bytes } if names.contains(name_of(path)) => {
                let place = below(path);
                let is_source = |of: &&&str| **of == place || of.ends_with(&format!("/{place}"));
                let mut found = modules.iter().filter(is_source).filter(|of| sources.get(**of) == Some(&&bytes[..]));
                let of = found.next()?;
                if found.next().is_some() {
                    return None;
                }
                CopiedKind::Copy { mode: *mode, of: (*of).to_owned() }
            }
            LeftKind::File { mode, bytes } => CopiedKind::File { mode: *mode, bytes: bytes.clone() },
        };
        copied.insert(path.clone(), kind);
    }
    Some(copied)
}

/// The same with nothing by reference.
pub fn by_value(left: &BTreeMap<String, LeftKind>) -> Copied {
    let kind = |kind: &LeftKind| match kind {
        LeftKind::Folder => CopiedKind::Folder,
        LeftKind::Link(target) => CopiedKind::Link(target.clone()),
        LeftKind::File { mode, bytes } => CopiedKind::File { mode: *mode, bytes: bytes.clone() },
    };
    left.iter().map(|(path, left)| (path.clone(), kind(left))).collect()
}

/// What a build of `sources` would leave; `None` where a source is missing.
pub fn filled(copied: &Copied, sources: &Sources<'_>) -> Option<BTreeMap<String, LeftKind>> {
    let mut left = BTreeMap::new();
    let mut has_copies = false;
    for (path, kind) in copied {
        let kind = match kind {
            CopiedKind::Folder => LeftKind::Folder,
            CopiedKind::Link(target) => LeftKind::Link(target.clone()),
            CopiedKind::File { mode, bytes } => LeftKind::File { mode: *mode, bytes: bytes.clone() },
            CopiedKind::Copy { mode, of } => {
                has_copies = true;
                LeftKind::File { mode: *mode, bytes: sources.get(of.as_str())?.to_vec() }
            }
        };
        left.insert(path.clone(), kind);
    }
    if has_copies { recorded(left).ok() } else { Some(left) }
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Where a module lies among others.
fn below(path: &str) -> &str {
    let behind = |folder: &str| path.rsplit_once(folder).map(|(_, below)| below);
    behind("/site-packages/").or_else(|| behind("/build/lib/")).unwrap_or(path)
}

/// The programs that an `entry_points.txt` names.
fn entry_points(path: &str, kind: &LeftKind) -> Vec<String> {
    match kind {
        LeftKind::File { bytes, .. } if path.ends_with(".dist-info/entry_points.txt") => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            text.lines().filter_map(|line| Some(line.split_once('=')?.0.trim().to_owned())).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: &str = "[project]\nname = \"ferry\"\nversion = \"1\"\n";
    const SITE: &str = "/opt/venv/lib/python3.11/site-packages";

    fn file(text: &str) -> LeftKind {
        LeftKind::File { mode: 0o644, bytes: text.as_bytes().to_vec() }
    }

    fn sources<'a>(files: &[(&'a str, &'a str)]) -> Sources<'a> {
        files.iter().map(|(path, text)| (*path, text.as_bytes())).collect()
    }

    fn left(files: &[(&str, &str)]) -> BTreeMap<String, LeftKind> {
        files.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect()
    }

    #[test]
    fn modules_count_where_a_build_may_read_them() {
        let of = |project: &str, other: &str| {
            modules(&sources(&[("pyproject.toml", project), ("src/ferry/a.py", "a"), (other, "")])).len()
        };
        assert_eq!(of(PROJECT, "README.md"), 1);
        assert_eq!(of(&format!("{PROJECT}dynamic = [\"version\"]\n"), "README.md"), 0);
        assert_eq!(of(&format!("{PROJECT}readme = \"src/ferry/a.py\"\n"), "README.md"), 0);
        assert_eq!(of(PROJECT, "setup.cfg"), 0);
        assert_eq!(of("[project", "README.md"), 0);
    }

    #[test]
    fn a_copy_has_the_text_of_its_source_and_the_record_its_hash() {
        let before = sources(&[("pyproject.toml", PROJECT), ("src/ferry/__init__.py", ""), ("tests/__init__.py", "")]);
        let (module, record) = (format!("{SITE}/ferry/__init__.py"), format!("{SITE}/ferry-1.dist-info/RECORD"));
        let built = left(&[
            (&module, ""),
            ("/app/build/lib/ferry/__init__.py", ""),
            (&record, "ferry/__init__.py,sha256=old,0\nferry-1.dist-info/RECORD,,\n"),
        ]);
        let copied = by_reference(&built, "/opt/venv", &before, &modules(&before)).unwrap();
        let after = sources(&[("pyproject.toml", PROJECT), ("src/ferry/__init__.py", "A = 1\n")]);
        let filled = filled(&copied, &after).unwrap();
        assert_eq!(filled[&module], file("A = 1\n"));
        assert_eq!(filled["/app/build/lib/ferry/__init__.py"], file("A = 1\n"));
        let LeftKind::File { bytes, .. } = &filled[&record] else { panic!("no RECORD") };
        assert!(
            String::from_utf8_lossy(bytes).starts_with("ferry/__init__.py,sha256=")
                && bytes.ends_with(b",6\nferry-1.dist-info/RECORD,,\n")
        );
        assert_eq!(super::filled(&copied, &Sources::new()), None);
    }

    #[test]
    fn what_may_be_no_copy_is_none() {
        let of = |files: &[(&str, &str)], built: &[(&str, &str)]| {
            let sources = sources(files);
            by_reference(&left(built), "/opt/venv", &sources, &modules(&sources)).is_some()
        };
        let module = format!("{SITE}/a.py");
        assert!(of(&[("a.py", "a")], &[(&module, "a")]));
        assert!(!of(&[("a.py", "a")], &[(&module, "another")]), "it was changed");
        assert!(!of(&[("x/a.py", "a"), ("y/a.py", "a")], &[(&module, "a")]), "of two nobody knows which");
        assert!(!of(&[("lib/b/a.py", "a")], &[(&format!("{SITE}/c/a.py"), "a")]), "it went to another place");
        assert!(!of(&[("a.py", "a")], &[("/opt/venv/bin/tool", "#!python")]), "a script's first line is not copied");
    }
}
