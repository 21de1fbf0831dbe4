//! `pyproject.toml` as Poetry reads it: groups, extras, sources, and the hash that a lock is held against.
//!
//! What a key of another tool says is not looked at.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

use super::content_hash::content_hash;
use super::dependency::{Dependency, dependencies, lists};
use super::error::PoetryError;
use super::version::Constraint;
use crate::python::normalize_name;

/// The name of the group that is none: what the project itself depends on.
pub(super) const MAIN: &str = "main";

/// A project of Poetry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoetryProject {
    /// Its name as written.
    pub name: String,
    /// Whether it is a package, which `poetry install` installs unless told otherwise.
    pub is_package: bool,
    /// Groups by name, the project's own dependencies among them as `main`.
    pub groups: BTreeMap<String, Group>,
    /// The names of what each extra asks for, by its normalised name.
    pub extras: BTreeMap<String, BTreeSet<String>>,
    /// The constraints of Python, all of which have to hold.
    pub python: Vec<String>,
    /// The version of Poetry that it asks for.
    pub requires_poetry: Option<String>,
    pub(super) content_hash: String,
}

/// A group of dependencies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Whether it is left out unless it is named.
    pub is_optional: bool,
    /// Its dependencies.
    pub dependencies: Vec<Dependency>,
}

/// Keys that change what is installed in ways that are not worked out.
const REFUSED: [&str; 2] = ["requires-plugins", "build-constraints"];

impl PoetryProject {
    /// Reads the text of a `pyproject.toml`.
    ///
    /// # Errors
    /// Fails when it is no TOML, and for what is not worked out.
    pub fn parse(text: &str) -> Result<Self, PoetryError> {
        let syntax = |error: toml::de::Error| PoetryError::Syntax {
            file: "pyproject.toml",
            reason: error.message().trim().replace('\n', ", "),
        };
        let document: Table = text.parse().map_err(syntax)?;
        let none = Table::new();
        let table = |value: Option<&Value>| value.and_then(Value::as_table).unwrap_or(&none).clone();
        let project = table(document.get("project"));
        let poetry = table(document.get("tool").and_then(|tool| tool.get("poetry")));
        let key = |key: &str| Err(PoetryError::Key { key: key.to_owned() });
        if let Some(refused) = REFUSED.iter().find(|key| poetry.contains_key(**key)) {
            return key(&format!("tool.poetry.{refused}"));
        }
        if document.contains_key("dependency-groups") {
            return key("dependency-groups");
        }
        if project
            .get("dynamic")
            .and_then(Value::as_array)
            .is_some_and(|dynamic| dynamic.iter().filter_map(Value::as_str).any(|name| name.ends_with("dependencies")))
            && (project.contains_key("dependencies") || project.contains_key("optional-dependencies"))
        {
            return key("project.dynamic");
        }
        let text = |key: &str| project.get(key).or_else(|| poetry.get(key)).and_then(Value::as_str).map(str::to_owned);
        let of_python = poetry.get("dependencies").and_then(|table| table.get("python"));
        let python = [project.get("requires-python"), of_python].into_iter().flatten();
        let python = python.map(|value| match value {
            Value::String(text) => Ok(text.clone()),
            _ => Err(PoetryError::Unread { name: "python".into(), text: value.to_string() }),
        });
        let (main, extras) = main(&project, &poetry)?;
        let mut groups = groups(&poetry)?;
        groups.insert(MAIN.to_owned(), main);
        Ok(Self {
            name: text("name").unwrap_or_else(|| "non-package-mode".to_owned()),
            is_package: poetry.get("package-mode").and_then(Value::as_bool).unwrap_or(true),
            groups,
            extras,
            python: python.collect::<Result<_, _>>()?,
            requires_poetry: poetry.get("requires-poetry").and_then(Value::as_str).map(str::to_owned),
            content_hash: content_hash(&document)?,
        })
    }

    /// Whether the project is for Poetry `version`; `None` when its constraint is not understood.
    pub fn is_for(&self, version: &pep440_rs::Version) -> Option<bool> {
        let Some(constraint) = &self.requires_poetry else { return Some(true) };
        Some(Constraint::parse(constraint)?.allows(version))
    }
}

type Extras = BTreeMap<String, BTreeSet<String>>;

/// The texts of the list `key`; none where it is absent.
pub(super) fn texts<'a>(table: &'a Table, key: &str) -> impl Iterator<Item = String> + use<'a> {
    let list = table.get(key).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned)
}

/// The project's own dependencies, of `[project]` where there are some, else Poetry's.
fn main(project: &Table, poetry: &Table) -> Result<(Group, Extras), PoetryError> {
    let of_poetry = match poetry.get("dependencies") {
        Some(Value::Table(table)) => dependencies(table)?,
        _ => Vec::new(),
    };
    let lines: Vec<String> = texts(project, "dependencies").collect();
    let optional = lists(project.get("optional-dependencies"));
    if lines.is_empty() && optional.is_empty() {
        let extras = lists(poetry.get("extras")).into_iter();
        let extras = extras.map(|(name, names)| (name, names.iter().map(|name| normalize_name(name)).collect()));
        return Ok((Group { is_optional: false, dependencies: of_poetry }, extras.collect()));
    }
    let mut all = lines.iter().map(|line| Dependency::of_line(line)).collect::<Result<Vec<_>, _>>()?;
    let mut extras = Extras::new();
    for (name, lines) in optional {
        for line in lines {
            let dependency = Dependency::of_line(&line)?;
            extras.entry(name.clone()).or_default().insert(dependency.name.clone());
            all.push(Dependency { is_optional: true, ..dependency });
        }
        extras.entry(name).or_default();
    }
    // What Poetry's table says of the same names besides is where they come from, which the lock has.
    if let Some(other) = of_poetry.iter().find(|other| {
        other.place.is_some() || !other.markers.is_empty() || !all.iter().any(|own| own.name == other.name)
    }) {
        return Err(PoetryError::Key { key: format!("tool.poetry.dependencies.{}", other.name) });
    }
    Ok((Group { is_optional: false, dependencies: all }, extras))
}

fn groups(poetry: &Table) -> Result<BTreeMap<String, Group>, PoetryError> {
    let mut groups = BTreeMap::new();
    for (name, value) in poetry.get("group").and_then(Value::as_table).into_iter().flatten() {
        let key = |key: &str| PoetryError::Key { key: format!("tool.poetry.group.{name}.{key}") };
        let table = value.as_table().ok_or_else(|| key(""))?;
        if let Some(other) = table.keys().find(|key| !["optional", "dependencies"].contains(&key.as_str())) {
            return Err(key(other));
        }
        let is_optional = table.get("optional").and_then(Value::as_bool).unwrap_or(false);
        let listed = table.get("dependencies").and_then(Value::as_table).ok_or_else(|| key("dependencies"))?;
        groups.insert(name.clone(), Group { is_optional, dependencies: dependencies(listed)? });
    }
    if let Some(Value::Table(listed)) = poetry.get("dev-dependencies") {
        let group: &mut Group = groups.entry("dev".to_owned()).or_default();
        group.dependencies.extend(dependencies(listed)?);
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_extras_and_python_are_read_in_both_spellings() {
        let of_poetry = "[tool.poetry]\nname = 'led_ger'\npackage-mode = false\n[tool.poetry.dependencies]\npython = '^3.9'\n\
            a = '1'\nb = {version = '2', optional = true}\n[tool.poetry.extras]\nBig_One = ['b']\n\
            [tool.poetry.group.dev.dependencies]\nc = '*'\n[tool.poetry.group.docs]\noptional = true\n\
            [tool.poetry.group.docs.dependencies]\nd = '*'\n";
        let of_project = "[project]\nname = 'led_ger'\nrequires-python = '>=3.9'\ndependencies = ['a==1']\n\
            [project.optional-dependencies]\nBig_One = ['b==2']\n[tool.poetry]\npackage-mode = false\n\
            [tool.poetry.group.dev.dependencies]\nc = '*'\n[tool.poetry.group.docs]\noptional = true\n\
            [tool.poetry.group.docs.dependencies]\nd = '*'\n";
        for text in [of_poetry, of_project] {
            let project = PoetryProject::parse(text).unwrap();
            assert_eq!((project.name.as_str(), project.is_package, project.python.len()), ("led_ger", false, 1));
            let names = |group: &Group| group.dependencies.iter().map(|own| own.name.clone()).collect::<Vec<_>>();
            assert_eq!(names(&project.groups["main"]), ["a", "b"]);
            let optional: Vec<bool> = project.groups["main"].dependencies.iter().map(|own| own.is_optional).collect();
            assert_eq!(optional, [false, true]);
            assert!(project.groups["docs"].is_optional && !project.groups["dev"].is_optional);
            assert_eq!(project.extras["big-one"], BTreeSet::from(["b".to_owned()]));
        }
    }

    #[test]
    fn what_is_not_worked_out_is_named() {
        for (text, expected) in [
            ("[dependency-groups]\ndev = []\n", "dependency-groups"),
            ("[tool.poetry.requires-plugins]\nx = '*'\n", "tool.poetry.requires-plugins"),
            ("[tool.poetry.group.a]\ninclude-groups = ['b']\n", "tool.poetry.group.a.include-groups"),
            ("[project]\ndependencies = ['a']\n[tool.poetry.dependencies]\nb = '1'\n", "tool.poetry.dependencies.b"),
            ("[project]\ndynamic = ['dependencies']\noptional-dependencies.x = ['a']\n", "project.dynamic"),
        ] {
            assert_eq!(PoetryProject::parse(text), Err(PoetryError::Key { key: expected.into() }), "{text}");
        }
        assert!(matches!(PoetryProject::parse("["), Err(PoetryError::Syntax { .. })));
    }
}
