//! One pattern of an ignore file, ready to match.
//!
//! It answers for a single path; parents and the order of patterns are the business of the rules.

use super::expression::Expression;
use super::file::{clean, decode, trim};
use super::glob;

/// One pattern.
#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// The pattern without its `!`, cleaned.
    pub(super) text: Vec<u8>,
    /// Whether it began with `!`.
    pub(super) is_exception: bool,
    form: Form,
}

/// How a pattern is compared; texts without metacharacters need no expression.
#[derive(Clone, Debug)]
enum Form {
    Exact,
    /// The pattern ends in `**`.
    Prefix,
    /// The pattern begins with `**`.
    Suffix,
    Expression(Expression),
    /// BuildKit notices only when it first compares a path.
    Refused,
}

/// Why a text is no pattern.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PatternError {
    /// A lone `!`.
    Empty,
    /// Bad syntax.
    Malformed,
}

/// A pattern that cannot be compared.
#[derive(Debug)]
pub(super) struct Incomparable;

impl Pattern {
    /// Parses one pattern; `None` when there is nothing but white space.
    pub(super) fn parse(text: &[u8]) -> Result<Option<Self>, PatternError> {
        let text = trim(text);
        if text.is_empty() {
            return Ok(None);
        }
        let mut text = clean(text);
        let is_exception = text.starts_with(b"!");
        if is_exception {
            text.remove(0);
        }
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        glob::check(&text).map_err(|_| PatternError::Malformed)?;
        let form = form_of(&text);
        Ok(Some(Self { text, is_exception, form }))
    }

    /// Whether `path`, without a trailing slash, matches.
    pub(super) fn matches(&self, path: &[u8]) -> Result<bool, Incomparable> {
        match &self.form {
            Form::Exact => Ok(path == self.text),
            Form::Prefix => Ok(path.starts_with(&self.text[..self.text.len() - 2])),
            Form::Suffix => {
                let suffix = &self.text[2..];
                Ok(path.ends_with(suffix) || suffix.strip_prefix(b"/") == Some(path))
            }
            Form::Expression(expression) => Ok(expression.matches(path)),
            Form::Refused => Err(Incomparable),
        }
    }

    /// The literal path below which all matches lie; `None` when the pattern has metacharacters before its end.
    pub(super) fn literal_prefix(&self) -> Option<&[u8]> {
        let text = self.text.strip_suffix(b"/**").unwrap_or(&self.text);
        let text = text.strip_suffix(b"/*").unwrap_or(text);
        (!text.iter().any(|b| b"*[]?^\\".contains(b))).then_some(text)
    }
}

/// Chooses the form as BuildKit does, by the same single pass over the characters.
fn form_of(text: &[u8]) -> Form {
    let mut form = Form::Exact;
    let mut chars = characters(text).into_iter().peekable();
    let mut expression = String::from("^");
    let mut needs_expression = false;
    let mut is_first = true;
    while let Some(found) = chars.next() {
        match found {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_some() {
                    expression.push_str("(.*/)?");
                    needs_expression = true;
                } else if matches!(form, Form::Exact) && !needs_expression {
                    form = Form::Prefix;
                } else {
                    expression.push_str(".*");
                    needs_expression = true;
                }
                if is_first {
                    (form, needs_expression) = (Form::Suffix, false);
                }
            }
            '*' => {
                expression.push_str("[^/]*");
                needs_expression = true;
            }
            '?' => {
                expression.push_str("[^/]");
                needs_expression = true;
            }
            '.' | '+' | '(' | ')' | '|' | '{' | '}' | '$' => expression.extend(['\\', found]),
            '\\' => {
                expression.push('\\');
                needs_expression |= chars.peek().is_some();
                expression.extend(chars.next());
            }
            other => {
                expression.push(other);
                needs_expression |= matches!(other, '[' | ']');
            }
        }
        is_first = false;
    }
    if !needs_expression {
        return form;
    }
    expression.push('$');
    Expression::parse(&expression).map_or(Form::Refused, Form::Expression)
}

/// The characters of `text`, without a leading byte order mark.
fn characters(mut text: &[u8]) -> Vec<char> {
    let mut chars = Vec::new();
    while let Some((found, width)) = decode(text) {
        text = &text[width..];
        if found != '\u{feff}' || !chars.is_empty() {
            chars.push(found);
        }
    }
    chars
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_the_paths_that_they_should() {
        let table: [(&[u8], &[u8], bool); 18] = [
            (b"a/b", b"a/b", true),
            (b"a/**", b"a/x/y", true),
            (b"a/**", b"ab", false),
            (b"**/a", b"a", true),
            (b"**/a", b"x/a", true),
            (b"**/a", b"xa", false),
            (b"**a", b"x/ba", true),
            (b"**", b"any", true),
            (b"**/*.py", b"a/b.py", true),
            (b"*.py", b"a/b.py", false),
            (b"a?c", b"a/c", false),
            (b"[a-c]x", b"bx", true),
            (b"\\*", b"*", true),
            (b"\\*", b"a", false),
            (b"a.b", b"axb", false),
            (b"?\xff", b"a\xff", true),
            (b"a\xff", b"a\xff", true),
            (b"a\xff", b"a\xfe", false),
        ];
        for (pattern, path, expected) in table {
            let parsed = Pattern::parse(pattern).unwrap().unwrap();
            assert_eq!(parsed.matches(path).unwrap(), expected, "{parsed:?} {}", path.escape_ascii());
        }
    }

    #[test]
    fn malformed_patterns_are_told_apart() {
        assert_eq!(Pattern::parse(b"!/").unwrap_err(), PatternError::Empty);
        assert_eq!(Pattern::parse(b"[").unwrap_err(), PatternError::Malformed);
        assert!(Pattern::parse(b" \t").unwrap().is_none());
        assert!(Pattern::parse(b"[z-a]").unwrap().unwrap().matches(b"x").is_err());
    }

    #[test]
    fn the_literal_prefix_stops_before_metacharacters() {
        let table: [(&[u8], Option<&[u8]>); 5] =
            [(b"!a/b", Some(b"a/b")), (b"!a/**", Some(b"a")), (b"!a/*", Some(b"a")), (b"!*/a", None), (b"!a^", None)];
        for (pattern, expected) in table {
            assert_eq!(Pattern::parse(pattern).unwrap().unwrap().literal_prefix(), expected);
        }
    }
}
