//! The Poetry of a stage: which version, in which environment, with which packages beside it.
//!
//! Only versions whose ways were looked at count; a plugin that is not known may do anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::str::FromStr as _;

use pep440_rs::Version;

use crate::dockerfile::absolute;
use crate::image::filesystem::{Found, Node};
use crate::plan::files::{NotNative, StageFiles};
use crate::python::Wheel;
use crate::python::environment::{PythonEnvironment, PythonHints};
use crate::python::lock::{Lock, LockedWheel};

use super::super::error::OpsError;
use super::super::facts::{LocalFacts, Wanted};
use super::super::installer::names;
use super::super::plan::Planning;
use super::super::{python as packages, resolution};
use super::evaluate::Evaluation;
use super::poetry_settings::MIRROR_PLUGIN;
use super::python::Installs;
use super::stage::Stage;

/// The first version that was looked at, and the first that was not.
const FROM: &str = "2.0.0";
const BELOW: &str = "2.6.0.dev0";
/// Packages with Poetry in their name that do not change what it installs.
const KNOWN: [&str; 5] = ["poetry", "poetry-core", "poetry-plugin-export", "poetry-plugin-shell", MIRROR_PLUGIN];
/// The section of entry points by which a plugin is found.
const PLUGIN: &str = "[poetry.";

/// The Poetry that a command runs.
#[derive(Clone, Debug)]
pub(super) struct Tool {
    /// The environment that it is in.
    pub(super) python: PythonEnvironment,
    /// The versions of what is there, by name.
    pub(super) packages: BTreeMap<String, String>,
    /// What was installed there from a URL or a folder.
    pub(super) from_places: BTreeSet<String>,
    /// What this build installs there, with its wheels.
    lock: Lock,
    installs: Option<Installs>,
}

impl Tool {
    /// The version as it is written.
    pub(super) fn version(&self) -> String {
        self.packages.get("poetry").cloned().unwrap_or_default()
    }

    pub(super) fn parsed_version(&self) -> Version {
        Version::from_str(&self.version()).unwrap_or_else(|_| Version::new([0]))
    }

    /// The wheel of a package that this build installs.
    pub(super) fn wheel(&self, name: &str) -> Option<&LockedWheel> {
        self.lock.packages.iter().find(|wheel| wheel.name == name)
    }

    fn check(&self) -> Result<(), NotNative> {
        let (version, parsed) = (self.version(), self.parsed_version());
        let is_known = |from: &str, below: &str| {
            Version::from_str(from).is_ok_and(|from| parsed >= from)
                && Version::from_str(below).is_ok_and(|below| parsed < below)
        };
        if !is_known(FROM, BELOW) || parsed.any_prerelease() || parsed.is_local() {
            return Err(NotNative::because(format!("what Poetry {version} installs is not known")));
        }
        match self.packages.keys().find(|name| name.contains("poetry") && !KNOWN.contains(&name.as_str())) {
            Some(name) => Err(NotNative::because(format!("`{name}` may change what Poetry installs"))),
            None => Ok(()),
        }
    }
}

impl Evaluation<'_> {
    /// The Poetry that `command` is, run in `folder`.
    pub(super) async fn poetry_tool(
        &mut self,
        stage: &Stage,
        files: &StageFiles,
        variables: &BTreeMap<String, String>,
        (command, folder): (&str, &str),
    ) -> Result<Result<Tool, NotNative>, OpsError> {
        let python = match environment(stage, files, variables, (command, folder)) {
            Ok(python) => python,
            Err(reason) => return Ok(Err(reason)),
        };
        let site = &python.scheme.purelib;
        let installs = all(stage).find(|installs| installs.site == *site).cloned();
        if installs.is_none() && stage.sites.contains(site) {
            return Ok(Err(NotNative::because(
                "packages went to another place before, and which Poetry is left is not known",
            )));
        }
        let lock = match &installs {
            Some(installs) => self.lock_of(stage, installs).await?,
            None => Lock::default(),
        };
        let mut present: BTreeMap<String, String> =
            python.installed.iter().map(|dist| (dist.name.clone(), dist.version.clone())).collect();
        lock.removed.iter().for_each(|gone| drop(present.remove(&gone.name)));
        present.extend(lock.packages.iter().map(|wheel| (wheel.name.clone(), wheel.version.clone())));
        let from_places = lock.packages.iter().filter(|wheel| wheel.direct_url.is_some());
        let from_places = from_places.map(|wheel| wheel.name.clone()).collect();
        let tool = Tool { python, packages: present, from_places, lock, installs };
        if let Err(reason) = tool.check() {
            return Ok(Err(reason));
        }
        Ok(match self.plugin(&tool).await? {
            Some(name) => Err(NotNative::because(format!("the plugin `{name}` may change what Poetry installs"))),
            None => Ok(tool),
        })
    }

    /// What installations of this build come to.
    async fn lock_of(&self, stage: &Stage, installs: &Installs) -> Result<Lock, OpsError> {
        let local = LocalFacts { wanted: Some(Wanted::Installs(installs.list.clone())), ..LocalFacts::default() };
        let at = stage.base.at.clone().or_else(|| self.target.clone()).ok_or(OpsError::NoTarget)?;
        let (request, parent) = (&installs.upon.request, installs.upon.parent.clone());
        let mut planning = Planning::upon(self.means, request, &local, at, parent, installs.before.view().files());
        Ok(packages::locked_packages(&mut planning, &self.known).await?.1)
    }

    /// A plugin among what was asked for by name.
    async fn plugin(&self, tool: &Tool) -> Result<Option<String>, OpsError> {
        let named = tool.installs.as_ref().map(named).unwrap_or_default();
        for name in named.iter().filter(|name| !KNOWN.contains(&name.as_str())) {
            let Some(wheel) = self.opened(tool, name).await? else { continue };
            let is_plugin = |text: &[u8]| String::from_utf8_lossy(text).lines().any(|line| line.starts_with(PLUGIN));
            if wheel.entry_points_text().is_some_and(is_plugin) {
                return Ok(Some(name.clone()));
            }
        }
        Ok(None)
    }

    /// The wheel of a package that this build installs, fetched.
    pub(super) async fn opened(&self, tool: &Tool, name: &str) -> Result<Option<Wheel>, OpsError> {
        let (Some(locked), Some(installs)) = (tool.wheel(name), &tool.installs) else { return Ok(None) };
        let sources: Vec<_> = installs.list.iter().map(|install| install.source.clone()).collect();
        let fetcher = resolution::fetcher(self.means, &installs.upon.request, &sources).await?;
        fetcher.fetch(locked).await?;
        let path = self.means.store.path(&locked.sha256);
        let file = File::open(&path).map_err(|source| OpsError::ReadFile { path, source })?;
        Ok(Some(Wheel::open(file, &locked.filename)?))
    }
}

/// The installations of this build, the last first.
fn all(stage: &Stage) -> impl Iterator<Item = &Installs> {
    stage.installs.iter().chain(stage.past.iter().rev())
}

/// What installations were asked for by name.
fn named(installs: &Installs) -> BTreeSet<String> {
    installs.list.iter().flat_map(|install| names(&install.source)).collect()
}

/// The environment of the first `poetry` of `PATH`.
fn environment(
    stage: &Stage,
    files: &StageFiles,
    variables: &BTreeMap<String, String>,
    (command, folder): (&str, &str),
) -> Result<PythonEnvironment, NotNative> {
    let path = variables.get("PATH").cloned().unwrap_or_default();
    let candidates: Vec<String> = match command.contains('/') {
        true => vec![absolute(folder, command)],
        false => path.split(':').filter(|at| at.starts_with('/')).map(|at| format!("{at}/{command}")).collect(),
    };
    for program in candidates {
        let (bin, _) = program.rsplit_once('/').unwrap_or_default();
        let made = all(stage).find(|installs| installs.upon.python.scheme.scripts == bin);
        if let Some(installs) = made.filter(|installs| named(installs).contains("poetry")) {
            return Ok(installs.upon.python.clone());
        }
        let Ok(reached) = files.view().reach(&program, true) else { continue };
        match reached.found {
            Found::Known(node) if Node::is_file(node) => {
                let real = format!("/{}", String::from_utf8_lossy(&reached.path));
                return environment_of(stage, files, &real);
            }
            Found::Unknown => return Err(NotNative::unknown(&reached.path)),
            Found::Absent if stage.scripts.iter().any(|scripts| scripts == bin) && made.is_none() => {
                return Err(NotNative::because(format!("the programs in `{bin}` are not known before they are made")));
            }
            Found::Known(_) | Found::Absent => {}
        }
    }
    Err(NotNative::because(format!("`{command}` is not where it is looked for")))
}

/// The environment whose program this is.
fn environment_of(stage: &Stage, files: &StageFiles, program: &str) -> Result<PythonEnvironment, NotNative> {
    let (bin, _) = program.rsplit_once('/').unwrap_or_default();
    let mut config = stage.config.config.clone();
    config.set_env("VIRTUAL_ENV", "");
    config.set_env("PATH", bin);
    let flat = stage.installs.as_ref().map_or(files, |installs| &installs.before).view().files();
    let found = packages::found(&flat, &config, &PythonHints::default());
    found.map_err(|error| NotNative::because(error.to_string()))
}
