//! Locks: which file of which version goes in.
//!
//! Choosing versions is the resolver's work; fetching the files is `resolver::download`'s.

use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// The wheels of one environment, one file a package, and what has to go from the parent first.
///
/// `packages` is sorted by name; equal locks have equal bytes ([`Lock::to_bytes`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// What to install, sorted by name.
    pub packages: Vec<LockedWheel>,
    /// Distributions of the parent that a package replaces, sorted by name.
    pub removed: Vec<RemovedDistribution>,
}

/// One wheel of a [`Lock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedWheel {
    /// The normalised name (PEP 503).
    pub name: String,
    /// The version, as the lock spells it.
    pub version: String,
    /// The wheel's file name.
    pub filename: String,
    /// Where the wheel is: `https:`, `http:` or `file:`; never with userinfo.
    pub url: String,
    /// SHA-256 of the wheel.
    pub sha256: Digest,
    /// Bytes of the wheel, when the lock knows.
    pub size: Option<u64>,
    /// Whether a requirement names the package directly, which installs a `REQUESTED` file.
    pub requested: bool,
    /// The text of `direct_url.json` (PEP 610) for a requirement that names a URL or path.
    pub direct_url: Option<String>,
}

/// A distribution of the parent that is replaced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RemovedDistribution {
    /// The normalised name.
    pub name: String,
    /// The version that is there.
    pub version: String,
}

/// Ranks a wheel by its file name for the target: lower is better, `None` does not fit.
pub type RankWheel<'a> = &'a (dyn Fn(&str) -> Option<u32> + Send + Sync);
