//! From the text of a script to its simple commands and their words, after POSIX 2.3 and 2.10.
//!
//! Where `sh` of Debian, `ash` of Alpine and bash read a text in different ways, it is not read at all.

use super::word::{Otherwise, Piece, Word, is_name};
use crate::dockerfile::run::not_known::NotKnown;

/// How a command is joined to what stands before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Joint {
    /// It is the first, or stands behind `;` or a line break.
    Then,
    /// `&&`.
    And,
    /// `||`.
    Or,
}

/// A simple command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SimpleCommand {
    /// Its text, for messages.
    pub(crate) text: String,
    pub(crate) joint: Joint,
    /// The `NAME=value` before its words.
    pub(crate) assignments: Vec<(String, Word)>,
    pub(crate) words: Vec<Word>,
}

/// Reads a script.
///
/// # Errors
/// Fails for what is no list of simple commands.
pub(crate) fn read_script(text: &str) -> Result<Vec<SimpleCommand>, NotKnown> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0, start: 0, end: 0, joint: Joint::Then };
    reader.commands().map_err(|reason| NotKnown { command: reader.command_here(), reason })
}

/// The words that begin compound commands, and those that go on with one.
const RESERVED: [&str; 20] = [
    "!", "[[", "]]", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in",
    "select", "then", "time", "until", "while",
];

type Read<T> = Result<T, String>;

struct Reader {
    chars: Vec<char>,
    at: usize,
    /// Where the command begins that is being read.
    start: usize,
    /// Where its last word ends.
    end: usize,
    joint: Joint,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn looks_at(&self, text: &str) -> bool {
        text.chars().enumerate().all(|(n, c)| self.chars.get(self.at + n) == Some(&c))
    }

    fn text(&self, end: usize) -> String {
        self.chars[self.start..end].iter().collect::<String>().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The command that reading stopped in, to where it seems to end.
    fn command_here(&self) -> String {
        let from = self.at.min(self.chars.len());
        let ends = |at: &usize| self.chars[*at] == '\n' || self.chars[*at..].starts_with(&['&', '&']);
        let end = (from..self.chars.len()).find(ends).unwrap_or(self.chars.len());
        let here = self.text(end);
        if here.is_empty() { self.chars.iter().collect::<String>().trim().to_owned() } else { here }
    }

    fn commands(&mut self) -> Read<Vec<SimpleCommand>> {
        let mut commands = Vec::new();
        let mut words = Vec::new();
        loop {
            self.skip_blanks();
            if words.is_empty() {
                self.start = self.at;
            }
            let Some(c) = self.peek() else { break };
            let next = match c {
                '\n' => Joint::Then,
                ';' if !self.looks_at(";;") => Joint::Then,
                '&' if self.looks_at("&&") => Joint::And,
                '|' if self.looks_at("||") => Joint::Or,
                '<' | '>' => {
                    self.redirection()?;
                    if words.is_empty() {
                        return Err("it redirects before it runs anything".into());
                    }
                    self.end = self.at;
                    continue;
                }
                ';' | '&' | '|' | '(' | ')' => return Err(operator(c)),
                _ => {
                    let word = self.word()?;
                    if !self.is_descriptor(&word)? {
                        words.push(word);
                    }
                    self.end = self.at;
                    continue;
                }
            };
            self.at += if next == Joint::Then { 1 } else { 2 };
            if words.is_empty() {
                match c {
                    '\n' => continue,
                    _ => return Err(format!("no command stands before `{c}`")),
                }
            }
            commands.push(self.finished(std::mem::take(&mut words))?);
            self.joint = next;
        }
        if !words.is_empty() {
            commands.push(self.finished(words)?);
        } else if self.joint != Joint::Then {
            return Err("the last command is missing".into());
        }
        Ok(commands)
    }

    fn finished(&self, words: Vec<Word>) -> Read<SimpleCommand> {
        let leading = words.iter().map_while(Word::assignment).collect::<Vec<_>>();
        let words: Vec<Word> = words.into_iter().skip(leading.len()).collect();
        if let Some(word) = words.first().and_then(Word::plain).filter(|word| RESERVED.contains(word)) {
            return Err(format!("`{word}` is more than a simple command"));
        }
        Ok(SimpleCommand { text: self.text(self.end), joint: self.joint, assignments: leading, words })
    }

    /// Blanks, continued lines and comments.
    fn skip_blanks(&mut self) {
        loop {
            match self.peek() {
                Some(' ' | '\t') => self.at += 1,
                Some('\\') if self.looks_at("\\\n") => self.at += 2,
                Some('#') => {
                    let rest = &self.chars[self.at..];
                    self.at += rest.iter().position(|c| *c == '\n').unwrap_or(rest.len());
                }
                _ => return,
            }
        }
    }

    /// Whether `word` is the number before a redirection, which is then read.
    fn is_descriptor(&mut self, word: &Word) -> Read<bool> {
        let is_number = word.plain().is_some_and(|text| text.chars().all(|c| c.is_ascii_digit()));
        if !is_number || !matches!(self.peek(), Some('<' | '>')) {
            return Ok(false);
        }
        if !matches!(word.plain(), Some("1" | "2")) {
            return Err("it redirects a descriptor".into());
        }
        self.redirection()?;
        Ok(true)
    }

    /// Redirections that change no file: to `/dev/null`, and of one output to the other.
    fn redirection(&mut self) -> Read<()> {
        let sign = self.chars[self.at];
        if self.looks_at("<<") {
            return Err("it is given a here-document".into());
        }
        let refused = match sign {
            '<' => "`<` outside quotation marks reads a file",
            _ => "`>` outside quotation marks writes a file",
        };
        self.at += 1;
        if sign == '>' && self.peek() == Some('&') {
            self.at += 1;
            let is_output = matches!(self.peek(), Some('1' | '2'));
            self.at += 1;
            let ends = self.peek().is_none_or(|c| " \t\n;&|".contains(c));
            return if is_output && ends { Ok(()) } else { Err("it redirects a descriptor".into()) };
        }
        if sign == '>' && self.peek() == Some('>') {
            self.at += 1;
        }
        self.skip_blanks();
        let is_word = self.peek().is_some_and(|c| !"\n;&|<>()".contains(c));
        match is_word && self.word()?.plain() == Some("/dev/null") {
            true => Ok(()),
            false => Err(refused.into()),
        }
    }

    fn word(&mut self) -> Read<Word> {
        let mut word = Word::default();
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\n' | ';' | '&' | '|' | '<' | '>' | '(' | ')' => break,
                '\\' => {
                    self.at += 1;
                    match self.peek().ok_or("it ends in a backslash")? {
                        '\n' => {}
                        next => word.push_quoted(checked(next)?.encode_utf8(&mut [0; 4])),
                    }
                    self.at += 1;
                }
                '\'' => self.single_quoted(&mut word)?,
                '"' => self.double_quoted(&mut word)?,
                '$' => self.dollar(&mut word, false)?,
                '`' => return Err("it takes the output of a command (`` ` ``)".into()),
                '{' | '}' => return Err("braces outside quotation marks have meanings that differ".into()),
                _ => {
                    word.push_plain(checked(c)?);
                    self.at += 1;
                }
            }
        }
        Ok(word)
    }

    fn single_quoted(&mut self, word: &mut Word) -> Read<()> {
        let rest = &self.chars[self.at + 1..];
        let length = rest.iter().position(|c| *c == '\'').ok_or("a quotation mark is not closed")?;
        let text: String = rest[..length].iter().copied().map(checked).collect::<Read<_>>()?;
        word.push_quoted(&text);
        self.at += length + 2;
        Ok(())
    }

    fn double_quoted(&mut self, word: &mut Word) -> Read<()> {
        self.at += 1;
        word.push_quoted("");
        loop {
            let c = self.peek().ok_or("a quotation mark is not closed")?;
            match c {
                '"' => break,
                '$' => self.dollar(word, true)?,
                '`' => return Err("it takes the output of a command (`` ` ``)".into()),
                '\\' => {
                    let next = self.chars.get(self.at + 1).copied().ok_or("a quotation mark is not closed")?;
                    match next {
                        '$' | '`' | '"' | '\\' => word.push_quoted(next.encode_utf8(&mut [0; 4])),
                        '\n' => {}
                        _ => {
                            word.push_quoted("\\");
                            word.push_quoted(checked(next)?.encode_utf8(&mut [0; 4]));
                        }
                    }
                    self.at += 2;
                }
                _ => {
                    word.push_quoted(checked(c)?.encode_utf8(&mut [0; 4]));
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Ok(())
    }

    /// What begins with `$`.
    fn dollar(&mut self, word: &mut Word, is_quoted: bool) -> Read<()> {
        self.at += 1;
        match self.peek() {
            Some('(') => Err("it takes the output of a command (`$(`)".into()),
            Some('{') => self.braced(word, is_quoted),
            Some(c) if c.is_ascii_alphabetic() || c == '_' => {
                let name = self.name();
                if self.looks_at("\\\n") {
                    return Err("a line is continued behind the name of a variable".into());
                }
                word.pieces.push(Piece::Variable { name, otherwise: Otherwise::Nothing, is_quoted });
                Ok(())
            }
            // Outside quotation marks bash lets a single dollar sign change how other variables are split.
            Some(' ' | '\t' | '\n' | '/' | '.' | ',' | ':' | '"') if is_quoted => {
                word.push_quoted("$");
                Ok(())
            }
            None => Err("`$` needs quotation marks".into()),
            Some(c) => Err(format!("`${}` is not known before it runs", c.escape_default())),
        }
    }

    fn name(&mut self) -> String {
        let rest = &self.chars[self.at..];
        let name: String = rest.iter().take_while(|c| c.is_ascii_alphanumeric() || **c == '_').collect();
        self.at += name.len();
        name
    }

    /// `${NAME}` and its forms with another text, which holds nothing but plain characters.
    fn braced(&mut self, word: &mut Word, is_quoted: bool) -> Read<()> {
        self.at += 1;
        let rest = &self.chars[self.at..];
        let length = rest.iter().position(|c| *c == '}').ok_or("`${` is not closed")?;
        let whole: String = rest[..length].iter().collect();
        let refused = || format!("`${{{}}}` is more than the value of a variable", whole.escape_debug());
        let name = self.name();
        let behind = whole.strip_prefix(&name).filter(|_| is_name(&name)).ok_or_else(refused)?;
        let (is_for_empty, form) = match behind.strip_prefix(':') {
            Some(form) => (true, form),
            None => (false, behind),
        };
        let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "_./@%+,=:-".contains(c));
        let text = |form: &str| is_plain(form).then(|| form.to_owned()).ok_or_else(refused);
        let otherwise = match form.chars().next() {
            None if !is_for_empty => Otherwise::Nothing,
            Some('-') => Otherwise::Default { text: text(&form[1..])?, is_for_empty },
            Some('+') => Otherwise::Instead { text: text(&form[1..])?, is_for_empty },
            _ => return Err(refused()),
        };
        word.pieces.push(Piece::Variable { name, otherwise, is_quoted });
        self.at += behind.chars().count() + 1;
        Ok(())
    }
}

fn operator(c: char) -> String {
    let reason = match c {
        '|' => "it is a pipe",
        '&' => "it runs in the background",
        ';' => "`;;` is more than a simple command",
        _ => "parentheses are more than a simple command",
    };
    reason.to_owned()
}

/// A character that every shell takes for a part of a word.
fn checked(c: char) -> Read<char> {
    match c {
        '\n' | '\t' => Ok(c),
        _ if c.is_control() => Err("it has a control character".into()),
        _ => Ok(c),
    }
}
