//! What the installers' options come to, whichever command they are given to.
//!
//! It opens no file: what a file of settings says is for the caller to find.

use std::collections::BTreeMap;

use super::options::{Given, Known, Takes};
use super::pip_options::Meaning;
use super::sync::SyncOption;
use super::venv::VenvOption;

/// The variables of a command.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Where an installer keeps what it fetched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cache {
    /// In its place in the home folder, so in the image unless something is mounted there.
    #[default]
    Home,
    /// In this folder.
    Folder(String),
    /// Nowhere.
    Off,
}

/// The file of settings that an installer reads besides its options.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ConfigFile {
    /// Those in their usual places, for uv `[tool.uv]` of the project as well.
    #[default]
    Usual,
    /// This one: for pip besides those in their usual places, for uv in place of them.
    Named(String),
    /// None.
    Off,
}

/// Where packages are put.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Place {
    /// Where the interpreter has its packages; for pip, the user's where that may not be written.
    #[default]
    Interpreter,
    /// The user's (`--user`).
    User,
    /// A bare folder (`--target`).
    Target(String),
    /// A folder laid out as an environment (`--prefix`).
    Prefix(String),
}

/// What options say of an installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Installation {
    pub(super) requirement_files: Vec<String>,
    pub(super) constraints: Vec<String>,
    pub(super) editable: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) extras: Vec<String>,
    pub(super) all_extras: bool,
    pub(super) installer_args: BTreeMap<String, Option<String>>,
    pub(super) compiles: Option<bool>,
    pub(super) place: Place,
    pub(super) cache: Cache,
    pub(super) config: ConfigFile,
    pub(super) is_system: bool,
    pub(super) python: Option<String>,
    /// The options of `uv sync`.
    pub(super) sync: Vec<(SyncOption, String)>,
    /// The options of `uv venv`.
    pub(super) venv: Vec<(VenvOption, String)>,
    strategy: Option<String>,
}

impl Installation {
    /// What the options given say, and for those that were not given the variables.
    ///
    /// # Errors
    /// Fails with a reason for a value that is not understood.
    pub(super) fn of(
        given: &Given<Meaning>,
        tables: &[&'static [Known<Meaning>]],
        lookup: Lookup<'_>,
        variables_of: &dyn Fn(&Known<Meaning>) -> Vec<String>,
    ) -> Result<Self, String> {
        let mut found = Self::default();
        for known in tables.iter().flat_map(|table| table.iter()) {
            for variable in variables_of(known) {
                let Some(value) = lookup(&variable).filter(|value| !value.is_empty()) else { continue };
                match given.has(known.meaning) {
                    false => found.take_variable(known, &variable, &value)?,
                    // The option counts alone for uv, and both for pip.
                    true if is_list(known.meaning) => {
                        return Err(format!("`{variable}` is set and its option is given as well"));
                    }
                    true => {}
                }
            }
        }
        for (meaning, value) in &given.options {
            found.take(*meaning, value)?;
        }
        found.checked()
    }

    fn take_variable(&mut self, known: &Known<Meaning>, variable: &str, value: &str) -> Result<(), String> {
        if known.takes == Takes::Value {
            return match known.meaning {
                Meaning::Editable => Err(format!("`{variable}` is set")),
                Meaning::RequirementFile | Meaning::Constraint | Meaning::Listed(_) => {
                    value.split_whitespace().try_for_each(|part| self.take(known.meaning, part))
                }
                meaning => self.take(meaning, value),
            };
        }
        let is_on = match value.to_ascii_lowercase().as_str() {
            "1" | "true" | "t" | "yes" | "y" | "on" => true,
            // Of pip, whatever it says, `PIP_NO_CACHE_DIR` turns the cache off.
            "0" | "false" | "f" | "no" | "n" | "off" => variable == "PIP_NO_CACHE_DIR",
            _ if known.meaning == Meaning::Idle => false,
            _ => return Err(format!("`{variable}` is neither on nor off")),
        };
        match (is_on, known.meaning) {
            (true, meaning) => self.take(meaning, ""),
            (false, Meaning::Compiles) => self.take(Meaning::DoesNotCompile, ""),
            (false, _) => Ok(()),
        }
    }

    fn take(&mut self, meaning: Meaning, value: &str) -> Result<(), String> {
        let text = || value.to_owned();
        match meaning {
            Meaning::Idle => {}
            Meaning::RequirementFile => self.requirement_files.push(file(value)?),
            Meaning::Constraint => self.constraints.push(file(value)?),
            Meaning::Editable => self.editable.push(text()),
            Meaning::Argument(name) => self.argument(name, Some(one(name, value)?)),
            Meaning::Listed(name) => self.listed(name, " ", &one(name, value)?),
            Meaning::Named(name) => self.listed(name, ",", &named(name, value)?),
            Meaning::Switch(name) => self.argument(name, None),
            Meaning::UpgradeStrategy => self.strategy = Some(text()),
            Meaning::Compiles => self.compiles = Some(true),
            Meaning::DoesNotCompile => self.compiles = Some(false),
            Meaning::User => self.put(Place::User)?,
            Meaning::Target => self.put(Place::Target(text()))?,
            Meaning::Prefix => self.put(Place::Prefix(text()))?,
            Meaning::NoCache => self.cache = Cache::Off,
            Meaning::CacheFolder if self.cache == Cache::Off => {}
            Meaning::CacheFolder => self.cache = Cache::Folder(text()),
            Meaning::Group => self.groups.push(text()),
            Meaning::Extra => self.extras.extend(value.split(',').map(str::to_owned)),
            Meaning::AllExtras => self.all_extras = true,
            Meaning::System => self.is_system = true,
            Meaning::Python => self.python = Some(text()),
            Meaning::LinkMode if value == "symlink" => return Err("`symlink` leads into its cache".into()),
            Meaning::LinkMode => {}
            Meaning::TorchBackend if value == "auto" => return Err("it looks for a graphics card".into()),
            Meaning::TorchBackend => self.argument("torch-backend", Some(text())),
            Meaning::KeyringProvider if value == "disabled" => {}
            Meaning::KeyringProvider => return Err("it asks a keyring".into()),
            Meaning::ConfigFile => self.config = ConfigFile::Named(text()),
            Meaning::Sync(option) => self.sync.push((option, text())),
            Meaning::Venv(option) => self.venv.push((option, text())),
            Meaning::NoConfig => self.config = ConfigFile::Off,
        }
        Ok(())
    }

    fn argument(&mut self, name: &str, value: Option<String>) {
        self.installer_args.insert(name.to_owned(), value);
    }

    fn listed(&mut self, name: &str, between: &str, value: &str) {
        let before = self.installer_args.get(name).cloned().flatten();
        let value = before.map_or_else(|| value.to_owned(), |before| format!("{before}{between}{value}"));
        self.argument(name, Some(value));
    }

    fn put(&mut self, place: Place) -> Result<(), String> {
        if self.place != Place::Interpreter && self.place != place {
            return Err("it names several places for packages".into());
        }
        self.place = place;
        Ok(())
    }

    /// What is said of `--upgrade-strategy` holds with `--upgrade` alone.
    fn checked(mut self) -> Result<Self, String> {
        let upgrades = self.installer_args.contains_key("upgrade");
        match self.strategy.take().as_deref() {
            Some("eager") if upgrades => self.argument("upgrade-strategy", Some("eager".to_owned())),
            None | Some("only-if-needed" | "eager") => {}
            Some(other) => return Err(format!("`--upgrade-strategy {other}` is not understood")),
        }
        Ok(self)
    }
}

/// Whether an option may be given several times, each adding to those before.
fn is_list(meaning: Meaning) -> bool {
    use Meaning::{Constraint, Editable, Extra, Group, Listed, Named, RequirementFile};
    matches!(meaning, Constraint | Editable | Extra | Group | Listed(_) | Named(_) | RequirementFile)
}

/// A file of requirements; `-` and URLs are none of the image.
fn file(value: &str) -> Result<String, String> {
    match value {
        "" => Err("it names a file without a name".into()),
        "-" => Err("it reads requirements from its input".into()),
        _ if value.contains("://") => Err("it reads requirements from a URL".into()),
        _ => Ok(value.to_owned()),
    }
}

/// A value that stands in a list of several.
fn one(name: &str, value: &str) -> Result<String, String> {
    match value.contains([' ', '\t', '\n', ',']) || value.is_empty() {
        true => Err(format!("its option `--{name}` has more than one value, or none")),
        false => Ok(value.to_owned()),
    }
}

/// Names with commas between them.
fn named(name: &str, value: &str) -> Result<String, String> {
    match value.contains(char::is_whitespace) || value.is_empty() {
        true => Err(format!("its option `--{name}` has a blank in its value")),
        false => Ok(value.to_owned()),
    }
}
