//! The effective settings as a run configuration again, each line with where its value comes from.
//!
//! What is printed means what was read, but for values that are masked.

use serde_json::Value;

use super::provenance::{Effective, Origin};
use super::run::RunSettings;

/// Spaces of one level.
const INDENT: usize = 2;
/// The column that origins stand at, unless lines are longer.
const ORIGINS: usize = 56;
/// Characters from which a list gets a line for each item.
const LONG: usize = 60;

impl RunSettings {
    /// The settings as YAML with origins as comments; a step shows what differs from the pipeline. Defaults are shown when
    /// `with_defaults`.
    pub fn to_yaml(&self, with_defaults: bool) -> String {
        let mut page = Page::default();
        if let Some(name) = &self.name {
            page.line(0, &format!("name: {}", flow(&Value::from(name.as_str()))), None);
        }
        let is_shown = |value: &&Effective| with_defaults || value.origin != Origin::Default;
        page.values(0, self.provenance.pipeline.iter().filter(is_shown));
        if !self.provenance.steps.is_empty() {
            page.line(0, "steps:", None);
        }
        for (name, values) in &self.provenance.steps {
            let own: Vec<&Effective> = differing(values, &self.provenance.pipeline).collect();
            let key = flow(&Value::from(name.as_str()));
            if own.is_empty() {
                page.line(INDENT, &format!("{key}: {{}}"), Some("as the pipeline"));
                continue;
            }
            page.line(INDENT, &format!("{key}:"), None);
            page.values(2 * INDENT, own.into_iter());
        }
        page.text()
    }
}

/// The values of a step that the pipeline does not have.
fn differing<'v>(step: &'v [Effective], pipeline: &'v [Effective]) -> impl Iterator<Item = &'v Effective> {
    let is_same =
        |value: &Effective| pipeline.iter().any(|other| other.path == value.path && other.value == value.value);
    step.iter().filter(move |value| !is_same(value))
}

#[derive(Default)]
struct Page {
    lines: Vec<(String, Option<String>)>,
}

impl Page {
    fn line(&mut self, indent: usize, text: &str, comment: Option<&str>) {
        self.lines.push((format!("{:indent$}{text}", ""), comment.map(str::to_owned)));
    }

    /// Values below each other; what paths have in common is written once.
    fn values<'v>(&mut self, indent: usize, values: impl Iterator<Item = &'v Effective>) {
        let mut open: Vec<&str> = Vec::new();
        for value in values {
            let Some((key, parents)) = value.path.split_last() else { continue };
            let shared = open.iter().zip(parents).take_while(|(a, b)| **a == b.as_str()).count();
            open.truncate(shared);
            for parent in &parents[shared..] {
                self.line(indent + open.len() * INDENT, &format!("{}:", flow(&Value::from(parent.as_str()))), None);
                open.push(parent);
            }
            self.value(indent + open.len() * INDENT, key, value);
        }
    }

    fn value(&mut self, indent: usize, key: &str, value: &Effective) {
        let (key, origin) = (flow(&Value::from(key)), value.origin.to_string());
        let text = flow(&value.value);
        match &value.value {
            Value::Array(items) if items.len() > 1 && text.len() > LONG => {
                self.line(indent, &format!("{key}:"), Some(&origin));
                for item in items {
                    self.line(indent, &format!("- {}", flow(item)), None);
                }
            }
            _ => self.line(indent, &format!("{key}: {text}"), Some(&origin)),
        }
    }

    fn text(&self) -> String {
        let commented = self.lines.iter().filter(|(_, comment)| comment.is_some());
        let width = commented.map(|(text, _)| text.chars().count()).filter(|width| *width < ORIGINS).max().unwrap_or(0);
        let line = |(text, comment): &(String, Option<String>)| match comment {
            Some(comment) => format!("{text:width$}  # {comment}"),
            None => text.clone(),
        };
        self.lines.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// A value on one line: JSON, with texts that need no quotes without them.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let field = |(key, value): (&String, &Value)| format!("{}: {}", flow(&key.as_str().into()), flow(value));
            format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

/// Whether every YAML reads the text as itself without quotes.
fn is_plain(text: &str) -> bool {
    const WORDS: [&str; 9] = ["true", "false", "null", "yes", "no", "on", "off", "y", "n"];
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || "/_".contains(c));
    let goes_on = text.chars().all(|c| c.is_ascii_alphanumeric() || "/_.:@=<>+-~".contains(c));
    begins && goes_on && !text.ends_with(':') && !WORDS.contains(&text.to_lowercase().as_str())
}
