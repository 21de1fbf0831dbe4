//! `pip install .` and `uv pip install .`: the project of a folder, built by uv of this machine upon a copy of its files.
//!
//! What it requires is installed as all else is; a build of which it is not known what it does is left to a backend.

use std::collections::BTreeMap;
use std::path::Path;

use crate::dockerfile::absolute;
use crate::dockerfile::run::{Mounted, PipInstall, Place, ProjectFolder};
use crate::image::filesystem::Content;
use crate::image::users::Owner;
use crate::layer::EntryPath;
use crate::oci::Digest;
use crate::plan::KeyHasher;
use crate::plan::files::NotNative;
use crate::python::environment::{EnvironmentKind, PythonEnvironment};
use crate::python::marker::MarkerEnvironment;
use crate::python::uv_environment::LeftKind;
use crate::python::uv_project::UvProject;
use crate::resolver::{ENVIRONMENT, Trial};
use crate::settings::Installer;

use super::super::error::OpsError;
use super::super::{project, resolution};
use super::evaluate::Evaluation;
use super::project_files::{project_files, text_of};
use super::python::Prepared;
use super::requirements::Asked;
use super::stage::Stage;
use super::uv_python::UvPython;
use super::uv_runs::{UvRun, name_of, plain_environment};
use super::uv_venv::{self, synced};
use super::venv;

/// A project that is installed itself.
pub(super) struct LocalProject {
    pub(super) name: String,
    /// What it requires.
    pub(super) required: Vec<String>,
    /// What its installation leaves, by absolute paths.
    pub(super) left: BTreeMap<String, LeftKind>,
}

impl Evaluation<'_> {
    /// What the installation of a folder comes to.
    pub(super) async fn local_project(
        &self,
        stage: &Stage,
        asked: &Asked<'_>,
        (install, project): (&PipInstall, &ProjectFolder),
        prepared: &Prepared,
    ) -> Result<Result<LocalProject, NotNative>, OpsError> {
        let folder = absolute(asked.folder, &project.path);
        let asked = Asked { folder: &folder, ..*asked };
        let has_files = asked.mounts.iter().any(|mount| matches!(mount, Mounted::Files { .. }));
        if has_files && project.path != "." && project.path != "./" {
            return Ok(Err(NotNative::because("files are mounted, and the project is not in the working folder")));
        }
        let looked = looked_at(stage, &asked, install, prepared, &self.root());
        let (about, python) = match looked {
            Ok(looked) => looked,
            Err(reason) => return Ok(Err(reason)),
        };
        let files = match project_files(&asked, &self.root(), "") {
            Ok(files) if files.iter().any(|file| file.path == "setup.py") => {
                return Ok(Err(NotNative::because("its `setup.py` may do anything")));
            }
            Ok(files) => files,
            Err(reason) => return Ok(Err(reason)),
        };
        let question = self.question(&synced(""), &python);
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let mut installing = words("pip install --no-deps --python");
        installing.push(ENVIRONMENT.to_owned());
        installing.extend(project.editable.then(|| "--editable".to_owned()));
        installing.push(".".to_owned());
        let commands = vec![[words("venv --no-project"), vec![ENVIRONMENT.to_owned()]].concat(), installing];
        let trial = Trial {
            name: name_of(&folder).to_owned(),
            files,
            environment: None,
            commands,
            is_fresh: self.is_fresh(),
            names_packages: false,
        };
        let run = UvRun {
            plain: Some(plain_environment(&about.name, &folder, None)),
            own: Some(trial),
            takes_plain: false,
            to: python.place(&folder, &prepared.python.prefix),
            by: install.installer,
        };
        let left = match self.left_by(&question, &run).await? {
            Ok(left) => left.own,
            Err(reason) => return Ok(Err(reason)),
        };
        let markers =
            MarkerEnvironment::linux(&python.full_version(), resolution::machine(&prepared.parent.config.platform()));
        let required = match install.installer_args.contains_key("no-deps") {
            true => Vec::new(),
            false => project::required(&metadata(&left), &about.name, &project.extras, &markers),
        };
        Ok(Ok(LocalProject { name: about.name, required, left }))
    }

    /// Places what a project's installation leaves, whose packages go to `site`; once is enough for the same.
    pub(super) fn place_project(
        &self,
        stage: &mut Stage,
        (name, site): (&str, String),
        left: &BTreeMap<String, LeftKind>,
        owner: Owner,
    ) -> Result<Result<(), NotNative>, OpsError> {
        let digest = digest_of(left);
        match stage.projects.get(&site) {
            Some(earlier) if *earlier == digest => return Ok(Ok(())),
            Some(_) => {
                return Ok(Err(NotNative::because("a project is installed there already, and would be replaced")));
            }
            None => {}
        }
        let files = stage.files.clone().unwrap_or_default();
        match uv_venv::more(&files, left, owner) {
            Ok(made) => self.place(stage, made, format!("the project {name}"))?,
            Err(reason) => return Ok(Err(reason)),
        }
        // It lies among packages of which nobody knows anything yet.
        let is_unknown = stage.sites.contains(&site);
        if let (true, Some(files), Ok(path)) = (is_unknown, &mut stage.files, EntryPath::parse(&site[1..])) {
            files.mark_contents_unknown(&path);
        }
        stage.projects.insert(site, digest);
        Ok(Ok(()))
    }
}

/// The project, and the interpreter that it is installed for.
fn looked_at(
    stage: &Stage,
    asked: &Asked<'_>,
    install: &PipInstall,
    prepared: &Prepared,
    root: &Path,
) -> Result<(UvProject, UvPython), NotNative> {
    let because = |reason: &str| Err(NotNative::because(reason));
    let Some(text) = text_of(asked, root, &absolute(asked.folder, "pyproject.toml"))? else {
        return Err(NotNative::because(format!("`{}` has no `pyproject.toml`", asked.folder)));
    };
    let about = UvProject::parse(&text).map_err(|error| NotNative::because(error.to_string()))?;
    if let Some(reason) = &about.unbuildable {
        return Err(NotNative::because(reason.to_string()));
    }
    let is_uv = install.installer == Installer::Uv;
    if is_uv && about.has_sources {
        return because("`tool.uv.sources` says where its requirements come from");
    }
    if asked.folder == "/" || prepared.place.is_some() || install.place != Place::Interpreter {
        return because("where its files go is not known without running it");
    }
    let changes = ["no-build-isolation", "no-binary", "only-binary", "no-build", "require-hashes", "force-reinstall"];
    if let Some(name) = changes.iter().find(|name| install.installer_args.contains_key(**name)) {
        return Err(NotNative::because(format!("what `--{name}` changes of its build is not known")));
    }
    let python = &prepared.python;
    if python.installed.iter().any(|dist| dist.name == about.name) {
        return because("the image has it already, and it would be replaced");
    }
    let version = match python.kind {
        EnvironmentKind::System => venv::exact_version(stage, python),
        EnvironmentKind::Virtual if is_of_prefix(asked, python) => {
            venv::exact_version(stage, &PythonEnvironment { prefix: "/usr/local".into(), ..python.clone() })
        }
        _ => None,
    };
    let Some(version) = version else { return because("the exact version of its Python is not known") };
    let found = UvPython { executable: python.scheme.interpreter.clone(), version };
    match found.fits(about.requires_python.as_deref()) {
        true => Ok((about, found)),
        false => because("the project wants another Python"),
    }
}

/// Whether an environment is of the Python in `/usr/local`.
fn is_of_prefix(asked: &Asked<'_>, python: &PythonEnvironment) -> bool {
    match asked.files.view().content(format!("{}/pyvenv.cfg", python.prefix)) {
        Content::Known(text) => String::from_utf8_lossy(text).lines().any(|line| line == "home = /usr/local/bin"),
        Content::Absent | Content::Unknown => false,
    }
}

/// The text of a project's METADATA.
fn metadata(left: &BTreeMap<String, LeftKind>) -> String {
    let found = left.iter().find(|(path, _)| path.ends_with(".dist-info/METADATA"));
    match found {
        Some((_, LeftKind::File { bytes, .. })) => String::from_utf8_lossy(bytes).into_owned(),
        _ => String::new(),
    }
}

/// What a project left, for comparison.
fn digest_of(entries: &BTreeMap<String, LeftKind>) -> Digest {
    let mut key = KeyHasher::new("project/1");
    for (path, kind) in entries {
        key.add("path", path);
        match kind {
            LeftKind::Folder => key.add("kind", "folder"),
            LeftKind::Link(target) => key.add("link", target),
            LeftKind::File { mode, bytes } => {
                key.add("mode", mode.to_le_bytes());
                key.add("bytes", bytes);
            }
        }
    }
    key.finish()
}
