//! Runs of uv upon a project on this machine: what they leave in the image, and whether that is known without a run.
//!
//! A result is found by what it was made of alone, so that a machine takes another one's, whatever uv it has itself.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::dockerfile::InstructionKind;
use crate::dockerfile::run::PipInstall;
use crate::layer::EntryPath;
use crate::oci::{Digest, Platform};
use crate::plan::KeyHasher;
use crate::plan::files::NotNative;
use crate::python::copied::{self, Copied, Sources};
use crate::python::uv_environment::{Below, InImage, LeftBehind, LeftKind};
use crate::resolver::request::ResolveRequest;
use crate::resolver::{LockAnswer, LockQuestion, LockUse, ProjectFile, ResolveError, Trial, UvRefusal};
use crate::settings::{DockerSettings, Installer};

use super::super::earlier;
use super::super::error::OpsError;
use super::super::kept_runs::Runs;
use super::super::request::BuildRequest;
use super::super::resolution;
use super::evaluate::Evaluation;
use super::recipe::Recipe;
use super::requirements::arguments;
use super::uv_python::UvPython;

/// Changes when the same runs may come to something else.
const FORMAT: u32 = 1;

/// What runs of uv come to; those of one Dockerfile are kept together, until one of its commands that may need uv changes.
pub(super) fn runs(request: &BuildRequest, recipe: &Recipe, platform: &Platform) -> Runs {
    let mut key = KeyHasher::new("uv-runs/1").with("platform", platform.to_string());
    for instruction in recipe.file.stages.iter().flat_map(|stage| &stage.instructions) {
        if matches!(instruction.kind, InstructionKind::Run(_))
            && ["uv", "pip", "poetry"].iter().any(|name| instruction.text.contains(name))
        {
            key.add("run", &instruction.text);
        }
    }
    Runs::new(earlier::target_repository(request), &key.finish(), request.upgrade || request.no_cache)
}

/// A run of uv.
pub(super) struct UvRun {
    /// The command that makes an environment alone; what it leaves is none of the project's.
    pub(super) plain: Option<Trial>,
    /// The command itself; `None` where the environment alone is asked for.
    pub(super) own: Option<Trial>,
    /// Whether the environment is wanted.
    pub(super) takes_plain: bool,
    /// Where all of it would be.
    pub(super) to: InImage,
    /// Who would have installed the project.
    pub(super) by: Installer,
}

/// What a run leaves in the image, by absolute paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Left {
    /// An environment alone.
    pub(super) plain: BTreeMap<String, LeftKind>,
    /// What there is besides.
    pub(super) own: BTreeMap<String, LeftKind>,
}

/// The same as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct KeptLeft {
    plain: Copied,
    own: Copied,
}

/// A lock's answer as it is kept.
#[derive(Debug, Serialize, Deserialize)]
struct KeptAnswer {
    packages: String,
    /// The lock where it is not the one that was asked about.
    lock: Option<String>,
}

/// What a trial is made of, in which `modules` count by their names.
fn described(trial: &Trial, modules: &BTreeSet<&str>) -> Value {
    let files = trial.files.iter().map(|file| {
        let is_named = modules.contains(file.path.as_str());
        (&file.path, file.mode, (!is_named).then(|| Digest::of(&file.bytes).to_string()))
    });
    json!([trial.name, trial.environment, trial.commands, files.collect::<Vec<_>>()])
}

impl UvRun {
    /// The key of what it leaves, in which `modules` count by their names.
    fn key(&self, modules: &BTreeSet<&str>) -> Digest {
        let trial = |trial: &Trial| described(trial, modules);
        let key = json!({
            "format": FORMAT,
            "plain": self.plain.as_ref().map(trial),
            "own": self.own.as_ref().map(trial),
            "takes": self.takes_plain,
            "project": self.to.project,
            "environment": self.to.environment,
            "executable": self.to.executable,
            "version": self.to.version,
            "by": format!("{:?}", self.by),
        });
        Digest::of(key.to_string().as_bytes())
    }

    fn sources(&self) -> Sources<'_> {
        let files = self.own.iter().flat_map(|trial| &trial.files);
        files.map(|file| (file.path.as_str(), file.bytes.as_slice())).collect()
    }

    /// What `kept` is of these sources; `None` where it is not of this run.
    fn filled(&self, kept: &KeptLeft, sources: &Sources<'_>) -> Option<Left> {
        let is_ours = |path: &String| {
            [&self.to.project, &self.to.environment].into_iter().any(|folder| {
                path == folder || path.strip_prefix(folder.as_str()).is_some_and(|below| below.starts_with('/'))
            }) && EntryPath::parse(path.trim_start_matches('/')).is_ok()
        };
        if !kept.plain.keys().chain(kept.own.keys()).all(is_ours) {
            return None;
        }
        Some(Left { plain: copied::filled(&kept.plain, sources)?, own: copied::filled(&kept.own, sources)? })
    }
}

impl Evaluation<'_> {
    /// Whether nothing that was chosen before is taken.
    pub(super) fn is_fresh(&self) -> bool {
        self.request.upgrade || self.request.no_cache
    }

    /// With what uv is run here for an installation.
    pub(super) fn question(&self, install: &PipInstall, python: &UvPython) -> ResolveRequest {
        let mut request = BuildRequest { dockerfile: None, ..self.request.clone() };
        request.settings.docker = DockerSettings {
            python_package_installer: Installer::Uv,
            python_package_installer_args: arguments(install),
            ..DockerSettings::default()
        };
        let mut question = resolution::question(self.means, &request, &[], &BTreeMap::new(), None);
        question.target.version = python.full_version();
        question
    }

    /// What a run leaves; the same one is run once, and not again where a module was edited of which it takes copies.
    pub(super) async fn left_by(
        &self,
        question: &ResolveRequest,
        run: &UvRun,
    ) -> Result<Result<Left, NotNative>, OpsError> {
        let sources = run.sources();
        let modules = copied::modules(&sources);
        let (by_names, by_contents) = (run.key(&modules), run.key(&Default::default()));
        for key in [&by_names, &by_contents] {
            let kept = self.runs.known::<KeptLeft>(self.means, key).await?;
            if let Some(left) = kept.and_then(|kept| run.filled(&kept, &sources)) {
                return Ok(Ok(left));
            }
        }
        let left = match self.run_now(question, run).await? {
            Ok(left) => left,
            Err(reason) => return Ok(Err(reason)),
        };
        let plain = copied::by_value(&left.plain);
        let referring = copied::by_reference(&left.own, &run.to.environment, &sources, &modules);
        let (key, own) = match referring.filter(|_| !modules.is_empty()) {
            Some(own) => (by_names, own),
            None => (by_contents, copied::by_value(&left.own)),
        };
        self.runs.keep(self.means, &key, &KeptLeft { plain, own }, true)?;
        Ok(Ok(left))
    }

    async fn run_now(&self, question: &ResolveRequest, run: &UvRun) -> Result<Result<Left, NotNative>, OpsError> {
        let mut plain = LeftBehind::default();
        if let Some(trial) = &run.plain {
            plain = match self.tried(question, trial).await? {
                Ok(left) => left,
                Err(reason) => return Ok(Err(reason)),
            };
            plain.entries.retain(|_, (below, _)| *below == Below::Environment);
        }
        let mut own = LeftBehind::default();
        if let Some(trial) = &run.own {
            own = match self.tried(question, trial).await? {
                Ok(left) => left.without(&plain),
                Err(reason) => return Ok(Err(reason)),
            };
        }
        if run.by == Installer::Pip {
            own = own.by_pip();
        }
        if !run.takes_plain {
            plain = LeftBehind::default();
        }
        let moved = plain.moved(&run.to).and_then(|plain| Ok(Left { plain, own: own.moved(&run.to)? }));
        Ok(moved.map_err(|error| NotNative::because(error.to_string())))
    }

    /// What a lock comes to; `public` says in the question's place which variables it depends on.
    ///
    /// # Errors
    /// Fails when there is no uv. What uv refuses is no error here.
    pub(super) async fn lock_answer(
        &self,
        question: &ResolveRequest,
        (asked, public): (&LockQuestion, &[(String, String)]),
    ) -> Result<Result<LockAnswer, UvRefusal>, OpsError> {
        let given = if asked.usage == LockUse::Updated { public } else { &[] };
        let key = json!({
            "format": FORMAT,
            "pyproject": asked.pyproject,
            "lock": asked.lock,
            "members": asked.members,
            "use": format!("{:?}", asked.usage),
            "arguments": asked.arguments,
            "variables": given,
        });
        let key = Digest::of(key.to_string().as_bytes());
        let of_question = asked.lock.clone().unwrap_or_default();
        if let Some(KeptAnswer { packages, lock }) = self.runs.known(self.means, &key).await? {
            return Ok(Ok(LockAnswer { packages, lock: lock.unwrap_or(of_question) }));
        }
        let is_fresh = asked.usage == LockUse::Updated && self.is_fresh();
        let with = (&self.means.store, &self.means.reporter);
        let answer = match self.means.resolver.export_lock(question, asked, is_fresh, with).await? {
            Ok(answer) => answer,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let kept = KeptAnswer {
            packages: answer.packages.clone(),
            lock: (answer.lock != of_question).then(|| answer.lock.clone()),
        };
        // An address may be a signed one, or one of this machine.
        let texts = [&kept.packages, &answer.lock];
        let is_for_others = !texts.iter().any(|text| ["?", "@"].iter().any(|part| has_address_with(text, part)));
        self.runs.keep(self.means, &key, &kept, is_for_others)?;
        Ok(Ok(answer))
    }

    /// What a command leaves that comes to the same on every machine; it is run once.
    pub(super) async fn told_by(
        &self,
        question: &ResolveRequest,
        trial: &Trial,
    ) -> Result<Result<LeftBehind, NotNative>, OpsError> {
        let key = json!(["told", FORMAT, question.target.version, described(trial, &BTreeSet::new())]);
        let key = Digest::of(key.to_string().as_bytes());
        if let Some(left) = self.runs.known(self.means, &key).await? {
            return Ok(Ok(left));
        }
        let left = match self.tried(question, trial).await? {
            Ok(left) => left,
            Err(reason) => return Ok(Err(reason)),
        };
        self.runs.keep(self.means, &key, &left, true)?;
        Ok(Ok(left))
    }

    /// What a command of uv leaves.
    async fn tried(&self, question: &ResolveRequest, trial: &Trial) -> Result<Result<LeftBehind, NotNative>, OpsError> {
        let with = (&self.means.store, &self.means.reporter);
        match self.means.resolver.try_out(question, trial, with).await {
            Ok(Ok(left)) => Ok(Ok(left)),
            Ok(Err(refusal)) => Ok(Err(refused(&refusal))),
            Err(ResolveError::NoPython) => Ok(Err(NotNative::because("there is no Python here to run uv with"))),
            Err(error) => Err(error.into()),
        }
    }
}

/// Whether an address in the text of a lock has `part`.
fn has_address_with(packages: &str, part: &str) -> bool {
    packages.split('"').any(|word| word.contains("://") && word.contains(part) || word.starts_with("file:"))
}

/// A run that makes an environment of a project called `name`, before anything is installed.
pub(super) fn plain_environment(name: &str, folder: &str, below: Option<String>) -> Trial {
    let text = format!("[project]\nname = \"{name}\"\nversion = \"0\"\nrequires-python = \">=3.8\"\n");
    let file = ProjectFile { path: "pyproject.toml".into(), mode: 0o644, bytes: text.into_bytes() };
    Trial {
        name: name_of(folder).to_owned(),
        files: vec![file],
        environment: below,
        commands: vec![vec!["sync".into()]],
        is_fresh: false,
        names_packages: false,
    }
}

/// uv's refusal as a clause.
pub(super) fn refused(refusal: &UvRefusal) -> NotNative {
    let line = refusal.explanation.lines().map(str::trim).find(|line| line.starts_with("error")).unwrap_or_default();
    let said = if line.is_empty() { refusal.explanation.lines().next().unwrap_or_default() } else { line };
    NotNative::because(format!("uv says here: {said}"))
}

/// The last part of a folder's path.
pub(super) fn name_of(folder: &str) -> &str {
    let name = folder.rsplit('/').next().unwrap_or_default();
    if name.is_empty() { "root" } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(module: &str) -> UvRun {
        let file = |path: &str, text: &str| ProjectFile { path: path.into(), mode: 0o644, bytes: text.into() };
        let project = "[project]\nname = \"ferry\"\nversion = \"1\"\n";
        let own = Trial {
            files: vec![file("pyproject.toml", project), file("ferry.py", module)],
            ..plain_environment("ferry", "/app", None)
        };
        let to = InImage {
            project: "/app".into(),
            environment: "/opt/venv".into(),
            executable: "/usr/bin/python3".into(),
            version: (3, 11, 2),
        };
        UvRun { plain: None, own: Some(own), takes_plain: false, to, by: Installer::Uv }
    }

    #[test]
    fn a_module_that_is_only_copied_counts_by_its_name() {
        let key = |run: &UvRun| run.key(&copied::modules(&run.sources()));
        assert_eq!(key(&run("a")), key(&run("b")));
        assert_ne!(run("a").key(&Default::default()), run("b").key(&Default::default()));
        let elsewhere = UvRun { to: InImage { project: "/srv".into(), ..run("a").to }, ..run("a") };
        assert_ne!(key(&elsewhere), key(&run("a")));
    }

    #[test]
    fn what_lies_elsewhere_is_of_no_run() {
        let kept = |path: &str| {
            let text = LeftKind::File { mode: 0o644, bytes: Vec::new() };
            KeptLeft { plain: Copied::new(), own: copied::by_value(&[(path.to_owned(), text)].into()) }
        };
        let run = run("a");
        let takes = |path: &str| run.filled(&kept(path), &run.sources()).is_some();
        assert!(takes("/opt/venv/bin/ferry") && takes("/app/uv.lock"));
        assert!(!takes("/etc/passwd") && !takes("/opt/venv/../x") && !takes("/application"));
    }

    #[test]
    fn an_address_that_is_signed_or_of_this_machine_is_told() {
        assert!(!has_address_with("marker = \"a == 'x?'\"\nurl = \"https://h.example/x.whl\"", "?"));
        assert!(has_address_with("url = \"https://h.example/x.whl?s=1\"", "?"));
        assert!(has_address_with("url = \"file:x.whl\"", "?"));
    }
}
