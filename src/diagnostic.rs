//! How an error speaks to a person: its class, and what to do next.
//!
//! What failed is an error's `Display`, why is its `source()`; this module adds the cure. It does
//! not print anything.

/// The class of a failure; the command line turns it into an exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The work could not be done.
    Failed,
    /// The command line or the settings are wrong.
    Usage,
    /// A defect of Lapstrake itself.
    Defect,
}

/// An error that knows its class and its cure.
pub trait Diagnose: std::error::Error {
    /// The class; most errors are plain failures.
    fn class(&self) -> Class {
        Class::Failed
    }

    /// What to do next, as one sentence in lower case without a full stop.
    fn hint(&self) -> Option<String> {
        None
    }
}
