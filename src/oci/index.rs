//! Image indexes: one name for the images of several platforms.
//!
//! Nothing here picks a platform that was not asked for.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::{DocumentError, descriptors_are_plain, schema_version_is_2};
use super::json::{self, null_as_default};
use super::manifest::MANIFEST_CAP;
use super::media_type::OCI_INDEX;
use super::raw::Read;
use super::{Descriptor, MediaType, Platform};

/// An image index, or a Docker manifest list (image-spec, image-index.md).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u8,
    /// The document's own type; when it has none, the type that it was served with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// The type of artifact, when this holds no images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// The manifests, in order of preference.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this index is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Free annotations, in order of their keys.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Index {
    /// An OCI index without annotations.
    pub fn new(manifests: Vec<Descriptor>) -> Self {
        Self {
            schema_version: 2,
            media_type: Some(MediaType::new(OCI_INDEX)),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// The entry for a platform: the first that is exactly it, else the first that serves it; entries without a
    /// platform are never taken.
    pub fn select(&self, wanted: &Platform) -> Option<&Descriptor> {
        let exact = wanted.clone().normalized();
        let of_platform = |fits: &dyn Fn(&Platform) -> bool| {
            self.manifests.iter().find(|entry| entry.platform.as_ref().is_some_and(fits))
        };
        of_platform(&|have| have.clone().normalized() == exact).or_else(|| of_platform(&|have| have.serves(wanted)))
    }

    /// The platforms of the entries, each once, without the `unknown/unknown` of attestations.
    pub fn platforms(&self) -> Vec<Platform> {
        let known = |platform: &&Platform| platform.os != "unknown" && platform.architecture != "unknown";
        let all: BTreeSet<Platform> =
            self.manifests.iter().filter_map(|entry| entry.platform.as_ref()).filter(known).cloned().collect();
        all.into_iter().collect()
    }

    /// The platforms as one line for a message: `linux/amd64, linux/arm64`; `none` when no entry has one.
    pub fn platforms_line(&self) -> String {
        let names: BTreeSet<String> = self.platforms().iter().map(Platform::to_string).collect();
        if names.is_empty() {
            return "none".to_owned();
        }
        names.into_iter().collect::<Vec<_>>().join(", ")
    }

    pub(super) fn from_value(value: Value) -> Result<Self, DocumentError> {
        schema_version_is_2(&value)?;
        let index: Self =
            serde_json::from_value(value).map_err(|source| DocumentError::Shape { name: Self::NAME, source })?;
        descriptors_are_plain(Self::NAME, index.manifests.iter().chain(&index.subject))?;
        Ok(index)
    }
}

impl Read for Index {
    const NAME: &'static str = "image index";
    const CAP: usize = MANIFEST_CAP;

    fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        let value = json::parse(bytes).map_err(|source| DocumentError::Json { name: Self::NAME, source })?;
        super::document::is_only(super::document::Kind::Index, &value)?;
        Self::from_value(value)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, DocumentError> {
        serde_json::to_vec(self).map_err(|source| DocumentError::Shape { name: Self::NAME, source })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;
    use crate::oci::media_type::OCI_MANIFEST;

    fn entry(name: &str, platform: Option<&str>) -> Descriptor {
        let mut entry = Descriptor::of(OCI_MANIFEST, name.as_bytes());
        entry.platform = platform.map(|text| match text.split_once('/') {
            Some((os, architecture)) if !architecture.contains('/') => Platform::new(os, architecture),
            _ => Platform::parse(text).unwrap(),
        });
        entry
    }

    #[test]
    fn select_prefers_the_exact_platform_and_never_guesses() {
        let index = Index::new(vec![
            entry("none", None),
            entry("unknown", Some("unknown/unknown")),
            entry("v7", Some("linux/arm/v7")),
            entry("v6", Some("linux/arm/v6")),
            entry("amd64", Some("linux/amd64")),
        ]);
        for (wanted, found) in [
            ("linux/arm/v6", Some("v6")),
            ("linux/arm", Some("v7")),
            ("linux/amd64/v1", Some("amd64")),
            ("linux/arm64", None),
            ("windows/amd64", None),
        ] {
            let selected = index.select(&Platform::parse(wanted).unwrap()).map(|entry| entry.digest.clone());
            assert_eq!(selected, found.map(|name: &str| Digest::of(name.as_bytes())), "{wanted}");
        }
        assert_eq!(index.platforms_line(), "linux/amd64, linux/arm/v6, linux/arm/v7");
        assert_eq!(Index::new(vec![]).platforms_line(), "none");
    }
}
