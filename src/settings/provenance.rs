//! Where each effective value comes from.
//!
//! Values that may be secret are not held here: a mask stands in their place.

use serde_json::Value;

use super::error::{Place, SettingsError};
use super::field::Field;
use super::secret::{MASK, is_hidden_name, without_userinfo};
use super::table::{DOCKER, Kind, NATIVE, Row};

/// The values of a pipeline and of its steps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provenance {
    /// Of the pipeline, `settings.docker` first, then `lapstrake`, in the order of the documentation.
    pub pipeline: Vec<Effective>,
    /// Of each step, as for the pipeline; the same paths.
    pub steps: Vec<(String, Vec<Effective>)>,
}

impl Eq for Provenance {}

/// One value that counts.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The key's path, such as `settings`, `docker`, `user`.
    pub path: Vec<String>,
    /// The value; of a secret the mask.
    pub value: Value,
    /// Where it is written.
    pub origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Nobody gave one.
    Default,
    /// A file.
    File(Place),
    /// A flag of the command line, by its name.
    Flag(String),
    /// A variable of the environment, by its name.
    Environment(String),
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(place) => place.fmt(f),
            Self::Flag(name) => f.write_str(name),
            Self::Environment(name) => write!(f, "variable {name}"),
        }
    }
}

/// The values of one level.
pub(super) fn list(docker: &Field<'_>, native: &Field<'_>) -> Result<Vec<Effective>, SettingsError> {
    let mut list = Vec::new();
    section(docker, DOCKER, &["settings", "docker"], &mut list)?;
    section(native, NATIVE, &["lapstrake"], &mut list)?;
    Ok(list)
}

fn section(field: &Field<'_>, rows: &[Row], path: &[&str], list: &mut Vec<Effective>) -> Result<(), SettingsError> {
    let fields = field.fields()?;
    for row in rows {
        let path: Vec<&str> = path.iter().copied().chain([row.name]).collect();
        match fields.iter().find(|field| field.key() == row.name) {
            None => {
                let value = row.default_value();
                list.push(Effective { path: owned(&path), value, origin: Origin::Default });
            }
            Some(field) => value(field, row, &path, list)?,
        }
    }
    Ok(())
}

fn value(field: &Field<'_>, row: &Row, path: &[&str], list: &mut Vec<Effective>) -> Result<(), SettingsError> {
    let origin = field.origin();
    if field.is_null() {
        let value = row.default_value();
        list.push(Effective { path: owned(path), value, origin });
        return Ok(());
    }
    match row.kind {
        Kind::Section(rows) => {
            for inner in field.fields()? {
                if let Some(row) = super::table::find(rows, inner.key()) {
                    value(&inner, row, &below(path, inner.key()), list)?;
                }
            }
        }
        Kind::Open(rows) => {
            for inner in field.fields()? {
                let other = Row { name: "", kind: Kind::Anything, default: "null", about: "", is_deprecated: false };
                let row = super::table::find(rows, inner.key()).unwrap_or(&other);
                value(&inner, row, &below(path, inner.key()), list)?;
            }
        }
        Kind::Variables | Kind::Arguments | Kind::Labels | Kind::Components | Kind::Secrets => {
            for inner in field.fields()? {
                let path = owned(&below(path, inner.key()));
                let value = if is_hidden_name(inner.key()) && !matches!(row.kind, Kind::Secrets) {
                    MASK.into()
                } else {
                    masked(inner.json()?)
                };
                list.push(Effective { path, value, origin: inner.origin() });
            }
        }
        kind => {
            let value = match kind {
                Kind::Flag => field.flag()?.into(),
                Kind::Count(_) => field.count()?.into(),
                Kind::PythonVersion => field.written()?.into(),
                _ => masked(field.json()?),
            };
            list.push(Effective { path: owned(path), value, origin });
        }
    }
    Ok(())
}

/// The value with passwords of URLs masked, and what stands under names of secrets.
fn masked(value: Value) -> Value {
    match value {
        Value::String(text) => without_userinfo(&text, &format!("{MASK}@")).unwrap_or(text).into(),
        Value::Array(items) => items.into_iter().map(masked).collect::<Vec<_>>().into(),
        Value::Object(fields) => {
            let pair = |(key, value): (String, Value)| {
                let value = if is_hidden_name(&key) && value.is_string() { MASK.into() } else { masked(value) };
                (key, value)
            };
            fields.into_iter().map(pair).collect::<serde_json::Map<_, _>>().into()
        }
        other => other,
    }
}

fn below<'p>(path: &[&'p str], key: &'p str) -> Vec<&'p str> {
    path.iter().copied().chain([key]).collect()
}

fn owned(path: &[&str]) -> Vec<String> {
    path.iter().map(|part| (*part).to_owned()).collect()
}
