//! Exit codes, and how an error is shown.
//!
//! The codes are a contract with scripts; they never change their meaning.

use std::error::Error;
use std::process::ExitCode;

use lapstrake::diagnostic::{Class, Diagnose};

use super::output;

/// The work could not be done.
pub(crate) const FAILED: u8 = 1;
/// The command line or the settings are wrong.
pub(crate) const USAGE: u8 = 2;
/// A defect of Lapstrake.
pub(crate) const DEFECT: u8 = 70;
/// Ended by SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;
/// Ended by SIGTERM.
pub(crate) const TERMINATED: u8 = 143;

/// What a command comes to.
pub(crate) type Outcome = Result<(), Box<dyn Diagnose + Send>>;

/// Turns any diagnosed error into a command's failure.
pub(crate) fn fail<E: Diagnose + Send + 'static>(error: E) -> Box<dyn Diagnose + Send> {
    Box::new(error)
}

/// A mistake on the command line that clap cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub(crate) struct UsageError {
    what: String,
    hint: String,
}

impl UsageError {
    /// A mistake and its cure.
    pub(crate) fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

impl Diagnose for UsageError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(self.hint.clone())
    }
}

/// Why, outermost first. What the HTTP client says of its own insides is left out unless `all` is asked for.
pub(crate) fn causes(error: &dyn Error, all: bool) -> Vec<String> {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(mut cause) = next {
        if !all && cause.is::<reqwest::Error>() {
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
        }
        let text = cause.to_string();
        if causes.last() != Some(&text) {
            causes.push(text);
        }
        next = cause.source();
    }
    causes
}

/// Shows the error on stderr, with `every_cause` or those that help, and gives its exit code.
pub(crate) fn report(error: &(dyn Diagnose + Send), colored: bool, every_cause: bool) -> ExitCode {
    let (red, cyan, plain) = if colored { ("\x1b[1;31m", "\x1b[1;36m", "\x1b[0m") } else { ("", "", "") };
    let mut text = format!("{red}error{plain}: {error}");
    for cause in causes(error, every_cause) {
        text.push_str(&format!("\n  because: {}", cause.replace('\n', "\n  ")));
    }
    if let Some(hint) = error.hint() {
        text.push_str(&format!("\n  {cyan}hint{plain}: {}", hint.replace('\n', "\n  ")));
    }
    output::to_stderr(&text);
    ExitCode::from(match error.class() {
        Class::Failed => FAILED,
        Class::Usage => USAGE,
        Class::Defect => DEFECT,
    })
}
