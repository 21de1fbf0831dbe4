//! The commands of uv.
//!
//! Which version of uv an image has is not known here: an option that only some versions have is taken as it is meant.

use super::installation::Lookup;
use super::options;
use super::pip::read_uv_pip;
use super::pip_options::UV_GENERAL;
use super::step::RunStep;
use super::sync::read_sync;
use super::venv::read_uv_venv;

/// Reads what follows `uv`.
///
/// # Errors
/// Fails with a reason for a command or an option that is not understood.
pub(super) fn read(words: &[String], lookup: Lookup<'_>) -> Result<RunStep, String> {
    if matches!(words, [word] if word == "--version" || word == "-V" || word == "version") {
        return Ok(RunStep::Nothing);
    }
    let (leading, rest) = options::read_leading(words, &[UV_GENERAL])?;
    let Some((command, rest)) = rest.split_first() else { return Err("it has no subcommand".into()) };
    match (command.as_str(), rest) {
        ("pip", rest) => read_uv_pip(leading, rest, lookup),
        ("sync", rest) => read_sync(leading, rest, lookup),
        ("venv", rest) => read_uv_venv(leading, rest, lookup),
        ("cache", [what]) if what == "clean" || what == "prune" => Ok(RunStep::Nothing),
        (other, _) => Err(format!("it runs `uv {other}`")),
    }
}
