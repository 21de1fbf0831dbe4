//! Finds paths that wheels of different layers both own.
//!
//! Within a layer `python::write` finds them. Sees only wheels that are installed in this build: those of layers that
//! exist already were seen when they were made.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::layer::EntryPath;
use crate::oci::Digest;
use crate::python::Wheel;
use crate::python::install::{Installation, Source};

/// What is at a path: equal contents are no conflict.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    /// Size in bytes and CRC-32 of a member.
    Member(u64, u32),
    /// Bytes made at installation.
    Made(Digest),
}

struct Owned {
    layer: usize,
    wheel: String,
    content: Content,
}

/// The paths that are taken so far, over all layers of one image.
#[derive(Default)]
pub(super) struct Taken(Mutex<BTreeMap<EntryPath, Owned>>);

impl Taken {
    /// Adds a wheel of layer number `layer`, and gives a line for each path that another layer has with other bytes.
    pub(super) fn add(&self, layer: usize, wheel: &Wheel, installation: &Installation) -> Vec<String> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        for file in &installation.files {
            let content = match &file.source {
                Source::Bytes(bytes) => Content::Made(Digest::of(bytes)),
                Source::Member(at) => match wheel.archive().members().get(*at) {
                    Some(member) => Content::Member(member.size, member.crc32),
                    None => continue,
                },
            };
            let new = Owned { layer, wheel: wheel.file().to_owned(), content };
            match taken.get(&file.path) {
                Some(old) if old.layer != layer && old.content != new.content => {
                    let (lost, kept) = if old.layer < layer { (old, &new) } else { (&new, old) };
                    let (path, lost, kept) = (&file.path, &lost.wheel, &kept.wheel);
                    lines.push(format!("`{path}` is in both `{lost}` and `{kept}`; the file of the latter is kept"));
                    if old.layer < layer {
                        taken.insert(file.path.clone(), new);
                    }
                }
                Some(_) => {}
                None => {
                    taken.insert(file.path.clone(), new);
                }
            }
        }
        lines
    }
}
