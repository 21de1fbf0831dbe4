//! A running task, as its watcher sees it.
//!
//! Ending is part of the value: a task that is dropped has finished, well or not.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::event::{Event, Reporter, TaskId, Work};

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
