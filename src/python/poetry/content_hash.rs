//! The hash by which Poetry knows whether a lock is that of a project.
//!
//! It is taken over JSON as Python writes it, keys sorted.

use toml::{Table, Value};

use super::error::PoetryError;
use crate::oci::Digest;

const OF_PROJECT: [&str; 3] = ["requires-python", "dependencies", "optional-dependencies"];
/// Those that stand in the text even where they are absent, as `null`.
const ALWAYS: [&str; 4] = ["dependencies", "source", "extras", "dev-dependencies"];

/// The content hash of a project, in hex digits.
///
/// # Errors
/// Fails for a value that Python's JSON has none for, or writes in a way of its own.
pub(super) fn content_hash(document: &Table) -> Result<String, PoetryError> {
    let none = Table::new();
    let project = document.get("project").and_then(Value::as_table).unwrap_or(&none);
    let poetry = document.get("tool").and_then(|tool| tool.get("poetry")).and_then(Value::as_table).unwrap_or(&none);
    let of_project: Vec<(&str, Option<&Value>)> =
        OF_PROJECT.iter().filter_map(|key| Some((*key, Some(project.get(*key)?)))).collect();
    let mut of_poetry: Vec<(&str, Option<&Value>)> = Vec::new();
    for key in ALWAYS {
        let value = poetry.get(key);
        if value.is_some() || of_project.is_empty() {
            of_poetry.push((key, value));
        }
    }
    of_poetry.extend(poetry.get("group").map(|value| ("group", Some(value))));
    let mut text = String::new();
    if of_project.is_empty() {
        write_pairs(&mut text, &of_poetry)?;
    } else {
        text += "{\"project\": ";
        write_pairs(&mut text, &of_project)?;
        text += ", \"tool\": {\"poetry\": ";
        write_pairs(&mut text, &of_poetry)?;
        text += "}}";
    }
    Ok(Digest::of(text.as_bytes()).hex().to_owned())
}

fn write_pairs(text: &mut String, pairs: &[(&str, Option<&Value>)]) -> Result<(), PoetryError> {
    let mut pairs = pairs.to_vec();
    pairs.sort_by_key(|(key, _)| *key);
    text.push('{');
    for (at, (key, value)) in pairs.into_iter().enumerate() {
        *text += if at == 0 { "" } else { ", " };
        write_string(text, key);
        *text += ": ";
        match value {
            Some(value) => write(text, value, key)?,
            None => *text += "null",
        }
    }
    text.push('}');
    Ok(())
}

fn write(text: &mut String, value: &Value, key: &str) -> Result<(), PoetryError> {
    match value {
        Value::String(string) => write_string(text, string),
        Value::Integer(number) => *text += &number.to_string(),
        Value::Boolean(is_on) => *text += if *is_on { "true" } else { "false" },
        Value::Array(values) => {
            text.push('[');
            for (at, value) in values.iter().enumerate() {
                *text += if at == 0 { "" } else { ", " };
                write(text, value, key)?;
            }
            text.push(']');
        }
        Value::Table(table) => {
            let pairs: Vec<_> = table.iter().map(|(key, value)| (key.as_str(), Some(value))).collect();
            write_pairs(text, &pairs)?;
        }
        Value::Float(_) | Value::Datetime(_) => return Err(PoetryError::Key { key: key.to_owned() }),
    }
    Ok(())
}

/// A string with all that is not ASCII escaped.
fn write_string(text: &mut String, string: &str) {
    text.push('"');
    for c in string.chars() {
        match c {
            '"' => *text += "\\\"",
            '\\' => *text += "\\\\",
            '\n' => *text += "\\n",
            '\r' => *text += "\\r",
            '\t' => *text += "\\t",
            '\u{8}' => *text += "\\b",
            '\u{c}' => *text += "\\f",
            ' '..='~' => text.push(c),
            _ => {
                let mut units = [0; 2];
                c.encode_utf16(&mut units).iter().for_each(|unit| *text += &format!("\\u{unit:04x}"));
            }
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_poetry() {
        for (text, expected) in [
            (
                "[tool.poetry]\nname = \"ledger\"\n[tool.poetry.dependencies]\npython = \"^3.11\"\nclick = \"8.1.8\"\n\
                 tabulate = \"0.9.0\"\npyyaml = \"6.0.2\"\n[tool.poetry.group.dev.dependencies]\npytest = \"8.4.1\"\n",
                "e760573dde1b2f68d097730a47210c114f33eacc5f7eb5cf45df1e61bd1a0928",
            ),
            (
                "[project]\nrequires-python = \">=3.11\"\ndependencies = [\"click>=8\", \"h\u{e9}\u{1f40d} \\u0007\"]\n\
                 [tool.poetry.group.dev]\noptional = true\n[tool.poetry.group.dev.dependencies]\na = {version = \"*\"}\n",
                PROJECT_HASH,
            ),
        ] {
            assert_eq!(content_hash(&text.parse().unwrap()).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_json_has_no_form_for_is_refused() {
        let document: Table = "[tool.poetry.extras]\na = 1.5\n".parse().unwrap();
        assert_eq!(content_hash(&document), Err(PoetryError::Key { key: "a".into() }));
    }

    const PROJECT_HASH: &str = "97e44cb53ba8a12f098feb99d998b3dcad698224b575a4ce6f511ca80375740a";
}
