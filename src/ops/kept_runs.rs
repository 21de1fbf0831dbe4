//! What runs of uv upon projects came to: kept in the store, and beside the image for the next machine.
//!
//! All that one Dockerfile took is one document under one tag, so that edits leave no tags behind. What a result is, is the
//! callers' business; one that cannot be read is worked out again.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::event::Event;
use crate::oci::{Digest, Repository};

use super::artifact::{self, Artifact};
use super::error::OpsError;
use super::means::Means;

/// The artifact type of results that were pushed, and the media type of their one blob.
const ARTIFACT: &str = "application/vnd.lapstrake.uv.v1+json";
const KIND: &str = "uv-runs";
/// What was pushed to where.
const PLACES: &str = "uv-run-places";
/// The most bytes of one result that is pushed; a larger one is worked out by each machine.
const ONE: usize = 2 << 20;
/// The most bytes of all that one Dockerfile took.
const CAP: usize = 4 << 20;

/// Results by their keys.
type Results = BTreeMap<String, Value>;

/// The results that one evaluation of a Dockerfile takes and makes.
#[derive(Debug)]
pub(super) struct Runs {
    /// Where the next machine finds them.
    beside: Option<(Repository, String)>,
    /// Whether nothing that is known is taken.
    is_fresh: bool,
    fetched: OnceCell<Results>,
    taken: Mutex<Results>,
}

/// What is to be kept beside the image.
#[derive(Clone, Debug)]
pub(super) struct KeptRuns {
    at: Repository,
    tag: String,
    bytes: Vec<u8>,
}

impl Runs {
    /// Those of the Dockerfile with this key.
    pub(super) fn new(at: Option<Repository>, key: &Digest, is_fresh: bool) -> Self {
        let beside = at.map(|at| (at, format!("lapstrake-uv-{}", &key.hex()[..40])));
        Self { beside, is_fresh, fetched: OnceCell::new(), taken: Mutex::default() }
    }

    /// The result of `key`, which the store has or the repository.
    ///
    /// # Errors
    /// Fails when the store cannot be read. A repository that does not answer has nothing.
    pub(super) async fn known<T: DeserializeOwned>(&self, means: &Means, key: &Digest) -> Result<Option<T>, OpsError> {
        if self.is_fresh {
            return Ok(None);
        }
        let stored = means.store.record(KIND, key.as_str())?;
        let (value, is_stored) = match stored.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok()) {
            Some(value) => (value, true),
            None => match self.fetched(means).await.get(key.as_str()) {
                Some(value) => (value.clone(), false),
                None => return Ok(None),
            },
        };
        let Ok(result) = T::deserialize(&value) else { return Ok(None) };
        if !is_stored {
            means.store.put_record(KIND, key.as_str(), value.to_string().as_bytes())?;
        }
        self.take(key, value);
        Ok(Some(result))
    }

    /// Keeps the result of `key`; beside the image only where it `is_for_others`.
    ///
    /// # Errors
    /// Fails when the store cannot be written.
    pub(super) fn keep<T: Serialize>(
        &self,
        means: &Means,
        key: &Digest,
        result: &T,
        is_for_others: bool,
    ) -> Result<(), OpsError> {
        let value = serde_json::to_value(result).unwrap_or_default();
        // What is this machine's alone stands in the records of the resolver.
        if is_for_others {
            means.store.put_record(KIND, key.as_str(), value.to_string().as_bytes())?;
            self.take(key, value);
        }
        Ok(())
    }

    fn take(&self, key: &Digest, value: Value) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.insert(key.to_string(), value);
    }

    async fn fetched(&self, means: &Means) -> &Results {
        let fetch = async || {
            let (at, tag) = self.beside.as_ref()?;
            let bytes = artifact::fetch(means, at, ARTIFACT, tag, CAP as u64).await?;
            serde_json::from_slice(&bytes).ok()
        };
        self.fetched.get_or_init(|| async { fetch().await.unwrap_or_default() }).await
    }

    /// What is to be kept beside the image; none where the same is there.
    pub(super) fn into_kept(self) -> Option<KeptRuns> {
        let (at, tag) = self.beside?;
        let taken = self.taken.into_inner().unwrap_or_else(PoisonError::into_inner);
        let results = bounded(taken);
        if results.is_empty() || self.fetched.get() == Some(&results) {
            return None;
        }
        Some(KeptRuns { at, tag, bytes: serde_json::to_vec(&results).unwrap_or_default() })
    }
}

/// What of `results` is small enough to be pushed.
fn bounded(results: Results) -> Results {
    let mut left = CAP;
    let fits = |(_, value): &(String, Value)| {
        // The key, its quotes and what stands between.
        let size = value.to_string().len() + 80;
        let fits = size <= ONE.min(left);
        left -= if fits { size } else { 0 };
        fits
    };
    results.into_iter().filter(fits).collect()
}

/// Pushes what is not there yet. A failure costs a warning: the next machine then runs uv once more.
pub(super) async fn keep(means: &Means, kept: Vec<KeptRuns>) {
    for kept in kept {
        if let Err(error) = try_keep(means, kept).await {
            let text = format!("what uv made of a project cannot be kept for the next machine: {error}");
            means.reporter.report(Event::Warning { text });
        }
    }
}

async fn try_keep(means: &Means, KeptRuns { at, tag, bytes }: KeptRuns) -> Result<(), OpsError> {
    let (place, digest) = (format!("{at}:{tag}"), Digest::of(&bytes).to_string());
    if means.store.record(PLACES, &place)?.is_some_and(|last| last == digest.as_bytes()) {
        return Ok(());
    }
    artifact::push(means, &at, Artifact { kind: ARTIFACT, tag, bytes, subject: None }).await?;
    Ok(means.store.put_record(PLACES, &place, digest.as_bytes())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_what_was_taken_as_far_as_it_is_small() {
        let of = |size: usize| {
            let runs = Runs::new(Some(Repository::parse("r.example/app").unwrap()), &Digest::of(b"x"), false);
            runs.take(&Digest::of(b"key"), Value::String("a".repeat(size)));
            runs.into_kept()
        };
        let kept = of(1000).unwrap();
        assert!(kept.tag.starts_with("lapstrake-uv-") && kept.bytes.len() > 1000);
        assert!(of(ONE).is_none());
        let many = (0..9).map(|number| (number.to_string(), Value::String("a".repeat(ONE - 100)))).collect();
        assert_eq!(bounded(many).len(), 2);
    }
}
