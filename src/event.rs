//! What a use case tells whoever watches it.
//!
//! The library never prints: it hands [`Event`]s to a [`Reporter`], and the command line decides
//! what a person sees.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde::Serialize;

/// Names one running task among the events of a use case.
pub type TaskId = u64;

/// What kind of work a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Reading a parent image's layers for its index.
    Index,
    /// Choosing versions.
    Resolve,
    /// Fetching a wheel.
    Download,
    /// Building a wheel from its source.
    Wheel,
    /// Making a layer.
    Layer,
    /// Uploading a blob.
    Upload,
    /// Streaming a blob from one registry to another.
    Copy,
    /// Mounting a blob from a neighbouring repository.
    Mount,
    /// Writing manifests and tags.
    Publish,
    /// A step of a backend.
    Backend,
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A task began; `bytes` is how many it expects to move, when known.
    Started {
        /// The task.
        task: TaskId,
        /// What it does.
        work: Work,
        /// On what.
        name: String,
        /// Expected bytes.
        bytes: Option<u64>,
    },
    /// A task moved `bytes` more.
    Advanced {
        /// The task.
        task: TaskId,
        /// Bytes since the last event.
        bytes: u64,
    },
    /// A task ended well.
    Finished {
        /// The task.
        task: TaskId,
    },
    /// Something worth a line, once.
    Note {
        /// The line.
        text: String,
    },
    /// Something that the user should change or know about.
    Warning {
        /// The line.
        text: String,
    },
}

/// Takes events; called from many threads.
pub trait Reporter: Send + Sync {
    /// Takes one event. Must not block for long.
    fn report(&self, event: Event);
}

/// A reporter that drops everything.
#[derive(Debug, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _event: Event) {}
}

/// A reporter that keeps everything, for tests.
#[derive(Debug, Default)]
pub struct Recorded(Mutex<Vec<Event>>);

impl Recorded {
    /// The events so far, in order of their arrival.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }
}

impl Reporter for Recorded {
    fn report(&self, event: Event) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(event);
    }
}

static NEXT: AtomicU64 = AtomicU64::new(1);

/// A task whose start was reported; its end is reported when it is dropped.
pub struct Task {
    id: TaskId,
    reporter: Arc<dyn Reporter>,
}

impl Task {
    /// Reports the start of `work` on `name`, which is expected to move `bytes`.
    pub fn start(reporter: &Arc<dyn Reporter>, work: Work, name: &str, bytes: Option<u64>) -> Self {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        reporter.report(Event::Started { task: id, work, name: name.to_owned(), bytes });
        Self { id, reporter: Arc::clone(reporter) }
    }

    /// Reports that `bytes` more were moved.
    pub fn advance(&self, bytes: u64) {
        self.reporter.report(Event::Advanced { task: self.id, bytes });
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.reporter.report(Event::Finished { task: self.id });
    }
}
