//! `mkdir`, `chmod`, `chown`, `chgrp`, `ln`, `rm` and `touch`, as coreutils and busybox have them.
//!
//! What the two do in different ways is refused; no file is looked at.

use super::mode::Mode;
use super::options::{self, Known, switch, value};
use super::step::{ChownGroup, RunStep};

/// Reads the command `name`; `None` where it is none of these.
pub(super) fn read(name: &str, words: &[String]) -> Option<Result<RunStep, String>> {
    let step = match name {
        "mkdir" => mkdir(words),
        "chmod" => chmod(words),
        "chown" => chown(words),
        "chgrp" => chgrp(words),
        "ln" => link(words),
        "rm" => remove(words),
        "touch" => touch(words),
        _ => return None,
    };
    Some(step)
}

/// What an option means to these commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// It says what is printed.
    Talk,
    Parents,
    Mode,
    Recursive,
    NoDereference,
    Symbolic,
    Force,
    NoTargetFolder,
    EmptyFolders,
    NoCreate,
}

use Meaning::{EmptyFolders, Force, Mode as ModeOption, NoCreate, NoDereference, NoTargetFolder, Parents, Recursive};
use Meaning::{Symbolic, Talk};

const MKDIR: &[Known<Meaning>] =
    &[switch(&["-p", "--parents"], Parents), value(&["-m", "--mode"], ModeOption), switch(&["-v", "--verbose"], Talk)];
const CHMOD: &[Known<Meaning>] =
    &[switch(&["-R", "--recursive"], Recursive), switch(&["-v", "--verbose", "-c", "--changes"], Talk)];
const CHOWN: &[Known<Meaning>] = &[
    switch(&["-R", "--recursive"], Recursive),
    switch(&["-h", "--no-dereference"], NoDereference),
    switch(&["-v", "--verbose", "-c", "--changes"], Talk),
];
const LN: &[Known<Meaning>] = &[
    switch(&["-s", "--symbolic"], Symbolic),
    switch(&["-f", "--force"], Force),
    switch(&["-n", "--no-dereference"], NoDereference),
    switch(&["-T", "--no-target-directory"], NoTargetFolder),
    switch(&["-v", "--verbose"], Talk),
];
const RM: &[Known<Meaning>] = &[
    switch(&["-r", "-R", "--recursive"], Recursive),
    switch(&["-f", "--force"], Force),
    switch(&["-d", "--dir"], EmptyFolders),
    switch(&["-v", "--verbose"], Talk),
];
const TOUCH: &[Known<Meaning>] = &[switch(&["-c", "--no-create"], NoCreate)];

/// All operands, of which there has to be one.
fn paths(operands: &[String]) -> Result<Vec<String>, String> {
    if operands.is_empty() || operands.iter().any(String::is_empty) {
        return Err("it names no file".into());
    }
    Ok(operands.to_vec())
}

fn mode(text: &str) -> Result<Mode, String> {
    Mode::parse(text).ok_or_else(|| format!("`{text}` is no mode that is understood"))
}

fn mkdir(words: &[String]) -> Result<RunStep, String> {
    let given = options::read(words, &[MKDIR])?;
    let mode = given.last(ModeOption).map(mode).transpose()?;
    Ok(RunStep::Mkdir { paths: paths(&given.operands)?, parents: given.has(Parents), mode })
}

fn chmod(words: &[String]) -> Result<RunStep, String> {
    let given = options::read(words, &[CHMOD])?;
    let (first, rest) = given.operands.split_first().ok_or("it names no mode")?;
    Ok(RunStep::Chmod { paths: paths(rest)?, mode: mode(first)?, recursive: given.has(Recursive) })
}

fn chown(words: &[String]) -> Result<RunStep, String> {
    let given = options::read(words, &[CHOWN])?;
    let (owner, rest) = given.operands.split_first().ok_or("it names no owner")?;
    let refused = || format!("`{owner}` is no owner that is understood");
    let (user, group) = match owner.split_once(':') {
        None => (owner.as_str(), ChownGroup::Kept),
        Some((_, group)) if group.contains(':') => return Err(refused()),
        Some(("", "")) => return Err(refused()),
        Some((user, "")) => (user, ChownGroup::Own),
        Some((user, group)) => (user, ChownGroup::Named(account(group).ok_or_else(refused)?)),
    };
    let user = match user {
        "" if group != ChownGroup::Kept => None,
        user => Some(account(user).ok_or_else(refused)?),
    };
    let no_dereference = given.has(NoDereference);
    Ok(RunStep::Chown { paths: paths(rest)?, user, group, recursive: given.has(Recursive), no_dereference })
}

fn chgrp(words: &[String]) -> Result<RunStep, String> {
    let given = options::read(words, &[CHOWN])?;
    let (group, rest) = given.operands.split_first().ok_or("it names no group")?;
    let group = account(group).ok_or_else(|| format!("`{group}` is no group that is understood"))?;
    let (recursive, no_dereference) = (given.has(Recursive), given.has(NoDereference));
    let group = ChownGroup::Named(group);
    Ok(RunStep::Chown { paths: paths(rest)?, user: None, group, recursive, no_dereference })
}

/// A name or a number; a dot could part a user from a group, and a sign makes a number.
fn account(text: &str) -> Option<String> {
    let is_known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let begins = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let is_number = text.chars().all(|c| c.is_ascii_digit());
    let begins_as_number = text.starts_with(|c: char| c.is_ascii_digit());
    let is_account = text.starts_with(begins) && text.chars().all(is_known) && (is_number || !begins_as_number);
    is_account.then(|| text.to_owned())
}

fn link(words: &[String]) -> Result<RunStep, String> {
    let given = options::read(words, &[LN])?;
    let mut targets = paths(&given.operands)?;
    let place = if targets.len() > 1 { targets.pop() } else { None };
    let no_target_folder = given.has(NoTargetFolder);
    if no_target_folder && (targets.len() != 1 || place.is_none()) {
        return Err("`-T` wants one file and one link".into());
    }
    Ok(RunStep::Link {
        targets,
        place,
        symbolic: given.has(Symbolic),
        force: given.has(Force),
        no_dereference: given.has(NoDereference),
        no_target_folder,
    })
}

fn remove(words: &[String]) -> Result<RunStep, String> {
    let given = options::read(words, &[RM])?;
    let force = given.has(Force);
    if force && given.operands.is_empty() {
        return Ok(RunStep::Nothing);
    }
    let (recursive, empty_folders) = (given.has(Recursive), given.has(EmptyFolders));
    let paths = paths(&given.operands)?;
    // `rm` refuses these, with a message and a failure.
    let is_refused = |path: &String| {
        let path = path.trim_end_matches('/');
        path.is_empty() || [".", ".."].contains(&path.rsplit('/').next().unwrap_or_default())
    };
    match paths.iter().find(|path| is_refused(path)) {
        Some(path) => Err(format!("`rm` refuses `{path}`")),
        None => Ok(RunStep::Remove { paths, recursive, force, empty_folders }),
    }
}

fn touch(words: &[String]) -> Result<RunStep, String> {
    let given = options::read(words, &[TOUCH])?;
    Ok(RunStep::Touch { paths: paths(&given.operands)?, no_create: given.has(NoCreate) })
}
