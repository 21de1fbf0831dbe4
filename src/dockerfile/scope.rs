//! Build arguments and variables: what a word of an instruction is expanded with.
//!
//! Values come in from outside; nothing is read from the environment here.

use std::collections::BTreeMap;

use super::expand::{ExpandError, expand_word};
use super::types::ArgBeforeFrom;
use crate::oci::Platform;

/// Values that the builder is given: `--build-arg`, and those that it knows itself.
#[derive(Clone, Debug, Default)]
pub struct BuildArguments {
    given: BTreeMap<String, String>,
    global: BTreeMap<String, String>,
}

impl BuildArguments {
    /// The arguments `given` by the user, with those of the platforms that every Dockerfile may ask for before its first
    /// `FROM`; `stage` is the name of the stage that is built.
    pub fn new(given: BTreeMap<String, String>, build: &Platform, target: &Platform, stage: &str) -> Self {
        let mut global = BTreeMap::new();
        for (prefix, platform) in [("BUILD", build), ("TARGET", target)] {
            let mut add = |name: &str, value: String| global.insert(format!("{prefix}{name}"), value);
            add("PLATFORM", platform.to_string());
            add("OS", platform.os.clone());
            add("ARCH", platform.architecture.clone());
            add("VARIANT", platform.variant.clone().unwrap_or_default());
        }
        global.insert("TARGETSTAGE".into(), if stage.is_empty() { "default".into() } else { stage.to_owned() });
        for (name, value) in &mut global {
            if let Some(given) = given.get(name) {
                given.clone_into(value);
            }
        }
        Self { given, global }
    }

    /// Adds the arguments that stand before the first `FROM`; each may use those before it.
    ///
    /// # Errors
    /// Fails when a default value cannot be expanded.
    pub fn declare(&mut self, before: &[ArgBeforeFrom], escape: char) -> Result<(), ExpandError> {
        for argument in before {
            let default = match &argument.default {
                Some(value) => Some(expand_word(value, escape, &|name| self.global(name))?),
                None => None,
            };
            if let Some(value) = self.given.get(&argument.name).cloned().or(default) {
                self.global.insert(argument.name.clone(), value);
            }
        }
        Ok(())
    }

    /// The value that a `FROM` sees.
    pub fn global(&self, name: &str) -> Option<String> {
        self.global.get(name).cloned()
    }

    /// Names that were given and that nobody declared, for a warning. `declared` says of the instructions.
    pub fn unused<'a>(&'a self, declared: &'a dyn Fn(&str) -> bool) -> impl Iterator<Item = &'a str> {
        let is_used = move |name: &&str| self.global.contains_key(*name) || is_predefined(name) || declared(name);
        self.given.keys().map(String::as_str).filter(move |name| !is_used(name))
    }
}

/// Arguments that need no `ARG`: those of proxies, which are no part of an image.
pub fn is_predefined(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"].contains(&upper.as_str())
}

/// What is set at one place of a stage: variables of the image, and arguments, of which the last one that was set wins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    values: BTreeMap<String, String>,
    arguments: BTreeMap<String, Option<String>>,
}

impl Scope {
    /// The scope at the beginning of a stage upon an image with these variables.
    pub fn of_image(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { values: variables.into_iter().collect(), arguments: BTreeMap::new() }
    }

    /// The value of `name`, when it has one.
    pub fn value(&self, name: &str) -> Option<String> {
        self.values.get(name).cloned()
    }

    /// Sets a variable of the image.
    pub fn set(&mut self, name: &str, value: &str) {
        self.values.insert(name.to_owned(), value.to_owned());
    }

    /// Declares an argument; `default` is expanded already.
    pub fn declare(&mut self, name: &str, default: Option<&str>, arguments: &BuildArguments) {
        let given = arguments.given.get(name).cloned();
        let value = given.or_else(|| default.map(str::to_owned)).or_else(|| arguments.global(name));
        if let Some(value) = &value {
            self.values.insert(name.to_owned(), value.clone());
        }
        self.arguments.insert(name.to_owned(), value);
    }

    /// The arguments that were declared, with their values, by name.
    pub fn arguments(&self) -> impl Iterator<Item = (&str, &str)> {
        self.arguments.iter().filter_map(|(name, value)| Some((name.as_str(), value.as_deref()?)))
    }

    /// All values by name, as a command of this place sees them.
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.values
    }
}

#[cfg(test)]
mod tests {
    use super::super::types::Lines;
    use super::*;

    fn arguments(given: &[(&str, &str)]) -> BuildArguments {
        let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let platform = Platform::new("linux", "arm64");
        BuildArguments::new(given, &Platform::new("linux", "amd64"), &platform, "")
    }

    #[test]
    fn an_argument_has_the_value_given_else_its_default_else_the_global_one() {
        let mut arguments = arguments(&[("A", "given"), ("TARGETARCH", "mine"), ("LOST", "1"), ("http_proxy", "p")]);
        let before = [("A", Some("x")), ("B", Some("${A}-b")), ("C", None)];
        let before = before.map(|(name, value)| ArgBeforeFrom {
            lines: Lines { first: 1, last: 1 },
            name: name.into(),
            default: value.map(str::to_owned),
        });
        arguments.declare(&before, '\\').unwrap();
        assert_eq!(arguments.global("B").as_deref(), Some("given-b"));
        assert_eq!(arguments.global("TARGETARCH").as_deref(), Some("mine"));
        assert_eq!(arguments.global("BUILDPLATFORM").as_deref(), Some("linux/amd64"));
        let mut scope = Scope::of_image([("PATH".to_owned(), "/bin".to_owned())]);
        for (name, default, expected) in [
            ("A", Some("default"), Some("given")),
            ("B", None, Some("given-b")),
            ("B", Some("own"), Some("own")),
            ("D", Some("own"), Some("own")),
            ("E", None, None),
        ] {
            assert_eq!(Scope::default().value(name), None, "{name}");
            scope.declare(name, default, &arguments);
            assert_eq!(scope.value(name).as_deref(), expected, "{name}");
        }
        assert_eq!(scope.arguments().map(|(name, _)| name).collect::<Vec<_>>(), ["A", "B", "D"]);
        let unused: Vec<&str> = arguments.unused(&|_| false).collect();
        assert_eq!(unused, ["LOST"]);
    }
}
