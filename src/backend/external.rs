//! Backends of others: `lapstrake-backend-NAME` on `PATH`, which speaks JSON lines (docs/guides/backends.md).
//!
//! What such a program does inside is its own affair; where it breaks the protocol the build fails.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Map, json};

use super::contract::{Absence, Availability, Backend, Building, Looking, Order};
use super::error::BackendError;
use super::survey::Found;
use super::watch::Watch;
use super::workbench::Workbench;
use crate::oci::Digest;
use crate::resolver::child::{Child, ChildEnvironment, Stream};

/// How the programs' names begin.
const PREFIX: &str = "lapstrake-backend-";
/// How long a program has to say whether it can work.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a build may say nothing.
pub(super) const SILENCE: Duration = Duration::from_secs(3600);

/// A program of others.
pub(super) struct External {
    name: String,
    program: PathBuf,
    environment: ChildEnvironment,
}

/// What a program says, an object a line.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Said {
    Started {
        id: String,
        name: String,
    },
    Log {
        id: String,
        text: String,
    },
    Finished {
        id: String,
        error: Option<String>,
    },
    Warning {
        text: String,
    },
    Result {
        digest: String,
    },
    Failed {
        reason: String,
    },
    #[serde(other)]
    Other,
}

impl External {
    /// The program `lapstrake-backend-NAME`, when it is there.
    pub(super) fn named(name: &str, environment: &ChildEnvironment) -> Option<Self> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if name.is_empty() || !name.chars().all(is_word) {
            return None;
        }
        let program = environment.find_on_path(&format!("{PREFIX}{name}"))?;
        Some(Self { name: name.to_owned(), program, environment: environment.clone() })
    }

    /// All such programs, by name.
    pub(super) fn all(environment: &ChildEnvironment) -> Vec<Self> {
        let folders = environment.value("PATH").unwrap_or_default().split(':').filter(|folder| folder.starts_with('/'));
        let names: BTreeSet<String> = folders.flat_map(|folder| names_in(Path::new(folder))).collect();
        names.iter().filter_map(|name| Self::named(name, environment)).collect()
    }

    async fn run(&self, order: &Order<'_>) -> Result<Digest, BackendError> {
        let mut bench = Workbench::lay(order, Map::new())?;
        bench.stage_context(order)?;
        let environment = self.environment.clone().with("DOCKER_CONFIG", bench.docker_config().display().to_string());
        let mut child = Child::new(&self.program, environment, bench.folder());
        child.arguments = vec!["build".into()];
        child.input = request(order, &bench).into_bytes();
        child.timeout = SILENCE;
        let mut talk = Talk { watch: Watch::new(order), digest: None, broken: None };
        let run = |source| BackendError::Run { backend: self.name.clone(), source };
        let status = child.run_telling(&mut |stream, line| talk.take(stream, line)).await.map_err(run)?;
        let backend = self.name.clone();
        match (talk.broken, talk.digest) {
            (Some(what), _) => Err(BackendError::Protocol { backend, what }),
            _ if !status.success() => Err(talk.watch.failure(&backend)),
            (None, None) => Err(BackendError::NoDigest { backend }),
            (None, Some(digest)) => Ok(digest),
        }
    }
}

/// The names of the backends in a folder; none when it cannot be listed.
fn names_in(folder: &Path) -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "programs are found by their names; the caller sorts them")]
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let name = |entry: std::fs::DirEntry| entry.file_name().to_str()?.strip_prefix(PREFIX).map(str::to_owned);
    entries.flatten().filter_map(name).collect()
}

/// The request: one object on one line.
fn request(order: &Order<'_>, bench: &Workbench) -> String {
    let segment = order.segment;
    let secrets: Vec<_> = bench.secrets().iter().map(|(id, file)| json!({"id": id, "file": file})).collect();
    let arguments: Vec<_> = segment.build_args.iter().map(|(name, value)| json!([name, value])).collect();
    let request = json!({
        "schemaVersion": 1,
        "dockerfile": segment.dockerfile,
        "dockerfilePath": bench.dockerfile(),
        "context": bench.context(),
        "buildArgs": arguments,
        "secrets": secrets,
        "platform": segment.platform.to_string(),
        "target": segment.target,
        "noCache": segment.no_cache,
        "engineOptions": segment.engine_options,
        "pushTo": order.push_to.to_string(),
        "dockerConfig": bench.docker_config(),
        "plainHttp": order.logins.plain().collect::<Vec<_>>(),
    });
    format!("{request}\n")
}

struct Talk {
    watch: Watch,
    digest: Option<Digest>,
    broken: Option<String>,
}

impl Talk {
    fn take(&mut self, stream: Stream, line: &str) {
        if stream == Stream::Error {
            return self.watch.said(line);
        }
        match serde_json::from_str::<Said>(line) {
            Ok(Said::Started { id, name }) => self.watch.began(&id, &name),
            Ok(Said::Log { id, text }) => self.watch.log(&id, &format!("{text}\n")),
            Ok(Said::Finished { id, error }) => self.watch.ended(&id, &id, error.as_deref()),
            Ok(Said::Warning { text }) => self.watch.warning(&text),
            Ok(Said::Failed { reason }) => self.watch.gave_up(&reason),
            Ok(Said::Result { digest }) => match Digest::parse(&digest) {
                Ok(digest) => self.digest = Some(digest),
                Err(_) => self.broken = Some("its result is no digest".to_owned()),
            },
            Ok(Said::Other) => {}
            Err(error) => {
                let place = format!("line {line:.80?}, column {}, is no event", error.column());
                self.broken.get_or_insert(place);
            }
        }
    }
}

impl Backend for External {
    fn name(&self) -> &str {
        &self.name
    }

    fn is_installed(&self) -> bool {
        true
    }

    fn available(&self) -> Availability<'_> {
        Box::pin(async {
            let mut child = Child::new(&self.program, self.environment.clone(), "/");
            child.arguments = vec!["available".into()];
            child.timeout = PATIENCE;
            match child.run().await {
                Ok(outcome) if outcome.status.success() => Ok(()),
                Ok(outcome) => {
                    let said = outcome.stderr.lines().last().map(str::to_owned);
                    Err(Absence::Missing(said.unwrap_or_else(|| format!("it ended with {}", outcome.status))))
                }
                Err(error) => Err(Absence::Missing(error.to_string())),
            }
        })
    }

    fn look(&self) -> Looking<'_> {
        let found = || Found { version: None, address: Some(self.program.display().to_string()) };
        Box::pin(async move { self.available().await.map(|()| found()) })
    }

    fn build<'a>(&'a self, order: &'a Order<'a>) -> Building<'a> {
        Box::pin(self.run(order))
    }
}
