//! What beats the file: flags, variables of the environment, `--set path=value`.
//!
//! Which flag sets which key is the command line's concern; a step still beats the pipeline, whatever the source.

use super::error::{Place, Problem, SettingsError};
use super::field::suggestion;
use super::yaml::{self, Data, Entry, Node, Position, below};

/// Values that take the place of those of the file, in their order, and how strictly the file is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// Whether a key that is unknown gets a warning instead of an error.
    pub is_lenient: bool,
    /// Whether what looks like a secret is an error instead of a warning.
    pub is_strict: bool,
    changes: Vec<Change>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    path: Vec<String>,
    value: Value,
    source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Text(String),
    Yaml(String),
}

/// Where values are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// In a file.
    File(String),
    /// In a flag of the command line, whose name this is.
    Flag(String),
    /// In a `--set`, whose path this is.
    Set(String),
    /// In a variable of the environment, whose name this is.
    Environment(String),
}

impl Source {
    /// What messages call it.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(name) | Self::Flag(name) => name.clone(),
            Self::Set(path) => format!("--set {path}"),
            Self::Environment(name) => format!("variable `{name}`"),
        }
    }

    /// Whether `${NAME}` is replaced in its values; a shell has done so for flags.
    pub(super) fn has_variables(&self) -> bool {
        matches!(self, Self::File(_) | Self::Set(_))
    }
}

/// The section that a path leads into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// `settings.docker`.
    Docker,
    /// `lapstrake`.
    Native,
    /// `steps.NAME.settings.docker`.
    Step(String),
}

impl Overrides {
    /// Takes nothing yet.
    pub fn new(is_lenient: bool, is_strict: bool) -> Self {
        Self { is_lenient, is_strict, changes: Vec::new() }
    }

    /// Takes a flag's text for the value at `path`, such as `["settings", "docker", "user"]`; `flag` names its origin.
    pub fn flag(&mut self, path: &[&str], value: &str, flag: &str) {
        self.text(path, value, Source::Flag(flag.to_owned()));
    }

    /// Takes the value of a variable of the environment for the value at `path`.
    pub fn variable(&mut self, path: &[&str], value: &str, name: &str) {
        self.text(path, value, Source::Environment(name.to_owned()));
    }

    fn text(&mut self, path: &[&str], value: &str, source: Source) {
        let path = path.iter().map(|part| (*part).to_owned()).collect();
        self.changes.push(Change { path, value: Value::Text(value.to_owned()), source });
    }

    /// Takes a `path=value` as `--set` has it: the value is YAML; `docker.x` is short for `settings.docker.x`, also below
    /// `steps.NAME`. A part of the path that has a dot or an equals sign stands in double quotes.
    ///
    /// # Errors
    /// Fails when there is no `=`, and when the path leads to no settings. The value is looked at with the settings.
    pub fn set(&mut self, assignment: &str) -> Result<(), SettingsError> {
        let (path, value) = assigned(assignment).ok_or_else(|| {
            let name = assignment.split('=').next().unwrap_or_default();
            refused(&format!("--set {name}"), "is not of the form PATH=VALUE", "write `--set docker.user=zen`")
        })?;
        let source = Source::Set(path.iter().fold(String::new(), |path, part| below(&path, part)));
        section(&path, &source.name())?;
        self.changes.push(Change { path, value: Value::Yaml(value.to_owned()), source });
        Ok(())
    }

    /// Where the values come from, in their order.
    pub(super) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.changes.iter().map(|change| &change.source)
    }

    /// Each section with what is put there, in the order given; positions name sources from `first` on.
    pub(super) fn nodes(&self, first: usize) -> Result<Vec<(Section, Node)>, SettingsError> {
        let number = |(n, change): (usize, &Change)| change.node(first + n);
        self.changes.iter().enumerate().map(number).collect()
    }
}

impl Change {
    fn node(&self, source: usize) -> Result<(Section, Node), SettingsError> {
        let name = self.source.name();
        let at = Position { source, line: 0, column: 0 };
        let value = match &self.value {
            Value::Text(text) => Node { at, data: Data::Text { text: text.clone(), is_plain: false } },
            Value::Yaml(text) => placed(yaml::parse(text, &name, source).map_err(|error| nowhere(error, &name))?, at),
        };
        let (section, rest) = section(&self.path, &name)?;
        let within = |inner: Node, key: &String| {
            let entry = Entry { key: key.clone(), at, value: inner, is_shadowed: false };
            Node { at, data: Data::Map(vec![entry]) }
        };
        Ok((section, rest.iter().rev().fold(value, within)))
    }
}

/// The path and the value of an assignment; `None` when it is none.
fn assigned(text: &str) -> Option<(Vec<String>, &str)> {
    let (mut path, mut part, mut is_quoted) = (Vec::new(), String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => is_quoted = !is_quoted,
            '.' if !is_quoted => path.push(std::mem::take(&mut part)),
            '=' if !is_quoted => {
                path.push(part);
                return (!path.iter().any(String::is_empty)).then_some((path, &text[at + 1..]));
            }
            c => part.push(c),
        }
    }
    None
}

/// The section that a path leads into, and the rest of the path.
fn section<'p>(path: &'p [String], name: &str) -> Result<(Section, &'p [String]), SettingsError> {
    let words: Vec<&str> = path.iter().map(String::as_str).collect();
    let (section, used) = match words.as_slice() {
        ["settings", "docker", ..] => (Section::Docker, 2),
        ["docker", ..] => (Section::Docker, 1),
        ["lapstrake", ..] => (Section::Native, 1),
        ["steps" | "step_configurations", step, "settings", "docker", ..] => (Section::Step((*step).to_owned()), 4),
        ["steps" | "step_configurations", step, "docker", ..] => (Section::Step((*step).to_owned()), 3),
        _ => {
            let known = ["settings", "docker", "lapstrake", "steps"];
            let like = words.first().and_then(|word| suggestion(word, known)).filter(|word| *word != words[0]);
            let cure = match like {
                Some(word) => format!("did you mean `{word}`?"),
                None => "begin it with `docker.`, `lapstrake.` or `steps.NAME.docker.`".to_owned(),
            };
            return Err(refused(name, "leads to no settings", &cure));
        }
    };
    match &path[used..] {
        [] => Err(refused(name, "names a whole section", "name one of its keys, as in `docker.user`")),
        rest => Ok((section, rest)),
    }
}

fn refused(name: &str, reason: &str, cure: &str) -> SettingsError {
    let problem = Problem::Value { path: name.to_owned(), reason: reason.to_owned(), hint: Some(cure.to_owned()) };
    let at = Place { file: "command line".to_owned(), line: 0, column: 0 };
    SettingsError { at, path: name.to_owned(), problem: Box::new(problem) }
}

/// The error without a line, of which a flag has none.
fn nowhere(error: SettingsError, name: &str) -> SettingsError {
    SettingsError { at: Place { file: name.to_owned(), line: 0, column: 0 }, ..error }
}

/// The node with one place for all of it.
fn placed(node: Node, at: Position) -> Node {
    let data = match node.data {
        Data::List(items) => Data::List(items.into_iter().map(|item| placed(item, at)).collect()),
        Data::Map(entries) => {
            let entry = |entry: Entry| Entry { at, value: placed(entry.value, at), ..entry };
            Data::Map(entries.into_iter().map(entry).collect())
        }
        scalar => scalar,
    };
    Node { at, data }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnose;

    #[test]
    fn paths_lead_into_sections() {
        for (assignment, section, rest) in [
            ("settings.docker.user=zen", Section::Docker, "user"),
            ("docker.user=a=b", Section::Docker, "user"),
            ("lapstrake.layers.budget=3", Section::Native, "layers|budget"),
            ("steps.train.docker.user=", Section::Step("train".to_owned()), "user"),
            ("step_configurations.\"a.b\".settings.docker.user=x", Section::Step("a.b".to_owned()), "user"),
            ("docker.environment.\"a.b=c\"=x", Section::Docker, "environment|a.b=c"),
        ] {
            let (path, _) = assigned(assignment).unwrap();
            let (found, left) = super::section(&path, "--set").unwrap();
            assert_eq!((found, left.join("|").as_str()), (section, rest), "{assignment}");
        }
    }

    #[test]
    fn what_leads_nowhere_is_refused_without_its_value() {
        for (assignment, expected, cure) in [
            (
                "docker.user",
                "command line: `--set docker.user` is not of the form PATH=VALUE",
                "write `--set docker.user=zen`",
            ),
            ("doker.user=s3cret", "command line: `--set doker.user` leads to no settings", "did you mean `docker`?"),
            (
                "docker={}",
                "command line: `--set docker` names a whole section",
                "name one of its keys, as in `docker.user`",
            ),
            (
                "steps.a.user=x",
                "command line: `--set steps.a.user` leads to no settings",
                "begin it with `docker.`, `lapstrake.` or `steps.NAME.docker.`",
            ),
            (
                "docker..user=x",
                "command line: `--set docker..user` is not of the form PATH=VALUE",
                "write `--set docker.user=zen`",
            ),
        ] {
            let error = Overrides::default().set(assignment).unwrap_err();
            assert_eq!((error.to_string().as_str(), error.hint().as_deref()), (expected, Some(cure)), "{assignment}");
        }
    }
}
