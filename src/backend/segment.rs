//! A segment: one piece of an image that a backend makes.
//!
//! Plain data. The images that it starts from stand in its Dockerfile, by digest.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use super::context::Context;
use super::secret::Secret;
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

    /// The images that the Dockerfile names in `FROM`, `COPY --from=` and `RUN --mount=...,from=`.
    pub fn images(&self) -> Vec<Reference> {
        self.image_words().into_iter().map(|(_, named)| named).collect()
    }

    /// The same, each with the word that names it.
    pub(crate) fn image_words(&self) -> Vec<(String, Reference)> {
        let mut stages = BTreeSet::new();
        let mut found: Vec<(String, Reference)> = Vec::new();
        for line in self.dockerfile.lines() {
            for word in named_in_line(line) {
                let is_stage = word == "scratch" || word.contains('$') || stages.contains(&word.to_ascii_lowercase());
                if is_stage || word.parse::<u32>().is_ok() || found.iter().any(|(known, _)| known == word) {
                    continue;
                }
                found.extend(Reference::parse(word).ok().map(|named| (word.to_owned(), named)));
            }
            stages.extend(stage_name(line));
        }
        found
    }

    /// Puts `image` in the place of the word that names one.
    pub(crate) fn name_image(&mut self, word: &str, image: &Reference) {
        let mut lines: Vec<String> = Vec::new();
        for line in self.dockerfile.lines() {
            let ends = |rest: &str| rest.is_empty() || rest.starts_with([',', ' ', '\t', '\\', '\r']);
            let places = line.match_indices(word).map(|(at, _)| at);
            let mut whole =
                places.filter(|at| line[..*at].ends_with(['=', ' ', '\t']) && ends(&line[at + word.len()..]));
            match whole.next().filter(|_| named_in_line(line).contains(&word)) {
                Some(at) => lines.push(format!("{}{image}{}", &line[..at], &line[at + word.len()..])),
                None => lines.push(line.to_owned()),
            }
        }
        self.dockerfile = lines.join("\n") + "\n";
    }
}

/// The words of a line that name an image or a stage.
fn named_in_line(line: &str) -> Vec<&str> {
    let mut named: Vec<&str> = from_image(line).into_iter().collect();
    for word in line.split_whitespace() {
        let flag = word.strip_prefix("--from=");
        let mount = word.strip_prefix("--mount=").map(|mount| mount.split(','));
        let mounted = mount.into_iter().flatten().filter_map(|part| part.strip_prefix("from="));
        named.extend(flag.into_iter().chain(mounted));
    }
    named
}

/// The name that a `FROM` gives its stage.
fn stage_name(line: &str) -> Option<String> {
    let image = from_image(line)?;
    let mut words = line.split_whitespace().skip_while(|word| *word != image).skip(1);
    let gives = words.next().is_some_and(|word| word.eq_ignore_ascii_case("as"));
    words.next().filter(|_| gives).map(str::to_ascii_lowercase)
}

/// The image that a `FROM` names.
pub(super) fn from_image(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace();
    let keyword = words.next()?;
    let mut rest = words.skip_while(|word| word.starts_with("--"));
    if keyword.eq_ignore_ascii_case("from") { rest.next() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_where_a_dockerfile_names_them() {
        let text = "FROM --platform=linux/amd64 a.test/x@sha256:0000000000000000000000000000000000000000000000000000000000000000 AS base\n\
                    from debian as two\nCOPY --from=base /a /a\nCOPY --from=b.test/y:1 /a /a\nCOPY --from=0 /a /a\n\
                    RUN --mount=type=bind,from=c.test/z:2,target=/z true\nFROM base\nFROM Two\nFROM ${X}:1\nFROM scratch\n";
        let found = Segment::new(text, Platform::new("linux", "amd64")).images();
        let found: Vec<String> = found.iter().map(|image| image.repository().to_string()).collect();
        assert_eq!(found, ["a.test/x", "docker.io/library/debian", "b.test/y", "c.test/z"]);
    }

    #[test]
    fn a_digest_is_put_at_the_image_and_nowhere_else() {
        let digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
        let text = "FROM debian AS debian2\nRUN echo debian\nCOPY --from=debian /a /debian\nRUN --mount=from=debian,target=/d true";
        let mut segment = Segment::new(text, Platform::new("linux", "amd64"));
        let [(word, named)] = &segment.image_words()[..] else { panic!("one image") };
        segment.name_image(word, &named.with_digest(&crate::oci::Digest::parse(digest).unwrap()));
        let image = format!("docker.io/library/debian@{digest}");
        let expected = format!(
            "FROM {image} AS debian2\nRUN echo debian\nCOPY --from={image} /a /debian\nRUN --mount=from={image},target=/d true\n"
        );
        assert_eq!(segment.dockerfile, expected);
    }
}
