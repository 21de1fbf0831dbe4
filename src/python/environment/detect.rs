//! From an image's files and environment to its Python.
//!
//! What is not in the image is not guessed: a version that nothing tells is an error with its cure.

use super::interpreter::{Interpreter, find, folders};
use super::{EnvironmentKind, PythonEnvironment, PythonHints};
use super::{installed, layout, libc};
use crate::diagnostic::Diagnose;
use crate::image::filesystem::Filesystem;
use crate::oci::Platform;

/// Why an image's Python cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DetectError {
    /// No interpreter is where it is looked for.
    #[error("the image has no {} in {}", wanted(*.version), list(.folders))]
    NoPython {
        /// The version that the settings ask for.
        version: Option<(u32, u32)>,
        /// The folders that were looked at.
        folders: Vec<String>,
    },
    /// Neither names nor folders nor `pyvenv.cfg` tell the version.
    #[error("the version of the image's `{interpreter}` cannot be told")]
    UnknownVersion {
        /// The interpreter.
        interpreter: String,
    },
    /// PyPy, `GraalPy`, a free-threaded build.
    #[error("the image's `{interpreter}` is {implementation}, which is not supported")]
    Unsupported {
        /// The interpreter.
        interpreter: String,
        /// What it is.
        implementation: String,
    },
    /// Not Linux.
    #[error("images for `{0}` are not supported")]
    Platform(Platform),
}

impl Diagnose for DetectError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoPython { .. } => {
                "choose a parent with Python, such as `python:3.12-slim`, or name its folder as the settings' `python` prefix".into()
            }
            Self::UnknownVersion { .. } => "write the version and the prefix of `python` into the settings".into(),
            Self::Unsupported { .. } => "choose a parent with CPython in its standard build".into(),
            Self::Platform(_) => "choose a parent image for `linux`".into(),
        })
    }
}

fn wanted(version: Option<(u32, u32)>) -> String {
    version.map_or_else(|| "`python` or `python3`".into(), |(major, minor)| format!("`python{major}.{minor}`"))
}

fn list(folders: &[String]) -> String {
    let quoted: Vec<String> = folders.iter().map(|folder| format!("`{folder}`")).collect();
    quoted.join(", ")
}

/// Finds the Python of an image: the one of `VIRTUAL_ENV`, else the first on `PATH` (`env` is the image config's).
///
/// Hints narrow the search. With version and prefix given, an image of which nothing is known (an empty `fs`) will do,
/// unless the prefix is `/usr`, where distributions differ.
///
/// # Errors
/// Fails when there is no interpreter, its version cannot be told, or it is not one that wheels are chosen for.
pub fn detect(
    fs: &Filesystem,
    env: &[(String, String)],
    platform: &Platform,
    hints: &PythonHints,
) -> Result<PythonEnvironment, DetectError> {
    if platform.os != "linux" {
        return Err(DetectError::Platform(platform.clone()));
    }
    let folders = folders(env, hints.prefix.as_deref());
    let interpreter = match find(fs, &folders, hints.version)? {
        Some(interpreter) => interpreter,
        None => assumed(fs, hints).ok_or(DetectError::NoPython { version: hints.version, folders })?,
    };
    let kind = layout::kind(fs, &interpreter);
    let sites = layout::sites(fs, kind, &interpreter);
    Ok(PythonEnvironment {
        scheme: layout::scheme(fs, kind, &interpreter),
        version: interpreter.version,
        implementation: "cp".into(),
        kind,
        libc: libc::libc(fs),
        externally_managed: layout::externally_managed(fs, kind, &interpreter),
        installed: installed::installed(fs, &sites),
        prefix: if kind == EnvironmentKind::Virtual { interpreter.prefix } else { interpreter.base },
    })
}

/// The interpreter that the settings promise, of an image that has not been looked at.
fn assumed(fs: &Filesystem, hints: &PythonHints) -> Option<Interpreter> {
    let (prefix, version) = (hints.prefix.as_deref()?.trim_end_matches('/').to_owned(), hints.version?);
    (fs.is_empty() && prefix != "/usr").then(|| Interpreter {
        path: format!("{prefix}/bin/python"),
        base: prefix.clone(),
        prefix,
        venv: None,
        version,
    })
}

#[cfg(test)]
mod tests {
    use super::super::Libc;
    use super::*;
    use crate::image::filesystem::{Change, LayerIndex, Node, NodeKind};
    use crate::layer::EntryPath;

    /// An image: `path` alone is a file, `path/` a folder, `path -> target` a link, `path = text` a kept file.
    fn image(lines: &[&str]) -> Filesystem {
        let node = |kind| Change::Put(Node::new(kind, 0o755, 0, 0));
        let change = |line: &&str| {
            let (path, change) = if let Some((path, target)) = line.split_once(" -> ") {
                (path, node(NodeKind::Symlink { target: target.into() }))
            } else if let Some((path, text)) = line.split_once(" = ") {
                let file = Node::new(NodeKind::File { size: text.len() as u64 }, 0o644, 0, 0);
                (path, Change::Put(file.with_content(text.as_bytes())))
            } else if let Some(path) = line.strip_suffix('/') {
                (path, node(NodeKind::Directory))
            } else {
                (*line, node(NodeKind::File { size: 9 }))
            };
            (EntryPath::parse(path).unwrap(), change)
        };
        Filesystem::merge([LayerIndex::new(lines.iter().map(change).collect())]).unwrap()
    }

    fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
    }

    fn found(lines: &[&str], variables: &[(&str, &str)]) -> Result<PythonEnvironment, DetectError> {
        detect(&image(lines), &env(variables), &Platform::new("linux", "amd64"), &PythonHints::default())
    }

    const DEBIAN: [&str; 7] = [
        "bin -> usr/bin",
        "etc/debian_version",
        "usr/bin/python3 -> python3.11",
        "usr/bin/python3.11",
        "usr/lib/python3/dist-packages/PyYAML-6.0.egg-info = Name: PyYAML\nVersion: 6.0\n",
        "usr/lib/python3/dist-packages/pip-23.0.1.dist-info/METADATA = Name: pip\nVersion: 23.0.1\n",
        "usr/lib/python3.11/EXTERNALLY-MANAGED",
    ];
    const OFFICIAL: [&str; 6] = [
        "etc/debian_version",
        "usr/local/bin/python -> python3",
        "usr/local/bin/python3 -> python3.12",
        "usr/local/bin/python3.12",
        "usr/local/lib/python3.12/os.py",
        "usr/local/lib/python3.12/site-packages/pip-24.0.dist-info/METADATA = Name: pip\nVersion: 24.0\n",
    ];

    fn names(python: &PythonEnvironment) -> Vec<(&str, &str)> {
        python.installed.iter().map(|one| (one.name.as_str(), one.version.as_str())).collect()
    }

    #[test]
    fn debians_own_python_installs_into_usr_local() {
        let local = "usr/local/lib/python3.11/dist-packages/pip-25.0.dist-info/METADATA = Name: pip\nVersion: 25.0\n";
        let python = found(&[&DEBIAN[..], &[local]].concat(), &[]).unwrap();
        let expected = crate::python::InstallScheme {
            interpreter: "/usr/bin/python3".into(),
            purelib: "/usr/local/lib/python3.11/dist-packages".into(),
            platlib: "/usr/local/lib/python3.11/dist-packages".into(),
            scripts: "/usr/local/bin".into(),
            include: "/usr/include/python3.11".into(),
            data: "/usr/local".into(),
        };
        assert_eq!(python.scheme, expected);
        assert_eq!((python.version, python.kind, python.externally_managed), ((3, 11), EnvironmentKind::Debian, true));
        assert_eq!(names(&python), [("pip", "25.0"), ("pyyaml", "6.0")]);
    }

    #[test]
    fn the_first_python_on_the_path_is_taken() {
        let both = [&DEBIAN[..], &OFFICIAL[..]].concat();
        let python = found(&both, &[]).unwrap();
        assert_eq!((python.kind, python.prefix.as_str()), (EnvironmentKind::System, "/usr/local"));
        assert_eq!(python.scheme.interpreter, "/usr/local/bin/python");
        assert_eq!(python.scheme.purelib, "/usr/local/lib/python3.12/site-packages");
        assert_eq!(python.scheme.include, "/usr/local/include/python3.12");
        let python = found(&both, &[("PATH", "relative:/usr/bin/:/usr/local/bin")]).unwrap();
        assert_eq!((python.version, python.kind), ((3, 11), EnvironmentKind::Debian));
        let python = found(&both, &[("PATH", "/bin")]).unwrap();
        assert_eq!((python.scheme.interpreter.as_str(), python.prefix.as_str()), ("/bin/python3", "/usr"));
    }

    fn beside_official(venv: &[String]) -> Vec<&str> {
        OFFICIAL.into_iter().chain(venv.iter().map(String::as_str)).collect()
    }

    #[test]
    fn a_virtual_environment_is_found_by_variable_and_by_path() {
        let venv = |open: &str| {
            [
                "opt/venv/bin/python -> /usr/local/bin/python3".to_owned(),
                "opt/venv/lib64 -> lib".to_owned(),
                format!(
                    "opt/venv/pyvenv.cfg = home = /usr/local/bin\nInclude-System-Site-Packages = {open}\nversion = 3.12.1\n"
                ),
                "opt/venv/lib/python3.12/site-packages/six-1.16.dist-info/METADATA = Name: Six\nVersion: 1.16\n"
                    .to_owned(),
            ]
        };
        let closed = venv("false");
        for variables in [("VIRTUAL_ENV", "/opt/venv"), ("PATH", "/opt/venv/bin:/usr/local/bin")] {
            let python = found(&beside_official(&closed), &[variables]).unwrap();
            assert_eq!((python.kind, python.prefix.as_str()), (EnvironmentKind::Virtual, "/opt/venv"));
            assert_eq!(python.scheme.interpreter, "/opt/venv/bin/python");
            assert_eq!(python.scheme.platlib, "/opt/venv/lib/python3.12/site-packages");
            assert_eq!(python.scheme.include, "/opt/venv/include/site/python3.12");
            assert_eq!(names(&python), [("six", "1.16")]);
        }
        let open = venv("true");
        let python = found(&beside_official(&open), &[("VIRTUAL_ENV", "/opt/venv/")]).unwrap();
        assert_eq!(names(&python), [("pip", "24.0"), ("six", "1.16")]);
    }

    #[test]
    fn scripts_name_a_virtual_environments_python_as_it_was_made() {
        for (links, expected) in [
            (&["python -> /usr/local/bin/python", "python3 -> python"][..], "python"),
            (&["python -> python3", "python3 -> /usr/local/bin/python3"][..], "python3"),
            (
                &["python -> python3", "python3 -> python3.12", "python3.12 -> /usr/local/bin/python3.12"][..],
                "python3.12",
            ),
        ] {
            let mut venv: Vec<String> = links.iter().map(|link| format!("opt/venv/bin/{link}")).collect();
            venv.push("opt/venv/pyvenv.cfg = home = /usr/local/bin\nversion = 3.12.1\n".into());
            let python = found(&beside_official(&venv), &[("VIRTUAL_ENV", "/opt/venv")]).unwrap();
            assert_eq!(python.scheme.interpreter, format!("/opt/venv/bin/{expected}"));
        }
    }

    #[test]
    fn conda_fedora_and_managed_pythons_have_their_places() {
        for (lines, path, kind, purelib, platlib) in [
            (
                &["opt/conda/bin/python -> python3.10", "opt/conda/bin/python3.10", "opt/conda/conda-meta/history"][..],
                "/opt/conda/bin",
                EnvironmentKind::Conda,
                "/opt/conda/lib/python3.10/site-packages",
                "/opt/conda/lib/python3.10/site-packages",
            ),
            (
                &[
                    "usr/bin/python3 -> python3.9",
                    "usr/bin/python3.9",
                    "etc/os-release = ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
                    "usr/lib64/python3.9/os.py",
                    "usr/lib/python3.9/site-packages/",
                ],
                "/usr/bin",
                EnvironmentKind::Fedora,
                "/usr/local/lib/python3.9/site-packages",
                "/usr/local/lib64/python3.9/site-packages",
            ),
            (
                &[
                    "usr/bin/python3 -> python3.12",
                    "usr/bin/python3.12",
                    "etc/os-release = ID=alpine\n",
                    "usr/lib/python3.12/os.py",
                ],
                "/usr/bin",
                EnvironmentKind::System,
                "/usr/lib/python3.12/site-packages",
                "/usr/lib/python3.12/site-packages",
            ),
            (
                &["usr/local/bin/python3 -> /opt/uv/cpython-3.13/bin/python3.13", "opt/uv/cpython-3.13/bin/python3.13"],
                "/usr/local/bin",
                EnvironmentKind::System,
                "/opt/uv/cpython-3.13/lib/python3.13/site-packages",
                "/opt/uv/cpython-3.13/lib/python3.13/site-packages",
            ),
        ] {
            let python = found(lines, &[("PATH", path)]).unwrap();
            assert_eq!((python.kind, &python.scheme.purelib[..], &python.scheme.platlib[..]), (kind, purelib, platlib));
        }
    }

    #[test]
    fn the_version_is_told_by_name_cfg_or_library() {
        for (lines, version) in [
            (&["b/bin/python", "b/pyvenv.cfg = version_info = 3.9.2.final.0\n"][..], Ok((3, 9))),
            (&["b/bin/python", "b/lib/python3.8/site-packages/"], Ok((3, 8))),
            (
                &["b/bin/python3 -> python3.10", "b/bin/python3.10", "b/bin/python -> python2.7", "b/bin/python2.7"],
                Ok((3, 10)),
            ),
            (&["b/bin/python"], Err("the version of the image's `/b/bin/python` cannot be told")),
            (
                &["b/bin/python", "b/lib/python3.8/os.py", "b/lib/python3.9/os.py"],
                Err("the version of the image's `/b/bin/python` cannot be told"),
            ),
            (
                &["b/bin/python3 -> pypy3.10", "b/bin/pypy3.10"],
                Err("the image's `/b/bin/python3` is pypy, which is not supported"),
            ),
            (
                &["b/bin/python -> python3.13t", "b/bin/python3.13t"],
                Err("the image's `/b/bin/python` is free-threaded CPython, which is not supported"),
            ),
            (
                &["b/bin/python", "b/lib/python3.13t/os.py"],
                Err("the image's `/b/bin/python` is free-threaded CPython, which is not supported"),
            ),
            (
                &["b/bin/python -> python", "b/bin/python3/"],
                Err("the image has no `python` or `python3` in `/a/bin`, `/b/bin`"),
            ),
        ] {
            let result = found(lines, &[("PATH", "/a/bin:/b/bin")]);
            let result = result.map(|python| python.version).map_err(|error| {
                assert!(error.hint().is_some());
                error.to_string()
            });
            assert_eq!(result, version.map_err(str::to_owned), "{lines:?}");
        }
    }

    #[test]
    fn hints_narrow_the_search_and_stand_in_for_an_unknown_image() {
        let platform = Platform::new("linux", "arm64");
        let hints =
            |prefix: Option<&str>, version| PythonHints { version, prefix: prefix.map(Into::into), place: None };
        let both = image(&[&DEBIAN[..], &OFFICIAL[..]].concat());
        let python = detect(&both, &[], &platform, &hints(None, Some((3, 11)))).unwrap();
        assert_eq!(python.scheme.interpreter, "/usr/bin/python3");
        let python = detect(&both, &[], &platform, &hints(Some("/usr/"), None)).unwrap();
        assert_eq!(python.version, (3, 11));
        let absent = detect(&both, &[], &platform, &hints(None, Some((3, 8)))).unwrap_err();
        assert!(absent.to_string().starts_with("the image has no `python3.8` in `/usr/local/sbin`"), "{absent}");
        let nothing = Filesystem::default();
        let python = detect(&nothing, &[], &platform, &hints(Some("/opt/app"), Some((3, 13)))).unwrap();
        assert_eq!(python.scheme.purelib, "/opt/app/lib/python3.13/site-packages");
        assert_eq!((python.libc, python.installed.len()), (Libc::Unknown, 0));
        assert!(detect(&nothing, &[], &platform, &hints(Some("/usr"), Some((3, 13)))).is_err());
        let windows = Platform::new("windows", "amd64");
        assert!(matches!(detect(&both, &[], &windows, &PythonHints::default()), Err(DetectError::Platform(_))));
    }
}
