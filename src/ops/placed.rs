//! How the target comes to layers: by where their blobs are known to be.
//!
//! Decides nothing about what is in a layer.

use std::collections::BTreeSet;

use crate::oci::{Descriptor, Repository};
use crate::plan::{Action, Known, LayerKind, Making, Place, PlannedLayer};

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

/// What one image brings is there for the images after it, and what is fetched for one layer is there for the next.
pub(super) fn done_once<'a>(layers: impl IntoIterator<Item = &'a mut PlannedLayer>) {
    let (mut seen, mut fetched) = (BTreeSet::new(), BTreeSet::new());
    for layer in layers {
        let digest = || layer.blob.as_ref().map(|(blob, _)| blob.digest.to_string());
        let key = layer.key.as_ref().map(ToString::to_string);
        if key.clone().or_else(digest).is_some_and(|name| !seen.insert(name)) {
            layer.action = Action::Hit;
            layer.fetch = 0;
        }
        match &layer.making {
            Some(Making::Copied(copied)) if layer.action == Action::Build => {
                // Of a stage that is copied from, layers are made once.
                let made = copied.source.layers.iter().filter(|below| below.blob.is_none());
                let again = made.filter(|below| below.key.as_ref().is_some_and(|key| !fetched.insert(key.to_string())));
                layer.fetch = layer.fetch.saturating_sub(again.map(|below| below.fetch).sum());
            }
            _ if key.is_some_and(|key| !fetched.insert(key)) => layer.fetch = 0,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::Copy;
    use crate::plan::files::{CopiedFiles, CopyArguments, CopySource, CopyVerb, StageFiles};
    use crate::plan::{KeyHasher, LayerKey};

    fn layer(name: &str, fetch: u64, making: Option<Making>) -> PlannedLayer {
        PlannedLayer {
            kind: LayerKind::Files,
            title: name.to_owned(),
            key: Some(LayerKey(KeyHasher::new(name).finish())),
            blob: None,
            place: None,
            action: Action::Build,
            bytes: None,
            fetch,
            making,
        }
    }

    fn copy(name: &str, of: &[&PlannedLayer]) -> PlannedLayer {
        let copy = Copy { sources: vec!["/a".into()], destination: "/".into(), ..Copy::default() };
        let files = StageFiles::default();
        let arguments = CopyArguments::new(&copy, CopyVerb::Copy, "/", &files).unwrap();
        let source = CopySource { name: "stage `a`".into(), layers: of.iter().map(|&layer| layer.clone()).collect() };
        let fetch = source.layers.iter().map(|layer| layer.fetch).sum();
        layer(name, fetch, Some(Making::Copied(Box::new(CopiedFiles { source, arguments, before: files }))))
    }

    #[test]
    fn what_two_lines_copy_out_of_one_stage_is_fetched_once() {
        let (wheels, more) = (layer("wheels", 100, None), layer("more", 10, None));
        let mut layers =
            [copy("first", &[&wheels]), copy("second", &[&wheels, &more]), more.clone(), copy("first", &[&wheels])];
        done_once(&mut layers);
        assert_eq!(layers.each_ref().map(|layer| layer.fetch), [100, 10, 0, 0]);
        let actions = layers.map(|layer| layer.action);
        assert_eq!(
            actions,
            [Action::Build, Action::Build, Action::Build, Action::Hit],
            "what is fetched is still made"
        );
    }
}
