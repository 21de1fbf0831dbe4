//! `uv sync`.
//!
//! The project, its lock and its environment are not looked at.

use std::collections::BTreeMap;

use super::installation::{Cache, ConfigFile, Lookup};
use super::options::{self, Given, Known, switch, value};
use super::pip::uv_installation;
use super::pip_options::{Meaning, UV_GENERAL, UV_RESOLVES};
use super::step::RunStep;

/// `uv sync`: the environment of the project in the working folder becomes what its lock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UvSync {
    /// The environment: `UV_PROJECT_ENVIRONMENT`, with `--active` that of `VIRTUAL_ENV`, else `.venv` of the project.
    pub environment: Option<String>,
    /// Whether `environment` is `VIRTUAL_ENV`'s.
    pub active: bool,
    /// The interpreter asked for (`--python`).
    pub python: Option<String>,
    /// Whether the lock is taken as it is (`--frozen`).
    pub frozen: bool,
    /// Whether a lock that does not fit is an error (`--locked`).
    pub locked: bool,
    /// Extras of the project.
    pub extras: Vec<String>,
    /// All of them.
    pub all_extras: bool,
    /// Which groups of dependencies.
    pub groups: Groups,
    /// Members of the workspace in the project's place (`--package`).
    pub packages: Vec<String>,
    /// All of them (`--all-packages`).
    pub all_packages: bool,
    /// Whether the project itself is left out.
    pub no_install_project: bool,
    /// Whether all members of the workspace are left out.
    pub no_install_workspace: bool,
    /// Whether projects are installed as wheels are (`--no-editable`).
    pub no_editable: bool,
    /// Whether packages that the lock does not name stay.
    pub inexact: bool,
    /// Whether modules are compiled.
    pub compiles: bool,
    /// What is left for the resolver, as for `PipInstall`.
    pub installer_args: BTreeMap<String, Option<String>>,
    /// Where what was fetched is kept.
    pub cache: Cache,
    /// The file of settings that counts besides.
    pub config: ConfigFile,
}

/// Groups of dependencies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Groups {
    /// Besides the default ones (`--group`).
    pub with: Vec<String>,
    /// All of them (`--all-groups`).
    pub all: bool,
    /// These, without the project's own dependencies (`--only-group`, `--only-dev`).
    pub only: Vec<String>,
    /// Not these (`--no-group`, `--no-dev`).
    pub without: Vec<String>,
    /// Not the default ones (`--no-default-groups`).
    pub no_defaults: bool,
}

/// What an option means to `uv sync` alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncOption {
    Frozen,
    Locked,
    NoDev,
    OnlyDev,
    Group,
    OnlyGroup,
    NoGroup,
    AllGroups,
    NoDefaultGroups,
    Package,
    AllPackages,
    NoInstallProject,
    NoInstallWorkspace,
    NoEditable,
    Inexact,
    Active,
}

const fn own(names: &'static [&'static str], option: SyncOption) -> Known<Meaning> {
    switch(names, Meaning::Sync(option))
}

const fn own_value(names: &'static [&'static str], option: SyncOption) -> Known<Meaning> {
    value(names, Meaning::Sync(option))
}

const UV_SYNC: &[Known<Meaning>] = &[
    own(&["--frozen"], SyncOption::Frozen).or("UV_FROZEN"),
    own(&["--locked"], SyncOption::Locked).or("UV_LOCKED"),
    own(&["--no-dev"], SyncOption::NoDev).or("UV_NO_DEV"),
    own(&["--only-dev"], SyncOption::OnlyDev),
    own_value(&["--group"], SyncOption::Group),
    own_value(&["--only-group"], SyncOption::OnlyGroup),
    own_value(&["--no-group"], SyncOption::NoGroup).or("UV_NO_GROUP"),
    own(&["--all-groups"], SyncOption::AllGroups),
    own(&["--no-default-groups"], SyncOption::NoDefaultGroups).or("UV_NO_DEFAULT_GROUPS"),
    own_value(&["--package"], SyncOption::Package),
    own(&["--all-packages"], SyncOption::AllPackages),
    own(&["--no-install-project"], SyncOption::NoInstallProject).or("UV_NO_INSTALL_PROJECT"),
    own(&["--no-install-workspace"], SyncOption::NoInstallWorkspace).or("UV_NO_INSTALL_WORKSPACE"),
    own(&["--no-editable"], SyncOption::NoEditable),
    own(&["--inexact"], SyncOption::Inexact),
    own(&["--active"], SyncOption::Active),
    switch(&["--exact"], Meaning::Idle),
    value(&["--extra"], Meaning::Extra),
    switch(&["--all-extras"], Meaning::AllExtras),
];

const TABLES: &[&[Known<Meaning>]] = &[UV_GENERAL, UV_RESOLVES, UV_SYNC];

/// Variables that change what `uv sync` does and are refused.
const REFUSED: [&str; 4] = ["UV_NO_INSTALL_LOCAL", "UV_NO_INSTALL_PACKAGE", "UV_NO_SYNC", "UV_ISOLATED"];

/// Reads what follows `uv sync`; `leading` stood before `sync`.
///
/// # Errors
/// Fails with a reason for an option or a variable that is not understood.
pub(super) fn read_sync(
    leading: Vec<(Meaning, String)>,
    words: &[String],
    lookup: Lookup<'_>,
) -> Result<RunStep, String> {
    let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
    if let Some(name) = REFUSED.iter().find(|name| set(name).is_some()) {
        return Err(format!("the variable `{name}` changes what is installed"));
    }
    let behind = options::read(words, TABLES)?;
    if let Some(operand) = behind.operands.first() {
        return Err(format!("`uv sync` takes no `{operand}`"));
    }
    let given = Given { options: [leading, behind.options].concat(), operands: Vec::new() };
    let found = uv_installation(&given, TABLES, lookup)?;
    let has = |option: SyncOption| found.sync.iter().any(|(given, _)| *given == option);
    let named = |option: SyncOption| {
        let values = found.sync.iter().filter(move |(given, _)| *given == option);
        values.flat_map(|(_, value)| value.split_whitespace()).map(str::to_owned).collect::<Vec<_>>()
    };
    let only_dev = has(SyncOption::OnlyDev).then(|| "dev".to_owned());
    let no_dev = has(SyncOption::NoDev).then(|| "dev".to_owned());
    let groups = Groups {
        with: named(SyncOption::Group),
        all: has(SyncOption::AllGroups),
        only: named(SyncOption::OnlyGroup).into_iter().chain(only_dev).collect(),
        without: named(SyncOption::NoGroup).into_iter().chain(no_dev).collect(),
        no_defaults: has(SyncOption::NoDefaultGroups),
    };
    let (frozen, locked, active) = (has(SyncOption::Frozen), has(SyncOption::Locked), has(SyncOption::Active));
    if frozen && locked {
        return Err("`--frozen` and `--locked` exclude each other".into());
    }
    let environment = if active { set("VIRTUAL_ENV") } else { None };
    let active = environment.is_some();
    Ok(RunStep::UvSync(Box::new(UvSync {
        environment: environment.or_else(|| set("UV_PROJECT_ENVIRONMENT")),
        active,
        frozen,
        locked,
        groups,
        packages: named(SyncOption::Package),
        all_packages: has(SyncOption::AllPackages),
        no_install_project: has(SyncOption::NoInstallProject),
        no_install_workspace: has(SyncOption::NoInstallWorkspace),
        no_editable: has(SyncOption::NoEditable),
        inexact: has(SyncOption::Inexact),
        python: found.python,
        extras: found.extras,
        all_extras: found.all_extras,
        compiles: found.compiles.unwrap_or(false),
        installer_args: found.installer_args,
        cache: found.cache,
        config: found.config,
    })))
}
