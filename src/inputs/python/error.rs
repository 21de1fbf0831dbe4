//! Why requirements cannot be listed by another program.

use std::path::PathBuf;

use crate::diagnostic::{Class, Diagnose};
use crate::resolver::child::ChildError;

/// Why a command did not list requirements.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// A program that lists packages is not there.
    #[error("{asker} needs {}, which {} not on PATH", alternatives(.programs), are(.programs))]
    NoProgram {
        /// The setting that asks for it.
        asker: &'static str,
        /// The programs; one of them is enough.
        programs: Vec<&'static str>,
    },
    /// A virtual environment has no program that lists its packages.
    #[error("{asker} needs `pip` in the environment `{}`, or `uv` on PATH", .environment.display())]
    NoFreezer {
        /// The setting that asks for it.
        asker: &'static str,
        /// The environment.
        environment: PathBuf,
    },
    /// The command is empty.
    #[error("{asker} is an empty command")]
    Empty {
        /// The setting that holds it.
        asker: &'static str,
    },
    /// The project file is not there.
    #[error("`settings.docker.pyproject_path` is `{}`, and there is no such file", .path.display())]
    NoPyproject {
        /// Where it would be.
        path: PathBuf,
    },
    /// The command ended with a failure.
    #[error("`{command}` failed with {status}, asked for by {asker}{}", listed(.words))]
    Failed {
        /// The setting that asks for it.
        asker: &'static str,
        /// The command.
        command: String,
        /// Its exit status, in words.
        status: String,
        /// The last lines that it wrote.
        words: String,
    },
    /// Several commands were tried.
    #[error("none of the commands that export a `pyproject.toml` worked{}", each(.errors))]
    AllFailed {
        /// Why, for each.
        errors: Vec<ListingError>,
    },
    /// The command could not be run to its end.
    #[error("`{command}` cannot be run, asked for by {asker}")]
    Child {
        /// The setting that asks for it.
        asker: &'static str,
        /// The command.
        command: String,
        /// Why.
        #[source]
        source: ChildError,
    },
    /// The command wrote something that is no text.
    #[error("`{command}` wrote something that is no UTF-8, asked for by {asker}")]
    NoText {
        /// The setting that asks for it.
        asker: &'static str,
        /// The command.
        command: String,
    },
}

fn alternatives(programs: &[&'static str]) -> String {
    programs.iter().map(|program| format!("`{program}`")).collect::<Vec<_>>().join(" or ")
}

fn are(programs: &[&'static str]) -> &'static str {
    if programs.len() == 1 { "is" } else { "are" }
}

fn listed(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!("\n{words}") }
}

fn each(errors: &[ListingError]) -> String {
    errors.iter().map(|error| format!("\n{error}")).collect()
}

impl Diagnose for ListingError {
    fn class(&self) -> Class {
        match self {
            Self::Empty { .. } | Self::NoPyproject { .. } => Class::Usage,
            _ => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoProgram { programs, .. } if programs.contains(&"uv") => {
                "install uv with `pip install uv`, or list the packages under `requirements`".into()
            }
            Self::NoProgram { .. } => "install it, or list the packages under `requirements`".into(),
            Self::NoFreezer { environment, .. } => {
                let python = environment.join("bin/python");
                format!("install one: `{} -m ensurepip`, or `pip install uv`", python.display())
            }
            Self::Empty { .. } => "write the command as a list of words".into(),
            Self::NoPyproject { .. } => "a relative path starts from the configuration's folder; correct it".into(),
            Self::Failed { .. } | Self::Child { .. } | Self::NoText { .. } => {
                "run the command by hand in the source root until it prints requirement lines".into()
            }
            Self::AllFailed { .. } => {
                "name a command that works in `settings.docker.pyproject_export_command`; `{directory}` stands for the project's folder".into()
            }
        })
    }
}
