//! One word of a script, with its quotation marks understood and its variables not yet replaced.
//!
//! It replaces nothing.

/// A word: pieces that stand side by side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) pieces: Vec<Piece>,
}

/// A piece of a word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Outside quotation marks: `~`, `*`, `?` and `[` have a meaning.
    Plain(String),
    /// As it is; empty for `""`.
    Quoted(String),
    /// The value of a variable.
    Variable { name: String, otherwise: Otherwise, is_quoted: bool },
}

/// What stands for a variable in some cases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// `${X}`.
    Nothing,
    /// `${X-text}`, and `${X:-text}`, which counts an empty value as none.
    Default { text: String, is_for_empty: bool },
    /// `${X+text}` and `${X:+text}`.
    Instead { text: String, is_for_empty: bool },
}

impl Word {
    /// The text of a word without quotation marks and variables.
    pub(crate) fn plain(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Plain(text)] => Some(text),
            _ => None,
        }
    }

    /// `NAME=value` in its parts.
    pub(crate) fn assignment(&self) -> Option<(String, Self)> {
        let Some((Piece::Plain(first), rest)) = self.pieces.split_first() else { return None };
        let (name, value) = first.split_once('=')?;
        if !is_name(name) {
            return None;
        }
        let first = (!value.is_empty()).then(|| Piece::Plain(value.to_owned()));
        Some((name.to_owned(), Self { pieces: first.into_iter().chain(rest.iter().cloned()).collect() }))
    }

    pub(super) fn push_plain(&mut self, c: char) {
        match self.pieces.last_mut() {
            Some(Piece::Plain(text)) => text.push(c),
            _ => self.pieces.push(Piece::Plain(c.to_string())),
        }
    }

    pub(super) fn push_quoted(&mut self, text: &str) {
        match self.pieces.last_mut() {
            Some(Piece::Quoted(before)) => before.push_str(text),
            _ => self.pieces.push(Piece::Quoted(text.to_owned())),
        }
    }
}

/// Whether `text` can be the name of a variable.
pub(crate) fn is_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    text.starts_with(is_letter) && text.chars().all(|c| is_letter(c) || c.is_ascii_digit())
}
