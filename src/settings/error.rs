//! What is wrong with settings, where, and what to write instead.
//!
//! Values are not repeated in messages when they may be secret.

use std::fmt;

use crate::diagnostic::{Class, Diagnose};

/// A position in a file; line and column count from one. What stands in no file, such as a flag, has its name as the file,
/// and line 0.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, as it was named by the caller.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            _ => write!(f, "{}:{}:{}", self.file, self.line, self.column),
        }
    }
}

/// Something to change or know, which does not stop the build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// Where.
    pub at: Place,
    /// What, one line.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.text)
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{at}: {problem}")]
pub struct SettingsError {
    /// Where.
    pub at: Place,
    /// The key, as a dotted path; empty for the whole file.
    pub path: String,
    /// What.
    pub problem: Box<Problem>,
}

/// What is wrong; texts name the dotted path themselves.
#[derive(Debug, PartialEq, Eq)]
pub enum Problem {
    /// The file is not YAML.
    Yaml(String),
    /// The file has more than one document.
    Documents,
    /// A node has a tag of its own, such as `!secret`.
    Tag(String),
    /// A key is no plain text.
    Key(String),
    /// A key stands twice in one mapping.
    Duplicate(String),
    /// A key is unknown.
    Unknown {
        /// The key's path.
        path: String,
        /// The known key that is most like it.
        suggestion: Option<String>,
    },
    /// A value is of a wrong type.
    Type {
        /// The key's path.
        path: String,
        /// What was expected.
        expected: &'static str,
        /// What was found.
        found: &'static str,
    },
    /// A value is of the right type and wrong all the same.
    Value {
        /// The key's path.
        path: String,
        /// Why.
        reason: String,
        /// What to write instead.
        hint: Option<String>,
    },
    /// A `${NAME}` has no value.
    Variable {
        /// The key's path.
        path: String,
        /// The variable's name.
        name: String,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yaml(why) => write!(f, "file is not valid YAML: {why}"),
            Self::Documents => f.write_str("file holds more than one YAML document"),
            Self::Tag(path) => write!(f, "`{path}` has a YAML tag, which is not supported"),
            Self::Key(path) => write!(f, "a key under `{path}` is not a plain text"),
            Self::Duplicate(path) => write!(f, "`{path}` stands twice"),
            Self::Unknown { path, .. } => write!(f, "`{path}` is not a known setting"),
            Self::Type { path, expected, found } if path.is_empty() => {
                write!(f, "file must be {expected}, not {found}")
            }
            Self::Type { path, expected, found } => write!(f, "`{path}` must be {expected}, not {found}"),
            Self::Value { path, reason, .. } => write!(f, "`{path}` {reason}"),
            Self::Variable { path, name } => write!(f, "variable `{name}` in `{path}` is not set"),
        }
    }
}

impl Diagnose for SettingsError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        match &*self.problem {
            Problem::Unknown { suggestion: Some(known), .. } => Some(format!("did you mean `{known}`?")),
            Problem::Unknown { suggestion: None, path } if path.starts_with("settings.docker.") => {
                Some("settings of Lapstrake's own stand under `lapstrake`, at the top of the file".to_owned())
            }
            Problem::Type { expected: "a text", found: "a number" | "a truth value", .. } => {
                Some("write it in quotes".to_owned())
            }
            Problem::Type { expected: "a mapping", .. } => {
                Some("write keys and values below it, as in `parent_image: python:3.12-slim`".to_owned())
            }
            Problem::Value { hint, .. } => hint.clone(),
            Problem::Variable { name, .. } => Some(format!("set `{name}` in the environment of the build")),
            Problem::Duplicate(_) => Some("keep one of the two".to_owned()),
            Problem::Yaml(why) if why.contains("duplicated key") => Some("keep one of the two".to_owned()),
            Problem::Yaml(why) if why.contains("tabs") => Some("indent with spaces".to_owned()),
            Problem::Yaml(_) => Some("look at the indentation, quotes and brackets around that line".to_owned()),
            Problem::Documents => Some("put each configuration into a file of its own".to_owned()),
            _ => None,
        }
    }
}
