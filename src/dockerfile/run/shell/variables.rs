//! The variables of a script while it is read.
//!
//! What was there before is asked of the caller; no environment is read here.

use std::collections::{BTreeMap, BTreeSet};

use super::dialect::Dialect;

/// Variables that a shell or a runtime sets by itself, so that having none is not known.
const SET_ELSEWHERE: [&str; 23] = [
    "COLUMNS", "EUID", "FUNCNAME", "GROUPS", "HOME", "HOSTNAME", "HOSTTYPE", "IFS", "LINENO", "LINES", "MACHTYPE",
    "OLDPWD", "OPTIND", "OSTYPE", "PATH", "PPID", "PWD", "RANDOM", "SECONDS", "SHELL", "SHLVL", "TERM", "UID",
];

/// Variables that change how a shell works.
const STEERING: [&str; 16] = [
    "BASHOPTS",
    "CDPATH",
    "ENV",
    "EUID",
    "GLOBIGNORE",
    "HOSTNAME",
    "IFS",
    "LINENO",
    "OLDPWD",
    "OPTIND",
    "POSIXLY_CORRECT",
    "PPID",
    "PWD",
    "RANDOM",
    "SECONDS",
    "SHELLOPTS",
];

/// The variables of a script.
pub(crate) struct Variables<'a> {
    given: &'a dyn Fn(&str) -> Option<String>,
    dialect: Dialect,
    set: BTreeMap<String, String>,
    exported: BTreeSet<String>,
    /// Variables that hold secrets.
    secrets: Vec<String>,
}

impl<'a> Variables<'a> {
    /// Those that `given` knows; of `secrets` it may not.
    pub(crate) fn new(given: &'a dyn Fn(&str) -> Option<String>, dialect: Dialect, secrets: Vec<String>) -> Self {
        Self { given, dialect, set: BTreeMap::new(), exported: BTreeSet::new(), secrets }
    }

    /// The shell's switches, which `set` changes.
    pub(crate) fn dialect(&mut self) -> &mut Dialect {
        &mut self.dialect
    }

    /// The value that the shell replaces `name` with; `None` where it is not set.
    ///
    /// # Errors
    /// Fails with a reason where that is not known, or would end the script.
    pub(crate) fn value(&self, name: &str) -> Result<Option<String>, String> {
        let value = self.set.get(name).cloned().or_else(|| (self.given)(name));
        let is_proxy = name.to_ascii_lowercase().ends_with("_proxy");
        if value.is_none() && self.secrets.iter().any(|secret| secret == name) {
            return Err(format!("`${name}` is a secret"));
        }
        if value.is_none() && (is_proxy || name.starts_with("BASH") || SET_ELSEWHERE.contains(&name)) {
            return Err(format!("`${name}` is not known before it runs"));
        }
        Ok(value)
    }

    /// Whether a variable that is not set ends the script.
    pub(crate) fn refuses_unset(&self) -> bool {
        self.dialect.refuses_unset
    }

    /// The value that was there before the script.
    pub(crate) fn given(&self, name: &str) -> Option<String> {
        (self.given)(name)
    }

    /// Refuses a variable that changes how the shell works.
    ///
    /// # Errors
    /// Fails with a reason.
    pub(crate) fn check_name(&self, name: &str) -> Result<(), String> {
        match name.starts_with("BASH") || STEERING.contains(&name) {
            true => Err(format!("`{name}` changes how the shell works")),
            false => Ok(()),
        }
    }

    /// Sets `name`.
    ///
    /// # Errors
    /// Fails with a reason for a variable that changes how the shell works.
    pub(crate) fn set(&mut self, name: &str, value: String) -> Result<(), String> {
        self.check_name(name)?;
        self.set.insert(name.to_owned(), value);
        Ok(())
    }

    /// Gives `name` to the commands that follow.
    pub(crate) fn export(&mut self, name: &str) {
        self.exported.insert(name.to_owned());
    }

    /// What a command has besides, or in place of, the variables given; `before` stand before its words.
    pub(crate) fn environment(&self, before: &[(String, String)]) -> BTreeMap<String, String> {
        let is_seen = |name: &String| self.exported.contains(name) || (self.given)(name).is_some();
        let set = self.set.iter().filter(|(name, _)| is_seen(name));
        let set = set.map(|(name, value)| (name.clone(), value.clone()));
        set.chain(before.iter().cloned()).collect()
    }
}
