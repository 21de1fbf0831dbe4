//! The interpreter that an installation means, and the place that packages go to.
//!
//! Nothing is installed here.

use std::collections::BTreeMap;

use crate::dockerfile::absolute;
use crate::dockerfile::run::{Interpreter, PipInstall, Place, Step};
use crate::image::filesystem::{Found, Node, NodeKind};
use crate::image::users::Owner;
use crate::layer::EntryPath;
use crate::oci::Digest;
use crate::plan::KeyHasher;
use crate::plan::files::{NotNative, StageFiles};
use crate::python::environment::{EnvironmentKind, InstallPlace, PythonEnvironment};
use crate::settings::Installer;

use super::super::request::BuildRequest;
use super::stage::Stage;

pub(super) type Environment = (BTreeMap<String, String>, Option<(u32, u32)>);

/// The variables by which the interpreter is found, and its version when that is asked for.
pub(super) fn environment(
    files: &StageFiles,
    stage: &Stage,
    install: &PipInstall,
    (folder, step): (&str, &Step),
) -> Result<Environment, NotNative> {
    let path = step.environment.get("PATH").cloned().or_else(|| stage.scope.value("PATH")).unwrap_or_default();
    let only = |folder: &str| {
        BTreeMap::from([("VIRTUAL_ENV".to_owned(), String::new()), ("PATH".to_owned(), folder.to_owned())])
    };
    let first = || BTreeMap::from([("VIRTUAL_ENV".to_owned(), String::new()), ("PATH".to_owned(), path.clone())]);
    let version = |name: &str| {
        let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
        let (major, minor) = digits.split_once('.')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    };
    let of_program = |program: &str| match absolute(folder, program).rsplit_once('/') {
        Some((folder, _)) => Ok((only(folder), None)),
        None => Err(NotNative::because(format!("`{program}` names no interpreter"))),
    };
    match &install.interpreter {
        Interpreter::System => Ok((first(), None)),
        Interpreter::Named(name) => Ok((first(), version(name))),
        Interpreter::Path(program) => of_program(program),
        Interpreter::Environment(at) => Ok((only(&format!("{}/bin", absolute(folder, at))), None)),
        Interpreter::Asked(asked) if asked.contains('/') => {
            let at = absolute(folder, asked);
            match files.view().reach(format!("{at}/pyvenv.cfg"), true) {
                Ok(reached) if reached.found.node().is_some() => Ok((only(&format!("{at}/bin")), None)),
                _ => of_program(asked),
            }
        }
        Interpreter::Asked(asked) => Ok((first(), version(asked))),
        Interpreter::Found => {
            let above = std::iter::successors(Some(folder), |folder| folder.rsplit_once('/').map(|(above, _)| above));
            let is_there = |folder: &&str| {
                let file = files.view().reach(format!("{folder}/.venv/pyvenv.cfg"), true);
                file.is_ok_and(|reached| reached.found.node().is_some())
            };
            match above.into_iter().find(is_there) {
                Some(folder) => Ok((only(&format!("{folder}/.venv/bin")), None)),
                None => Err(NotNative::because(
                    "uv finds no environment to install to; `--system` takes the image's Python",
                )),
            }
        }
    }
}

/// Where packages go when not to the interpreter's own place: what `--prefix` names, and the user's folder, which pip
/// takes of itself where the user may not write to the interpreter's.
pub(super) fn place(
    stage: &Stage,
    files: &StageFiles,
    install: &PipInstall,
    folder: &str,
    (python, owner, is_writable): (&PythonEnvironment, Owner, bool),
) -> Result<Option<InstallPlace>, NotNative> {
    let of_user = || match super::run::home_of(stage, files) {
        _ if python.kind == EnvironmentKind::Virtual => Err(NotNative::because("an environment has no user's folder")),
        Some(home) => Ok(format!("{}/.local", home.trim_end_matches('/'))),
        None => Err(NotNative::because("the user's home is not known")),
    };
    let prefix = match &install.place {
        Place::Prefix(_) if python.kind == EnvironmentKind::Debian => {
            return Err(NotNative::because("Debian's Python lays a prefix out in its own way"));
        }
        Place::Prefix(prefix) => absolute(folder, prefix),
        Place::User => of_user()?,
        Place::Interpreter if is_writable => return Ok(None),
        Place::Interpreter if install.installer == Installer::Pip => of_user()?,
        Place::Target(folder_named) => absolute(folder, folder_named),
        Place::Interpreter => {
            return Err(NotNative::because("it is run by a user who cannot write to the image's packages"));
        }
    };
    let (major, minor) = python.version;
    let is_bare = matches!(install.place, Place::Target(_));
    let site = if is_bare { prefix.clone() } else { format!("{prefix}/lib/python{major}.{minor}/site-packages") };
    let is_new = |at: crate::image::filesystem::Reached<'_>| at.found == Found::Absent;
    let has_installs = stage.installs.as_ref().is_some_and(|earlier| earlier.site == site);
    if !has_installs && !files.view().reach(&site, true).is_ok_and(is_new) {
        return Err(NotNative::because(format!("`{site}` has packages that nobody looked at")));
    }
    Ok(Some(InstallPlace { prefix, owner, is_bare }))
}

/// Whether no pip is known in an environment: then another one runs, which installs elsewhere.
pub(super) fn lacks_pip(stage: &Stage, python: &PythonEnvironment) -> bool {
    let is_seeded = stage.installs.iter().filter(|earlier| earlier.site == python.scheme.purelib);
    let mut lines = is_seeded.flat_map(|earlier| &earlier.list).flat_map(|install| &install.source.set.requirements);
    python.kind == EnvironmentKind::Virtual
        && !python.installed.iter().any(|dist| dist.name == "pip")
        && !lines.any(|line| line.text.starts_with("pip=="))
}

/// Marks what is below a place as unknown; its folder is there from now on.
pub(super) fn unknown_below(files: &mut StageFiles, place: &InstallPlace) {
    let Ok(path) = EntryPath::parse(place.prefix.trim_start_matches('/')) else { return };
    let missing: Vec<EntryPath> = std::iter::successors(Some(path.clone()), EntryPath::parent)
        .take_while(|path| files.view().find(path.as_bytes()) == Found::Absent)
        .collect();
    for path in missing.into_iter().rev() {
        files.put(path, Node::new(NodeKind::Directory, 0o755, place.owner.uid, place.owner.gid));
    }
    files.mark_contents_unknown(&path);
}

/// The digest that stands for all that an installation builds upon.
pub(super) fn material(stage: &Stage, request: &BuildRequest) -> Digest {
    let base = &stage.base.image;
    let of_base: BTreeMap<String, String> = base.config.env().into_iter().collect();
    let changed: Vec<(String, String)> = stage
        .config
        .config
        .env()
        .into_iter()
        .chain(request.settings.docker.environment.clone())
        .filter(|(name, value)| counts(name) && (!value.is_empty() || of_base.contains_key(name)))
        .filter(|(name, value)| of_base.get(name) != Some(value))
        .collect();
    if stage.material.is_empty() && changed.is_empty() {
        return base.descriptor.digest.clone();
    }
    let mut key = KeyHasher::new("environment/1").with("base", base.descriptor.digest.as_str());
    stage.material.iter().for_each(|layer| key.add("layer", layer));
    for (name, value) in changed {
        key.add("variable", name);
        key.add("value", value);
    }
    key.finish()
}

fn counts(name: &str) -> bool {
    name == "PATH" || name == "VIRTUAL_ENV" || name.starts_with("PYTHON") || name.starts_with("CONDA")
}
