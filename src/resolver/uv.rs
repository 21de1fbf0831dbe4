//! uv: finding it, and a Python for it.
//!
//! Nothing is installed here; fetching a missing uv is `uv_wheel`'s work.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::child::{Child, ChildEnvironment};
use super::error::ResolveError;

/// The oldest uv that writes `pylock.toml` for a platform.
const MINIMUM: (&str, [u32; 3]) = ("0.8.0", [0, 8, 0]);

/// A uv that can be run.
#[derive(Clone, Debug)]
pub struct Uv {
    program: PathBuf,
    version: String,
    python: Option<PathBuf>,
}

impl Uv {
    /// Takes `program` after asking for its version.
    ///
    /// # Errors
    /// Fails when it cannot be run, is no uv, or is older than the minimum.
    pub async fn at(program: &Path, environment: &ChildEnvironment) -> Result<Self, ResolveError> {
        let mut child = Child::new(program, environment.clone(), "/");
        child.arguments = vec!["--version".into()];
        child.timeout = Duration::from_secs(30);
        let failed = |source| ResolveError::NotUv { program: program.to_owned(), source };
        let outcome = child.run().await.map_err(|error| failed(Some(error)))?;
        let text = String::from_utf8_lossy(&outcome.stdout).into_owned();
        let version = text.strip_prefix("uv ").and_then(|rest| rest.split_whitespace().next());
        let version = version.filter(|_| outcome.status.success()).ok_or_else(|| failed(None))?.to_owned();
        if numbers(&version) < MINIMUM.1 {
            return Err(ResolveError::OldUv { program: program.to_owned(), found: version, minimum: MINIMUM.0 });
        }
        Ok(Self { program: program.to_owned(), version, python: python(environment) })
    }

    /// The first uv on the environment's `PATH` that is new enough; `None` when there is none.
    pub async fn on_path(environment: &ChildEnvironment) -> Option<Self> {
        for program in environment.find_all_on_path("uv") {
            if let Ok(uv) = Self::at(&program, environment).await {
                return Some(uv);
            }
        }
        None
    }

    /// The program's path.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Its version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// A Python for uv to use; `None` leaves the search to uv.
    pub fn python(&self) -> Option<&Path> {
        self.python.as_deref()
    }
}

pub(super) fn numbers(version: &str) -> [u32; 3] {
    let mut numbers = [0; 3];
    for (number, part) in numbers.iter_mut().zip(version.split('.')) {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        *number = part[..digits].parse().unwrap_or(0);
    }
    numbers
}

/// The first Python 3.8 or later on the `PATH` that is a program and not a script: asking a version manager's script
/// costs a tenth of a second, and uv's own search costs another.
fn python(environment: &ChildEnvironment) -> Option<PathBuf> {
    ["python3", "python"].into_iter().find_map(|name| {
        environment.find_all_on_path(name).find(|path| {
            let real = path.canonicalize().unwrap_or_else(|_| path.clone());
            let name = real.file_name().unwrap_or_default().to_string_lossy();
            let minor = name.strip_prefix("python3.").and_then(|minor| minor.parse::<u32>().ok());
            minor.is_some_and(|minor| minor >= 8) && is_program(&real)
        })
    })
}

pub(super) fn is_program(path: &Path) -> bool {
    let mut magic = [0; 4];
    std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok() && magic == *b"\x7fELF"
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn script(folder: &Path, name: &str, text: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[tokio::test]
    async fn versions_are_checked_and_old_ones_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        std::fs::create_dir_all(&old).unwrap();
        std::fs::create_dir_all(&new).unwrap();
        let old_uv = script(&old, "uv", "#!/bin/sh\necho uv 0.7.22\n");
        let new_uv = script(&new, "uv", "#!/bin/sh\necho 'uv 0.13.8 (x86_64-unknown-linux-gnu)'\n");
        let other = script(&new, "other", "#!/bin/sh\necho hello\n");
        let path = format!("{}:{}:/usr/bin:/bin", old.display(), new.display());
        let environment = ChildEnvironment::default().with("PATH", path);
        assert!(matches!(Uv::at(&old_uv, &environment).await, Err(ResolveError::OldUv { .. })));
        assert!(matches!(Uv::at(&other, &environment).await, Err(ResolveError::NotUv { .. })));
        let found = Uv::on_path(&environment).await.unwrap();
        assert_eq!((found.program(), found.version()), (new_uv.as_path(), "0.13.8"));
        assert!(Uv::on_path(&ChildEnvironment::default()).await.is_none());
    }

    #[test]
    fn version_managers_scripts_are_no_python() {
        let folder = tempfile::tempdir().unwrap();
        script(folder.path(), "python3", "#!/bin/sh\n");
        let environment = ChildEnvironment::default().with("PATH", folder.path().display().to_string());
        assert_eq!(python(&environment), None);
    }
}
