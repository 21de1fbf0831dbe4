//! Runs a command that prints requirement lines.
//!
//! A command of the user's is a line for the shell, as it is in ZenML; our own are started without one.

use std::path::PathBuf;
use std::time::Duration;

use super::error::ListingError;
use super::host::PythonHost;
use crate::inputs::requirements::without_credentials;
use crate::resolver::child::Child;

/// How long a command may take: a tool may resolve the project before it prints.
const TIMEOUT: Duration = Duration::from_secs(600);
/// The most that it may print, in bytes.
const CAP: usize = 16 << 20;
/// How many of its last lines an error shows.
const LAST_LINES: usize = 12;
const SHELL: &str = "/bin/sh";

/// What a command listed.
#[derive(Clone, PartialEq, Eq)]
pub struct Listed {
    /// The command, for people.
    pub command: String,
    /// What it printed, byte for byte.
    pub text: String,
}

/// A command that is to be run.
pub(super) struct Command {
    /// The setting that asks for it.
    pub(super) asker: &'static str,
    /// What people call it.
    pub(super) shown: String,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
}

impl Command {
    /// `program` with the words that follow its name in `shown`.
    pub(super) fn of(asker: &'static str, shown: &str, program: PathBuf) -> Self {
        let arguments = shown.split(' ').skip(1).map(str::to_owned).collect();
        Self { asker, shown: shown.to_owned(), program, arguments }
    }

    /// A line for the shell.
    pub(super) fn line(asker: &'static str, words: &[String]) -> Result<Self, ListingError> {
        let line = words.join(" ");
        if line.trim().is_empty() {
            return Err(ListingError::Empty { asker });
        }
        Ok(Self { asker, shown: line.clone(), program: SHELL.into(), arguments: vec!["-c".into(), line] })
    }

    /// Runs it in `host`'s source root.
    pub(super) async fn run(self, host: &PythonHost) -> Result<Listed, ListingError> {
        let command = without_credentials(&self.shown);
        let asker = self.asker;
        let mut child = Child::new(self.program, host.environment.clone(), &host.folder);
        child.arguments = self.arguments;
        child.timeout = TIMEOUT;
        child.cap = CAP;
        let failed = |source| ListingError::Child { asker, command: command.clone(), source };
        let outcome = child.run().await.map_err(failed)?;
        if !outcome.status.success() {
            let words = last_lines(&outcome.stderr);
            return Err(ListingError::Failed { asker, status: status(outcome.status), words, command });
        }
        match String::from_utf8(outcome.stdout) {
            Ok(text) => Ok(Listed { command, text }),
            Err(_) => Err(ListingError::NoText { asker, command }),
        }
    }
}

fn status(status: std::process::ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exit status {code}"),
        None => "a signal".to_owned(),
    }
}

fn last_lines(text: &str) -> String {
    let text = without_credentials(text);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
}
