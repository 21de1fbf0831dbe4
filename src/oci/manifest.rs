//! Image manifests: one image's config and layers.
//!
//! Which bytes are a manifest and which an index is decided in `document`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::{DocumentError, descriptors_are_plain, schema_version_is_2};
use super::json::{self, null_as_default};
use super::media_type::OCI_MANIFEST;
use super::raw::Read;
use super::{Descriptor, MediaType};

/// The most bytes of a manifest or index, 4 MiB (distribution-spec, "Pushing Manifests").
pub const MANIFEST_CAP: usize = 4 << 20;

/// An image manifest of either family (image-spec, manifest.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u8,
    /// The document's own type; when it has none, the type that it was served with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The type of artifact, when this is no image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The config blob.
    pub config: Descriptor,
    /// The layers, bottom first; at least one.
    pub layers: Vec<Descriptor>,
    /// The manifest that this one is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free annotations, in order of their keys.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Manifest {
    /// An OCI manifest without annotations.
    pub fn new(config: Descriptor, layers: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::new(OCI_MANIFEST)),
            artifact_type: None,
            config,
            layers,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    pub(super) fn from_value(value: Value) -> Result<Self, DocumentError> {
        schema_version_is_2(&value)?;
        let manifest: Self =
            serde_json::from_value(value).map_err(|source| DocumentError::Shape { name: Self::NAME, source })?;
        if manifest.layers.is_empty() {
            return Err(DocumentError::NoLayers);
        }
        let all = manifest.layers.iter().chain([&manifest.config]).chain(&manifest.subject);
        descriptors_are_plain(Self::NAME, all)?;
        Ok(manifest)
    }
}

impl Read for Manifest {
    const NAME: &'static str = "image manifest";
    const CAP: usize = MANIFEST_CAP;

    fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        let value = json::parse(bytes).map_err(|source| DocumentError::Json { name: Self::NAME, source })?;
        super::document::is_only(super::document::Kind::Manifest, &value)?;
        Self::from_value(value)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, DocumentError> {
        serde_json::to_vec(self).map_err(|source| DocumentError::Shape { name: Self::NAME, source })
    }
}
