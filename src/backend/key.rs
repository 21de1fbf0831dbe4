//! The key of a segment: a hash over all that shapes what a backend makes of it.
//!
//! Values of secrets are no part of it, and neither is the backend. Two Dockerfiles that differ in what no builder
//! reads have one key; where that is not certain they have two.

use super::error::BackendError;
use super::segment::{Segment, renamed_images};
use crate::dockerfile::{Dockerfile, canonical};
use crate::plan::{KeyHasher, SegmentKey};

impl Segment {
    /// The key, over the parents' digests, normalised instructions, context, build arguments and platform.
    ///
    /// # Errors
    /// Fails when the context cannot be read, or the text is no Dockerfile.
    pub fn key(&self) -> Result<SegmentKey, BackendError> {
        let mut key = KeyHasher::new("segment/2")
            .with("platform", self.platform.to_string())
            .with("target", self.target.as_deref().unwrap_or_default());
        for instruction in normalised(&self.dockerfile)? {
            key.add("instruction", instruction);
        }
        match &self.context {
            Some(context) => key.add("context", context.key_material()?.as_str()),
            None => key.add("context", ""),
        }
        for (name, value) in &self.build_args {
            key.add(&format!("arg {name}"), value);
        }
        for id in self.secrets.keys() {
            key.add("secret", id);
        }
        for (name, value) in &self.engine_options {
            key.add(&format!("option {name}"), value.to_string());
        }
        Ok(SegmentKey(key.finish()))
    }
}

/// The instructions without what no builder reads: comments, empty lines, spelling, blanks between words, and where an
/// image lies that is named by digest.
fn normalised(text: &str) -> Result<Vec<String>, BackendError> {
    let text = renamed_images(text, &|image| image.digest().map(ToString::to_string))?;
    let directives = Dockerfile::parse(&text)?.directives;
    let own = [directives.syntax.unwrap_or_default(), directives.check.unwrap_or_default()];
    Ok(own.into_iter().chain(canonical(&text)?).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::json;

    use super::super::{Context, Secret};
    use super::*;
    use crate::oci::Platform;

    fn segment(text: &str) -> Segment {
        Segment::new(text, Platform::new("linux", "amd64"))
    }

    #[test]
    fn what_no_builder_reads_is_not_in_the_key() {
        let digest = format!("sha256:{}", "0".repeat(64));
        let plain = segment(&format!("FROM a.test/x@{digest}\nRUN a \\\n  b\n")).key().unwrap();
        for same in [
            format!("FROM b.test/mirror/x@{digest}\nRUN a \\\n  b\n"),
            format!("# why\n\nfrom a.test/x@{digest}  \r\n  run   a \\\n# aside\n  b"),
            format!("FROM a.test/x@{digest}\nRun a\tb\n# end\n"),
        ] {
            assert_eq!(segment(&same).key().unwrap(), plain, "{same}");
        }
    }

    #[test]
    fn whatever_may_shape_the_image_is_in_the_key() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a"), "1").unwrap();
        let context = |ignore: &str| Some(Context { root: folder.path().into(), ignore: ignore.into() });
        let base = || segment("FROM x\nRUN a");
        let mut segments = vec![
            base(),
            segment("FROM y\nRUN a"),
            segment("# syntax=me/mine\nFROM x\nRUN a"),
            segment("FROM x\nRUN 'a  b'"),
            segment("FROM x\nRUN 'a b'"),
            segment("FROM x\nRUN a\\\n b"),
            segment("FROM x\nRUN a\\\nb"),
            segment("FROM x\nRUN <<E\n# a\nE"),
            segment("FROM x\nRUN <<E\n# b\nE"),
            segment("# escape=`\nFROM x\nRUN a"),
            Segment { platform: Platform::new("linux", "arm64"), ..base() },
            Segment { target: Some("x".into()), ..base() },
            Segment { context: context(""), ..base() },
            Segment { context: context("a"), ..base() },
            Segment { build_args: [("A".into(), "1".into())].into(), ..base() },
            Segment { build_args: [("A".into(), "2".into())].into(), ..base() },
            Segment { secrets: [("s".into(), Secret::from("1"))].into(), ..base() },
            Segment { engine_options: [("network".into(), json!("none"))].into(), ..base() },
        ];
        let keys: BTreeSet<_> = segments.iter().map(|segment| segment.key().unwrap()).collect();
        assert_eq!(keys.len(), segments.len());

        std::fs::write(folder.path().join("a"), "2").unwrap();
        assert!(!keys.contains(&Segment { context: context(""), ..base() }.key().unwrap()));
        let secret = segments.iter_mut().find(|segment| !segment.secrets.is_empty()).unwrap();
        secret.secrets.insert("s".into(), Secret::from("2"));
        secret.no_cache = true;
        assert!(keys.contains(&secret.key().unwrap()));
    }
}
