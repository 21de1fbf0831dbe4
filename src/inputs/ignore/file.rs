//! The format of a `.dockerignore` file: one pattern a line.
//!
//! Patterns are cleaned as text; whether they are well formed is for [`super::IgnoreRules`] to say.

use super::rules::IgnoreError;

/// The longest line that BuildKit's reader takes, in bytes without the line feed.
const LINE_CAP: usize = 65_535;

/// Reads the patterns of an ignore file, in order.
///
/// A byte order mark and lines that begin with `#` are dropped, white space around a pattern (and after its `!`) too;
/// paths are made shortest and relative to the root of the tree.
///
/// # Errors
/// Fails when a line is longer than BuildKit's reader takes.
pub fn read_patterns(text: &[u8]) -> Result<Vec<Vec<u8>>, IgnoreError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut patterns = Vec::new();
    for (number, line) in text.split(|b| *b == b'\n').enumerate() {
        if line.len() > LINE_CAP {
            return Err(IgnoreError::LineTooLong { line: number + 1 });
        }
        if line.starts_with(b"#") {
            continue;
        }
        match trim(line) {
            [] => {}
            [b'!', rest @ ..] => patterns.push([&b"!"[..], &relative(trim(rest))].concat()),
            pattern => patterns.push(relative(pattern)),
        }
    }
    Ok(patterns)
}

fn relative(pattern: &[u8]) -> Vec<u8> {
    if pattern.is_empty() {
        return Vec::new();
    }
    let mut cleaned = clean(pattern);
    if cleaned.len() > 1 && cleaned.starts_with(b"/") {
        cleaned.remove(0);
    }
    cleaned
}

/// The shortest path that is lexically the same as `path` (Go's `filepath.Clean`).
pub(super) fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => {
                parts.pop();
            }
            b".." if rooted => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/", &joined[..]].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

/// `text` without white space, as Unicode defines it, at either end.
pub(super) fn trim(mut text: &[u8]) -> &[u8] {
    while let Some((first, width)) = decode(text) {
        if !first.is_whitespace() {
            break;
        }
        text = &text[width..];
    }
    while let Some(width) = trailing_space(text) {
        text = &text[..text.len() - width];
    }
    text
}

fn trailing_space(text: &[u8]) -> Option<usize> {
    let spaced = |width: usize| {
        let tail = text.len().checked_sub(width).map(|at| &text[at..])?;
        let only = std::str::from_utf8(tail).ok()?.chars().next()?;
        (only.is_whitespace() && only.len_utf8() == width).then_some(width)
    };
    (1..=3).find_map(spaced)
}

/// The first character of `text` and its width in bytes; a byte that is not UTF-8 reads as U+FFFD of width 1.
pub(super) fn decode(text: &[u8]) -> Option<(char, usize)> {
    let first = *text.first()?;
    if first.is_ascii() {
        return Some((char::from(first), 1));
    }
    let chunk = text[..text.len().min(4)].utf8_chunks().next()?;
    let decoded = chunk.valid().chars().next();
    Some(decoded.map_or((char::REPLACEMENT_CHARACTER, 1), |c| (c, c.len_utf8())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_cleans_them() {
        let table: [(&str, &str); 12] = [
            ("", "."),
            ("a/", "a"),
            ("//a//b", "/a/b"),
            ("a/../b", "b"),
            ("../a", "../a"),
            ("a/../../b", "../b"),
            ("/..", "/"),
            ("/../a", "/a"),
            ("./.", "."),
            ("!../x", "!../x"),
            ("!/", "!"),
            ("a/..", "."),
        ];
        for (path, expected) in table {
            assert_eq!(clean(path.as_bytes()), expected.as_bytes(), "{path}");
        }
    }

    #[test]
    fn patterns_lose_marks_comments_and_white_space() {
        let text = "\u{feff}# no\r\n  # yes\r\n\r\n!  /a/../b \r\n\u{a0}/c/\u{3000}\r\n!\r\n/\n";
        let patterns = read_patterns(text.as_bytes()).unwrap();
        let expected: [&[u8]; 5] = [b"# yes", b"!b", b"c", b"!", b"/"];
        assert_eq!(patterns, expected);
        assert_eq!(read_patterns(b"a\xff/\xa0\n").unwrap(), [b"a\xff/\xa0"]);
    }

    #[test]
    fn lines_longer_than_the_reader_takes_are_refused_by_number() {
        let fits = format!("x\n{}\n", "a".repeat(LINE_CAP));
        assert_eq!(read_patterns(fits.as_bytes()).unwrap().len(), 2);
        let long = format!("x\n{}", "a".repeat(LINE_CAP + 1));
        assert!(matches!(read_patterns(long.as_bytes()), Err(IgnoreError::LineTooLong { line: 2 })));
    }
}
