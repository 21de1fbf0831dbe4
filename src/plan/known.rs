//! Layers that exist already, by key: what earlier builds left in registries and in the local store.
//!
//! A manifest of ours maps inputs to blobs; this module reads such maps and never asks whether a
//! blob is still there.

use std::collections::BTreeMap;

use crate::image::annotation;
use crate::oci::{Descriptor, DiffId, Digest, Manifest, Platform, Repository};

use super::key::{LayerKey, ResolutionKey};
use super::layers::LayerKind;

/// Where the blob of a known layer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the target repository, held there by a manifest.
    Target,
    /// In another repository.
    Repository(Repository),
    /// In the local store.
    Store,
}

/// A layer whose bytes somebody made before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownLayer {
    /// The blob, with our annotations.
    pub descriptor: Descriptor,
    /// The digest of its tar.
    pub diff_id: DiffId,
    /// Where it is.
    pub place: Place,
}

impl KnownLayer {
    /// What the layer holds, by its annotation.
    pub fn title(&self) -> &str {
        self.descriptor.annotations.get(annotation::LAYER_TITLE).map_or("", String::as_str)
    }

    /// What kind of layer it is, by its annotation.
    pub fn kind(&self) -> Option<LayerKind> {
        LayerKind::parse(self.descriptor.annotations.get(annotation::LAYER_KIND)?)
    }

    /// Reads our annotations from a layer of a manifest; `None` for a layer that is not ours.
    pub fn of(descriptor: &Descriptor, place: Place) -> Option<(LayerKey, Self)> {
        let annotated = |name: &str| Digest::parse(descriptor.annotations.get(name)?).ok();
        let key = LayerKey(annotated(annotation::LAYER_KEY)?);
        let diff_id = DiffId(annotated(annotation::LAYER_DIFF_ID)?);
        Some((key, Self { descriptor: descriptor.clone(), diff_id, place }))
    }
}

/// The Python layers that an earlier build chose under one resolution key, in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenLayers {
    /// Key and layer, lowest first.
    pub layers: Vec<(LayerKey, KnownLayer)>,
    /// The digest of the choice of versions, when uv made one.
    pub choice: Option<Digest>,
}

/// All that is known, from most to least trusted place: the first that names a key wins.
#[derive(Clone, Debug, Default)]
pub struct Known {
    layers: BTreeMap<LayerKey, KnownLayer>,
    chosen: BTreeMap<ResolutionKey, ChosenLayers>,
    choices: BTreeMap<String, (Digest, Place)>,
    blobs: BTreeMap<Digest, Place>,
}

impl Known {
    /// Adds what a manifest at `place` says.
    pub fn add_manifest(&mut self, manifest: &Manifest, place: &Place) {
        let mut python = Vec::new();
        for descriptor in &manifest.layers {
            self.blobs.entry(descriptor.digest.clone()).or_insert_with(|| place.clone());
            let Some((key, known)) = KnownLayer::of(descriptor, place.clone()) else { continue };
            if matches!(known.kind(), Some(LayerKind::Python | LayerKind::Removals)) {
                python.push((key.clone(), known.clone()));
            }
            self.add(key, known);
        }
        let annotated = |name: &str| Digest::parse(manifest.annotations.get(name)?).ok();
        let choice = annotated(annotation::CHOICE);
        let resolution = annotated(annotation::RESOLUTION_KEY);
        if let Some(key) = resolution {
            self.chosen.entry(ResolutionKey(key)).or_insert(ChosenLayers { layers: python, choice: choice.clone() });
        }
        if let (Some(choice), Some(platform)) = (choice, manifest.annotations.get(annotation::PLATFORM)) {
            self.choices.entry(platform.clone()).or_insert_with(|| (choice, place.clone()));
        }
    }

    /// Adds one layer, unless its key is known already.
    pub fn add(&mut self, key: LayerKey, known: KnownLayer) {
        self.layers.entry(key).or_insert(known);
    }

    /// The layer made under `key`.
    pub fn layer(&self, key: &LayerKey) -> Option<&KnownLayer> {
        self.layers.get(key)
    }

    /// The Python layers chosen under `key`.
    pub fn chosen(&self, key: &ResolutionKey) -> Option<&ChosenLayers> {
        self.chosen.get(key)
    }

    /// The digest of the choice that the first image for `platform` that was read was made from, and where that image is.
    pub fn last_choice(&self, platform: &Platform) -> Option<&(Digest, Place)> {
        self.choices.get(&platform.to_string())
    }

    /// Where a manifest that was read holds the blob, the parent's layers included.
    pub fn blob(&self, digest: &Digest) -> Option<&Place> {
        self.blobs.get(digest)
    }
}
