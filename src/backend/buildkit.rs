//! BuildKit through `buildctl`: with a daemon that is there, or with a private one for this build.
//!
//! Does not speak the daemon's gRPC itself (docs/adr/0018): `buildctl` carries the session, with logins, secrets and
//! context.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::contract::{Absence, Availability, Backend, Building, Looking, Order};
use super::daemon::{self, PrivateDaemon};
use super::engine::EngineOptions;
use super::error::BackendError;
use super::external::SILENCE;
use super::rawjson;
use super::survey::{Found, said, version_in};
use super::watch::Watch;
use super::workbench::Workbench;
use crate::oci::Digest;
use crate::plan::KeyHasher;
use crate::resolver::child::{Child, ChildEnvironment, Outcome};

const NAME: &str = "buildkit";
/// How long a daemon has to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The variable that names the folder of certificates towards a daemon behind TLS.
const TLS_DIR: &str = "LAPSTRAKE_BUILDKIT_TLS_DIR";
/// The variable with the name in the daemon's certificate.
const TLS_SERVER_NAME: &str = "LAPSTRAKE_BUILDKIT_TLS_SERVER_NAME";

/// BuildKit.
pub(super) struct BuildKit {
    environment: ChildEnvironment,
}

/// The daemon that builds.
enum Daemon {
    /// One that is there, by its address.
    At(String),
    /// One that is started for the build.
    Private,
}

impl BuildKit {
    /// BuildKit as `environment` has it.
    pub(super) fn new(environment: &ChildEnvironment) -> Self {
        Self { environment: environment.clone() }
    }

    async fn find(&self) -> Result<(PathBuf, Daemon), Absence> {
        let absent = || Absence::Missing("`buildctl` is not on PATH".to_owned());
        let buildctl = self.environment.find_on_path("buildctl").ok_or_else(absent)?;
        if let Some(host) = self.environment.value("BUILDKIT_HOST").filter(|host| !host.is_empty()) {
            return match self.answers(&buildctl, host).await {
                Ok(()) => Ok((buildctl, Daemon::At(host.to_owned()))),
                Err(why) => {
                    let keys = self.about_keys(host);
                    Err(Absence::Broken(format!("`BUILDKIT_HOST` is `{host}`, and nothing answers: {why}{keys}")))
                }
            };
        }
        for socket in self.usual_sockets() {
            let address = format!("unix://{}", socket.display());
            if socket.exists() && self.answers(&buildctl, &address).await.is_ok() {
                return Ok((buildctl, Daemon::At(address)));
            }
        }
        match daemon::missing(&self.environment) {
            None => Ok((buildctl, Daemon::Private)),
            Some(what) => Err(Absence::Missing(format!("no daemon answers, and none can be started: {what}"))),
        }
    }

    /// Where daemons listen unless told otherwise: of the system, of the user.
    fn usual_sockets(&self) -> Vec<PathBuf> {
        let of_user = self.environment.value("XDG_RUNTIME_DIR").map(Path::new);
        let folders = [Some(Path::new("/run")), of_user.filter(|folder| folder.is_absolute())];
        folders.into_iter().flatten().map(|folder| folder.join("buildkit/buildkitd.sock")).collect()
    }

    async fn answers(&self, buildctl: &Path, address: &str) -> Result<(), String> {
        let mut child = Child::new(buildctl, self.environment.clone(), "/");
        child.arguments = self.control(address);
        child.arguments.extend(["debug", "workers"].map(str::to_owned));
        child.timeout = PATIENCE;
        match child.run().await {
            Ok(outcome) if outcome.status.success() => Ok(()),
            Ok(Outcome { stderr, status, .. }) => {
                let last = stderr.lines().rev().find(|line| !line.trim().is_empty()).map(str::to_owned);
                Err(last.unwrap_or_else(|| format!("buildctl ended with {status}")))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    /// What to see to where TLS may stand in the way: a daemon tells callers without the right certificate little.
    fn about_keys(&self, host: &str) -> String {
        let set = |name: &str| self.environment.value(name).filter(|value| !value.is_empty());
        if !host.starts_with("tcp://") {
            return String::new();
        }
        match (set(TLS_DIR), set(TLS_SERVER_NAME)) {
            (None, _) => format!(
                "; behind TLS a daemon wants certificates, `ca.pem`, `cert.pem` and `key.pem` of the folder `{TLS_DIR}`"
            ),
            (Some(folder), None) => format!(
                "; certificates are those of `{TLS_DIR}`, `{folder}`, and `{TLS_SERVER_NAME}` may name the daemon"
            ),
            (Some(folder), Some(name)) => format!(
                "; certificates are those of `{TLS_DIR}`, `{folder}`, and the daemon's name `{name}` is that of `{TLS_SERVER_NAME}`"
            ),
        }
    }

    /// `buildctl`'s own flags: the address, and the certificates towards a daemon behind TLS.
    fn control(&self, address: &str) -> Vec<String> {
        let mut arguments = vec!["--addr".to_owned(), address.to_owned()];
        for (variable, flag) in [(TLS_DIR, "--tlsdir"), (TLS_SERVER_NAME, "--tlsservername")] {
            if let Some(value) = self.environment.value(variable).filter(|value| !value.is_empty()) {
                arguments.extend([flag.to_owned(), value.to_owned()]);
            }
        }
        arguments
    }

    async fn looked(&self) -> Result<Found, Absence> {
        let (buildctl, daemon) = self.find().await?;
        let (program, arguments, address) = match daemon {
            Daemon::At(address) => {
                let info = [self.control(&address), ["debug", "info"].map(str::to_owned).into()].concat();
                (buildctl, info, address)
            }
            Daemon::Private => {
                let buildkitd = self.environment.find_on_path("buildkitd").unwrap_or(buildctl);
                (buildkitd, vec!["--version".to_owned()], "a private daemon for each build".to_owned())
            }
        };
        let version = said(&self.environment, &program, &arguments).await.and_then(|said| version_in(&said));
        Ok(Found { version, address: Some(address) })
    }

    async fn run(&self, order: &Order<'_>) -> Result<Digest, BackendError> {
        let unusable =
            |absence: Absence| BackendError::Unusable { name: NAME.into(), reason: absence.reason().to_owned() };
        let (buildctl, daemon) = self.find().await.map_err(unusable)?;
        match daemon {
            Daemon::At(address) => self.build_at(&buildctl, &address, order).await,
            Daemon::Private => {
                let buildctl = &buildctl;
                let ask = |address: String| async move { self.answers(buildctl, &address).await };
                let private = PrivateDaemon::start(&self.environment, order, ask).await?;
                let built = self.build_at(buildctl, &private.address(), order).await;
                private.end().await;
                built
            }
        }
    }

    async fn build_at(&self, buildctl: &Path, address: &str, order: &Order<'_>) -> Result<Digest, BackendError> {
        let bench = Workbench::lay(order, Map::new())?;
        let environment = self.environment.clone().with("DOCKER_CONFIG", bench.docker_config().display().to_string());
        let mut child = Child::new(buildctl, environment, bench.folder()).on_leash(bench.folder());
        let mut watch = Watch::new(order);
        let options = EngineOptions::read(&order.segment.engine_options);
        for name in &options.unknown {
            watch.warning(&format!("build option `{name}` means nothing to BuildKit and is left out"));
        }
        child.arguments = self.control(address);
        child.arguments.extend(arguments(order, &bench, &options)?);
        child.timeout = SILENCE;
        let run = |source| BackendError::Run { backend: NAME.into(), source };
        let status = child.run_telling(&mut |_, line| rawjson::take(&mut watch, line)).await.map_err(run)?;
        if !status.success() {
            return Err(watch.failure(NAME));
        }
        digest(&bench.read("metadata.json").unwrap_or_default())
            .ok_or_else(|| BackendError::NoDigest { backend: NAME.into() })
    }
}

/// The arguments of `buildctl build`. Of secrets they have the files' paths.
fn arguments(order: &Order<'_>, bench: &Workbench, options: &EngineOptions) -> Result<Vec<String>, BackendError> {
    let segment = order.segment;
    let mut arguments: Vec<String> =
        ["build", "--progress", "rawjson", "--frontend", "dockerfile.v0"].map(str::to_owned).into();
    let mut flag = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    flag("--local", format!("context={}", bench.context().display()));
    flag("--local", format!("dockerfile={}", bench.path("file").display()));
    flag("--metadata-file", bench.path("metadata.json").display().to_string());
    flag("--output", output(order));
    flag("--opt", format!("platform={}", segment.platform));
    for (name, value) in &segment.build_args {
        flag("--opt", format!("build-arg:{name}={value}"));
    }
    if let Some(target) = &segment.target {
        flag("--opt", format!("target={target}"));
    }
    if let Some(network) = &options.network {
        flag("--opt", format!("force-network-mode={network}"));
        if network == "host" {
            flag("--allow", "network.host".to_owned());
        }
    }
    if let Some(size) = &options.shm_size {
        flag("--opt", format!("shm-size={size}"));
    }
    if !options.hosts.is_empty() {
        let hosts: Vec<String> = options.hosts.iter().map(|(host, at)| format!("{host}={at}")).collect();
        flag("--opt", format!("add-hosts={}", hosts.join(",")));
    }
    let cache = cache(order)?;
    let more = "image-manifest=true,oci-mediatypes=true,ignore-error=true";
    flag("--export-cache", format!("type=registry,mode=min,{cache},{more}"));
    if segment.no_cache {
        arguments.push("--no-cache".to_owned());
    } else {
        flag("--import-cache", format!("type=registry,{cache}"));
    }
    arguments.extend(bench.secret_arguments());
    Ok(arguments)
}

/// By digest alone: the tag is set when the image was looked at. OCI media types, which every registry takes.
fn output(order: &Order<'_>) -> String {
    let repository = order.push_to.repository();
    let insecure = if order.logins.is_plain(repository.registry()) { ",registry.insecure=true" } else { "" };
    format!("type=image,name={repository},push=true,push-by-digest=true,oci-mediatypes=true{insecure}")
}

/// BuildKit's own cache, in the target repository, for what begins with the same images: of a Dockerfile whose end
/// changed, the beginning is not run again.
fn cache(order: &Order<'_>) -> Result<String, BackendError> {
    let mut key = KeyHasher::new("buildkit-cache/1").with("platform", order.segment.platform.to_string());
    for image in order.segment.images()? {
        key.add("image", image.digest().map_or_else(|| image.to_string(), ToString::to_string));
    }
    let repository = order.push_to.repository();
    let insecure = if order.logins.is_plain(repository.registry()) { ",registry.insecure=true" } else { "" };
    Ok(format!("ref={repository}:lapstrake-buildkit-{}{insecure}", &key.finish().hex()[..40]))
}

/// The image's digest in the metadata that `buildctl` and `docker buildx` write.
pub(super) fn digest(metadata: &str) -> Option<Digest> {
    let metadata: Value = serde_json::from_str(metadata).ok()?;
    Digest::parse(metadata.get("containerimage.digest")?.as_str()?).ok()
}

impl Backend for BuildKit {
    fn name(&self) -> &str {
        NAME
    }

    fn is_installed(&self) -> bool {
        self.environment.find_on_path("buildctl").is_some()
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
