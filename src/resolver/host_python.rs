//! A Python of this machine: where it is, and which platform its builds are for.
//!
//! It is asked, never assumed: what it says decides whether a wheel built here is usable in the image.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::child::{Child, ChildEnvironment};
use super::uv::{Uv, is_program};
use crate::image::filesystem::Libc;

/// A Python that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HostPython {
    pub(super) path: PathBuf,
    /// The whole version.
    pub(super) version: String,
    /// The machine in Python's words.
    pub(super) machine: String,
    pub(super) libc: Libc,
    /// Where its pip is, and in which version.
    pub(super) pip: Option<(PathBuf, String)>,
}

/// Isolated, so that neither the folder nor variables change what it sees; pip may be in the user's folder.
const SCRIPT: &str = "\
import json, os, platform, sysconfig
try:
    libc = os.confstr('CS_GNU_LIBC_VERSION')
except (AttributeError, OSError, ValueError):
    libc = None
try:
    import pip
    pip = [os.path.dirname(os.path.abspath(pip.__file__)), pip.__version__]
except ImportError:
    pip = None
print(json.dumps({'version': platform.python_version(), 'machine': platform.machine(), 'libc': libc,
                  'soabi': sysconfig.get_config_var('SOABI') or '', 'pip': pip}))
";

#[derive(Deserialize)]
struct Told {
    version: String,
    machine: String,
    libc: Option<String>,
    soabi: String,
    pip: Option<(PathBuf, String)>,
}

impl HostPython {
    /// The Python of this version (`3.11`), else any; `None` without one.
    pub(super) async fn find(version: &str, uv: &Uv, environment: &ChildEnvironment, folder: &Path) -> Option<Self> {
        let short = version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
        let name = format!("python{short}");
        let named = environment
            .find_all_on_path(&name)
            .find(|path| is_program(&path.canonicalize().unwrap_or_else(|_| path.clone())));
        let known = uv.python().filter(|path| path.canonicalize().is_ok_and(|real| real.ends_with(&name)));
        let first = match named.or_else(|| known.map(Path::to_owned)) {
            Some(path) => Some(path),
            None => Self::ask_uv(&short, uv, environment, folder).await,
        };
        for path in first.into_iter().chain(uv.python().map(Path::to_owned)) {
            if let Some(found) = Self::at(&path, environment, folder).await {
                return Some(found);
            }
        }
        let any = environment.find_on_path("python3")?;
        Self::at(&any, environment, folder).await
    }

    async fn ask_uv(version: &str, uv: &Uv, environment: &ChildEnvironment, folder: &Path) -> Option<PathBuf> {
        let mut child = Child::new(uv.program(), environment.clone().with("UV_PYTHON_DOWNLOADS", "never"), folder);
        child.arguments = ["python", "find", "--no-project", version].map(str::to_owned).into();
        child.timeout = Duration::from_secs(30);
        let outcome = child.run().await.ok().filter(|outcome| outcome.status.success())?;
        let path = PathBuf::from(String::from_utf8_lossy(&outcome.stdout).trim());
        path.is_file().then_some(path)
    }

    /// What the Python at `path` says of itself.
    pub(super) async fn at(path: &Path, environment: &ChildEnvironment, folder: &Path) -> Option<Self> {
        let mut child = Child::new(path, environment.clone(), folder);
        child.arguments = ["-I", "-c", SCRIPT].map(str::to_owned).into();
        child.timeout = Duration::from_secs(30);
        let outcome = child.run().await.ok().filter(|outcome| outcome.status.success())?;
        let told: Told = serde_json::from_slice(&outcome.stdout).ok()?;
        let libc = told.libc.as_deref().and_then(glibc);
        let libc = libc.unwrap_or(if told.soabi.contains("musl") { Libc::Musl(1, 2) } else { Libc::Unknown });
        Some(Self { path: path.to_owned(), version: told.version, machine: told.machine, libc, pip: told.pip })
    }

    /// Major and minor version.
    pub(super) fn short_version(&self) -> String {
        self.version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".")
    }
}

/// `glibc 2.36`.
fn glibc(text: &str) -> Option<Libc> {
    let (major, minor) = text.strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some(Libc::Glibc(major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_python_is_believed_in_what_it_says() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("python3");
        let said = r#"{"version": "3.11.7", "machine": "x86_64", "libc": "glibc 2.36", "soabi": "x", "pip": ["/p/pip", "23.2.1"]}"#;
        let script = |said: &str| {
            std::fs::write(&path, format!("#!/bin/sh\necho '{said}'\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        script(said);
        let found = HostPython::at(&path, &ChildEnvironment::default(), folder.path()).await.unwrap();
        assert_eq!((found.short_version().as_str(), found.libc), ("3.11", Libc::Glibc(2, 36)));
        assert_eq!(found.pip, Some(("/p/pip".into(), "23.2.1".into())));
        script(&said.replace("\"glibc 2.36\"", "null").replace("\"x\"", "\"cpython-311-x86_64-linux-musl\""));
        let found = HostPython::at(&path, &ChildEnvironment::default(), folder.path()).await.unwrap();
        assert_eq!(found.libc, Libc::Musl(1, 2));
        script("hello");
        assert_eq!(HostPython::at(&path, &ChildEnvironment::default(), folder.path()).await, None);
    }
}
