//! What an examination found: a list of checks, each with its outcome, its time and its cure.
//!
//! Data for whoever shows it; nothing is formatted here.

use std::borrow::Cow;
use std::error::Error;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::diagnostic::Diagnose;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// As it should be.
    Fine,
    /// Worth knowing.
    Note,
    /// Something that may become a failure.
    Warning,
    /// Something that does not work.
    Failed,
    /// Left out, for the reason that the text gives.
    NotTried,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at, in a word.
    pub name: Cow<'static, str>,
    /// How it ended.
    pub state: State,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// How long its requests took.
    pub took: Option<Duration>,
}

/// The checks of one subject, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// The registry or repository.
    pub subject: String,
    /// The checks.
    pub checks: Vec<Check>,
}

impl Diagnosis {
    /// A diagnosis without checks.
    pub fn new(subject: String) -> Self {
        Self { subject, checks: Vec::new() }
    }

    /// Adds a check.
    pub fn add(&mut self, check: Check) {
        self.checks.push(check);
    }

    /// How many checks failed.
    pub fn failures(&self) -> usize {
        self.checks.iter().filter(|check| check.state == State::Failed).count()
    }
}

impl Check {
    /// A check that ended well.
    pub fn fine(name: impl Into<Cow<'static, str>>, text: String) -> Self {
        Self { name: name.into(), state: State::Fine, text, hint: None, took: None }
    }

    /// A check that found something to change.
    pub fn warning(name: impl Into<Cow<'static, str>>, text: String) -> Self {
        Self { state: State::Warning, ..Self::fine(name, text) }
    }

    /// A check that was left out, and why.
    pub fn not_tried(name: impl Into<Cow<'static, str>>, text: String) -> Self {
        Self { state: State::NotTried, ..Self::fine(name, text) }
    }

    /// A check that failed.
    pub fn failed(name: impl Into<Cow<'static, str>>, error: &impl Diagnose) -> Self {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(deeper) = cause.and_then(Error::source) {
            cause = Some(deeper);
        }
        text.extend(cause.map(|cause| format!(": {cause}")));
        Self { state: State::Failed, hint: error.hint(), ..Self::fine(name, text) }
    }

    /// A check that did not end well, and of what weight that is.
    pub fn passed_over(name: impl Into<Cow<'static, str>>, error: &impl Diagnose, state: State) -> Self {
        Self { state, ..Self::failed(name, error) }
    }

    /// The same check with its time: from `started` until now.
    #[must_use]
    pub fn took(mut self, started: Instant) -> Self {
        self.took = Some(started.elapsed());
        self
    }

    /// The same check with its cure.
    #[must_use]
    pub fn hint(mut self, hint: String) -> Self {
        self.hint = Some(hint).filter(|hint| !hint.is_empty());
        self
    }
}
