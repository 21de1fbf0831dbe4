//! Installations of packages: what a `pip install` of a `RUN` leaves, planned as the settings' requirements are.
//!
//! What is resolved, and how layers are cut, is the business of `ops::python`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::dockerfile::run::{Mounted, PipInstall, RunStep, Step};
use crate::image::ParentImage;
use crate::image::filesystem::Content;
use crate::image::users::Owner;
use crate::inputs::requirements::SourcedRequirements;
use crate::layer::EntryPath;
use crate::plan::files::{NotNative, StageFiles};
use crate::python::environment::{EnvironmentKind, InstallPlace, PythonEnvironment};
use crate::settings::{DockerSettings, Installer};

use super::super::error::OpsError;
use super::super::facts::{Install, LocalFacts, PinnedLock, Wanted};
use super::super::installer::By;
use super::super::kept_locks::PlannedLock;
use super::super::plan::Planning;
use super::super::python as packages;
use super::super::request::BuildRequest;
use super::evaluate::{Evaluation, Outcome};
use super::interpreter::{environment, lacks_pip, material, place, unknown_below};
use super::local_project::LocalProject;
use super::requirements::{Asked, arguments};
use super::secrets::stage_settings;
use super::stage::Stage;

/// Installations into one environment, one after the other, and the layers that they come to.
#[derive(Clone, Debug)]
pub(super) struct Installs {
    pub(super) list: Vec<Install>,
    /// The stage's files before the first one.
    pub(super) before: StageFiles,
    /// The places of their layers among those of the stage.
    at: usize,
    count: usize,
    /// Where they go.
    pub(super) site: String,
    /// What the last of them was planned with.
    pub(super) upon: Box<Ground>,
}

/// What an installation is planned with.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) request: BuildRequest,
    pub(super) parent: ParentImage,
    pub(super) python: PythonEnvironment,
}

/// An installation that is done here.
pub(super) struct Prepared {
    pub(super) request: BuildRequest,
    /// What the stage stands on, with the stage's own config.
    pub(super) parent: ParentImage,
    pub(super) python: PythonEnvironment,
    pub(super) place: Option<InstallPlace>,
    source: SourcedRequirements,
    by: By,
    /// What a lock says, and whether what was installed there before goes.
    pinned: Option<(Arc<PinnedLock>, bool)>,
    required: Vec<String>,
}

impl Prepared {
    /// The same with the packages of a lock, and with no others where that is `exact`.
    pub(super) fn pinned_to(self, lock: PinnedLock, exact: bool) -> Self {
        Self { pinned: Some((Arc::new(lock), exact)), ..self }
    }

    /// The same with what a project requires.
    pub(super) fn requiring(self, required: Vec<String>) -> Self {
        Self { required, ..self }
    }

    /// Whether nothing is asked for.
    pub(super) fn is_empty(&self) -> bool {
        self.required.is_empty() && self.source.set.requirements.is_empty()
    }
}

impl Evaluation<'_> {
    /// Carries an installation out.
    pub(super) async fn pip(
        &mut self,
        stage: &mut Stage,
        mounts: &[Mounted],
        step: &Step,
        install: &PipInstall,
        place: (&str, Owner),
    ) -> Result<Outcome, OpsError> {
        self.install(stage, mounts, step, (install, By::of(install.installer)), place).await
    }

    /// Carries an installation out as `by` does it.
    pub(super) async fn install(
        &mut self,
        stage: &mut Stage,
        mounts: &[Mounted],
        step: &Step,
        (install, by): (&PipInstall, By),
        (folder, owner): (&str, Owner),
    ) -> Result<Outcome, OpsError> {
        let files = self.files(stage).await?;
        let settings = || stage_settings((stage, &files), install, (mounts, folder));
        if let Some(reason) = refused(install).or_else(settings) {
            return Ok(Err(reason));
        }
        let secret = match self.secret_options((stage, &files), install, (mounts, folder))? {
            Ok(secret) if secret.is_empty() || install.folders.is_empty() => secret,
            Ok(_) => return Ok(Err(NotNative::because("it installs a project with what a secret says"))),
            Err(reason) => return Ok(Err(reason)),
        };
        let variables = self.variables(stage, mounts, step)?;
        let asked = Asked { mounts, files: &files, folder, variables: &variables };
        let source = match self.source(&asked, step, install, secret)? {
            Ok(source) => source,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut prepared = match self.prepared(stage, &files, (step, mounts, install, source), (folder, owner)) {
            Ok(prepared) => Prepared { by, ..prepared },
            Err(reason) => return Ok(Err(reason)),
        };
        let mut own = None;
        if let Some(project) = install.folders.first() {
            match self.local_project(stage, &asked, (install, project), &prepared).await? {
                Ok(LocalProject { name, required, left }) => {
                    (prepared, own) = (prepared.requiring(required), Some((name, left)));
                }
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let site = prepared.python.scheme.purelib.clone();
        // What seeds an environment does not lock it.
        let is_locked = prepared.by == By::Uv
            && prepared.python.kind == EnvironmentKind::Virtual
            && !matches!(step.does, RunStep::Venv(_));
        let environment = is_locked.then(|| (prepared.python.prefix.clone(), prepared.python.version));
        let mut outcome = match prepared.is_empty() && own.is_some() {
            true => Ok("it requires nothing".to_owned()),
            false => self.placed(stage, files, prepared).await?,
        };
        if let (Ok(why), Some((name, left))) = (&outcome, own) {
            let why = format!("the project: {why}");
            outcome = self.place_project(stage, (&name, site), &left, owner)?.map(|()| why);
        }
        if let (Ok(_), Some(at)) = (&outcome, environment) {
            self.lock_environment(stage, (&at.0, at.1), owner).await?;
        }
        Ok(outcome)
    }

    /// The variables that requirement files are read with: those of the command, and secrets.
    pub(super) fn variables(
        &self,
        stage: &Stage,
        mounts: &[Mounted],
        step: &Step,
    ) -> Result<BTreeMap<String, String>, OpsError> {
        let mut variables = stage.scope.values().clone();
        variables.extend(step.environment.clone());
        for mount in mounts {
            let Mounted::SecretVariable { name, id, required } = mount else { continue };
            match self.request.secrets.get(id).and_then(|secret| secret.expose_text()) {
                Some(value) => drop(variables.insert(name.clone(), value.to_owned())),
                None if *required => return Err(OpsError::NoSecret { id: id.clone() }),
                None => {}
            }
        }
        Ok(variables)
    }

    /// For which interpreter packages are installed, and where.
    pub(super) fn prepared(
        &self,
        stage: &Stage,
        files: &StageFiles,
        (step, mounts, install, source): (&Step, &[Mounted], &PipInstall, SourcedRequirements),
        (folder, owner): (&str, Owner),
    ) -> Result<Prepared, NotNative> {
        let (environment, version) = environment(files, stage, install, (folder, step))?;
        let mut request = self.request_for(install, environment, version);
        let mut parent = stage.base.image.clone();
        parent.config = stage.config.config.clone();
        for (name, value) in &request.settings.docker.environment {
            parent.config.set_env(name, value);
        }
        let look = |files: &StageFiles| {
            let flat = files.view().files();
            let python = packages::found(&flat, &parent.config, &request.python);
            python.map(|python| (flat, python)).map_err(|error| NotNative::because(error.to_string()))
        };
        let (mut flat, mut python) = look(files)?;
        if let Some(earlier) = stage.installs.as_ref().filter(|earlier| earlier.site == python.scheme.purelib) {
            (flat, python) = look(&earlier.before)?;
        }
        if sees_unknown(stage, files, &python) {
            return Err(NotNative::because("the environment sees packages that are not known before they are made"));
        }
        if matches!(step.does, RunStep::Pip(_)) && install.installer == Installer::Pip && lacks_pip(stage, &python) {
            return Err(NotNative::because("the environment has no pip of its own that is known"));
        }
        let of_site = flat.resolve(&python.scheme.purelib).map(|at| at.node.uid);
        let is_writable = owner.uid == 0 || of_site == Some(owner.uid);
        let place = place(stage, files, install, folder, (&python, owner, is_writable))?;
        let python = place.as_ref().map_or_else(|| python.clone(), |place| place.of(python.clone()));
        request.python.place.clone_from(&place);
        let site = &python.scheme.purelib;
        let covers = |target: &&str| site.starts_with(&format!("{}/", target.trim_end_matches('/')));
        if let Some(target) = mounts.iter().filter_map(Mounted::target).find(covers) {
            return Err(NotNative::because(format!("what is installed below the mount at `{target}` is lost")));
        }
        let is_last = stage.installs.as_ref().is_some_and(|earlier| earlier.site == *site);
        if !is_last && (stage.sites.contains(site) || place.is_some() && !stage.sites.is_empty()) {
            return Err(NotNative::because("packages went to another place before, and count here"));
        }
        let by = By::of(install.installer);
        Ok(Prepared { request, parent, python, place, source, by, pinned: None, required: Vec::new() })
    }

    /// Plans the layers, in the place of those of the installations before it into the same environment.
    pub(super) async fn placed(
        &mut self,
        stage: &mut Stage,
        files: StageFiles,
        prepared: Prepared,
    ) -> Result<Outcome, OpsError> {
        let Prepared { request, mut parent, python, place, source, by, pinned, required } = prepared;
        let site = python.scheme.purelib.clone();
        self.sources.push(source.clone());
        let mut installs = match stage.installs.take() {
            Some(earlier) if earlier.site == site => earlier,
            earlier => {
                stage.past.extend(earlier);
                let upon = Ground { request: request.clone(), parent: parent.clone(), python: python.clone() };
                let (before, at, upon) = (files.clone(), stage.layers.len(), Box::new(upon));
                Installs { list: Vec::new(), before, at, count: 0, site, upon }
            }
        };
        if pinned.as_ref().is_some_and(|(_, is_exact)| *is_exact) {
            installs.list.clear();
        }
        let lock = pinned.map(|(lock, _)| lock);
        installs.list.push(Install { source, request: resolving(&request), lock, required, by });
        if !stage.sites.contains(&installs.site) {
            stage.sites.push(installs.site.clone());
        }
        parent.descriptor.digest = material(stage, &request);
        *installs.upon = Ground { request: request.clone(), parent: parent.clone(), python: python.clone() };
        let wanted = Some(Wanted::Installs(installs.list.clone()));
        let local = LocalFacts { wanted, ..LocalFacts::default() };
        let at = stage.base.at.clone().or_else(|| self.target.clone()).ok_or(OpsError::NoTarget)?;
        let flat = installs.before.view().files();
        let mut planning = Planning::upon(self.means, &request, &local, at, parent, flat);
        let mut reasons = Vec::new();
        let planned = match packages::plan(&mut planning, &mut self.known, &mut reasons).await {
            Ok(planned) => planned,
            // In the image there may be what a build misses here.
            Err(error) => return error.unbuilt().map(|reason| Err(NotNative::because(reason))).ok_or(error),
        };
        let lock = planned.key.clone().zip(planned.lock);
        self.locks.extend(lock.map(|(key, kept)| PlannedLock { key, kept }));
        let layers = planned.layers.into_iter().map(|layer| self.located(layer)).collect::<Result<Vec<_>, _>>()?;
        let (at, count) = (installs.at, layers.len());
        stage.layers.splice(at..at + installs.count, layers);
        stage.preamble = None;
        installs.count = count;
        stage.installs = Some(installs);
        // What is remembered under it are all Python layers of an image, so that it must be the only such key.
        stage.resolution = planned.key.filter(|_| stage.sites.len() == 1);
        stage.choice = planned.choice.map(|digest| (digest, planned.new_choice));
        stage.files = Some(after(files, &python, place.as_ref()));
        if place.is_none() {
            stage.scripts.push(python.scheme.scripts.clone());
        }
        Ok(Ok(reasons.pop().unwrap_or_else(|| "packages".into())))
    }

    /// The request that plans an installation: settings with its installer, its options and its variables.
    fn request_for(
        &self,
        install: &PipInstall,
        environment: BTreeMap<String, String>,
        version: Option<(u32, u32)>,
    ) -> BuildRequest {
        // A command has the secrets that it mounts, and the resolver is told what they say of indexes.
        let mut request = BuildRequest { dockerfile: None, secrets: BTreeMap::new(), ..self.request.clone() };
        request.settings.docker = DockerSettings {
            python_package_installer: install.installer,
            python_package_installer_args: arguments(install),
            environment: environment.into_iter().collect(),
            ..DockerSettings::default()
        };
        request.python.version = version.or(request.python.version);
        request
    }
}

/// Whether an environment sees its interpreter's packages, and some were installed there whose names nobody knows yet.
fn sees_unknown(stage: &Stage, files: &StageFiles, python: &PythonEnvironment) -> bool {
    let Content::Known(text) = files.view().content(format!("{}/pyvenv.cfg", python.prefix)) else { return false };
    let text = String::from_utf8_lossy(text);
    let value = |key: &str| {
        let mut pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.find(|(name, _)| name.trim() == key).map(|(_, value)| value.trim().to_owned())
    };
    let home = value("home").unwrap_or_default();
    let library = format!("{}/lib/", home.trim_end_matches("/bin"));
    value("include-system-site-packages").is_some_and(|value| value == "true")
        && stage.sites.iter().any(|site| site.starts_with(&library))
}

/// The stage's files once packages are there, whose names nobody knows yet.
fn after(mut files: StageFiles, python: &PythonEnvironment, place: Option<&InstallPlace>) -> StageFiles {
    if let Some(place) = place {
        unknown_below(&mut files, place);
        return files;
    }
    for folder in [&python.scheme.purelib, &python.scheme.platlib] {
        if let Ok(way) = files.view().reach(folder, true)
            && let Ok(path) = EntryPath::parse(&way.path)
        {
            files.mark_contents_unknown(&path);
        }
    }
    files
}

/// The same request as the resolver gets it: versions are chosen by uv, whoever installs.
fn resolving(request: &BuildRequest) -> BuildRequest {
    let mut request = request.clone();
    request.settings.docker.python_package_installer = Installer::Uv;
    request
}

/// Why an installation is not known how to do here.
fn refused(install: &PipInstall) -> Option<NotNative> {
    let reason = if let [_, other, ..] = install.folders.as_slice() {
        format!("it installs `{}`, one more project", other.path)
    } else if let Some(archive) = install.archives.first() {
        format!("`{}` is an archive of the image", archive.path)
    } else if !install.groups.is_empty() || !install.extras.is_empty() || install.all_extras {
        "it installs groups or extras of a project".to_owned()
    } else {
        return None;
    };
    Some(NotNative::because(reason))
}
