//! A source as it is written, taken apart: the path, and with `--parents` the pattern behind its pivot.
//!
//! Nothing is looked up.

use super::wildcard::has_wildcards;

/// A source, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SourcePath {
    /// The clean path to copy from, without leading slash; empty for the root.
    pub(super) path: Vec<u8>,
    /// With `--parents`: the pattern of what is copied from there.
    pub(super) pattern: Option<Vec<u8>>,
    /// With `--parents`: whether something has to match.
    pub(super) is_required: bool,
}

impl SourcePath {
    pub(super) fn of(written: &str, parents: bool) -> Self {
        if !parents {
            return Self { path: clean(written), pattern: None, is_required: false };
        }
        let (path, pattern) = written.split_once("/./").unwrap_or(("", written));
        let is_required = !has_wildcards(path.as_bytes()) && !has_wildcards(pattern.as_bytes());
        // An absolute pattern is taken as it stands.
        let pattern = pattern.strip_prefix('/').map_or_else(|| clean(pattern), |pattern| pattern.as_bytes().to_vec());
        Self { path: clean(path), pattern: Some(pattern), is_required }
    }
}

/// The clean path below the root; `..` stops there.
fn clean(written: &str) -> Vec<u8> {
    let mut parts: Vec<&str> = Vec::new();
    for part in written.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            name => parts.push(name),
        }
    }
    parts.join("/").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pivot_parts_what_stays_from_what_is_repeated() {
        let table = [
            ("a/b", false, "a/b", None, false),
            ("./a//b/../c/", false, "a/c", None, false),
            ("../..", false, "", None, false),
            ("a/b", true, "", Some("a/b"), true),
            ("a/./b/./c", true, "a", Some("b/c"), true),
            ("/x/*/y", true, "", Some("x/*/y"), false),
            ("a*/./b", true, "a*", Some("b"), false),
            ("./a/./b/", true, "a", Some("b"), true),
        ];
        for (written, parents, path, pattern, is_required) in table {
            let pattern = pattern.map(|pattern: &str| pattern.as_bytes().to_vec());
            let expected = SourcePath { path: path.into(), pattern, is_required };
            assert_eq!(SourcePath::of(written, parents), expected, "{written}");
        }
    }
}
