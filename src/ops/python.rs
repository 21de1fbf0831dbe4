//! Plans the Python layers of an image: which wheels, what of the parent they replace, in which layers.
//!
//! Versions are chosen by the resolver, or were chosen by an earlier build with the same question.

use std::collections::BTreeMap;
use std::path::Path;

use crate::diagnostic::{Class, Diagnose as _};
use crate::event::{Task, Work};
use crate::image::filesystem::Filesystem;
use crate::inputs::requirements::SourcedRequirements;
use crate::layer::LAYER_FORMAT;
use crate::oci::{Digest, ImageConfig, Platform};
use crate::plan::{Action, KeyHasher, Known, KnownLayer, LayerKind, Place, PlannedLayer, ResolutionKey};
use crate::python::environment::{PythonEnvironment, PythonHints, detect};
use crate::python::layering::OWN_LAYER;
use crate::python::lock::{Lock, LockedWheel, RemovedDistribution};
use crate::python::marker::MarkerEnvironment;
use crate::python::origin::Unbuilt;
use crate::python::tags::{CompatibleTags, Interpreter};
use crate::resolver::request::{RequirementText, ResolveRequest};
use crate::resolver::{Chosen, Resolved};
use crate::settings::{Installer, Resolution};

use super::chosen::{self, NewChoice};
use super::error::OpsError;
use super::facts::{Install, LocalFacts, PinnedLock, Wanted};
use super::kept_locks::{self, KeptLock};
use super::means::Means;
use super::plan::Planning;
use super::request::BuildRequest;
use super::resolution::{Answer, Asking};
use super::sequence::Question;
use super::wheels::Making as WheelMaking;
use super::{earlier, project, python_layers, resolution, sequence};

/// The Python part of a plan.
#[derive(Debug, Default)]
pub(super) struct PythonPlan {
    /// Under which key versions were chosen; `None` without requirements.
    pub(super) key: Option<ResolutionKey>,
    /// Removals first, then wheels.
    pub(super) layers: Vec<PlannedLayer>,
    /// The digest of the choice of versions, when uv made one.
    pub(super) choice: Option<Digest>,
    /// That choice, when it was made or remembered on this machine.
    pub(super) new_choice: Option<NewChoice>,
    /// What the layers were planned by, when an earlier image did not say which they are.
    pub(super) lock: Option<KeptLock>,
}

/// Plans the Python layers; none without requirements.
pub(super) async fn plan(
    planning: &mut Planning<'_>,
    known: &mut Known,
    reasons: &mut Vec<String>,
) -> Result<PythonPlan, OpsError> {
    if planning.local.wanted.is_none() && !project::is_asked(planning.request) {
        return Ok(PythonPlan::default());
    }
    let is_local = is_local(planning.means, planning.request, planning.local);
    let key = Some(resolution_key(planning)).filter(|_| !is_local);
    let mut kept = None;
    if let Some(key) = key.clone().filter(|_| !planning.request.upgrade && !planning.request.no_cache) {
        if known.chosen(&key).is_none() {
            kept = match kept_locks::stored(planning.means, &key)? {
                None => earlier::add_resolved(planning.means, planning.request, &key, known).await,
                stored => stored,
            };
        }
        if let Some(chosen) = known.chosen(&key) {
            reasons.push("requirements and parent are as they were: the Python layers of the last build stand".into());
            // A parent that was made here has Python layers of its own.
            let of_parent = &planning.parent.manifest.layers;
            let is_own = |layer: &KnownLayer| !of_parent.iter().any(|below| below.digest == layer.descriptor.digest);
            let own = chosen.layers.iter().filter(|(_, layer)| is_own(layer));
            let layers = own.map(|(key, layer)| PlannedLayer {
                kind: layer.kind().unwrap_or(LayerKind::Python),
                title: layer.title().to_owned(),
                key: Some(key.clone()),
                blob: None,
                place: None,
                action: Action::Build,
                bytes: None,
                fetch: 0,
                making: None,
            });
            let choice = chosen.choice.clone();
            return Ok(PythonPlan { key: Some(key), layers: layers.collect(), choice, new_choice: None, lock: None });
        }
    }
    let files = planning.files().await?;
    let python = environment(planning, &files)?;
    let Answer { lock, chosen, kept, of } = match kept {
        Some(KeptLock { lock, of }) => Answer { lock, of, ..Answer::default() },
        None => lock(planning, &python, known).await?,
    };
    let layers = python_layers::layers(planning, &files, &python, (&lock, &of), known)?;
    let kept = kept.map(|kept| format!(", {kept} of them as the last build chose them")).unwrap_or_default();
    let (major, minor) = python.version;
    let (count, word) = (lock.packages.len(), if lock.packages.len() == 1 { "package" } else { "packages" });
    reasons.push(format!("{count} {word} for Python {major}.{minor}{kept}"));
    let choice = chosen.as_ref().map(Chosen::digest);
    let last = known.last_choice(&planning.parent.config.platform());
    let is_published = last.is_some_and(|(last, at)| Some(last) == choice.as_ref() && *at == Place::Target);
    let new_choice = chosen.map(|chosen| NewChoice { chosen, is_published });
    Ok(PythonPlan { key, layers, choice, new_choice, lock: Some(KeptLock { lock, of }) })
}

/// The version of the image's Python, and what would be installed for it.
pub(super) async fn locked_packages(
    planning: &mut Planning<'_>,
    known: &Known,
) -> Result<((u32, u32), Lock), OpsError> {
    let files = planning.files().await?;
    let python = environment(planning, &files)?;
    let answer = lock(planning, &python, known).await?;
    Ok((python.version, answer.lock))
}

/// Whether what is wanted depends on folders of this machine, which no key covers.
pub(super) fn is_local(means: &Means, request: &BuildRequest, local: &LocalFacts) -> bool {
    match &local.wanted {
        Some(Wanted::Lines(sources)) => resolution::is_local(means, request, sources, &local.contents),
        Some(Wanted::Installs(installs)) => installs.iter().any(|Install { source, request, .. }| {
            resolution::is_local(means, request, std::slice::from_ref(source), &local.contents)
        }),
        _ => false,
    }
}

fn resolution_key(planning: &Planning<'_>) -> ResolutionKey {
    let settings = &planning.request.settings;
    let mut key = KeyHasher::new("resolution/2")
        .with("layers", LAYER_FORMAT)
        .with("parent", planning.parent.descriptor.digest.as_str())
        .with("platform", planning.parent.config.platform().to_string());
    planning.local.add_wanted(&mut key);
    add_how(&mut key, planning.request);
    project::add_to(&mut key, planning.request, planning.local);
    let hints = &planning.request.python;
    key.add("python", hints.version.map(|(major, minor)| format!("{major}.{minor}")).unwrap_or_default());
    key.add("prefix", hints.prefix.as_deref().unwrap_or_default());
    if let Some(place) = &hints.place {
        key.add(if place.is_bare { "target" } else { "place" }, &place.prefix);
        key.add("owner", format!("{}:{}", place.owner.uid, place.owner.gid));
    }
    let cut = &settings.lapstrake.layers;
    key.add("budget", cut.budget.unwrap_or_default().to_le_bytes());
    key.add("own-layer", cut.own_layer_above_bytes.unwrap_or(OWN_LAYER).to_le_bytes());
    ResolutionKey(key.finish())
}

/// Adds to a key how packages are chosen: by whom, with which arguments, and whether source by source.
pub(super) fn add_how(key: &mut KeyHasher, request: &BuildRequest) {
    let settings = &request.settings;
    for (name, value) in resolution::public_arguments(&settings.docker.python_package_installer_args) {
        key.add("argument", name);
        key.add("value", value);
    }
    if settings.docker.python_package_installer == Installer::Pip {
        key.add("installer", "pip");
    }
    if settings.lapstrake.resolution == Resolution::Sequential {
        key.add("resolution", "sequential");
    }
    if let Some(command) = &settings.docker.local_project_install_command {
        key.add("project-command", command);
    }
}

pub(super) fn environment(planning: &Planning<'_>, files: &Filesystem) -> Result<PythonEnvironment, OpsError> {
    found(files, &planning.parent.config, &planning.request.python)
}

/// The Python of an image with these files and this config.
pub(super) fn found(
    files: &Filesystem,
    config: &ImageConfig,
    hints: &PythonHints,
) -> Result<PythonEnvironment, OpsError> {
    let python = detect(files, &config.env(), &config.platform(), hints)?;
    Ok(hints.place.as_ref().map_or_else(|| python.clone(), |place| place.of(python.clone())))
}

/// What is to be installed, without what the parent has.
pub(super) async fn lock(
    planning: &Planning<'_>,
    python: &PythonEnvironment,
    known: &Known,
) -> Result<Answer, OpsError> {
    let Planning { means, request, .. } = planning;
    let platform = planning.parent.config.platform();
    let tags = compatible(python, &platform);
    let none = Vec::new();
    let sources = match &planning.local.wanted {
        Some(Wanted::Lines(sources)) => sources,
        _ => &none,
    };
    let interpreter = Some((python, &platform));
    let question = |sources: &[SourcedRequirements]| {
        resolution::question(means, request, sources, &planning.local.contents, interpreter)
    };
    let mut asked = question(sources);
    let fetcher = resolution::fetcher(means, request, sources).await?;
    let plain = asked.clone();
    let making = WheelMaking { means, asked: &plain, tags: &tags, fetcher: &fetcher };
    let project = project::make(planning, &making).await?;
    let of_project = project.as_ref().and_then(|project| project.requirements.clone());
    let _task = Task::start(&means.reporter, Work::Resolve, "requirements", None);
    let mut answer = match &planning.local.wanted {
        Some(Wanted::Lock { path, .. }) => {
            Answer { lock: locked(planning, python, path, &tags).await?, ..Answer::default() }
        }
        Some(Wanted::Installs(installs)) => installations(planning, installs, interpreter, &tags, known).await?,
        None if of_project.is_none() => Answer::default(),
        _ if request.settings.lapstrake.resolution == Resolution::Sequential => {
            let mut questions: Vec<_> = sources.iter().map(|source| question(std::slice::from_ref(source))).collect();
            questions.extend(of_project.map(|lines| ResolveRequest { requirements: vec![lines], ..question(&[]) }));
            let questions = questions.into_iter().map(|asked| Question::Open(Box::new(asked))).collect();
            let (lock, _) = sequence::resolve(means, request, questions, &tags, &fetcher).await?;
            Answer { lock, ..Answer::default() }
        }
        _ => {
            asked.requirements.extend(of_project);
            let may_look_back = !request.upgrade && !request.no_cache;
            let last = match may_look_back {
                true => chosen::last(means, known, &platform, planning.target()).await?,
                false => None,
            };
            let with = Asking { means, request, tags: &tags, fetcher: &fetcher, last: last.as_ref() };
            resolution::resolve_once(with, &asked).await?
        }
    };
    if let Some(project) = project {
        let version =
            |name: &str| python.installed.iter().find(|dist| dist.name == name).map(|dist| dist.version.clone());
        project.join(&mut answer.lock, version);
    }
    Ok(answer)
}

/// What the installations of a Dockerfile come to, one after the other.
async fn installations(
    planning: &Planning<'_>,
    installs: &[Install],
    interpreter: Option<(&PythonEnvironment, &Platform)>,
    tags: &CompatibleTags,
    known: &Known,
) -> Result<Answer, OpsError> {
    let Planning { means, request, .. } = planning;
    let question = |install: &Install| {
        let sources = std::slice::from_ref(&install.source);
        let asked = resolution::question(means, &install.request, sources, &planning.local.contents, interpreter);
        with_required(asked, install)
    };
    let sources: Vec<SourcedRequirements> = installs.iter().map(|install| install.source.clone()).collect();
    let fetcher = resolution::fetcher(means, request, &sources).await?;
    if let [only @ Install { lock: None, .. }] = installs {
        let last = match !request.upgrade && !request.no_cache {
            true => chosen::last(means, known, &planning.parent.config.platform(), planning.target()).await?,
            false => None,
        };
        let with = Asking { means, request: &only.request, tags, fetcher: &fetcher, last: last.as_ref() };
        return resolution::resolve_once(with, &question(only)).await;
    }
    let mut questions = Vec::new();
    for install in installs {
        let asked = question(install);
        questions.push(match &install.lock {
            None => Question::Open(Box::new(asked)),
            Some(pinned) => {
                let (lock, unbuilt) = pinned_packages(pinned, &planning.parent.config.platform(), tags)?;
                let making = WheelMaking { means, asked: &asked, tags, fetcher: &fetcher };
                let mut lock = making.complete(Resolved { lock, unbuilt }).await?;
                fetcher.add_sizes(&mut lock.packages).await?;
                Question::Answered(lock)
            }
        });
    }
    let (lock, of) = sequence::resolve(means, request, questions, tags, &fetcher).await?;
    Ok(Answer { lock, of, ..Answer::default() })
}

/// The question, with what a project requires.
fn with_required(mut asked: ResolveRequest, install: &Install) -> ResolveRequest {
    if !install.required.is_empty() {
        let text = install.required.iter().map(|line| format!("{line}\n")).collect();
        let folder = install.source.folder.clone();
        asked.requirements.push(RequirementText { name: install.source.place.clone(), text, folder });
    }
    asked
}

/// The packages of a lock for the image's Python, and those that have no wheel for it.
pub(super) fn pinned_packages(
    pinned: &PinnedLock,
    platform: &Platform,
    tags: &CompatibleTags,
) -> Result<(Lock, Vec<Unbuilt>), OpsError> {
    let markers = MarkerEnvironment::linux(&pinned.python, resolution::machine(platform));
    Ok(Lock::parse_pylock_with_sources(&pinned.packages, Path::new("/"), tags, &markers)?)
}

/// The wheels that an image's Python takes.
pub(super) fn compatible(python: &PythonEnvironment, platform: &Platform) -> CompatibleTags {
    CompatibleTags::of(&interpreter(python, platform))
}

/// What the project's lock at `path` says, without what the parent has.
async fn locked(
    planning: &Planning<'_>,
    python: &PythonEnvironment,
    path: &Path,
    tags: &CompatibleTags,
) -> Result<Lock, OpsError> {
    let Planning { means, request, .. } = planning;
    let platform = planning.parent.config.platform();
    let version = format!("{}.{}", python.version.0, python.version.1);
    let markers = MarkerEnvironment::linux(&version, resolution::machine(&platform));
    let unreadable = |source| OpsError::ReadFile { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    let folder = std::path::absolute(path).map_err(unreadable)?;
    let folder = folder.parent().unwrap_or(Path::new("/"));
    let read = Lock::parse_pylock_with_sources(&text, folder, tags, &markers);
    let (lock, unbuilt) = read.map_err(|source| match source.class() {
        Class::Usage => OpsError::Lock { path: path.to_owned(), source },
        _ => source.into(),
    })?;
    let asked = resolution::question(means, request, &[], &BTreeMap::new(), Some((python, &platform)));
    let asked = ResolveRequest { folder: folder.to_owned(), ..asked };
    let fetcher = resolution::fetcher(means, request, &[]).await?;
    let making = WheelMaking { means, asked: &asked, tags, fetcher: &fetcher };
    let lock = making.complete(Resolved { lock, unbuilt }).await?;
    let mut lock = without_installed(lock, python);
    fetcher.add_sizes(&mut lock.packages).await?;
    Ok(lock)
}

fn interpreter(python: &PythonEnvironment, platform: &Platform) -> Interpreter {
    Interpreter {
        implementation: python.implementation.clone(),
        version: python.version,
        free_threaded: false,
        libc: python.libc,
        machine: resolution::machine(platform).to_owned(),
    }
}

/// A lock names everything; what the parent has in the same version is not installed again, another version is replaced.
fn without_installed(lock: Lock, python: &PythonEnvironment) -> Lock {
    let versions: BTreeMap<&str, &str> =
        python.installed.iter().map(|dist| (dist.name.as_str(), dist.version.as_str())).collect();
    let there = |wheel: &LockedWheel| versions.get(wheel.name.as_str()).copied();
    let mut removed = Vec::new();
    let mut packages = Vec::new();
    for wheel in lock.packages {
        match there(&wheel) {
            Some(version) if version == wheel.version => {}
            Some(version) => {
                removed.push(RemovedDistribution { name: wheel.name.clone(), version: version.to_owned() });
                packages.push(wheel);
            }
            None => packages.push(wheel),
        }
    }
    Lock { packages, removed }
}
