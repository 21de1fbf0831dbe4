//! Parser directives: comments at the head of a file that say how to read it.
//!
//! Which front end a `syntax` names, and whether it is another language, is not asked here.

use std::collections::BTreeSet;

use super::error::Problem;

const NAMES: [&str; 3] = ["syntax", "escape", "check"];

/// Reads directives, line by line, up to the first line that is none.
pub(super) struct DirectiveReader {
    mark: &'static str,
    seen: BTreeSet<&'static str>,
    is_over: bool,
}

impl DirectiveReader {
    /// Directives stand behind `mark`.
    pub(super) fn new(mark: &'static str) -> Self {
        Self { mark, seen: BTreeSet::new(), is_over: false }
    }

    /// The directive in a line, by name and value.
    pub(super) fn read<'l>(&mut self, line: &'l str) -> Result<Option<(&'static str, &'l str)>, Problem> {
        let found = if self.is_over { None } else { line.strip_prefix(self.mark).and_then(directive) };
        let Some((name, value)) = found else {
            self.is_over = true;
            return Ok(None);
        };
        match self.seen.insert(name) {
            true => Ok(Some((name, value))),
            false => Err(Problem::DirectiveTwice(name.to_owned())),
        }
    }
}

/// `syntax` or `check`, as they are looked for: behind a line `#!`, and `syntax` behind `//` too.
pub(super) fn named<'t>(name: &str, text: &'t str) -> Option<&'t str> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = if text.starts_with("#!") { text.split_once('\n').map_or("", |(_, rest)| rest) } else { text };
    let marks: &[&str] = if name == "syntax" { &["#", "//"] } else { &["#"] };
    marks.iter().find_map(|mark| {
        let directives = text.lines().map_while(|line| line.strip_prefix(mark).and_then(directive));
        let value = directives.into_iter().find(|(known, _)| *known == name)?.1;
        Some(value.split(' ').next().unwrap_or(value))
    })
}

/// What stands behind the mark, if it is a directive.
fn directive(text: &str) -> Option<(&'static str, &str)> {
    let is_blank = |c: char| matches!(c, '\t' | '\n' | '\u{c}' | '\r' | ' ');
    let (name, value) = text.trim_start().split_once('=')?;
    let name = name.trim_end_matches(is_blank).to_ascii_lowercase();
    let name = NAMES.into_iter().find(|known| *known == name)?;
    // A value of blanks alone is a value, and a wrong one.
    let last = value.get(value.len().saturating_sub(1)..).unwrap_or_default();
    let value = Some(value.trim_matches(is_blank)).filter(|value| !value.is_empty()).unwrap_or(last);
    (!value.is_empty()).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_front_end_is_named_in_files_of_other_languages_too() {
        for (text, expected) in [
            ("# syntax = a/b:1  more\n", Some("a/b:1")),
            ("\u{feff}# SYNTAX=a\r\n", Some("a")),
            ("#!/bin/x\n# check=b\n# syntax=a", Some("a")),
            ("// syntax=a\n", Some("a")),
            ("  # syntax=a\n", None),
            ("# other=a\n# syntax=a", None),
            ("#!/bin/x", None),
        ] {
            assert_eq!(named("syntax", text), expected, "{text}");
        }
        assert_eq!(named("check", "# check=error=true\n"), Some("error=true"));
        assert_eq!(named("check", "// check=a\n"), None);
    }
}
