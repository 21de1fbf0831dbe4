//! One word: quotes removed, variables replaced, all modifiers of `${...}`.
//!
//! It does what BuildKit does even where a shell would do otherwise: the cut into words loses what stands directly before a
//! `${...}` with a modifier, and a backslash outside quotes vanishes before any character.

use std::fmt;

use super::super::mount::MountProblem;
use super::pattern::{self, End};

/// How deep `${...}` may stand in one another.
const DEEPEST: usize = 64;

/// A text that cannot be expanded.
#[derive(Debug, PartialEq, Eq)]
pub struct ExpandError {
    /// As it stands in the file.
    pub word: String,
    /// Why.
    pub problem: ExpandProblem,
}

impl fmt::Display for ExpandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = self.word.lines().next().unwrap_or_default();
        match &self.problem {
            ExpandProblem::Mount(problem) => write!(f, "`--mount={word}`: {problem}"),
            problem => write!(f, "`{word}` cannot be expanded: {problem}"),
        }
    }
}

impl std::error::Error for ExpandError {}

/// Why a text cannot be expanded.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandProblem {
    /// A `${` is not closed.
    #[error("a `}}` is missing")]
    MissingBrace,
    /// A `${name/pattern` does not go on.
    #[error("a `/` is missing")]
    MissingSlash,
    /// A `${` without a name.
    #[error("`${{` is not followed by a name")]
    BadSubstitution,
    /// A quote is not closed.
    #[error("a `{0}` is not closed")]
    Unterminated(char),
    /// A modifier that does not exist.
    #[error("the modifier `{0}` is not known")]
    UnsupportedModifier(String),
    /// `${name?message}`, and there is no value.
    #[error("`{name}` is not set{}", said(.message))]
    Unset {
        /// The variable.
        name: String,
        /// What the file says to it; may be empty.
        message: String,
    },
    /// `${name:?message}`, and the value is empty.
    #[error("`{name}` is empty{}", said(.message))]
    Empty {
        /// The variable.
        name: String,
        /// What the file says to it; may be empty.
        message: String,
    },
    /// A pattern with an escape that is none.
    #[error("the pattern `{pattern}` escapes what needs no escape")]
    Pattern {
        /// The pattern.
        pattern: String,
    },
    /// Too many `${...}` in one another.
    #[error("variables stand more than {DEEPEST} deep in one another")]
    TooDeep,
    /// A pattern that takes too long.
    #[error("its pattern and value are too long for one another")]
    TooLarge,
    /// What was expanded is no mount.
    #[error("{0}")]
    Mount(MountProblem),
}

fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

/// Where values come from: `None` for a variable that is not set.
pub type Lookup<'l> = dyn Fn(&str) -> Option<String> + 'l;

impl crate::diagnostic::Diagnose for ExpandError {
    fn class(&self) -> crate::diagnostic::Class {
        crate::diagnostic::Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("see its quotes, its braces and the names of its variables".into())
    }
}

/// Expands `word` to one text; blanks stay, quotes go.
///
/// # Errors
/// Fails for quotes and braces that are not closed, unknown modifiers, and variables that must be set.
pub fn expand_word(word: &str, escape: char, lookup: &Lookup<'_>) -> Result<String, ExpandError> {
    Lexer::new(word, escape, Style::default(), lookup).run().map(|(text, _)| text)
}

/// Expands `word` and cuts the result into words at blanks that are not in quotes.
///
/// # Errors
/// As [`expand_word`].
pub fn expand_words(word: &str, escape: char, lookup: &Lookup<'_>) -> Result<Vec<String>, ExpandError> {
    Lexer::new(word, escape, Style::default(), lookup).run().map(|(_, words)| words)
}

/// Expands a here-document: quotes are characters like others, and the escape is a backslash in any file.
pub(in super::super) fn expand_document(text: &str, lookup: &Lookup<'_>) -> Result<String, ExpandError> {
    let style = Style { quotes_are_plain: true, ..Style::default() };
    Lexer::new(text, '\\', style, lookup).run().map(|(text, _)| text)
}

/// What a reading keeps.
#[derive(Clone, Copy, Default)]
pub(in super::super) struct Style {
    /// Quotes stay in the result.
    pub(in super::super) keep_quotes: bool,
    /// Escapes stay in the result.
    pub(in super::super) keep_escapes: bool,
    /// Variables without a value stay as they are.
    pub(in super::super) keep_unset: bool,
    /// Quotes have no meaning.
    pub(in super::super) quotes_are_plain: bool,
}

/// One reading of one text.
pub(in super::super) struct Lexer<'w> {
    word: &'w str,
    chars: Vec<char>,
    at: usize,
    escape: char,
    style: Style,
    keeps_escapes: bool,
    lookup: &'w Lookup<'w>,
    /// The word that is being written. Text in `${...}` is written here too: that is how BuildKit loses the word's beginning.
    written: String,
    depth: usize,
}

/// The words of one level.
#[derive(Default)]
struct Words {
    done: Vec<String>,
    is_inside: bool,
}

type Expanded<T> = Result<T, ExpandProblem>;

impl<'w> Lexer<'w> {
    pub(in super::super) fn new(word: &'w str, escape: char, style: Style, lookup: &'w Lookup<'w>) -> Self {
        // The reader below BuildKit's passes over a byte order mark.
        let chars = word.strip_prefix('\u{feff}').unwrap_or(word).chars().collect();
        let keeps_escapes = style.keep_escapes;
        Self { word, chars, at: 0, escape, style, keeps_escapes, lookup, written: String::new(), depth: 0 }
    }

    /// The whole text, and its words.
    pub(in super::super) fn run(mut self) -> Result<(String, Vec<String>), ExpandError> {
        let read = self.until(None, self.keeps_escapes, false);
        read.map_err(|problem| ExpandError { word: self.word.to_owned(), problem })
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += usize::from(c.is_some());
        c
    }

    /// Reads up to `stop`, which is taken, or to the end. In a pattern an escape within quotes is doubled, for the
    /// pattern is read once more.
    fn until(&mut self, stop: Option<char>, keeps_escapes: bool, in_pattern: bool) -> Expanded<(String, Vec<String>)> {
        let before = std::mem::replace(&mut self.keeps_escapes, keeps_escapes);
        let mut text = String::new();
        let mut words = Words::default();
        self.written.clear();
        while let Some(c) = self.peek() {
            if Some(c) == stop {
                self.at += 1;
                self.keeps_escapes = before;
                return Ok((text, self.finished(words)));
            }
            match c {
                '$' => {
                    let value = self.dollar()?;
                    value.chars().for_each(|c| self.add(&mut words, c));
                    text.push_str(&value);
                }
                '<' => self.add_as_is(&mut words, &mut text, |lexer| Ok(lexer.less_than()))?,
                '\'' if !self.style.quotes_are_plain => {
                    self.add_as_is(&mut words, &mut text, |lexer| lexer.single_quotes(in_pattern))?;
                }
                '"' if !self.style.quotes_are_plain => {
                    self.add_as_is(&mut words, &mut text, |lexer| lexer.double_quotes(in_pattern))?;
                }
                _ if c == self.escape => self.escaped(&mut words, &mut text),
                _ => {
                    self.at += 1;
                    self.add(&mut words, c);
                    text.push(c);
                }
            }
        }
        match stop {
            Some('/') => Err(ExpandProblem::MissingSlash),
            Some(_) => Err(ExpandProblem::MissingBrace),
            None => Ok((text, self.finished(words))),
        }
    }

    fn escaped(&mut self, words: &mut Words, text: &mut String) {
        let escape = self.next();
        for c in escape.filter(|_| self.keeps_escapes).into_iter().chain(self.next()) {
            self.written.push(c);
            words.is_inside = true;
            text.push(c);
        }
    }

    /// A character that ends a word when it is a blank.
    fn add(&mut self, words: &mut Words, c: char) {
        if !c.is_whitespace() {
            self.written.push(c);
            words.is_inside = true;
        } else if words.is_inside && !self.written.is_empty() {
            words.done.push(std::mem::take(&mut self.written));
            words.is_inside = false;
        }
    }

    fn add_as_is(
        &mut self,
        words: &mut Words,
        text: &mut String,
        read: impl FnOnce(&mut Self) -> Expanded<String>,
    ) -> Expanded<()> {
        let value = read(self)?;
        self.written.push_str(&value);
        words.is_inside = true;
        text.push_str(&value);
        Ok(())
    }

    fn finished(&mut self, mut words: Words) -> Vec<String> {
        if !self.written.is_empty() {
            words.done.push(std::mem::take(&mut self.written));
        }
        words.done
    }

    /// `<<` with the blanks behind it belongs to the word that follows.
    fn less_than(&mut self) -> String {
        self.at += 1;
        if self.peek() != Some('<') {
            return "<".to_owned();
        }
        self.at += 1;
        let start = self.at;
        while matches!(self.peek(), Some('\t' | '\r' | ' ')) {
            self.at += 1;
        }
        "<<".chars().chain(self.chars[start..self.at].iter().copied()).collect()
    }

    fn single_quotes(&mut self, in_pattern: bool) -> Expanded<String> {
        let mut text = String::new();
        text.extend(self.next().filter(|_| self.style.keep_quotes));
        while let Some(c) = self.next() {
            if c == '\'' {
                text.extend(self.style.keep_quotes.then_some(c));
                return Ok(text);
            }
            text.extend((in_pattern && c == self.escape).then_some(c));
            text.push(c);
        }
        Err(ExpandProblem::Unterminated('\''))
    }

    fn double_quotes(&mut self, in_pattern: bool) -> Expanded<String> {
        let mut text = String::new();
        text.extend(self.next().filter(|_| self.style.keep_quotes));
        while let Some(c) = self.peek() {
            match c {
                '"' => {
                    self.at += 1;
                    text.extend(self.style.keep_quotes.then_some(c));
                    return Ok(text);
                }
                '$' => text.push_str(&self.dollar()?),
                _ => {
                    self.at += 1;
                    match self.peek().filter(|_| c == self.escape) {
                        None if c == self.escape => {}
                        None => text.push(c),
                        Some(next) if next == '"' || next == '$' || next == self.escape => {
                            text.extend(self.keeps_escapes.then_some(c));
                            self.at += 1;
                            text.push(next);
                        }
                        Some(_) => {
                            let doubles = self.keeps_escapes && (!self.style.keep_quotes || in_pattern);
                            text.extend(doubles.then_some(c));
                            text.push(c);
                        }
                    }
                }
            }
        }
        Err(ExpandProblem::Unterminated('"'))
    }

    fn dollar(&mut self) -> Expanded<String> {
        self.at += 1;
        if self.peek() != Some('{') {
            let name = self.name();
            if name.is_empty() {
                return Ok("$".to_owned());
            }
            let unset = || if self.style.keep_unset { format!("${name}") } else { String::new() };
            return Ok((self.lookup)(&name).unwrap_or_else(unset));
        }
        self.at += 1;
        if self.depth == DEEPEST {
            return Err(ExpandProblem::TooDeep);
        }
        self.depth += 1;
        let value = self.braces();
        self.depth -= 1;
        value
    }

    /// What follows `${`.
    fn braces(&mut self) -> Expanded<String> {
        match self.peek() {
            None => return Err(ExpandProblem::MissingBrace),
            Some('{' | '}' | ':') => return Err(ExpandProblem::BadSubstitution),
            Some(_) => {}
        }
        let name = self.name();
        let value = (self.lookup)(&name);
        match self.next() {
            None => Err(ExpandProblem::MissingBrace),
            Some('}') if value.is_none() && self.style.keep_unset => Ok(format!("${{{name}}}")),
            Some('}') => Ok(value.unwrap_or_default()),
            Some(':') => {
                let modifier = self.next();
                self.modified(&name, value, modifier, true)
            }
            Some('/') => self.replaced(&name, value),
            modifier @ Some('+' | '-' | '?' | '#' | '%') => self.modified(&name, value, modifier, false),
            Some(other) => Err(ExpandProblem::UnsupportedModifier(other.to_string())),
        }
    }

    /// `${name-word}` and its likes; after a colon an empty value is none.
    fn modified(
        &mut self,
        name: &str,
        value: Option<String>,
        modifier: Option<char>,
        after_colon: bool,
    ) -> Expanded<String> {
        let Some(modifier) = modifier else { return Err(ExpandProblem::MissingBrace) };
        let is_trim = matches!(modifier, '#' | '%');
        let written = if after_colon { format!(":{modifier}") } else { modifier.to_string() };
        if after_colon && is_trim {
            return Err(ExpandProblem::UnsupportedModifier(written));
        }
        let (word, _) = self.until(Some('}'), is_trim, is_trim)?;
        if value.is_none() && self.style.keep_unset {
            return Ok(format!("${{{name}{written}{word}}}"));
        }
        let given = value.clone().filter(|value| !(after_colon && value.is_empty()));
        match modifier {
            '-' => Ok(given.unwrap_or(word)),
            '+' => Ok(given.map(|_| word).unwrap_or_default()),
            '?' => given.ok_or_else(|| {
                let name = name.to_owned();
                if value.is_none() {
                    ExpandProblem::Unset { name, message: word }
                } else {
                    ExpandProblem::Empty { name, message: word }
                }
            }),
            '#' | '%' => {
                let end = if modifier == '#' { End::Head } else { End::Tail };
                let longest = word.strip_prefix(modifier);
                pattern::trimmed(longest.unwrap_or(&word), &value.unwrap_or_default(), end, longest.is_some())
            }
            _ => Err(ExpandProblem::UnsupportedModifier(written)),
        }
    }

    /// `${name/pattern/replacement}`.
    fn replaced(&mut self, name: &str, value: Option<String>) -> Expanded<String> {
        let all = self.peek() == Some('/');
        self.at += usize::from(all);
        let (pattern, _) = self.until(Some('/'), true, true)?;
        let (replacement, _) = self.until(Some('}'), true, false)?;
        if value.is_none() && self.style.keep_unset {
            return Ok(format!("${{{name}/{pattern}/{replacement}}}"));
        }
        pattern::replaced(&pattern, &value.unwrap_or_default(), &replacement, all)
    }

    /// A name, a number, or one of the shell's special parameters; empty when none stands here.
    fn name(&mut self) -> String {
        let start = self.at;
        let is_digit = |c: char| c.is_ascii_digit();
        match self.peek() {
            Some(c) if is_digit(c) => {
                while self.peek().is_some_and(is_digit) {
                    self.at += 1;
                }
            }
            Some('@' | '*' | '#' | '?' | '-' | '$' | '!') => self.at += 1,
            _ => {
                while self.peek().is_some_and(|c| c.is_alphabetic() || is_digit(c) || c == '_') {
                    self.at += 1;
                }
            }
        }
        self.chars[start..self.at].iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: [(&str, &str); 9] = [
        ("PWD", "/home"),
        ("FILE", "dist/app/app.tar.gz"),
        ("EMPTY", ""),
        ("TWO", "a b"),
        ("DOLLAR", "[$0]"),
        ("STARS", "a*b?c"),
        ("LINES", "one\ntwo"),
        ("KOREAN", "한국어"),
        ("AAA", "aaa"),
    ];

    fn value(name: &str) -> Option<String> {
        VALUES.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    }

    fn problem(word: &str) -> ExpandProblem {
        expand_word(word, '\\', &value).unwrap_err().problem
    }

    #[test]
    fn quotes_and_escapes_go_and_variables_are_replaced() {
        for (word, expected) in [
            ("he'll'o", "hello"),
            ("abc\\tdef", "abctdef"),
            ("\"abc\\tdef\"", "abc\\tdef"),
            ("hello\\", "hello"),
            ("\"hello\\\\\"", "hello\\"),
            ("'a $PWD'", "a $PWD"),
            ("\"a $PWD\"", "a /home"),
            ("\\$PWD $PWD$", "$PWD /home$"),
            ("a$PWDx${PWD}x", "a/homex"),
            ("$1a $999b $@c", "a b c"),
            ("$KOREAN", "한국어"),
            ("안녕 <<  EOF", "안녕 <<  EOF"),
        ] {
            assert_eq!(expand_word(word, '\\', &value).unwrap(), expected, "{word}");
        }
        assert_eq!(expand_word("a`$PWD\\b", '`', &value).unwrap(), "a$PWD\\b");
    }

    #[test]
    fn every_modifier_does_what_buildkit_does() {
        for (word, expected) in [
            ("${NO:-x} ${NO-x} ${EMPTY:-x} [${EMPTY-x}] ${PWD:-x}", "x x x [] /home"),
            ("[${NO:+x}] [${NO+x}] [${EMPTY:+x}] ${EMPTY+x} ${PWD:+x}", "[] [] [] x x"),
            ("${PWD:?no} ${PWD?no} [${EMPTY?no}]", "/home /home []"),
            ("${NO:-${EMPTY:-$PWD}}", "/home"),
            (
                "${FILE#*/} ${FILE##*/} ${FILE%.*} ${FILE%%.*}",
                "app/app.tar.gz app.tar.gz dist/app/app.tar dist/app/app",
            ),
            ("${FILE#x} ${FILE#????/} ${FILE%gz} ${NO#x}", "dist/app/app.tar.gz app/app.tar.gz dist/app/app.tar. "),
            ("${STARS#a\\*} ${STARS%\\?c} ${STARS%'?c'}", "b?c a*b a*b"),
            ("${FILE/app/x} ${FILE//app/x} ${FILE//\\//_}", "dist/x/app.tar.gz dist/x/x.tar.gz dist_app_app.tar.gz"),
            ("${AAA//a/b} ${AAA/a*/b} ${AAA///-} ${AAA//x/y}", "bbb b -a-a-a- aaa"),
            ("${AAA//a/$DOLLAR} ${AAA/a/$DOLLAR}", "[a][a][a] [$0]aa"),
            ("${LINES#*} ${LINES##*}|${LINES//?/.}", "one\ntwo \ntwo|...\n..."),
        ] {
            assert_eq!(expand_word(word, '\\', &value).unwrap(), expected, "{word}");
        }
    }

    #[test]
    fn words_are_cut_after_expansion() {
        for (word, expected) in [
            ("a  b", &["a", "b"][..]),
            ("$TWO \"$TWO\" 'c d'", &["a", "b", "a b", "c d"]),
            ("'' a", &["a"]),
            ("80${NO:-81}", &["81"]),
            ("", &[]),
        ] {
            assert_eq!(expand_words(word, '\\', &value).unwrap(), expected, "{word}");
        }
    }

    #[test]
    fn quotes_of_a_document_are_characters() {
        let text = "it's \"$PWD\" \\$PWD\n";
        assert_eq!(expand_document(text, &value).unwrap(), "it's \"/home\" $PWD\n");
    }

    #[test]
    fn what_cannot_be_expanded_is_named() {
        let unset = |message: &str| ExpandProblem::Unset { name: "NO".to_owned(), message: message.to_owned() };
        for (word, expected) in [
            ("${PWD", ExpandProblem::MissingBrace),
            ("${PWD:-a", ExpandProblem::MissingBrace),
            ("${PWD/a}", ExpandProblem::MissingSlash),
            ("${}", ExpandProblem::BadSubstitution),
            ("${:-a}", ExpandProblem::BadSubstitution),
            ("${.}", ExpandProblem::UnsupportedModifier(".".to_owned())),
            ("${PWD:=a}", ExpandProblem::UnsupportedModifier(":=".to_owned())),
            ("${PWD:#a}", ExpandProblem::UnsupportedModifier(":#".to_owned())),
            ("${NO?}", unset("")),
            ("${NO:?set it in $PWD}", unset("set it in /home")),
            ("${EMPTY:?x}", ExpandProblem::Empty { name: "EMPTY".to_owned(), message: "x".to_owned() }),
            ("'a", ExpandProblem::Unterminated('\'')),
            ("\"a\\\"", ExpandProblem::Unterminated('"')),
            ("${PWD#\\a}", ExpandProblem::Pattern { pattern: "\\a".to_owned() }),
            (&"${NO:-".repeat(DEEPEST + 1), ExpandProblem::TooDeep),
        ] {
            assert_eq!(problem(word), expected, "{word}");
        }
    }

    #[test]
    fn a_long_value_and_many_stars_end_with_an_error() {
        let word = format!("${{LONG#{}b}}", "*a".repeat(200));
        let long = |_: &str| Some("a".repeat(100_000));
        assert_eq!(expand_word(&word, '\\', &long).unwrap_err().problem, ExpandProblem::TooLarge);
    }
}
