//! Puts the wheels of a lock into layers, and the files of replaced distributions into whiteouts.
//!
//! Which wheels share a layer is decided by `python::layering`; here they get their keys.

use std::collections::BTreeSet;

use crate::image::filesystem::Filesystem;
use crate::layer::EntryPath;
use crate::python::layering::{Budget, Candidate, Group, NoRoom, group};
use crate::python::lock::LockedWheel;

use super::image::{Action, Making, PlannedLayer};
use super::known::Known;
use super::layers::{LayerKind, Placement, SPLIT_FROM, wheels_key};

/// The layers that hold `wheels`: one for each large wheel, groups for the rest.
///
/// A wheel that an earlier build split comes back as the parts that it had.
///
/// # Errors
/// Fails when the parent leaves no room for a single layer.
pub fn wheel_layers(
    wheels: &[LockedWheel],
    placement: &Placement,
    budget: Budget,
    known: &Known,
) -> Result<Vec<PlannedLayer>, NoRoom> {
    let candidates: Vec<Candidate> = wheels
        .iter()
        .map(|wheel| Candidate { name: wheel.name.clone(), size: wheel.size.unwrap_or_default(), parts: 1 })
        .collect();
    let mut layers = Vec::new();
    for members in group(&candidates, budget)? {
        let members = match members {
            Group::Own(at) => vec![at],
            Group::Shared { members, .. } => members,
        };
        let wheels: Vec<LockedWheel> = members.iter().map(|at| wheels[*at].clone()).collect();
        let split = matches!(wheels.as_slice(), [only] if only.size.is_some_and(|size| size >= SPLIT_FROM));
        if split {
            let parts = known_parts(&wheels, placement, known);
            if !parts.is_empty() {
                layers.extend(parts);
                continue;
            }
        }
        layers.push(wheel_layer(wheels, split, placement));
    }
    Ok(layers)
}

fn wheel_layer(wheels: Vec<LockedWheel>, split: bool, placement: &Placement) -> PlannedLayer {
    let named: Vec<&LockedWheel> = wheels.iter().collect();
    let bytes: Option<u64> = wheels.iter().map(|wheel| wheel.size).sum();
    PlannedLayer {
        kind: LayerKind::Python,
        title: title(&named),
        key: Some(wheels_key(&named, split.then_some(0), placement)),
        blob: None,
        place: None,
        action: Action::Build,
        bytes,
        fetch: bytes.unwrap_or_default(),
        making: Some(Making::Wheels { placement: placement.clone(), split, wheels }),
    }
}

/// The parts of a wheel that an earlier build split; none unless all of them are known.
fn known_parts(wheels: &[LockedWheel], placement: &Placement, known: &Known) -> Vec<PlannedLayer> {
    let named: Vec<&LockedWheel> = wheels.iter().collect();
    let key = |part: usize| wheels_key(&named, Some(part), placement);
    let Some(count) = known.layer(&key(0)).and_then(|layer| part_count(layer.title())) else { return Vec::new() };
    let parts: Vec<PlannedLayer> = (0..count)
        .filter(|part| known.layer(&key(*part)).is_some())
        .map(|part| PlannedLayer {
            title: part_title(&named, part, count),
            key: Some(key(part)),
            ..wheel_layer(wheels.to_vec(), true, placement)
        })
        .collect();
    if parts.len() == count { parts } else { Vec::new() }
}

/// The title of part `part`, from 0, of `count`.
pub fn part_title(wheels: &[&LockedWheel], part: usize, count: usize) -> String {
    if count == 1 { title(wheels) } else { format!("{} (part {} of {count})", title(wheels), part + 1) }
}

fn part_count(title: &str) -> Option<usize> {
    match title.strip_suffix(')').and_then(|title| title.rsplit_once(" of ")) {
        Some((_, count)) => count.parse().ok(),
        None => Some(1),
    }
}

/// What a layer of these wheels is called: every package with its version.
fn title(wheels: &[&LockedWheel]) -> String {
    let names: Vec<String> = wheels.iter().map(|wheel| format!("{} {}", wheel.name, wheel.version)).collect();
    names.join(", ")
}

/// The fewest paths whose whiteouts remove `files` from `image` and nothing else.
///
/// A directory of which nothing is left goes as a whole, but never one of `keep` or above it.
pub fn collapse(image: &Filesystem, files: &[EntryPath], keep: &[EntryPath]) -> Vec<EntryPath> {
    let mut gone: BTreeSet<EntryPath> = files.iter().filter(|path| image.node(path).is_some()).cloned().collect();
    let mut level: BTreeSet<EntryPath> = gone.iter().filter_map(EntryPath::parent).collect();
    while !level.is_empty() {
        let mut above = BTreeSet::new();
        for directory in level {
            let is_kept = keep.iter().any(|kept| kept == &directory || is_below(kept, &directory));
            let children = image.children(directory.as_bytes());
            if is_kept || children.is_empty() || !children.iter().all(|(child, _)| gone.contains(*child)) {
                continue;
            }
            above.extend(directory.parent());
            gone.insert(directory);
        }
        level = above;
    }
    let covered =
        |path: &EntryPath| std::iter::successors(path.parent(), EntryPath::parent).any(|up| gone.contains(&up));
    gone.iter().filter(|path| !covered(path)).cloned().collect()
}

fn is_below(path: &EntryPath, directory: &EntryPath) -> bool {
    path.as_bytes().strip_prefix(directory.as_bytes()).is_some_and(|rest| rest.first() == Some(&b'/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::filesystem::{Change, LayerIndex, Node, NodeKind};

    fn path(text: &str) -> EntryPath {
        EntryPath::parse(text).unwrap()
    }

    fn image(files: &[&str]) -> Filesystem {
        let mut all: BTreeSet<(EntryPath, bool)> = BTreeSet::new();
        for file in files {
            all.insert((path(file), true));
            all.extend(std::iter::successors(path(file).parent(), EntryPath::parent).map(|up| (up, false)));
        }
        let node = |is_file| if is_file { NodeKind::File { size: 1 } } else { NodeKind::Directory };
        let changes =
            all.into_iter().map(|(path, is_file)| (path, Change::Put(Node::new(node(is_file), 0o755, 0, 0)))).collect();
        Filesystem::merge([LayerIndex::new(changes)]).unwrap()
    }

    #[test]
    fn a_folder_of_which_nothing_is_left_goes_as_a_whole() {
        let image = image(&["s/a/x", "s/a/b/y", "s/c/z", "s/c/w"]);
        let gone = collapse(&image, &[path("s/a/x"), path("s/a/b/y"), path("s/c/z")], &[path("s")]);
        assert_eq!(gone, [path("s/a"), path("s/c/z")]);
    }

    #[test]
    fn a_kept_folder_stays_when_all_in_it_goes() {
        let image = image(&["s/a/x"]);
        assert_eq!(collapse(&image, &[path("s/a/x"), path("s/none")], &[path("s/a")]), [path("s/a/x")]);
    }

    #[test]
    fn parts_are_counted_in_titles() {
        assert_eq!(part_count("torch 2.5.0 (part 1 of 3)"), Some(3));
        assert_eq!(part_count("torch 2.5.0"), Some(1));
    }
}
