//! Which wheels share a layer.
//!
//! A wheel of some size has a layer of its own; the others go to groups by a hash of their names. So a change
//! of one requirement touches one group at most, whatever the other requirements are. Nothing is written here.

use crate::diagnostic::Diagnose;
use crate::oci::Digest;

/// Layers that container runtimes take at most.
pub const HARD_LIMIT: usize = 127;

/// Layers in all that an image should stay below: registries charge a request a layer.
pub const SOFT_LIMIT: usize = 60;

/// Bytes of a wheel file from which on it has a layer of its own, unless the settings say otherwise.
pub const OWN_LAYER: u64 = 4 << 20;

/// Groups of small wheels, when there is room; a power of two, so that less room joins groups in pairs.
const GROUPS: usize = 8;

/// One wheel to be put into a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The normalised name.
    pub name: String,
    /// Bytes of the wheel file.
    pub size: u64,
    /// How many layers it needs when it has its own: more than one when it is split.
    pub parts: usize,
}

/// How many layers there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Layers that the image has for other reasons: the parent's, the source, environment...
    pub taken: usize,
    /// Layers in all to stay within, if possible.
    pub soft: usize,
    /// Layers in all that must not be passed.
    pub hard: usize,
    /// Bytes of a wheel file from which on it has a layer of its own.
    pub own_layer: u64,
}

impl Budget {
    /// The usual limits for an image in which `taken` layers are there for other reasons.
    pub fn new(taken: usize) -> Self {
        Self { taken, soft: SOFT_LIMIT, hard: HARD_LIMIT, own_layer: OWN_LAYER }
    }
}

/// One layer of wheels: indices into the candidates, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Group {
    /// One wheel alone.
    Own(usize),
    /// Small wheels whose names share a hash; the number names the group.
    Shared {
        /// Which group of how many.
        bucket: usize,
        /// The wheels.
        members: Vec<usize>,
    },
}

/// There is no room for a single layer.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the image has {taken} layers without its Python packages, and runtimes take {hard} at most")]
pub struct NoRoom {
    /// Layers there are.
    pub taken: usize,
    /// Layers there may be.
    pub hard: usize,
}

impl Diagnose for NoRoom {
    fn hint(&self) -> Option<String> {
        Some("use a parent image with fewer layers, or flatten it".to_owned())
    }
}

/// Puts each candidate into a layer: own layers first, by name, then groups by number.
///
/// The room decides how many groups there are; the candidates do not. Where there are more large wheels than room,
/// the largest have their own layers.
///
/// # Errors
/// Fails when the hard limit leaves no layer at all.
pub fn group(candidates: &[Candidate], budget: Budget) -> Result<Vec<Group>, NoRoom> {
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    if budget.taken >= budget.hard {
        return Err(NoRoom { taken: budget.taken, hard: budget.hard });
    }
    let room = budget.soft.min(budget.hard).saturating_sub(budget.taken).max(1);
    let groups = match room {
        16.. => GROUPS,
        8.. => GROUPS / 2,
        4.. => GROUPS / 4,
        _ => 1,
    };
    let mut large: Vec<usize> = (0..candidates.len()).filter(|at| candidates[*at].size >= budget.own_layer).collect();
    large.sort_by(|one, other| {
        let (one, other) = (&candidates[*one], &candidates[*other]);
        other.size.cmp(&one.size).then_with(|| one.name.cmp(&other.name))
    });
    let mut left = room - groups;
    let mut own = vec![false; candidates.len()];
    for at in large {
        let parts = candidates[at].parts.max(1);
        if parts > left {
            break;
        }
        left -= parts;
        own[at] = true;
    }
    let mut alone: Vec<usize> = (0..candidates.len()).filter(|at| own[*at]).collect();
    alone.sort_by(|one, other| candidates[*one].name.cmp(&candidates[*other].name));
    let mut shared = vec![Vec::new(); groups];
    for at in (0..candidates.len()).filter(|at| !own[*at]) {
        shared[bucket(&candidates[at].name, groups)].push(at);
    }
    let shared = shared.into_iter().enumerate().filter(|(_, members)| !members.is_empty());
    let shared = shared.map(|(bucket, members)| Group::Shared { bucket, members });
    Ok(alone.into_iter().map(Group::Own).chain(shared).collect())
}

/// The group of a name among `groups`.
fn bucket(name: &str, groups: usize) -> usize {
    let first = usize::from_str_radix(&Digest::of(name.as_bytes()).hex()[..4], 16).unwrap_or_default();
    first % groups
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// The names in each layer.
    fn layers(candidates: &[Candidate], taken: usize) -> BTreeSet<Vec<String>> {
        let names = |members: &[usize]| {
            let mut names: Vec<String> = members.iter().map(|at| candidates[*at].name.clone()).collect();
            names.sort();
            names
        };
        let groups = group(candidates, Budget::new(taken)).unwrap();
        let layer = |group: &Group| match group {
            Group::Own(at) => names(&[*at]),
            Group::Shared { members, .. } => names(members),
        };
        groups.iter().map(layer).collect()
    }

    fn candidates() -> impl Strategy<Value = Vec<Candidate>> {
        proptest::collection::btree_map("[a-z]{1,6}", 0..(3 * OWN_LAYER), 1..120)
            .prop_map(|sizes| sizes.into_iter().map(|(name, size)| Candidate { name, size, parts: 1 }).collect())
    }

    proptest! {
        #[test]
        fn one_requirement_more_changes_one_group_at_most(all in candidates(), taken in 0_usize..70, at: prop::sample::Index) {
            let at = at.index(all.len());
            let mut fewer = all.clone();
            let added = fewer.remove(at);
            let before = layers(&fewer, taken);
            let after = layers(&all, taken);
            let new: Vec<_> = after.difference(&before).filter(|names| **names != [added.name.clone()]).collect();
            prop_assert!(new.len() <= 1, "{new:?}");
        }

        #[test]
        fn order_of_requirements_changes_nothing(all in candidates(), taken in 0_usize..70) {
            let mut reversed = all.clone();
            reversed.reverse();
            prop_assert_eq!(layers(&all, taken), layers(&reversed, taken));
        }

        #[test]
        fn every_wheel_is_in_one_layer_and_the_room_suffices(all in candidates(), taken in 0_usize..127) {
            let groups = group(&all, Budget::new(taken)).unwrap();
            let placed: usize = groups.iter().map(|group| match group {
                Group::Own(_) => 1,
                Group::Shared { members, .. } => members.len(),
            }).sum();
            prop_assert_eq!(placed, all.len());
            prop_assert!(groups.len() + taken <= SOFT_LIMIT.max(taken + 1));
        }
    }

    #[test]
    fn image_that_is_full_takes_no_wheel() {
        let one = [Candidate { name: "a".into(), size: 1, parts: 1 }];
        assert_eq!(group(&one, Budget::new(127)), Err(NoRoom { taken: 127, hard: 127 }));
        assert_eq!(group(&[], Budget::new(200)), Ok(Vec::new()));
        assert_eq!(group(&one, Budget::new(126)).unwrap().len(), 1);
    }
}
