//! One value of the settings with its path: what the sections read their keys with.
//!
//! It knows types, not settings.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::error::{Place, Problem, SettingsError, Warning};
use super::substitution::Substitution;
use super::user::Placed;
use super::yaml::{Data, Node, Position, below};

/// What all fields of a file share.
pub(super) struct Reader<'a> {
    pub(super) file: &'a str,
    pub(super) substitution: &'a Substitution,
    pub(super) warnings: RefCell<Vec<Warning>>,
}

/// A value, the key that it stands under, and its dotted path.
#[derive(Clone)]
pub(super) struct Field<'a> {
    reader: &'a Reader<'a>,
    node: &'a Node,
    key: &'a str,
    key_at: Position,
    path: String,
}

type Result<T> = std::result::Result<T, SettingsError>;

impl<'a> Field<'a> {
    /// The field of a whole file.
    pub(super) fn root(reader: &'a Reader<'a>, node: &'a Node) -> Self {
        Self { reader, node, key: "", key_at: node.at, path: String::new() }
    }

    pub(super) fn key(&self) -> &'a str {
        self.key
    }

    /// Whether the value is `null`, which counts as absent.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.node.data, Data::Null)
    }

    /// Whether the value says no more than that there is nothing: `null`, `false`, an empty list or mapping.
    pub(super) fn is_nothing(&self) -> bool {
        match &self.node.data {
            Data::Null | Data::Bool(false) => true,
            Data::List(items) => items.is_empty(),
            Data::Map(entries) => entries.is_empty(),
            Data::Bool(true) | Data::Number { .. } | Data::Text(_) => false,
        }
    }

    /// Whether the value is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.data, Data::List(_))
    }

    /// The fields of a mapping; none for `null`.
    pub(super) fn fields(&self) -> Result<Vec<Self>> {
        match &self.node.data {
            Data::Null => Ok(Vec::new()),
            Data::Map(entries) => Ok(entries
                .iter()
                .map(|entry| Self {
                    reader: self.reader,
                    node: &entry.value,
                    key: &entry.key,
                    key_at: entry.at,
                    path: below(&self.path, &entry.key),
                })
                .collect()),
            _ => Err(self.wrong("a mapping")),
        }
    }

    /// The items of a list; none for `null`.
    pub(super) fn items(&self) -> Result<Vec<Self>> {
        match &self.node.data {
            Data::Null => Ok(Vec::new()),
            Data::List(items) => {
                let item = |(n, node): (usize, &'a Node)| Self {
                    node,
                    key_at: node.at,
                    path: format!("{}[{n}]", self.path),
                    ..self.clone()
                };
                Ok(items.iter().enumerate().map(item).collect())
            }
            _ => Err(self.wrong("a list")),
        }
    }

    /// The text of a text.
    pub(super) fn text(&self) -> Result<String> {
        match &self.node.data {
            Data::Text(text) => self.substituted(text),
            _ => Err(self.wrong("a text")),
        }
    }

    /// The text of a text that may not be empty.
    pub(super) fn filled_text(&self) -> Result<String> {
        let text = self.text()?;
        if text.is_empty() { Err(self.invalid("is empty", None)) } else { Ok(text) }
    }

    /// The text of any scalar; numbers and truth values as Python prints them, with a warning when that is not how they
    /// were written.
    pub(super) fn printed(&self) -> Result<String> {
        match &self.node.data {
            Data::Text(text) => self.substituted(text),
            Data::Number { printed, written } => {
                if is_ambiguous(written) {
                    return Err(self.invalid(
                        &format!("is written `{written}`, a number that versions of YAML read differently"),
                        Some("write it in quotes".to_owned()),
                    ));
                }
                if printed != written {
                    self.warn(&format!(
                        "`{}`: number `{written}` becomes `{printed}`; quotes would keep it",
                        self.path
                    ));
                }
                Ok(printed.clone())
            }
            Data::Bool(value) => {
                let printed = if *value { "True" } else { "False" };
                self.warn(&format!(
                    "`{}`: a truth value becomes `{printed}`, as in Python; write a text in quotes",
                    self.path
                ));
                Ok(printed.to_owned())
            }
            Data::Null | Data::List(_) | Data::Map(_) => Err(self.wrong("a text")),
        }
    }

    /// The text of a text or number, exactly as it was written.
    pub(super) fn written(&self) -> Result<String> {
        match &self.node.data {
            Data::Number { written, .. } => Ok(written.clone()),
            _ => self.text(),
        }
    }

    /// A truth value, in every spelling that pydantic takes.
    pub(super) fn flag(&self) -> Result<bool> {
        let text = match &self.node.data {
            Data::Bool(value) => return Ok(*value),
            Data::Text(text) => self.substituted(text)?,
            Data::Number { written, .. } => written.clone(),
            _ => return Err(self.wrong("a truth value")),
        };
        match text.to_ascii_lowercase().as_str() {
            "1" | "on" | "t" | "true" | "y" | "yes" => Ok(true),
            "0" | "off" | "f" | "false" | "n" | "no" => Ok(false),
            _ => Err(self.wrong("a truth value")),
        }
    }

    /// A whole number that is not negative.
    pub(super) fn count(&self) -> Result<u64> {
        self.written()?.parse().map_err(|_| self.wrong("a whole number"))
    }

    /// The texts of a list.
    pub(super) fn texts(&self) -> Result<Vec<String>> {
        self.items()?.iter().map(Self::text).collect()
    }

    /// The printed values of a mapping.
    pub(super) fn printed_map(&self) -> Result<BTreeMap<String, String>> {
        self.fields()?.iter().map(|field| Ok((field.key.to_owned(), field.printed()?))).collect()
    }

    /// What `parse` makes of the text; its error becomes the reason, unless a variable
    /// took part, whose value may be secret.
    pub(super) fn parsed<T, E: crate::diagnostic::Diagnose>(
        &self,
        parse: impl FnOnce(&str) -> std::result::Result<T, E>,
    ) -> Result<T> {
        let hides = matches!(&self.node.data, Data::Text(text) if text.contains("${"));
        parse(&self.text()?).map_err(|error| {
            let reason = if hides {
                "is not valid once its variables are replaced".to_owned()
            } else {
                format!("is not valid: {error}")
            };
            self.invalid(&reason, error.hint().filter(|_| !hides))
        })
    }

    pub(super) fn warn(&self, text: &str) {
        let warning = Warning { at: self.place(self.key_at), text: text.to_owned() };
        self.reader.warnings.borrow_mut().push(warning);
    }

    pub(super) fn invalid(&self, reason: &str, hint: Option<String>) -> SettingsError {
        self.error(self.node.at, Problem::Value { path: self.path.clone(), reason: reason.to_owned(), hint })
    }

    /// The error of a key that is wrong where it stands.
    pub(super) fn wrong_key(&self, reason: &str, hint: Option<String>) -> SettingsError {
        self.error(self.key_at, Problem::Value { path: self.path.clone(), reason: reason.to_owned(), hint })
    }

    /// A value made of this field, with the field's place.
    pub(super) fn placed<T>(&self, value: T) -> Placed<T> {
        Placed { value, at: self.place(self.node.at), path: self.path.clone() }
    }

    pub(super) fn not_supported(&self, instead: Option<&'static str>) -> SettingsError {
        self.error(self.key_at, Problem::NotSupported { what: self.path.clone(), instead })
    }

    pub(super) fn value_not_supported(&self, value: &str, instead: Option<&'static str>) -> SettingsError {
        let what = format!("{}: {value}", self.path);
        self.error(self.node.at, Problem::NotSupported { what, instead })
    }

    /// The error of a key that is none of `known`.
    pub(super) fn unknown(&self, known: &[&str]) -> SettingsError {
        let likeness = |name: &str| strsim::jaro_winkler(&self.key.to_lowercase(), name);
        let best = known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
        let suggestion = best.filter(|name| likeness(name) > 0.8).map(|name| (*name).to_owned());
        self.error(self.key_at, Problem::Unknown { path: self.path.clone(), suggestion })
    }

    fn wrong(&self, expected: &'static str) -> SettingsError {
        let problem = Problem::Type { path: self.path.clone(), expected, found: self.node.kind() };
        self.error(self.node.at, problem)
    }

    fn substituted(&self, text: &str) -> Result<String> {
        let missing = |name| self.error(self.node.at, Problem::Variable { path: self.path.clone(), name });
        self.reader.substitution.apply(text).map_err(missing)
    }

    fn error(&self, at: Position, problem: Problem) -> SettingsError {
        SettingsError { at: self.place(at), path: self.path.clone(), problem: Box::new(problem) }
    }

    fn place(&self, at: Position) -> Place {
        Place { file: self.reader.file.to_owned(), line: at.line, column: at.column }
    }
}

/// Whether YAML 1.1, which ZenML reads, takes a number for another one: `0755`, `0o17`, `0x1f`.
fn is_ambiguous(written: &str) -> bool {
    let digits = written.trim_start_matches(['-', '+']);
    digits.len() > 1 && digits.starts_with('0') && !digits[1..].starts_with(['.', 'e', 'E'])
}
