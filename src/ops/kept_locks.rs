//! Locks of installations whose layers are in no image: kept in the store, and beside the image for the next machine.
//!
//! An installation that an image ends with is not kept here: that image itself tells what was chosen.

use crate::event::Event;
use crate::oci::{Document, Repository};
use crate::plan::ResolutionKey;
use crate::python::lock::Lock;

use super::artifact::{self, Artifact};
use super::error::OpsError;
use super::means::Means;

/// The artifact type of a lock that was pushed, and the media type of its one blob.
const ARTIFACT: &str = "application/vnd.lapstrake.lock.v1+toml";
const KIND: &str = "locks";
/// Where locks were pushed to: nobody asks for what was put there already.
const PLACES: &str = "lock-places";
/// The most bytes of a lock that is read back.
const CAP: u64 = 16 << 20;

/// What an installation was planned by.
#[derive(Clone, Debug)]
pub struct PlannedLock {
    pub(super) key: ResolutionKey,
    pub(super) lock: Lock,
}

/// The lock of `key` that the store has.
///
/// # Errors
/// Fails when the store cannot be read.
pub(super) fn stored(means: &Means, key: &ResolutionKey) -> Result<Option<Lock>, OpsError> {
    let bytes = means.store.record(KIND, key.0.as_str())?;
    let lock = bytes.and_then(|bytes| Lock::from_bytes(&bytes).ok());
    Ok(lock.filter(|lock| super::wheels::are_here(&means.store, lock)))
}

/// The lock that `document` is, which stands under the tag of `key` in `at`; `None` of an image, and when it cannot be had.
pub(super) async fn of_document(
    means: &Means,
    at: &Repository,
    key: &ResolutionKey,
    document: &Document,
) -> Option<Lock> {
    let bytes = artifact::content(means, at, ARTIFACT, document, CAP).await?;
    let lock = Lock::from_bytes(&bytes).ok()?;
    means.store.put_record(PLACES, &place(at, key), b"").ok()?;
    Some(lock)
}

/// Keeps `locks` in the store and in the repository `beside`, where they are not there yet. A failure costs a warning: the
/// next build then chooses once more.
pub(super) async fn keep(means: &Means, locks: Vec<PlannedLock>, beside: Option<&Repository>) {
    for planned in locks {
        if let Err(error) = try_keep(means, &planned, beside).await {
            let text = format!("what an installation chose cannot be kept for the next build: {error}");
            means.reporter.report(Event::Warning { text });
        }
    }
}

async fn try_keep(means: &Means, planned: &PlannedLock, beside: Option<&Repository>) -> Result<(), OpsError> {
    let PlannedLock { key, lock } = planned;
    let bytes = lock.to_bytes();
    if means.store.record(KIND, key.0.as_str())?.is_none_or(|kept| kept != bytes) {
        means.store.put_record(KIND, key.0.as_str(), &bytes)?;
    }
    let Some(at) = beside.filter(|_| is_for_others(lock)) else { return Ok(()) };
    let place = place(at, key);
    if means.store.record(PLACES, &place)?.is_some() {
        return Ok(());
    }
    // An image of this run that stands under the tag says more.
    let push =
        async || artifact::push(means, at, Artifact { kind: ARTIFACT, tag: key.tag(), bytes, subject: None }).await;
    means.memory.published.get(place.clone(), push).await?;
    Ok(means.store.put_record(PLACES, &place, b"")?)
}

/// Whether another machine can make something of it: nothing was made here, and no address may be a signed one.
fn is_for_others(lock: &Lock) -> bool {
    lock.packages.iter().all(|wheel| wheel.origin.is_none() && !wheel.url.contains('?'))
}

fn place(at: &Repository, key: &ResolutionKey) -> String {
    format!("{at}:{}", key.tag())
}
