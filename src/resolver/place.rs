//! Requirement lines that name a place instead of a version: folders, repositories, archives.
//!
//! The line is taken apart as far as a wheel made here can stand in for it; nothing is opened.

use std::path::{Path, PathBuf};

use url::Url;

use super::request::RequirementText;
use super::requirement::{self, logical_lines};
use crate::python::lock::{LockedWheel, lexically_absolute};
use crate::python::normalize_name;

/// One requirement line that names a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The logical line as it stands in its file; it may hold credentials.
    pub line: String,
    /// The normalised name, when the line gives one.
    pub name: Option<String>,
    /// The extras with their brackets, or nothing.
    pub extras: String,
    /// The marker without its semicolon, or nothing.
    pub marker: String,
    /// What is named.
    pub target: PlaceTarget,
    /// Whether it was to be installed in place.
    pub is_editable: bool,
}

/// What a place is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlaceTarget {
    /// A folder of this machine, absolute, with the project's folder in it.
    Folder(PathBuf, Option<String>),
    /// A git repository.
    Repository {
        /// Its URL; it may hold credentials.
        url: Url,
        /// The branch, tag or commit.
        revision: Option<String>,
        /// The project's folder in it.
        subdirectory: Option<String>,
    },
    /// An archive of sources.
    Archive,
    /// A wheel, or what only the installer understands.
    Other,
}

impl Place {
    /// The folder or file of this machine that it names; relative paths start from `folder`.
    pub fn local_path(&self, folder: &Path) -> Option<PathBuf> {
        match &self.target {
            PlaceTarget::Folder(path, _) => Some(path.clone()),
            PlaceTarget::Repository { .. } => None,
            PlaceTarget::Archive | PlaceTarget::Other => {
                let target = match requirement::editable(&self.line) {
                    Some(target) => target,
                    None => self.line.split_once(" @ ").map_or(self.line.as_str(), |(_, target)| target),
                };
                let target = target.split([';', '#', '[']).next().unwrap_or_default();
                let target = target.split(" --").next().unwrap_or_default().trim();
                if target.starts_with("file:") {
                    return Url::parse(target).ok()?.to_file_path().ok();
                }
                requirement::is_local(target).then(|| lexically_absolute(folder, target))
            }
        }
    }
}

/// A wheel that was made for a requirement line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeWheel {
    /// The line that it stands in for.
    pub place: Place,
    /// The wheel as it goes into a lock.
    pub wheel: LockedWheel,
    /// Where its bytes are.
    pub path: PathBuf,
}

impl MadeWheel {
    /// The line that the resolver gets, once the wheel can be found under its name at `path`.
    pub(super) fn line(&self, path: &Path) -> Option<String> {
        let url = Url::from_file_path(path).ok()?;
        let Place { extras, marker, .. } = &self.place;
        let marker = if marker.is_empty() { String::new() } else { format!(" ; {marker}") };
        Some(format!("{}{extras} @ {url}{marker}", self.wheel.name))
    }
}

const ARCHIVES: [&str; 8] = [".tar.gz", ".tgz", ".zip", ".tar.bz2", ".tbz", ".tar.xz", ".txz", ".tar"];

/// The lines of `files` that name a place.
pub fn places(files: &[RequirementText]) -> Vec<Place> {
    let of_file = |file: &RequirementText| {
        let lines = logical_lines(&file.text);
        lines.into_iter().filter_map(|line| place(line, &file.folder)).collect::<Vec<_>>()
    };
    files.iter().flat_map(of_file).collect()
}

fn place(line: String, folder: &Path) -> Option<Place> {
    let (text, is_editable) = match requirement::editable(&line) {
        Some(target) => (target.to_owned(), true),
        None if line.starts_with('-') => return None,
        None => (line.clone(), false),
    };
    // What follows are options of the requirement.
    let text = text.split(" --").next().unwrap_or_default().trim();
    let (name, extras, rest) = named(text);
    let (target, marker) = rest.split_once(" ;").or_else(|| rest.split_once("; ")).unwrap_or((rest, ""));
    let target = target.trim();
    if name.is_none()
        && !(target.contains("://") || target.starts_with(['.', '/', '~']) || is_file(target) || is_editable)
    {
        return None;
    }
    let (target, own_extras) = match target.strip_suffix(']').and_then(|head| head.rsplit_once('[')) {
        Some((head, own)) if !head.is_empty() => (head, format!("[{own}]")),
        _ => (target, String::new()),
    };
    let (target, fragment) = target.split_once('#').unwrap_or((target, ""));
    let value = |key: &str| fragment.split('&').find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    let egg = value("egg").map(named_alone);
    let subdirectory = value("subdirectory").map(str::to_owned);
    let (egg_name, egg_extras) = egg.unwrap_or_default();
    let extras = [extras, own_extras, egg_extras].into_iter().find(|extras| !extras.is_empty()).unwrap_or_default();
    Some(Place {
        name: name.or(egg_name),
        extras,
        marker: marker.trim().to_owned(),
        target: kind(target, subdirectory, folder),
        is_editable,
        line,
    })
}

fn kind(target: &str, subdirectory: Option<String>, folder: &Path) -> PlaceTarget {
    if let Some(repository) = target.strip_prefix("git+") {
        return repository_of(repository, subdirectory).unwrap_or(PlaceTarget::Other);
    }
    let ends_in = |endings: &[&str]| endings.iter().any(|ending| target.to_ascii_lowercase().ends_with(ending));
    if ends_in(&ARCHIVES) {
        return PlaceTarget::Archive;
    }
    let path = match target.strip_prefix("file:") {
        Some(rest) => Url::parse(target).ok().and_then(|url| url.to_file_path().ok()).or_else(|| Some(rest.into())),
        None => (!target.contains("://")).then(|| target.into()),
    };
    match path.filter(|_| !ends_in(&[".whl"])) {
        Some(path) => PlaceTarget::Folder(lexically_absolute(folder, path), subdirectory),
        None => PlaceTarget::Other,
    }
}

fn repository_of(text: &str, subdirectory: Option<String>) -> Option<PlaceTarget> {
    let mut url = Url::parse(text).ok()?;
    let path = url.path().to_owned();
    let (path, revision) = match path.rsplit_once('@') {
        Some((path, revision)) if !revision.is_empty() => (path.to_owned(), Some(revision.to_owned())),
        _ => (path, None),
    };
    url.set_path(&path);
    let is_known = matches!(url.scheme(), "https" | "http" | "ssh" | "git" | "file");
    is_known.then_some(PlaceTarget::Repository { url, revision, subdirectory })
}

/// `name[extras] @ rest`; without a name the whole is the rest.
fn named(text: &str) -> (Option<String>, String, &str) {
    let Some((head, rest)) = text.split_once('@') else { return (None, String::new(), text) };
    let (name, extras) = named_alone(head.trim());
    match name {
        Some(name) => (Some(name), extras, rest.trim_start()),
        None => (None, String::new(), text),
    }
}

fn named_alone(text: &str) -> (Option<String>, String) {
    let (name, extras) = match text.split_once('[') {
        Some((name, extras)) => (name, format!("[{extras}")),
        None => (text, String::new()),
    };
    let is_name =
        !name.trim().is_empty() && name.trim().bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    match is_name {
        true => (Some(normalize_name(name.trim())), extras.trim().to_owned()),
        false => (None, String::new()),
    }
}

fn is_file(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.ends_with(".whl") || ARCHIVES.iter().any(|ending| lower.ends_with(ending))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::request::tests::request;

    fn one(line: &str) -> Place {
        let mut found = places(&request(line).requirements);
        assert_eq!(found.len(), 1, "{line}");
        found.remove(0)
    }

    #[test]
    fn folders_are_found_in_every_form() {
        for (line, path, extras, marker) in [
            ("./lib", "/project/lib", "", ""),
            ("./lib[x,y] ; python_version > '3'", "/project/lib", "[x,y]", "python_version > '3'"),
            ("-e .", "/project", "", ""),
            ("-e ./lib[x]", "/project/lib", "[x]", ""),
            ("file:///srv/lib", "/srv/lib", "", ""),
            ("lib1 @ file:///srv/lib", "/srv/lib", "", ""),
            ("lib1[x] @ ./lib", "/project/lib", "[x]", ""),
            ("../lib --config-settings=a=b", "/lib", "", ""),
        ] {
            let place = one(line);
            assert_eq!(place.target, PlaceTarget::Folder(path.into(), None), "{line}");
            assert_eq!((place.extras.as_str(), place.marker.as_str()), (extras, marker), "{line}");
            assert_eq!(place.name.is_some(), line.contains(" @ "), "{line}");
            assert_eq!(place.is_editable, line.starts_with("-e"), "{line}");
        }
    }

    #[test]
    fn repositories_are_found_with_revision_and_folder() {
        for (line, url, revision, below, name) in [
            (
                "git+https://u:p@h.example/x.git@v1#egg=X_y&subdirectory=py",
                "https://u:p@h.example/x.git",
                Some("v1"),
                Some("py"),
                Some("x-y"),
            ),
            ("x @ git+ssh://git@h.example/x.git", "ssh://git@h.example/x.git", None, None, Some("x")),
            ("-e git+https://h.example/x@feature/a#egg=x", "https://h.example/x", Some("feature/a"), None, Some("x")),
            ("git+file:///srv/x", "file:///srv/x", None, None, None),
        ] {
            let place = one(line);
            let expected = PlaceTarget::Repository {
                url: Url::parse(url).unwrap(),
                revision: revision.map(str::to_owned),
                subdirectory: below.map(str::to_owned),
            };
            assert_eq!((place.target, place.name.as_deref()), (expected, name), "{line}");
        }
    }

    #[test]
    fn other_lines_are_told_apart() {
        for (line, expected) in [
            ("./a-1.tar.gz", PlaceTarget::Archive),
            ("a @ https://h.example/main.zip", PlaceTarget::Archive),
            ("./a-1-py3-none-any.whl", PlaceTarget::Other),
            ("a-1-py3-none-any.whl", PlaceTarget::Other),
            ("a @ https://h.example/a-1-py3-none-any.whl", PlaceTarget::Other),
            ("hg+https://h.example/x", PlaceTarget::Other),
        ] {
            assert_eq!(one(line).target, expected, "{line}");
        }
        assert!(places(&request("a==1\n--find-links wheels\nb[x]>=1 ; python_version > '3'").requirements).is_empty());
    }
}
