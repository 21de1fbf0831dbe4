//! Go's `filepath.Match`, by which `COPY` expands wildcards and BuildKit checks the syntax of ignore patterns.
//!
//! What an ignore pattern matches is decided elsewhere.

use super::file::decode;

/// A pattern that `filepath.Match` refuses.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::inputs) struct Malformed;

/// Checks as much of `pattern` as `filepath.Match(pattern, ".")` looks at.
pub(super) fn check(pattern: &[u8]) -> Result<(), Malformed> {
    matches(pattern, b".").map(drop)
}

/// Whether `pattern` matches all of `name`; wildcards do not match a slash.
pub(in crate::inputs) fn matches(mut pattern: &[u8], mut name: &[u8]) -> Result<bool, Malformed> {
    while !pattern.is_empty() {
        let (star, chunk, rest) = next_chunk(pattern);
        pattern = rest;
        if star && chunk.is_empty() {
            return Ok(!name.contains(&b'/'));
        }
        let fits = |left: &&[u8]| left.is_empty() || !rest.is_empty();
        if let Some(left) = match_chunk(chunk, name)?.filter(fits) {
            name = left;
            continue;
        }
        if !star {
            return Ok(false);
        }
        let mut found = None;
        let end = name.iter().position(|byte| *byte == b'/').unwrap_or(name.len());
        for skipped in 1..=end {
            found = match_chunk(chunk, &name[skipped..])?.filter(fits);
            if found.is_some() {
                break;
            }
        }
        match found {
            Some(left) => name = left,
            None => return Ok(false),
        }
    }
    Ok(name.is_empty())
}

/// Splits off leading stars, then what runs up to the next star.
fn next_chunk(pattern: &[u8]) -> (bool, &[u8], &[u8]) {
    let stars = pattern.iter().take_while(|b| **b == b'*').count();
    let pattern = &pattern[stars..];
    let (mut at, mut in_class) = (0, false);
    while at < pattern.len() {
        match pattern[at] {
            b'\\' if at + 1 < pattern.len() => at += 1,
            b'[' => in_class = true,
            b']' => in_class = false,
            b'*' if !in_class => break,
            _ => {}
        }
        at += 1;
    }
    (stars > 0, &pattern[..at], &pattern[at..])
}

/// What is left of `name` after `chunk`; `None` when it does not match.
fn match_chunk<'a>(mut chunk: &[u8], mut name: &'a [u8]) -> Result<Option<&'a [u8]>, Malformed> {
    let mut failed = false;
    while let [first, rest @ ..] = chunk {
        failed |= name.is_empty();
        chunk = rest;
        match first {
            b'[' => {
                let (next, width) = decode(name).filter(|_| !failed).unwrap_or(('\0', 0));
                name = &name[width..];
                let holds;
                (holds, chunk) = match_class(chunk, next)?;
                failed |= !holds;
            }
            b'?' => {
                let (next, width) = decode(name).filter(|_| !failed).unwrap_or(('/', 0));
                failed |= next == '/';
                name = &name[width..];
            }
            _ => {
                let literal = match (first, rest) {
                    (b'\\', []) => return Err(Malformed),
                    (b'\\', [escaped, rest @ ..]) => {
                        chunk = rest;
                        escaped
                    }
                    _ => first,
                };
                failed |= name.first() != Some(literal);
                name = name.get(1..).unwrap_or_default();
            }
        }
    }
    Ok((!failed).then_some(name))
}

/// Whether the class after a `[` holds `next`, and what follows its `]`.
fn match_class(chunk: &[u8], next: char) -> Result<(bool, &[u8]), Malformed> {
    let (negated, mut chunk) = match chunk {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, chunk),
    };
    let (mut holds, mut ranges) = (false, 0);
    loop {
        if let ([b']', rest @ ..], 1..) = (chunk, ranges) {
            return Ok((holds != negated, rest));
        }
        let low;
        (low, chunk) = class_char(chunk)?;
        let mut high = low;
        if let [b'-', rest @ ..] = chunk {
            (high, chunk) = class_char(rest)?;
        }
        holds |= (low..=high).contains(&next);
        ranges += 1;
    }
}

fn class_char(chunk: &[u8]) -> Result<(char, &[u8]), Malformed> {
    let chunk = match chunk {
        [] | [b'-' | b']', ..] => return Err(Malformed),
        [b'\\', rest @ ..] => rest,
        _ => chunk,
    };
    let (found, width) = decode(chunk).ok_or(Malformed)?;
    let is_broken = found == char::REPLACEMENT_CHARACTER && width == 1;
    if is_broken || width == chunk.len() { Err(Malformed) } else { Ok((found, &chunk[width..])) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_patterns_are_found_as_far_as_go_looks() {
        for pattern in ["[", "[]a]", "[-]", "[x-]", "[a-b-c]", "[^", "a[", "\\", "*a\\", "*[", "?["] {
            assert!(check(pattern.as_bytes()).is_err(), "{pattern}");
        }
        for pattern in ["", ".", "a*[", "[z-a]", "]]*", "\\[", "[\\]]", "**", "[[:alpha:]]", "a*\\"] {
            assert!(check(pattern.as_bytes()).is_ok(), "{pattern}");
        }
        assert!(check(b"[\xff]").is_err());
    }
}
