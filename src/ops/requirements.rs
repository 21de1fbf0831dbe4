//! Gathers requirements from all of their sources, in the order of installation.
//!
//! Nothing is resolved here; the texts are those of ZenML's requirement files, byte for byte.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::event::Event;
use crate::inputs::python::{Listed, Pyproject};
use crate::inputs::requirements::{
    self, RequirementLine, RequirementOrigin, RequirementSource, SourcedRequirements, without_credentials,
};
use crate::plan::DEPLOYER;
use crate::python::integrations::{self, Integration, IntegrationError};
use crate::python::lock::{lexically_absolute, percent_decoded};
use crate::python::normalize_name;
use crate::settings::{Requirements, StackSettings};

use super::error::OpsError;
use super::facts::{self, Wanted};
use super::listing;
use super::means::Means;
use super::request::BuildRequest;

const SETTING: &str = "settings.docker.requirements";
const STACK: &str = "lapstrake.stack";

/// The requirements that `request` asks for, source by source.
///
/// # Errors
/// Fails when a file cannot be read, when a command that lists requirements fails, and for an integration that there is
/// not.
pub async fn gather(means: &Means, request: &BuildRequest) -> Result<Vec<SourcedRequirements>, OpsError> {
    let docker = &request.settings.docker;
    if docker.skip_build {
        return Ok(Vec::new());
    }
    let found = found_in_source_root(request);
    if let Some(found) = found.as_ref().filter(|_| docker.disable_automatic_requirements_detection) {
        tell_once(means, Event::Warning { text: not_installed(found) }).await;
    }
    let found = found.filter(|_| !docker.disable_automatic_requirements_detection);
    let local = match &docker.replicate_local_python_environment {
        Some(how) => Some(listing::local_environment(means, request, how).await?),
        None => None,
    };
    let named = docker.pyproject_path.as_ref().map(|path| request.folder.join(path));
    let pyproject = match named.or_else(|| found.as_ref().and_then(Found::pyproject)) {
        Some(path) => Some(listing::pyproject(means, request, &path).await?),
        None => None,
    };
    let mut request = request.clone();
    let secrets =
        request.secrets.iter().filter_map(|(name, secret)| Some((name.clone(), secret.expose_text()?.to_owned())));
    let secrets: Vec<(String, String)> = secrets.collect();
    request.variables.extend(secrets);
    let read = move || read(&request, found.as_ref(), local, pyproject);
    let (sources, events) = tokio::task::spawn_blocking(read).await.map_err(OpsError::Worker)??;
    for event in events {
        tell_once(means, event).await;
    }
    Ok(sources)
}

/// Warns of sources beside the lock `file`: a lock says everything, and nothing is added to it.
pub(super) async fn warn_of_unread_sources(means: &Means, request: &BuildRequest, file: &Path) {
    let docker = &request.settings.docker;
    let stack = &request.settings.lapstrake.stack;
    let has_stack = !stack.components.is_empty() || !stack.requirements.is_empty();
    let unread = [
        (docker.replicate_local_python_environment.is_some(), "settings.docker.replicate_local_python_environment"),
        (docker.install_stack_requirements && has_stack, "lapstrake.stack"),
        (!docker.required_integrations.is_empty(), "settings.docker.required_integrations"),
        (docker.pyproject_path.is_some(), "settings.docker.pyproject_path"),
    ];
    let unread: Vec<String> =
        unread.iter().filter(|(is_asked, _)| *is_asked).map(|(_, setting)| format!("`{setting}`")).collect();
    if !unread.is_empty() {
        let (file, unread) = (file.display(), unread.join(", "));
        let text = format!("`{file}` is a lock, which says everything: what {unread} would install beside it is not");
        tell_once(means, Event::Warning { text }).await;
    }
}

/// Reports `event`, unless another image of this run had the same to tell.
pub(super) async fn tell_once(means: &Means, event: Event) {
    let key = format!("{event:?}");
    let tell = async || {
        means.reporter.report(event);
        Ok::<(), std::convert::Infallible>(())
    };
    let Ok(()) = means.memory.told.get(key, tell).await;
}

/// A file of requirements, fit to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequirementFile {
    /// The word for the source.
    pub origin: &'static str,
    /// The name of ZenML's file, or that of the lock.
    pub name: String,
    /// Where its lines stand.
    pub place: String,
    /// Its text, without credentials.
    pub text: String,
    /// Its requirement lines with all that they include, without credentials.
    pub requirements: Vec<String>,
}

/// The files of requirements in the order of installation; the lock alone where a lock says what is installed.
///
/// # Errors
/// Fails as [`gather`] does, and when a lock that is asked for is not there.
pub async fn requirement_files(means: &Means, request: &BuildRequest) -> Result<Vec<RequirementFile>, OpsError> {
    if request.settings.docker.skip_build {
        return Ok(Vec::new());
    }
    Ok(match facts::wanted(means, request).await? {
        None => Vec::new(),
        Some(Wanted::Lock { path, .. }) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let place = path.display().to_string();
            vec![RequirementFile { origin: "lock", name, place, text: String::new(), requirements: Vec::new() }]
        }
        Some(Wanted::Installs(_)) => Vec::new(),
        Some(Wanted::Lines(sources)) => sources
            .into_iter()
            .map(|source| RequirementFile {
                origin: source.origin.word(),
                name: source.name,
                place: source.place,
                text: without_credentials(&source.text),
                requirements: source.set.requirements.iter().map(|line| without_credentials(&line.text)).collect(),
            })
            .collect(),
    })
}

/// Packages of the parent's distribution: the user's, the stack's, then those of the required integrations.
pub fn apt_packages(request: &BuildRequest) -> Vec<String> {
    let docker = &request.settings.docker;
    let stack = &request.settings.lapstrake.stack;
    let mut packages = docker.apt_packages.clone();
    if docker.install_stack_requirements {
        for (kind, component) in &stack.components {
            let flavor = component.flavor.as_deref().unwrap_or_default();
            if let Ok(Some((_, integration))) = integrations::of_flavor(kind, flavor) {
                packages.extend(integration.apt_packages.iter().cloned());
            }
            packages.extend(component.apt_packages.iter().cloned());
        }
        packages.extend(stack.apt_packages.iter().cloned());
    }
    let required = docker.required_integrations.iter().filter_map(|name| integrations::integration(name).ok());
    packages.extend(required.flat_map(|integration| integration.apt_packages.iter().cloned()));
    packages
}

/// A file that lies in the source root and that no setting names.
enum Found {
    Requirements(PathBuf),
    Pyproject(PathBuf),
}

impl Found {
    fn pyproject(&self) -> Option<PathBuf> {
        match self {
            Self::Pyproject(path) => Some(path.clone()),
            Self::Requirements(_) => None,
        }
    }
}

/// What automatic detection finds: nothing where a setting says what to install.
fn found_in_source_root(request: &BuildRequest) -> Option<Found> {
    let docker = &request.settings.docker;
    let is_named = match &docker.requirements {
        Some(Requirements::Lines(lines)) => !lines.is_empty(),
        Some(Requirements::File(_)) => true,
        None => false,
    };
    if is_named || docker.pyproject_path.is_some() || docker.replicate_local_python_environment.is_some() {
        return None;
    }
    let file = |name| Some(request.source_root.join(name)).filter(|path| path.is_file());
    file("requirements.txt").map(Found::Requirements).or_else(|| file("pyproject.toml").map(Found::Pyproject))
}

fn not_installed(found: &Found) -> String {
    let (file, setting) = match found {
        Found::Requirements(_) => ("requirements.txt", "requirements: requirements.txt"),
        Found::Pyproject(_) => ("pyproject.toml", "pyproject_path: pyproject.toml"),
    };
    format!(
        "`{file}` is in the source root and is not installed; write `{setting}`, or \
         `disable_automatic_requirements_detection: false`, to install it"
    )
}

fn read(
    request: &BuildRequest,
    found: Option<&Found>,
    local: Option<Listed>,
    pyproject: Option<(Pyproject, Listed)>,
) -> Result<(Vec<SourcedRequirements>, Vec<Event>), OpsError> {
    let docker = &request.settings.docker;
    let mut gathering = Gathering { request, sources: Vec::new(), events: Vec::new() };
    if let Some(listed) = local {
        gathering.local_environment(listed)?;
    }
    if docker.install_stack_requirements {
        gathering.stack(&request.settings.lapstrake.stack)?;
        gathering.components(&request.settings.lapstrake.stack)?;
    }
    if request.keys.iter().any(|key| key == DEPLOYER) {
        gathering.deployment()?;
    }
    gathering.integrations(&docker.required_integrations)?;
    if let Some((project, listed)) = pyproject {
        gathering.pyproject(&project, listed)?;
    }
    gathering.user(found)?;
    Ok((gathering.sources, gathering.events))
}

struct Gathering<'a> {
    request: &'a BuildRequest,
    sources: Vec<SourcedRequirements>,
    events: Vec<Event>,
}

impl Gathering<'_> {
    fn local_environment(&mut self, listed: Listed) -> Result<(), OpsError> {
        let root = &self.request.source_root;
        let source = RequirementSource::Text { name: listed.command.clone(), text: listed.text.clone() };
        let mut set = requirements::read(root, &source, &self.request.variables)?;
        let project = Project::of(root);
        let (own, others) = set.requirements.into_iter().partition(|line| project.is_named_by(line));
        set.requirements = others;
        let own: Vec<RequirementLine> = own;
        if !own.is_empty() {
            let text = format!(
                "`{}` lists this project itself, which is installed editable: it is left out, since its files come with \
                 the sources",
                listed.command
            );
            self.events.push(Event::Note { text });
        }
        let place = format!("`{}`", listed.command);
        self.sources.push(SourcedRequirements::new(RequirementOrigin::LocalEnvironment, place, listed.text, root, set));
        Ok(())
    }

    fn stack(&mut self, stack: &StackSettings) -> Result<(), OpsError> {
        let mut lines = Labelled::default();
        for (kind, component) in &stack.components {
            let Some(flavor) = &component.flavor else { continue };
            match integrations::of_flavor(kind, flavor)? {
                Some((_, integration)) => {
                    lines.add(&integration.requirements, &format!("{STACK}, {kind} {flavor}"));
                }
                None if integrations::is_own_flavor(kind, flavor) || !component.requirements.is_empty() => {}
                None => self.events.push(Event::Warning { text: unknown_flavor(kind, flavor) }),
            }
        }
        lines.add(&stack.requirements, &format!("{STACK}.requirements"));
        self.labelled(RequirementOrigin::Stack, STACK.to_owned(), &lines)
    }

    fn components(&mut self, stack: &StackSettings) -> Result<(), OpsError> {
        for (kind, component) in &stack.components {
            let place = format!("{STACK}.components.{kind}.requirements");
            let mut lines = Labelled::default();
            lines.add(&component.requirements, &place);
            self.labelled(RequirementOrigin::Component(kind.clone()), place, &lines)?;
        }
        Ok(())
    }

    fn deployment(&mut self) -> Result<(), OpsError> {
        let place = "the server of a deployment";
        let mut lines = Labelled::default();
        lines.add(&integrations::DEPLOYMENT_REQUIREMENTS.map(str::to_owned), place);
        self.labelled(RequirementOrigin::Deployment, place.to_owned(), &lines)
    }

    fn integrations(&mut self, names: &[String]) -> Result<(), OpsError> {
        let mut lines = Labelled::default();
        let required = names.iter().map(|name| Ok((name, integrations::integration(name)?)));
        let required: Vec<(&String, &Integration)> = required.collect::<Result<_, IntegrationError>>()?;
        for (name, integration) in required {
            lines.add(&integration.requirements, &format!("integration {name}"));
        }
        let place = format!("settings.docker.required_integrations: {}", names.join(", "));
        self.labelled(RequirementOrigin::Integrations, place, &lines)
    }

    /// A sorted set of lines, as ZenML writes what it knows itself; nothing when there are none.
    fn labelled(&mut self, origin: RequirementOrigin, place: String, lines: &Labelled) -> Result<(), OpsError> {
        if lines.0.is_empty() {
            return Ok(());
        }
        let text = lines.0.keys().cloned().collect::<Vec<_>>().join("\n");
        let named = lines.0.iter().map(|(line, labels)| {
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            (labels.join(", "), line.clone())
        });
        self.add(origin, place, text, &self.request.folder.clone(), &RequirementSource::Named(named.collect()))
    }

    fn pyproject(&mut self, project: &Pyproject, listed: Listed) -> Result<(), OpsError> {
        let file = project.file.strip_prefix(&self.request.folder).unwrap_or(&project.file).display().to_string();
        let place = format!("{file}, by `{}`", listed.command);
        let source = RequirementSource::Text { name: file, text: listed.text.clone() };
        self.add(RequirementOrigin::PyProject, place, listed.text, &project.folder, &source)
    }

    fn user(&mut self, found: Option<&Found>) -> Result<(), OpsError> {
        let folder = self.request.folder.clone();
        let origin = RequirementOrigin::User;
        match (&self.request.settings.docker.requirements, found) {
            (Some(Requirements::File(file)), _) => {
                let file = file.clone();
                self.file(file.display().to_string(), &folder, file)
            }
            (Some(Requirements::Lines(lines)), _) if !lines.is_empty() => {
                let source = RequirementSource::Lines { name: SETTING.to_owned(), lines: lines.clone() };
                let text = lines.join("\n");
                self.add(origin, SETTING.to_owned(), text, &folder, &source)
            }
            (_, Some(Found::Requirements(file))) => {
                let root = self.request.source_root.clone();
                self.file("requirements.txt, found in the source root".to_owned(), &root, file.clone())
            }
            _ => Ok(()),
        }
    }

    fn file(&mut self, place: String, folder: &Path, file: PathBuf) -> Result<(), OpsError> {
        let set = requirements::read(folder, &RequirementSource::File(file), &self.request.variables)?;
        let text = set.files.first().map(|file| file.text.clone()).unwrap_or_default();
        if !text.is_empty() {
            self.sources.push(SourcedRequirements::new(RequirementOrigin::User, place, text, folder, set));
        }
        Ok(())
    }

    fn add(
        &mut self,
        origin: RequirementOrigin,
        place: String,
        text: String,
        folder: &Path,
        source: &RequirementSource,
    ) -> Result<(), OpsError> {
        let set = requirements::read(folder, source, &self.request.variables)?;
        self.sources.push(SourcedRequirements::new(origin, place, text, folder, set));
        Ok(())
    }
}

/// Requirement lines, sorted, each once, with who asks for them.
#[derive(Default)]
struct Labelled(BTreeMap<String, BTreeSet<String>>);

impl Labelled {
    fn add(&mut self, lines: &[String], label: &str) {
        for line in lines {
            self.0.entry(line.clone()).or_default().insert(label.to_owned());
        }
    }
}

fn unknown_flavor(kind: &str, flavor: &str) -> String {
    let cure = match integrations::nearest_flavor(kind, flavor) {
        Some(known) => format!("did you mean `{known}`?"),
        None => format!("write `{kind}: {{flavor: {flavor}, requirements: [...]}}` when it needs some"),
    };
    format!(
        "flavor `{flavor}` of `{STACK}.components.{kind}` belongs to no integration, and nothing is installed for it; {cure}"
    )
}

/// The project of the source root, as far as it tells an editable installation of itself.
struct Project {
    folder: PathBuf,
    name: Option<String>,
}

#[derive(Deserialize)]
struct PyprojectDocument {
    project: Option<Named>,
    #[serde(default)]
    tool: PyprojectTool,
}

#[derive(Default, Deserialize)]
struct PyprojectTool {
    poetry: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: Option<String>,
}

impl Project {
    fn of(root: &Path) -> Self {
        let text = std::fs::read_to_string(root.join("pyproject.toml")).unwrap_or_default();
        let document = toml::from_str::<PyprojectDocument>(&text).ok();
        let named = document.and_then(|document| document.project.or(document.tool.poetry));
        let name = named.and_then(|named| named.name).map(|name| normalize_name(&name));
        Self { folder: std::fs::canonicalize(root).unwrap_or_else(|_| root.to_owned()), name }
    }

    /// Whether `line` installs this project in place: from its folder, or from version control under its name.
    fn is_named_by(&self, line: &RequirementLine) -> bool {
        let Some(place) = line.editable() else { return false };
        let (place, fragment) = place.split_once('#').unwrap_or((place, ""));
        let egg = fragment.split('&').find_map(|part| part.strip_prefix("egg="));
        if let Some(egg) = egg {
            let name = normalize_name(egg.split('[').next().unwrap_or(egg));
            return Some(name) == self.name;
        }
        let path = match place.strip_prefix("file://") {
            Some(path) => percent_decoded(path).unwrap_or_else(|| path.to_owned()),
            None => place.to_owned(),
        };
        let path = lexically_absolute(&self.folder, path);
        std::fs::canonicalize(&path).unwrap_or(path) == self.folder
    }
}
