//! Lists the packages of the local Python environment.
//!
//! What is listed is not looked at: leaving the project itself out is for the caller.

use super::command::{Command, Listed};
use super::error::ListingError;
use super::host::PythonHost;
use crate::settings::LocalEnvironment;

const ASKER: &str = "`settings.docker.replicate_local_python_environment`";

/// Lists the packages of `host`'s environment in the way of `how`.
///
/// Without a way of its own it is `pip freeze`, as with ZenML, and `uv pip freeze` for an environment without pip.
///
/// # Errors
/// Fails when the program is not there, or fails itself.
pub async fn freeze(host: &PythonHost, how: &LocalEnvironment) -> Result<Listed, ListingError> {
    let missing = |program| ListingError::NoProgram { asker: ASKER, programs: vec![program] };
    let command = match how {
        LocalEnvironment::Freeze => match (host.pip(), &host.uv, &host.virtual_environment) {
            (Some(pip), _, _) => Command::of(ASKER, "pip freeze", pip),
            (None, Some(uv), _) => Command::of(ASKER, "uv pip freeze", uv.clone()),
            (None, None, Some(environment)) => {
                return Err(ListingError::NoFreezer { asker: ASKER, environment: environment.clone() });
            }
            (None, None, None) => {
                return Err(ListingError::NoProgram { asker: ASKER, programs: vec!["pip", "uv"] });
            }
        },
        LocalEnvironment::PipFreeze => Command::of(ASKER, "pip freeze", host.pip().ok_or_else(|| missing("pip"))?),
        LocalEnvironment::UvFreeze => {
            Command::of(ASKER, "uv pip freeze", host.uv.clone().ok_or_else(|| missing("uv"))?)
        }
        LocalEnvironment::PoetryExport => {
            let poetry = host.poetry().ok_or_else(|| missing("poetry"))?;
            Command::of(ASKER, "poetry export --format=requirements.txt", poetry)
        }
        LocalEnvironment::Command(words) => Command::line(ASKER, words)?,
    };
    command.run(host).await
}
