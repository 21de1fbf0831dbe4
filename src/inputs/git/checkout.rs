//! A folder inside a git checkout, and the one way in which git is asked about it.
//!
//! Git's variables of the caller's environment are kept from it: they may speak of another repository.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::GitError;
use crate::resolver::child::{Child, ChildEnvironment, Outcome};

/// How long git may take; a status of a large tree on a cold disk takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes that git may answer; a million paths fit.
const CAP: usize = 256 << 20;
/// No program of the repository's is run, and names come as they are.
const FIXED: [&str; 8] = [
    "--no-optional-locks",
    "--literal-pathspecs",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.quotePath=false",
];
/// Variables of git's that say where its configuration is, not what repository it is in.
const KEPT: [&str; 4] = ["GIT_CONFIG_COUNT", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM"];
const KEPT_BEGINNINGS: [&str; 2] = ["GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"];

/// A folder inside a checkout.
#[derive(Clone, Debug)]
pub struct Checkout {
    program: PathBuf,
    environment: ChildEnvironment,
    folder: PathBuf,
    top: PathBuf,
    is_trusted: bool,
}

/// Finds the checkout that holds `folder`: the nearest parent with a `.git`; `None` when there is none.
///
/// `variables` are the environment: git is looked for on its `PATH`, and gets all of it but git's own variables.
///
/// # Errors
/// Fails when the folder is not there, or there is a checkout and no git.
pub fn find(folder: &Path, variables: &BTreeMap<String, String>) -> Result<Option<Checkout>, GitError> {
    let unusable = |source| GitError::Folder { path: folder.into(), source };
    let folder = std::fs::canonicalize(folder).map_err(unusable)?;
    let has_git = |at: &&Path| at.join(".git").symlink_metadata().is_ok();
    let Some(top) = folder.ancestors().find(has_git).map(Path::to_path_buf) else { return Ok(None) };
    let environment = cleaned(variables);
    let program = environment.find_on_path("git").ok_or(GitError::NoProgram)?;
    let owner = |at: &Path| at.metadata().map(|metadata| metadata.uid()).map_err(unusable);
    // In CI the checkout is often another user's, as is the project in it. A `.git` that a stranger put above the
    // project has another owner, and git then decides.
    let is_trusted = owner(&folder)? == owner(&top)?;
    Ok(Some(Checkout { program, environment, folder, top, is_trusted }))
}

fn cleaned(variables: &BTreeMap<String, String>) -> ChildEnvironment {
    let is_kept = |name: &str| {
        let is_config = KEPT.contains(&name) || KEPT_BEGINNINGS.iter().any(|begin| name.starts_with(begin));
        !name.starts_with("GIT_") || is_config
    };
    let kept = variables.iter().filter(|(name, _)| is_kept(name));
    ChildEnvironment::new(kept.map(|(name, value)| (name.clone(), value.clone())))
        .with("LC_ALL", "C")
        .with("GIT_TERMINAL_PROMPT", "0")
        .with("GIT_NO_LAZY_FETCH", "1")
}

impl Checkout {
    /// The top of the checkout.
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Where the folder lies below the top; empty for the top itself.
    pub fn subdirectory(&self) -> &Path {
        self.folder.strip_prefix(&self.top).unwrap_or(Path::new(""))
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// What git answers in the folder.
    pub(super) async fn ask(&self, arguments: &[&str]) -> Result<Vec<u8>, GitError> {
        let outcome = self.run(arguments).await?;
        if outcome.status.success() {
            return Ok(outcome.stdout);
        }
        let asked = arguments.first().copied().unwrap_or_default().to_owned();
        let said = outcome.stderr.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it said nothing");
        Err(GitError::Refused { asked, said: said.to_owned() })
    }

    /// What git answers, where it says no with exit code 1.
    pub(super) async fn ask_perhaps(&self, arguments: &[&str]) -> Result<Option<Vec<u8>>, GitError> {
        let outcome = self.run(arguments).await?;
        match outcome.status.code() {
            Some(1) => Ok(None),
            Some(0) => Ok(Some(outcome.stdout)),
            _ => self.ask(arguments).await.map(Some),
        }
    }

    async fn run(&self, arguments: &[&str]) -> Result<Outcome, GitError> {
        let mut child = Child::new(&self.program, self.environment.clone(), &self.folder);
        child.arguments = FIXED.map(str::to_owned).to_vec();
        if self.is_trusted {
            child.arguments.extend(["-c", "safe.directory=*"].map(str::to_owned));
        }
        child.arguments.extend(arguments.iter().map(|word| (*word).to_owned()));
        child.timeout = PATIENCE;
        child.cap = CAP;
        Ok(child.run().await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(list: &[(&str, &str)]) -> BTreeMap<String, String> {
        list.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn variables_that_name_another_repository_are_kept_from_git() {
        let cleaned = cleaned(&variables(&[
            ("GIT_DIR", "/elsewhere"),
            ("GIT_WORK_TREE", "/elsewhere"),
            ("GIT_CONFIG_PARAMETERS", "'x'"),
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "safe.directory"),
            ("HOME", "/h"),
        ]));
        let left =
            ["GIT_DIR", "GIT_WORK_TREE", "GIT_CONFIG_PARAMETERS", "GIT_CONFIG_COUNT", "GIT_CONFIG_KEY_0", "HOME"]
                .map(|name| cleaned.value(name).is_some());
        assert_eq!(left, [false, false, false, true, true, true]);
    }

    #[test]
    fn a_checkout_without_git_is_told_from_a_folder_without_a_checkout() {
        let root = tempfile::tempdir().unwrap();
        let below = root.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let path = variables(&[("PATH", "/nowhere")]);
        assert!(find(&below, &path).unwrap().is_none());
        std::fs::write(root.path().join(".git"), "gitdir: /elsewhere").unwrap();
        assert!(matches!(find(&below, &path), Err(GitError::NoProgram)));
        assert!(matches!(find(&below.join("absent"), &path), Err(GitError::Folder { .. })));
    }
}
