//! The layers that chosen packages come to: what of the parent they replace, then wheels, where the image's Python has them.
//!
//! Which packages they are is decided in `python`.

use std::collections::BTreeMap;

use crate::event::Event;
use crate::image::filesystem::{Filesystem, Node};
use crate::image::users::Owner;
use crate::layer::EntryPath;
use crate::plan::{
    Action, DirectoryEntry, Known, LayerKind, Making, Placement, PlannedLayer, collapse, removals_key, wheel_layers,
};
use crate::python::environment::PythonEnvironment;
use crate::python::install::Manner;
use crate::python::layering::Budget;
use crate::python::lock::{Lock, LockedWheel};

use super::error::OpsError;
use super::facts::Wanted;
use super::installer::{self, By};
use super::plan::Planning;

/// The layers of the packages in `lock`; `of` says which installation placed each.
///
/// # Errors
/// Fails when a folder of the parent cannot be followed, and for more layers than an image can have.
pub(super) fn layers(
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
