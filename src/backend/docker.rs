//! Docker: `docker buildx`, and `docker build` with the builder from before BuildKit.
//!
//! The second knows neither secrets nor mounts nor here-documents, and says so before it builds.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::buildkit::digest;
use super::contract::{Absence, Availability, Backend, Building, Looking, Order};
use super::engine::EngineOptions;
use super::error::BackendError;
use super::external::SILENCE;
use super::rawjson;
use super::steps::Steps;
use super::survey::{Found, said, version_in};
use super::watch::Watch;
use super::workbench::Workbench;
use crate::dockerfile::{Dockerfile, InstructionKind};
use crate::oci::Digest;
use crate::resolver::child::{Child, ChildEnvironment, Stream};

/// How long the daemon has to answer.
const PATIENCE: Duration = Duration::from_secs(20);
/// What `docker` keeps beside its logins and needs to find its daemon and plugins.
const KEPT: [&str; 3] = ["contexts", "cli-plugins", "buildx"];

/// Which builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builder {
    /// `docker buildx build`.
    Buildx,
    /// `docker build` without BuildKit.
    Classic,
}

/// Docker with one of its builders.
pub(super) struct Docker {
    builder: Builder,
    environment: ChildEnvironment,
}

impl Docker {
    /// Docker as `environment` has it.
    pub(super) fn new(builder: Builder, environment: &ChildEnvironment) -> Self {
        Self { builder, environment: environment.clone() }
    }

    fn program(&self) -> Result<PathBuf, Absence> {
        self.environment.find_on_path("docker").ok_or_else(|| Absence::Missing("`docker` is not on PATH".to_owned()))
    }

    async fn find(&self) -> Result<PathBuf, Absence> {
        let program = self.program()?;
        if self.builder == Builder::Buildx {
            self.ask(&program, &["buildx", "version"]).await?;
        }
        self.ask(&program, &["version", "--format", "{{.Server.Version}}"]).await?;
        Ok(program)
    }

    async fn looked(&self) -> Result<Found, Absence> {
        let program = self.find().await?;
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let version = match self.builder {
            Builder::Buildx => words(&["buildx", "version"]),
            Builder::Classic => words(&["version", "--format", "{{.Server.Version}}"]),
        };
        let version = said(&self.environment, &program, &version).await.and_then(|said| version_in(&said));
        let address = match self.environment.value("DOCKER_HOST").filter(|host| !host.is_empty()) {
            Some(host) => Some(host.to_owned()),
            None => {
                let context = words(&["context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]);
                said(&self.environment, &program, &context).await
            }
        };
        Ok(Found { version, address })
    }

    async fn ask(&self, program: &Path, arguments: &[&str]) -> Result<(), Absence> {
        let mut child = Child::new(program, self.environment.clone(), "/");
        child.arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
        child.timeout = PATIENCE;
        let outcome = child.run().await.map_err(|error| Absence::Missing(error.to_string()))?;
        if outcome.status.success() {
            return Ok(());
        }
        let first = outcome.stderr.lines().find(|line| !line.trim().is_empty()).map(str::to_owned);
        Err(Absence::Missing(first.unwrap_or_else(|| format!("`docker {}` fails", arguments.join(" ")))))
    }

    /// The folder of the user's configuration.
    fn config_folder(&self) -> Option<PathBuf> {
        let named = self.environment.value("DOCKER_CONFIG").filter(|folder| !folder.is_empty()).map(PathBuf::from);
        named.or_else(|| Some(Path::new(self.environment.value("HOME")?).join(".docker")))
    }

    /// Lays out the order with what of the user's configuration says where daemon and plugins are.
    fn lay(&self, order: &Order<'_>) -> Result<Workbench, BackendError> {
        let mut more = Map::new();
        let folder = self.config_folder();
        if let Some(folder) = &folder
            && let Ok(text) = std::fs::read(folder.join("config.json"))
            && let Ok(Value::Object(mut config)) = serde_json::from_slice(&text)
        {
            let kept = ["currentContext", "cliPluginsExtraDirs", "proxies"];
            more.extend(kept.into_iter().filter_map(|key| Some((key.to_owned(), config.remove(key)?))));
        }
        let bench = Workbench::lay(order, more)?;
        for name in KEPT {
            let Some(kept) = folder.as_ref().map(|folder| folder.join(name)).filter(|kept| kept.is_dir()) else {
                continue;
            };
            let link = bench.docker_config().join(name);
            let made = std::os::unix::fs::symlink(kept, &link);
            made.map_err(|source| BackendError::Scratch { path: link, source })?;
        }
        Ok(bench)
    }

    fn child(&self, bench: &Workbench, arguments: Vec<String>) -> Result<Child, BackendError> {
        let unusable =
            |absence: Absence| BackendError::Unusable { name: self.name().into(), reason: absence.reason().to_owned() };
        let mut environment = self.environment.clone();
        environment = environment.with("DOCKER_CONFIG", bench.docker_config().display().to_string());
        if self.builder == Builder::Classic {
            environment = environment.with("DOCKER_BUILDKIT", "0");
        }
        let mut child =
            Child::new(self.program().map_err(unusable)?, environment, bench.folder()).on_leash(bench.folder());
        child.arguments = arguments;
        child.timeout = SILENCE;
        Ok(child)
    }

    async fn run(&self, order: &Order<'_>) -> Result<Digest, BackendError> {
        match self.builder {
            Builder::Buildx => self.buildx(order).await,
            Builder::Classic => self.classic(order).await,
        }
    }

    async fn buildx(&self, order: &Order<'_>) -> Result<Digest, BackendError> {
        let bench = self.lay(order)?;
        let plain = order.logins.is_plain(order.push_to.repository().registry());
        let insecure = if plain { ",registry.insecure=true" } else { "" };
        let mut arguments: Vec<String> =
            ["buildx", "build", "--progress", "rawjson", "--provenance=false"].into_iter().map(str::to_owned).collect();
        arguments.extend(["--metadata-file".to_owned(), bench.path("metadata.json").display().to_string()]);
        let output = format!("type=image,name={},push=true,oci-mediatypes=true{insecure}", order.push_to);
        arguments.extend(["--output".to_owned(), output]);
        arguments.extend(bench.secret_arguments());
        arguments.extend(self.shared_arguments(order, &bench));
        let mut watch = Watch::new(order);
        let run = |source| BackendError::Run { backend: self.name().into(), source };
        let child = self.child(&bench, arguments)?;
        let status = child.run_telling(&mut |_, line| rawjson::take(&mut watch, line)).await.map_err(run)?;
        if !status.success() {
            return Err(watch.failure(self.name()));
        }
        let no_digest = || BackendError::NoDigest { backend: self.name().into() };
        digest(&bench.read("metadata.json").unwrap_or_default()).ok_or_else(no_digest)
    }

    async fn classic(&self, order: &Order<'_>) -> Result<Digest, BackendError> {
        let unable = |what: &str| BackendError::Unable { backend: "`docker build`".into(), what: what.to_owned() };
        let file = Dockerfile::parse(&order.segment.dockerfile)?;
        let (mounts, documents) = needs(&file);
        if !order.segment.secrets.is_empty() || mounts {
            return Err(unable("the builder from before BuildKit knows neither secrets nor `RUN --mount`"));
        }
        if documents {
            return Err(unable("the builder from before BuildKit knows no here-documents"));
        }
        let mut bench = self.lay(order)?;
        // It reads `.dockerignore` in the context and no other.
        bench.stage_context(order)?;
        let mut arguments = vec!["build".to_owned(), "--iidfile".to_owned(), bench.path("id").display().to_string()];
        arguments.extend(self.shared_arguments(order, &bench));
        let mut steps = Steps::new(Watch::new(order));
        let run = |source| BackendError::Run { backend: self.name().into(), source };
        let status = self
            .child(&bench, arguments)?
            .run_telling(&mut |stream, line| steps.take(stream, line))
            .await
            .map_err(run)?;
        if !status.success() {
            return Err(steps.failure(self.name()));
        }
        steps.end(None);
        self.push(order, &bench).await
    }

    /// Tags, pushes, and takes the tag away; the image's digest stands in what the push prints.
    async fn push(&self, order: &Order<'_>, bench: &Workbench) -> Result<Digest, BackendError> {
        let run = |source| BackendError::Run { backend: self.name().into(), source };
        let (id, name) = (bench.read("id").unwrap_or_default(), order.push_to.to_string());
        let mut watch = Watch::new(order);
        watch.began("push", &format!("pushing {name}"));
        let words =
            |words: [&str; 3]| words.iter().filter(|word| !word.is_empty()).map(|word| (*word).to_owned()).collect();
        let tagged = self.child(bench, words(["tag", id.trim(), &name]))?;
        if !tagged.run_telling(&mut |_, line| watch.said(line)).await.map_err(run)?.success() {
            return Err(watch.failure(self.name()));
        }
        let mut pushed = None;
        let pushing = self.child(bench, words(["push", &name, ""]))?;
        let mut tell = |_: Stream, line: &str| {
            pushed = pushed_digest(line).or(pushed.take());
            watch.said(line);
        };
        let status = pushing.run_telling(&mut tell).await.map_err(run)?;
        let _ = self.child(bench, words(["rmi", &name, ""]))?.run().await;
        if !status.success() {
            return Err(watch.failure(self.name()));
        }
        pushed.ok_or_else(|| BackendError::NoDigest { backend: self.name().into() })
    }

    fn shared_arguments(&self, order: &Order<'_>, bench: &Workbench) -> Vec<String> {
        let segment = order.segment;
        let options = EngineOptions::read(&segment.engine_options);
        for name in &options.unknown {
            let text = format!("build option `{name}` means nothing to {} and is left out", self.name());
            Watch::new(order).warning(&text);
        }
        let mut arguments = vec!["--platform".to_owned(), segment.platform.to_string()];
        for (name, value) in &segment.build_args {
            arguments.extend(["--build-arg".to_owned(), format!("{name}={value}")]);
        }
        arguments.extend(segment.target.iter().flat_map(|target| ["--target".to_owned(), target.clone()]));
        arguments.extend(segment.no_cache.then(|| "--no-cache".to_owned()));
        arguments.extend(options.flags());
        arguments.extend(["--file".to_owned(), bench.dockerfile().display().to_string()]);
        arguments.push(bench.context().display().to_string());
        arguments
    }
}

/// Whether a file has mounts, and whether it has here-documents.
fn needs(file: &Dockerfile) -> (bool, bool) {
    let instructions = || file.stages.iter().flat_map(|stage| &stage.instructions).map(|instruction| &instruction.kind);
    let has_mounts = |kind: &InstructionKind| matches!(kind, InstructionKind::Run(run) if !run.mounts.is_empty());
    let has_documents = |kind: &InstructionKind| match kind {
        InstructionKind::Run(run) => !run.documents.is_empty(),
        InstructionKind::Copy(copy) | InstructionKind::Add(copy) => !copy.documents.is_empty(),
        _ => false,
    };
    (instructions().any(has_mounts), instructions().any(has_documents))
}

/// The digest in `latest: digest: sha256:... size: 528`.
fn pushed_digest(line: &str) -> Option<Digest> {
    let (_, rest) = line.split_once("digest: ")?;
    Digest::parse(rest.split(' ').next()?).ok()
}

impl Backend for Docker {
    fn name(&self) -> &str {
        match self.builder {
            Builder::Buildx => "docker-buildx",
            Builder::Classic => "docker",
        }
    }

    fn is_installed(&self) -> bool {
        self.program().is_ok()
    }

    fn available(&self) -> Availability<'_> {
        Box::pin(async { self.find().await.map(drop) })
    }

    fn look(&self) -> Looking<'_> {
        Box::pin(self.looked())
    }

    fn build<'a>(&'a self, order: &'a Order<'a>) -> Building<'a> {
        Box::pin(self.run(order))
    }
}
