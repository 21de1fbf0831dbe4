//! Ignore files against the answers of BuildKit's own code.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use lapstrake::inputs::ignore::{IgnoreRules, read_patterns};
use serde::Deserialize;

#[derive(Deserialize)]
struct Vectors<T> {
    cases: Vec<T>,
}

fn cases<T: for<'de> Deserialize<'de>>(name: &str) -> Option<Vec<T>> {
    #[expect(clippy::disallowed_methods, reason = "the folder of the test vectors is named by the environment")]
    let Some(folder) = std::env::var_os("LAPSTRAKE_VECTORS").map(PathBuf::from) else {
        println!("skipped: LAPSTRAKE_VECTORS is not set");
        return None;
    };
    let bytes = fs::read(folder.join(name)).unwrap();
    let cases = serde_json::from_slice::<Vectors<T>>(&bytes).unwrap().cases;
    println!("{name}: {} cases", cases.len());
    assert!(!cases.is_empty());
    Some(cases)
}

#[derive(Deserialize)]
struct MatchCase {
    source: String,
    patterns: Vec<String>,
    path: String,
    ignored: Option<bool>,
}

#[test]
fn ignore_patterns_match_as_buildkit_matches_them() {
    for case in cases::<MatchCase>("dockerignore_match.json").unwrap_or_default() {
        let said = IgnoreRules::of(&case.patterns).and_then(|rules| rules.matches(case.path.as_bytes()));
        assert_eq!(said.as_ref().ok().copied(), case.ignored, "{}: {:?} {said:?}", case.source, case.patterns);
    }
}

#[derive(Deserialize)]
struct ReaderCase {
    id: String,
    text: String,
    patterns: Option<Vec<String>>,
}

#[test]
fn ignore_files_are_read_as_buildkit_reads_them() {
    for case in cases::<ReaderCase>("dockerignore_reader.json").unwrap_or_default() {
        let said = read_patterns(case.text.as_bytes()).ok();
        let expected = case.patterns.map(|list| list.into_iter().map(String::into_bytes).collect::<Vec<_>>());
        assert_eq!(said, expected, "{}", case.id);
    }
}

#[derive(Deserialize)]
struct TreeCase {
    id: String,
    files: Vec<String>,
    #[serde(default)]
    empty_dirs: Vec<String>,
    #[serde(default)]
    symlinks: BTreeMap<String, String>,
    dockerignore: String,
    included: Option<Vec<String>>,
}

impl TreeCase {
    fn lay_out(&self, root: &Path) {
        for directory in &self.empty_dirs {
            fs::create_dir_all(root.join(directory)).unwrap();
        }
        for file in &self.files {
            fs::create_dir_all(root.join(file).parent().unwrap()).unwrap();
            fs::write(root.join(file), "x").unwrap();
        }
        for (link, target) in &self.symlinks {
            std::os::unix::fs::symlink(target, root.join(link)).unwrap();
        }
    }
}

#[test]
fn ignore_files_leave_what_buildkit_leaves_of_a_tree() {
    use lapstrake::inputs::source::{SourceKind, WalkError, WalkOptions, walk};
    for case in cases::<TreeCase>("dockerignore_trees.json").unwrap_or_default() {
        let root = tempfile::tempdir().unwrap();
        case.lay_out(root.path());
        let said = IgnoreRules::parse(case.dockerignore.as_bytes())
            .map_err(WalkError::from)
            .and_then(|rules| walk(root.path(), &rules, &WalkOptions { threads: 1, ..WalkOptions::default() }));
        let said = said.map(|tree| {
            let slash = |kind: &SourceKind| if matches!(kind, SourceKind::Directory) { "/" } else { "" };
            let mut paths: Vec<_> = tree.entries().iter().map(|e| format!("{}{}", e.path, slash(&e.kind))).collect();
            paths.sort();
            paths
        });
        let expected = case.included.clone().map(|mut paths| {
            paths.sort();
            paths
        });
        assert_eq!(said.as_ref().ok(), expected.as_ref(), "{}: {:?} {said:?}", case.id, case.dockerignore);
    }
}
