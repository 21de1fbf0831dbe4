//! The key of a segment: a hash over all that shapes what a backend makes of it.
//!
//! Values of secrets are no part of it, and neither is the backend. Two Dockerfiles that differ in what no builder
//! reads have one key; where that is not certain they have two.

use super::error::BackendError;
use super::segment::{Segment, from_image};
use crate::plan::{KeyHasher, SegmentKey};

impl Segment {
    /// The key, over the parents' digests, normalised instructions, context, build arguments and platform.
    ///
    /// # Errors
    /// Fails when the context cannot be read.
    pub fn key(&self) -> Result<SegmentKey, BackendError> {
        let mut key = KeyHasher::new("segment/1")
            .with("dockerfile", normalised(&self.dockerfile))
            .with("platform", self.platform.to_string())
            .with("target", self.target.as_deref().unwrap_or_default());
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

/// The text without what no builder reads: comments, empty lines, spaces around lines, the case of keywords, and where
/// an image lies that is named by digest. Here-documents and files with directives stay as they are.
fn normalised(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    let has_directive = text.lines().map_while(|line| line.trim().strip_prefix('#')).any(|line| line.contains('='));
    if text.contains("<<") || has_directive {
        return text;
    }
    let mut lines = Vec::new();
    let mut goes_on = false;
    for line in text.lines().map(str::trim_end) {
        let bare = line.trim_start();
        if bare.is_empty() || bare.starts_with('#') {
            continue;
        }
        lines.push(if goes_on { line.to_owned() } else { instruction(bare) });
        goes_on = line.ends_with('\\');
    }
    lines.join("\n")
}

fn instruction(line: &str) -> String {
    let (keyword, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let mut rest = rest.trim_start().to_owned();
    if let Some((place, digest)) = from_image(line).and_then(|image| image.split_once('@')) {
        rest = rest.replacen(&format!("{place}@{digest}"), digest, 1);
    }
    format!("{} {rest}", keyword.to_ascii_uppercase())
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
            segment("FROM x\nRUN  a b"),
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
