//! Plans the Python layers of an image: which wheels, what of the parent they replace, in which layers.
//!
//! Versions are chosen by the resolver, or were chosen by an earlier build with the same question.

use std::collections::BTreeMap;
use std::path::Path;

use crate::diagnostic::{Class, Diagnose as _};
use crate::event::{Event, Task, Work};
use crate::image::filesystem::{Filesystem, Node};
use crate::image::users::Owner;
use crate::inputs::requirements::SourcedRequirements;
use crate::layer::{EntryPath, LAYER_FORMAT};
use crate::oci::{Digest, ImageConfig, Platform};
use crate::plan::{
    Action, DirectoryEntry, KeyHasher, Known, KnownLayer, LayerKind, Making, Place, Placement, PlannedLayer,
    ResolutionKey, collapse, removals_key, wheel_layers,
};
use crate::python::environment::{PythonEnvironment, PythonHints, detect};
use crate::python::install::Manner;
use crate::python::layering::{Budget, OWN_LAYER};
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
use super::installer::{self, By};
use super::kept_locks::{self, KeptLock};
use super::means::Means;
use super::plan::Planning;
use super::request::BuildRequest;
use super::resolution::{Answer, Asking};
use super::sequence::Question;
use super::wheels::Making as WheelMaking;
use super::{earlier, project, resolution, sequence};

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
    let layers = layers(planning, &files, &python, (&lock, &of), known)?;
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

fn layers(
    planning: &Planning<'_>,
    files: &Filesystem,
    python: &PythonEnvironment,
    (lock, of): (&Lock, &BTreeMap<String, usize>),
    known: &Known,
) -> Result<Vec<PlannedLayer>, OpsError> {
    let owner = planning.request.python.place.as_ref().map(|place| place.owner).unwrap_or_default();
    let placement = placement(files, python, owner)?;
    let parts = match &planning.local.wanted {
        Some(Wanted::Installs(installs)) => {
            let installs: Vec<_> = installs.iter().map(|install| (&install.by, &install.source)).collect();
            installer::parts(&placement, &installs, lock, of)
        }
        _ => {
            let by = By::of(planning.request.settings.docker.python_package_installer);
            let all = Placement { requested: None, ..by.placement(&placement, std::iter::empty()) };
            vec![(all, lock.packages.clone())]
        }
    };
    let mut layers: Vec<PlannedLayer> = removals(planning, files, python, lock)?.into_iter().collect();
    let taken = planning.parent.manifest.layers.len() + layers.len() + 1;
    let mut budget = Budget::new(taken);
    let settings = &planning.request.settings.lapstrake.layers;
    if let Some(bytes) = settings.own_layer_above_bytes {
        budget.own_layer = bytes;
    }
    if let Some(limit) = settings.budget {
        budget.soft = taken + usize::try_from(limit).unwrap_or(budget.hard);
    }
    for (placement, wheels) in parts {
        let own = wheel_layers(&wheels, &placement, budget, known)?;
        budget.taken += own.len();
        layers.extend(own);
    }
    for layer in &mut layers {
        if let Some(Making::Wheels { wheels, .. }) = &layer.making {
            // What is in folders of this machine or in the store is not fetched.
            let store = &planning.means.store;
            let is_coming =
                |wheel: &&LockedWheel| !wheel.url.starts_with("file:") && store.contains(&wheel.sha256).is_none();
            layer.fetch = wheels.iter().filter(is_coming).filter_map(|wheel| wheel.size).sum();
        }
    }
    Ok(layers)
}

/// Where packages go; `owner` has them where their folder is yet to be made.
fn placement(files: &Filesystem, python: &PythonEnvironment, mut owner: Owner) -> Result<Placement, OpsError> {
    let mut scheme = python.scheme.clone();
    let mut directories: BTreeMap<EntryPath, DirectoryEntry> = BTreeMap::new();
    for folder in [&mut scheme.purelib, &mut scheme.platlib, &mut scheme.scripts, &mut scheme.include, &mut scheme.data]
    {
        let way = files.directory_on_the_way(folder.as_bytes())?;
        for (path, node) in way.directories {
            directories.insert(path.clone(), directory(path, node));
        }
        *folder = format!("/{}", way.path);
    }
    if let Some(site) = files.resolve(python.scheme.purelib.as_bytes()) {
        owner = Owner { uid: site.node.uid, gid: site.node.gid };
    }
    let directories = directories.into_values().collect();
    let (installer, manner) = (String::new(), Manner::default());
    Ok(Placement { scheme, directories, owner, installer, manner, python: python.version, requested: None })
}

fn directory(path: EntryPath, node: &Node) -> DirectoryEntry {
    DirectoryEntry { path, mode: node.mode, owner: Owner { uid: node.uid, gid: node.gid } }
}

/// The layer of whiteouts for replaced distributions.
fn removals(
    planning: &Planning<'_>,
    files: &Filesystem,
    python: &PythonEnvironment,
    lock: &Lock,
) -> Result<Option<PlannedLayer>, OpsError> {
    let scheme = &python.scheme;
    let mut keep = Vec::new();
    for folder in [&scheme.purelib, &scheme.platlib, &scheme.scripts, &scheme.include, &scheme.data] {
        keep.push(files.directory_on_the_way(folder.as_bytes())?.path);
    }
    let mut gone = Vec::new();
    let mut names = Vec::new();
    for removed in &lock.removed {
        let Some(dist) = python.installed.iter().find(|dist| dist.name == removed.name) else { continue };
        if !keep.iter().any(|folder| dist.dist_info.parent().as_ref() == Some(folder)) {
            // Elsewhere on `sys.path`, as Debian's own packages are: what is installed comes before it, as with pip.
            continue;
        }
        match dist.files(files) {
            Ok(files) => gone.extend(files),
            Err(error) => {
                let text = format!("`{}` of the parent is hidden but not removed: {error}", removed.name);
                planning.means.reporter.report(Event::Warning { text });
                gone.push(dist.dist_info.clone());
            }
        }
        names.push(format!("{} {}", removed.name, removed.version));
    }
    let paths = collapse(files, &gone, &keep);
    if paths.is_empty() {
        return Ok(None);
    }
    let directories = above(files, &paths);
    Ok(Some(PlannedLayer {
        kind: LayerKind::Removals,
        title: format!("without {}", names.join(", ")),
        key: Some(removals_key(&paths, &directories)),
        blob: None,
        place: None,
        action: Action::Build,
        bytes: Some(512 * paths.len() as u64),
        fetch: 0,
        making: Some(Making::Removals { paths, directories }),
    }))
}

/// The directories above `paths`, as the parent has them.
fn above(files: &Filesystem, paths: &[EntryPath]) -> Vec<DirectoryEntry> {
    let mut directories = BTreeMap::new();
    for path in paths {
        for up in std::iter::successors(path.parent(), EntryPath::parent) {
            if let Some(node) = files.node(&up) {
                directories.insert(up.clone(), directory(up, node));
            }
        }
    }
    directories.into_values().collect()
}
