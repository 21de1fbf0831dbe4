//! Which command is which, by its name.
//!
//! A name stands for the usual tool of that name; that an image has it, and has it unchanged, is taken for granted.

use super::accounts;
use super::files;
use super::installation::Lookup;
use super::pip;
use super::poetry;
use super::step::RunStep;
use super::uv;
use super::venv;

/// Programs that manage the packages of a distribution.
const DISTRIBUTION: [&str; 10] =
    ["apk", "apt", "apt-get", "aptitude", "dnf", "dpkg", "microdnf", "tdnf", "yum", "zypper"];

/// The folders that usual tools are in.
const TOOLS: [&str; 4] = ["/bin/", "/usr/bin/", "/sbin/", "/usr/sbin/"];

/// Reads a command that is no builtin of a shell.
///
/// # Errors
/// Fails with a reason for a command that is not understood.
pub(super) fn read(arguments: &[String], lookup: Lookup<'_>) -> Result<RunStep, String> {
    let Some((command, words)) = arguments.split_first() else { return Err("it runs nothing".into()) };
    let (folder, name) = command.split_at(command.rfind('/').map_or(0, |at| at + 1));
    if is_versioned(name, "pip") {
        return pip::read_pip(command, words, lookup);
    }
    if is_versioned(name, "python") {
        return python(command, words, lookup);
    }
    match name {
        "uv" => return uv::read(words, lookup),
        "poetry" => return poetry::read(command, words, lookup),
        "virtualenv" => return venv::read_virtualenv(command, words, lookup),
        _ => {}
    }
    if folder.is_empty() || TOOLS.contains(&folder) {
        match name {
            "true" | "echo" => return Ok(RunStep::Nothing),
            "printf" if !words.is_empty() => return Ok(RunStep::Nothing),
            _ if DISTRIBUTION.contains(&name) => {
                return Err(format!("`{name}` manages the packages of the distribution"));
            }
            _ => {}
        }
        if let Some(step) = files::read(name, words).or_else(|| accounts::read(name, words)) {
            return step;
        }
    }
    Err(format!("it runs `{command}`"))
}

/// Whether `name` is `tool`, or `tool` with a version of Python: `pip3`, `python3.12`.
fn is_versioned(name: &str, tool: &str) -> bool {
    let Some(version) = name.strip_prefix(tool) else { return false };
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_digit());
    match version.split_once('.') {
        None => version.is_empty() || version == "3",
        Some((major, minor)) => major == "3" && is_number(minor),
    }
}

/// `python -m pip`, `python -m venv` and what tells versions.
fn python(command: &str, words: &[String], lookup: Lookup<'_>) -> Result<RunStep, String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    match words.as_slice() {
        ["--version" | "-V"] => Ok(RunStep::Nothing),
        ["-m", "pip", words @ ..] => pip::read_pip(command, &owned(words), lookup),
        ["-m", "venv", words @ ..] => venv::read_venv(command, &owned(words)),
        ["-m", "virtualenv", words @ ..] => venv::read_virtualenv(command, &owned(words), lookup),
        ["-m", "uv", ..] => Err("it runs a uv of an environment".into()),
        ["-m", module, ..] => Err(format!("it runs the module `{module}`")),
        [first, ..] => Err(format!("it runs `{command} {first}`")),
        [] => Err(format!("it runs `{command}`")),
    }
}
