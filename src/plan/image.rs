//! The plan of one image: its layers with what is done for each, and the config change.
//!
//! A plan is data: it can be printed, compared and carried out, and holds no handle to anything.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::image::users::Owner;
use crate::image::{ConfigChange, ParentImage};
use crate::layer::EntryPath;
use crate::oci::{Descriptor, DiffId, Digest, Platform};
use crate::python::lock::LockedWheel;

use super::files::{CopiedFiles, PlacedFiles};
use super::key::{LayerKey, ResolutionKey};
use super::known::Place;
use super::layers::{DirectoryEntry, LayerKind, Placement};

/// What is done so that the target has a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing: it is there.
    Hit,
    /// It is mounted from another repository of the same registry.
    Mount,
    /// Its bytes are moved from where they are.
    Copy,
    /// It is made, then moved.
    Build,
}

impl Action {
    /// The word in machine-readable output.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Mount => "mount",
            Self::Copy => "copy",
            Self::Build => "build",
        }
    }
}

/// How a layer that nobody has is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Making {
    /// Whiteouts for `paths`.
    Removals {
        /// What goes.
        paths: Vec<EntryPath>,
        /// The directories above, as the parent has them.
        directories: Vec<DirectoryEntry>,
    },
    /// Wheels, installed.
    Wheels {
        /// In the order of the lock.
        wheels: Vec<LockedWheel>,
        /// Whether it is a single wheel that may come to several layers.
        split: bool,
        /// Where they go.
        placement: Placement,
    },
    /// The source tree.
    Sources {
        /// Who owns it.
        owner: Owner,
    },
    /// Files that a stage of a Dockerfile places.
    Files {
        /// What they are.
        files: PlacedFiles,
        /// The root of the build context that they come from.
        context: PathBuf,
    },
    /// Files of another stage or image.
    Copied(Box<CopiedFiles>),
}

/// One layer of a planned image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedLayer {
    /// What kind.
    pub kind: LayerKind,
    /// What it holds, for people.
    pub title: String,
    /// Its key; the parent's layers that we did not make have none.
    pub key: Option<LayerKey>,
    /// The blob, when its bytes exist somewhere.
    pub blob: Option<(Descriptor, Option<DiffId>)>,
    /// Where those bytes are.
    pub place: Option<Place>,
    /// What is done.
    pub action: Action,
    /// Bytes that the action moves to the target; an estimate for what is still to be made.
    pub bytes: Option<u64>,
    /// Bytes that have to be fetched before it can be made.
    pub fetch: u64,
    /// How it is made, for [`Action::Build`].
    pub making: Option<Making>,
}

/// The plan of one image.
#[derive(Clone, Debug)]
pub struct ImagePlan {
    /// What it runs on.
    pub platform: Platform,
    /// What it stands on.
    pub parent: ParentImage,
    /// All layers, the parent's first.
    pub layers: Vec<PlannedLayer>,
    /// What changes in the config.
    pub change: ConfigChange,
    /// Under which key the Python layers were chosen, when there are requirements.
    pub resolution: Option<ResolutionKey>,
    /// Annotations of the manifest that say where its code is.
    pub annotations: BTreeMap<String, String>,
    /// The digest of the choice of versions, when uv made one.
    pub choice: Option<Digest>,
}

/// Bytes of layers that a build moves, as far as a plan knows them. Documents are not counted: config and manifests, under
/// each of their names, are some KiB more, and so is what is kept beside the image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// Fetched from package indexes and other registries.
    pub downloaded: u64,
    /// Written to the target.
    pub uploaded: u64,
    /// Linked by the target's registry.
    pub mounted: u64,
}

impl Moves {
    /// What `layers` cost together; a layer of several images is moved once.
    pub fn of<'a>(layers: impl IntoIterator<Item = &'a PlannedLayer>) -> Self {
        let mut moves = Self::default();
        let mut seen = BTreeSet::new();
        for layer in layers {
            let digest = layer.blob.as_ref().map(|(blob, _)| blob.digest.as_str());
            let name = layer.key.as_ref().map(|key| key.0.as_str()).or(digest);
            if name.is_some_and(|name| !seen.insert(name)) {
                continue;
            }
            let bytes = layer.bytes.unwrap_or_default();
            moves.downloaded += layer.fetch;
            match layer.action {
                Action::Hit => {}
                Action::Mount => moves.mounted += bytes,
                Action::Copy | Action::Build => moves.uploaded += bytes,
            }
        }
        moves
    }
}
