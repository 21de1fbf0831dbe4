//! A segment: one piece of an image that a backend makes.
//!
//! Plain data. The images that it starts from stand in its Dockerfile, by digest.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::context::Context;
use super::error::BackendError;
use super::secret::Secret;
use crate::dockerfile::{Dockerfile, Origin, renamed};
use crate::oci::{Platform, Reference};

/// What a backend is to build.
#[derive(Clone, Debug)]
pub struct Segment {
    /// The Dockerfile's text; every `FROM` of an image names a digest.
    pub dockerfile: String,
    /// What `COPY` reads; without one the context holds the Dockerfile alone.
    pub context: Option<Context>,
    /// Build arguments in their order; they are no secrets.
    pub build_args: IndexMap<String, String>,
    /// Values for `RUN --mount=type=secret,id=...`, by id.
    pub secrets: BTreeMap<String, Secret>,
    /// For which platform.
    pub platform: Platform,
    /// The stage to build; `None` for the last.
    pub target: Option<String>,
    /// Use nothing that an earlier build of the backend left.
    pub no_cache: bool,
    /// Options that only an engine can honour, such as `network`, `shm_size`, `extra_hosts`; values as JSON.
    pub engine_options: BTreeMap<String, serde_json::Value>,
}

impl Segment {
    /// A segment of a Dockerfile alone.
    pub fn new(dockerfile: impl Into<String>, platform: Platform) -> Self {
        Self {
            dockerfile: dockerfile.into(),
            context: None,
            build_args: IndexMap::new(),
            secrets: BTreeMap::new(),
            platform,
            target: None,
            no_cache: false,
            engine_options: BTreeMap::new(),
        }
    }

    /// The images that the Dockerfile names in `FROM`, `COPY --from=` and `RUN --mount=...,from=`; those whose name is a
    /// variable are left out.
    ///
    /// # Errors
    /// Fails when the text is no Dockerfile.
    pub fn images(&self) -> Result<Vec<Reference>, BackendError> {
        let words = image_words(&self.dockerfile)?;
        Ok(words.iter().filter_map(|word| Reference::parse(word).ok()).collect())
    }

    /// The same segment with `name(image)` in the place of each image; `None` leaves it.
    ///
    /// # Errors
    /// Fails when the text is no Dockerfile.
    pub fn with_images(self, name: &dyn Fn(&Reference) -> Option<Reference>) -> Result<Self, BackendError> {
        let renamed = renamed_images(&self.dockerfile, &|image| name(image).map(|image| image.to_string()))?;
        Ok(Self { dockerfile: renamed, ..self })
    }
}

/// The text of a Dockerfile with other names for images; `None` leaves one.
///
/// # Errors
/// Fails when the text is no Dockerfile.
pub(super) fn renamed_images(text: &str, name: &dyn Fn(&Reference) -> Option<String>) -> Result<String, BackendError> {
    let words = image_words(text)?;
    let rename = |word: &str| {
        let image = words.contains(word).then(|| Reference::parse(word).ok()).flatten()?;
        name(&image)
    };
    Ok(renamed(text, &rename)?)
}

/// The words that name images.
fn image_words(text: &str) -> Result<BTreeSet<String>, BackendError> {
    let file = Dockerfile::parse(text)?;
    let mut words = BTreeSet::new();
    for (position, stage) in file.stages.iter().enumerate() {
        let base = file.base(position, &|name| Some(format!("${name}")));
        let copied = stage.instructions.iter().flat_map(|instruction| instruction.kind.origins());
        let named = copied.map(|word| file.origin(position, word)).chain(base.ok());
        words.extend(named.filter_map(|origin| match origin {
            Origin::Image(word) if !word.contains('$') => Some(word),
            _ => None,
        }));
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_where_a_dockerfile_names_them() {
        let text = "FROM --platform=linux/amd64 a.test/x@sha256:0000000000000000000000000000000000000000000000000000000000000000 AS base\n\
                    from debian as two\nCOPY --from=base /a /a\nCOPY --from=b.test/y:1 /a /a\nCOPY --from=0 /a /a\n\
                    RUN echo --from=d.test/no:1 \\\n  --from=e.test/no:1\nRUN --mount=type=bind,from=c.test/z:2,target=/z <<E\nFROM f.test/no:1\nE\nFROM base\nFROM Two\nFROM ${X}:1\nFROM scratch\n";
        let found = Segment::new(text, Platform::new("linux", "amd64")).images().unwrap();
        let found: Vec<String> = found.iter().map(|image| image.repository().to_string()).collect();
        assert_eq!(found, ["a.test/x", "b.test/y", "c.test/z", "docker.io/library/debian"]);
    }

    #[test]
    fn a_digest_is_put_at_the_image_and_nowhere_else() {
        let digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
        let text = "FROM debian AS debian2\nRUN echo debian\nCOPY --from=debian /a /debian\nRUN --mount=from=debian,target=/d true";
        let segment = Segment::new(text, Platform::new("linux", "amd64"));
        let digest_of = crate::oci::Digest::parse(digest).unwrap();
        let segment = segment.with_images(&|named| Some(named.with_digest(&digest_of))).unwrap();
        let image = format!("docker.io/library/debian@{digest}");
        let expected = format!(
            "FROM {image} AS debian2\nRUN echo debian\nCOPY --from={image} /a /debian\nRUN --mount=from={image},target=/d true\n"
        );
        assert_eq!(segment.dockerfile, expected);
    }
}
