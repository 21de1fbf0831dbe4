//! Where Poetry installs: the environment that is there, the interpreter's own, or one that virtualenv makes for it.
//!
//! What an environment of virtualenv consists of is said in `python::virtualenv_package`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;

use crate::dockerfile::absolute;
use crate::dockerfile::run::{Interpreter, Mounted, Step};
use crate::image::filesystem::{Content, Found, Node};
use crate::image::users::Owner;
use crate::oci::Digest;
use crate::plan::files::{NotNative, StageFiles};
use crate::python::environment::{EnvironmentKind, PythonEnvironment, PythonHints};
use crate::python::poetry::PoetryProject;
use crate::python::virtual_environment::PythonVersion;
use crate::python::virtualenv_package::Virtualenv;
use crate::python::{Wheel, normalize_name};

use super::super::error::OpsError;
use super::super::installer::By;
use super::super::python as packages;
use super::evaluate::{Evaluation, Outcome};
use super::poetry::installation;
use super::poetry_settings::Settings;
use super::poetry_tool::Tool;
use super::stage::Stage;
use super::venv::{exact_version, executable, placed_entries};

/// The most that a pip may have which virtualenv brings, and a template.
const BUNDLED_LIMIT: u64 = 64 << 20;

/// Where Poetry installs.
#[derive(Clone, Debug)]
pub(super) enum Target {
    /// An environment or an interpreter that is there, by the program that launchers name.
    There {
        /// The program.
        interpreter: String,
        /// Its version.
        version: PythonVersion,
    },
    /// An environment that is made.
    New(Virtualenv),
}

impl Target {
    /// The version of its Python.
    pub(super) fn version(&self) -> PythonVersion {
        match self {
            Self::There { version, .. } => *version,
            Self::New(made) => made.python,
        }
    }

    /// The interpreter that launchers name.
    pub(super) fn launched_by(&self) -> String {
        match self {
            Self::There { interpreter, .. } => interpreter.clone(),
            Self::New(made) => format!("{}/bin/python", made.folder),
        }
    }

    pub(super) fn interpreter(&self) -> Interpreter {
        Interpreter::Path(self.launched_by())
    }
}

impl Evaluation<'_> {
    /// Where the project of `folder` is installed.
    pub(super) fn poetry_target(
        &self,
        stage: &Stage,
        files: &StageFiles,
        (tool, settings, variables): (&Tool, &Settings, &BTreeMap<String, String>),
        (folder, project): (&str, &PoetryProject),
    ) -> Result<Target, NotNative> {
        let system = system(stage, files, tool)?;
        let version = exact_version(stage, &system)
            .ok_or_else(|| NotNative::because("the exact version of its Python is not known"))?;
        let there = |environment: &str| {
            let interpreter = format!("{environment}/bin/python");
            match is_environment(files, environment)? {
                true => Ok(Target::There { interpreter, version }),
                false => Err(NotNative::because(format!("`{environment}` is no environment that is known"))),
            }
        };
        if let Some(environment) = variables.get("VIRTUAL_ENV") {
            return there(&absolute(folder, environment));
        }
        let of_project = absolute(folder, ".venv");
        let is_there = is_folder(files, &of_project)?;
        if settings.in_project != Some(false) && is_there {
            return there(&of_project);
        }
        let name = environment_name(project, folder, version);
        let environment = match settings.in_project.unwrap_or(false) {
            true => of_project,
            false => absolute("/", &format!("{}/{name}", settings.environments)),
        };
        if is_folder(files, &environment)? {
            return there(&environment);
        }
        if !settings.creates {
            let (major, minor, _) = version;
            let interpreter = format!("{}/bin/python{major}.{minor}", system.prefix);
            return match files.view().reach(&interpreter, true) {
                Ok(reached) if reached.found.node().is_some_and(Node::is_file) => {
                    Ok(Target::There { interpreter, version })
                }
                _ => Err(NotNative::because(format!("`{interpreter}` is no program that is known"))),
            };
        }
        let executable = active(files, variables, &system)?;
        let (major, minor, _) = version;
        let prompt = format!("{}-py{major}.{minor}", normalize_name(&project.name));
        let package = tool.packages.get("virtualenv").cloned();
        let package = package.ok_or_else(|| NotNative::because("which virtualenv Poetry has is not known"))?;
        let run_by = tool.python.scheme.interpreter.clone();
        let made = Virtualenv { folder: environment, executable, python: version, version: package, prompt, run_by };
        match made.is_pointed_to() && has_project_beside(files, &made.folder) {
            true => Err(NotNative::because(format!("virtualenv puts a `.venv` beside `{}`", made.folder))),
            false => Ok(Target::New(made)),
        }
    }

    /// Makes the environment, with the pip that virtualenv brings.
    pub(super) async fn poetry_environment(
        &mut self,
        stage: &mut Stage,
        mounts: &[Mounted],
        step: &Step,
        (tool, made): (&Tool, &Virtualenv),
        (folder, owner): (&str, Owner),
    ) -> Result<Outcome, OpsError> {
        let covers = |target: &str| {
            made.folder == target || made.folder.starts_with(&format!("{}/", target.trim_end_matches('/')))
        };
        if mounts.iter().filter_map(Mounted::target).any(covers) {
            return Ok(Err(NotNative::because("its environment is below a mount")));
        }
        let Some(wheel) = self.opened(tool, "virtualenv").await? else {
            return Ok(Err(NotNative::because("the virtualenv of the parent is not known file by file")));
        };
        let files = self.files(stage).await?;
        let prepared = prepared(&wheel, made).and_then(|(entries, pip)| {
            let (draft, _) = placed_entries(&files, &made.folder, &entries, owner)?;
            Ok((draft.finish(), pip))
        });
        let (placed, pip) = match prepared {
            Ok(prepared) => prepared,
            Err(reason) => return Ok(Err(reason)),
        };
        let first = stage.layers.len();
        self.place(stage, placed, step.command.clone())?;
        let keys = stage.layers[first..].iter().flat_map(|layer| &layer.key).map(ToString::to_string);
        stage.material.extend(keys.collect::<Vec<_>>());
        let named = pip.split(' ').next().unwrap_or_default().to_owned();
        let interpreter = Interpreter::Path(format!("{}/bin/python", made.folder));
        let options = BTreeMap::from([("no-deps".to_owned(), None)]);
        let wanted = installation(interpreter, vec![pip], options);
        match self.install(stage, mounts, step, (&wanted, By::Virtualenv), (folder, owner)).await? {
            Ok(_) => Ok(Ok(format!("an environment of virtualenv {} with {named}", made.version))),
            Err(reason) => Ok(Err(reason)),
        }
    }
}

type Entries = Vec<crate::python::virtual_environment::EnvironmentEntry>;

/// What the environment consists of, and its pip as a requirement that just the one in the wheel fulfils.
fn prepared(wheel: &Wheel, made: &Virtualenv) -> Result<(Entries, String), NotNative> {
    let bytes = |path: &str| {
        let member = wheel.archive().find(path)?;
        wheel.archive().read(member, BUNDLED_LIMIT).ok()
    };
    let read = |path: &str| String::from_utf8(bytes(path)?).ok();
    let of = |error: crate::python::virtualenv_package::VirtualenvError| NotNative::because(error.to_string());
    let entries = made.entries(&read).map_err(of)?;
    let path = made.bundled_pip(&read).map_err(of)?;
    let lost = || NotNative::because(format!("virtualenv's wheel has no `{path}`"));
    let digest = Digest::of(&bytes(&path).ok_or_else(lost)?);
    let version = path.rsplit('/').next().and_then(|name| name.split('-').nth(1)).ok_or_else(lost)?;
    Ok((entries, format!("pip=={version} --hash=sha256:{}", digest.hex())))
}

/// The interpreter that Poetry's own environment is of.
fn system(stage: &Stage, files: &StageFiles, tool: &Tool) -> Result<PythonEnvironment, NotNative> {
    if tool.python.kind == EnvironmentKind::System {
        return Ok(tool.python.clone());
    }
    let unknown = || NotNative::because("the interpreter that Poetry's environment is of is not known");
    if tool.python.kind != EnvironmentKind::Virtual {
        return Err(NotNative::because("its Python is not one with a prefix of its own"));
    }
    let Content::Known(text) = files.view().content(format!("{}/pyvenv.cfg", tool.python.prefix)) else {
        return Err(unknown());
    };
    let text = String::from_utf8_lossy(text).into_owned();
    let home = text.lines().find_map(|line| line.strip_prefix("home = ")).ok_or_else(unknown)?;
    let mut config = stage.config.config.clone();
    config.set_env("VIRTUAL_ENV", "");
    config.set_env("PATH", home);
    let found = packages::found(&files.view().files(), &config, &PythonHints::default());
    let found = found.map_err(|error| NotNative::because(error.to_string()))?;
    if found.kind == EnvironmentKind::System && found.version == tool.python.version {
        Ok(found)
    } else {
        Err(unknown())
    }
}

/// The interpreter that a new environment is of: the first of `PATH`, links followed, which has to be Poetry's own.
fn active(
    files: &StageFiles,
    variables: &BTreeMap<String, String>,
    system: &PythonEnvironment,
) -> Result<String, NotNative> {
    let path = variables.get("PATH").cloned().unwrap_or_default();
    let (_, first) = executable(files, &Interpreter::Named("python3".into()), &path)?;
    let (_, other) = executable(files, &Interpreter::Named("python".into()), &path)?;
    let own = files.view().reach(&system.scheme.interpreter, true).ok();
    let own = own.map(|reached| format!("/{}", String::from_utf8_lossy(&reached.path)));
    match first == other && own.as_ref() == Some(&first) {
        true => Ok(first),
        false => Err(NotNative::because("`python` of `PATH` is not the interpreter of Poetry")),
    }
}

/// The name of a project's environment among those of others.
fn environment_name(project: &PoetryProject, folder: &str, (major, minor, _): PythonVersion) -> String {
    let is_replaced = |c: char| " $`!*@\"\\\r\n\t".contains(c);
    let name: String =
        normalize_name(&project.name).chars().map(|c| if is_replaced(c) { '_' } else { c }).take(42).collect();
    // Six bytes are eight letters.
    let digest = Digest::of(folder.as_bytes());
    let bytes = digest.hex().as_bytes().chunks(2).take(6).filter_map(|pair| std::str::from_utf8(pair).ok());
    let bytes: Vec<u8> = bytes.filter_map(|pair| u8::from_str_radix(pair, 16).ok()).collect();
    format!("{name}-{}-py{major}.{minor}", URL_SAFE.encode(bytes))
}

/// Whether there is a folder at `path`.
fn is_folder(files: &StageFiles, path: &str) -> Result<bool, NotNative> {
    match files.view().reach(path, true) {
        Ok(reached) if reached.found == Found::Unknown => Err(NotNative::unknown(&reached.path)),
        Ok(reached) => Ok(reached.is_directory() && !reached.path.is_empty()),
        Err(error) => Err(NotNative::because(error.to_string())),
    }
}

/// Whether a project may lie beside an environment.
fn has_project_beside(files: &StageFiles, environment: &str) -> bool {
    let (beside, _) = environment.rsplit_once('/').unwrap_or_default();
    !matches!(files.view().reach(format!("{beside}/pyproject.toml"), true), Ok(at) if at.found == Found::Absent)
}

fn is_environment(files: &StageFiles, path: &str) -> Result<bool, NotNative> {
    let is_there =
        |name: &str| files.view().reach(format!("{path}/{name}"), true).is_ok_and(|at| at.found.node().is_some());
    Ok(is_folder(files, path)? && is_there("pyvenv.cfg") && is_there("bin/python"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_are_named_after_project_folder_and_python() {
        let project = PoetryProject::parse("[tool.poetry]\nname = 'Led_ger'\npackage-mode = false\n").unwrap();
        assert_eq!(environment_name(&project, "/app", (3, 11, 7)), "led-ger-9TtSrW0h-py3.11");
    }
}
