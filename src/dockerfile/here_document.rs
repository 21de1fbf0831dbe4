//! Here-documents: which words open one, and what their name says.
//!
//! The lines of a document are the reader's business.

use super::error::Problem;
use super::expand::{ExpandError, Lexer, Style};

/// What `<<NAME` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    /// The name, without quotes.
    pub(super) name: String,
    /// No part of the name is in quotes.
    pub(super) expand: bool,
    /// `<<-`: leading tabs are taken off.
    pub(super) strips_tabs: bool,
}

/// The documents that an instruction opens, in order. A line whose quotes do not fit opens none.
pub(super) fn openings(line: &str) -> Result<Vec<Opening>, Problem> {
    let style = Style { keep_quotes: true, keep_escapes: true, keep_unset: true, ..Style::default() };
    let words = words(line, style).unwrap_or_default();
    let openings = words.iter().map(|word| opening(word));
    Ok(openings.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

/// Whether a command is the opening of a document and nothing else.
pub(super) fn is_opening(command: &str) -> bool {
    opening(command).is_ok_and(|opening| opening.is_some())
}

/// What `word` opens; a file descriptor may stand before it.
pub(super) fn opening(word: &str) -> Result<Option<Opening>, ExpandError> {
    let bare = word.trim_start_matches(|c: char| c.is_ascii_digit());
    let Some(rest) = bare.strip_prefix("<<") else { return Ok(None) };
    let strips_tabs = rest.starts_with('-');
    let name = rest.strip_prefix('-').unwrap_or(rest).trim_start_matches(['\t', '\n', '\u{c}', '\r', ' ']);
    if name.is_empty() || name.contains('<') {
        return Ok(None);
    }
    let plain = words(name, Style { keep_unset: true, ..Style::default() })?;
    let quoted = words(name, Style { keep_unset: true, keep_quotes: true, ..Style::default() })?;
    let ([plain], [quoted]) = (&plain[..], &quoted[..]) else { return Ok(None) };
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    Ok(Some(Opening { expand: quotes(plain) == quotes(quoted), name: plain.clone(), strips_tabs }))
}

/// The lines of a document without their leading tabs.
pub(super) fn without_tabs(content: &str) -> String {
    content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}

fn words(text: &str, style: Style) -> Result<Vec<String>, ExpandError> {
    Lexer::new(text, '\\', style, &|_| None).run().map(|(_, words)| words)
}
