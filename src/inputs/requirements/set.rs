//! What requirement files say, with nothing left to include.
//!
//! Expanded variables may be secrets: they stand in the texts for the resolver, but not in `Debug` or in the key.

use std::fmt;

use super::text::without_credentials;

/// All requirements, constraints and options, each in the order of reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequirementSet {
    /// What to install.
    pub requirements: Vec<RequirementLine>,
    /// What versions to install if at all.
    pub constraints: Vec<RequirementLine>,
    /// Options that hold for all lines.
    pub options: Vec<RequirementOption>,
    /// The files that were read, each once, in order of their first inclusion.
    pub files: Vec<RequirementFile>,
}

/// One requirement.
#[derive(Clone, PartialEq, Eq)]
pub struct RequirementLine {
    /// The requirement with its hashes, on one line, without comments, variables expanded.
    pub text: String,
    /// What it names.
    pub kind: LineKind,
    /// The file, relative to the source root where it lies inside.
    pub file: String,
    /// The line where it begins, from 1.
    pub line: usize,
}

/// What a requirement names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// A project on an index (PEP 508).
    Named,
    /// An archive at a URL.
    Url,
    /// A revision in version control.
    Vcs,
    /// A local archive or project folder.
    Path,
    /// A project to install in place.
    Editable,
}

/// One option of the whole set.
#[derive(Clone, PartialEq, Eq)]
pub struct RequirementOption {
    /// The long name, such as `--index-url`.
    pub name: &'static str,
    /// Its value, variables expanded; `None` for a switch.
    pub value: Option<String>,
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
}

/// A requirement file as it lies on disk.
#[derive(Clone, PartialEq, Eq)]
pub struct RequirementFile {
    /// Its path, relative to the source root where it lies inside.
    pub name: String,
    /// Its text.
    pub text: String,
}

impl RequirementSet {
    /// One requirement file that stands for all that were read: options, then requirements.
    pub fn to_text(&self) -> String {
        let options = self.options.iter().map(RequirementOption::text);
        lines(options.chain(self.requirements.iter().map(|line| line.text.clone())))
    }

    /// One constraint file that stands for all that were read.
    pub fn constraints_text(&self) -> String {
        lines(self.constraints.iter().map(|line| line.text.clone()))
    }

    /// What a resolution depends on: no comments, no places, no credentials; the order is kept.
    pub fn key_text(&self) -> String {
        without_credentials(&format!("{}[constraints]\n{}", self.to_text(), self.constraints_text()))
    }
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| line + "\n").collect()
}

impl RequirementOption {
    /// The option as a line of a requirement file.
    pub fn text(&self) -> String {
        match &self.value {
            Some(value) if value.contains([' ', '\t', '"', '\\', '\'']) => {
                format!("{} \"{}\"", self.name, value.replace('\\', "\\\\").replace('"', "\\\""))
            }
            Some(value) => format!("{} {value}", self.name),
            None => self.name.to_owned(),
        }
    }
}

impl fmt::Debug for RequirementLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {:?} {}", self.file, self.line, self.kind, without_credentials(&self.text))
    }
}

impl fmt::Debug for RequirementOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, without_credentials(&self.text()))
    }
}

impl fmt::Debug for RequirementFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.name, self.text.len())
    }
}
