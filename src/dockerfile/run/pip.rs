//! `pip install` in its spellings, and `uv pip install`.
//!
//! It says what is asked for; no index is asked, and no file of requirements is read.

use std::collections::BTreeMap;

use super::installation::{Cache, ConfigFile, Installation, Lookup, Place};
use super::options::{self, Given, Known};
use super::pip_options::{
    Meaning, PIP_GENERAL, PIP_INSTALL, PIP_REFUSED, UV_GENERAL, UV_PIP_INSTALL, UV_REFUSED, UV_RESOLVES,
};
use super::requirement::{Asked, is_archive};
use super::step::RunStep;
use crate::settings::Installer;

/// An installation of packages that the command line names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipInstall {
    /// The program.
    pub installer: Installer,
    /// The interpreter that packages are installed for.
    pub interpreter: Interpreter,
    /// Requirements as PEP 508 has them, and URLs of archives and repositories.
    pub requirements: Vec<String>,
    /// Files of requirements (`-r`); of uv they may be a `pyproject.toml` or a `pylock.toml`.
    pub requirement_files: Vec<String>,
    /// Files of constraints (`-c`).
    pub constraints: Vec<String>,
    /// Projects of the image.
    pub folders: Vec<ProjectFolder>,
    /// Wheels and source archives of the image.
    pub archives: Vec<LocalArchive>,
    /// Groups of dependencies (`--group`), as `name` or `path:name`.
    pub groups: Vec<String>,
    /// Extras of the projects of `requirement_files` (uv's `--extra`).
    pub extras: Vec<String>,
    /// All of their extras (uv's `--all-extras`).
    pub all_extras: bool,
    /// What is left for the resolver, as the setting `python_package_installer_args` has it: names without dashes,
    /// indexes with blanks and packages with commas between them.
    pub installer_args: BTreeMap<String, Option<String>>,
    /// Whether modules are compiled.
    pub compiles: bool,
    /// Where packages are put.
    pub place: Place,
    /// Where what was fetched is kept.
    pub cache: Cache,
    /// The file of settings that counts besides.
    pub config: ConfigFile,
}

impl PipInstall {
    /// An installation of nothing yet into what `interpreter` runs upon, which no setting or cache of the image reaches.
    pub fn bare(installer: Installer, interpreter: Interpreter) -> Self {
        Self {
            installer,
            interpreter,
            requirements: Vec::new(),
            requirement_files: Vec::new(),
            constraints: Vec::new(),
            folders: Vec::new(),
            archives: Vec::new(),
            groups: Vec::new(),
            extras: Vec::new(),
            all_extras: false,
            installer_args: BTreeMap::new(),
            compiles: false,
            place: Place::Interpreter,
            cache: Cache::Off,
            config: ConfigFile::Off,
        }
    }
}

/// A folder with a project in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectFolder {
    /// Its path.
    pub path: String,
    /// The extras asked for.
    pub extras: Vec<String>,
    /// Whether the folder stays the place of its modules (`-e`).
    pub editable: bool,
}

/// A file with a distribution in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalArchive {
    /// Its path.
    pub path: String,
    /// The extras asked for.
    pub extras: Vec<String>,
}

/// How a command names an interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interpreter {
    /// A command of the folders of `PATH`: `python3.11`, or a `pip` whose first line names the interpreter.
    Named(String),
    /// A program at a path, which for pip names the interpreter in its first line: `/opt/venv/bin/pip`.
    Path(String),
    /// The environment in the folder that `VIRTUAL_ENV` names.
    Environment(String),
    /// uv's `--system`: the first Python of the folders of `PATH`.
    System,
    /// uv's `--python`: a version, a command, an interpreter or an environment.
    Asked(String),
    /// uv looks for `.venv` in the working folder and above.
    Found,
}

impl Interpreter {
    /// The one of the program `command`.
    pub(super) fn of_command(command: &str) -> Self {
        if command.contains('/') { Self::Path(command.to_owned()) } else { Self::Named(command.to_owned()) }
    }
}

type Tables<'a> = &'a [&'static [Known<Meaning>]];

const PIP: Tables<'static> = &[PIP_GENERAL, PIP_INSTALL];
const UV: Tables<'static> = &[UV_GENERAL, UV_RESOLVES, UV_PIP_INSTALL];

/// Reads what follows the `pip` that `command` is, or that `command -m pip` is.
///
/// # Errors
/// Fails with a reason for a subcommand or an option that is not understood.
pub(super) fn read_pip(command: &str, words: &[String], lookup: Lookup<'_>) -> Result<RunStep, String> {
    if matches!(words, [word] if word == "--version" || word == "-V") {
        return Ok(RunStep::Nothing);
    }
    let (mut options, rest) = options::read_leading(words, &[PIP_GENERAL])?;
    let Some((subcommand, rest)) = rest.split_first() else { return Err("it has no subcommand".into()) };
    match (subcommand.as_str(), rest) {
        ("install", rest) => {
            refuse_variables(PIP_REFUSED.iter().map(|name| pip_variable(name)), lookup)?;
            let behind = options::read(rest, PIP)?;
            options.extend(behind.options);
            let given = Given { options, operands: behind.operands };
            let mut found = Installation::of(&given, PIP, lookup, &variables_of_pip)?;
            found.config = match lookup("PIP_CONFIG_FILE").filter(|file| !file.is_empty()) {
                Some(file) if file == "/dev/null" => ConfigFile::Off,
                Some(file) => ConfigFile::Named(file),
                None => ConfigFile::Usual,
            };
            finished(Installer::Pip, Interpreter::of_command(command), found, given.operands)
        }
        ("cache", [what]) if what == "purge" => {
            match options.iter().any(|(meaning, _)| *meaning == Meaning::NoCache)
                || lookup("PIP_NO_CACHE_DIR").is_some_and(|value| !value.is_empty())
            {
                true => Err("`pip cache` fails where the cache is turned off".into()),
                false => Ok(RunStep::Nothing),
            }
        }
        ("list" | "freeze" | "debug", []) => Ok(RunStep::Nothing),
        ("config", _) => Err("`pip config` writes a file of settings".into()),
        (other, _) => Err(format!("it runs `pip {other}`")),
    }
}

/// Reads what follows `uv pip`; `leading` stood before `pip`.
///
/// # Errors
/// Fails with a reason for a subcommand or an option that is not understood.
pub(super) fn read_uv_pip(
    leading: Vec<(Meaning, String)>,
    words: &[String],
    lookup: Lookup<'_>,
) -> Result<RunStep, String> {
    let (mut options, rest) = options::read_leading(words, &[UV_GENERAL])?;
    options.splice(0..0, leading);
    let Some((subcommand, rest)) = rest.split_first() else { return Err("it has no subcommand".into()) };
    match (subcommand.as_str(), rest) {
        ("install", rest) => {
            let behind = options::read(rest, UV)?;
            options.extend(behind.options);
            let given = Given { options, operands: behind.operands };
            let found = uv_installation(&given, UV, lookup)?;
            let interpreter = uv_interpreter(&found, lookup)?;
            finished(Installer::Uv, interpreter, found, given.operands)
        }
        ("list" | "freeze", []) => Ok(RunStep::Nothing),
        (other, _) => Err(format!("it runs `uv pip {other}`")),
    }
}

/// What the options and variables of a command of uv say.
///
/// # Errors
/// Fails with a reason for a value or a variable that is not understood.
pub(super) fn uv_installation(
    given: &Given<Meaning>,
    tables: Tables<'_>,
    lookup: Lookup<'_>,
) -> Result<Installation, String> {
    refuse_variables(UV_REFUSED.iter().map(|name| (*name).to_owned()), lookup)?;
    let variables = |known: &Known<Meaning>| {
        let variable = Some(known.variable).filter(|variable| !variable.is_empty());
        variable.into_iter().map(str::to_owned).collect()
    };
    Installation::of(given, tables, lookup, &variables)
}

/// The interpreter that `uv pip` installs for.
fn uv_interpreter(found: &Installation, lookup: Lookup<'_>) -> Result<Interpreter, String> {
    let is_set = |name: &str| lookup(name).filter(|value| !value.is_empty());
    match (found.is_system, &found.python) {
        (true, Some(_)) => Err("it asks for the system's Python and for another".into()),
        (true, None) => Ok(Interpreter::System),
        (false, Some(python)) => Ok(Interpreter::Asked(python.clone())),
        (false, None) => match (is_set("VIRTUAL_ENV"), is_set("CONDA_PREFIX")) {
            (Some(folder), _) => Ok(Interpreter::Environment(folder)),
            (None, Some(_)) => Err("`CONDA_PREFIX` names an environment of conda".into()),
            (None, None) => Ok(Interpreter::Found),
        },
    }
}

fn refuse_variables(names: impl Iterator<Item = String>, lookup: Lookup<'_>) -> Result<(), String> {
    let mut names = names;
    match names.find(|name| lookup(name).is_some_and(|value| !value.is_empty())) {
        Some(name) => Err(format!("the variable `{name}` changes what is installed")),
        None => Ok(()),
    }
}

/// `PIP_NO_CACHE_DIR` of `--no-cache-dir`.
fn pip_variable(name: &str) -> String {
    format!("PIP_{}", name.to_ascii_uppercase().replace('-', "_"))
}

fn variables_of_pip(known: &Known<Meaning>) -> Vec<String> {
    let long = known.names.iter().filter_map(|name| name.strip_prefix("--"));
    long.filter(|name| *name != "no-cache" && !PIP_REFUSED.contains(name)).map(pip_variable).collect()
}

/// Sorts the words for packages by what they are.
fn finished(
    installer: Installer,
    interpreter: Interpreter,
    found: Installation,
    operands: Vec<String>,
) -> Result<RunStep, String> {
    let (mut requirements, mut folders, mut archives) = (Vec::new(), Vec::new(), Vec::new());
    for word in operands {
        match Asked::parse(&word)? {
            Asked::Requirement(text) => requirements.push(text),
            Asked::Path { path, extras } if is_archive(&path) => archives.push(LocalArchive { path, extras }),
            Asked::Path { path, extras } => folders.push(ProjectFolder { path, extras, editable: false }),
        }
    }
    for word in found.editable {
        match Asked::parse(&word)? {
            Asked::Path { path, extras } if !is_archive(&path) => {
                folders.push(ProjectFolder { path, extras, editable: true });
            }
            _ => return Err(format!("`-e {word}` checks sources out into the image")),
        }
    }
    let sources =
        [requirements.len(), folders.len(), archives.len(), found.requirement_files.len(), found.groups.len()];
    if sources.iter().sum::<usize>() == 0 {
        return Err("it names nothing to install".into());
    }
    Ok(RunStep::Pip(Box::new(PipInstall {
        installer,
        interpreter,
        requirements,
        requirement_files: found.requirement_files,
        constraints: found.constraints,
        folders,
        archives,
        groups: found.groups,
        extras: found.extras,
        all_extras: found.all_extras,
        installer_args: found.installer_args,
        compiles: found.compiles.unwrap_or(installer == Installer::Pip),
        place: found.place,
        cache: found.cache,
        config: found.config,
    })))
}
