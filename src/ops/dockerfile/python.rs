//! Installations of packages: what a `pip install` of a `RUN` leaves, planned as the settings' requirements are.
//!
//! Reads requirement files from where the plan's own copies came from. What is resolved, and how layers are cut, is the
//! business of `ops::python`.

use std::collections::BTreeMap;
use std::path::Path;

use crate::dockerfile::absolute;
use crate::dockerfile::run::{ConfigFile, Interpreter, Mounted, PipInstall, Place, RunStep, Step};
use crate::image::filesystem::{Found, Node, NodeKind};
use crate::image::users::Owner;
use crate::inputs::requirements::{
    self, RequirementOption, RequirementOrigin, RequirementSet, RequirementSource, SourcedRequirements,
};
use crate::layer::EntryPath;
use crate::oci::Digest;
use crate::plan::KeyHasher;
use crate::plan::files::{FileContent, NotNative, StageFiles};
use crate::python::environment::{EnvironmentKind, InstallPlace, PythonEnvironment};
use crate::settings::{DockerSettings, Installer};

use super::super::error::OpsError;
use super::super::facts::{Install, LocalFacts, Wanted};
use super::super::plan::Planning;
use super::super::python as packages;
use super::super::request::BuildRequest;
use super::evaluate::{Evaluation, Outcome};
use super::stage::Stage;

/// Options that a requirement file can have, so that they travel with the lines that they hold for.
const IN_FILES: [&str; 5] = ["--index-url", "--extra-index-url", "--find-links", "--no-index", "--trusted-host"];

/// Installations into one environment, one after the other, and the layers that they come to.
#[derive(Clone, Debug)]
pub(super) struct Installs {
    list: Vec<Install>,
    /// The stage's files before the first one.
    before: StageFiles,
    /// The places of their layers among those of the stage.
    at: usize,
    count: usize,
    /// Where they go.
    site: String,
}

impl Installs {
    /// What was asked for.
    pub(super) fn sources(&self) -> Vec<SourcedRequirements> {
        self.list.iter().map(|install| install.source.clone()).collect()
    }
}

/// A file of the image, by where its content comes from.
struct Asked<'a> {
    mounts: &'a [Mounted],
    files: &'a StageFiles,
    folder: &'a str,
    variables: &'a BTreeMap<String, String>,
}

impl Evaluation<'_> {
    /// Carries an installation out.
    pub(super) async fn pip(
        &mut self,
        stage: &mut Stage,
        mounts: &[Mounted],
        step: &Step,
        install: &PipInstall,
        (folder, owner): (&str, Owner),
    ) -> Result<Outcome, OpsError> {
        let files = self.files(stage).await?;
        if let Some(reason) = refused(install, mounts).or_else(|| settings_file(&files, install)) {
            return Ok(Err(reason));
        }
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
        let asked = Asked { mounts, files: &files, folder, variables: &variables };
        let source = match self.source(&asked, step, install)? {
            Ok(source) => source,
            Err(reason) => return Ok(Err(reason)),
        };
        let (environment, version) = match environment(&files, stage, install, (folder, step)) {
            Ok(environment) => environment,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut request = self.request_for(install, environment, version);
        let mut parent = stage.base.image.clone();
        parent.config = stage.config.config.clone();
        for (name, value) in &request.settings.docker.environment {
            parent.config.set_env(name, value);
        }
        let flat = stage.installs.as_ref().map_or(&files, |earlier| &earlier.before).view().files();
        let python = match packages::found(&flat, &parent.config, &request.python) {
            Ok(python) => python,
            Err(error) => return Ok(Err(NotNative::because(error.to_string()))),
        };
        if matches!(step.does, RunStep::Pip(_)) && install.installer == Installer::Pip && lacks_pip(stage, &python) {
            return Ok(Err(NotNative::because("the environment has no pip of its own that is known")));
        }
        let is_writable =
            owner.uid == 0 || flat.resolve(&python.scheme.purelib).is_some_and(|at| at.node.uid == owner.uid);
        let place = match place(stage, &files, install, folder, (&python, owner, is_writable)) {
            Ok(place) => place,
            Err(reason) => return Ok(Err(reason)),
        };
        let python = place.as_ref().map_or_else(|| python.clone(), |place| place.of(python.clone()));
        request.python.place.clone_from(&place);
        let install = Install { source, request: resolving(&request) };
        let site = python.scheme.purelib.clone();
        let is_last = |earlier: &Installs| earlier.site == site;
        let others = stage.sites.iter().any(|other| *other == site) || place.is_some() && !stage.sites.is_empty();
        if others && !stage.installs.as_ref().is_some_and(is_last) {
            return Ok(Err(NotNative::because("packages went to another place before, and count here")));
        }
        let mut installs = match stage.installs.take().filter(|earlier| earlier.site == site) {
            Some(earlier) => earlier,
            None => Installs { list: Vec::new(), before: files.clone(), at: stage.layers.len(), count: 0, site },
        };
        installs.list.push(install);
        if !stage.sites.contains(&installs.site) {
            stage.sites.push(installs.site.clone());
        }
        let flat = installs.before.view().files();
        parent.descriptor.digest = material(stage, &request);
        let contents = BTreeMap::new();
        let local =
            LocalFacts { wanted: Some(Wanted::Installs(installs.list.clone())), contents, ..LocalFacts::default() };
        let at = stage.base.at.clone().or_else(|| self.target.clone()).ok_or(OpsError::NoTarget)?;
        let mut planning = Planning::upon(self.means, &request, &local, at, parent, flat);
        let mut reasons = Vec::new();
        let planned = packages::plan(&mut planning, &mut self.known, &mut reasons).await?;
        let layers = planned.layers.into_iter().map(|layer| self.located(layer)).collect::<Result<Vec<_>, _>>()?;
        let (at, count) = (installs.at, layers.len());
        stage.layers.splice(at..at + installs.count, layers);
        stage.preamble = None;
        installs.count = count;
        stage.resolution = planned.key;
        stage.choice = planned.choice.map(|digest| (digest, planned.new_choice));
        self.sources.extend(installs.list.last().map(|install| install.source.clone()));
        let mut after = files;
        match &place {
            Some(place) => unknown_below(&mut after, place),
            None => {
                for folder in [&python.scheme.purelib, &python.scheme.platlib] {
                    if let Ok(way) = after.view().reach(folder, true)
                        && let Ok(path) = EntryPath::parse(&way.path)
                    {
                        after.mark_contents_unknown(&path);
                    }
                }
                stage.scripts.push(python.scheme.scripts.clone());
            }
        }
        stage.files = Some(after);
        stage.installs = Some(installs);
        Ok(Ok(reasons.pop().unwrap_or_else(|| "packages".into())))
    }

    /// The request that plans an installation: settings with its installer, its options and its variables.
    fn request_for(
        &self,
        install: &PipInstall,
        environment: BTreeMap<String, String>,
        version: Option<(u32, u32)>,
    ) -> BuildRequest {
        let mut request = BuildRequest { dockerfile: None, ..self.request.clone() };
        request.settings.docker = DockerSettings {
            python_package_installer: install.installer,
            python_package_installer_args: arguments(install),
            environment: environment.into_iter().collect(),
            ..DockerSettings::default()
        };
        request.python.version = version.or(request.python.version);
        request
    }

    /// What is asked for, with all that requirement files include.
    fn source(
        &self,
        asked: &Asked<'_>,
        step: &Step,
        install: &PipInstall,
    ) -> Result<Result<SourcedRequirements, NotNative>, OpsError> {
        let root =
            self.recipe.context.as_ref().map_or_else(|| self.request.folder.clone(), |tree| tree.root().to_owned());
        let mut set = RequirementSet { options: options(install), ..RequirementSet::default() };
        for file in &install.requirement_files {
            match read(asked, &root, file)? {
                Ok(read) => join(&mut set, read),
                Err(reason) => return Ok(Err(reason)),
            }
        }
        for file in &install.constraints {
            match read(asked, &root, file)? {
                Ok(mut read) => {
                    let lines = std::mem::take(&mut read.requirements);
                    read.constraints.extend(lines);
                    join(&mut set, read);
                }
                Err(reason) => return Ok(Err(reason)),
            }
        }
        let named =
            RequirementSource::Lines { name: format!("`{}`", step.command), lines: install.requirements.clone() };
        join(&mut set, requirements::read(&root, &named, asked.variables)?);
        let is_here = |line: &&requirements::RequirementLine| {
            matches!(line.kind, requirements::LineKind::Path | requirements::LineKind::Editable)
        };
        if let Some(line) = set.requirements.iter().find(is_here) {
            return Ok(Err(NotNative::because(format!("`{}` is a folder or file of the image", line.text))));
        }
        let text = set.to_text();
        let place = format!("`{}`", step.command);
        Ok(Ok(SourcedRequirements::new(RequirementOrigin::User, place, text, &root, set)))
    }
}

/// Reads a requirement file of the image from where its content comes from.
fn read(asked: &Asked<'_>, root: &Path, file: &str) -> Result<Result<RequirementSet, NotNative>, OpsError> {
    let at = absolute(asked.folder, file);
    if !at.ends_with(".txt") && !at.ends_with(".in") && (at.ends_with(".toml") || at.ends_with(".py")) {
        return Ok(Err(NotNative::because(format!("`{file}` is no plain file of requirements"))));
    }
    let content = match content(asked, &at) {
        Some(content) => content,
        None => return Ok(Err(NotNative::because(format!("`{at}` is no file that was copied from the context")))),
    };
    let source = match &content {
        FileContent::Context { path, .. } => RequirementSource::File(path.to_string().into()),
        FileContent::Text(text) => {
            RequirementSource::Text { name: file.to_owned(), text: String::from_utf8_lossy(text).into_owned() }
        }
        FileContent::Member { .. } | FileContent::Layer(_) => {
            return Ok(Err(NotNative::because(format!("`{at}` comes out of an archive"))));
        }
    };
    let set = requirements::read(root, &source, asked.variables)?;
    let FileContent::Context { path, .. } = &content else {
        return Ok(if set.files.is_empty() { Ok(set) } else { Err(NotNative::because("a text includes files")) });
    };
    // What a file includes is looked for beside it, and there it has to be in the image as well.
    let folder = |path: &str| path.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
    let (here, there) = (folder(&path.to_string()), folder(&at));
    for included in set.files.iter().skip(1) {
        let relative = match here.is_empty() {
            true => Some(included.name.as_str()),
            false => included.name.strip_prefix(&format!("{here}/")),
        };
        let is_same = relative.filter(|name| !name.starts_with('/')).is_some_and(|name| {
            let found = self::content(asked, &absolute(&there, name));
            matches!(found, Some(FileContent::Context { path, .. }) if path.to_string() == included.name)
        });
        if !is_same {
            let text = format!("`{file}` includes `{}`, which is not beside it in the image", included.name);
            return Ok(Err(NotNative::because(text)));
        }
    }
    Ok(Ok(set))
}

/// Where the content of the image's file at `at` comes from.
fn content(asked: &Asked<'_>, at: &str) -> Option<FileContent> {
    for mount in asked.mounts {
        let Mounted::Files { target, source, from: None } = mount else { continue };
        let target = absolute(asked.folder, target);
        let below = match at.strip_prefix(target.trim_end_matches('/')) {
            Some("") => "",
            Some(rest) => rest.strip_prefix('/').unwrap_or_default(),
            None => continue,
        };
        let path = absolute("/", &format!("{}/{below}", source.as_deref().unwrap_or_default()));
        let path = EntryPath::parse(path.trim_matches('/')).ok()?;
        return Some(FileContent::Context { path, digest: Digest::of(b"") });
    }
    let reached = asked.files.view().reach(at, true).ok()?;
    let path = EntryPath::parse(&reached.path).ok()?;
    asked.files.content(&path).cloned()
}

fn join(set: &mut RequirementSet, read: RequirementSet) {
    set.requirements.extend(read.requirements);
    set.constraints.extend(read.constraints);
    set.options.extend(read.options);
    set.files.extend(read.files);
}

/// The options that stand in files too.
fn options(install: &PipInstall) -> Vec<RequirementOption> {
    let of = |(name, value): (&String, &Option<String>)| {
        let name = IN_FILES.into_iter().find(|known| known.trim_start_matches('-') == name)?;
        let values: Vec<Option<String>> = match value {
            Some(value) => value.split_whitespace().map(|value| Some(value.to_owned())).collect(),
            None => vec![None],
        };
        Some(values.into_iter().map(move |value| RequirementOption { name, value, file: "RUN".into(), line: 1 }))
    };
    install.installer_args.iter().filter_map(of).flatten().collect()
}

/// The options that do not.
fn arguments(install: &PipInstall) -> indexmap::IndexMap<String, Option<String>> {
    let is_own = |name: &str| !IN_FILES.iter().any(|known| known.trim_start_matches('-') == name);
    let own = install.installer_args.iter().filter(|(name, _)| is_own(name));
    own.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The same request as the resolver gets it: versions are chosen by uv, whoever installs.
fn resolving(request: &BuildRequest) -> BuildRequest {
    let mut request = request.clone();
    request.settings.docker.python_package_installer = Installer::Uv;
    request
}

/// Why an installation is not known how to do here.
fn refused(install: &PipInstall, mounts: &[Mounted]) -> Option<NotNative> {
    let reason = if let Some(folder) = install.folders.first() {
        format!("`{}` is a project of the image, whose build has to be run", folder.path)
    } else if let Some(archive) = install.archives.first() {
        format!("`{}` is an archive of the image", archive.path)
    } else if !install.groups.is_empty() || !install.extras.is_empty() || install.all_extras {
        "it installs groups or extras of a project".to_owned()
    } else if let Place::Target(folder) = &install.place {
        format!("it installs to `{folder}`, which is no environment")
    } else if let Some(mount) = mounts.iter().find(|mount| is_secret(mount)) {
        format!("it reads the secret `{}`", secret_id(mount))
    } else {
        return None;
    };
    Some(NotNative::because(reason))
}

/// Whether an installer reads the secret of its own accord.
fn is_secret(mount: &Mounted) -> bool {
    let is_read = |target: &str| {
        let name = target.rsplit('/').next().unwrap_or_default();
        [".netrc", "netrc", "pip.conf", "uv.toml", ".pypirc"].contains(&name)
    };
    match mount {
        Mounted::SecretFile { target, .. } => is_read(target),
        Mounted::SecretVariable { name, .. } => ["PIP_", "UV_"].iter().any(|prefix| name.starts_with(prefix)),
        Mounted::Agent => true,
        Mounted::Files { .. } | Mounted::Cache { .. } => false,
    }
}

fn secret_id(mount: &Mounted) -> &str {
    match mount {
        Mounted::SecretFile { id, .. } | Mounted::SecretVariable { id, .. } => id,
        _ => "ssh",
    }
}

/// Why the image's own files of settings stand in the way.
fn settings_file(files: &StageFiles, install: &PipInstall) -> Option<NotNative> {
    let usual: &[&str] = match install.installer {
        Installer::Pip => {
            &["/etc/pip.conf", "/etc/xdg/pip/pip.conf", "/root/.config/pip/pip.conf", "/root/.pip/pip.conf"]
        }
        Installer::Uv => &["/etc/uv/uv.toml", "/root/.config/uv/uv.toml"],
    };
    match &install.config {
        ConfigFile::Off => None,
        ConfigFile::Named(file) => Some(NotNative::because(format!("`{file}` has settings of the installer"))),
        ConfigFile::Usual => {
            let there = |path: &&&str| files.view().reach(**path, true).is_ok_and(|at| at.found != Found::Absent);
            let found = usual.iter().find(there)?;
            Some(NotNative::because(format!("`{found}` has settings of the installer")))
        }
    }
}

type Environment = (BTreeMap<String, String>, Option<(u32, u32)>);

/// The variables by which the interpreter is found, and its version when that is asked for.
fn environment(
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
fn place(
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
        Place::Interpreter | Place::Target(_) => {
            return Err(NotNative::because("it is run by a user who cannot write to the image's packages"));
        }
    };
    let (major, minor) = python.version;
    let site = format!("{prefix}/lib/python{major}.{minor}/site-packages");
    let is_new = |at: crate::image::filesystem::Reached<'_>| at.found == Found::Absent;
    let has_installs = stage.installs.as_ref().is_some_and(|earlier| earlier.site == site);
    if !has_installs && !files.view().reach(&site, true).is_ok_and(is_new) {
        return Err(NotNative::because(format!("`{site}` has packages that nobody looked at")));
    }
    Ok(Some(InstallPlace { prefix, owner }))
}

/// Whether no pip is known in an environment: then another one runs, which installs elsewhere.
fn lacks_pip(stage: &Stage, python: &PythonEnvironment) -> bool {
    let is_seeded = stage.installs.iter().filter(|earlier| earlier.site == python.scheme.purelib);
    let mut lines = is_seeded.flat_map(|earlier| &earlier.list).flat_map(|install| &install.source.set.requirements);
    python.kind == EnvironmentKind::Virtual
        && !python.installed.iter().any(|dist| dist.name == "pip")
        && !lines.any(|line| line.text.starts_with("pip=="))
}

/// Marks what is below a place as unknown; its folder is there from now on.
fn unknown_below(files: &mut StageFiles, place: &InstallPlace) {
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
fn material(stage: &Stage, request: &BuildRequest) -> Digest {
    let base = &stage.base.image;
    let of_base: BTreeMap<String, String> = base.config.env().into_iter().collect();
    let changed: Vec<(String, String)> = stage
        .config
        .config
        .env()
        .into_iter()
        .chain(request.settings.docker.environment.clone())
        .filter(|(name, value)| counts(name) && !(value.is_empty() && !of_base.contains_key(name)))
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
