//! Poetry's settings in a stage: its variables, its files, and how `poetry config` changes them.
//!
//! A setting that is not known is a reason to leave the command to Poetry.

use std::collections::BTreeMap;

use crate::dockerfile::run::{Mounted, PoetryInstall, PoetrySetting, PoetrySettingName};
use crate::plan::files::NotNative;

use super::poetry_tool::Tool;

/// The user's file of settings, below the home folder.
pub(super) const CONFIG: &str = ".config/pypoetry/config.toml";

/// The plugin that puts another index in the place of the usual one, and the variable that names it.
pub(super) const MIRROR_PLUGIN: &str = "poetry-plugin-pypi-mirror";
const MIRROR: &str = "POETRY_PYPI_MIRROR_URL";

/// Beginnings of variables that change what is installed, or with which rights.
const REFUSED: [&str; 13] = [
    "POETRY_CERTIFICATES_",
    "POETRY_CONFIG_DIR",
    "POETRY_DATA_DIR",
    "POETRY_HTTP_BASIC_",
    "POETRY_INSTALLER_",
    "POETRY_PYPI_TOKEN_",
    "POETRY_REPOSITORIES_",
    "POETRY_VIRTUALENVS_",
    "TCL_LIBRARY",
    "VIRTUALENV_",
    "XDG_CONFIG_",
    "XDG_CACHE_HOME",
    "CONDA_",
];
/// Of these the ones that are understood, or change nothing.
const KNOWN: [&str; 5] = [
    "POETRY_INSTALLER_MAX_WORKERS",
    "POETRY_INSTALLER_PARALLEL",
    "POETRY_VIRTUALENVS_CREATE",
    "POETRY_VIRTUALENVS_IN_PROJECT",
    "POETRY_VIRTUALENVS_PATH",
];
/// Settings that change nothing in the image.
const IDLE: [&str; 5] =
    ["cache-dir", "installer.max-workers", "installer.parallel", "solver.lazy-wheel", "keyring.enabled"];

/// Where Poetry installs, as far as settings say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    /// `virtualenvs.create`.
    pub(super) creates: bool,
    /// `virtualenvs.in-project`.
    pub(super) in_project: Option<bool>,
    /// The folder of environments.
    pub(super) environments: String,
}

impl Settings {
    /// Reads files of settings, those of the project last; variables come before all of them.
    ///
    /// # Errors
    /// Fails for a setting that is not known.
    pub(super) fn read<'a>(
        texts: impl Iterator<Item = &'a String>,
        install: &PoetryInstall,
        variables: &BTreeMap<String, String>,
        home: Option<&str>,
    ) -> Result<Self, NotNative> {
        let mut said = BTreeMap::new();
        for text in texts {
            let document: toml::Table =
                text.parse().map_err(|_| NotNative::because("its file of settings cannot be read"))?;
            flatten("", &document, &mut said);
        }
        let (mut creates, mut in_project, mut cache) = (None, None, None);
        for (name, value) in said {
            match (name.as_str(), &value) {
                ("virtualenvs.create", toml::Value::Boolean(is_on)) => creates = Some(*is_on),
                ("virtualenvs.in-project", toml::Value::Boolean(is_on)) => in_project = Some(*is_on),
                ("cache-dir", toml::Value::String(folder)) => cache = Some(folder.clone()),
                (name, _) if IDLE.contains(&name) => {}
                (name, _) => return Err(NotNative::because(format!("`{name}` is among its settings"))),
            }
        }
        let set = |name: &str| variables.get(name).filter(|value| !value.is_empty()).cloned();
        let usual = home.map(|home| format!("{home}/.cache/pypoetry")).unwrap_or_default();
        let cache = set("POETRY_CACHE_DIR").or(cache).unwrap_or(usual);
        let environments = install.environments.clone().unwrap_or_else(|| format!("{cache}/virtualenvs"));
        if !environments.starts_with('/') || environments.contains(['{', '~']) {
            return Err(NotNative::because(format!("`{environments}` is no plain folder for environments")));
        }
        Ok(Self {
            creates: install.creates_environment.or(creates).unwrap_or(true),
            in_project: install.in_project.or(in_project),
            environments,
        })
    }
}

/// Values by their names, those of tables with dots between them.
fn flatten(prefix: &str, table: &toml::Table, found: &mut BTreeMap<String, toml::Value>) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        match value {
            toml::Value::Table(table) => flatten(&format!("{name}."), table, found),
            value => drop(found.insert(name, value.clone())),
        }
    }
}

/// The text of a file of settings once `setting` is written to it.
///
/// # Errors
/// Fails for a text that Poetry did not write by itself.
pub(super) fn with_setting(before: Option<&str>, setting: PoetrySetting) -> Result<String, NotNative> {
    const TABLE: &str = "[virtualenvs]";
    let name = match setting.name {
        PoetrySettingName::Create => "create",
        PoetrySettingName::InProject => "in-project",
    };
    let line = format!("{name} = {}", setting.is_on);
    let mut lines: Vec<String> = before.unwrap_or(TABLE).lines().map(str::to_owned).collect();
    let is_own = |line: &String| ["create = ", "in-project = "].iter().any(|key| line.starts_with(key));
    if lines.first().map(String::as_str) != Some(TABLE) || !lines[1..].iter().all(is_own) {
        return Err(NotNative::because("its file of settings has others beside this one"));
    }
    match lines.iter().position(|own| own.starts_with(&format!("{name} = "))) {
        Some(at) => lines[at] = line,
        None => lines.push(line),
    }
    Ok(lines.join("\n") + "\n")
}

/// Fails for a variable that changes what is installed.
///
/// # Errors
/// Fails with its name.
pub(super) fn check_variables(variables: &BTreeMap<String, String>) -> Result<(), NotNative> {
    let is_refused =
        |name: &String| REFUSED.iter().any(|beginning| name.starts_with(beginning)) && !KNOWN.contains(&name.as_str());
    match variables.iter().find(|(name, value)| is_refused(name) && !value.is_empty()) {
        Some((name, _)) => Err(NotNative::because(format!("the variable `{name}` changes what is installed"))),
        None => Ok(()),
    }
}

/// Fails for a secret that Poetry reads of its own accord.
///
/// # Errors
/// Fails with its name.
pub(super) fn check_mounts(mounts: &[Mounted]) -> Result<(), NotNative> {
    let is_read = |mount: &&Mounted| match mount {
        Mounted::SecretFile { target, .. } => !target.starts_with("/run/secrets/"),
        Mounted::SecretVariable { .. } | Mounted::Agent => true,
        Mounted::Files { .. } | Mounted::Cache { .. } => false,
    };
    match mounts.iter().find(is_read) {
        Some(Mounted::SecretFile { id, .. } | Mounted::SecretVariable { id, .. }) => {
            Err(NotNative::because(format!("it reads the secret `{id}`")))
        }
        Some(_) => Err(NotNative::because("it has an SSH agent")),
        None => Ok(()),
    }
}

/// The index in the place of the usual one.
pub(super) fn mirror(tool: &Tool, variables: &BTreeMap<String, String>) -> Option<String> {
    tool.packages.get(MIRROR_PLUGIN)?;
    variables.get(MIRROR).filter(|url| !url.is_empty()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::run::Cache;
    use crate::python::poetry::Selection;

    fn install() -> PoetryInstall {
        PoetryInstall {
            command: "poetry".into(),
            selection: Selection::default(),
            no_root: true,
            only_root: false,
            no_directory: false,
            sync: false,
            compiles: false,
            creates_environment: None,
            in_project: None,
            environments: None,
            cache: Cache::Home,
        }
    }

    fn read(texts: &[&str], install: &PoetryInstall) -> Result<Settings, String> {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let read = Settings::read(texts.iter(), install, &BTreeMap::new(), Some("/root"));
        read.map_err(|reason| reason.to_string())
    }

    #[test]
    fn variables_come_before_the_project_and_that_before_the_user() {
        let settings = |creates, in_project| {
            Ok(Settings { creates, in_project, environments: "/root/.cache/pypoetry/virtualenvs".into() })
        };
        assert_eq!(read(&[], &install()), settings(true, None));
        let user = "[virtualenvs]\ncreate = false\nin-project = false\n";
        let project = "[virtualenvs]\nin-project = true\n[installer]\nparallel = false\n";
        assert_eq!(read(&[user, project], &install()), settings(false, Some(true)));
        let given = PoetryInstall { creates_environment: Some(true), ..install() };
        assert_eq!(read(&[user], &given), settings(true, Some(false)));
        let other = read(&["[virtualenvs.options]\nno-pip = true\n"], &install());
        assert_eq!(other, Err("`virtualenvs.options.no-pip` is among its settings".to_owned()));
    }

    #[test]
    fn settings_are_written_as_poetry_writes_them() {
        let setting = |name, is_on| PoetrySetting { name, is_on, local: false };
        let first = with_setting(None, setting(PoetrySettingName::Create, false)).unwrap();
        assert_eq!(first, "[virtualenvs]\ncreate = false\n");
        let second = with_setting(Some(&first), setting(PoetrySettingName::InProject, true)).unwrap();
        assert_eq!(second, "[virtualenvs]\ncreate = false\nin-project = true\n");
        let third = with_setting(Some(&second), setting(PoetrySettingName::Create, true)).unwrap();
        assert_eq!(third, "[virtualenvs]\ncreate = true\nin-project = true\n");
        assert!(with_setting(Some("a = 1\n"), setting(PoetrySettingName::Create, true)).is_err());
    }

    #[test]
    fn variables_that_change_what_is_installed_are_refused() {
        let check = |name: &str| check_variables(&BTreeMap::from([(name.to_owned(), "x".to_owned())]));
        for name in ["POETRY_VERSION", "POETRY_HOME", "POETRY_VIRTUALENVS_CREATE", "POETRY_NO_INTERACTION", MIRROR] {
            assert_eq!(check(name), Ok(()), "{name}");
        }
        for name in ["POETRY_HTTP_BASIC_X_PASSWORD", "POETRY_VIRTUALENVS_PROMPT", "VIRTUALENV_COPIES", "TCL_LIBRARY"] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
