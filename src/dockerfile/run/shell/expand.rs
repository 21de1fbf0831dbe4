//! From words to what a command is given: variables, the home folder, splitting, and patterns of file names.
//!
//! No file is looked for: a pattern stays as it is, and is told.

use super::variables::Variables;
use super::word::{Otherwise, Piece, Word};
use crate::dockerfile::run::pattern::Pattern;

/// One argument of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its text, unless a file matches its pattern.
    pub(crate) text: String,
    pub(crate) pattern: Option<Pattern>,
}

type Expanded<T> = Result<T, String>;

impl Word {
    /// The arguments that a word becomes: none, one or several.
    ///
    /// # Errors
    /// Fails with a reason where that depends on a variable that is not known, or is read in different ways.
    pub(crate) fn fields(&self, variables: &Variables<'_>) -> Expanded<Vec<Field>> {
        let mut fields = Splitter::default();
        for (n, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Plain(text) if n == 0 && text.starts_with('~') => {
                    let rest = home_relative(text, self.pieces.len() == 1)?;
                    fields.push(&home(variables)?, false);
                    fields.push(rest, true);
                }
                Piece::Plain(text) if text.contains("=~") || text.contains(":~") => {
                    return Err("`~` behind `=` or `:` is read in different ways".into());
                }
                Piece::Plain(text) => fields.push(text, true),
                Piece::Quoted(text) => fields.push(text, false),
                Piece::Variable { name, otherwise, is_quoted } => {
                    let value = replaced(name, otherwise, variables)?;
                    match (is_quoted, value.contains('\\')) {
                        (true, _) => fields.push(&value, false),
                        (false, true) => return Err(format!("`${name}` has a backslash and no quotation marks")),
                        (false, false) => fields.split(&value),
                    }
                }
            }
        }
        fields.finished()
    }

    /// The one text that the value of an assignment becomes; nothing is split and no file looked for.
    ///
    /// # Errors
    /// Fails with a reason where it depends on a variable that is not known.
    pub(crate) fn value(&self, variables: &Variables<'_>) -> Expanded<String> {
        let mut value = String::new();
        for (n, piece) in self.pieces.iter().enumerate() {
            match piece {
                Piece::Plain(text) if n == 0 && text.starts_with('~') => {
                    let rest = home_relative(text, self.pieces.len() == 1)?;
                    value.push_str(&home(variables)?);
                    value.push_str(rest);
                }
                Piece::Plain(text) if text.contains(":~") => {
                    return Err("`~` behind `:` is read in different ways".into());
                }
                Piece::Plain(text) | Piece::Quoted(text) => value.push_str(text),
                Piece::Variable { name, otherwise, .. } => value.push_str(&replaced(name, otherwise, variables)?),
            }
        }
        Ok(value)
    }

    /// The value of an `export`, which some shells split as they split arguments.
    ///
    /// # Errors
    /// Fails with a reason where shells differ, and as [`Self::value`] does.
    pub(crate) fn exported_value(&self, variables: &Variables<'_>) -> Expanded<String> {
        for piece in &self.pieces {
            match piece {
                Piece::Plain(text) if text.contains(['~', '*', '?', '[']) => {
                    return Err("the value of `export` needs quotation marks".into());
                }
                Piece::Variable { name, otherwise, is_quoted: false } => {
                    let value = replaced(name, otherwise, variables)?;
                    if value.contains([' ', '\t', '\n', '*', '?', '[', '\\', '~']) {
                        return Err(format!("`${name}` needs quotation marks"));
                    }
                }
                _ => {}
            }
        }
        self.value(variables)
    }

    /// Whether the value depends on one of `names`.
    pub(crate) fn names_one_of(&self, names: &[&str]) -> bool {
        let names_it = |piece: &Piece| matches!(piece, Piece::Variable { name, .. } if names.contains(&name.as_str()));
        self.pieces.iter().any(names_it)
    }
}

fn home(variables: &Variables<'_>) -> Expanded<String> {
    variables.value("HOME").ok().flatten().ok_or_else(|| "the home folder (`~`) is not known".to_owned())
}

/// What follows the `~` of `text`.
fn home_relative(text: &str, is_whole: bool) -> Expanded<&str> {
    match &text[1..] {
        "" if is_whole => Ok(""),
        rest if rest.starts_with('/') && !rest.contains(":~") && !rest.contains("=~") => Ok(rest),
        _ => Err("`~` with a name is another user's folder".into()),
    }
}

fn replaced(name: &str, otherwise: &Otherwise, variables: &Variables<'_>) -> Expanded<String> {
    let value = variables.value(name)?;
    let counts = |is_for_empty: bool| value.as_ref().is_some_and(|value| !is_for_empty || !value.is_empty());
    match otherwise {
        Otherwise::Default { text, is_for_empty } if !counts(*is_for_empty) => Ok(text.clone()),
        Otherwise::Instead { text, is_for_empty } if counts(*is_for_empty) => Ok(text.clone()),
        Otherwise::Instead { .. } => Ok(String::new()),
        Otherwise::Nothing if value.is_none() && variables.refuses_unset() => {
            Err(format!("`${name}` is not set, which `set -u` takes for an error"))
        }
        Otherwise::Nothing | Otherwise::Default { .. } => Ok(value.unwrap_or_default()),
    }
}

/// Characters, each with whether it may be a part of a pattern.
type Marked = Vec<(char, bool)>;

/// Puts arguments together.
#[derive(Default)]
struct Splitter {
    done: Vec<Marked>,
    /// The argument under way; an empty one counts where quotation marks stood.
    open: Option<Marked>,
}

impl Splitter {
    fn push(&mut self, text: &str, is_active: bool) {
        let open = self.open.get_or_insert_default();
        open.extend(text.chars().map(|c| (c, is_active)));
    }

    /// The value of a variable outside quotation marks.
    fn split(&mut self, value: &str) {
        for c in value.chars() {
            match c {
                ' ' | '\t' | '\n' => self.done.extend(self.open.take()),
                _ => self.open.get_or_insert_default().push((c, true)),
            }
        }
    }

    fn finished(mut self) -> Expanded<Vec<Field>> {
        self.done.extend(self.open.take());
        self.done.iter().map(|marked| field(marked)).collect()
    }
}

fn field(marked: &[(char, bool)]) -> Expanded<Field> {
    Ok(Field { text: marked.iter().map(|(c, _)| c).collect(), pattern: Pattern::of(marked)? })
}
