//! Which of an image's interpreters uv makes an environment of.
//!
//! uv's own installations of Python, and what it would fetch, are not looked into.

use std::str::FromStr as _;

use pep440_rs::{Version, VersionSpecifiers};

use crate::dockerfile::run::Step;
use crate::image::filesystem::{Content, Found};
use crate::plan::files::{NotNative, StageFiles};
use crate::python::uv_environment::InImage;
use crate::python::virtual_environment::PythonVersion;

use super::stage::Stage;
use super::venv;

/// How uv is told which Python.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AskedPython {
    /// Not at all.
    Any,
    /// By a project's `requires-python`.
    Range(String),
    /// By a version, of which parts may be missing.
    Version(String),
    /// By a command.
    Named(String),
    /// By a path.
    Path(String),
}

impl AskedPython {
    /// Reads the value of `--python`, or a line of `.python-version`.
    ///
    /// # Errors
    /// Fails for a request that is not understood.
    pub(super) fn parse(text: &str) -> Result<Self, NotNative> {
        let is_version = |text: &str| text.split('.').all(|part| part.parse::<u32>().is_ok());
        let owned = || text.to_owned();
        match text.trim_start_matches("python") {
            _ if text.starts_with('/') => Ok(Self::Path(owned())),
            _ if is_version(text) && text.split('.').count() <= 3 => Ok(Self::Version(owned())),
            _ if text.starts_with(['>', '<', '=', '~', '!']) => Ok(Self::Range(owned())),
            "" if text == "python" => Ok(Self::Named(owned())),
            rest if text.starts_with("python") && is_version(rest) => Ok(Self::Named(owned())),
            _ => Err(NotNative::because(format!("which Python `{text}` is for uv is not known"))),
        }
    }

    /// The commands that uv looks for in each folder of `PATH`, in its order.
    fn names(&self) -> Vec<String> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        match self {
            Self::Any => names(&["python", "python3"]),
            Self::Range(_) => names(&["python3", "python"]),
            Self::Version(version) => match version.split('.').collect::<Vec<_>>().as_slice() {
                [major, minor, ..] => names(&[&format!("python{major}.{minor}"), &format!("python{major}"), "python"]),
                _ => names(&[&format!("python{version}"), "python"]),
            },
            Self::Named(name) => vec![name.clone()],
            Self::Path(_) => Vec::new(),
        }
    }

    /// Whether an interpreter of this version is one that is asked for; `None` for a range that cannot be read.
    fn takes(&self, (major, minor, micro): PythonVersion) -> Option<bool> {
        let version = format!("{major}.{minor}.{micro}");
        Some(match self {
            Self::Any | Self::Named(_) | Self::Path(_) => true,
            Self::Version(wanted) => version == *wanted || version.starts_with(&format!("{wanted}.")),
            Self::Range(range) => is_in(range, &version)?,
        })
    }
}

/// Whether `version` is in `range`.
fn is_in(range: &str, version: &str) -> Option<bool> {
    let range = VersionSpecifiers::from_str(range).ok()?;
    Some(range.contains(&Version::from_str(version).ok()?))
}

/// An interpreter that uv finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct UvPython {
    /// By the name by which it is found.
    pub(super) executable: String,
    pub(super) version: PythonVersion,
}

impl UvPython {
    /// Whether a project with this `requires-python` takes it.
    pub(super) fn fits(&self, range: Option<&str>) -> bool {
        let (major, minor, micro) = self.version;
        range.is_none_or(|range| is_in(range, &format!("{major}.{minor}.{micro}")) == Some(true))
    }

    /// Where what uv makes of it is in the image.
    pub(super) fn place(&self, project: &str, environment: &str) -> InImage {
        InImage {
            project: project.to_owned(),
            environment: environment.to_owned(),
            executable: self.executable.clone(),
            version: self.version,
        }
    }

    /// Major, minor and micro version, as markers have them.
    pub(super) fn full_version(&self) -> String {
        let (major, minor, micro) = self.version;
        format!("{major}.{minor}.{micro}")
    }
}

/// The interpreter that uv finds for `asked`.
///
/// # Errors
/// Fails where it is not known, and where uv would fetch one.
pub(super) fn found(
    stage: &Stage,
    files: &StageFiles,
    step: &Step,
    asked: &AskedPython,
) -> Result<UvPython, NotNative> {
    let variable = |name: &str| step.environment.get(name).cloned().or_else(|| stage.scope.value(name));
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    if variable("UV_PYTHON_SEARCH_PATH").is_some() {
        return Err(NotNative::because("`UV_PYTHON_SEARCH_PATH` says where Pythons are"));
    }
    if variable("UV_PYTHON_PREFERENCE").is_some_and(|value| value == "only-managed") {
        return Err(NotNative::because("uv would fetch a Python"));
    }
    let home = super::run::home_of(stage, files).map(|home| format!("{home}/.local/share"));
    let data = variable("XDG_DATA_HOME").or(home).ok_or_else(|| NotNative::because("the user's home is not known"))?;
    let own = variable("UV_PYTHON_INSTALL_DIR").unwrap_or_else(|| format!("{data}/uv/python"));
    if files.view().reach(&own, true).is_ok_and(|at| at.found != Found::Absent) {
        return Err(NotNative::because(format!("`{own}` may have Pythons that uv takes first")));
    }
    let (executable, real) = searched(files, asked, &variable("PATH").unwrap_or_default())?;
    let python = venv::system(stage, files, &executable, &real)?;
    let version = venv::exact_version(stage, &python)
        .ok_or_else(|| NotNative::because(format!("the exact version of `{executable}` is not known")))?;
    match asked.takes(version) {
        Some(true) => Ok(UvPython { executable, version }),
        _ => {
            Err(NotNative::because(format!("`{executable}` is not the Python that is asked for, and uv looks further")))
        }
    }
}

/// The first program of the names that uv tries, in no environment: as it is called, and with all links followed.
fn searched(files: &StageFiles, asked: &AskedPython, path: &str) -> Result<(String, String), NotNative> {
    let real = |path: &[u8]| format!("/{}", String::from_utf8_lossy(path));
    let mut candidates = Vec::new();
    match asked {
        AskedPython::Path(path) => candidates.push(path.clone()),
        _ => {
            for folder in path.split(':').filter(|folder| folder.starts_with('/')) {
                let folder = folder.trim_end_matches('/');
                let above = folder.rsplit_once('/').map_or("", |(above, _)| above);
                match files.view().content(format!("{above}/pyvenv.cfg")) {
                    Content::Absent => candidates.extend(asked.names().iter().map(|name| format!("{folder}/{name}"))),
                    Content::Known(_) | Content::Unknown => {}
                }
            }
        }
    }
    for candidate in candidates {
        let Ok(reached) = files.view().reach(&candidate, true) else { continue };
        match reached.found {
            Found::Known(node) if node.is_file() => return Ok((candidate, real(&reached.path))),
            Found::Unknown => return Err(NotNative::unknown(&reached.path)),
            Found::Known(_) | Found::Absent => {}
        }
    }
    Err(NotNative::because("the image has no Python where uv looks, so that it would fetch one"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::filesystem::{Node, NodeKind, View};
    use crate::layer::EntryPath;

    #[test]
    fn a_python_is_asked_for_in_several_ways() {
        use AskedPython::{Named, Path, Range, Version};
        for (text, expected) in [
            ("3.11", Some(Version("3.11".into()))),
            ("3", Some(Version("3".into()))),
            ("python3.11", Some(Named("python3.11".into()))),
            ("python", Some(Named("python".into()))),
            ("/usr/local/bin/python", Some(Path("/usr/local/bin/python".into()))),
            (">=3.9,<4", Some(Range(">=3.9,<4".into()))),
            ("pypy3.10", None),
            ("cpython-3.11", None),
            ("", None),
        ] {
            assert_eq!(AskedPython::parse(text).ok(), expected, "{text}");
        }
        for (text, takes) in [("3.11", true), ("3.11.2", true), ("3.1", false), (">=3.11.3", false), (">=3.9", true)] {
            assert_eq!(AskedPython::parse(text).unwrap().takes((3, 11, 2)), Some(takes), "{text}");
        }
    }

    #[test]
    fn commands_are_looked_for_in_uvs_order_and_in_no_environment() {
        let mut files = StageFiles::new(View::default());
        let file = |text: &str| Node::new(NodeKind::File { size: 1 }, 0o755, 0, 0).with_content(text.as_bytes());
        for path in ["usr/local/bin/python", "usr/local/bin/python3", "usr/local/bin/python3.11", "opt/venv/bin/python"]
        {
            files.put(EntryPath::parse(path).unwrap(), file("x"));
        }
        files.put(EntryPath::parse("opt/venv/pyvenv.cfg").unwrap(), file("home = /usr/local/bin\n"));
        let path = "/opt/venv/bin:/nowhere:/usr/local/bin";
        for (asked, expected) in [
            (AskedPython::Any, "python"),
            (AskedPython::Range(">=3".into()), "python3"),
            (AskedPython::Version("3.11".into()), "python3.11"),
            (AskedPython::Version("3".into()), "python3"),
            (AskedPython::Named("python3.11".into()), "python3.11"),
        ] {
            let (found, _) = searched(&files, &asked, path).unwrap();
            assert_eq!(found, format!("/usr/local/bin/{expected}"), "{asked:?}");
        }
        assert!(searched(&files, &AskedPython::Named("python3.12".into()), path).is_err());
    }
}
