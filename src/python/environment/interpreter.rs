//! Finding the interpreter file in an image, and reading what its name and neighbours tell.
//!
//! The order is uv's: `VIRTUAL_ENV`, then the folders of `PATH`, and in each folder `python` before `python3`.

use std::collections::BTreeMap;

use super::detect::DetectError;
use crate::image::filesystem::Filesystem;
use crate::layer::EntryPath;
use crate::oci::DEFAULT_PATH;

/// An interpreter in an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interpreter {
    /// The path by which it was found, such as `/opt/venv/bin/python`.
    pub(super) path: String,
    /// The prefix that this path implies: the folder above `bin`.
    pub(super) prefix: String,
    /// The prefix of the real file, all links followed; the same but in virtual environments.
    pub(super) base: String,
    /// The keys of `pyvenv.cfg`, when there is one.
    pub(super) venv: Option<BTreeMap<String, String>>,
    pub(super) version: (u32, u32),
}

/// The folders of executables to look at: of the prefix when one is given, else those of `PATH`.
pub(super) fn folders(env: &[(String, String)], prefix: Option<&str>) -> Vec<String> {
    let last = |key: &str| env.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    if let Some(prefix) = prefix.or_else(|| last("VIRTUAL_ENV").filter(|value| value.starts_with('/'))) {
        return vec![format!("{}/bin", prefix.trim_end_matches('/'))];
    }
    let path = last("PATH").filter(|path| !path.is_empty()).unwrap_or(DEFAULT_PATH);
    path.split(':').filter(|folder| folder.starts_with('/')).map(|folder| folder.trim_end_matches('/').into()).collect()
}

/// The first interpreter in `folders` that is a Python 3, of `version` when one is wanted.
///
/// # Errors
/// Fails when what is found first is no CPython that wheels can be chosen for.
pub(super) fn find(
    fs: &Filesystem,
    folders: &[String],
    version: Option<(u32, u32)>,
) -> Result<Option<Interpreter>, DetectError> {
    let mut names = vec!["python".to_owned(), "python3".to_owned()];
    if let Some((major, minor)) = version {
        names.push(format!("python{major}.{minor}"));
    }
    let mut unclear = None;
    for folder in folders {
        for name in &names {
            match look(fs, folder, name, version) {
                Ok(Some(found)) if version.is_none_or(|wanted| wanted == found.version) => return Ok(Some(found)),
                Ok(_) => {}
                Err(error @ DetectError::UnknownVersion { .. }) => unclear = unclear.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
    }
    unclear.map_or(Ok(None), Err)
}

fn look(
    fs: &Filesystem,
    folder: &str,
    name: &str,
    hint: Option<(u32, u32)>,
) -> Result<Option<Interpreter>, DetectError> {
    let path = format!("{folder}/{name}");
    let Some(real) = fs.resolve(&path).filter(|found| found.node.is_file()) else { return Ok(None) };
    let prefix = folder.rsplit_once('/').map_or("", |(prefix, _)| prefix).to_owned();
    let base = prefix_of(&real.path);
    let venv = fs.content(format!("{prefix}/pyvenv.cfg")).map(pyvenv);
    let supported = |implementation: &str| DetectError::Unsupported {
        interpreter: path.clone(),
        implementation: implementation.to_owned(),
    };
    let file = String::from_utf8_lossy(real.path.file_name()).into_owned();
    for other in ["pypy", "graalpy"] {
        let is_other = venv
            .as_ref()
            .and_then(|venv| venv.get("implementation"))
            .is_some_and(|name| name.eq_ignore_ascii_case(other));
        if file.starts_with(other) || is_other {
            return Err(supported(other));
        }
    }
    let libraries = libraries(fs, &prefix).into_iter().chain(libraries(fs, &base));
    let by_library: Vec<Named> = libraries.collect();
    let named = named(&file).filter(|named| named.minor.is_some());
    let by_venv = venv.as_ref().and_then(venv_version);
    let free_threaded = match &named {
        Some(named) => named.free_threaded,
        None => !by_library.is_empty() && by_library.iter().all(|named| named.free_threaded),
    };
    if free_threaded {
        return Err(supported("free-threaded CPython"));
    }
    let of_library = || match &by_library[..] {
        [first, rest @ ..] if rest.iter().all(|other| other == first) => first.minor.map(|minor| (first.major, minor)),
        _ => None,
    };
    let of_name = named.and_then(|named| Some((named.major, named.minor?)));
    match of_name.or(by_venv).or_else(of_library).or(hint) {
        Some((2, _)) => Ok(None),
        Some(version) => Ok(Some(Interpreter { path, prefix, base, venv, version })),
        None => Err(DetectError::UnknownVersion { interpreter: path }),
    }
}

/// The folder above the `bin` that holds `path`, absolute; empty for the root.
fn prefix_of(path: &EntryPath) -> String {
    let prefix = path.parent().and_then(|bin| bin.parent());
    prefix.map_or_else(String::new, |prefix| format!("/{prefix}"))
}

/// The lines `key = value`.
fn pyvenv(content: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(content);
    let pair = |line: &str| {
        let (key, value) = line.split_once('=')?;
        Some((key.trim().to_ascii_lowercase(), value.trim().to_owned()))
    };
    text.lines().filter_map(pair).collect()
}

fn venv_version(venv: &BTreeMap<String, String>) -> Option<(u32, u32)> {
    let text = venv.get("version_info").or_else(|| venv.get("version"))?;
    let mut numbers = text.split('.').map(|part| part.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

#[derive(Debug, PartialEq, Eq)]
struct Named {
    major: u32,
    minor: Option<u32>,
    free_threaded: bool,
}

/// What `python3.13t` says of itself.
fn named(name: &str) -> Option<Named> {
    let version = name.strip_prefix("python")?;
    let (version, free_threaded) = version.strip_suffix('t').map_or((version, false), |version| (version, true));
    let (major, minor) = match version.split_once('.') {
        Some((major, minor)) => (major, Some(minor.parse().ok()?)),
        None => (version, None),
    };
    Some(Named { major: major.parse().ok()?, minor, free_threaded })
}

/// The folders `lib/python3.X` of a prefix that hold modules.
fn libraries(fs: &Filesystem, prefix: &str) -> Vec<Named> {
    let children = fs.children(format!("{prefix}/lib"));
    let folders = children.into_iter().filter(|(_, node)| node.is_directory());
    let folders = folders.filter(|(path, _)| {
        ["site-packages", "os.py"].iter().any(|inside| fs.resolve(format!("{path}/{inside}")).is_some())
    });
    folders
        .filter_map(|(path, _)| named(&String::from_utf8_lossy(path.file_name())))
        .filter(|named| named.minor.is_some())
        .collect()
}
