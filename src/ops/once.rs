//! Work that several images of one run need, done once.
//!
//! Failures are not kept: who comes next tries again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::oci::{Digest, Document, ImageConfig, Repository};
use crate::plan::LayerKey;

use super::code::Code;
use super::cores::Cores;
use super::make::MadeLayer;
use super::parent::PinnedParent;
use super::parent_index::ParentIndex;
use super::resolution::Answer;
use super::segment::SegmentImage;
use crate::inputs::python::Listed;

/// Values by what they were made for.
pub(super) struct Once<K, V>(Mutex<BTreeMap<K, Arc<OnceCell<V>>>>);

impl<K, V> Default for Once<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Ord, V: Clone> Once<K, V> {
    /// The value of `key`: the one that is there, the one that somebody is making, or what `make` gives.
    ///
    /// # Errors
    /// Fails as `make` does; of several that want the same, only the one that made it has the error, the next tries anew.
    pub(super) async fn get<E, F>(&self, key: K, make: impl FnOnce() -> F) -> Result<V, E>
    where
        F: Future<Output = Result<V, E>>,
    {
        let cell = {
            let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(cells.entry(key).or_default())
        };
        cell.get_or_try_init(make).await.cloned()
    }
}

/// What one run found out and made, for all images that need the same.
pub struct Memory {
    /// Parents by the name that the settings give them.
    pub(super) parents: Once<String, PinnedParent>,
    /// Documents of parents.
    pub(super) documents: Once<Digest, Document>,
    /// Configs of parents.
    pub(super) configs: Once<Digest, ImageConfig>,
    /// Indexes of parents by digest and by the repository that they are kept in.
    pub(super) indexes: Once<(Digest, Option<Repository>), ParentIndex>,
    /// The version of the project's own Python, by the folder of its sources.
    pub(super) pythons: Once<PathBuf, Option<(u32, u32)>>,
    /// Where code comes from, by everything that decides it.
    pub(super) codes: Once<String, Arc<Code>>,
    /// Lines that the reporter was told.
    pub(super) told: Once<String, ()>,
    /// What commands of this machine listed, by command and folder.
    pub(super) listings: Once<String, Listed>,
    /// Images of segments by repository and key.
    pub(super) segments: Once<String, SegmentImage>,
    /// Answers of the resolver by the key of the question.
    pub(super) answers: Once<String, Answer>,
    /// Images kept under the tag of a resolution key.
    pub(super) resolved: Once<String, Option<Document>>,
    /// Whether a repository has a blob that nobody of this run brought.
    pub(super) blobs: Once<(Repository, Digest), bool>,
    /// Layers made.
    pub(super) layers: Once<LayerKey, Vec<MadeLayer>>,
    /// Documents that were published under a tag of ours.
    pub(super) published: Once<String, ()>,
    /// As many layers are written at once as there are cores.
    pub(super) cores: Arc<Cores>,
}

impl Memory {
    /// Remembers nothing yet; `threads` layers are written at once.
    pub fn new(threads: usize) -> Self {
        Self {
            parents: Once::default(),
            documents: Once::default(),
            configs: Once::default(),
            indexes: Once::default(),
            pythons: Once::default(),
            codes: Once::default(),
            told: Once::default(),
            listings: Once::default(),
            segments: Once::default(),
            answers: Once::default(),
            resolved: Once::default(),
            blobs: Once::default(),
            layers: Once::default(),
            published: Once::default(),
            cores: Cores::new(threads),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[tokio::test]
    async fn what_many_want_is_made_once_and_a_failure_is_tried_again() {
        let (once, tries) = (Once::<u8, u32>::default(), AtomicU32::new(0));
        let make = async || match tries.fetch_add(1, Ordering::Relaxed) {
            0 => Err("the first one fails"),
            tries => Ok(tries),
        };
        let three = futures_util::future::join_all((0..3).map(|_| once.get(1, make))).await;
        assert_eq!(three.iter().filter(|result| result.is_err()).count(), 1);
        assert_eq!(three.iter().filter(|result| **result == Ok(1)).count(), 2);
        assert_eq!(once.get(1, make).await, Ok(1));
        assert_eq!(once.get(2, make).await, Ok(2), "another key is another value");
    }
}
