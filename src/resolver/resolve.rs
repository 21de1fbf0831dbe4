//! From requirements to a lock, through uv.
//!
//! One `uv pip compile` answers when the parent has nothing that the answer touches. Otherwise `uv pip install --dry-run`
//! into a skeleton of the parent's distributions says what would change, and a second compile, which lives from uv's
//! cache, says which files those are. Wheels alone are asked for; where some package has none, uv is asked once more and may
//! choose source distributions. No version is compared here.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::arguments::{UvArguments, index_credentials};
use super::changes::Changes;
use super::child::{Child, Outcome};
use super::error::ResolveError;
use super::explain::explain;
use super::hashes;
use super::index::IndexCredentials;
use super::place::{MadeWheel, Place, PlaceTarget, places};
use super::request::ResolveRequest;
use super::requirement::{self, Direct};
use super::resolved::Resolved;
use super::scratch::Scratch;
use super::uv::Uv;
use crate::image::filesystem::Libc;
use crate::python::lock::{Lock, LockedWheel};
use crate::python::marker::MarkerEnvironment;
use crate::python::tags::CompatibleTags;

/// Resolves `request` with `uv` into one file a package.
///
/// uv reaches the indexes and nothing else. No distribution of the parent that satisfies a requirement is in the lock.
///
/// # Errors
/// Fails when uv cannot be run, or finds no answer, or a package has neither a wheel that fits nor a source.
pub async fn resolve(request: &ResolveRequest, uv: &Uv, tags: &CompatibleTags) -> Result<Resolved, ResolveError> {
    if !takes_sources(request) {
        match Run::new(request, uv, tags, Files::Wheels)?.lock().await {
            Err(ResolveError::NoWheel { .. }) if may_build(request) => {}
            answer => return answer,
        }
    }
    Run::new(request, uv, tags, Files::All)?.lock().await
}

/// Whether a line or an argument names sources, so that wheels alone are no answer.
fn takes_sources(request: &ResolveRequest) -> bool {
    let is_archive = |place: &Place| place.target == PlaceTarget::Archive;
    request.arguments.keys().any(|key| key.trim_start_matches('-') == "no-binary")
        || places(&request.requirements).iter().any(is_archive)
}

/// Whether wheels may be built at all.
pub(super) fn may_build(request: &ResolveRequest) -> bool {
    let forbids = |(key, value): (&String, &Option<String>)| match key.trim_start_matches('-') {
        "no-build" => value.as_deref() != Some("false"),
        "only-binary" => value.as_deref().is_none_or(|value| value.contains(":all:")),
        _ => false,
    };
    !request.arguments.iter().any(forbids)
}

/// Resolves `request` on top of distributions that count as installed: `None` when one of `kept` would have to change.
///
/// # Errors
/// As [`resolve`].
pub(super) async fn resolve_beside(
    request: &ResolveRequest,
    kept: &[LockedWheel],
    uv: &Uv,
    tags: &CompatibleTags,
) -> Result<Option<Resolved>, ResolveError> {
    if !takes_sources(request) {
        match beside(&Run::new(request, uv, tags, Files::Wheels)?, kept).await {
            Err(ResolveError::NoWheel { .. }) if may_build(request) => {}
            answer => return answer,
        }
    }
    beside(&Run::new(request, uv, tags, Files::All)?, kept).await
}

async fn beside(run: &Run<'_>, kept: &[LockedWheel]) -> Result<Option<Resolved>, ResolveError> {
    let changes = run.changes(Pages::Current).await?;
    let is_kept = |name: &str| kept.iter().any(|wheel| wheel.name == name);
    if !changes.removed.is_empty() || changes.installed.iter().any(|change| is_kept(&change.name)) {
        return Ok(None);
    }
    if changes.installed.is_empty() {
        return Ok(Some(Resolved::default()));
    }
    Ok(Some(run.files_of(&changes).await?))
}

/// One resolution while it runs.
struct Run<'a> {
    uv: &'a Uv,
    request: Cow<'a, ResolveRequest>,
    files: Files,
    platform: String,
    credentials: IndexCredentials,
    arguments: UvArguments,
    scratch: Scratch,
    direct: Vec<Direct>,
    tags: &'a CompatibleTags,
}

/// Which files uv may choose.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Files {
    /// Wheels alone, so that nothing is built while versions are chosen.
    Wheels,
    /// Source distributions too.
    All,
}

/// Which index pages uv answers from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pages {
    /// Those that the index has now.
    Current,
    /// Those in uv's cache, put there by the run before; the index's where the cache does not do.
    JustFetched,
}

impl<'a> Run<'a> {
    fn new(
        request: &'a ResolveRequest,
        uv: &'a Uv,
        tags: &'a CompatibleTags,
        files: Files,
    ) -> Result<Self, ResolveError> {
        let arguments = UvArguments::of(request)?;
        let scratch = Scratch::write(request, &arguments)?;
        let request = scratch.with_made(request)?;
        Ok(Self {
            uv,
            platform: platform(&request)?,
            credentials: index_credentials(&request),
            scratch,
            arguments,
            direct: requirement::direct(&request.requirements),
            request,
            files,
            tags,
        })
    }

    async fn lock(&self) -> Result<Resolved, ResolveError> {
        let installed: BTreeSet<&str> = self.request.installed.iter().map(|dist| dist.name.as_str()).collect();
        let is_asked = |dist: &Direct| dist.name.as_deref().is_none_or(|name| installed.contains(name));
        let mut whole = None;
        if installed.is_empty() || !self.direct.iter().any(is_asked) {
            match self.compile(&self.scratch.requirements(), Pages::Current).await {
                Ok(found) if found.names().all(|name| !installed.contains(name)) => return Ok(found),
                Ok(found) => whole = Some(found),
                // The parent may have what no index has.
                Err(ResolveError::Unsatisfiable { .. } | ResolveError::NoWheel { .. } | ResolveError::Answer(_))
                    if !installed.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
        if let Some(whole) = &whole {
            // What the parent has may lead uv to pages that are old; then nothing of this answer is taken.
            let changes = self.changes(Pages::JustFetched).await?;
            if let Some(mut chosen) = changes.chosen_of(whole) {
                chosen.lock.removed = changes.removed;
                return Ok(chosen);
            }
        }
        let changes = self.changes(Pages::Current).await?;
        let mut found = match changes.installed.is_empty() {
            true => Resolved::default(),
            false => self.files_of(&changes).await?,
        };
        found.lock.removed = changes.removed;
        Ok(found)
    }

    /// The files of what `changes` installs.
    async fn files_of(&self, changes: &Changes) -> Result<Resolved, ResolveError> {
        let pins = self.scratch.write_pins(&changes.pins(&self.request))?;
        let found = self.compile(&[pins], Pages::JustFetched).await?;
        let is_found = |name: &str| found.names().any(|own| own == name);
        match changes.installed.iter().find(|change| !is_found(&change.name)) {
            Some(lost) => Err(ResolveError::Lost { name: lost.name.clone() }),
            None => Ok(found),
        }
    }

    /// What uv would install into the parent and remove from it.
    async fn changes(&self, pages: Pages) -> Result<Changes, ResolveError> {
        let mut arguments = vec!["pip".to_owned(), "install".into(), "--dry-run".into()];
        arguments.extend(["--target".to_owned(), self.scratch.skeleton().display().to_string()]);
        arguments.extend(self.target_arguments());
        arguments.extend(self.arguments.both.iter().chain(&self.arguments.install).cloned());
        for file in self.scratch.requirements() {
            arguments.extend(["-r".to_owned(), file]);
        }
        let outcome = self.run(arguments, pages).await?;
        Changes::read(&outcome.stderr, &self.request.installed).map_err(|error| match error {
            ResolveError::Change { line } => ResolveError::Change { line: self.credentials.redact(&line) },
            other => other,
        })
    }

    async fn compile(&self, files: &[String], pages: Pages) -> Result<Resolved, ResolveError> {
        let mut arguments = vec!["pip".to_owned(), "compile".into(), "--format=pylock.toml".into()];
        arguments.extend(["--no-header".to_owned(), "--quiet".into()]);
        // Files of pins are the ones whose pages were just fetched.
        if pages == Pages::JustFetched && !self.arguments.both.iter().any(|argument| argument == "--no-deps") {
            arguments.push("--no-deps".into());
        }
        arguments.extend(self.target_arguments());
        arguments.extend(self.arguments.both.iter().cloned());
        arguments.extend(files.iter().cloned());
        let outcome = self.run(arguments, pages).await?;
        let text = String::from_utf8_lossy(&outcome.stdout);
        // Every package is for this target: uv has evaluated the markers.
        let version = &self.request.target.version;
        let markers = MarkerEnvironment::linux(version, self.platform.split('-').next().unwrap_or_default());
        let folder = self.scratch.folder();
        let found = Lock::parse_pylock_with_sources(&text, folder, self.tags, &markers);
        let (mut lock, unbuilt) = found.map_err(ResolveError::Answer)?;
        // What stands in for a place is known better than by the file that uv was shown.
        for wheel in &mut lock.packages {
            let is_it = |made: &&MadeWheel| made.wheel.sha256 == wheel.sha256 && made.wheel.name == wheel.name;
            if let Some(made) = self.request.made.iter().find(is_it) {
                *wheel = made.wheel.clone();
            }
        }
        let resolved = Resolved { lock, unbuilt };
        hashes::check(&resolved, &self.request, &markers)?;
        Ok(resolved)
    }

    fn target_arguments(&self) -> Vec<String> {
        let mut arguments = Vec::new();
        if self.files == Files::Wheels {
            arguments.push("--only-binary=:all:".to_owned());
        }
        arguments.push(format!("--python-version={}", self.request.target.version));
        arguments.push(format!("--python-platform={}", self.platform));
        if let Some(python) = self.uv.python() {
            arguments.push(format!("--python={}", python.display()));
        }
        for file in self.scratch.constraints() {
            arguments.extend(["--constraint".to_owned(), file]);
        }
        if self.request.offline {
            arguments.push("--offline".into());
        }
        arguments
    }

    /// Runs uv; pages that it fetched a moment ago are first taken as they are, since asking again costs a second.
    async fn run(&self, arguments: Vec<String>, pages: Pages) -> Result<Outcome, ResolveError> {
        if pages == Pages::JustFetched && !self.request.offline {
            let mut offline = arguments.clone();
            offline.push("--offline".into());
            let outcome = self.start(offline).await?;
            if outcome.status.success() {
                return Ok(outcome);
            }
        }
        let outcome = self.start(arguments).await?;
        if outcome.status.success() {
            return Ok(outcome);
        }
        let text = self.scratch.with_names(&self.credentials.redact(&outcome.stderr));
        Err(explain(&text, &self.direct))
    }

    async fn start(&self, arguments: Vec<String>) -> Result<Outcome, ResolveError> {
        let environment = self.scratch.environment(&self.request.environment, &self.arguments);
        let mut child = Child::new(self.uv.program(), environment, self.scratch.folder());
        child.arguments = arguments;
        Ok(child.run().await?)
    }
}

/// uv's name of the target: the newest C library that uv knows and the target has.
fn platform(request: &ResolveRequest) -> Result<String, ResolveError> {
    const KNOWN_GLIBC: [u32; 12] = [40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 28, 17];
    let target = &request.target;
    let unknown = || ResolveError::Platform { platform: target.platform.to_string() };
    let machine = match target.platform.architecture.as_str() {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        "riscv64" => return Ok("riscv64-unknown-linux".into()),
        _ => return Err(unknown()),
    };
    match target.libc {
        _ if target.platform.os != "linux" => Err(unknown()),
        Libc::Musl(..) => Ok(format!("{machine}-unknown-linux-musl")),
        Libc::Glibc(major, minor) => {
            let minor = if major > 2 { u32::MAX } else { minor };
            let known = KNOWN_GLIBC.into_iter().find(|known| *known <= minor).unwrap_or(17);
            Ok(format!("{machine}-manylinux_2_{known}"))
        }
        // An image that shows no C library gets the wheels that the oldest supported systems take.
        Libc::Unknown => Ok(format!("{machine}-manylinux_2_17")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::request::tests::request;

    #[test]
    fn platform_is_the_newest_that_uv_knows_and_the_target_has() {
        for (architecture, libc, expected) in [
            ("amd64", Libc::Glibc(2, 36), Some("x86_64-manylinux_2_36")),
            ("amd64", Libc::Glibc(2, 41), Some("x86_64-manylinux_2_40")),
            ("arm64", Libc::Glibc(2, 30), Some("aarch64-manylinux_2_28")),
            ("arm64", Libc::Glibc(2, 12), Some("aarch64-manylinux_2_17")),
            ("amd64", Libc::Musl(1, 2), Some("x86_64-unknown-linux-musl")),
            ("amd64", Libc::Unknown, Some("x86_64-manylinux_2_17")),
            ("s390x", Libc::Glibc(2, 36), None),
        ] {
            let mut request = request("a");
            request.target.platform.architecture = architecture.into();
            request.target.libc = libc;
            assert_eq!(platform(&request).ok().as_deref(), expected);
        }
    }
}
