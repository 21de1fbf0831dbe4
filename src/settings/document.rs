//! ZenML's settings as the text that it takes a checksum of: what Python's `json.dumps(..., sort_keys=True)` prints.
//!
//! Types are ZenML's, not ours: a number in `environment` stays one. No checksum is made here.

use std::fmt::Write as _;

use super::error::SettingsError;
use super::field::Field;
use super::table::{DOCKER, Kind, Row};
use super::yaml::{Data, Node, switch};

/// The one field that ZenML leaves out.
const LEFT_OUT: &str = "prevent_build_reuse";

type Result<T> = std::result::Result<T, SettingsError>;

/// The text of `settings.docker`, with every default.
pub(super) fn document(docker: &Field<'_>) -> Result<String> {
    let rows = DOCKER.iter().filter(|row| row.name != LEFT_OUT);
    typed(docker, rows).map(object)
}

/// The text of each row, of the field that is there or of its default.
fn typed<'r>(section: &Field<'_>, rows: impl Iterator<Item = &'r Row>) -> Result<Vec<(String, String)>> {
    let fields = section.fields()?;
    let mut texts = Vec::new();
    for row in rows {
        let text = match fields.iter().find(|field| field.key() == row.name && !field.is_null()) {
            Some(field) => value(field, row.kind)?,
            None if row.default.is_empty() => continue,
            None => row.default.to_owned(),
        };
        texts.push((row.name.to_owned(), text));
    }
    Ok(texts)
}

fn value(field: &Field<'_>, kind: Kind) -> Result<String> {
    match kind {
        Kind::Section(rows) => typed(field, rows.iter()).map(object),
        Kind::Open(rows) => {
            let mut texts = typed(field, rows.iter())?;
            for other in field.fields()? {
                if !rows.iter().any(|row| row.name == other.key()) {
                    texts.push((other.key().to_owned(), raw(&other, other.node())?));
                }
            }
            Ok(object(texts))
        }
        Kind::Flag => Ok(field.flag()?.to_string()),
        Kind::Count(_) => Ok(field.count()?.to_string()),
        Kind::LocalEnvironment if !field.is_list() => match field.text() {
            Ok(text) if text.contains('_') => Ok(string(&text)),
            _ => Ok(field.flag()?.to_string()),
        },
        _ => raw(field, field.node()),
    }
}

/// The text of a value that has no type of its own; `field` knows the variables.
fn raw(field: &Field<'_>, node: &Node) -> Result<String> {
    Ok(match &node.data {
        Data::Null => "null".to_owned(),
        Data::Bool(value) => value.to_string(),
        // Pydantic has no infinity in JSON.
        Data::Number { printed, .. } if printed.ends_with(['f', 'n']) => "null".to_owned(),
        Data::Number { printed, .. } => printed.clone(),
        Data::Text { text, is_plain: true } if switch(text).is_some() => (switch(text) == Some(true)).to_string(),
        Data::Text { text, .. } => string(&field.replaced(text, node.at)?),
        Data::List(items) => {
            let items: Vec<String> = items.iter().map(|item| raw(field, item)).collect::<Result<_>>()?;
            format!("[{}]", items.join(", "))
        }
        Data::Map(entries) => {
            let pair = |entry: &super::yaml::Entry| Ok((entry.key.clone(), raw(field, &entry.value)?));
            object(entries.iter().map(pair).collect::<Result<_>>()?)
        }
    })
}

/// An object with its keys sorted by their characters.
fn object(mut pairs: Vec<(String, String)>) -> String {
    pairs.sort();
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{}: {value}", string(key))).collect();
    format!("{{{}}}", pairs.join(", "))
}

/// A text as Python's JSON prints it, in ASCII alone.
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_printed_in_ascii() {
        for (text, expected) in [
            ("a\"b\\c/d", r#""a\"b\\c/d""#),
            ("\n\r\t\u{8}\u{c}\u{1}\u{7f}", r#""\n\r\t\b\f\u0001\u007f""#),
            ("é\u{2028}😀", r#""\u00e9\u2028\ud83d\ude00""#),
        ] {
            assert_eq!(string(text), expected);
        }
    }
}
