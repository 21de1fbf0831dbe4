//! `poetry install`, `poetry sync`, and the settings of Poetry that say where they install.
//!
//! The project, its lock and Poetry's own files are not looked at.

use super::installation::{Cache, Lookup};
use super::options::{self, Known, switch, value};
use super::step::RunStep;
use crate::python::poetry::Selection;

/// `poetry install`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoetryInstall {
    /// The command, which may be a path: its Python is the one packages are installed for where none other is asked for.
    pub command: String,
    /// Groups and extras (`--with`, `--without`, `--only`, `--extras`).
    pub selection: Selection,
    /// Whether the project itself is left out.
    pub no_root: bool,
    /// Whether nothing but the project is installed.
    pub only_root: bool,
    /// Whether dependencies that are folders are left out.
    pub no_directory: bool,
    /// Whether packages that the lock does not name are removed.
    pub sync: bool,
    /// Whether modules are compiled.
    pub compiles: bool,
    /// `virtualenvs.create`, where a variable says it.
    pub creates_environment: Option<bool>,
    /// `virtualenvs.in-project`, where a variable says it.
    pub in_project: Option<bool>,
    /// `virtualenvs.path`, where a variable says it.
    pub environments: Option<String>,
    /// Where what was fetched is kept.
    pub cache: Cache,
}

/// A setting that `poetry config` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoetrySetting {
    /// Which one.
    pub name: PoetrySettingName,
    /// Whether it is turned on.
    pub is_on: bool,
    /// Whether it is written for the project (`poetry.toml`) and not for the user.
    pub local: bool,
}

/// A setting that says where Poetry installs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoetrySettingName {
    /// `virtualenvs.create`.
    Create,
    /// `virtualenvs.in-project`.
    InProject,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    Idle,
    With,
    Without,
    Only,
    MainOnly,
    AllGroups,
    Extras,
    AllExtras,
    NoRoot,
    OnlyRoot,
    NoDirectory,
    Sync,
    Compile,
    NoCache,
    Local,
}

const GENERAL: &[Known<Meaning>] = &[
    switch(&["-q", "--quiet", "-v", "--verbose", "-n", "--no-interaction", "--ansi", "--no-ansi"], Meaning::Idle),
    switch(&["--no-cache"], Meaning::NoCache),
];

const INSTALL: &[Known<Meaning>] = &[
    value(&["--with"], Meaning::With),
    value(&["--without"], Meaning::Without),
    value(&["--only"], Meaning::Only),
    switch(&["--no-dev"], Meaning::MainOnly),
    switch(&["--all-groups"], Meaning::AllGroups),
    value(&["-E", "--extras"], Meaning::Extras),
    switch(&["--all-extras"], Meaning::AllExtras),
    switch(&["--no-root"], Meaning::NoRoot),
    switch(&["--only-root"], Meaning::OnlyRoot),
    switch(&["--no-directory"], Meaning::NoDirectory),
    switch(&["--sync"], Meaning::Sync),
    switch(&["--compile"], Meaning::Compile),
];

const CONFIG: &[Known<Meaning>] = &[switch(&["--local"], Meaning::Local)];

/// Variables of Poetry that change what is installed.
const REFUSED: [&str; 11] = [
    "CONFIG_DIR",
    "DATA_DIR",
    "INSTALLER_NO_BINARY",
    "INSTALLER_ONLY_BINARY",
    "INSTALLER_RE_RESOLVE",
    "INSTALLER_BUILD_CONFIG_SETTINGS",
    "VIRTUALENVS_OPTIONS_ALWAYS_COPY",
    "VIRTUALENVS_OPTIONS_NO_PIP",
    "VIRTUALENVS_OPTIONS_SYSTEM_SITE_PACKAGES",
    "VIRTUALENVS_PREFER_ACTIVE_PYTHON",
    "VIRTUALENVS_USE_POETRY_PYTHON",
];

/// Reads what follows `poetry`, called as `command`.
///
/// # Errors
/// Fails with a reason for a command, an option or a variable that is not understood.
pub(super) fn read(command: &str, words: &[String], lookup: Lookup<'_>) -> Result<RunStep, String> {
    if matches!(words, [word] if word == "--version" || word == "-V") {
        return Ok(RunStep::Nothing);
    }
    let (leading, rest) = options::read_leading(words, &[GENERAL])?;
    let Some((subcommand, rest)) = rest.split_first() else { return Err("it has no subcommand".into()) };
    match (subcommand.as_str(), rest) {
        ("install" | "sync", rest) => install(command, subcommand == "sync", leading, rest, lookup),
        ("config", rest) => config(rest),
        ("cache", [what, ..]) if what == "clear" => Ok(RunStep::Nothing),
        (other, _) => Err(format!("it runs `poetry {other}`")),
    }
}

fn install(
    command: &str,
    is_sync: bool,
    leading: Vec<(Meaning, String)>,
    words: &[String],
    lookup: Lookup<'_>,
) -> Result<RunStep, String> {
    let set = |name: &str| lookup(&format!("POETRY_{name}")).filter(|value| !value.is_empty());
    if let Some(name) = REFUSED.iter().find(|name| set(name).is_some()) {
        return Err(format!("the variable `POETRY_{name}` changes what is installed"));
    }
    let given = options::read(words, &[GENERAL, INSTALL])?;
    if let Some(operand) = given.operands.first() {
        return Err(format!("`poetry install` takes no `{operand}`"));
    }
    let listed = |meaning: Meaning| {
        let values = given.options.iter().filter(move |(given, _)| *given == meaning);
        let parts = values.flat_map(|(_, value)| value.split([',', ' '])).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect::<Vec<_>>()
    };
    let main = given.has(Meaning::MainOnly).then(|| "main".to_owned());
    let is_uncached = given.has(Meaning::NoCache) || leading.iter().any(|(meaning, _)| *meaning == Meaning::NoCache);
    let is_on = |name: &str| set(name).map(|value| switched(&value)).transpose();
    let cache = match (is_uncached, set("CACHE_DIR")) {
        (true, _) => Cache::Off,
        (false, Some(folder)) => Cache::Folder(folder),
        (false, None) => Cache::Home,
    };
    Ok(RunStep::PoetryInstall(Box::new(PoetryInstall {
        command: command.to_owned(),
        selection: Selection {
            with: listed(Meaning::With),
            without: listed(Meaning::Without),
            only: listed(Meaning::Only).into_iter().chain(main).collect(),
            all_groups: given.has(Meaning::AllGroups),
            extras: listed(Meaning::Extras),
            all_extras: given.has(Meaning::AllExtras),
        },
        no_root: given.has(Meaning::NoRoot),
        only_root: given.has(Meaning::OnlyRoot),
        no_directory: given.has(Meaning::NoDirectory),
        sync: is_sync || given.has(Meaning::Sync),
        compiles: given.has(Meaning::Compile),
        creates_environment: is_on("VIRTUALENVS_CREATE")?,
        in_project: is_on("VIRTUALENVS_IN_PROJECT")?,
        environments: set("VIRTUALENVS_PATH"),
        cache,
    })))
}

fn config(words: &[String]) -> Result<RunStep, String> {
    let given = options::read(words, &[GENERAL, CONFIG])?;
    let [name, value] = given.operands.as_slice() else { return Err("it does not name one setting".into()) };
    let name = match name.as_str() {
        "virtualenvs.create" => PoetrySettingName::Create,
        "virtualenvs.in-project" => PoetrySettingName::InProject,
        _ => return Err(format!("it sets `{name}`")),
    };
    let setting = PoetrySetting { name, is_on: switched(value)?, local: given.has(Meaning::Local) };
    Ok(RunStep::PoetryConfig(setting))
}

fn switched(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(format!("`{value}` is neither true nor false")),
    }
}
