//! One value of the settings with its path: what the sections read their keys with.
//!
//! It knows types, not settings.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::error::{Place, Problem, SettingsError, Warning};
use super::overrides::Source;
use super::provenance::Origin;
use super::secret::without_userinfo;
use super::substitution::Substitution;
use super::user::Placed;
use super::yaml::{Data, Node, Position, below, switch};

/// What all fields of a file share.
pub(super) struct Reader<'a> {
    /// The file, and what beats it; positions count them.
    pub(super) sources: Vec<Source>,
    pub(super) substitution: &'a Substitution,
    /// Whether a key that is unknown gets a warning instead of an error.
    pub(super) is_lenient: bool,
    pub(super) warnings: RefCell<Vec<Warning>>,
}

impl<'a> Reader<'a> {
    /// The reader of a file alone.
    pub(super) fn of(file: &str, substitution: &'a Substitution) -> Self {
        let sources = vec![Source::File(file.to_owned())];
        Self { sources, substitution, is_lenient: false, warnings: RefCell::new(Vec::new()) }
    }

    pub(super) fn place(&self, at: Position) -> Place {
        let file = self.sources.get(at.source).map(Source::name).unwrap_or_default();
        Place { file, line: at.line, column: at.column }
    }

    pub(super) fn warn(&self, at: Position, text: &str) {
        let warning = Warning { at: self.place(at), text: text.to_owned() };
        self.warnings.borrow_mut().push(warning);
    }

    /// The text with its variables replaced, if its source knows any.
    pub(super) fn replaced(&self, text: &str, at: Position) -> std::result::Result<String, String> {
        match self.sources.get(at.source) {
            Some(source) if !source.has_variables() => Ok(text.to_owned()),
            _ => self.substitution.apply(text),
        }
    }
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

    /// The field of a part of a file.
    pub(super) fn part(reader: &'a Reader<'a>, node: &'a Node, path: &str) -> Self {
        Self { path: path.to_owned(), ..Self::root(reader, node) }
    }

    pub(super) fn node(&self) -> &'a Node {
        self.node
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn key(&self) -> &'a str {
        self.key
    }

    /// Whether the value is `null`, which counts as absent.
    pub(super) fn is_null(&self) -> bool {
        matches!(self.node.data, Data::Null)
    }

    /// Whether the value is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.data, Data::List(_))
    }

    /// Whether the value is a mapping.
    pub(super) fn is_map(&self) -> bool {
        matches!(self.node.data, Data::Map(_))
    }

    /// The fields of a mapping; none for `null`.
    pub(super) fn fields(&self) -> Result<Vec<Self>> {
        match &self.node.data {
            Data::Null => Ok(Vec::new()),
            Data::Map(entries) => Ok(entries
                .iter()
                .filter(|entry| !entry.is_shadowed)
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

    /// The node of a mapping or of `null`.
    pub(super) fn mapping(&self) -> Result<&'a Node> {
        self.fields().map(|_| self.node)
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
            Data::Text { text, .. } => self.substituted(text),
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
            Data::Text { text, is_plain: true } if is_read_otherwise(text) => {
                Err(self.ambiguous(&format!("is written `{text}`, which is no text for YAML 1.1, which ZenML reads")))
            }
            Data::Text { text, .. } => self.substituted(text),
            Data::Number { printed, written } => {
                if is_ambiguous(written) {
                    let reason = format!("is written `{written}`, a number that versions of YAML read differently");
                    return Err(self.ambiguous(&reason));
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

    /// As `printed`, without its warnings and refusals; empty for what is no scalar.
    pub(super) fn printed_quietly(&self) -> Result<String> {
        match &self.node.data {
            Data::Text { text, .. } => self.substituted(text),
            Data::Number { printed, .. } => Ok(printed.clone()),
            Data::Bool(true) => Ok("True".to_owned()),
            Data::Bool(false) => Ok("False".to_owned()),
            Data::Null | Data::List(_) | Data::Map(_) => Ok(String::new()),
        }
    }

    /// Whether the text as it is written has a URL with user or password.
    pub(super) fn is_written_url(&self) -> bool {
        matches!(&self.node.data, Data::Text { text, .. } if !text.contains("${") && without_userinfo(text, "").is_some())
    }

    /// Where the value comes from.
    pub(super) fn origin(&self) -> Origin {
        match self.reader.sources.get(self.node.at.source) {
            Some(Source::Environment(name)) => Origin::Environment(name.clone()),
            Some(source @ (Source::Flag(_) | Source::Set(_))) => Origin::Flag(source.name()),
            Some(Source::File(_)) | None => Origin::File(self.reader.place(self.node.at)),
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
            Data::Text { text, .. } => self.substituted(text)?,
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

    /// The texts of a list, none of them empty.
    pub(super) fn filled_texts(&self) -> Result<Vec<String>> {
        self.items()?.iter().map(Self::filled_text).collect()
    }

    /// One of `words`.
    pub(super) fn choice(&self, words: &[&'static str]) -> Result<&'static str> {
        let text = self.text()?;
        words.iter().find(|word| **word == text).copied().ok_or_else(|| {
            let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            let (last, others) =
                quoted.split_last().map(|(last, others)| (last.as_str(), others.join(", "))).unwrap_or_default();
            self.invalid(&format!("must be {others} or {last}"), None)
        })
    }

    /// The text of any scalar, as `printed` has it; `None` for `null`.
    pub(super) fn printed_or_null(&self) -> Result<Option<String>> {
        if self.is_null() { Ok(None) } else { self.printed().map(Some) }
    }

    /// The value as JSON, with its variables replaced.
    pub(super) fn json(&self) -> Result<serde_json::Value> {
        Ok(match &self.node.data {
            Data::Null => serde_json::Value::Null,
            Data::Bool(value) => (*value).into(),
            Data::Number { printed, .. } => {
                printed.parse::<serde_json::Number>().map_or_else(|_| printed.as_str().into(), Into::into)
            }
            Data::Text { text, is_plain: true } if switch(text).is_some() => switch(text).into(),
            Data::Text { text, .. } => self.substituted(text)?.into(),
            Data::List(_) => self.items()?.iter().map(Self::json).collect::<Result<Vec<_>>>()?.into(),
            Data::Map(_) => {
                let pair = |field: &Self| Ok((field.key.to_owned(), field.json()?));
                self.fields()?.iter().map(pair).collect::<Result<serde_json::Map<_, _>>>()?.into()
            }
        })
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
        let hides = matches!(&self.node.data, Data::Text { text, .. } if text.contains("${"));
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
        self.reader.warn(self.key_at, text);
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
        Placed { value, at: self.reader.place(self.node.at), path: self.path.clone() }
    }

    /// Refuses a key that is none of `known`; a lenient reader warns.
    pub(super) fn unknown<'k>(&self, known: impl IntoIterator<Item = &'k str>) -> Result<()> {
        let problem = Problem::Unknown { path: self.path.clone(), suggestion: suggestion(self.key, known) };
        if self.reader.is_lenient {
            self.warn(&format!("{problem}, and is passed over"));
            return Ok(());
        }
        Err(self.error(self.key_at, problem))
    }

    fn wrong(&self, expected: &'static str) -> SettingsError {
        let problem = Problem::Type { path: self.path.clone(), expected, found: self.node.kind() };
        self.error(self.node.at, problem)
    }

    fn ambiguous(&self, reason: &str) -> SettingsError {
        self.invalid(reason, Some("write it in quotes".to_owned()))
    }

    fn substituted(&self, text: &str) -> Result<String> {
        self.replaced(text, self.node.at)
    }

    /// A text of this field, or of what is below it, with its variables replaced.
    pub(super) fn replaced(&self, text: &str, at: Position) -> Result<String> {
        let missing = |name| self.error(at, Problem::Variable { path: self.path.clone(), name });
        self.reader.replaced(text, at).map_err(missing)
    }

    fn error(&self, at: Position, problem: Problem) -> SettingsError {
        SettingsError { at: self.reader.place(at), path: self.path.clone(), problem: Box::new(problem) }
    }
}

/// The known key that is most like `key`, if any is like it.
pub(super) fn suggestion<'k>(key: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    let key = key.to_lowercase();
    let likeness = |name: &str| strsim::jaro_winkler(&key, name);
    let best = known.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    best.filter(|name| likeness(name) > 0.8).map(str::to_owned)
}

/// Whether YAML 1.1, which ZenML reads, takes a number for another one: `0755`, `0o17`, `0x1f`.
fn is_ambiguous(written: &str) -> bool {
    let digits = written.trim_start_matches(['-', '+']);
    digits.len() > 1 && digits.starts_with('0') && !digits[1..].starts_with(['.', 'e', 'E'])
}

/// Whether YAML 1.1, which ZenML reads, takes a text without quotes for something else: `yes`, `1_000`, `22:30`.
fn is_read_otherwise(text: &str) -> bool {
    let is_digits = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_digit()) && !part.contains(|c: char| !c.is_ascii_digit() && c != '_')
    };
    let number = text.strip_prefix(['-', '+']).unwrap_or(text);
    let mut parts = number.split(':');
    let begins = parts.next().is_some_and(is_digits);
    let is_number = begins && parts.all(|part| is_digits(part) && part.parse::<u8>().is_ok_and(|part| part < 60));
    is_number || switch(text).is_some()
}
