//! Virtual environments: `python -m venv`, `virtualenv`, `uv venv`, and what activates them.
//!
//! None is made or looked at.

use super::installation::{Cache, Lookup};
use super::options::{self, Given, Known, switch, value};
use super::pip::{Interpreter, uv_installation};
use super::pip_options::{Meaning, UV_GENERAL, UV_RESOLVES};
use super::step::RunStep;

/// A virtual environment that is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Venv {
    /// The program that makes it, whose files differ from those of others.
    pub tool: VenvTool,
    /// The interpreter that it is of.
    pub interpreter: Interpreter,
    /// Its folder.
    pub folder: String,
    /// Whether it sees the packages of its interpreter.
    pub system_site_packages: bool,
    /// Whether it has copies of the interpreter instead of links.
    pub copies: bool,
    /// Whether pip is put into it.
    pub with_pip: bool,
    /// Whether pip and setuptools are then upgraded from an index.
    pub upgrade_deps: bool,
    /// Whether what is in its folder is removed first.
    pub clear: bool,
    /// What its prompt says, where that is not the name of its folder.
    pub prompt: Option<String>,
    /// Whether its folder is the one that it has where none is named.
    pub is_default_folder: bool,
    /// Where uv keeps what it fetched.
    pub cache: Cache,
}

/// A program that makes environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VenvTool {
    /// The standard library's.
    Venv,
    /// `virtualenv`.
    Virtualenv,
    /// `uv venv`.
    Uv,
}

impl Venv {
    /// Whether packages are asked of an index.
    pub(super) fn asks_an_index(&self) -> bool {
        self.upgrade_deps || (self.with_pip && self.tool == VenvTool::Uv)
    }
}

/// What an option means to a program that makes environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VenvOption {
    Idle,
    Python,
    SystemSitePackages,
    Copies,
    Links,
    WithoutPip,
    Seed,
    UpgradeDeps,
    Clear,
    Prompt,
}

use VenvOption::{Clear, Copies, Idle, Links, Prompt, Python, Seed, SystemSitePackages, UpgradeDeps, WithoutPip};

const VENV: &[Known<VenvOption>] = &[
    switch(&["--system-site-packages"], SystemSitePackages),
    switch(&["--copies"], Copies),
    switch(&["--symlinks"], Links),
    switch(&["--clear"], Clear),
    switch(&["--without-pip"], WithoutPip),
    switch(&["--upgrade-deps"], UpgradeDeps),
    value(&["--prompt"], Prompt),
];

const VIRTUALENV: &[Known<VenvOption>] = &[
    value(&["-p", "--python"], Python),
    switch(&["--system-site-packages"], SystemSitePackages),
    switch(&["--copies", "--always-copy"], Copies),
    switch(&["--symlinks"], Links),
    switch(&["--clear"], Clear),
    value(&["--prompt"], Prompt),
    switch(&["-q", "--quiet", "-v", "--verbose"], Idle),
];

const fn own(names: &'static [&'static str], option: VenvOption) -> Known<Meaning> {
    switch(names, Meaning::Venv(option))
}

const UV_VENV: &[Known<Meaning>] = &[
    own(&["--seed"], Seed).or("UV_VENV_SEED"),
    own(&["-c", "--clear"], Clear).or("UV_VENV_CLEAR"),
    own(&["--allow-existing", "--no-project"], Idle),
    own(&["--system-site-packages"], SystemSitePackages),
    value(&["--prompt"], Meaning::Venv(Prompt)),
    switch(&["--system"], Meaning::Idle),
];

const UV_TABLES: &[&[Known<Meaning>]] = &[UV_GENERAL, UV_VENV, UV_RESOLVES];

/// Reads what follows `python -m venv`.
///
/// # Errors
/// Fails with a reason for an option that is not understood.
pub(super) fn read_venv(python: &str, words: &[String]) -> Result<RunStep, String> {
    let given = options::read(words, &[VENV])?;
    let folder = folder(&given.operands)?;
    finished(VenvTool::Venv, Interpreter::of_command(python), folder, &given.options, !given.has(WithoutPip))
}

/// Reads what follows `virtualenv`, which `python` runs where it is known which Python does.
///
/// # Errors
/// Fails with a reason for an option or a variable that is not understood.
pub(super) fn read_virtualenv(command: &str, words: &[String], lookup: Lookup<'_>) -> Result<RunStep, String> {
    let variables = ["CLEAR", "COPIES", "DOWNLOAD", "NO_SEED", "NO_PIP", "PIP", "PYTHON", "SYSTEM_SITE_PACKAGES"];
    if let Some(name) = variables.iter().find(|name| lookup(&format!("VIRTUALENV_{name}")).is_some()) {
        return Err(format!("the variable `VIRTUALENV_{name}` changes what is made"));
    }
    let given = options::read(words, &[VIRTUALENV])?;
    let folder = folder(&given.operands)?;
    let interpreter = match given.last(Python) {
        Some(python) => Interpreter::Asked(python.to_owned()),
        None => Interpreter::of_command(command),
    };
    finished(VenvTool::Virtualenv, interpreter, folder, &given.options, true)
}

/// Reads what follows `uv venv`; `leading` stood before `venv`.
///
/// # Errors
/// Fails with a reason for an option or a variable that is not understood.
pub(super) fn read_uv_venv(
    leading: Vec<(Meaning, String)>,
    words: &[String],
    lookup: Lookup<'_>,
) -> Result<RunStep, String> {
    if lookup("UV_VENV_RELOCATABLE").is_some_and(|value| !value.is_empty()) {
        return Err("the variable `UV_VENV_RELOCATABLE` changes what is made".into());
    }
    let behind = options::read(words, UV_TABLES)?;
    let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
    let is_default_folder = behind.operands.is_empty() && set("UV_PROJECT_ENVIRONMENT").is_none();
    let folder = match behind.operands.as_slice() {
        [] => set("UV_PROJECT_ENVIRONMENT").unwrap_or_else(|| ".venv".to_owned()),
        operands => folder(operands)?,
    };
    let given = Given { options: [leading, behind.options].concat(), operands: Vec::new() };
    let found = uv_installation(&given, UV_TABLES, lookup)?;
    let interpreter = found.python.map_or(Interpreter::System, Interpreter::Asked);
    let with_pip = found.venv.iter().any(|(option, _)| *option == Seed);
    match finished(VenvTool::Uv, interpreter, folder, &found.venv, with_pip)? {
        RunStep::Venv(venv) => Ok(RunStep::Venv(Venv { cache: found.cache, is_default_folder, ..venv })),
        step => Ok(step),
    }
}

fn folder(operands: &[String]) -> Result<String, String> {
    match operands {
        [folder] if !folder.is_empty() => Ok(folder.clone()),
        _ => Err("it does not name one folder".into()),
    }
}

fn finished(
    tool: VenvTool,
    interpreter: Interpreter,
    folder: String,
    options: &[(VenvOption, String)],
    with_pip: bool,
) -> Result<RunStep, String> {
    let has = |option: VenvOption| options.iter().any(|(given, _)| *given == option);
    let prompt = options.iter().rev().find(|(given, _)| *given == Prompt).map(|(_, value)| value.clone());
    if has(Copies) && has(Links) || has(UpgradeDeps) && !with_pip {
        return Err("its options exclude each other".into());
    }
    if prompt.as_deref().is_some_and(|prompt| prompt.is_empty() || prompt == ".") {
        return Err("its prompt is taken from the working folder".into());
    }
    Ok(RunStep::Venv(Venv {
        tool,
        interpreter,
        folder,
        system_site_packages: has(SystemSitePackages),
        copies: has(Copies),
        with_pip,
        upgrade_deps: has(UpgradeDeps),
        clear: has(Clear),
        prompt,
        is_default_folder: false,
        cache: Cache::Home,
    }))
}
