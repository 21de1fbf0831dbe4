//! Patterns of `${name#pattern}` and its likes: `*`, `?` and escaped characters.
//!
//! Brackets mean themselves. As in BuildKit a wildcard does not cross a line break, and a `$` in the replacement of all
//! matches has the meaning that Go's regular expressions give it.

use std::collections::BTreeSet;

use super::ExpandProblem;

/// How many pairs of a place in a pattern and a place in a value are looked at.
const LONGEST: usize = 1 << 20;

/// At which end of a value a match is taken away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Its beginning.
    Head,
    /// Its end.
    Tail,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    One(char),
    Any,
    Star,
}

/// `value` without the shortest or longest match at one of its ends.
pub(super) fn trimmed(pattern: &str, value: &str, end: End, longest: bool) -> Result<String, ExpandProblem> {
    let (pattern, mut value): (String, Vec<char>) = match end {
        End::Head => (pattern.to_owned(), value.chars().collect()),
        End::Tail => (turned(pattern), value.chars().rev().collect()),
    };
    let parts = parts(&pattern)?;
    if let Some((_, match_end)) = find(&parts, &value, 0, longest, true)? {
        value.drain(..match_end);
    }
    if end == End::Tail {
        value.reverse();
    }
    Ok(value.into_iter().collect())
}

/// `value` with the first match, or all, replaced.
pub(super) fn replaced(pattern: &str, value: &str, replacement: &str, all: bool) -> Result<String, ExpandProblem> {
    let parts = parts(pattern)?;
    let value: Vec<char> = value.chars().collect();
    let text = |from: usize, to: usize| value[from..to].iter().collect::<String>();
    let mut out = String::new();
    let (mut copied, mut from) = (0, 0);
    while from <= value.len() {
        let Some((start, end)) = find(&parts, &value, from, true, false)? else { break };
        out.push_str(&text(copied, start));
        // A match of nothing right behind another match is none.
        if end > copied || start == 0 {
            out.push_str(&if all { filled(replacement, &text(start, end)) } else { replacement.to_owned() });
        }
        copied = end;
        from = end.max(from + 1);
        if !all {
            break;
        }
    }
    out.push_str(&text(copied, value.len()));
    Ok(out)
}

fn parts(pattern: &str) -> Result<Vec<Part>, ExpandProblem> {
    let refused = || ExpandProblem::Pattern { pattern: pattern.to_owned() };
    let mut chars = pattern.strip_prefix('\u{feff}').unwrap_or(pattern).chars().peekable();
    let mut parts = Vec::new();
    while let Some(c) = chars.next() {
        parts.push(match c {
            '*' => Part::Star,
            '?' => Part::Any,
            // The brace and the slash are escaped for the sake of `${}`.
            '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
            '\\' => Part::One(chars.next().filter(|c| matches!(c, '*' | '?' | '\\')).ok_or_else(refused)?),
            _ => Part::One(c),
        });
    }
    Ok(parts)
}

/// A pattern back to front, escapes before what they escape.
fn turned(pattern: &str) -> String {
    let mut pieces: Vec<String> = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        pieces.push([c].into_iter().chain(escaped).collect());
    }
    pieces.into_iter().rev().collect()
}

/// The first match at or behind `from`. Each pair of places is looked at once, in the order of preference.
fn find(
    parts: &[Part],
    value: &[char],
    from: usize,
    longest: bool,
    anchored: bool,
) -> Result<Option<(usize, usize)>, ExpandProblem> {
    let mut seen = BTreeSet::new();
    let last = if anchored { from } else { value.len() };
    for start in from..=last {
        let mut open = vec![(0, start)];
        while let Some((part, at)) = open.pop() {
            let Some(kind) = parts.get(part) else { return Ok(Some((start, at))) };
            if !seen.insert((part, at)) {
                continue;
            }
            if seen.len() > LONGEST {
                return Err(ExpandProblem::TooLarge);
            }
            let here = value.get(at);
            let takes = match kind {
                Part::One(wanted) => here == Some(wanted),
                Part::Any | Part::Star => here.is_some_and(|c| *c != '\n'),
            };
            match kind {
                Part::Star if longest => {
                    open.push((part + 1, at));
                    open.extend(takes.then_some((part, at + 1)));
                }
                Part::Star => {
                    open.extend(takes.then_some((part, at + 1)));
                    open.push((part + 1, at));
                }
                _ => open.extend(takes.then_some((part + 1, at + 1))),
            }
        }
    }
    Ok(None)
}

/// A replacement with `$0` or `${0}` filled in; other names stand for nothing, and `$$` for a dollar.
fn filled(template: &str, found: &str) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let inner = rest.strip_prefix('{');
        let name: &str = inner.unwrap_or(rest);
        let length = name.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(name.len());
        let (name, behind) = name.split_at(length);
        let behind = if inner.is_some() { behind.strip_prefix('}') } else { Some(behind) };
        match behind.filter(|_| !name.is_empty()) {
            None => out.push('$'),
            Some(behind) => {
                out.push_str(if name == "0" { found } else { "" });
                rest = behind;
            }
        }
    }
    out.push_str(rest);
    out
}
