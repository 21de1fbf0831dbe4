//! Dependencies of projects and of locked packages, and whether they count for an interpreter.
//!
//! Versions are looked at only where a lock has several of one package.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use pep440_rs::Version;
use toml::Value;

use super::error::PoetryError;
use super::version::Constraint;
use crate::python::marker::MarkerEnvironment;
use crate::python::normalize_name;

/// A dependency.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependency {
    /// The normalised name.
    pub name: String,
    /// Its constraint as written; `*` where there is none.
    pub version: String,
    /// The extras of it that are asked for, normalised.
    pub extras: Vec<String>,
    /// Whether only an extra of whoever depends on it asks for it.
    pub is_optional: bool,
    /// Its environment markers, all of which have to hold.
    pub markers: Vec<String>,
    /// The versions of Python that it counts for.
    pub python: Option<String>,
    /// The platform that it counts for, as Poetry writes it.
    pub platform: Option<String>,
    /// The kind of place that it comes from, where that is no index: `git`, `path`, `file` or `url`.
    pub place: Option<&'static str>,
}

/// The interpreter that dependencies are looked at for.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Its marker variables.
    pub markers: MarkerEnvironment,
    /// Its version.
    pub python: (u32, u32, u32),
}

const PLACES: [&str; 4] = ["git", "path", "file", "url"];
/// Keys that say nothing about what is installed out of a lock.
const IDLE: [&str; 4] = ["allow-prereleases", "develop", "source", "subdirectory"];
/// Of a git repository.
const OF_GIT: [&str; 3] = ["branch", "tag", "rev"];

impl Dependency {
    /// The dependencies that the value of `name` in a table of Poetry stands for.
    ///
    /// # Errors
    /// Fails for a key that is not known.
    pub(super) fn of_table(name: &str, value: &Value) -> Result<Vec<Self>, PoetryError> {
        let unread = |text: &Value| PoetryError::Unread { name: name.to_owned(), text: text.to_string() };
        let own = Self { name: normalize_name(name), version: "*".to_owned(), ..Self::default() };
        match value {
            Value::String(version) => Ok(vec![Self { version: version.clone(), ..own }]),
            Value::Array(values) => {
                let each = values.iter().map(|value| Self::of_table(name, value)).collect::<Result<Vec<_>, _>>()?;
                Ok(each.concat())
            }
            Value::Table(table) => {
                let mut own = own;
                for (key, value) in table {
                    match (key.as_str(), value) {
                        ("version", Value::String(text)) => own.version.clone_from(text),
                        ("markers", Value::String(text)) => own.markers.push(text.clone()),
                        ("python", Value::String(text)) => own.python = Some(text.clone()),
                        ("platform", Value::String(text)) => own.platform = Some(text.clone()),
                        ("optional", Value::Boolean(is_on)) => own.is_optional = *is_on,
                        ("extras", Value::Array(extras)) => {
                            let text = |extra: &Value| extra.as_str().map(normalize_name).ok_or_else(|| unread(extra));
                            own.extras = extras.iter().map(text).collect::<Result<_, _>>()?;
                        }
                        (key, _) if PLACES.contains(&key) => {
                            own.place = PLACES.into_iter().find(|place| *place == key);
                        }
                        (key, _) if IDLE.contains(&key) || OF_GIT.contains(&key) => {}
                        _ => return Err(unread(value)),
                    }
                }
                Ok(vec![own])
            }
            _ => Err(unread(value)),
        }
    }

    /// A dependency as PEP 508 writes it.
    ///
    /// # Errors
    /// Fails when it has no name, or extras without an end.
    pub(super) fn of_line(line: &str) -> Result<Self, PoetryError> {
        let unread = || PoetryError::Unread { name: line.to_owned(), text: line.to_owned() };
        let line = line.trim();
        let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let (name, rest) = line.split_at(line.find(|c| !is_part(c)).unwrap_or(line.len()));
        let rest = rest.trim_start();
        let (extras, rest) = match rest.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or_else(unread)?,
            None => ("", rest),
        };
        let extras = extras.split(',').map(str::trim).filter(|extra| !extra.is_empty()).map(normalize_name).collect();
        let is_url = rest.trim_start().starts_with('@');
        let (version, marker) = match rest.split_once(';') {
            Some((version, marker)) => (version.trim(), Some(marker.trim().to_owned())),
            None => (rest.trim(), None),
        };
        if name.is_empty() {
            return Err(unread());
        }
        let version = version.trim_start_matches('(').trim_end_matches(')').trim();
        Ok(Self {
            name: normalize_name(name),
            version: if version.is_empty() || is_url { "*".to_owned() } else { version.to_owned() },
            extras,
            markers: marker.into_iter().filter(|marker| !marker.is_empty()).collect(),
            place: is_url.then_some("url"),
            ..Self::default()
        })
    }

    /// Whether it counts here, with these extras of whoever depends on it.
    ///
    /// # Errors
    /// Fails for a marker or a constraint that is not understood.
    pub(super) fn counts(&self, here: &Surroundings, extras: &[String]) -> Result<bool, PoetryError> {
        for marker in &self.markers {
            if !here.holds(&self.name, marker, extras)? {
                return Ok(false);
            }
        }
        if let Some(python) = &self.python
            && !here.is_python(&self.name, python)?
        {
            return Ok(false);
        }
        self.platform.as_ref().map_or(Ok(true), |platform| here.is_platform(&self.name, platform))
    }
}

impl Surroundings {
    /// CPython `python` on Linux on `machine` (`x86_64`, `aarch64`).
    pub fn linux(python: (u32, u32, u32), machine: &str) -> Self {
        let (major, minor, micro) = python;
        Self { markers: MarkerEnvironment::linux(&format!("{major}.{minor}.{micro}"), machine), python }
    }

    /// The version, in full.
    pub(super) fn version(&self) -> String {
        let (major, minor, micro) = self.python;
        format!("{major}.{minor}.{micro}")
    }

    /// Whether a marker of `name` holds with these extras.
    ///
    /// # Errors
    /// Fails for one that is not understood, or asks for what only a run knows.
    pub(super) fn holds(&self, name: &str, marker: &str, extras: &[String]) -> Result<bool, PoetryError> {
        let unread = || PoetryError::Unread { name: name.to_owned(), text: marker.to_owned() };
        let squeezed: String = marker.split_whitespace().collect();
        let is_of_run = ["platform_release", "platform_version", "extra!=", "notinextra"];
        if is_of_run.iter().any(|text| squeezed.contains(text)) {
            return Err(unread());
        }
        let mut holds = self.markers.holds(marker, &[]).ok_or_else(unread)?;
        for extra in extras {
            holds |= self.markers.with_extra(extra).holds(marker, &[]).ok_or_else(unread)?;
        }
        Ok(holds)
    }

    /// Whether `constraint`, which Poetry makes a marker of, holds for this Python.
    fn is_python(&self, name: &str, constraint: &str) -> Result<bool, PoetryError> {
        let unread = || PoetryError::Unread { name: name.to_owned(), text: constraint.to_owned() };
        let parsed = Constraint::parse(constraint).ok_or_else(unread)?;
        let (major, minor, _) = self.python;
        let allows = |version: String| Version::from_str(&version).is_ok_and(|version| parsed.allows(&version));
        // `<=3.11` becomes one of `python_version`, `<=3.11.2` one of `python_full_version`.
        match (allows(self.version()), allows(format!("{major}.{minor}"))) {
            (full, short) if full == short => Ok(full),
            _ => Err(unread()),
        }
    }

    /// Whether this Python is allowed by `constraint`, that of the project or package `name`.
    ///
    /// # Errors
    /// Fails when it is not, or when the constraint is not understood.
    pub(super) fn check_python(&self, name: &str, constraint: &str) -> Result<(), PoetryError> {
        let unread = || PoetryError::Unread { name: name.to_owned(), text: constraint.to_owned() };
        let parsed = Constraint::parse(constraint).ok_or_else(unread)?;
        match Version::from_str(&self.version()).is_ok_and(|version| parsed.allows(&version)) {
            true => Ok(()),
            false => Err(PoetryError::Python {
                name: name.to_owned(),
                python: self.version(),
                versions: constraint.to_owned(),
            }),
        }
    }

    fn is_platform(&self, name: &str, platform: &str) -> Result<bool, PoetryError> {
        let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric());
        let (word, is_one) = match platform.strip_prefix("!=") {
            Some(word) => (word.trim(), false),
            None => (platform.trim(), true),
        };
        match is_plain(word) {
            true => Ok((word == "linux") == is_one),
            false => Err(PoetryError::Unread { name: name.to_owned(), text: platform.to_owned() }),
        }
    }
}

/// The dependencies of each name of a table.
///
/// # Errors
/// As [`Dependency::of_table`].
pub(super) fn dependencies(table: &toml::Table) -> Result<Vec<Dependency>, PoetryError> {
    let each = table.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("python"));
    let each = each.map(|(name, value)| Dependency::of_table(name, value)).collect::<Result<Vec<_>, _>>()?;
    Ok(each.concat())
}

/// The lists of names or dependencies behind the keys of `table`, keys normalised.
pub(super) fn lists(table: Option<&Value>) -> BTreeMap<String, Vec<String>> {
    let texts = |value: &Value| {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let pairs = table.and_then(Value::as_table).into_iter().flatten();
    pairs.map(|(key, value)| (normalize_name(key), texts(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Surroundings {
        Surroundings::linux((3, 11, 7), "x86_64")
    }

    fn counts(value: &str) -> Result<bool, PoetryError> {
        let table: toml::Table = format!("d = {value}").parse().unwrap();
        dependencies(&table)?.iter().try_fold(false, |any, dependency| Ok(any | dependency.counts(&here(), &[])?))
    }

    #[test]
    fn dependencies_count_by_marker_python_and_platform() {
        for (value, expected) in [
            ("'*'", true),
            ("{version = '*', markers = \"sys_platform == 'win32'\"}", false),
            ("{version = '*', python = '^3.9'}", true),
            ("{version = '*', python = '<3.11'}", false),
            ("{version = '*', platform = 'linux'}", true),
            ("{version = '*', platform = '!=linux'}", false),
            ("[{version = '1', python = '<3.11'}, {version = '2', python = '>=3.11'}]", true),
        ] {
            assert_eq!(counts(value), Ok(expected), "{value}");
        }
        for value in [
            "{version = '*', python = '<=3.11'}",
            "{version = '*', platform = 'linux || darwin'}",
            "{version = '*', markers = \"platform_release >= '6'\"}",
            "{version = '*', strange = 1}",
            "5",
        ] {
            assert!(matches!(counts(value), Err(PoetryError::Unread { .. })), "{value}");
        }
    }

    #[test]
    fn lines_are_read_as_pep_508_has_them() {
        let of = |line: &str| Dependency::of_line(line).unwrap();
        let dependency = of("Foo_Bar[a,B] (>=1,<2) ; python_version < '4'");
        assert_eq!((dependency.name.as_str(), dependency.version.as_str()), ("foo-bar", ">=1,<2"));
        assert_eq!(
            (dependency.extras, dependency.markers),
            (vec!["a".into(), "b".into()], vec!["python_version < '4'".into()])
        );
        assert_eq!(of("a").version, "*");
        assert_eq!(of("a @ https://h.example/a.whl").place, Some("url"));
        assert!(Dependency::of_line("[x]").is_err() && Dependency::of_line("a[b").is_err());
    }

    #[test]
    fn markers_hold_for_any_of_the_extras() {
        let marker = "sys_platform == 'linux' and extra == 'fast'";
        let holds =
            |extras: &[&str]| here().holds("a", marker, &extras.iter().map(|e| (*e).to_owned()).collect::<Vec<_>>());
        assert_eq!((holds(&[]), holds(&["slow", "fast"])), (Ok(false), Ok(true)));
        assert!(here().holds("a", "extra != 'fast'", &[]).is_err());
    }
}
