//! Secrets: values that go to a build and nowhere else.
//!
//! They are read from where the settings say; nothing here keeps or prints one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;

use crate::diagnostic::{Class, Diagnose};
use crate::resolver::child::{Child, ChildEnvironment, ChildError};
use crate::settings::SecretSource;

/// The most bytes that a secret has.
const CAP: usize = 1 << 20;
/// How long a command has to print one.
const PATIENCE: Duration = Duration::from_secs(30);
/// A shorter value is found in too much that is none.
const SHORTEST_HIDDEN: usize = 4;

/// A value that no output shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// The value, for whoever hands it on.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The value as text; `None` when it is none.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }
}

impl<T: Into<Vec<u8>>> From<T> for Secret {
    fn from(value: T) -> Self {
        Self(value.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why a secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("secret `{name}` comes from the variable `{variable}`, which is not set")]
    Unset {
        /// The secret.
        name: String,
        /// The variable.
        variable: String,
    },
    /// The file cannot be read.
    #[error("secret `{name}` cannot be read from `{}`", path.display())]
    Unreadable {
        /// The secret.
        name: String,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The program is not on `PATH`, or no program is named.
    #[error("secret `{name}` comes from a command, and there is no program `{program}`")]
    NoProgram {
        /// The secret.
        name: String,
        /// The command's first word.
        program: String,
    },
    /// The command cannot be run to its end.
    #[error("the command of secret `{name}` cannot be run")]
    Run {
        /// The secret.
        name: String,
        /// Why.
        #[source]
        source: ChildError,
    },
    /// The command failed. What it printed is left out: it may be the secret.
    #[error("the command of secret `{name}` ended with {status}")]
    Failed {
        /// The secret.
        name: String,
        /// How it ended.
        status: std::process::ExitStatus,
    },
    /// It has more bytes than any honest one.
    #[error("secret `{name}` has more than {CAP} bytes")]
    TooLong {
        /// The secret.
        name: String,
    },
}

impl Diagnose for SecretError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unset { variable, .. } => {
                format!("set `{variable}`, or name another source under `lapstrake.secrets`")
            }
            Self::Unreadable { .. } | Self::TooLong { .. } => {
                "see that `lapstrake.secrets` names the right file, and that it can be read".to_owned()
            }
            Self::NoProgram { program, .. } => format!("install `{program}` on PATH, or name another source"),
            Self::Run { .. } | Self::Failed { .. } => "try the command by hand".to_owned(),
        })
    }
}

/// The values of `sources`, by name: variables of `environment`, files below `folder`, outputs of commands run there.
///
/// # Errors
/// Fails when one of them cannot be had; a missing secret is never an empty one.
pub async fn resolve_secrets(
    sources: &BTreeMap<String, SecretSource>,
    folder: &Path,
    environment: &ChildEnvironment,
) -> Result<BTreeMap<String, Secret>, SecretError> {
    let mut values = BTreeMap::new();
    for (name, source) in sources {
        let value = match source {
            SecretSource::Environment(variable) => {
                let unset = || SecretError::Unset { name: name.clone(), variable: variable.clone() };
                environment.value(variable).ok_or_else(unset)?.as_bytes().to_vec()
            }
            SecretSource::File(path) => {
                let path = folder.join(path);
                let read = std::fs::read(&path);
                without_newline(read.map_err(|source| SecretError::Unreadable { name: name.clone(), path, source })?)
            }
            SecretSource::Command(words) => without_newline(printed(name, words, folder, environment).await?),
        };
        if value.len() > CAP {
            return Err(SecretError::TooLong { name: name.clone() });
        }
        values.insert(name.clone(), Secret(value));
    }
    Ok(values)
}

async fn printed(
    name: &str,
    words: &[String],
    folder: &Path,
    environment: &ChildEnvironment,
) -> Result<Vec<u8>, SecretError> {
    let program = words.first().map(String::as_str).unwrap_or_default();
    let named = Path::new(program);
    let found = if program.contains('/') { Some(folder.join(named)) } else { environment.find_on_path(program) };
    let absent = || SecretError::NoProgram { name: name.to_owned(), program: program.to_owned() };
    let mut child = Child::new(found.ok_or_else(absent)?, environment.clone(), folder);
    child.arguments = words.iter().skip(1).cloned().collect();
    child.timeout = PATIENCE;
    child.cap = CAP + 1;
    let run = |source| SecretError::Run { name: name.to_owned(), source };
    let outcome = child.run().await.map_err(run)?;
    if outcome.status.success() {
        Ok(outcome.stdout)
    } else {
        Err(SecretError::Failed { name: name.to_owned(), status: outcome.status })
    }
}

fn without_newline(mut value: Vec<u8>) -> Vec<u8> {
    if value.last() == Some(&b'\n') {
        value.pop();
        if value.last() == Some(&b'\r') {
            value.pop();
        }
    }
    value
}

/// Takes secrets out of what a build said.
#[derive(Clone, Default)]
pub(super) struct Redaction(Vec<String>);

impl Redaction {
    /// Hides `secrets`, as they are and in base64.
    pub(super) fn of<'a>(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let mut hidden = Vec::new();
        for secret in secrets.into_iter().filter(|secret| secret.0.len() >= SHORTEST_HIDDEN) {
            hidden.push(base64::engine::general_purpose::STANDARD.encode(&secret.0));
            // A log is told line by line, so each line of a secret is hidden by itself.
            let lines = secret.expose_text().into_iter().flat_map(str::lines).map(str::trim);
            hidden.extend(lines.filter(|line| line.len() >= SHORTEST_HIDDEN).map(str::to_owned));
        }
        hidden.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self(hidden)
    }

    /// `text` with `***` in place of each secret.
    pub(super) fn apply(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, hidden| text.replace(hidden, "***"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(entries: &[(&str, SecretSource)]) -> BTreeMap<String, SecretSource> {
        entries.iter().map(|(name, source)| ((*name).to_owned(), source.clone())).collect()
    }

    fn command(words: &[&str]) -> SecretSource {
        SecretSource::Command(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[tokio::test]
    async fn secrets_come_from_variables_files_and_commands() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("token"), "from-file\n").unwrap();
        let environment = ChildEnvironment::default().with("PATH", "/usr/bin:/bin").with("TOKEN", "from-env");
        let wanted = sources(&[
            ("a", SecretSource::Environment("TOKEN".into())),
            ("b", SecretSource::File("token".into())),
            ("c", command(&["sh", "-c", "echo from-$0", "command"])),
        ]);
        let found = resolve_secrets(&wanted, folder.path(), &environment).await.unwrap();
        let values: Vec<_> = found.values().filter_map(Secret::expose_text).collect();
        assert_eq!(values, ["from-env", "from-file", "from-command"]);
        assert_eq!(format!("{:?}", found["a"]), "Secret(..)");
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_had_is_named_and_not_shown() {
        let environment = ChildEnvironment::default().with("PATH", "/usr/bin:/bin");
        for (source, expected) in [
            (SecretSource::Environment("TOKEN".into()), "secret `s` comes from the variable `TOKEN`, which is not set"),
            (SecretSource::File("none".into()), "secret `s` cannot be read from `/nowhere/none`"),
            (command(&["no-such"]), "secret `s` comes from a command, and there is no program `no-such`"),
            (command(&[]), "secret `s` comes from a command, and there is no program ``"),
        ] {
            let error =
                resolve_secrets(&sources(&[("s", source)]), Path::new("/nowhere"), &environment).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
        }
        let failing = sources(&[("s", command(&["sh", "-c", "echo hunter2; echo hunter2 >&2; exit 3"]))]);
        let error = resolve_secrets(&failing, Path::new("/"), &environment).await.unwrap_err();
        assert_eq!(error.to_string(), "the command of secret `s` ended with exit status: 3");
        assert!(!format!("{error:?}").contains("hunter2"));
    }

    #[test]
    fn secrets_are_taken_out_of_logs() {
        let redaction =
            Redaction::of(&[Secret::from("hunter2"), Secret::from("ab"), Secret::from("line one\nline two")]);
        let log = "ab hunter2 aHVudGVyMg== line one / line two";
        assert_eq!(redaction.apply(log), "ab *** *** *** / ***");
    }
}
