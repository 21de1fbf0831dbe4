//! buildah and podman, which take the same flags.
//!
//! How they isolate and store is left to their own configuration (`BUILDAH_ISOLATION`, `STORAGE_DRIVER`...).

use std::path::PathBuf;

use serde_json::Map;

use super::contract::{Absence, Availability, Backend, Building, Looking, Order};
use super::engine::EngineOptions;
use super::error::BackendError;
use super::external::SILENCE;
use super::steps::Steps;
use super::survey::{Found, said, version_in};
use super::watch::Watch;
use super::workbench::{Workbench, write};
use crate::oci::Digest;
use crate::resolver::child::{Child, ChildEnvironment};

/// buildah, or podman.
pub(super) struct Buildah {
    name: &'static str,
    environment: ChildEnvironment,
}

impl Buildah {
    /// The program `name`, which is `buildah` or `podman`.
    pub(super) fn new(name: &'static str, environment: &ChildEnvironment) -> Self {
        Self { name, environment: environment.clone() }
    }

    fn program(&self) -> Result<PathBuf, Absence> {
        let absent = || Absence::Missing(format!("`{}` is not on PATH", self.name));
        self.environment.find_on_path(self.name).ok_or_else(absent)
    }

    fn child(&self, bench: &Workbench, order: &Order<'_>, arguments: Vec<String>) -> Result<Child, BackendError> {
        let unusable =
            |absence: Absence| BackendError::Unusable { name: self.name.into(), reason: absence.reason().to_owned() };
        let mut environment = self.environment.clone();
        if order.logins.plain().next().is_some() {
            let path = bench.path("registries.conf").display().to_string();
            environment = environment.with("CONTAINERS_REGISTRIES_CONF", path);
        }
        let program = self.program().map_err(unusable)?;
        let mut child = Child::new(program, environment, bench.folder()).on_leash(bench.folder());
        child.arguments = arguments;
        child.timeout = SILENCE;
        Ok(child)
    }

    async fn looked(&self) -> Result<Found, Absence> {
        let program = self.program()?;
        let version = said(&self.environment, &program, &["--version".to_owned()]).await;
        let address = Some(program.display().to_string());
        Ok(Found { version: version.and_then(|said| version_in(&said)), address })
    }

    async fn run(&self, order: &Order<'_>) -> Result<Digest, BackendError> {
        let bench = Workbench::lay(order, Map::new())?;
        write(&bench.path("registries.conf"), registries(order).as_bytes())?;
        let run = |source| BackendError::Run { backend: self.name.into(), source };
        let mut steps = Steps::new(Watch::new(order));
        let child = self.child(&bench, order, build_arguments(self.name, order, &bench))?;
        let built = child.run_telling(&mut |stream, line| steps.take(stream, line)).await.map_err(run)?;
        if !built.success() {
            return Err(steps.failure(self.name));
        }
        steps.end(None);
        let no_digest = || BackendError::NoDigest { backend: self.name.into() };
        let id = bench.read("id").map(|id| id.trim().to_owned()).filter(|id| !id.is_empty()).ok_or_else(no_digest)?;
        let push = ["push", "--authfile", &auth_file(&bench), "--digestfile", &shown(&bench, "digest"), &id];
        let target = format!("docker://{}", order.push_to);
        let arguments = push.into_iter().chain([target.as_str()]).map(str::to_owned).collect();
        let mut watch = Watch::new(order);
        watch.began("push", &format!("pushing {}", order.push_to));
        let pushing = self.child(&bench, order, arguments)?;
        let pushed = pushing.run_telling(&mut |_, line| watch.said(line)).await.map_err(run)?;
        // Its layers stay, for the next build; whether the image's name goes changes nothing for this one.
        let _ = self.child(&bench, order, vec!["rmi".into(), id])?.run().await;
        if !pushed.success() {
            return Err(watch.failure(self.name));
        }
        bench.read("digest").and_then(|digest| Digest::parse(digest.trim()).ok()).ok_or_else(no_digest)
    }
}

fn shown(bench: &Workbench, name: &str) -> String {
    bench.path(name).display().to_string()
}

fn auth_file(bench: &Workbench) -> String {
    bench.docker_config().join("config.json").display().to_string()
}

fn build_arguments(program: &str, order: &Order<'_>, bench: &Workbench) -> Vec<String> {
    let segment = order.segment;
    let options = EngineOptions::read(&segment.engine_options);
    for name in &options.unknown {
        Watch::new(order).warning(&format!("build option `{name}` means nothing to {program} and is left out"));
    }
    let mut arguments: Vec<String> = vec!["build".into()];
    let mut flag = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
    flag("--iidfile", shown(bench, "id"));
    flag("--authfile", auth_file(bench));
    flag("--format", "oci".to_owned());
    flag("--platform", segment.platform.to_string());
    flag("--file", bench.dockerfile().display().to_string());
    if segment.context.is_some() {
        flag("--ignorefile", bench.ignore_file().display().to_string());
    }
    for (name, value) in &segment.build_args {
        flag("--build-arg", format!("{name}={value}"));
    }
    if let Some(target) = &segment.target {
        flag("--target", target.clone());
    }
    if segment.no_cache {
        arguments.push("--no-cache".to_owned());
    }
    arguments.extend(bench.secret_arguments());
    arguments.extend(options.flags());
    arguments.push(bench.context().display().to_string());
    arguments
}

/// `registries.conf`: who speaks plain http. To no other registry is TLS given up.
fn registries(order: &Order<'_>) -> String {
    let entry = |name: &str| format!("[[registry]]\nlocation = {}\ninsecure = true\n", toml::Value::from(name));
    let plain: String = order.logins.plain().map(entry).collect();
    format!("unqualified-search-registries = [\"docker.io\"]\n{plain}")
}

impl Backend for Buildah {
    fn name(&self) -> &str {
        self.name
    }

    fn is_installed(&self) -> bool {
        self.program().is_ok()
    }

    fn available(&self) -> Availability<'_> {
        Box::pin(std::future::ready(self.program().map(drop)))
    }

    fn look(&self) -> Looking<'_> {
        Box::pin(self.looked())
    }

    fn build<'a>(&'a self, order: &'a Order<'a>) -> Building<'a> {
        Box::pin(self.run(order))
    }
}
