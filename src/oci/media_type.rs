//! Media types of both families, OCI's and Docker's.
//!
//! The names only: what a document of a type must look like is said in `manifest` and `index`.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A media type as it stands in a descriptor; unknown ones are kept as they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MediaType(String);

/// OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// OCI image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI image config.
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// OCI empty descriptor, `{}`.
pub const OCI_EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// OCI layer, plain tar.
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// OCI layer, gzip.
pub const OCI_LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// OCI layer, Zstandard.
pub const OCI_LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker image config.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker layer, gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker layer, plain tar.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker layer, Zstandard.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";
/// Docker layer that may not be redistributed.
pub const DOCKER_FOREIGN_GZIP: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";

/// How a layer's tar is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Plain tar.
    None,
    /// RFC 1952, one or many members.
    Gzip,
    /// RFC 8878, one or many frames.
    Zstd,
}

impl MediaType {
    /// Wraps a media type's text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this names an image manifest of either family.
    pub fn is_manifest(&self) -> bool {
        matches!(self.as_str(), OCI_MANIFEST | DOCKER_MANIFEST)
    }

    /// Whether this names an index or manifest list.
    pub fn is_index(&self) -> bool {
        matches!(self.as_str(), OCI_INDEX | DOCKER_LIST)
    }

    /// Whether the bytes of such a layer may not be pushed elsewhere (image-spec, layer.md, "Non-Distributable Layers").
    pub fn is_non_distributable(&self) -> bool {
        self.0.contains(".nondistributable.") || self.0.contains(".foreign.")
    }

    /// The compression of a layer of this type; `None` when this is not a layer's type.
    pub fn layer_compression(&self) -> Option<Compression> {
        let plain = self.0.replace(".nondistributable", "").replace(".foreign", "");
        match plain.as_str() {
            OCI_LAYER | DOCKER_LAYER => Some(Compression::None),
            OCI_LAYER_GZIP | DOCKER_LAYER_GZIP => Some(Compression::Gzip),
            OCI_LAYER_ZSTD | DOCKER_LAYER_ZSTD => Some(Compression::Zstd),
            _ => None,
        }
    }

    /// The same type in OCI's family; types that have no OCI name stay.
    pub fn to_oci(&self) -> Self {
        Self::new(match self.as_str() {
            DOCKER_MANIFEST => OCI_MANIFEST,
            DOCKER_LIST => OCI_INDEX,
            DOCKER_CONFIG => OCI_CONFIG,
            DOCKER_LAYER => OCI_LAYER,
            DOCKER_LAYER_GZIP => OCI_LAYER_GZIP,
            DOCKER_LAYER_ZSTD => OCI_LAYER_ZSTD,
            DOCKER_FOREIGN_GZIP => "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
            other => other,
        })
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docker_types_have_their_oci_names() {
        for (docker, oci) in
            [(DOCKER_MANIFEST, OCI_MANIFEST), (DOCKER_LAYER_GZIP, OCI_LAYER_GZIP), (DOCKER_LIST, OCI_INDEX)]
        {
            assert_eq!(MediaType::new(docker).to_oci().as_str(), oci);
        }
        assert_eq!(MediaType::new("application/x").to_oci().as_str(), "application/x");
    }

    #[test]
    fn layer_compression_reads_every_family() {
        assert_eq!(MediaType::new(DOCKER_FOREIGN_GZIP).layer_compression(), Some(Compression::Gzip));
        assert_eq!(MediaType::new(OCI_LAYER_ZSTD).layer_compression(), Some(Compression::Zstd));
        assert_eq!(MediaType::new(OCI_CONFIG).layer_compression(), None);
    }
}
