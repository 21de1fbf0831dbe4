//! Decides what a build does: which layers, under which keys, and what changes in the config.
//!
//! Pure: facts come in, a plan goes out, and nothing here reads a disk or a registry.

mod checksum;
mod config;
pub mod files;
mod image;
mod images;
mod key;
mod known;
mod layers;
mod names;
mod python;

pub use checksum::{SettingsChecksum, build_checksum};
pub use config::{SOURCES, add_change, changes_nothing, config_change};
pub use image::{Action, ImagePlan, Making, Moves, PlannedLayer};
pub use images::{DEPLOYER, ORCHESTRATOR, WantedImage, wanted_images};
pub use key::{KeyHasher, LayerKey, PlanKey, ResolutionKey, SegmentKey, is_key_tag};
pub use known::{ChosenLayers, Known, KnownLayer, Place};
pub use layers::{
    DirectoryEntry, LayerKind, PART_BYTES, Placement, SPLIT_FROM, annotate, removals_key, sources_key, wheels_key,
};
pub use names::{DEFAULT_REPOSITORY, EmptyTag, cleaned_tag, image_name, image_tag};
pub use python::{collapse, part_title, wheel_layers};
