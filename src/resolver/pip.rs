//! From requirements to files, through the host's pip and its report of a dry run.
//!
//! pip runs in the host's Python and is told the image's: by its own options which files fit, and by the functions of
//! Python's `platform` that markers are evaluated with. It sees the parent's distributions and no others.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::arguments::index_credentials;
use super::child::{Child, ChildEnvironment};
use super::error::ResolveError;
use super::hashes;
use super::host_python::HostPython;
use super::pip_arguments::PipArguments;
use super::pip_report;
use super::place::{PlaceTarget, places};
use super::request::ResolveRequest;
use super::requirement;
use super::resolve::may_build;
use super::resolved::Resolved;
use super::scratch::Scratch;
use super::uv::numbers;
use crate::python::lock::LockedWheel;
use crate::python::marker::MarkerEnvironment;
use crate::python::tags::CompatibleTags;

/// The oldest pip that writes a report.
const MINIMUM: (&str, [u32; 3]) = ("22.2", [22, 2, 0]);
/// The oldest pip that takes a platform for a dry run without a target folder.
const TAKES_PLATFORMS: [u32; 3] = [23, 3, 0];

/// Runs pip with the parent's distributions as its only ones and the image's markers. Its arguments: a folder that holds
/// pip alone, the parent's distributions, the machine, the Python, whether pip's check of platform options is left out.
const SCRIPT: &str = "\
import platform, runpy, sys
pip, skeleton, machine, version, unchecked = sys.argv[1:6]
sys.argv[:6] = ['pip']
sys.path[:1] = [skeleton, pip]
platform.machine = lambda: machine
platform.python_version = lambda: version
platform.python_version_tuple = lambda: tuple(version.split('.'))
if unchecked == 'unchecked':
    from pip._internal.cli import cmdoptions
    cmdoptions.check_dist_restriction = lambda *given, **named: None
runpy.run_module('pip', run_name='__main__', alter_sys=True)
";

/// A pip that can be run.
#[derive(Clone, Debug)]
pub(super) struct Pip {
    python: PathBuf,
    /// The folder of the package `pip`.
    package: PathBuf,
    version: String,
}

impl Pip {
    /// The pip of the first Python on the environment's `PATH` that has one.
    ///
    /// # Errors
    /// Fails when there is none, or it is too old.
    pub(super) async fn locate(environment: &ChildEnvironment, folder: &Path) -> Result<Self, ResolveError> {
        let mut old = None;
        for program in ["python3", "python"].into_iter().flat_map(|name| environment.find_all_on_path(name)) {
            let Some(found) = HostPython::at(&program, environment, folder).await else { continue };
            let Some((package, version)) = found.pip else { continue };
            if numbers(&version) >= MINIMUM.1 {
                return Ok(Self { python: program, package, version });
            }
            old.get_or_insert(version);
        }
        Err(match old {
            Some(found) => ResolveError::OldPip { found, minimum: MINIMUM.0 },
            None => ResolveError::NoPip,
        })
    }

    /// Resolves `request` into one file a package: wheels where there are some, else source distributions.
    ///
    /// # Errors
    /// Fails when pip cannot be run, or finds no answer.
    pub(super) async fn resolve(
        &self,
        request: &ResolveRequest,
        tags: &CompatibleTags,
    ) -> Result<Resolved, ResolveError> {
        let is_archive = places(&request.requirements).iter().any(|place| place.target == PlaceTarget::Archive);
        let takes_sources =
            is_archive || request.arguments.keys().any(|key| key.trim_start_matches('-') == "no-binary");
        if !takes_sources {
            match self.run(request, tags, true).await {
                Err(ResolveError::NoWheel { .. }) if may_build(request) => {}
                answer => return answer,
            }
        }
        match self.run(request, tags, false).await {
            Err(ResolveError::NoWheel { explanation, sources }) => {
                Err(ResolveError::Unsatisfiable { explanation, sources })
            }
            answer => answer,
        }
    }

    /// Resolves `request` on top of distributions that count as installed: `None` when one of `kept` would have to change.
    ///
    /// # Errors
    /// As [`Pip::resolve`].
    pub(super) async fn resolve_beside(
        &self,
        request: &ResolveRequest,
        kept: &[LockedWheel],
        tags: &CompatibleTags,
    ) -> Result<Option<Resolved>, ResolveError> {
        let found = self.resolve(request, tags).await?;
        let is_kept = found.names().any(|name| kept.iter().any(|wheel| wheel.name == name));
        Ok(Some(found).filter(|found| !is_kept && found.lock.removed.is_empty()))
    }

    async fn run(
        &self,
        request: &ResolveRequest,
        tags: &CompatibleTags,
        wheels_alone: bool,
    ) -> Result<Resolved, ResolveError> {
        let arguments = PipArguments::of(request)?;
        let scratch = Scratch::for_pip(request, &arguments)?;
        let alone = scratch.folder().join("pip-alone");
        let failed = |source| ResolveError::Scratch { path: alone.clone(), source };
        std::fs::create_dir(&alone).map_err(failed)?;
        std::os::unix::fs::symlink(&self.package, alone.join("pip")).map_err(failed)?;
        let mut child = Child::new(&self.python, environment(&request.environment), scratch.folder());
        let unchecked = !wheels_alone || numbers(&self.version) < TAKES_PLATFORMS;
        let version = full_version(&request.target.version);
        child.arguments = ["-S", "-E", "-c", SCRIPT].map(str::to_owned).into();
        child.arguments.extend([alone.display().to_string(), scratch.skeleton().display().to_string()]);
        child.arguments.extend([machine(request).to_owned(), version.clone()]);
        child.arguments.push(if unchecked { "unchecked" } else { "checked" }.to_owned());
        child.arguments.extend(told(request, tags, wheels_alone));
        child.arguments.extend(arguments.all);
        for file in scratch.constraints() {
            child.arguments.extend(["--constraint".to_owned(), file]);
        }
        for file in scratch.requirements() {
            child.arguments.extend(["--requirement".to_owned(), file]);
        }
        child.timeout = Duration::from_secs(1800);
        let outcome = child.run().await?;
        if !outcome.status.success() {
            let text = index_credentials(request).redact(&outcome.stderr);
            return Err(explain(&scratch.with_names(&text), request));
        }
        let made = scratch.with_made(request)?;
        let found = pip_report::read(&outcome.stdout, &made)?;
        hashes::check(&found, &made, &MarkerEnvironment::linux(&version, machine(request)))?;
        Ok(found)
    }
}

/// What decides which files fit, and that nothing is installed.
fn told(request: &ResolveRequest, tags: &CompatibleTags, wheels_alone: bool) -> Vec<String> {
    let mut told = ["install", "--dry-run", "--quiet", "--report", "-", "--no-input", "--disable-pip-version-check"]
        .map(str::to_owned)
        .to_vec();
    if wheels_alone {
        told.push("--only-binary=:all:".into());
    }
    let version = request.target.version.splitn(3, '.').take(2).collect::<Vec<_>>().join(".");
    told.push(format!("--python-version={version}"));
    if let Some(own) = tags.tags().first() {
        let implementation: String = own.python.chars().take_while(char::is_ascii_alphabetic).collect();
        told.push(format!("--implementation={implementation}"));
        told.push(format!("--abi={}", own.abi));
    }
    let mut platforms: Vec<&str> = Vec::new();
    for tag in tags.tags().iter().filter(|tag| tag.platform != "any") {
        if !platforms.contains(&tag.platform.as_str()) {
            platforms.push(&tag.platform);
        }
    }
    told.extend(platforms.into_iter().map(|platform| format!("--platform={platform}")));
    told
}

fn machine(request: &ResolveRequest) -> &str {
    match request.target.platform.architecture.as_str() {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}

fn full_version(version: &str) -> String {
    if version.split('.').count() < 3 { format!("{version}.0") } else { version.to_owned() }
}

/// The environment without what would lead pip elsewhere.
fn environment(given: &ChildEnvironment) -> ChildEnvironment {
    const DROPPED: [&str; 12] = [
        "PIP_ABI",
        "PIP_DRY_RUN",
        "PIP_IMPLEMENTATION",
        "PIP_IGNORE_INSTALLED",
        "PIP_PLATFORM",
        "PIP_PREFIX",
        "PIP_PYTHON",
        "PIP_PYTHON_VERSION",
        "PIP_REPORT",
        "PIP_ROOT",
        "PIP_TARGET",
        "PIP_USER",
    ];
    let environment = DROPPED.into_iter().fold(given.clone(), |environment, name| environment.without(name));
    environment.with("PIP_REQUIRE_VIRTUALENV", "false").with("NO_COLOR", "1").with("PIP_BREAK_SYSTEM_PACKAGES", "1")
}

/// The error behind what pip wrote.
fn explain(text: &str, request: &ResolveRequest) -> ResolveError {
    let lines = text.trim().lines().filter(|line| !line.starts_with("WARNING: "));
    let explanation = lines.collect::<Vec<_>>().join("\n");
    let sources = super::explain::mentioned(&explanation, &requirement::direct(&request.requirements));
    let has = |words: &[&str]| words.iter().any(|word| explanation.contains(word));
    if has(&["ResolutionImpossible", "conflicting dependencies"]) {
        return ResolveError::Unsatisfiable { explanation, sources };
    }
    if has(&["No matching distribution found", "Could not find a version"]) {
        return ResolveError::NoWheel { explanation, sources };
    }
    ResolveError::Pip { explanation }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::filesystem::Libc;
    use crate::python::tags::Interpreter;
    use crate::resolver::request::tests::request;

    #[test]
    fn pip_is_told_the_image_and_not_this_machine() {
        let tags = CompatibleTags::of(&Interpreter {
            implementation: "cp".into(),
            version: (3, 12),
            free_threaded: false,
            libc: Libc::Glibc(2, 17),
            machine: "aarch64".into(),
        });
        let mut request = request("a");
        request.target.version = "3.12".into();
        let told = told(&request, &tags, true).join(" ");
        let expected = "--only-binary=:all: --python-version=3.12 --implementation=cp --abi=cp312 \
                        --platform=manylinux_2_17_aarch64 --platform=manylinux2014_aarch64 --platform=linux_aarch64";
        assert!(told.ends_with(expected), "{told}");
    }

    #[test]
    fn failures_are_sorted() {
        let request = request("numpy<2\ndocopt\n");
        let none = "ERROR: Could not find a version that satisfies the requirement docopt (from versions: none)\n\
                    ERROR: No matching distribution found for docopt\n";
        let error = explain(none, &request);
        assert!(error.to_string().contains("required: `docopt` in `r.txt`"), "{error}");
        assert!(matches!(error, ResolveError::NoWheel { .. }));
        let conflict =
            "ERROR: Cannot install numpy<2 and numpy>2 because these package versions have conflicting dependencies.";
        assert!(matches!(explain(conflict, &request), ResolveError::Unsatisfiable { .. }));
        assert!(matches!(explain("no such option: --resolution", &request), ResolveError::Pip { .. }));
    }
}
