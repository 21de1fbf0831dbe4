//! The layers that go on top of a parent: what each holds, under which key.
//!
//! Keys and grouping only; bytes are made by `ops::make`.

use std::collections::BTreeSet;

use crate::image::annotation;
use crate::image::users::Owner;
use crate::layer::{EntryPath, LAYER_FORMAT, PLACED_MTIME};
use crate::oci::Descriptor;
use crate::python::InstallScheme;
use crate::python::install::Manner;
use crate::python::lock::LockedWheel;

use super::key::{KeyHasher, LayerKey};

/// What kind of layer one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerKind {
    /// Of the parent image.
    Parent,
    /// Whiteouts of replaced distributions.
    Removals,
    /// Wheels, or a part of one.
    Python,
    /// The project's files.
    Sources,
    /// Files that a Dockerfile places.
    Files,
}

impl LayerKind {
    /// The word in annotations and in machine-readable output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Parent => "parent",
            Self::Removals => "removals",
            Self::Python => "python",
            Self::Sources => "sources",
            Self::Files => "files",
        }
    }

    /// Reads such a word.
    pub fn parse(word: &str) -> Option<Self> {
        let kinds = [Self::Parent, Self::Removals, Self::Python, Self::Sources, Self::Files];
        kinds.into_iter().find(|kind| kind.word() == word)
    }
}

/// A directory that a layer has to repeat, since some runtimes invent metadata for a missing parent directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Where it really is, links followed.
    pub path: EntryPath,
    /// Permission bits.
    pub mode: u32,
    /// Its owner.
    pub owner: Owner,
}

/// Where wheels go: everything beside the wheel that shapes a Python layer's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The folders, links followed.
    pub scheme: InstallScheme,
    /// The directories above those folders, as the parent has them.
    pub directories: Vec<DirectoryEntry>,
    /// Who owns what is installed.
    pub owner: Owner,
    /// The text of `INSTALLER`.
    pub installer: String,
    /// Whose way of placing wheels it is.
    pub manner: Manner,
    /// The interpreter's version, which names pip's own scripts.
    pub python: (u32, u32),
    /// The distributions that were asked for by name (PEP 376, REQUESTED); `None` marks all of them, as uv does.
    pub requested: Option<BTreeSet<String>>,
}

impl Placement {
    /// Whether `wheel` was asked for by name.
    pub fn is_requested(&self, wheel: &LockedWheel) -> bool {
        self.requested.as_ref().is_none_or(|names| names.contains(&wheel.name))
    }

    fn add_to(&self, hasher: &mut KeyHasher) {
        let scheme = &self.scheme;
        for (name, folder) in [
            ("interpreter", &scheme.interpreter),
            ("purelib", &scheme.purelib),
            ("platlib", &scheme.platlib),
            ("scripts", &scheme.scripts),
            ("include", &scheme.include),
            ("data", &scheme.data),
            ("installer", &self.installer),
        ] {
            hasher.add(name, folder);
        }
        if let Some(manner) = self.manner.word() {
            hasher.add("manner", manner);
        }
        hasher.add("python", format!("{}.{}", self.python.0, self.python.1));
        add_owner(hasher, self.owner);
        for directory in &self.directories {
            hasher.add("directory", directory.path.as_bytes());
            hasher.add("mode", directory.mode.to_le_bytes());
            add_owner(hasher, directory.owner);
        }
    }
}

pub(super) fn add_owner(hasher: &mut KeyHasher, owner: Owner) {
    hasher.add("uid", owner.uid.to_le_bytes());
    hasher.add("gid", owner.gid.to_le_bytes());
}

pub(super) fn hasher(kind: &str) -> KeyHasher {
    KeyHasher::new(kind).with("format", LAYER_FORMAT).with("mtime", PLACED_MTIME.to_le_bytes())
}

/// Unpacked bytes of one part of a wheel that is split; some registries refuse layers over a few GB, and runtimes
/// unpack layers in parallel.
pub const PART_BYTES: u64 = 1 << 30;

/// Bytes of a wheel file from which on it is looked at for splitting.
pub const SPLIT_FROM: u64 = 256 << 20;

/// The key of a layer that holds `wheels`, in this order; of a wheel that is split, the key of part `part`.
pub fn wheels_key(wheels: &[&LockedWheel], part: Option<usize>, placement: &Placement) -> LayerKey {
    let mut key = hasher("python/1");
    placement.add_to(&mut key);
    for wheel in wheels {
        key.add("wheel", wheel.sha256.as_str());
        key.add("direct_url", wheel.direct_url.as_deref().unwrap_or_default());
        if !placement.is_requested(wheel) {
            key.add("requested", "no");
        }
    }
    if let Some(part) = part {
        key.add("part-bytes", PART_BYTES.to_le_bytes());
        key.add("part", (part as u64).to_le_bytes());
    }
    LayerKey(key.finish())
}

/// The key of a layer of whiteouts.
pub fn removals_key(paths: &[EntryPath], directories: &[DirectoryEntry]) -> LayerKey {
    let mut key = hasher("removals/1");
    for path in paths {
        key.add("path", path.as_bytes());
    }
    for directory in directories {
        key.add("directory", directory.path.as_bytes());
        key.add("mode", directory.mode.to_le_bytes());
        add_owner(&mut key, directory.owner);
    }
    LayerKey(key.finish())
}

/// The key of the source layer: `tree` is the key material of the walk.
pub fn sources_key(tree: &[u8], prefix: &EntryPath, owner: Owner) -> LayerKey {
    let mut key = hasher("sources/1").with("tree", tree).with("prefix", prefix.as_bytes());
    add_owner(&mut key, owner);
    LayerKey(key.finish())
}

/// The descriptor of a layer of ours with what the next build wants to know.
pub fn annotate(descriptor: Descriptor, key: &LayerKey, diff_id: &str, kind: LayerKind, title: &str) -> Descriptor {
    descriptor
        .annotated(annotation::LAYER_KEY, key.to_string())
        .annotated(annotation::LAYER_DIFF_ID, diff_id)
        .annotated(annotation::LAYER_KIND, kind.word())
        .annotated(annotation::LAYER_TITLE, title)
}
