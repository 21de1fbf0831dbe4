//! `uv sync`: the environment of a project, the packages that its lock has for it, and the project itself.
//!
//! uv of this machine reads the lock and builds the project, both upon copies of their files; the packages of the lock are
//! installed as all others are.

use std::collections::BTreeMap;
use std::path::Path;

use crate::dockerfile::absolute;
use crate::dockerfile::run::{Mounted, PipInstall, Step, UvSync};
use crate::image::filesystem::{Content, Found};
use crate::image::users::Owner;
use crate::inputs::requirements::{RequirementOrigin, RequirementSet, SourcedRequirements};
use crate::plan::files::NotNative;
use crate::python::uv_environment::LeftKind;
use crate::python::uv_project::{NotUnderstood, UvProject};
use crate::resolver::request::ResolveRequest;
use crate::resolver::{LockAnswer, LockQuestion, LockUse, Trial};
use crate::settings::Installer;

use super::super::error::OpsError;
use super::super::facts::PinnedLock;
use super::super::python as packages;
use super::super::resolution;
use super::evaluate::{Evaluation, Outcome};
use super::project_files::{may_do_anything, project_files, text_of};
use super::python::Prepared;
use super::requirements::{Asked, arguments, options};
use super::secrets::stage_settings;
use super::stage::Stage;
use super::sync_words::{choices, installation, is_login, variables, without_folders};
use super::uv_python::{self, AskedPython, UvPython};
use super::uv_runs::{self, Left, UvRun, name_of, plain_environment};
use super::uv_venv::{self, synced};

/// A project that is synchronised, and where.
struct Project {
    about: UvProject,
    pyproject: String,
    lock: Option<String>,
    python: UvPython,
    /// Its environment.
    environment: String,
    /// Where that lies below the project.
    below: Option<String>,
    /// Whether the environment is yet to be made.
    is_new: bool,
    /// Whether the project itself is installed, or one that belongs to it.
    is_installed: bool,
    install: PipInstall,
}

impl Evaluation<'_> {
    /// Carries `uv sync` out.
    pub(super) async fn uv_sync(
        &mut self,
        stage: &mut Stage,
        (mounts, step, sync): (&[Mounted], &Step, &UvSync),
        (folder, owner): (&str, Owner),
    ) -> Result<Outcome, OpsError> {
        let files = self.files(stage).await?;
        let variables = BTreeMap::new();
        let asked = Asked { mounts, files: &files, folder, variables: &variables };
        let mut project = match self.project(stage, &asked, (step, sync), owner) {
            Ok(project) => project,
            Err(reason) => return Ok(Err(reason)),
        };
        let question = self.question(&project.install, &project.python);
        let members = match members(&asked, &self.root(), sync, &project) {
            Ok(members) => members,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut answer = match self.locked(&question, (sync, members), &project).await? {
            Ok(answer) => answer,
            Err(reason) => return Ok(Err(reason)),
        };
        if let Some(packages) = without_folders(&answer.packages) {
            answer.packages = packages;
            project.is_installed = true;
        }
        let Left { plain, own } = match self.left(&question, &asked, sync, (&project, &answer)).await? {
            Ok(left) => left,
            Err(reason) => return Ok(Err(reason)),
        };
        if let Some(reason) = self.environment(stage, &plain, (&project, &answer), (step, folder, owner))? {
            return Ok(Err(reason));
        }
        let why = match self.packages(stage, (mounts, step, sync), (&project, &answer), (folder, owner)).await? {
            Ok(why) => why,
            Err(reason) => return Ok(Err(reason)),
        };
        let site = site_of(&project);
        match !own.is_empty() {
            true => {
                let placed = self.place_project(stage, (&project.about.name, site), &own, owner)?;
                Ok(placed.map(|()| format!("`uv.lock` and the project: {why}")))
            }
            false if stage.projects.contains_key(&site) => {
                Ok(Err(NotNative::because("the project is installed already, and is not to be")))
            }
            false => Ok(Ok(format!("`uv.lock`: {why}"))),
        }
    }

    /// What is synchronised, as far as the stage's files tell.
    fn project(
        &self,
        stage: &Stage,
        asked: &Asked<'_>,
        (step, sync): (&Step, &UvSync),
        owner: Owner,
    ) -> Result<Project, NotNative> {
        let because = |reason: &str| Err(NotNative::because(reason));
        if asked.mounts.iter().any(|mount| !matches!(mount, Mounted::Files { .. } | Mounted::Cache { .. })) {
            return because("it is given a secret, which its indexes may ask for");
        }
        if let Some(name) = stage.scope.values().keys().chain(step.environment.keys()).find(|name| is_login(name)) {
            return Err(NotNative::because(format!("`{name}` is for an index of its lock")));
        }
        if asked.folder == "/" {
            return because("its project is the root folder");
        }
        let root = self.root();
        let read = |name: &str| text_of(asked, &root, &absolute(asked.folder, name));
        let Some(pyproject) = read("pyproject.toml")? else {
            return because("the working folder has no `pyproject.toml`");
        };
        let lock = read("uv.lock")?;
        if read("uv.toml")?.is_some() {
            return because("`uv.toml` has settings of uv");
        }
        uv_venv::outside_workspaces(asked, &root)?;
        let about = UvProject::parse(&pyproject).map_err(|error| NotNative::because(error.to_string()))?;
        let install = installation(sync, &about)?;
        if let Some(reason) = stage_settings((stage, asked.files), &install, (asked.mounts, asked.folder)) {
            return Err(reason);
        }
        if about.is_dynamic && !sync.frozen {
            return because("whether its lock is up to date is told by its build");
        }
        let request = match &sync.python {
            Some(python) => Some(AskedPython::parse(python)?),
            None => uv_venv::pinned(asked, &root)?,
        };
        let range = || about.requires_python.clone().map_or(AskedPython::Any, AskedPython::Range);
        let python = uv_python::found(stage, asked.files, step, &request.unwrap_or_else(range))?;
        if !python.fits(about.requires_python.as_deref()) {
            return because("the project wants another Python");
        }
        let environment = absolute(asked.folder, sync.environment.as_deref().unwrap_or(".venv"));
        let below = environment.strip_prefix(&format!("{}/", asked.folder)).map(str::to_owned);
        let is_installed =
            about.is_package && !sync.no_install_project && !sync.no_install_workspace && sync.groups.only.is_empty();
        let mut project =
            Project { about, pyproject, lock, python, environment, below, is_new: true, is_installed, install };
        project.is_new = is_new(stage, asked, &project, owner)?;
        project.install.interpreter = synced(&project.environment).interpreter;
        Ok(project)
    }

    /// What the lock comes to.
    async fn locked(
        &self,
        question: &ResolveRequest,
        (sync, members): (&UvSync, BTreeMap<String, String>),
        project: &Project,
    ) -> Result<Result<LockAnswer, NotNative>, OpsError> {
        let usage = match (sync.frozen, sync.locked) {
            (true, _) => LockUse::Frozen,
            (_, true) => LockUse::Locked,
            _ => LockUse::Updated,
        };
        let asked = LockQuestion {
            pyproject: project.pyproject.clone(),
            lock: project.lock.clone(),
            members,
            usage,
            arguments: [choices(sync), emitted(sync, project)].concat(),
            variables: variables(sync),
        };
        let public = resolution::public_arguments(&arguments(&project.install));
        let answer = match self.lock_answer(question, (&asked, &public)).await? {
            Ok(answer) => answer,
            Err(refusal) if refusal.is_outdated && usage == LockUse::Locked => {
                return Err(OpsError::OutdatedLock { explanation: refusal.explanation });
            }
            Err(refusal) => return Ok(Err(uv_runs::refused(&refusal))),
        };
        match &project.lock {
            Some(lock) if *lock != answer.lock => {
                Ok(Err(NotNative::because("`uv.lock` is not up to date, and uv would choose anew and write it")))
            }
            _ => Ok(Ok(answer)),
        }
    }

    /// What uv leaves of an environment alone, and besides that of the project.
    async fn left(
        &self,
        question: &ResolveRequest,
        asked: &Asked<'_>,
        sync: &UvSync,
        (project, answer): (&Project, &LockAnswer),
    ) -> Result<Result<Left, NotNative>, OpsError> {
        let own = match project.is_installed.then(|| trial(asked, &self.root(), sync, (project, answer))).transpose() {
            Ok(trial) => trial.map(|trial| Trial { is_fresh: self.is_fresh(), ..trial }),
            Err(reason) => return Ok(Err(reason)),
        };
        let run = UvRun {
            plain: Some(plain_environment(&project.about.name, asked.folder, project.below.clone())),
            own,
            takes_plain: true,
            to: project.python.place(asked.folder, &project.environment),
            by: Installer::Uv,
        };
        self.left_by(question, &run).await
    }

    /// Makes the environment where there is none, and the lock.
    fn environment(
        &self,
        stage: &mut Stage,
        plain: &BTreeMap<String, LeftKind>,
        (project, answer): (&Project, &LockAnswer),
        (step, folder, owner): (&Step, &str, Owner),
    ) -> Result<Option<NotNative>, OpsError> {
        let Some(files) = stage.files.clone() else { return Ok(None) };
        let mut entries = plain.clone();
        if !project.is_new {
            // An environment of `uv venv` gets its lock when packages are installed.
            let lock = format!("{}/.lock", project.environment);
            entries.retain(|path, _| *path == lock && files.view().find(&path.as_bytes()[1..]) == Found::Absent);
        }
        if project.lock.is_none() {
            let bytes = answer.lock.clone().into_bytes();
            entries.insert(absolute(folder, "uv.lock"), LeftKind::File { mode: 0o644, bytes });
        }
        let made = match project.is_new {
            true => uv_venv::environment(&files, &project.environment, &entries, owner),
            false => uv_venv::more(&files, &entries, owner),
        };
        match made {
            Ok(made) => self.place_environment(stage, made, step)?,
            Err(reason) => return Ok(Some(reason)),
        }
        Ok(None)
    }

    /// Plans the packages of the lock.
    async fn packages(
        &mut self,
        stage: &mut Stage,
        (mounts, step, sync): (&[Mounted], &Step, &UvSync),
        (project, answer): (&Project, &LockAnswer),
        (folder, owner): (&str, Owner),
    ) -> Result<Outcome, OpsError> {
        let files = self.files(stage).await?;
        let set = RequirementSet { options: options(&project.install), ..RequirementSet::default() };
        let place = format!("`{}`", step.command);
        let source =
            SourcedRequirements::new(RequirementOrigin::User, place, answer.packages.clone(), &self.root(), set);
        let prepared = match self.prepared(stage, &files, (step, mounts, &project.install, source), (folder, owner)) {
            Ok(prepared) => prepared,
            Err(reason) => return Ok(Err(reason)),
        };
        let python = project.python.full_version();
        let pinned = PinnedLock { packages: answer.packages.clone(), python };
        if let Some(reason) = unpinned(&prepared, &pinned) {
            return Ok(Err(reason));
        }
        let prepared = prepared.pinned_to(pinned, !sync.inexact);
        self.placed(stage, files, prepared).await
    }
}

/// Where packages of the project's environment go.
fn site_of(project: &Project) -> String {
    let (major, minor, _) = project.python.version;
    format!("{}/lib/python{major}.{minor}/site-packages", project.environment)
}

/// Whether the environment is yet to be made.
///
/// # Errors
/// Fails for one of which not all is known.
fn is_new(stage: &Stage, asked: &Asked<'_>, project: &Project, owner: Owner) -> Result<bool, NotNative> {
    let at = &project.environment;
    let view = asked.files.view();
    let text = match view.content(format!("{at}/pyvenv.cfg")) {
        Content::Known(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        Content::Absent => {
            return match uv_venv::obstacle(asked.files, asked.mounts, at, owner) {
                Some(reason) => Err(reason),
                None => Ok(true),
            };
        }
        Content::Unknown => return Err(NotNative::because(format!("`{at}` is not known before it is made"))),
    };
    let says = |line: &str| text.lines().any(|own| own == line);
    let (major, minor, micro) = project.python.version;
    let is_plain = text.lines().any(|line| line.starts_with("uv = "))
        && says(&format!("version_info = {major}.{minor}.{micro}"))
        && says("include-system-site-packages = false")
        && !says("seed = true");
    let site = site_of(project);
    let reached = view.reach(&site, true).ok().filter(|reached| reached.is_directory());
    let listing = reached.map(|reached| view.list(&reached.path));
    // Of what was installed here nothing is listed; what is, somebody else put there.
    let is_ours = listing
        .is_some_and(|listing| listing.entries.is_empty() && (listing.is_complete || stage.sites.contains(&site)));
    match is_plain && is_ours {
        true => Ok(false),
        false => Err(NotNative::because(format!("what `{at}` has is not known"))),
    }
}

/// A run of the same command for the project alone.
fn trial(
    asked: &Asked<'_>,
    root: &Path,
    sync: &UvSync,
    (project, answer): (&Project, &LockAnswer),
) -> Result<Trial, NotNative> {
    let mut files = project_files(asked, root, &project.environment)?;
    for file in files.iter().filter(|file| is_project(&file.path)) {
        match UvProject::parse(&String::from_utf8_lossy(&file.bytes)) {
            Ok(UvProject { is_package: true, unbuildable: Some(reason), .. }) => {
                return Err(NotNative::because(reason.to_string()));
            }
            Ok(_) | Err(NotUnderstood::NoProject) => {}
            Err(reason) => return Err(NotNative::because(format!("`{}`: {reason}", file.path))),
        }
    }
    let is_script = |path: &str| path == "setup.py" || path.ends_with("/setup.py");
    if files.iter().any(|file| is_script(&file.path) && may_do_anything(file)) {
        return Err(NotNative::because("its `setup.py` may do anything"));
    }
    if project.lock.is_none() {
        let bytes = answer.lock.clone().into_bytes();
        files.push(crate::resolver::ProjectFile { path: "uv.lock".into(), mode: 0o644, bytes });
    }
    let mut arguments = vec!["sync".to_owned(), "--frozen".into()];
    arguments.extend(sync.no_install_project.then(|| "--no-install-project".to_owned()));
    arguments.extend(sync.no_install_workspace.then(|| "--no-install-workspace".to_owned()));
    arguments.extend(sync.no_editable.then(|| "--no-editable".to_owned()));
    arguments.extend(choices(sync));
    for name in names_of(&answer.packages) {
        arguments.extend(["--no-install-package".to_owned(), name]);
    }
    Ok(Trial {
        name: name_of(asked.folder).to_owned(),
        files,
        environment: project.below.clone(),
        commands: vec![arguments],
        is_fresh: false,
        names_packages: false,
    })
}

/// Which projects the packages of a lock are without. Of several, any may be the one that is installed.
fn emitted(sync: &UvSync, project: &Project) -> Vec<String> {
    let switches =
        [("--no-emit-project", !project.about.has_members), ("--no-emit-workspace", sync.no_install_workspace)];
    switches.iter().filter(|(_, is_given)| *is_given).map(|(word, _)| (*word).to_owned()).collect()
}

/// The projects in folders below that may belong to it; without them a lock is read where none of them is installed.
fn members(
    asked: &Asked<'_>,
    root: &Path,
    sync: &UvSync,
    project: &Project,
) -> Result<BTreeMap<String, String>, NotNative> {
    if !project.about.has_members || sync.frozen && sync.no_install_workspace {
        return Ok(BTreeMap::new());
    }
    let files = project_files(asked, root, &project.environment)?;
    let others = files.into_iter().filter(|file| is_project(&file.path) && file.path != "pyproject.toml");
    let texts: BTreeMap<String, String> =
        others.map(|file| (file.path, String::from_utf8_lossy(&file.bytes).into_owned())).collect();
    let is_dynamic = |text: &String| UvProject::parse(text).is_ok_and(|about| about.is_dynamic);
    match texts.iter().find(|(_, text)| !sync.frozen && is_dynamic(text)) {
        Some((path, _)) => {
            Err(NotNative::because(format!("whether its lock is up to date is told by the build of `{path}`")))
        }
        None => Ok(texts),
    }
}

fn is_project(path: &str) -> bool {
    path == "pyproject.toml" || path.ends_with("/pyproject.toml")
}

/// The names of a lock's packages.
fn names_of(packages: &str) -> Vec<String> {
    let document: toml::Table = packages.parse().unwrap_or_default();
    let listed = document.get("packages").and_then(toml::Value::as_array).into_iter().flatten();
    listed.filter_map(|package| package.get("name")?.as_str().map(str::to_owned)).collect()
}

/// Why the packages of a lock are not all wheels of an index.
fn unpinned(prepared: &Prepared, pinned: &PinnedLock) -> Option<NotNative> {
    if ["platform_release", "platform_version"].iter().any(|name| pinned.packages.contains(name)) {
        return Some(NotNative::because("its lock asks which kernel runs it"));
    }
    let platform = prepared.parent.config.platform();
    let tags = packages::compatible(&prepared.python, &platform);
    let (lock, unbuilt) = match packages::pinned_packages(pinned, &platform, &tags) {
        Ok(found) => found,
        Err(error) => return Some(NotNative::because(format!("its lock: {error}"))),
    };
    // Of what uv builds it notes how (`uv_build.json`), which its versions do differently.
    if let Some(source) = unbuilt.first() {
        let (name, kind) = (&source.name, source.origin.kind());
        return Some(NotNative::because(format!("its lock has `{name}` as a {kind}, which uv builds in the image")));
    }
    let named = lock.packages.iter().find(|wheel| wheel.direct_url.is_some() || wheel.url.starts_with("file:"))?;
    Some(NotNative::because(format!("its lock has `{}` by its place", named.name)))
}
