//! Mirrors: where else a manifest or a blob may be had, and what is said about it.
//!
//! Decides whom to ask; asks nobody. What a mirror gives is verified like anything else.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use super::access::{AccessTable, Mirror};
use super::auth::lock;
use super::error::RegistryError;
use crate::event::{Event, Reporter};
use crate::oci::Repository;

/// The mirrors of a run, and what became of them.
pub(super) struct Mirrors {
    reporter: Arc<dyn Reporter>,
    /// Repositories that are pushed to: what a mirror says of them may be old.
    direct: Mutex<BTreeSet<Repository>>,
    failed: Mutex<BTreeSet<Mirror>>,
    said: Mutex<BTreeSet<String>>,
}

impl Mirrors {
    pub(super) fn new(reporter: Arc<dyn Reporter>) -> Self {
        Self { reporter, direct: Mutex::default(), failed: Mutex::default(), said: Mutex::default() }
    }

    /// Reads `at` from the registry itself from now on.
    pub(super) fn leave_out(&self, at: &Repository) {
        lock(&self.direct).insert(at.clone());
    }

    /// The mirrors to ask for what `at` has, best first.
    pub(super) fn of(&self, at: &Repository, table: &AccessTable) -> Vec<Mirror> {
        let Some((_, access)) = table.of(at.registry()) else { return Vec::new() };
        if access.mirrors.is_empty() || lock(&self.direct).contains(at) {
            return Vec::new();
        }
        let failed = lock(&self.failed);
        access.mirrors.iter().filter(|mirror| !failed.contains(mirror)).cloned().collect()
    }

    /// A mirror told what a tag stands for.
    pub(super) fn served(&self, mirror: &Mirror, what: &str) {
        self.say(Event::Note { text: format!("`{what}` is as mirror `{mirror}` has it") });
    }

    /// A mirror does not have something.
    pub(super) fn lacks(&self, mirror: &Mirror, what: &str) {
        self.say(Event::Note { text: format!("mirror `{mirror}` does not have `{what}`") });
    }

    /// A mirror failed; it is not asked again unless it may do better with something else.
    pub(super) fn failed(&self, mirror: &Mirror, error: &RegistryError) {
        let again = match error {
            RegistryError::Unauthorized { .. } | RegistryError::Denied { .. } | RegistryError::NotFound { .. } => true,
            RegistryError::Status { .. } => !error.is_transient(),
            _ => false,
        };
        if !again {
            lock(&self.failed).insert(mirror.clone());
        }
        let mut text = format!("mirror `{mirror}` is passed over: {error}");
        let mut cause = std::error::Error::source(error);
        while let Some(deeper) = cause.and_then(std::error::Error::source) {
            cause = Some(deeper);
        }
        text.extend(cause.map(|cause| format!(": {cause}")));
        self.say(Event::Warning { text });
    }

    /// Says something once.
    fn say(&self, event: Event) {
        let text = match &event {
            Event::Note { text } | Event::Warning { text } => text.clone(),
            _ => return,
        };
        if lock(&self.said).insert(text) {
            self.reporter.report(event);
        }
    }
}
