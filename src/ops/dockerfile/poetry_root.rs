//! `poetry install` of the project itself: poetry-core is asked on this machine, upon a copy of the project's files.
//!
//! Nothing of the project is built or run; a project with a build script is left to a backend.

use std::collections::BTreeMap;

use crate::dockerfile::absolute;
use crate::plan::files::{NotNative, StageFiles};
use crate::python::poetry::{EDITABLE_SCRIPT, Editable, EditablePlace, PoetryProject};
use crate::python::uv_environment::LeftKind;
use crate::resolver::{ENVIRONMENT, PYTHON, ProjectFile, Trial};

use super::super::error::OpsError;
use super::evaluate::Evaluation;
use super::poetry_environment::Target;
use super::poetry_tool::Tool;
use super::project_files::project_files;
use super::requirements::Asked;
use super::stage::Stage;
use super::uv_python::UvPython;
use super::uv_runs::name_of;
use super::uv_venv::synced;

/// What the installation of a project leaves.
pub(super) struct Root {
    /// The folder of packages that it goes to.
    pub(super) site: String,
    /// All that is left, by absolute paths.
    pub(super) left: BTreeMap<String, LeftKind>,
}

impl Evaluation<'_> {
    /// What Poetry leaves of the project in the working folder.
    pub(super) async fn poetry_root(
        &self,
        stage: &Stage,
        asked: &Asked<'_>,
        project: &PoetryProject,
        (tool, target): (&Tool, &Target),
    ) -> Result<Result<Root, NotNative>, OpsError> {
        let because = |reason: &str| Ok(Err(NotNative::because(reason)));
        let (prefix, place) = match placed(asked, target) {
            Ok(placed) => placed,
            Err(reason) => return Ok(Err(reason)),
        };
        let Some(core) = tool.packages.get("poetry-core") else {
            return because("which poetry-core Poetry has is not known");
        };
        if tool.from_places.contains("poetry-core") {
            return because("poetry-core was installed from a place of which it is not known what is there");
        }
        let files = match project_files(asked, &self.root(), &prefix) {
            Ok(files) => files,
            Err(reason) => return Ok(Err(reason)),
        };
        let words = ["run", "--no-project", "--isolated", "--with"];
        let mut command: Vec<String> = words.map(str::to_owned).into();
        command.extend([format!("poetry-core=={core}"), "--python".into(), PYTHON.into()]);
        command.extend(["python", "-I", "-c", EDITABLE_SCRIPT, ENVIRONMENT].map(str::to_owned));
        let trial = Trial {
            name: name_of(asked.folder).to_owned(),
            files: files.iter().map(without_code).collect(),
            environment: None,
            commands: vec![command],
            is_fresh: self.is_fresh(),
            names_packages: false,
        };
        let python = UvPython { executable: target.launched_by(), version: target.version() };
        let left = match self.told_by(&self.question(&synced(&prefix), &python), &trial).await? {
            Ok(left) => left,
            Err(reason) => return Ok(Err(reason)),
        };
        let own = |path: &str| {
            let file = files.iter().find(|file| file.path == path)?;
            Some((file.mode, file.bytes.clone()))
        };
        let made = Editable::read(&left).and_then(|editable| {
            let entries = editable.entries(&tool.parsed_version(), &place, &own)?;
            Ok((format!("{}/{}", place.site, editable.info()), entries))
        });
        Ok(match made {
            Ok((info, _)) if !stage.projects.contains_key(&place.site) && is_there(asked.files, &info) => {
                Err(NotNative::because(format!("the image has `{}` already, and it would be replaced", project.name)))
            }
            Ok((_, left)) => Ok(Root { site: place.site, left }),
            Err(error) => Err(NotNative::because(error.to_string())),
        })
    }
}

/// The environment that a project goes to, and where it goes there.
fn placed(asked: &Asked<'_>, target: &Target) -> Result<(String, EditablePlace), NotNative> {
    let (interpreter, (major, minor, _)) = (target.launched_by(), target.version());
    let Some((prefix, _)) = interpreter.rsplit_once("/bin/") else {
        return Err(NotNative::because(format!("which environment `{interpreter}` is of is not known")));
    };
    if asked.folder == "/" {
        return Err(NotNative::because("the whole image is its project"));
    }
    let prefix = prefix.to_owned();
    let site = format!("{prefix}/lib/python{major}.{minor}/site-packages");
    if matches!(target, Target::There { .. }) && !is_there(asked.files, &site) {
        return Err(NotNative::because(format!("`{site}` is no folder that is known")));
    }
    let scripts = format!("{prefix}/bin");
    Ok((prefix, EditablePlace { project: absolute("/", asked.folder), site, scripts, interpreter }))
}

fn is_there(files: &StageFiles, path: &str) -> bool {
    files.view().reach(path, true).is_ok_and(|at| at.found.node().is_some())
}

/// A file as poetry-core looks at it: that a module is there counts, and not what it says.
fn without_code(file: &ProjectFile) -> ProjectFile {
    let is_code = file.path.ends_with(".py");
    ProjectFile { bytes: if is_code { Vec::new() } else { file.bytes.clone() }, ..file.clone() }
}
