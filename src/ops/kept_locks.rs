//! Locks of installations whose layers are in no image: kept in the store, and beside the image for the next machine.
//!
//! An installation that an image ends with is not kept here: that image itself tells what was chosen.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::Event;
use crate::oci::{Document, Repository};
use crate::plan::ResolutionKey;
use crate::python::lock::Lock;

use super::artifact::{self, Artifact};
use super::error::OpsError;
use super::means::Means;

/// The artifact type of a lock that was pushed, and the media type of its one blob.
const ARTIFACT: &str = "application/vnd.lapstrake.lock.v1+json";
const KIND: &str = "locks";
/// Where locks were pushed to: nobody asks for what was put there already.
const PLACES: &str = "lock-places";
/// The most bytes of a lock that is read back.
const CAP: u64 = 16 << 20;

/// What installations were planned by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeptLock {
    /// What they come to.
    pub(super) lock: Lock,
    /// Which of them brings each package, where there are several.
    pub(super) of: BTreeMap<String, usize>,
}

/// The same under its key.
#[derive(Clone, Debug)]
pub struct PlannedLock {
    pub(super) key: ResolutionKey,
    pub(super) kept: KeptLock,
}

/// A lock as it is written down.
#[derive(Serialize, Deserialize)]
struct Record {
    lock: String,
    of: BTreeMap<String, usize>,
}

impl KeptLock {
    fn to_bytes(&self) -> Vec<u8> {
        let lock = String::from_utf8_lossy(&self.lock.to_bytes()).into_owned();
        serde_json::to_vec(&Record { lock, of: self.of.clone() }).unwrap_or_default()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let Record { lock, of } = serde_json::from_slice(bytes).ok()?;
        Some(Self { lock: Lock::from_bytes(lock.as_bytes()).ok()?, of })
    }
}

/// The lock of `key` that the store has.
///
/// # Errors
/// Fails when the store cannot be read.
pub(super) fn stored(means: &Means, key: &ResolutionKey) -> Result<Option<KeptLock>, OpsError> {
    let bytes = means.store.record(KIND, key.0.as_str())?;
    let kept = bytes.and_then(|bytes| KeptLock::from_bytes(&bytes));
    Ok(kept.filter(|kept| super::wheels::are_here(&means.store, &kept.lock)))
}

/// The lock that `document` is, which stands under the tag of `key` in `at`; `None` of an image, and when it cannot be had.
pub(super) async fn of_document(
    means: &Means,
    at: &Repository,
    key: &ResolutionKey,
    document: &Document,
) -> Option<KeptLock> {
    let bytes = artifact::content(means, at, ARTIFACT, document, CAP).await?;
    let kept = KeptLock::from_bytes(&bytes)?;
    means.store.put_record(PLACES, &place(at, key), b"").ok()?;
    Some(kept)
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
    let PlannedLock { key, kept } = planned;
    let bytes = kept.to_bytes();
    if means.store.record(KIND, key.0.as_str())?.is_none_or(|before| before != bytes) {
        means.store.put_record(KIND, key.0.as_str(), &bytes)?;
    }
    let Some(at) = beside.filter(|_| is_for_others(&kept.lock)) else { return Ok(()) };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_read_back_with_who_brought_what() {
        let kept = KeptLock { lock: Lock::default(), of: [("a".to_owned(), 1)].into() };
        assert_eq!(KeptLock::from_bytes(&kept.to_bytes()), Some(kept));
        assert_eq!(KeptLock::from_bytes(b"{}"), None);
    }
}
