//! What a repository has already, as an image says that stands in it: a new version has most blobs of the one before.
//!
//! Only guesses which image that is. A wrong guess costs a request and misleads nobody.

use std::cmp::Reverse;

use crate::oci::{Digest, Document, Reference, Repository};
use crate::plan::is_key_tag;

use super::super::means::Means;

/// From how many blobs on a look at other tags costs less than a question for each blob.
const MANY: usize = 6;

/// The blobs of the image that the first of `names` stands for now or, where it is new and `due` blobs are many, of
/// the image under the tag that is most like it. One or three requests, and every failure counts as none.
pub(super) async fn blobs(means: &Means, names: &[Reference], due: usize) -> Vec<Digest> {
    let Some((name, tag)) = names.iter().find_map(|name| name.tag().map(|tag| (name, tag))) else { return Vec::new() };
    let repository = name.repository();
    match means.registry.manifest(name).await {
        Ok(Some(document)) => of(means, &document),
        Ok(None) if due >= MANY => beside(means, &repository, tag).await,
        _ => Vec::new(),
    }
}

async fn beside(means: &Means, repository: &Repository, tag: &str) -> Vec<Digest> {
    let tags = means.registry.some_tags(repository).await.unwrap_or_default();
    let Some(Ok(name)) = nearest(&tags, tag).map(|tag| Reference::tagged(repository, tag)) else { return Vec::new() };
    match means.registry.manifest(&name).await {
        Ok(Some(document)) => of(means, &document),
        _ => Vec::new(),
    }
}

/// The blobs of an image. A registry takes a manifest only with all of them.
fn of(means: &Means, document: &Document) -> Vec<Digest> {
    means.traffic.downloaded(document.bytes().len() as u64);
    let Document::Manifest(manifest) = document else { return Vec::new() };
    let manifest = manifest.value();
    let held = manifest.layers.iter().filter(|layer| !layer.media_type.is_non_distributable());
    held.chain([&manifest.config]).map(|blob| blob.digest.clone()).collect()
}

/// The tag whose image is most likely the version before `tag`: `latest`, or the one that begins as `tag` does for
/// longest, and the last of these when numbers count as numbers. Tags that no person gave say nothing.
fn nearest<'a>(tags: &'a [String], tag: &str) -> Option<&'a str> {
    let own = |tag: &&str| !is_key_tag(tag) && !tag.starts_with("sha256-");
    let common = |other: &str| other.bytes().zip(tag.bytes()).take_while(|(one, two)| one == two).count();
    let rank = |other: &'a str| (other == "latest", common(other), in_order(other), Reverse(other.len()));
    tags.iter().map(String::as_str).filter(own).max_by(|one, two| rank(one).cmp(&rank(two)))
}

/// A key that sorts `1.10` behind `1.9`: runs of digits by their length first.
fn in_order(tag: &str) -> Vec<(usize, &str)> {
    let mut parts = Vec::new();
    let mut rest = tag;
    while let Some(first) = rest.chars().next() {
        let is_number = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_number).unwrap_or(rest.len());
        let (part, more) = rest.split_at(end);
        let number = part.trim_start_matches('0');
        parts.push(if is_number { (number.len(), number) } else { (0, part) });
        rest = more;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_before_is_guessed_from_the_tags() {
        for (tags, tag, expected) in [
            (&["1.9", "1.10", "0.9"][..], "1.11", Some("1.10")),
            (&["v1.2.3", "v1.2.12", "v1.3.0", "main"], "v1.2.13", Some("v1.2.12")),
            (&["2", "latest", "10"], "11", Some("latest")),
            (&["a41f", "b9c0"], "c000", Some("b9c0")),
            (&["lapstrake-python-0", "sha256-00"], "1", None),
            (&["lapstrake-0", "release"], "lapstrake-1", Some("release")),
            (&[], "1", None),
        ] {
            let tags: Vec<String> = tags.iter().map(ToString::to_string).collect();
            assert_eq!(nearest(&tags, tag), expected, "{tag} among {tags:?}");
        }
    }
}
