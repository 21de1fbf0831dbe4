//! How the text of a line is cut: flags, words in quotes, pairs, JSON.
//!
//! Quotes and escapes stay in words: expansion takes them off later. In flags they go here.

use serde_json::Value;

use super::error::Problem;

/// The blanks between a keyword and what follows, and between words.
const BLANKS: [char; 5] = ['\t', '\u{b}', '\u{c}', '\r', ' '];

/// Cuts once at blanks; the rest is empty when there are none.
pub(super) fn split_once_at_blanks(text: &str) -> Option<(&str, &str)> {
    text.split_once(BLANKS).map(|(head, rest)| (head, rest.trim_start_matches(BLANKS)))
}

/// All words between blanks.
pub(super) fn split_at_blanks(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = Some(text).filter(|text| !text.is_empty());
    while let Some(text) = rest {
        let cut = split_once_at_blanks(text);
        words.push(cut.map_or(text, |(word, _)| word).to_owned());
        rest = cut.map(|(_, rest)| rest);
    }
    words
}

/// The flags at the head of a line, without quotes and escapes, and what follows them.
///
/// BuildKit looks at bytes here and takes each for a character, so that what is not ASCII comes out as another text; a flag
/// must not mean another file here than there.
pub(super) fn flags(line: &str, escape: char) -> (Vec<String>, String) {
    let (spans, end) = flag_spans(line, escape);
    let flags = spans.into_iter().map(|(flag, ..)| flag).collect();
    (flags, String::from_utf8_lossy(&line.as_bytes()[end..]).into_owned())
}

/// The same flags, each with the bytes of the line between which it stands, and where what follows them begins.
pub(super) fn flag_spans(line: &str, escape: char) -> (Vec<(String, usize, usize)>, usize) {
    let mut flags = Vec::new();
    let bytes = line.as_bytes();
    let mut at = 0;
    loop {
        while bytes.get(at).is_some_and(|byte| char::from(*byte).is_whitespace()) {
            at += 1;
        }
        if !bytes[at..].starts_with(b"--") {
            return (flags, at);
        }
        let start = at;
        let (flag, is_quoted, end) = flag(bytes, start, escape);
        at = end;
        if flag == "--" {
            return (flags, at);
        }
        if is_quoted || !flag.is_empty() {
            flags.push((flag, start, end));
        }
    }
}

/// The flag that begins at `start`, whether it has quotes, and where it ends.
fn flag(bytes: &[u8], start: usize, escape: char) -> (String, bool, usize) {
    let mut flag = String::new();
    let mut quote = None;
    let mut is_quoted = false;
    let mut at = start;
    while let Some(c) = bytes.get(at).copied().map(char::from) {
        at += 1;
        match quote {
            None if c.is_whitespace() => return (flag, is_quoted, at - 1),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                is_quoted = true;
            }
            Some(open) if c == open => quote = None,
            _ if c == escape => {
                flag.extend(bytes.get(at).copied().map(char::from));
                at += 1;
            }
            _ => flag.push(c),
        }
    }
    (flag, is_quoted, at.min(bytes.len()))
}

/// Words between blanks that are not in quotes; quotes and escapes stay.
pub(super) fn quoted_words(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            words.extend(word.take().filter(|word| !word.is_empty()));
            continue;
        }
        let word = word.get_or_insert_default();
        if quote == Some(c) {
            quote = None;
        } else if quote.is_none() && (c == '\'' || c == '"') {
            quote = Some(c);
        } else if c == escape && quote != Some('\'') {
            let Some(escaped) = chars.next() else { continue };
            word.push(c);
            word.push(escaped);
            continue;
        }
        word.push(c);
    }
    words.extend(word.filter(|word| !word.is_empty()));
    words
}

/// Names and values of `ENV` and `LABEL`, in both forms: three texts each, the third of which is what stands between them.
pub(super) fn pairs(keyword: &str, text: &str, escape: char) -> Result<Vec<String>, Problem> {
    let words = quoted_words(text, escape);
    let Some(first) = words.first() else { return Ok(Vec::new()) };
    if !first.contains('=') {
        let (name, value) = split_once_at_blanks(text).ok_or_else(|| Problem::NoValue(keyword.to_uppercase()))?;
        return Ok(vec![name.to_owned(), value.to_owned(), String::new()]);
    }
    let mut out = Vec::new();
    for word in words {
        let Some((name, value)) = word.split_once('=') else { return Err(Problem::NotPair { word }) };
        out.extend([name, value, "="].map(str::to_owned));
    }
    Ok(out)
}

/// The texts of a JSON array; `None` when it is none, however near it comes.
pub(super) fn json(keyword: &str, text: &str) -> Result<Option<Vec<String>>, Problem> {
    if !text.trim_start().starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<Value>>(text.trim_start()) else { return Ok(None) };
    let texts = values.into_iter().map(|value| match value {
        Value::String(text) => Ok(text),
        _ => Err(Problem::JsonNotTexts(keyword.to_uppercase())),
    });
    texts.collect::<Result<Vec<_>, _>>().map(Some)
}
