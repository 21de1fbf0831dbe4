//! YAML as the ledger's files have it: written so that YAML 1.1 and 1.2 read the same, read without taking texts for
//! numbers.
//!
//! PyYAML, which ZenML uses, speaks YAML 1.1: to it `1e5` is a text and `off` a truth value. Positions are not kept.

use std::fmt::Write as _;

use saphyr::{ScalarStyle, ScanError, Yaml, YamlLoader};
use saphyr_parser::Parser;
use serde_json::Value;

/// Words that some version of YAML takes for something else than a text.
const WORDS: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];

/// Writes a value as a YAML document in block style, its keys in their order.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => write_map(&mut out, members, 0),
        Value::Array(items) if !items.is_empty() => write_list(&mut out, items, 0),
        plain => {
            out.push_str(&scalar(plain));
            out.push('\n');
        }
    }
    out
}

fn write_map(out: &mut String, members: &serde_json::Map<String, Value>, depth: usize) {
    for (at, (key, value)) in members.iter().enumerate() {
        // The first member of a list's item stands behind the dash.
        if at > 0 || !out.ends_with("- ") {
            out.push_str(&"  ".repeat(depth));
        }
        out.push_str(&line(key));
        out.push(':');
        write_member(out, value, depth);
    }
}

fn write_member(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(members) if !members.is_empty() => {
            out.push('\n');
            write_map(out, members, depth + 1);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            write_list(out, items, depth);
        }
        Value::String(text) if is_block(text) => write_block(out, text, depth + 1),
        plain => {
            let _ = writeln!(out, " {}", scalar(plain));
        }
    }
}

fn write_list(out: &mut String, items: &[Value], depth: usize) {
    for item in items {
        let _ = write!(out, "{}- ", "  ".repeat(depth));
        match item {
            Value::Object(members) if !members.is_empty() => write_map(out, members, depth + 1),
            plain => {
                let _ = writeln!(out, "{}", scalar(plain));
            }
        }
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => line(text),
        // Flow style: what stands here is empty, or a list in a list.
        other => other.to_string(),
    }
}

/// A text in one line: as it is when nobody takes it for something else, quoted otherwise.
fn line(text: &str) -> String {
    let is_plain_character = |b: u8| b.is_ascii_alphanumeric() || b"_./@:+=-".contains(&b);
    let begins_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_plain = begins_plain && text.bytes().all(is_plain_character) && !text.ends_with(':');
    if is_plain && !WORDS.contains(&text.to_lowercase().as_str()) {
        return text.to_owned();
    }
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        let _ = match c {
            '"' | '\\' => write!(quoted, "\\{c}"),
            '\n' => write!(quoted, "\\n"),
            ' '..='~' => write!(quoted, "{c}"),
            _ if c.is_alphanumeric() && u32::from(c) <= 0xffff => write!(quoted, "{c}"),
            _ if u32::from(c) <= 0xffff => write!(quoted, "\\u{:04x}", u32::from(c)),
            _ => write!(quoted, "\\U{:08x}", u32::from(c)),
        };
    }
    quoted + "\""
}

/// Whether a text of several lines may stand as it is.
fn is_block(text: &str) -> bool {
    let is_printable = |c: char| matches!(c, ' '..='~' | '\n') || (c.is_alphanumeric() && u32::from(c) <= 0xffff);
    text.trim_end_matches('\n').contains('\n') && !text.starts_with([' ', '\n']) && text.chars().all(is_printable)
}

fn write_block(out: &mut String, text: &str, depth: usize) {
    let kept = text.len() - text.trim_end_matches('\n').len();
    out.push_str([" |-\n", " |\n", " |+\n"][kept.min(2)]);
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        if !line.is_empty() {
            out.push_str(&"  ".repeat(depth));
        }
        out.push_str(line);
        out.push('\n');
    }
}

/// A YAML value whose texts are as they stand in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Null,
    /// A text, a number or a truth value.
    Scalar(String),
    List,
    Map(Vec<(String, Node)>),
}

impl Node {
    pub(super) fn get(&self, key: &str) -> &Node {
        match self {
            Self::Map(members) => members.iter().find(|(name, _)| name == key).map_or(&Node::Null, |(_, node)| node),
            _ => &Node::Null,
        }
    }

    pub(super) fn members(&self) -> &[(String, Node)] {
        match self {
            Self::Map(members) => members,
            _ => &[],
        }
    }
}

/// Reads the first document of a text.
pub(super) fn read(text: &str) -> Result<Node, ScanError> {
    let mut loader = YamlLoader::<Yaml<'_>>::default();
    loader.early_parse(false);
    Parser::new_from_str(text).load(&mut loader, false)?;
    match loader.error() {
        Some(error) => Err(error.clone()),
        None => Ok(loader.into_documents().first().map_or(Node::Null, node)),
    }
}

fn node(yaml: &Yaml<'_>) -> Node {
    match yaml {
        Yaml::Representation(text, ScalarStyle::Plain, _) if matches!(text.as_ref(), "" | "~" | "null") => Node::Null,
        Yaml::Representation(text, ..) => Node::Scalar(text.clone().into_owned()),
        Yaml::Sequence(_) => Node::List,
        Yaml::Mapping(members) => Node::Map(members.iter().filter_map(member).collect()),
        Yaml::Tagged(_, inner) => node(inner),
        Yaml::Value(_) | Yaml::Alias(_) | Yaml::BadValue => Node::Null,
    }
}

fn member((key, value): (&Yaml<'_>, &Yaml<'_>)) -> Option<(String, Node)> {
    match key {
        Yaml::Representation(text, ..) => Some((text.clone().into_owned(), node(value))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What a YAML 1.2 reader and ours make of what was written.
    fn read_back(text: &str) -> (Option<String>, Node) {
        use saphyr::LoadableYamlNode as _;
        let written = to_yaml(&json!({"a": {"b": text}, "c": [1]}));
        let strict = Yaml::load_from_str(&written).unwrap();
        let strict = strict[0]["a"]["b"].as_str().map(str::to_owned);
        (strict, read(&written).unwrap().get("a").get("b").clone())
    }

    #[test]
    fn texts_come_back_as_they_were() {
        for text in [
            "",
            "plain",
            "off",
            "Yes",
            "null",
            "~",
            "1.10",
            "12e4",
            "0x1f",
            "a: b",
            "a:",
            "# no",
            "- a",
            "tail ",
            "é",
            "🦀",
            "\u{7f}\u{85}",
            "FROM a\nRUN b",
            "FROM a\n\n  RUN b\n",
            "a\n\n\n",
            " a\nb",
            "\na",
            "a\tb\nc",
            "\n",
            "a\r\nb",
            "x # y\nz: \"w\"\n",
            "localhost:5000/a@sha256:00",
        ] {
            let whole = text.to_owned();
            assert_eq!(read_back(text), (Some(whole.clone()), Node::Scalar(whole)), "{text:?}");
        }
    }

    #[test]
    fn documents_are_in_block_style() {
        let value =
            json!({"builds": [{"id": "ab", "images": {"k": {"x": null}}}, {"id": "1e5"}], "none": {}, "text": "a\nb"});
        assert_eq!(
            to_yaml(&value),
            "builds:\n- id: ab\n  images:\n    k:\n      x: null\n- id: \"1e5\"\nnone: {}\ntext: |-\n  a\n  b\n"
        );
    }

    #[test]
    fn plain_digits_stay_the_text_that_they_are() {
        let found = read("a: 12345678e01\nb: '~'\nc: ~\nd: 007\n").unwrap();
        let scalar = |text: &str| Node::Scalar(text.to_owned());
        assert_eq!(found.get("a"), &scalar("12345678e01"));
        assert_eq!((found.get("b"), found.get("c"), found.get("d")), (&scalar("~"), &Node::Null, &scalar("007")));
    }
}
