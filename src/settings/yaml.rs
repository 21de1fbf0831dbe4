//! YAML as a tree of positioned nodes, with what PyYAML does for the files that ZenML reads.
//!
//! Merge keys (`<<`) are followed; tags are refused. Scalars follow YAML 1.2's core schema, so `yes` is
//! a text here; `field` takes it for a truth value where one is wanted, and refuses it where both readings fit.

use saphyr::{LoadableYamlNode, MarkedYaml, Marker, Scalar as Value, YamlData};

use super::error::{Place, Problem, SettingsError};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) data: Data,
}

/// Line and column, from one; both are zero for what stands in no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// Which of the reader's sources.
    pub(super) source: usize,
    pub(super) line: usize,
    pub(super) column: usize,
}

#[derive(Clone, Debug)]
pub(super) enum Data {
    Null,
    Bool(bool),
    /// A number: as Python prints it, and as it was written.
    Number {
        printed: String,
        written: String,
    },
    Text {
        text: String,
        /// Whether it stands in the file as it is, without quotes.
        is_plain: bool,
    },
    List(Vec<Node>),
    Map(Vec<Entry>),
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Position,
    pub(super) value: Node,
    /// Whether an entry of another level, which differs in case alone, took its place.
    pub(super) is_shadowed: bool,
}

/// Parses the one document of a file, which is the reader's source number `number`; an empty file is `null`.
pub(super) fn parse(text: &str, file: &str, number: usize) -> Result<Node, SettingsError> {
    let source = Source { file, number, lines: text.lines().collect() };
    let documents = MarkedYaml::load_from_str(text)
        .map_err(|error| source.error(source.position(*error.marker()), "", Problem::Yaml(error.info().to_owned())))?;
    let start = Position { source: number, line: 1, column: 1 };
    match documents.as_slice() {
        [] => Ok(Node { at: start, data: Data::Null }),
        [document] => source.node(document, ""),
        [_, second, ..] => Err(source.error(source.position(second.span.start), "", Problem::Documents)),
    }
}

/// The path of a key below another.
pub(super) fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The truth value that YAML 1.1 takes a word for, and YAML 1.2 does not.
pub(super) fn switch(word: &str) -> Option<bool> {
    match word {
        "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

struct Source<'a> {
    file: &'a str,
    number: usize,
    lines: Vec<&'a str>,
}

impl Source<'_> {
    fn position(&self, marker: Marker) -> Position {
        Position { source: self.number, line: marker.line().max(1), column: marker.col() + 1 }
    }

    fn error(&self, at: Position, path: &str, problem: Problem) -> SettingsError {
        let at = Place { file: self.file.to_owned(), line: at.line, column: at.column };
        SettingsError { at, path: path.to_owned(), problem: Box::new(problem) }
    }

    fn node(&self, yaml: &MarkedYaml<'_>, path: &str) -> Result<Node, SettingsError> {
        let at = self.position(yaml.span.start);
        let data = match &yaml.data {
            YamlData::Value(value) => self.scalar(value, yaml),
            YamlData::Sequence(items) => {
                let item = |(n, item): (usize, _)| self.node(item, &format!("{path}[{n}]"));
                Data::List(items.iter().enumerate().map(item).collect::<Result<_, _>>()?)
            }
            YamlData::Mapping(entries) => Data::Map(self.entries(entries.iter(), path)?),
            YamlData::BadValue if path.is_empty() => Data::Null,
            YamlData::Tagged(..) | YamlData::BadValue | YamlData::Alias(_) | YamlData::Representation(..) => {
                return Err(self.error(at, path, Problem::Tag(path.to_owned())));
            }
        };
        Ok(Node { at, data })
    }

    fn entries<'y>(
        &self,
        entries: impl Iterator<Item = (&'y MarkedYaml<'y>, &'y MarkedYaml<'y>)>,
        path: &str,
    ) -> Result<Vec<Entry>, SettingsError> {
        let mut own: Vec<Entry> = Vec::new();
        let mut merged: Vec<Entry> = Vec::new();
        for (key, value) in entries {
            let at = self.position(key.span.start);
            let Some(name) = self.key(key) else {
                return Err(self.error(at, path, Problem::Key(path.to_owned())));
            };
            let value = self.node(value, &below(path, &name))?;
            match (name.as_str(), value.data) {
                ("<<", Data::Map(entries)) => merged.extend(entries),
                ("<<", Data::List(maps)) if maps.iter().all(|map| matches!(map.data, Data::Map(_))) => {
                    merged.extend(maps.into_iter().flat_map(Node::into_entries));
                }
                (_, _) if own.iter().any(|entry| entry.key == name) => {
                    return Err(self.error(at, path, Problem::Duplicate(below(path, &name))));
                }
                (_, data) => own.push(Entry { key: name, at, value: Node { at: value.at, data }, is_shadowed: false }),
            }
        }
        for entry in merged {
            if !own.iter().any(|known| known.key == entry.key) {
                own.push(entry);
            }
        }
        Ok(own)
    }

    fn key(&self, key: &MarkedYaml<'_>) -> Option<String> {
        match &key.data {
            YamlData::Value(value) => match self.scalar(value, key) {
                Data::Text { text, .. } => Some(text),
                Data::Number { written, .. } => Some(written),
                Data::Bool(_) | Data::Null | Data::List(_) | Data::Map(_) => None,
            },
            _ => None,
        }
    }

    fn scalar(&self, value: &Value<'_>, yaml: &MarkedYaml<'_>) -> Data {
        let number = |printed: String| {
            let written = self.written(yaml, value).unwrap_or_else(|| printed.clone());
            let plain = written.strip_prefix('-').unwrap_or(&written);
            let is_long = !plain.starts_with('0') && plain.bytes().all(|b| b.is_ascii_digit());
            Data::Number { printed: if is_long { written.clone() } else { printed }, written }
        };
        match value {
            Value::Null => Data::Null,
            Value::Boolean(value) => Data::Bool(*value),
            Value::Integer(value) => number(value.to_string()),
            Value::FloatingPoint(float) => match self.written(yaml, value) {
                Some(text) if !is_python_float(&text) => Data::Text { text, is_plain: true },
                _ => number(python_float(float.0)),
            },
            Value::String(text) => {
                Data::Text { text: text.clone().into_owned(), is_plain: self.stands_at(yaml.span.start, text) }
            }
        }
    }

    /// Whether `text` stands at a place of the file as it is.
    fn stands_at(&self, start: Marker, text: &str) -> bool {
        let line = start.line().checked_sub(1).and_then(|line| self.lines.get(line));
        let mut chars = line.map(|line| line.chars().skip(start.col())).into_iter().flatten();
        text.chars().all(|c| chars.next() == Some(c))
    }

    /// The text of a number as it stands in the file; `None` when it comes from an alias.
    fn written(&self, yaml: &MarkedYaml<'_>, value: &Value<'_>) -> Option<String> {
        let (start, end) = (yaml.span.start, yaml.span.end);
        let line = self.lines.get(start.line().checked_sub(1)?).filter(|_| start.line() == end.line())?;
        let length = end.col().checked_sub(start.col())?;
        let written: String = line.chars().skip(start.col()).take(length).collect();
        let written = written.trim().to_owned();
        (Value::parse_from_cow(written.as_str().into()) == *value).then_some(written)
    }
}

impl Node {
    fn into_entries(self) -> Vec<Entry> {
        match self.data {
            Data::Map(entries) => entries,
            _ => Vec::new(),
        }
    }

    /// What the value is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match &self.data {
            Data::Null => "nothing",
            Data::Bool(_) => "a truth value",
            Data::Number { .. } => "a number",
            Data::Text { .. } => "a text",
            Data::List(_) => "a list",
            Data::Map(_) => "a mapping",
        }
    }
}

/// Whether YAML 1.1 as Python reads it takes a float of YAML 1.2 for a number, too: `1e5` is a text there.
fn is_python_float(written: &str) -> bool {
    let plain = written.trim_start_matches(['-', '+']);
    let (digits, exponent) = plain.split_once(['e', 'E']).unwrap_or((plain, "+"));
    let is_whole = plain.bytes().all(|b| b.is_ascii_digit());
    let is_named = [".inf", ".nan"].contains(&plain.to_ascii_lowercase().as_str());
    is_whole || is_named || (digits.contains('.') && exponent.starts_with(['-', '+']))
}

/// A float as Python's `str` prints it.
fn python_float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_owned();
    }
    let text = format!("{value:?}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, power) = exponent.strip_prefix('-').map_or(('+', exponent), |power| ('-', power));
            format!("{digits}e{sign}{power:0>2}").replace(".0e", "e")
        }
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(text: &str) -> Data {
        let node = parse(&format!("a: {text}"), "f", 0).unwrap();
        node.into_entries().remove(0).value.data
    }

    #[test]
    fn numbers_keep_how_they_were_written() {
        for (text, expected) in [
            ("1", ("1", "1")),
            ("-7 # why", ("-7", "-7")),
            ("1.10", ("1.1", "1.10")),
            ("0o17", ("15", "0o17")),
            ("12345678901234567890123", ("12345678901234567890123", "12345678901234567890123")),
            ("1.0e+16", ("1e+16", "1.0e+16")),
            (".inf", ("inf", ".inf")),
        ] {
            let Data::Number { printed, written } = scalar(text) else { panic!("{text} is no number") };
            assert_eq!((printed.as_str(), written.as_str()), expected);
        }
        assert!(matches!(scalar("'1'"), Data::Text { text, is_plain: false } if text == "1"));
        assert!(matches!(scalar("1e16"), Data::Text { text, is_plain: true } if text == "1e16"));
    }

    #[test]
    fn merge_keys_give_way_to_own_keys() {
        let node = parse("base: &b {x: 1, y: 2}\nall:\n  <<: *b\n  y: 3\n", "f", 0).unwrap();
        let Data::Map(mut entries) = node.data else { panic!("no mapping") };
        let all = entries.remove(1).value.into_entries();
        let shown: Vec<_> = all.iter().map(|entry| format!("{}={:?}", entry.key, entry.value.data)).collect();
        assert_eq!(shown.len(), 2);
        assert!(shown[0].starts_with("y=") && shown[0].contains("\"3\"") && shown[1].starts_with("x="), "{shown:?}");
    }
}
