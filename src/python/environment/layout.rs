//! Where each kind of environment installs, and which folders its `sys.path` shows.
//!
//! The paths are those that `sysconfig` gives uv and pip in such an image.

use super::EnvironmentKind;
use super::interpreter::{Interpreter, find};
use crate::image::filesystem::{Filesystem, NodeKind};
use crate::layer::EntryPath;
use crate::python::InstallScheme;

/// What kind of environment `interpreter` has.
pub(super) fn kind(fs: &Filesystem, interpreter: &Interpreter) -> EnvironmentKind {
    if interpreter.venv.is_some() {
        return EnvironmentKind::Virtual;
    }
    let base = &interpreter.base;
    if fs.is_directory(format!("{base}/conda-meta")) {
        return EnvironmentKind::Conda;
    }
    if base != "/usr" {
        return EnvironmentKind::System;
    }
    let names = distribution(fs);
    let is_one_of = |wanted: &[&str]| names.iter().any(|name| wanted.contains(&name.as_str()));
    let has_dist_packages = fs.is_directory("/usr/lib/python3/dist-packages");
    if is_one_of(&["debian", "ubuntu"]) || fs.resolve("/etc/debian_version").is_some() || has_dist_packages {
        EnvironmentKind::Debian
    } else if is_one_of(&["fedora", "rhel", "centos"]) {
        EnvironmentKind::Fedora
    } else {
        EnvironmentKind::System
    }
}

/// The words of `ID` and `ID_LIKE` in os-release.
fn distribution(fs: &Filesystem) -> Vec<String> {
    let content = fs.content("/etc/os-release").or_else(|| fs.content("/usr/lib/os-release")).unwrap_or_default();
    let text = String::from_utf8_lossy(content);
    let values = text.lines().filter_map(|line| line.strip_prefix("ID=").or_else(|| line.strip_prefix("ID_LIKE=")));
    values
        .flat_map(|value| {
            value.trim().trim_matches(['"', '\'']).split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

/// The install scheme of an environment.
pub(super) fn scheme(fs: &Filesystem, kind: EnvironmentKind, interpreter: &Interpreter) -> InstallScheme {
    let python = python(interpreter.version);
    let prefix = if kind == EnvironmentKind::Virtual { &interpreter.prefix } else { &interpreter.base };
    let (place, library) = match kind {
        EnvironmentKind::Debian => ("/usr/local", "dist-packages"),
        EnvironmentKind::Fedora => ("/usr/local", "site-packages"),
        _ => (prefix.as_str(), "site-packages"),
    };
    let purelib = format!("{place}/lib/{python}/{library}");
    let platlib = match kind {
        EnvironmentKind::Fedora if has_lib64(fs, prefix, &python) => format!("{place}/lib64/{python}/{library}"),
        EnvironmentKind::System if has_lib64(fs, prefix, &python) => format!("{prefix}/lib64/{python}/{library}"),
        _ => purelib.clone(),
    };
    let include = match kind {
        EnvironmentKind::Virtual => format!("{prefix}/include/site/{python}"),
        _ => format!("{prefix}/include/{python}"),
    };
    InstallScheme {
        interpreter: if kind == EnvironmentKind::Virtual {
            own_name(fs, interpreter)
        } else {
            interpreter.path.clone()
        },
        purelib,
        platlib,
        scripts: format!("{place}/bin"),
        include,
        data: place.to_owned(),
    }
}

/// The interpreter of a virtual environment by the name that it was made under, which its other names are links to.
fn own_name(fs: &Filesystem, interpreter: &Interpreter) -> String {
    let mut path = interpreter.path.clone();
    // `python -> python3 -> /usr/bin/python3` has no more names than these.
    for _ in 0..3 {
        let Some((folder, _)) = path.rsplit_once('/') else { return path };
        let node = fs.resolve(folder).and_then(|found| {
            let name = path.rsplit('/').next()?;
            fs.node(&EntryPath::parse(format!("{}/{name}", found.path)).ok()?)
        });
        match node.map(|node| &node.kind) {
            Some(NodeKind::Symlink { target }) if !target.is_empty() && !target.contains(&b'/') => {
                path = format!("{folder}/{}", String::from_utf8_lossy(target));
            }
            _ => return path,
        }
    }
    path
}

/// The folders of `sys.path` that hold installed distributions, in its order.
pub(super) fn sites(fs: &Filesystem, kind: EnvironmentKind, interpreter: &Interpreter) -> Vec<String> {
    let python = python(interpreter.version);
    let scheme = scheme(fs, kind, interpreter);
    let mut sites = vec![scheme.purelib];
    match kind {
        EnvironmentKind::Debian => {
            sites.push("/usr/lib/python3/dist-packages".into());
            sites.push(format!("/usr/lib/{python}/dist-packages"));
        }
        EnvironmentKind::Fedora => {
            sites.insert(0, scheme.platlib);
            sites.extend(["lib64", "lib"].map(|lib| format!("/usr/{lib}/{python}/site-packages")));
        }
        EnvironmentKind::Virtual => {
            sites.push(format!("{}/lib64/{python}/site-packages", interpreter.prefix));
            let is_open = |venv: &std::collections::BTreeMap<String, String>| {
                venv.get("include-system-site-packages").is_some_and(|value| value.eq_ignore_ascii_case("true"))
            };
            if interpreter.venv.as_ref().is_some_and(is_open) {
                sites.extend(
                    base(fs, interpreter).map(|base| self::sites(fs, self::kind(fs, &base), &base)).unwrap_or_default(),
                );
            }
        }
        EnvironmentKind::System | EnvironmentKind::Conda => sites.push(scheme.platlib),
    }
    sites
}

/// The interpreter that a virtual environment was made from.
fn base(fs: &Filesystem, interpreter: &Interpreter) -> Option<Interpreter> {
    let home = interpreter.venv.as_ref()?.get("home")?;
    let found = find(fs, &[home.trim_end_matches('/').to_owned()], Some(interpreter.version)).ok()??;
    // A base that is itself a virtual environment is none; Python would not make one either.
    found.venv.is_none().then_some(found)
}

/// Whether PEP 668 asks installers to keep out.
pub(super) fn externally_managed(fs: &Filesystem, kind: EnvironmentKind, interpreter: &Interpreter) -> bool {
    let python = python(interpreter.version);
    let marker = |lib: &str| format!("{}/{lib}/{python}/EXTERNALLY-MANAGED", interpreter.base);
    kind != EnvironmentKind::Virtual && ["lib", "lib64"].iter().any(|lib| fs.resolve(marker(lib)).is_some())
}

/// Whether native modules have a folder of their own in `lib64`, which then is no link to `lib`.
fn has_lib64(fs: &Filesystem, prefix: &str, python: &str) -> bool {
    let real = |lib: &str| fs.resolve(format!("{prefix}/{lib}/{python}")).map(|found| found.path);
    real("lib64").is_some_and(|lib64| Some(lib64) != real("lib"))
}

fn python((major, minor): (u32, u32)) -> String {
    format!("python{major}.{minor}")
}
