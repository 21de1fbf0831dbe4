//! Counts the bytes that a use case moves.
//!
//! Counts only what crosses a connection; reading the local store is free.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

/// Running counts, shared by all tasks.
#[derive(Debug, Default)]
pub struct Traffic {
    downloaded: AtomicU64,
    uploaded: AtomicU64,
    mounted: AtomicU64,
    /// What counts the same beside others.
    above: Option<Arc<Traffic>>,
}

/// The counts at one moment, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// Fetched from registries and package indexes.
    pub downloaded: u64,
    /// Sent to the target.
    pub uploaded: u64,
    /// Not sent, since the registry had them in a neighbouring repository.
    pub mounted: u64,
}

impl Moved {
    /// What was moved after `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            downloaded: self.downloaded - earlier.downloaded,
            uploaded: self.uploaded - earlier.uploaded,
            mounted: self.mounted - earlier.mounted,
        }
    }
}

impl Traffic {
    /// Counts whose bytes are counted by `above` too.
    pub fn below(above: &Arc<Self>) -> Self {
        Self { above: Some(Arc::clone(above)), ..Self::default() }
    }

    /// Counts bytes that came.
    pub fn downloaded(&self, bytes: u64) {
        self.count(bytes, |traffic| &traffic.downloaded);
    }

    /// Counts bytes that went.
    pub fn uploaded(&self, bytes: u64) {
        self.count(bytes, |traffic| &traffic.uploaded);
    }

    /// Counts bytes that were mounted.
    pub fn mounted(&self, bytes: u64) {
        self.count(bytes, |traffic| &traffic.mounted);
    }

    fn count(&self, bytes: u64, which: impl Fn(&Self) -> &AtomicU64) {
        for traffic in std::iter::successors(Some(self), |traffic| traffic.above.as_deref()) {
            which(traffic).fetch_add(bytes, Ordering::Relaxed);
        }
    }

    /// The counts now.
    pub fn moved(&self) -> Moved {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Moved { downloaded: read(&self.downloaded), uploaded: read(&self.uploaded), mounted: read(&self.mounted) }
    }
}
