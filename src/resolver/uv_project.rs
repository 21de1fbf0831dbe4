//! Commands of uv for a project, run here on copies of its files: what a lock comes to, and what a command leaves.
//!
//! No image is touched, and no package of the lock is installed; `python::uv_environment` moves what was left into one.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tempfile::TempDir;

use super::arguments::index_credentials;
use super::child::{Child, ChildEnvironment, Outcome};
use super::error::ResolveError;
use super::host_python::HostPython;
use super::request::ResolveRequest;
use super::tools::Resolver;
use super::uv::Uv;
use crate::event::Reporter;
use crate::oci::Digest;
use crate::python::uv_environment::{Below, LeftBehind, LeftKind};
use crate::store::Store;

/// Stands among the arguments of a [`Trial`] for the environment's folder.
pub const ENVIRONMENT: &str = "{environment}";
/// The same for this machine's Python.
pub const PYTHON: &str = "{python}";

const LOCKS: &str = "exported-locks";
const TRIALS: &str = "left-behind";
/// Changes when the same inputs may give another answer.
const FORMAT: u32 = 1;
/// The most that a project may leave, in bytes.
const CAP: u64 = 256 << 20;
/// Children make files as they do in a container.
const UMASK: &str = "umask 022; exec \"$@\"";
/// What uv writes of a lock that is not the project's any more.
const OUTDATED: &str = "needs to be updated";

/// Variables of this machine that would make a command another one.
const DROPPED: [&str; 32] = [
    "CLICOLOR_FORCE",
    "CONDA_PREFIX",
    "FORCE_COLOR",
    "RUST_LOG",
    "UV_BUILD_CONSTRAINT",
    "UV_COMPILE_BYTECODE",
    "UV_CONSTRAINT",
    "UV_EXTRA",
    "UV_FROZEN",
    "UV_ISOLATED",
    "UV_LINK_MODE",
    "UV_LOCKED",
    "UV_NO_BINARY",
    "UV_NO_BUILD",
    "UV_NO_CACHE",
    "UV_NO_DEFAULT_GROUPS",
    "UV_NO_DEV",
    "UV_NO_EDITABLE",
    "UV_NO_GROUP",
    "UV_NO_INSTALL_PROJECT",
    "UV_NO_SOURCES",
    "UV_NO_SYNC",
    "UV_OVERRIDE",
    "UV_PROJECT",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PYTHON",
    "UV_SYSTEM_PYTHON",
    "UV_VENV_CLEAR",
    "UV_VENV_SEED",
    "UV_WORKING_DIR",
    "UV_WORKING_DIRECTORY",
    "VIRTUAL_ENV",
];

/// How a lock is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockUse {
    /// As it is.
    Frozen,
    /// As it is, once uv finds that it fits the project.
    Locked,
    /// As uv brings it up to date.
    Updated,
}

/// What of a project's lock is asked for.
#[derive(Clone, Debug)]
pub struct LockQuestion {
    /// The text of `pyproject.toml`.
    pub pyproject: String,
    /// The text of `uv.lock`.
    pub lock: Option<String>,
    /// The texts of other projects that may belong to it, by their paths below it.
    pub members: BTreeMap<String, String>,
    /// How it is used.
    pub usage: LockUse,
    /// Options that choose among what it has: extras, groups, and which projects.
    pub arguments: Vec<String>,
    /// Variables, among them those that name indexes; no key has them where the lock is taken as it is.
    pub variables: BTreeMap<String, String>,
}

/// What it comes to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockAnswer {
    /// The packages, as the text of a `pylock.toml` (PEP 751).
    pub packages: String,
    /// The lock that they are of.
    pub lock: String,
}

/// uv's refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UvRefusal {
    /// Its messages, without credentials.
    pub explanation: String,
    /// Whether it refuses a lock that is not up to date.
    pub is_outdated: bool,
}

/// A file of a project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProjectFile {
    /// Where it lies below the project.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// A command of uv that is tried out.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The name of the project's folder, which a prompt may have.
    pub name: String,
    /// The project's files.
    pub files: Vec<ProjectFile>,
    /// Where the environment lies below the project; `None` where it lies elsewhere.
    pub environment: Option<String>,
    /// What follows `uv`, command by command; one that names no Python gets this machine's.
    pub commands: Vec<Vec<String>>,
    /// Whether it is run again though its result is known.
    pub is_fresh: bool,
    /// Whether of installed packages only their names and versions are of interest.
    pub names_packages: bool,
}

impl Resolver {
    /// What the lock of `asked` comes to; the answer is remembered unless `is_fresh` asks for a new one.
    ///
    /// # Errors
    /// Fails when there is no uv. What uv does not do is no error here.
    pub async fn export_lock(
        &self,
        request: &ResolveRequest,
        asked: &LockQuestion,
        is_fresh: bool,
        (store, reporter): (&Store, &Arc<dyn Reporter>),
    ) -> Result<Result<LockAnswer, UvRefusal>, ResolveError> {
        let uv = self.uv(request, store, reporter).await?;
        let given: &BTreeMap<String, String> =
            if asked.usage == LockUse::Updated { &asked.variables } else { &BTreeMap::new() };
        let key = json!({
            "format": FORMAT,
            "uv": uv.version(),
            "pyproject": Digest::of(asked.pyproject.as_bytes()).to_string(),
            "lock": asked.lock.as_ref().map(|lock| Digest::of(lock.as_bytes()).to_string()),
            "members": asked.members,
            "use": format!("{:?}", asked.usage),
            "arguments": asked.arguments,
            "variables": Digest::of(json!(given).to_string().as_bytes()).to_string(),
        })
        .to_string();
        if !is_fresh
            && let Some(bytes) = store.record(LOCKS, &key)?
            && let Ok(answer) = serde_json::from_slice(&bytes)
        {
            return Ok(Ok(answer));
        }
        let folder = scratch(request)?;
        write(folder.path(), "pyproject.toml", 0o644, asked.pyproject.as_bytes())?;
        for (path, text) in &asked.members {
            write(folder.path(), path, 0o644, text.as_bytes())?;
        }
        if let Some(lock) = &asked.lock {
            write(folder.path(), "uv.lock", 0o644, lock.as_bytes())?;
        }
        let mut arguments = ["export", "--format=pylock.toml", "--no-header", "--quiet"].map(str::to_owned).to_vec();
        arguments.extend(match asked.usage {
            LockUse::Frozen => Some("--frozen".to_owned()),
            LockUse::Locked => Some("--locked".to_owned()),
            LockUse::Updated => None,
        });
        arguments.extend(asked.arguments.iter().cloned());
        let outcome = match run(uv, request, folder.path(), (arguments, &asked.variables)).await? {
            Ok(outcome) => outcome,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let path = folder.path().join("uv.lock");
        let lock = std::fs::read_to_string(&path).map_err(|source| ResolveError::Scratch { path, source })?;
        let answer = LockAnswer { packages: String::from_utf8_lossy(&outcome.stdout).into_owned(), lock };
        store.put_record(LOCKS, &key, &serde_json::to_vec(&answer).unwrap_or_default())?;
        Ok(Ok(answer))
    }

    /// What a command of uv leaves; the same one is run once.
    ///
    /// # Errors
    /// Fails when there is no uv or no Python here, and when files cannot be written or read. What uv does not do is no
    /// error here.
    pub async fn try_out(
        &self,
        request: &ResolveRequest,
        trial: &Trial,
        (store, reporter): (&Store, &Arc<dyn Reporter>),
    ) -> Result<Result<LeftBehind, UvRefusal>, ResolveError> {
        let uv = self.uv(request, store, reporter).await?;
        let found = HostPython::find(&request.target.version, uv, &request.environment, &request.scratch).await;
        let python = found.ok_or(ResolveError::NoPython)?;
        let files: Vec<_> =
            trial.files.iter().map(|file| (&file.path, file.mode, Digest::of(&file.bytes).to_string())).collect();
        let key = json!({
            "format": FORMAT,
            "uv": uv.version(),
            "python": python.version,
            "name": trial.name,
            "files": Digest::of(json!(files).to_string().as_bytes()).to_string(),
            "environment": trial.environment,
            "commands": trial.commands,
        })
        .to_string();
        if !trial.is_fresh
            && let Some(bytes) = store.record(TRIALS, &key)?
            && let Ok(left) = serde_json::from_slice(&bytes)
        {
            return Ok(Ok(left));
        }
        let left = match tried(uv, &python, request, trial).await? {
            Ok(left) if trial.names_packages => left.without_packages(),
            Ok(left) => left,
            Err(refusal) => return Ok(Err(refusal)),
        };
        store.put_record(TRIALS, &key, &serde_json::to_vec(&left).unwrap_or_default())?;
        Ok(Ok(left))
    }
}

/// Runs the command upon a copy of the files.
async fn tried(
    uv: &Uv,
    python: &HostPython,
    request: &ResolveRequest,
    trial: &Trial,
) -> Result<Result<LeftBehind, UvRefusal>, ResolveError> {
    let folder = scratch(request)?;
    // Builds look for what is ignored up to a repository's folder, and shall find nobody's.
    make(&folder.path().join(".git"))?;
    let project = folder.path().join(&trial.name);
    let environment = match &trial.environment {
        Some(below) => project.join(below),
        None => folder.path().join(".environment"),
    };
    make(&project)?;
    for file in &trial.files {
        write(&project, &file.path, file.mode, &file.bytes)?;
    }
    let mut before = BTreeMap::new();
    walk(&project, "", &mut before)?;
    let at = environment.display().to_string();
    let variables = BTreeMap::from([
        ("UV_PROJECT_ENVIRONMENT".to_owned(), at.clone()),
        ("UV_LINK_MODE".to_owned(), "copy".to_owned()),
        ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned()),
    ]);
    for command in &trial.commands {
        let own = python.path.display().to_string();
        let mut arguments: Vec<String> =
            command.iter().map(|word| word.replace(ENVIRONMENT, &at).replace(PYTHON, &own)).collect();
        if !command.iter().any(|word| word == "--python") {
            arguments.extend(["--python".to_owned(), own]);
        }
        if let Err(refusal) = run(uv, request, &project, (arguments, &variables)).await? {
            return Ok(Err(refusal));
        }
    }
    let (mut of_project, mut of_environment) = (BTreeMap::new(), BTreeMap::new());
    walk(&project, "", &mut of_project)?;
    walk(&environment, "", &mut of_environment)?;
    if let Some(below) = &trial.environment {
        let inside = format!("{below}/");
        of_project.retain(|path, _| path != below && !path.starts_with(&inside));
    }
    if let Some(gone) = before.keys().find(|path| !of_project.contains_key(*path)) {
        let explanation = format!("its build removes `{gone}`");
        return Ok(Err(UvRefusal { explanation, is_outdated: false }));
    }
    of_project.retain(|path, kind| before.get(path) != Some(kind));
    let mut left = LeftBehind {
        project: project.display().to_string(),
        environment: at,
        python: python.short_version(),
        entries: BTreeMap::new(),
    };
    for (below, entries) in [(Below::Project, of_project), (Below::Environment, of_environment)] {
        left.entries.extend(entries.into_iter().map(|(path, kind)| (LeftBehind::key(below, &path), (below, kind))));
    }
    Ok(Ok(left))
}

/// Runs uv; its messages have no credentials.
async fn run(
    uv: &Uv,
    request: &ResolveRequest,
    folder: &Path,
    (arguments, variables): (Vec<String>, &BTreeMap<String, String>),
) -> Result<Result<Outcome, UvRefusal>, ResolveError> {
    let given = request.environment.clone();
    let mut environment: ChildEnvironment = DROPPED.iter().fold(given, |environment, name| environment.without(name));
    for (name, value) in variables {
        environment = environment.with(name, value);
    }
    let fixed = [("NO_COLOR", "1"), ("UV_NO_PROGRESS", "1"), ("UV_PYTHON_DOWNLOADS", "never"), ("PYTHONHASHSEED", "0")];
    let mut environment =
        fixed.into_iter().fold(environment, |environment, (name, value)| environment.with(name, value));
    if request.offline {
        environment = environment.with("UV_OFFLINE", "1");
    }
    let mut child = Child::new("/bin/sh", environment, folder);
    child.arguments = vec!["-c".into(), UMASK.into(), "sh".into(), uv.program().display().to_string()];
    child.arguments.extend(arguments);
    child.timeout = Duration::from_secs(1800);
    let outcome = child.run().await?;
    if outcome.status.success() {
        return Ok(Ok(outcome));
    }
    let explanation = index_credentials(request).redact(outcome.stderr.trim());
    let is_outdated = explanation.contains(OUTDATED);
    Ok(Err(UvRefusal { explanation, is_outdated }))
}

fn scratch(request: &ResolveRequest) -> Result<TempDir, ResolveError> {
    let failed = |source| ResolveError::Scratch { path: request.scratch.clone(), source };
    let private = std::fs::Permissions::from_mode(0o700);
    tempfile::Builder::new().prefix("uv-").permissions(private).tempdir_in(&request.scratch).map_err(failed)
}

fn make(folder: &Path) -> Result<(), ResolveError> {
    std::fs::create_dir_all(folder).map_err(|source| ResolveError::Scratch { path: folder.to_owned(), source })
}

fn write(folder: &Path, name: &str, mode: u32, bytes: &[u8]) -> Result<(), ResolveError> {
    let path = folder.join(name);
    if let Some(above) = path.parent() {
        make(above)?;
    }
    let permissions = std::fs::Permissions::from_mode(mode | 0o600);
    let written = std::fs::write(&path, bytes).and_then(|()| std::fs::set_permissions(&path, permissions));
    written.map_err(|source| ResolveError::Scratch { path, source })
}

/// What is below `folder`, by path; bytecode is left out.
#[expect(clippy::disallowed_methods, reason = "the names are sorted")]
fn walk(folder: &Path, below: &str, found: &mut BTreeMap<String, LeftKind>) -> Result<(), ResolveError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| ResolveError::Scratch { path, source }
    };
    let names = std::fs::read_dir(folder).map_err(failed(folder))?;
    let names: BTreeSet<_> = names.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
    for name in names.into_iter().filter(|name| name != "__pycache__") {
        let path = folder.join(&name);
        let at = if below.is_empty() { name } else { format!("{below}/{name}") };
        let about = path.symlink_metadata().map_err(failed(&path))?;
        if about.is_dir() {
            found.insert(at.clone(), LeftKind::Folder);
            walk(&path, &at, found)?;
        } else if about.is_symlink() {
            let target = std::fs::read_link(&path).map_err(failed(&path))?;
            found.insert(at, LeftKind::Link(target.display().to_string()));
        } else if about.is_file() {
            if about.len() > CAP {
                return Err(failed(&path)(std::io::ErrorKind::FileTooLarge.into()));
            }
            let mode = match about.permissions().mode() & 0o777 {
                mode if mode & 0o002 != 0 => 0o666,
                mode if mode & 0o100 != 0 => 0o755,
                _ => 0o644,
            };
            found.insert(at, LeftKind::File { mode, bytes: std::fs::read(&path).map_err(failed(&path))? });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::request::tests::request;

    fn script(folder: &Path, text: &str) -> std::path::PathBuf {
        let program = folder.join("uv");
        write(folder, "uv", 0o755, format!("#!/bin/sh\nPATH=/usr/bin:/bin\n{text}").as_bytes()).unwrap();
        program
    }

    /// What `text` leaves of a project with the file `a`.
    async fn left(text: &str) -> Result<LeftBehind, UvRefusal> {
        let folder = tempfile::tempdir().unwrap();
        let version = "[ \"$1\" != --version ] || { echo uv 0.13.8; exit; }\n";
        let program = script(folder.path(), &format!("{version}{text}"));
        let uv = Uv::at(&program, &ChildEnvironment::default()).await.unwrap();
        let python = HostPython {
            path: "/usr/bin/python3".into(),
            version: "3.11.7".into(),
            machine: "x86_64".into(),
            libc: crate::image::filesystem::Libc::Unknown,
            pip: None,
        };
        let trial = Trial {
            name: "app".into(),
            files: vec![ProjectFile { path: "a".into(), mode: 0o600, bytes: b"a".to_vec() }],
            environment: Some(".venv".into()),
            commands: vec![vec!["sync".into(), ENVIRONMENT.into()]],
            is_fresh: false,
            names_packages: false,
        };
        let request = ResolveRequest { scratch: folder.path().to_owned(), ..request("") };
        tried(&uv, &python, &request, &trial).await.unwrap()
    }

    #[tokio::test]
    async fn what_a_command_leaves_is_what_is_new_with_the_modes_of_a_container() {
        let text = "mkdir -p \"$2/bin\" b __pycache__ && ln -s bin \"$2/sbin\" && echo x > \"$2/bin/x\" && chmod 700 \"$2/bin/x\"\n\
                    : > \"$2/.lock\" && chmod 666 \"$2/.lock\" && : > b/c && chmod 600 b/c && : > __pycache__/d\n";
        let left = left(text).await.unwrap();
        let shown = |kind: &LeftKind| match kind {
            LeftKind::Folder => "/".to_owned(),
            LeftKind::Link(target) => format!("-> {target}"),
            LeftKind::File { mode, .. } => format!("{mode:o}"),
        };
        let lines: Vec<String> =
            left.entries.iter().map(|(path, (_, kind))| format!("{path} {}", shown(kind))).collect();
        assert_eq!(
            lines,
            [
                "environment/.lock 666",
                "environment/bin /",
                "environment/bin/x 755",
                "environment/sbin -> bin",
                "project/b /",
                "project/b/c 644"
            ]
        );
        assert!(left.project.ends_with("/app") && left.environment.ends_with("/app/.venv"));
        assert_eq!(left.python, "3.11");
    }

    #[tokio::test]
    async fn a_command_that_fails_or_removes_sources_is_refused() {
        let refused = left("echo 'error: no' >&2; exit 2\n").await.unwrap_err();
        assert_eq!((refused.explanation.as_str(), refused.is_outdated), ("error: no", false));
        let outdated = left(&format!("echo 'error: the lock {OUTDATED}' >&2; exit 2\n")).await.unwrap_err();
        assert!(outdated.is_outdated);
        let gone = left("mkdir \"$2\" && rm a\n").await.unwrap_err();
        assert_eq!(gone.explanation, "its build removes `a`");
    }
}
