//! Takes the asked-for platforms out of an index.
//!
//! One platform gives its manifest as it is; several give a new index over manifests as they are.

use std::collections::BTreeSet;

use crate::event::Event;
use crate::oci::{CONFIG_CAP, Descriptor, Digest, Document, ImageConfig, Index, Manifest, Platform, Raw};

use super::super::error::OpsError;
use super::super::means::Means;
use super::error::CopyError;
use super::locator::Locator;
use super::source::Source;

/// The annotation by which BuildKit's attestations name the manifest that they are about.
const ABOUT: &str = "vnd.docker.reference.digest";

/// What is copied of `root` for `platforms`; all of it when none are named.
pub(super) async fn narrowed(
    means: &Means,
    at: &Locator,
    source: &Source,
    root: Document,
    platforms: &[Platform],
) -> Result<Document, OpsError> {
    let mut chosen = Vec::new();
    match (&root, platforms) {
        (_, []) => return Ok(root),
        (Document::Manifest(manifest), _) => {
            serves(means, at, source, manifest.value(), platforms).await?;
            return Ok(root);
        }
        (Document::Index(index), _) => {
            let index = index.value();
            for wanted in platforms {
                let entry = index.select(wanted);
                chosen.push(entry.ok_or_else(|| absent(at, wanted, index.platforms_line()))?);
            }
            if let [only] = chosen.as_slice() {
                let missing = || CopyError::Missing { reference: at.to_string(), digest: only.digest.clone() };
                return Ok(source.document(means, &only.digest).await?.ok_or_else(missing)?);
            }
        }
    }
    let Document::Index(index) = &root else { return Ok(root) };
    let digests: BTreeSet<&Digest> = chosen.iter().map(|entry| &entry.digest).collect();
    let goes = |entry: &&Descriptor| {
        let about = entry.annotations.get(ABOUT).and_then(|text| Digest::parse(text).ok());
        digests.contains(&entry.digest) || about.is_some_and(|about| digests.contains(&about))
    };
    let manifests: Vec<Descriptor> = index.value().manifests.iter().filter(goes).cloned().collect();
    if manifests.len() == index.value().manifests.len() {
        return Ok(root);
    }
    let narrow = Index { manifests, ..index.value().clone() };
    let broken = |source| OpsError::ParentDocument { reference: at.to_string(), source };
    Ok(Document::Index(Raw::of(narrow).map_err(broken)?))
}

/// Says that the copy has another digest than the source.
pub(super) fn say(means: &Means, at: &Locator, whole: &Digest, root: &Document) {
    let what = match root {
        Document::Manifest(_) => "one manifest".to_owned(),
        Document::Index(index) => format!("a new index over {} of its manifests", index.value().manifests.len()),
    };
    let text = format!("of `{at}` {what} is copied: `{}` in place of `{whole}`", root.digest());
    means.reporter.report(Event::Note { text });
}

fn absent(at: &Locator, wanted: &Platform, have: String) -> CopyError {
    CopyError::Platform { reference: at.to_string(), wanted: wanted.to_string(), have }
}

/// Compares the platform of a single manifest's config with those asked for.
async fn serves(
    means: &Means,
    at: &Locator,
    source: &Source,
    manifest: &Manifest,
    platforms: &[Platform],
) -> Result<(), OpsError> {
    let bytes = source.fetch(means, &manifest.config, CONFIG_CAP as u64).await?;
    let broken = |source| OpsError::ParentDocument { reference: at.to_string(), source };
    let config = Raw::<ImageConfig>::read(bytes, Some(&manifest.config.digest)).map_err(broken)?;
    let have = config.value().platform();
    match platforms.iter().find(|wanted| !have.serves(wanted)) {
        Some(wanted) => Err(absent(at, wanted, have.to_string()).into()),
        None => Ok(()),
    }
}
