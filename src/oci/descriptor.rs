//! Descriptors: how one document points at another.
//!
//! Annotations are kept in order of their keys, so that equal descriptors have equal bytes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::json::{self, null_as_default};
use super::{Digest, MediaType, Platform};

/// A typed, sized, hashed pointer (image-spec, descriptor.md). `size` is in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What the bytes are.
    pub media_type: MediaType,
    /// Their digest.
    pub digest: Digest,
    /// Their number.
    pub size: u64,
    /// Where else the bytes may be had; kept, never followed.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free annotations, in order of their keys.
    #[serde(default, deserialize_with = "null_as_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The bytes themselves, base64, when embedded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The platform, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// The type of artifact that a manifest holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
}

/// Why a descriptor breaks the rules of image-spec, descriptor.md.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DescriptorError {
    /// A media type or artifact type is not of the form `type/subtype` (RFC 6838, section 4.2).
    #[error("`{0}` is not a media type")]
    MediaType(String),
    /// An entry of `urls` has no scheme (RFC 3986).
    #[error("`{0}` is not an absolute URI")]
    Url(String),
    /// The embedded data is not base64 (RFC 4648, section 4).
    #[error("embedded data of `{0}` is not base64")]
    Data(Digest),
    /// The bytes are not the JSON of a descriptor.
    #[error("not the JSON of a descriptor: {0}")]
    Json(String),
}

impl Descriptor {
    /// Parses the JSON of one descriptor and checks it.
    ///
    /// # Errors
    /// Fails when the bytes are no unambiguous JSON of a descriptor, or when [`Descriptor::check`] does.
    pub fn read(bytes: &[u8]) -> Result<Self, DescriptorError> {
        let read = json::parse(bytes).and_then(serde_json::from_value::<Self>);
        let descriptor = read.map_err(|error| DescriptorError::Json(error.to_string()))?;
        descriptor.check().map(|()| descriptor)
    }

    /// Checks what the types of the fields do not: media types, URIs, base64. Embedded data is not compared with the
    /// digest; whoever uses it does that.
    ///
    /// # Errors
    /// Fails at the first field that breaks its rule.
    pub fn check(&self) -> Result<(), DescriptorError> {
        for name in std::iter::once(self.media_type.as_str()).chain(self.artifact_type.as_deref()) {
            if !is_media_type(name) {
                return Err(DescriptorError::MediaType(name.to_owned()));
            }
        }
        if let Some(url) = self.urls.iter().find(|url| !has_scheme(url)) {
            return Err(DescriptorError::Url(url.clone()));
        }
        match &self.data {
            Some(data) if STANDARD.decode(data).is_err() => Err(DescriptorError::Data(self.digest.clone())),
            _ => Ok(()),
        }
    }

    /// A descriptor with neither annotations nor platform.
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: MediaType::new(media_type),
            digest,
            size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            data: None,
            platform: None,
            artifact_type: None,
        }
    }

    /// The descriptor of `bytes`.
    pub fn of(media_type: impl Into<String>, bytes: &[u8]) -> Self {
        Self::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// The same descriptor with one annotation more.
    #[must_use]
    pub fn annotated(mut self, key: &str, value: impl Into<String>) -> Self {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }
}

fn is_media_type(text: &str) -> bool {
    let restricted = |name: &str| {
        name.len() <= 127
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    text.split_once('/').is_some_and(|(kind, subtype)| restricted(kind) && restricted(subtype))
}

fn has_scheme(url: &str) -> bool {
    url.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+.-".contains(&b))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_names_the_field_that_breaks_its_rule() {
        let good = Descriptor::of("application/x+json", b"bytes");
        assert_eq!(good.check(), Ok(()));
        for text in ["", "application", ".a/b", "a/.b", "a/b/c", "a b/c", "a/b;c=d"] {
            let bad = Descriptor { media_type: MediaType::new(text), ..good.clone() };
            assert_eq!(bad.check(), Err(DescriptorError::MediaType(text.to_owned())));
        }
        let bad = Descriptor { urls: vec!["https://a.example/b".into(), "value".into()], ..good.clone() };
        assert_eq!(bad.check(), Err(DescriptorError::Url("value".into())));
        let bad = Descriptor { data: Some("YQ".into()), ..good.clone() };
        assert_eq!(bad.check(), Err(DescriptorError::Data(good.digest)));
    }
}
