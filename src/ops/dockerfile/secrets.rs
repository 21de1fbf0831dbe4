//! What an installation is told by secrets: pip's file of settings, and variables that name indexes.
//!
//! It goes to the resolver alone. An address that may be a secret itself is left to a backend: locks keep addresses.

use std::collections::BTreeMap;

use url::Url;

use crate::dockerfile::absolute;
use crate::dockerfile::run::{ConfigFile, Mounted, PipInstall};
use crate::image::filesystem::Found;
use crate::inputs::requirements::RequirementOption;
use crate::plan::files::{NotNative, StageFiles};
use crate::python::pip_config::PipConfig;
use crate::settings::Installer;

use super::super::error::OpsError;
use super::evaluate::Evaluation;
use super::run::home_of;
use super::stage::Stage;

/// Variables of pip and of uv, and the option that each stands for.
const PIP: [(&str, &str); 3] =
    [("PIP_INDEX_URL", INDEX), ("PIP_EXTRA_INDEX_URL", EXTRA), ("PIP_TRUSTED_HOST", TRUSTED)];
const UV: [(&str, &str); 3] = [("UV_DEFAULT_INDEX", INDEX), ("UV_INDEX_URL", INDEX), ("UV_EXTRA_INDEX_URL", EXTRA)];
const INDEX: &str = "--index-url";
const EXTRA: &str = "--extra-index-url";
const TRUSTED: &str = "--trusted-host";

/// Options by their names.
type Options = BTreeMap<&'static str, Vec<String>>;

impl Evaluation<'_> {
    /// The options that secrets give an installation besides its own.
    ///
    /// # Errors
    /// Fails for a secret that is required and not there; inside, where what it says cannot be followed here.
    pub(super) fn secret_options(
        &self,
        (stage, files): (&Stage, &StageFiles),
        install: &PipInstall,
        (mounts, folder): (&[Mounted], &str),
    ) -> Result<Result<Vec<RequirementOption>, NotNative>, OpsError> {
        let places = settings_places(install.installer, home(stage, files).as_slice());
        let (mut of_files, mut of_variables, mut is_read) = (Options::new(), Options::new(), false);
        for mount in mounts {
            let role = match role(mount, install, (&places, folder)) {
                Ok(Some(role)) => role,
                Ok(None) => continue,
                Err(reason) => return Ok(Err(reason)),
            };
            let (Mounted::SecretFile { id, required, .. } | Mounted::SecretVariable { id, required, .. }) = mount
            else {
                continue;
            };
            let value = match self.request.secrets.get(id) {
                Some(value) => value,
                None if *required => return Err(OpsError::NoSecret { id: id.clone() }),
                None => continue,
            };
            let Some(value) = value.expose_text() else { return Ok(Err(unread(id, "it is no text"))) };
            match role {
                Role::Settings if is_read => return Ok(Err(unread(id, "there is another file of settings"))),
                Role::Settings => match PipConfig::parse(value) {
                    Ok(config) => {
                        is_read = true;
                        of_files = of_config(config);
                    }
                    Err(error) => return Ok(Err(unread(id, &error.to_string()))),
                },
                Role::Variable(option) => {
                    let values: Vec<String> = value.split_whitespace().map(str::to_owned).collect();
                    if !values.is_empty() && of_variables.insert(option, values).is_some() {
                        return Ok(Err(unread(id, "there is another variable for the same")));
                    }
                }
            }
            let told = of_files.iter().chain(&of_variables).filter(|(name, _)| **name != TRUSTED);
            if !told.flat_map(|(_, values)| values).all(|url| is_told_apart(url)) {
                return Ok(Err(unread(id, "an address in it may be the secret itself")));
            }
        }
        // A variable counts, and not the file's setting of the same name.
        of_files.extend(of_variables);
        Ok(besides(of_files, install))
    }
}

/// What a mounted secret is to an installer.
enum Role {
    Settings,
    /// A variable that stands for this option.
    Variable(&'static str),
}

/// What `mount` is to the installer; nothing where it does not read it.
fn role(mount: &Mounted, install: &PipInstall, (places, folder): (&[String], &str)) -> Result<Option<Role>, NotNative> {
    match mount {
        Mounted::SecretFile { target, id, .. } => {
            let target = absolute(folder, target);
            let is_named = matches!(&install.config, ConfigFile::Named(file) if absolute(folder, file) == target);
            // The user's own file does not count beside one that is named.
            let is_usual = install.config == ConfigFile::Usual && places.contains(&target);
            let name = target.rsplit('/').next().unwrap_or_default();
            match install.installer {
                Installer::Pip if is_named || is_usual => Ok(Some(Role::Settings)),
                Installer::Uv if name == "pip.conf" => Ok(None),
                _ if ["pip.conf", "uv.toml", ".pypirc"].contains(&name) => Err(reads(id)),
                _ => Ok(None),
            }
        }
        Mounted::SecretVariable { name, id, .. } => {
            let known = if install.installer == Installer::Pip { PIP } else { UV };
            match known.into_iter().find(|(variable, _)| variable == name) {
                Some((_, option)) => Ok(Some(Role::Variable(option))),
                None if ["PIP_", "UV_"].iter().any(|prefix| name.starts_with(prefix)) => Err(reads(id)),
                None => Ok(None),
            }
        }
        Mounted::Agent => Err(reads("ssh")),
        Mounted::Files { .. } | Mounted::Cache { .. } => Ok(None),
    }
}

fn reads(id: &str) -> NotNative {
    NotNative::because(format!("it reads the secret `{id}`"))
}

fn unread(id: &str, why: &str) -> NotNative {
    NotNative::because(format!("it reads the secret `{id}`: {why}"))
}

fn of_config(PipConfig { index, extra, trusted }: PipConfig) -> Options {
    let all = [(INDEX, index.into_iter().collect()), (EXTRA, extra), (TRUSTED, trusted)];
    all.into_iter().filter(|(_, values)| !values.is_empty()).collect()
}

/// Whether a URL's secret stands where every URL's does, so that the rest of it may be told: in the login. Without one the
/// path may be it, unless it is everybody's.
fn is_told_apart(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let has_login = !url.username().is_empty() || url.password().is_some();
    let is_plain = matches!(url.path(), "" | "/" | "/simple" | "/simple/");
    matches!(url.scheme(), "http" | "https")
        && url.query().is_none()
        && url.fragment().is_none()
        && (has_login || is_plain)
}

/// What counts of `told` beside the options of the line itself.
fn besides(told: Options, install: &PipInstall) -> Result<Vec<RequirementOption>, NotNative> {
    let given = |name: &str| install.installer_args.contains_key(name.trim_start_matches('-'));
    let has_index = given(INDEX) || given("default-index");
    let mut options = Vec::new();
    for (name, values) in told {
        if name == INDEX && has_index {
            continue;
        }
        if name == INDEX && values.len() > 1 || name != INDEX && given(name) {
            return Err(NotNative::because(format!("`{name}` is given by a secret and besides")));
        }
        let option = |value| RequirementOption { name, value: Some(value), file: "RUN".into(), line: 1 };
        options.extend(values.into_iter().map(option));
    }
    Ok(options)
}

/// The folders in which the runner of a stage's commands may have settings.
fn home(stage: &Stage, files: &StageFiles) -> Vec<String> {
    home_of(stage, files).into_iter().collect()
}

/// Where an installer looks for its settings, beside the homes of those who run it.
fn settings_places(installer: Installer, homes: &[String]) -> Vec<String> {
    let (system, own): (&[&str], &[&str]) = match installer {
        Installer::Pip => (&["/etc/pip.conf", "/etc/xdg/pip/pip.conf"], &[".config/pip/pip.conf", ".pip/pip.conf"]),
        Installer::Uv => (&["/etc/uv/uv.toml", "/etc/xdg/uv/uv.toml"], &[".config/uv/uv.toml"]),
    };
    let of_home = |home: &String| own.iter().map(|file| absolute(home, file)).collect::<Vec<_>>();
    system.iter().map(|file| (*file).to_owned()).chain(homes.iter().flat_map(of_home)).collect()
}

/// Why the image's own files of settings stand in the way of a command that the stage's user runs.
pub(super) fn stage_settings(
    (stage, files): (&Stage, &StageFiles),
    install: &PipInstall,
    (mounts, folder): (&[Mounted], &str),
) -> Option<NotNative> {
    let is_mounted = |file: &str| {
        mounts
            .iter()
            .any(|mount| matches!(mount, Mounted::SecretFile { target, .. } if absolute(folder, target) == file))
    };
    match &install.config {
        ConfigFile::Off => None,
        ConfigFile::Named(file) if is_mounted(&absolute(folder, file)) => {
            found(files, &settings_places(install.installer, &[]))
        }
        ConfigFile::Named(file) => Some(NotNative::because(format!("`{file}` has settings of the installer"))),
        ConfigFile::Usual => {
            if let Some(folder) = stage.scope.value("XDG_CONFIG_HOME").filter(|folder| !folder.is_empty()) {
                return Some(NotNative::because(format!("settings of the installer may be in `{folder}`")));
            }
            found(files, &settings_places(install.installer, &home(stage, files)))
        }
    }
}

fn found(files: &StageFiles, places: &[String]) -> Option<NotNative> {
    let there = |path: &&String| files.view().reach(path, true).is_ok_and(|at| at.found != Found::Absent);
    let found = places.iter().find(there)?;
    Some(NotNative::because(format!("`{found}` has settings of the installer")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_be_told_where_its_secret_is_its_login() {
        for (url, expected) in [
            ("https://u:p@index.example/private/simple", true),
            ("https://token@index.example/simple/", true),
            ("https://index.example/simple", true),
            ("https://index.example", true),
            ("https://index.example/5f1c/simple", false),
            ("https://u:p@index.example/simple?key=5f1c", false),
            ("file:///wheels", false),
            ("index.example", false),
        ] {
            assert_eq!(is_told_apart(url), expected, "{url}");
        }
    }
}
