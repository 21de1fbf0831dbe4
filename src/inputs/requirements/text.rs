//! From the bytes of a requirement file to its logical lines, as pip makes them.
//!
//! It joins, strips and expands; what a line means is for `line` to say.

use std::collections::BTreeMap;

/// Bytes that are no text: the encoding that was expected and the line where it fails.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Undecodable {
    pub(super) encoding: &'static str,
    pub(super) line: usize,
}

/// Decodes UTF-8, or what a byte order mark says.
pub(super) fn decode(bytes: &[u8]) -> Result<String, Undecodable> {
    match bytes {
        [0xff, 0xfe, rest @ ..] => decode_utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => decode_utf16(rest, u16::from_be_bytes),
        _ => {
            let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
            let decoded = std::str::from_utf8(bytes);
            decoded.map(str::to_owned).map_err(|error| {
                let before = bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count();
                Undecodable { encoding: "UTF-8", line: before + 1 }
            })
        }
    }
}

fn decode_utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, Undecodable> {
    let (pairs, odd) = bytes.as_chunks::<2>();
    let mut text = String::new();
    for found in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        match found {
            Ok(found) => text.push(found),
            Err(_) => return Err(undecodable_utf16(&text)),
        }
    }
    if odd.is_empty() { Ok(text) } else { Err(undecodable_utf16(&text)) }
}

fn undecodable_utf16(before: &str) -> Undecodable {
    Undecodable { encoding: "UTF-16", line: before.matches('\n').count() + 1 }
}

/// The lines of a text with their numbers, from 1.
pub(super) fn numbered(text: &str) -> Vec<(usize, &str)> {
    let mut lines = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        lines.push((lines.len() + 1, &rest[..end]));
        let after = &rest[end..];
        let skipped = if after.starts_with("\r\n") { 2 } else { after.len().min(1) };
        rest = &after[skipped..];
    }
    lines
}

/// Joins continued lines, drops comments and blank lines, expands `${NAME}`; a number is that of the first line joined.
pub(super) fn logical_lines(lines: &[(usize, &str)], environment: &BTreeMap<String, String>) -> Vec<(usize, String)> {
    let mut joined: Vec<(usize, String)> = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for &(number, line) in lines {
        let is_comment = line.trim_start().starts_with('#');
        let (first, mut text) = open.take().unwrap_or((number, String::new()));
        match line.strip_suffix('\\').filter(|_| !is_comment) {
            Some(_) => {
                text.push_str(line.trim_matches('\\'));
                open = Some((first, text));
            }
            None => {
                text.extend(is_comment.then_some(' '));
                text.push_str(line);
                joined.push((first, text));
            }
        }
    }
    joined.extend(open);
    let finished = joined.into_iter().map(|(number, line)| (number, expand(uncommented(&line).trim(), environment)));
    finished.filter(|(_, line)| !line.is_empty()).collect()
}

/// The line up to a `#` that begins it or follows white space.
fn uncommented(line: &str) -> &str {
    let begins = |at: usize| line[..at].chars().next_back().is_none_or(char::is_whitespace);
    line.match_indices('#').find(|(at, _)| begins(*at)).map_or(line, |(at, _)| &line[..at])
}

/// Replaces `${NAME}`; what is not set, or empty, stays as it is.
fn expand(line: &str, environment: &BTreeMap<String, String>) -> String {
    let mut expanded = String::new();
    let mut rest = line;
    while let Some(at) = rest.find("${") {
        let (before, reference) = rest.split_at(at);
        expanded.push_str(before);
        let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        let name = &reference[2..];
        let name = &name[..name.find(|c| !allowed(c)).unwrap_or(name.len())];
        let is_closed = reference[2 + name.len()..].starts_with('}');
        match environment.get(name).filter(|value| is_closed && !value.is_empty()) {
            Some(value) => {
                expanded.push_str(value);
                rest = &reference[name.len() + 3..];
            }
            None => {
                expanded.push_str("${");
                rest = &reference[2..];
            }
        }
    }
    expanded + rest
}

/// `text` without the user and password of the URLs in it.
pub(crate) fn without_credentials(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        kept.push_str(before);
        let end = after.find(|c: char| matches!(c, '/' | '?' | '#' | '"' | '\'') || c.is_whitespace());
        let authority = &after[..end.unwrap_or(after.len())];
        rest = &after[authority.rfind('@').map_or(0, |at| at + 1)..];
    }
    kept + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logical(text: &str, environment: &[(&str, &str)]) -> Vec<(usize, String)> {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        logical_lines(&numbered(text), &environment)
    }

    #[test]
    fn lines_are_joined_and_stripped_as_pip_does_it() {
        let table: [(&str, &[(usize, &str)]); 8] = [
            ("a\n\n # x\nb # y\n", &[(1, "a"), (4, "b")]),
            ("a \\\n  --hash=1 \\\n  --hash=2\nb", &[(1, "a   --hash=1   --hash=2"), (4, "b")]),
            ("a \\\n# comment\nb", &[(1, "a"), (3, "b")]),
            ("# comment \\\nb", &[(2, "b")]),
            ("a\\", &[(1, "a")]),
            ("u#egg=x  # c", &[(1, "u#egg=x")]),
            ("a\r\nb\rc", &[(1, "a"), (2, "b"), (3, "c")]),
            ("", &[]),
        ];
        for (text, expected) in table {
            let expected: Vec<_> = expected.iter().map(|(n, line)| (*n, (*line).to_owned())).collect();
            assert_eq!(logical(text, &[]), expected, "{text:?}");
        }
    }

    #[test]
    fn variables_are_expanded_once_and_only_in_upper_case() {
        let environment = [("A", "${B}"), ("B_1", "x"), ("lower", "no"), ("EMPTY", "")];
        let table = [
            ("${A}", "${B}"),
            ("p${B_1}s", "pxs"),
            ("${lower}", "${lower}"),
            ("${EMPTY}${MISSING}", "${EMPTY}${MISSING}"),
            ("$A ${A ${B_1}", "$A ${A x"),
            ("${${B_1}", "${x"),
        ];
        for (text, expected) in table {
            assert_eq!(logical(text, &environment), [(1, expected.to_owned())], "{text}");
        }
    }

    #[test]
    fn bytes_are_decoded_by_their_mark_or_refused_by_line() {
        assert_eq!(decode(b"\xef\xbb\xbfa").unwrap(), "a");
        assert_eq!(decode(b"\xff\xfea\0\n\0\x3d\xd8\x00\xde").unwrap(), "a\n\u{1f600}");
        assert_eq!(decode(b"\xfe\xff\0a").unwrap(), "a");
        assert_eq!(decode(b"a\nb\xff"), Err(Undecodable { encoding: "UTF-8", line: 2 }));
        assert_eq!(decode(b"\xff\xfea\0\n\0b"), Err(Undecodable { encoding: "UTF-16", line: 2 }));
        assert_eq!(decode(b"\xff\xfe\x00\xd8"), Err(Undecodable { encoding: "UTF-16", line: 1 }));
    }

    #[test]
    fn credentials_are_left_out_of_urls() {
        let table = [
            ("https://u:p@h/x@y", "https://h/x@y"),
            ("a @ git+https://t@h/r@v https://b", "a @ git+https://h/r@v https://b"),
            ("https://h?x=a@b", "https://h?x=a@b"),
            ("u@h", "u@h"),
            ("https://a@b:p@h", "https://h"),
        ];
        for (text, expected) in table {
            assert_eq!(without_credentials(text), expected);
        }
    }
}
