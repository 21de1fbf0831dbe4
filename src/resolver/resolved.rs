//! The answer of a resolver: files that were chosen, wheels or sources.
//!
//! Choosing is done when it exists; making wheels of the sources is not.

use crate::python::lock::{Lock, LockedWheel};
use crate::python::origin::Unbuilt;

/// What a resolver chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// The wheels, and what they replace in the parent.
    pub lock: Lock,
    /// Packages that have no wheel yet, sorted by name.
    pub unbuilt: Vec<Unbuilt>,
}

impl Resolved {
    /// The names of everything that is to be installed.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let wheels = self.lock.packages.iter().map(|wheel| wheel.name.as_str());
        wheels.chain(self.unbuilt.iter().map(|source| source.name.as_str()))
    }

    /// Puts a wheel into its place.
    pub fn add(&mut self, wheel: LockedWheel) {
        self.lock.packages.push(wheel);
        self.lock.packages.sort_by(|a, b| a.name.cmp(&b.name));
    }
}
