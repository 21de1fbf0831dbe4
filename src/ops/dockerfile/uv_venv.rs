//! The environments that uv makes, in a stage: those of `uv venv`, and what a command of uv left here, moved there.
//!
//! Which packages go into one is decided in `sync` and `python`.

use std::collections::BTreeMap;

use crate::dockerfile::absolute;
use crate::dockerfile::run::{Cache, ConfigFile, Interpreter, Mounted, PipInstall, Step, Venv};
use crate::image::filesystem::{Found, Node, View};
use crate::image::users::Owner;
use crate::layer::EntryPath;
use crate::plan::files::{Draft, FileContent, NotNative, Placed, PlacedEntry, PlacedKind, StageFiles};
use crate::python::uv_environment::LeftKind;
use crate::python::uv_project::UvProject;
use crate::python::virtual_environment::PythonVersion;
use crate::resolver::{ENVIRONMENT, Trial};
use crate::settings::Installer;

use super::super::error::OpsError;
use super::evaluate::{Evaluation, Outcome};
use super::project_files::text_of;
use super::requirements::Asked;
use super::stage::Stage;
use super::sync_words::VARIABLES;
use super::uv_python::{self, AskedPython, UvPython};
use super::uv_runs::{UvRun, name_of, plain_environment};

const FOLDER: u32 = 0o755;
const LINK: u32 = 0o777;

impl Evaluation<'_> {
    /// Makes an environment as `uv venv` does.
    pub(super) async fn uv_venv(
        &mut self,
        stage: &mut Stage,
        (mounts, step, venv): (&[Mounted], &Step, &Venv),
        (folder, owner): (&str, Owner),
    ) -> Result<Outcome, OpsError> {
        let files = self.files(stage).await?;
        let at = absolute(folder, &venv.folder);
        let asked = Asked { mounts, files: &files, folder, variables: &BTreeMap::new() };
        let python = match self.python_of_venv(stage, &asked, step, venv) {
            Ok(python) => python,
            Err(reason) => return Ok(Err(reason)),
        };
        if let Some(reason) = obstacle(&files, mounts, &at, owner) {
            return Ok(Err(reason));
        }
        let mut words = vec!["venv".to_owned(), "--no-project".into()];
        words.extend(venv.system_site_packages.then(|| "--system-site-packages".to_owned()));
        words.extend(venv.with_pip.then(|| "--seed".to_owned()));
        words.extend(venv.prompt.iter().flat_map(|prompt| ["--prompt".to_owned(), prompt.clone()]));
        // Without a folder of its own, an environment is called after the one that it lies in.
        if !venv.is_default_folder {
            words.push(ENVIRONMENT.to_owned());
        }
        let trial = Trial {
            name: name_of(folder).to_owned(),
            files: Vec::new(),
            environment: venv.is_default_folder.then(|| ".venv".to_owned()),
            commands: vec![words],
            is_fresh: venv.with_pip && self.is_fresh(),
            names_packages: venv.with_pip,
        };
        let question = self.question(&synced(&at), &python);
        let to = python.place(folder, &at);
        let run = UvRun { plain: None, own: Some(trial), takes_plain: false, to, by: Installer::Uv };
        let made = match self.left_by(&question, &run).await? {
            Ok(left) => seeds(left.own, &at, python.version),
            Err(reason) => Err(reason),
        };
        let made = made.and_then(|(entries, seeds)| Ok((environment(&files, &at, &entries, owner)?, seeds)));
        let (made, seeds) = match made {
            Ok(made) => made,
            Err(reason) => return Ok(Err(reason)),
        };
        self.place_environment(stage, made, step)?;
        if seeds.is_empty() {
            return Ok(Ok("an environment of uv's".into()));
        }
        let why = format!("an environment of uv's with {}", seeds.join(", "));
        let install = PipInstall { requirements: seeds, ..synced(&at) };
        let installed = self.pip(stage, mounts, step, &install, (folder, owner)).await?;
        Ok(installed.map(|_| why))
    }

    /// Places an environment, upon which all that is installed into it stands.
    pub(super) fn place_environment(&self, stage: &mut Stage, made: Placed, step: &Step) -> Result<(), OpsError> {
        let first = stage.layers.len();
        self.place(stage, made, step.command.clone())?;
        let keys = stage.layers[first..].iter().flat_map(|layer| &layer.key).map(ToString::to_string);
        stage.material.extend(keys.collect::<Vec<_>>());
        Ok(())
    }

    fn python_of_venv(
        &self,
        stage: &Stage,
        asked: &Asked<'_>,
        step: &Step,
        venv: &Venv,
    ) -> Result<UvPython, NotNative> {
        let is_index = |name: &&str| step.environment.contains_key(*name) || stage.scope.value(name).is_some();
        if venv.with_pip
            && let Some(name) = VARIABLES.iter().map(|(_, name)| *name).find(is_index)
        {
            return Err(NotNative::because(format!("`{name}` says what it is seeded with")));
        }
        let root = self.root();
        let project = match text_of(asked, &root, &absolute(asked.folder, "pyproject.toml"))? {
            Some(text) => Some(UvProject::parse(&text).map_err(|error| NotNative::because(error.to_string()))?),
            None => None,
        };
        outside_workspaces(asked, &root)?;
        let range = project.and_then(|project| project.requires_python);
        let request = match &venv.interpreter {
            Interpreter::Asked(python) => Some(AskedPython::parse(python)?),
            _ => pinned(asked, &root)?,
        };
        let request = request.unwrap_or_else(|| range.clone().map_or(AskedPython::Any, AskedPython::Range));
        let python = uv_python::found(stage, asked.files, step, &request)?;
        match python.fits(range.as_deref()) {
            true => Ok(python),
            false => Err(NotNative::because("the project wants another Python")),
        }
    }

    /// The folder that the context's files lie in.
    pub(super) fn root(&self) -> std::path::PathBuf {
        self.recipe.context.as_ref().map_or_else(|| self.request.folder.clone(), |tree| tree.root().to_owned())
    }

    /// The file by which uv keeps other runs of itself away from an environment that it installs into.
    ///
    /// # Errors
    /// Fails when there is no uv. One that does not tell what it makes leaves none.
    pub(super) async fn lock_environment(
        &self,
        stage: &mut Stage,
        (at, (major, minor)): (&str, (u32, u32)),
        owner: Owner,
    ) -> Result<(), OpsError> {
        let files = self.files(stage).await?;
        let path = format!("{at}/.lock");
        if files.view().find(path.trim_start_matches('/').as_bytes()) != Found::Absent {
            return Ok(());
        }
        let python = UvPython { executable: format!("{at}/bin/python"), version: (major, minor, 0) };
        let question = self.question(&synced(at), &python);
        let run = UvRun {
            plain: Some(plain_environment("project", at, None)),
            own: None,
            takes_plain: true,
            to: python.place(at, at),
            by: Installer::Uv,
        };
        let Ok(Ok(left)) = self.left_by(&question, &run).await else { return Ok(()) };
        let Some(kind) = left.plain.get(&path) else { return Ok(()) };
        if let Ok(made) = more(&files, &BTreeMap::from([(path, kind.clone())]), owner) {
            self.place(stage, made, "the lock of the environment".to_owned())?;
        }
        Ok(())
    }
}

/// Fails where a folder above has a project, which the one in the working folder may belong to.
pub(super) fn outside_workspaces(asked: &Asked<'_>, root: &std::path::Path) -> Result<(), NotNative> {
    let mut above = asked.folder;
    while let Some((folder, _)) = above.rsplit_once('/') {
        above = folder;
        if text_of(asked, root, &absolute(above, "pyproject.toml"))?.is_some() {
            return Err(NotNative::because("it may belong to a workspace"));
        }
    }
    Ok(())
}

/// The Python that `.python-version` asks for, in the folder or above.
///
/// # Errors
/// Fails where such a file is not read here.
pub(super) fn pinned(asked: &Asked<'_>, root: &std::path::Path) -> Result<Option<AskedPython>, NotNative> {
    let above = std::iter::successors(Some(asked.folder), |at| at.rsplit_once('/').map(|(above, _)| above));
    for at in above {
        if text_of(asked, root, &absolute(at, ".python-versions"))?.is_some() {
            return Err(NotNative::because("`.python-versions` has several Pythons"));
        }
        if let Some(text) = text_of(asked, root, &absolute(at, ".python-version"))? {
            let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            return match lines.as_slice() {
                [line] if !line.starts_with('#') => AskedPython::parse(line).map(Some),
                _ => Err(NotNative::because("`.python-version` is not read here")),
            };
        }
    }
    Ok(None)
}

/// Why no environment can be made at `at`; none where there is nothing yet.
pub(super) fn obstacle(files: &StageFiles, mounts: &[Mounted], at: &str, owner: Owner) -> Option<NotNative> {
    let covers = |target: &str| at == target || at.starts_with(&format!("{}/", target.trim_end_matches('/')));
    if mounts.iter().filter_map(Mounted::target).any(covers) {
        return Some(NotNative::because("its folder is below a mount"));
    }
    let Ok(reached) = files.view().reach(at, true) else {
        return Some(NotNative::because(format!("`{at}` is no place that is known")));
    };
    if format!("/{}", String::from_utf8_lossy(&reached.path)) != at {
        return Some(NotNative::because(format!("a link leads to `{at}`")));
    }
    match reached.found {
        Found::Absent => {}
        Found::Known(node) if node.is_directory() => {
            let listing = files.view().list(&reached.path);
            if !listing.is_complete || !listing.entries.is_empty() {
                return Some(NotNative::because(format!("`{at}` has files")));
            }
        }
        Found::Known(_) | Found::Unknown => return Some(NotNative::unknown(&reached.path)),
    }
    let above = files.view().directories_above(format!("{}/x", at.trim_start_matches('/')).as_bytes());
    let is_writable = owner.uid == 0 || above.last().is_some_and(|(_, node)| node.uid == owner.uid);
    (!is_writable).then(|| NotNative::because("it is run by a user who may lack the right"))
}

/// An environment at `at`, with its folder and those above it.
pub(super) fn environment(
    files: &StageFiles,
    at: &str,
    entries: &BTreeMap<String, LeftKind>,
    owner: Owner,
) -> Result<Placed, NotNative> {
    let mut draft = Draft::on(files);
    draft.make_directories(at.trim_start_matches('/').as_bytes(), FOLDER, Some(owner))?;
    put_all(&mut draft, entries, owner)?;
    Ok(draft.finish())
}

/// An environment's own files, and what it is seeded with: all of which folders alone are there.
fn seeds(
    mut entries: BTreeMap<String, LeftKind>,
    at: &str,
    (major, minor, _): PythonVersion,
) -> Result<(BTreeMap<String, LeftKind>, Vec<String>), NotNative> {
    let site = format!("{at}/lib/python{major}.{minor}/site-packages/");
    let infos: Vec<String> = entries.keys().filter(|path| path.ends_with(".dist-info")).cloned().collect();
    let mut seeds = Vec::new();
    for path in infos {
        entries.remove(&path);
        let name = path.strip_prefix(&site).and_then(|name| name.strip_suffix(".dist-info")?.split_once('-'));
        let Some((name, version)) = name else {
            return Err(NotNative::because("what uv seeds it with is told for another Python"));
        };
        seeds.push(format!("{name}=={version}"));
    }
    // Up to 3.11 there are more of them.
    let has_more = seeds.iter().any(|seed| seed.starts_with("setuptools=="));
    let is_known = seeds.is_empty() || has_more == ((major, minor) < (3, 12));
    match is_known {
        true => Ok((entries, seeds)),
        false => Err(NotNative::because("uv seeds it with something else than for this machine's Python")),
    }
}

/// More files of an environment and a project that are there.
pub(super) fn more(
    files: &StageFiles,
    entries: &BTreeMap<String, LeftKind>,
    owner: Owner,
) -> Result<Placed, NotNative> {
    let may_write = |path: &String| {
        let above = files.view().directories_above(path.trim_start_matches('/').as_bytes());
        owner.uid == 0 || above.last().is_some_and(|(_, node)| node.uid == owner.uid)
    };
    if !entries.keys().all(may_write) {
        return Err(NotNative::because("it is run by a user who may lack the right"));
    }
    let mut draft = Draft::on(files);
    put_all(&mut draft, entries, owner)?;
    Ok(draft.finish())
}

fn put_all(draft: &mut Draft, entries: &BTreeMap<String, LeftKind>, owner: Owner) -> Result<(), NotNative> {
    for (path, kind) in entries {
        let path = EntryPath::parse(path.trim_start_matches('/'));
        let path = path.map_err(|error| NotNative::because(error.to_string()))?;
        let (kind, mode, kept) = match kind {
            LeftKind::Folder if draft.view().find(path.as_bytes()).node().is_some_and(Node::is_directory) => continue,
            LeftKind::Folder => (PlacedKind::Directory, FOLDER, None),
            LeftKind::Link(target) => (PlacedKind::Symlink { target: target.as_bytes().into() }, LINK, None),
            LeftKind::File { mode, bytes } => {
                let size = bytes.len() as u64;
                let kept = View::keeps(&path, size).then(|| bytes.as_slice().into());
                (PlacedKind::File { size, content: FileContent::Text(bytes.as_slice().into()) }, *mode, kept)
            }
        };
        draft.put(PlacedEntry { path, kind, mode, owner }, kept);
    }
    Ok(())
}

/// An installation by uv into the environment at `at`.
pub(super) fn synced(at: &str) -> PipInstall {
    let bare = PipInstall::bare(Installer::Uv, Interpreter::Path(format!("{at}/bin/python")));
    PipInstall { cache: Cache::Home, config: ConfigFile::Usual, ..bare }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_environment_is_seeded_with_is_told_by_folders() {
        let site = "/v/lib/python3.11/site-packages";
        let of = |names: &[&str], version| {
            let folder = |name: &&str| (format!("{site}/{name}.dist-info"), LeftKind::Folder);
            seeds(names.iter().map(folder).collect(), "/v", version).ok().map(|(_, seeds)| seeds.join(" "))
        };
        let found = of(&["pip-26.3", "setuptools-84.2.1"], (3, 11, 2));
        assert_eq!(found.as_deref(), Some("pip==26.3 setuptools==84.2.1"));
        assert_eq!(of(&["pip-26.3"], (3, 11, 2)), None, "this machine's Python is another one");
        assert_eq!(of(&["pip-26.3", "setuptools-84.2.1"], (3, 12, 1)), None);
        assert_eq!(of(&[], (3, 11, 2)).as_deref(), Some(""));
    }
}
