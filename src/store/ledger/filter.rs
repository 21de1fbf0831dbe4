//! What one filter of a list asks of one column, in ZenML's words: `startswith:train`, `gt:2026-01-01`.
//!
//! Knows nothing of SQL; that is `query`'s.

use std::fmt;
use std::str::FromStr;

use super::moment::Moment;
use crate::diagnostic::{Class, Diagnose};

/// What a list can be filtered and sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Column {
    /// The build's name.
    Id,
    /// When it ended.
    Created,
    /// The pipeline.
    Pipeline,
    /// The stack.
    Stack,
    /// ZenML's checksum of the stack.
    StackChecksum,
    /// Lapstrake's version.
    LapstrakeVersion,
    /// Python's version.
    PythonVersion,
    /// ZenML's version.
    ZenmlVersion,
    /// ZenML's checksum of the build.
    Checksum,
    /// Whether an image is in no registry.
    IsLocal,
    /// Whether an image holds the project's files.
    ContainsCode,
    /// Any of the images.
    Image,
    /// Seconds.
    Duration,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Id,
    Version,
    Time,
    Flag,
    Number,
}

impl Column {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Id,
        Self::Created,
        Self::Pipeline,
        Self::Stack,
        Self::StackChecksum,
        Self::LapstrakeVersion,
        Self::PythonVersion,
        Self::ZenmlVersion,
        Self::Checksum,
        Self::IsLocal,
        Self::ContainsCode,
        Self::Image,
        Self::Duration,
    ];

    /// Its name, as in ZenML.
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "id",
            Self::Created => "created",
            Self::Pipeline => "pipeline",
            Self::Stack => "stack",
            Self::StackChecksum => "stack_checksum",
            Self::LapstrakeVersion => "lapstrake_version",
            Self::PythonVersion => "python_version",
            Self::ZenmlVersion => "zenml_version",
            Self::Checksum => "checksum",
            Self::IsLocal => "is_local",
            Self::ContainsCode => "contains_code",
            Self::Image => "image",
            Self::Duration => "duration",
        }
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::Id => Kind::Id,
            Self::Created => Kind::Time,
            Self::LapstrakeVersion | Self::PythonVersion | Self::ZenmlVersion => Kind::Version,
            Self::IsLocal | Self::ContainsCode => Kind::Flag,
            Self::Duration => Kind::Number,
            Self::Pipeline | Self::Stack | Self::StackChecksum | Self::Checksum | Self::Image => Kind::Text,
        }
    }
}

impl fmt::Display for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Column {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let plain = text.replace('-', "_");
        let found = Self::ALL.into_iter().find(|column| column.name() == plain);
        found.ok_or_else(|| FilterError::Column {
            text: text.to_owned(),
            near: nearest(&plain, Self::ALL.map(Self::name)),
        })
    }
}

/// How a value is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Equals,
    NotEquals,
    Contains,
    NotContains,
    StartsWith,
    EndsWith,
    OneOf,
    NotOneOf,
    IsNull,
    IsNotNull,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    /// Between two values, both included.
    In,
}

const OPERATIONS: [(&str, Operation); 15] = [
    ("equals", Operation::Equals),
    ("notequals", Operation::NotEquals),
    ("contains", Operation::Contains),
    ("notcontains", Operation::NotContains),
    ("startswith", Operation::StartsWith),
    ("endswith", Operation::EndsWith),
    ("oneof", Operation::OneOf),
    ("notoneof", Operation::NotOneOf),
    ("isnull", Operation::IsNull),
    ("isnotnull", Operation::IsNotNull),
    ("gt", Operation::Greater),
    ("gte", Operation::GreaterOrEqual),
    ("lt", Operation::Less),
    ("lte", Operation::LessOrEqual),
    ("in", Operation::In),
];

/// A value of a filter, as its column holds it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Text(String),
    Number(f64),
    Flag(bool),
}

/// One condition on one column.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    pub(super) column: Column,
    pub(super) operation: Operation,
    pub(super) operands: Vec<Operand>,
}

/// Why a text is no filter.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum FilterError {
    /// The word before the colon is nearly one that compares.
    #[error("`{text}`: there is no `{word}:`")]
    Operation {
        /// The filter.
        text: String,
        /// Its first word.
        word: String,
        /// What was probably meant.
        near: &'static str,
    },
    /// The column cannot be compared so.
    #[error("`{column}` cannot be asked for `{operation}:`")]
    Unfit {
        /// The column.
        column: Column,
        /// The word.
        operation: &'static str,
    },
    /// The value is not what the column holds.
    #[error("`{text}` is not {kind}, which `{column}` is compared with")]
    Value {
        /// The column.
        column: Column,
        /// The value.
        text: String,
        /// What it would have to be.
        kind: &'static str,
    },
    /// There is no such column.
    #[error("there is no column `{text}`")]
    Column {
        /// What was asked for.
        text: String,
        /// What was probably meant.
        near: Option<&'static str>,
    },
    /// The word before the colon is no direction.
    #[error("`{0}` is neither `asc` nor `desc`")]
    Direction(String),
}

impl Diagnose for FilterError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Operation { text, word, near } => {
                format!("did you mean `{near}:`? Write `equals:{text}` if `{word}:` belongs to the value")
            }
            Self::Unfit { .. } => {
                "texts take all words; times, versions and numbers `equals:`, `gt:`, `gte:`, `lt:`, `lte:` and \
                 `in:A,B`; truth values `equals:` and `notequals:`"
                    .to_owned()
            }
            Self::Value { kind, .. } if *kind == TIME => {
                "write `2026-01-31`, `2026-01-31 12:30:00` or `2026-01-31T12:30:00Z`; it is UTC".to_owned()
            }
            Self::Value { kind, .. } if *kind == LIST => "write `oneof:[\"a\", \"b\"]` or `oneof:a,b`".to_owned(),
            Self::Value { .. } => "see `lapstrake builds list --help`".to_owned(),
            Self::Column { near: Some(near), .. } => format!("did you mean `{near}`?"),
            Self::Column { near: None, .. } => format!("there are {}", Column::ALL.map(Column::name).join(", ")),
            Self::Direction(_) => "write `desc:created`".to_owned(),
        })
    }
}

const TIME: &str = "a point in time";
const LIST: &str = "a list";

impl Filter {
    /// Parses `WORD:VALUE`; a text without a word that compares is the value itself.
    ///
    /// # Errors
    /// Fails when the word is misspelt, or the column cannot be compared with the value.
    pub fn parse(column: Column, text: &str) -> Result<Self, FilterError> {
        let word = text.split_once(':');
        let known = word.and_then(|(word, value)| Some((OPERATIONS.iter().find(|(name, _)| *name == word)?, value)));
        let ((name, operation), value) = match (known, word) {
            (Some(((name, operation), value)), _) => ((*name, *operation), value),
            (None, Some((word, _))) if let Some(near) = nearest(word, OPERATIONS.map(|(name, _)| name)) => {
                return Err(FilterError::Operation { text: text.to_owned(), word: word.to_owned(), near });
            }
            _ => (("equals", Operation::Equals), text),
        };
        if !fits(column.kind(), operation) {
            return Err(FilterError::Unfit { column, operation: name });
        }
        let refused = |kind| FilterError::Value { column, text: value.to_owned(), kind };
        let texts = match operation {
            Operation::IsNull | Operation::IsNotNull if value.is_empty() => Vec::new(),
            Operation::IsNull | Operation::IsNotNull => return Err(refused("nothing")),
            Operation::OneOf | Operation::NotOneOf => list(value).ok_or_else(|| refused(LIST))?,
            Operation::In => match value.split_once(',') {
                Some((low, high)) => vec![low.trim().to_owned(), high.trim().to_owned()],
                None => return Err(refused("two values with a comma")),
            },
            _ => vec![value.to_owned()],
        };
        let operands = texts.iter().map(|text| operand(column, operation, text)).collect::<Result<_, _>>()?;
        Ok(Self { column, operation, operands })
    }
}

fn fits(kind: Kind, operation: Operation) -> bool {
    use Operation::{
        Contains, EndsWith, Equals, IsNotNull, IsNull, NotContains, NotEquals, NotOneOf, OneOf, StartsWith,
    };
    match kind {
        Kind::Text | Kind::Id | Kind::Version => true,
        Kind::Time => !matches!(operation, EndsWith | NotContains | OneOf | NotOneOf),
        Kind::Number => !matches!(operation, Contains | NotContains | StartsWith | EndsWith),
        Kind::Flag => matches!(operation, Equals | NotEquals | IsNull | IsNotNull),
    }
}

/// ZenML's lists are JSON; a plain list with commas is taken too.
fn list(text: &str) -> Option<Vec<String>> {
    if !text.trim_start().starts_with('[') {
        return Some(text.split(',').map(|item| item.trim().to_owned()).collect());
    }
    let items: Vec<serde_json::Value> = serde_json::from_str(text).ok()?;
    let text = |item: serde_json::Value| match item {
        serde_json::Value::String(text) => text,
        other => other.to_string(),
    };
    Some(items.into_iter().map(text).collect())
}

fn operand(column: Column, operation: Operation, text: &str) -> Result<Operand, FilterError> {
    let refused = |kind| FilterError::Value { column, text: text.to_owned(), kind };
    let is_part = matches!(operation, Operation::StartsWith | Operation::Contains);
    Ok(match column.kind() {
        Kind::Id => Operand::Text(text.replace('-', "").to_lowercase()),
        Kind::Text | Kind::Version => Operand::Text(text.to_owned()),
        Kind::Time if is_part => Operand::Text(text.replace(' ', "T")),
        Kind::Time => {
            let moment = Moment::parse(text).ok_or_else(|| refused(TIME))?;
            // A date is all of that day, and a second all of it, where they are compared for being the same.
            let is_same = matches!(operation, Operation::Equals | Operation::NotEquals);
            Operand::Text(match (is_same, text.len()) {
                (true, 10) => text.to_owned(),
                (true, _) => moment.seconds().to_owned(),
                (false, _) => moment.to_string(),
            })
        }
        Kind::Number => {
            let number = text.parse::<f64>().ok().filter(|number| number.is_finite());
            Operand::Number(number.ok_or_else(|| refused("a number"))?)
        }
        Kind::Flag => Operand::Flag(match text.trim().to_lowercase().as_str() {
            "true" | "yes" | "y" | "on" | "1" => true,
            "false" | "no" | "n" | "off" | "0" => false,
            _ => return Err(refused("`true` or `false`")),
        }),
    })
}

/// The name that a misspelt word is nearly, when there is one.
fn nearest<const N: usize>(word: &str, names: [&'static str; N]) -> Option<&'static str> {
    let likeness = |name: &&str| strsim::jaro_winkler(word, name);
    let best = names.into_iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(&best) > 0.85).then_some(best)
}

/// By what a list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    /// The column.
    pub column: Column,
    /// From the largest to the smallest.
    pub descending: bool,
}

impl FromStr for Sort {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        let (direction, column) = text.split_once(':').unwrap_or(("asc", text));
        let descending = match direction {
            "asc" => false,
            "desc" => true,
            other => return Err(FilterError::Direction(other.to_owned())),
        };
        Ok(Self { column: column.parse()?, descending })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_words_get_a_suggestion_and_others_belong_to_the_value() {
        let wrong = Filter::parse(Column::Pipeline, "contians:train").unwrap_err();
        assert_eq!(wrong.to_string(), "`contians:train`: there is no `contians:`");
        assert!(wrong.hint().unwrap().starts_with("did you mean `contains:`?"));
        let image = Filter::parse(Column::Image, "localhost:5000/app").unwrap();
        assert_eq!(image.operands, [Operand::Text("localhost:5000/app".to_owned())]);
        assert_eq!("strak".parse::<Column>().unwrap_err().hint().unwrap(), "did you mean `stack`?");
    }

    #[test]
    fn values_are_held_against_their_columns() {
        for (column, text, message) in [
            (Column::Created, "gt:yesterday", "`yesterday` is not a point in time, which `created` is compared with"),
            (Column::Duration, "lt:soon", "`soon` is not a number, which `duration` is compared with"),
            (Column::IsLocal, "maybe", "`maybe` is not `true` or `false`, which `is_local` is compared with"),
            (Column::IsLocal, "gt:true", "`is_local` cannot be asked for `gt:`"),
            (Column::Stack, "isnull:x", "`x` is not nothing, which `stack` is compared with"),
            (Column::Stack, "oneof:[1", "`[1` is not a list, which `stack` is compared with"),
            (
                Column::Created,
                "in:2026-01-01",
                "`2026-01-01` is not two values with a comma, which `created` is compared with",
            ),
        ] {
            assert_eq!(Filter::parse(column, text).unwrap_err().to_string(), message);
        }
    }
}
