//! Keys: names for inputs, under which the next machine finds what was made of them.
//!
//! A key covers everything that shapes bytes and nothing else. This module does not know which
//! inputs those are; `plan::layers` and `plan::image` say so.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::oci::{Digest, Digester};

/// The key of one layer: equal keys, equal blobs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LayerKey(pub Digest);

/// The key of a choice of versions: requirement text, parent, platform, installer arguments.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResolutionKey(pub Digest);

/// The key of a whole image: equal keys, equal manifests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PlanKey(pub Digest);

/// The key of what a backend makes: equal keys, an image that will do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SegmentKey(pub Digest);

/// How all tags of ours begin; those of people do not.
const OURS: &str = "lapstrake-";

/// Whether a tag is one of ours: of a plan key, of a resolution key, or of a parent's index.
pub fn is_key_tag(tag: &str) -> bool {
    tag.starts_with(OURS)
}

impl PlanKey {
    /// Whether a tag is one that [`PlanKey::tag`] gives.
    pub fn is_tag(tag: &str) -> bool {
        let hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        tag.strip_prefix(OURS).is_some_and(|key| key.len() == 40 && key.bytes().all(hex))
    }

    /// The tag under which an image with this key is kept beside the tags that people use.
    pub fn tag(&self) -> String {
        format!("lapstrake-{}", &self.0.hex()[..40])
    }
}

impl ResolutionKey {
    /// The tag under which the last image with these requirements is kept.
    pub fn tag(&self) -> String {
        format!("lapstrake-python-{}", &self.0.hex()[..40])
    }
}

impl SegmentKey {
    /// How the tags of all segments begin.
    pub const TAG_PREFIX: &str = "lapstrake-segment-";

    /// The tag under which the image of a backend is kept.
    pub fn tag(&self) -> String {
        format!("{}{}", Self::TAG_PREFIX, &self.0.hex()[..40])
    }
}

macro_rules! displayed_as_digest {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}
displayed_as_digest!(LayerKey, ResolutionKey, PlanKey, SegmentKey);

/// Hashes named fields so that no two different lists of fields give the same bytes.
///
/// Each field is written as its name, a NUL, the value's length in eight little-endian bytes, and the value.
pub struct KeyHasher(Digester);

impl KeyHasher {
    /// Starts a key of the given kind; the kind carries the version of its own rules, as `python/1`.
    pub fn new(kind: &str) -> Self {
        let mut hasher = Self(Digester::sha256());
        hasher.add("kind", kind);
        hasher
    }

    /// Adds one field.
    pub fn add(&mut self, name: &str, value: impl AsRef<[u8]>) {
        let value = value.as_ref();
        self.0.update(name.as_bytes());
        self.0.update(&[0]);
        self.0.update(&(value.len() as u64).to_le_bytes());
        self.0.update(value);
    }

    /// The same with the field added, for chains.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.add(name, value);
        self
    }

    /// Ends the key.
    pub fn finish(self) -> Digest {
        self.0.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_cannot_run_into_each_other() {
        let key = |fields: &[(&str, &str)]| {
            let mut hasher = KeyHasher::new("test/1");
            fields.iter().for_each(|(name, value)| hasher.add(name, value));
            hasher.finish()
        };
        assert_ne!(key(&[("a", "bc")]), key(&[("ab", "c")]));
        assert_ne!(key(&[("a", ""), ("b", "")]), key(&[("a", "b")]));
        assert_ne!(key(&[("a", "1"), ("b", "2")]), key(&[("b", "2"), ("a", "1")]));
        assert_eq!(key(&[("a", "1")]), key(&[("a", "1")]));
    }

    #[test]
    fn plan_tag_is_a_valid_tag() {
        let tag = PlanKey(Digest::of(b"x")).tag();
        assert!(tag.len() <= 128 && tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
        assert!(PlanKey::is_tag(&tag) && is_key_tag(&tag));
        let other = ResolutionKey(Digest::of(b"x")).tag();
        assert!(!PlanKey::is_tag(&other) && is_key_tag(&other));
    }
}
