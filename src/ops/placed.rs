//! How the target comes to layers: by where their blobs are known to be.
//!
//! Decides nothing about what is in a layer.

use std::collections::BTreeSet;

use crate::oci::{Descriptor, Repository};
use crate::plan::{Action, Known, LayerKind, Place, PlannedLayer};

use super::earlier;
use super::error::OpsError;
use super::means::Means;
use super::request::BuildRequest;

/// How the target comes to the `layers` of a parent in the repository `from`.
pub(super) async fn parent_layers(
    means: &Means,
    target: Option<&Repository>,
    from: &Repository,
    layers: &[Descriptor],
    known: &Known,
) -> Result<Vec<PlannedLayer>, OpsError> {
    let absent = earlier::absent_blobs(means, target, layers, known).await?;
    let same_registry = target.is_some_and(|target| target.registry() == from.registry());
    let planned = layers.iter().enumerate().map(|(at, layer)| {
        let action = match (absent.contains(&layer.digest), same_registry) {
            (false, _) => Action::Hit,
            (true, true) => Action::Mount,
            (true, false) => Action::Copy,
        };
        // An output that is no registry takes what the store has.
        let is_here = target.is_none() && means.store.contains(&layer.digest).is_some();
        PlannedLayer {
            kind: LayerKind::Parent,
            title: format!("parent layer {} of {}", at + 1, layers.len()),
            key: None,
            blob: Some((layer.clone(), None)),
            place: Some(Place::Repository(from.clone())),
            fetch: if action == Action::Copy && !is_here { layer.size } else { 0 },
            bytes: Some(layer.size),
            action,
            making: None,
        }
    });
    Ok(planned.collect())
}

/// Decides how the target comes to a layer of ours, by where its blob is known to be.
pub(super) fn located(
    means: &Means,
    request: &BuildRequest,
    target: Option<&Repository>,
    mut layer: PlannedLayer,
    known: &Known,
) -> Result<PlannedLayer, OpsError> {
    let Some(key) = layer.key.clone() else { return Ok(layer) };
    let found = match known.layer(&key) {
        Some(found) => Some(found.clone()),
        None if request.no_cache => None,
        None => earlier::stored_layer(means, &key)?,
    };
    let Some(found) = found else { return Ok(layer) };
    let same_registry = |at: &Repository| target.is_some_and(|target| target.registry() == at.registry());
    layer.action = match &found.place {
        Place::Target => Action::Hit,
        Place::Repository(at) if same_registry(at) => Action::Mount,
        Place::Repository(_) | Place::Store => Action::Copy,
    };
    layer.bytes = Some(found.descriptor.size);
    layer.fetch = match (&layer.action, &found.place) {
        (Action::Copy, Place::Repository(_)) => found.descriptor.size,
        _ => 0,
    };
    layer.blob = Some((found.descriptor, Some(found.diff_id)));
    layer.place = Some(found.place);
    Ok(layer)
}

/// What one image brings is there for the images after it.
pub(super) fn done_once<'a>(layers: impl IntoIterator<Item = &'a mut PlannedLayer>) {
    let mut seen = BTreeSet::new();
    for layer in layers {
        let digest = || layer.blob.as_ref().map(|(blob, _)| blob.digest.to_string());
        let name = layer.key.as_ref().map(ToString::to_string).or_else(digest);
        if name.is_some_and(|name| !seen.insert(name)) {
            layer.action = Action::Hit;
            layer.fetch = 0;
        }
    }
}
