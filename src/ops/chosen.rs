//! The versions that the last build chose: read from the store or from beside the image, and kept there for the next one.
//!
//! Serves added lines alone; whoever loses the record chooses everything anew (docs/adr/0011).

use std::fs::File;

use crate::event::Event;
use crate::oci::{Digest, Platform, Repository};
use crate::plan::{Known, Place};
use crate::python::Wheel;
use crate::python::lock::LockedWheel;
use crate::resolver::Chosen;

use super::artifact::{self, Artifact};
use super::error::OpsError;
use super::means::Means;

/// The artifact type of a record that was pushed, and the media type of its one blob.
const ARTIFACT: &str = "application/vnd.lapstrake.choice.v1+json";
const KIND: &str = "choices";
/// The most bytes of a record that is read back.
const CAP: u64 = 16 << 20;

/// A choice that the next build may start from.
#[derive(Clone, Debug)]
pub struct NewChoice {
    /// What was chosen.
    pub(super) chosen: Chosen,
    /// Whether the target's image was made from it already.
    pub(super) is_published: bool,
}

fn tag_of(choice: &Digest) -> String {
    format!("lapstrake-choice-{}", &choice.hex()[..40])
}

/// What the last image for `platform` was chosen from; `target` is where images are published.
///
/// # Errors
/// Fails when the store cannot be read.
pub(super) async fn last(
    means: &Means,
    known: &Known,
    platform: &Platform,
    target: Option<&Repository>,
) -> Result<Option<Chosen>, OpsError> {
    let Some((choice, place)) = known.last_choice(platform) else { return Ok(None) };
    if let Some(bytes) = means.store.record(KIND, choice.as_str())? {
        return Ok(Chosen::from_bytes(&bytes));
    }
    let at = match place {
        Place::Target => target,
        Place::Repository(at) => Some(at),
        Place::Store => None,
    };
    let Some(at) = at else { return Ok(None) };
    let Some(bytes) = artifact::fetch(means, at, ARTIFACT, &tag_of(choice), CAP).await else { return Ok(None) };
    let Some(chosen) = Chosen::from_bytes(&bytes).filter(|chosen| chosen.digest() == *choice) else { return Ok(None) };
    means.store.put_record(KIND, choice.as_str(), &bytes)?;
    Ok(Some(chosen))
}

/// Keeps `choice` in the store and, where the target has none yet, beside the image. A failure costs a warning: the next
/// build then chooses everything anew.
pub(super) async fn keep(means: &Means, choice: NewChoice, beside: Option<&Repository>) {
    if let Err(error) = try_keep(means, choice, beside).await {
        let text = format!("the versions chosen cannot be kept for the next build: {error}");
        means.reporter.report(Event::Warning { text });
    }
}

async fn try_keep(means: &Means, choice: NewChoice, beside: Option<&Repository>) -> Result<(), OpsError> {
    let NewChoice { mut chosen, is_published } = choice;
    let digest = chosen.digest();
    let bytes = match means.store.record(KIND, digest.as_str())? {
        Some(bytes) => bytes,
        None => {
            let (missing, from) = (chosen.without_metadata(), means.clone());
            let read = tokio::task::spawn_blocking(move || metadata(&from, &missing)).await;
            for (name, text) in read.map_err(OpsError::Worker)? {
                chosen.add_metadata(&name, &text);
            }
            if !chosen.without_metadata().is_empty() {
                // Layers that were there already: their wheels never came here.
                return Ok(());
            }
            let bytes = chosen.to_bytes();
            means.store.put_record(KIND, digest.as_str(), &bytes)?;
            bytes
        }
    };
    match beside.filter(|_| !is_published && !chosen.may_hold_secrets()) {
        Some(at) => {
            let tag = tag_of(&digest);
            let push = async || {
                artifact::push(means, at, Artifact { kind: ARTIFACT, tag: tag.clone(), bytes, subject: None }).await
            };
            means.memory.published.get(format!("{at}:{tag}"), push).await
        }
        None => Ok(()),
    }
}

/// The metadata of those `wheels` that are in the store.
fn metadata(means: &Means, wheels: &[LockedWheel]) -> Vec<(String, Vec<u8>)> {
    let read = |wheel: &LockedWheel| {
        let file = File::open(means.store.path(&wheel.sha256)).ok()?;
        let metadata = Wheel::open(file, &wheel.filename).ok()?.metadata().ok()?;
        Some((wheel.name.clone(), metadata))
    };
    wheels.iter().filter_map(read).collect()
}
