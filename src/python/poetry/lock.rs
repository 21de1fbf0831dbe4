//! `poetry.lock`, of versions 2.0 and 2.1.
//!
//! Which of its packages are installed is said in `choice`.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::dependency::{Dependency, dependencies, lists};
use super::error::PoetryError;
use super::project::texts;
use crate::python::normalize_name;

/// A lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoetryLock {
    /// Its packages, in the order of the file; a name may be there several times.
    pub packages: Vec<LockedPackage>,
    /// Whether it tells groups and markers of packages (version 2.1).
    pub(super) has_groups: bool,
    pub(super) content_hash: String,
    pub(super) extras: BTreeSet<String>,
}

/// A package of a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedPackage {
    /// The normalised name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The SHA-256 of each of its files, in hex digits.
    pub hashes: Vec<String>,
    /// The index that it comes from, where that is not the usual one.
    pub index: Option<Index>,
    /// The kind of place that it comes from, where that is no index.
    pub(super) place: Option<String>,
    pub(super) is_optional: bool,
    pub(super) python: String,
    pub(super) groups: BTreeSet<String>,
    /// Markers by group; the empty name stands for all.
    pub(super) markers: BTreeMap<String, String>,
    pub(super) dependencies: Vec<Dependency>,
    pub(super) extras: BTreeMap<String, Vec<String>>,
}

/// An index that a project names.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Index {
    /// Its URL.
    pub url: String,
}

impl PoetryLock {
    /// Reads the text of a `poetry.lock`.
    ///
    /// # Errors
    /// Fails when it is no TOML, of another form, or of a version that is not known.
    pub fn parse(text: &str) -> Result<Self, PoetryError> {
        let syntax = |reason: String| PoetryError::Syntax { file: "poetry.lock", reason };
        let document: Table =
            text.parse().map_err(|error: toml::de::Error| syntax(error.message().replace('\n', ", ")))?;
        let metadata = document.get("metadata").and_then(Value::as_table);
        let metadata = metadata.ok_or_else(|| syntax("it has no metadata".into()))?;
        let said = |key: &str| metadata.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let has_groups = match said("lock-version").as_str() {
            "2.0" => false,
            "2.1" => true,
            version => return Err(PoetryError::LockVersion { version: version.to_owned() }),
        };
        let listed = document.get("package").and_then(Value::as_array).into_iter().flatten();
        let package = |value: &Value| {
            let table = value.as_table().ok_or_else(|| syntax("a package is no table".into()))?;
            LockedPackage::of(table, has_groups)
        };
        Ok(Self {
            packages: listed.map(package).collect::<Result<_, _>>()?,
            has_groups,
            content_hash: said("content-hash"),
            extras: lists(document.get("extras")).into_keys().collect(),
        })
    }
}

impl LockedPackage {
    fn of(table: &Table, has_groups: bool) -> Result<Self, PoetryError> {
        let text = |key: &str| {
            let reason = || PoetryError::Syntax { file: "poetry.lock", reason: format!("a package has no `{key}`") };
            table.get(key).and_then(Value::as_str).map(str::to_owned).ok_or_else(reason)
        };
        let name = text("name")?;
        let groups: BTreeSet<String> = texts(table, "groups").collect();
        if has_groups && groups.is_empty() {
            return Err(PoetryError::Syntax { file: "poetry.lock", reason: format!("`{name}` has no groups") });
        }
        let markers = match table.get("markers") {
            None => BTreeMap::new(),
            Some(Value::String(marker)) => BTreeMap::from([(String::new(), marker.clone())]),
            Some(Value::Table(each)) => {
                each.iter().filter_map(|(group, marker)| Some((group.clone(), marker.as_str()?.to_owned()))).collect()
            }
            Some(other) => return Err(PoetryError::Unread { name, text: other.to_string() }),
        };
        let hash = |file: &Value| {
            let hex = file.get("hash")?.as_str()?.strip_prefix("sha256:")?;
            let is_hex = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
            is_hex.then(|| hex.to_owned())
        };
        let source = table.get("source").and_then(Value::as_table);
        let of_source =
            |key: &str| source.and_then(|source| source.get(key)).and_then(Value::as_str).map(str::to_owned);
        let kind = of_source("type");
        let is_index = kind.as_deref() == Some("legacy");
        let of_dependencies = table.get("dependencies").and_then(Value::as_table);
        Ok(Self {
            version: text("version")?,
            hashes: table.get("files").and_then(Value::as_array).into_iter().flatten().filter_map(hash).collect(),
            index: of_source("url").filter(|_| is_index).map(|url| Index { url }),
            place: source.is_some().then(|| kind.unwrap_or_default()).filter(|_| !is_index),
            is_optional: table.get("optional").and_then(Value::as_bool).unwrap_or(false),
            python: text("python-versions")?,
            groups,
            markers,
            dependencies: of_dependencies.map_or_else(|| Ok(Vec::new()), dependencies)?,
            extras: lists(table.get("extras")),
            name: normalize_name(&name),
        })
    }
}
