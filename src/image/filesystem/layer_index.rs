//! The index of one layer: what applying it changes, in the order of its tar.
//!
//! Nothing is merged here: a layer's index depends on the layer alone, so it is made once and shared
//! by every image that has the layer.

use super::Node;
use super::read::{IndexError, read_layer};
use crate::layer::EntryPath;
use crate::layer::read::ReadLimits;
use crate::oci::{Compression, DiffId, Digest};

/// What one entry of a layer does to its path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Puts this there; a directory keeps what is below it, anything else replaces all.
    Put(Node),
    /// Makes the path another name of this file, which may be a lower layer's.
    Link(EntryPath),
    /// Removes the path and all below it (image-spec, layer.md, "Whiteouts").
    Whiteout,
    /// Removes what lower layers have in the directory that holds the path (image-spec, layer.md, "Opaque Whiteout").
    Opaque,
}

/// The index of one layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerIndex {
    changes: Vec<(EntryPath, Change)>,
}

impl LayerIndex {
    /// An index of `changes`, in the order of their application.
    pub fn new(changes: Vec<(EntryPath, Change)>) -> Self {
        Self { changes }
    }

    /// Reads a whole layer in one pass: its index, the SHA-256 digest of the blob, and that of the tar inside.
    ///
    /// The caller compares both digests with those that the manifest and the config promise; until then the index
    /// is hearsay.
    ///
    /// # Errors
    /// Fails when the blob cannot be read, is no layer that runtimes read alike, or goes beyond `limits`.
    pub fn read(
        blob: impl std::io::Read,
        compression: Compression,
        limits: &ReadLimits,
    ) -> Result<(Self, Digest, DiffId), IndexError> {
        read_layer(blob, compression, limits)
    }

    /// The changes in order.
    pub fn changes(&self) -> &[(EntryPath, Change)] {
        &self.changes
    }

    /// The changes in order.
    pub fn into_changes(self) -> Vec<(EntryPath, Change)> {
        self.changes
    }
}
