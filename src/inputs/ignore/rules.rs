//! All patterns of an ignore file together: what they leave out of a tree.
//!
//! The rules judge paths; they do not list folders.

use super::file::{clean, read_patterns};
use super::pattern::{Pattern, PatternError};
use crate::diagnostic::{Class, Diagnose};

/// Why an ignore file cannot be followed.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum IgnoreError {
    /// A pattern has bad syntax.
    #[error("ignore pattern `{pattern}` is malformed")]
    Malformed {
        /// The pattern, with its `!`.
        pattern: String,
    },
    /// A `!` has no pattern.
    #[error("ignore pattern `{pattern}` makes an exception of nothing")]
    EmptyException {
        /// The pattern as it was given.
        pattern: String,
    },
    /// A line is longer than BuildKit's reader takes.
    #[error("line {line} of the ignore file is longer than 65535 bytes")]
    LineTooLong {
        /// The line, from 1.
        line: usize,
    },
}

impl Diagnose for IgnoreError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Malformed { .. } => "close each `[`, order its ranges, and write `\\` before a literal `[`".into(),
            Self::EmptyException { .. } => "write a path after the `!`, or remove the line".into(),
            Self::LineTooLong { .. } => "put each pattern on a line of its own".into(),
        })
    }
}

/// Compiled ignore patterns; the last one that matches decides.
#[derive(Clone, Debug, Default)]
pub struct IgnoreRules {
    patterns: Vec<Pattern>,
}

/// Which patterns matched a directory or one of its parents; handed on to what it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matched(Vec<bool>);

/// What the rules say about a path that a walk meets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The path itself is left out.
    pub is_ignored: bool,
    /// Something below the path may still be wanted: always so for a directory that is kept.
    pub descend: bool,
    /// For the judgement of what the path holds.
    pub matched: Matched,
}

impl IgnoreRules {
    /// Parses the text of an ignore file.
    ///
    /// # Errors
    /// Fails when a line is too long or a pattern malformed. BuildKit finds some malformed patterns only when a path
    /// is compared with them; so do [`Self::matches`] and [`Self::judge`].
    pub fn parse(text: &[u8]) -> Result<Self, IgnoreError> {
        Self::of(read_patterns(text)?)
    }

    /// Compiles patterns that are already apart.
    ///
    /// # Errors
    /// Fails when a pattern is malformed.
    pub fn of(patterns: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Self, IgnoreError> {
        let mut compiled = Vec::new();
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let shown = || String::from_utf8_lossy(pattern).into_owned();
            compiled.extend(Pattern::parse(pattern).map_err(|error| match error {
                PatternError::Empty => IgnoreError::EmptyException { pattern: shown() },
                PatternError::Malformed => IgnoreError::Malformed { pattern: shown() },
            })?);
        }
        Ok(Self { patterns: compiled })
    }

    /// Whether `path`, relative to the root of the tree, is left out, itself or with one of its parents.
    ///
    /// # Errors
    /// Fails when a pattern turns out to be malformed.
    pub fn matches(&self, path: &[u8]) -> Result<bool, IgnoreError> {
        let path = clean(path);
        Ok(path != b"." && self.judge(&path, false, &Matched::default())?.is_ignored)
    }

    /// Judges `path`, given what was matched by the directory that holds it (the default at the top).
    ///
    /// # Errors
    /// Fails when a pattern turns out to be malformed.
    pub fn judge(&self, path: &[u8], is_directory: bool, above: &Matched) -> Result<Judgement, IgnoreError> {
        let mut is_ignored = false;
        let mut matched = vec![false; self.patterns.len()];
        for (at, pattern) in self.patterns.iter().enumerate() {
            let mut hit = above.0.get(at).copied().unwrap_or(false);
            if !hit {
                if pattern.is_exception != is_ignored {
                    continue;
                }
                hit = compare(pattern, path)?;
                if !hit && above.0.is_empty() {
                    hit = parents(path).any(|parent| pattern.matches(parent).unwrap_or(false));
                }
            }
            matched[at] = hit;
            if hit {
                is_ignored = !pattern.is_exception;
            }
        }
        let descend = is_directory && (!is_ignored || self.may_except_below(path));
        Ok(Judgement { is_ignored, descend, matched: Matched(matched) })
    }

    /// Whether an exception could bring back something below an ignored directory.
    fn may_except_below(&self, directory: &[u8]) -> bool {
        let mut exceptions = self.patterns.iter().filter(|pattern| pattern.is_exception);
        if exceptions.clone().any(|pattern| pattern.literal_prefix().is_none()) {
            return true;
        }
        exceptions.any(|pattern| {
            let below = pattern.literal_prefix().and_then(|prefix| prefix.strip_prefix(directory));
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
        })
    }
}

fn compare(pattern: &Pattern, path: &[u8]) -> Result<bool, IgnoreError> {
    pattern.matches(path).map_err(|_| {
        let mark = if pattern.is_exception { "!" } else { "" };
        IgnoreError::Malformed { pattern: format!("{mark}{}", String::from_utf8_lossy(&pattern.text)) }
    })
}

/// The directories above `path`, the outermost first.
fn parents(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| &path[..at])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_pattern_that_matches_decides() {
        let rules = IgnoreRules::parse(b"docs\n!docs/keep\n*.pyc\ndocs/keep/not\n").unwrap();
        let table: [(&[u8], bool); 7] = [
            (b"docs", true),
            (b"docs/a/b", true),
            (b"docs/keep", false),
            (b"docs/keep/x.pyc", false),
            (b"docs/keep/not", true),
            (b"x.pyc", true),
            (b"\xff.py", false),
        ];
        for (path, expected) in table {
            assert_eq!(rules.matches(path).unwrap(), expected, "{}", path.escape_ascii());
        }
        assert!(!IgnoreRules::parse(b"**").unwrap().matches(b".").unwrap());
    }

    #[test]
    fn ignored_directories_are_entered_only_for_exceptions_below() {
        let rules = IgnoreRules::parse(b"*\n!a/b/c\n").unwrap();
        let enters = |path: &[u8]| rules.judge(path, true, &Matched::default()).unwrap().descend;
        assert!(enters(b"a") && enters(b"a/b") && !enters(b"a/bx") && !enters(b"b"));
        let anywhere = IgnoreRules::parse(b"*\n!**/c\n").unwrap();
        assert!(anywhere.judge(b"z", true, &Matched::default()).unwrap().descend);
    }

    #[test]
    fn errors_name_the_pattern() {
        let named = |text: &str| IgnoreRules::parse(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(named("a\n![*\n"), "ignore pattern `![*` is malformed");
        assert_eq!(named("!/\n"), "ignore pattern `!/` makes an exception of nothing");
        let late = IgnoreRules::parse(b"[z-a]").unwrap();
        assert_eq!(late.matches(b"x").unwrap_err(), IgnoreError::Malformed { pattern: "[z-a]".into() });
    }
}
