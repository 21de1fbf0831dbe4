//! From the command line and the configuration file to a build request.
//!
//! Flags beat the file. Relative paths of the file start from its folder, those of flags from the working folder.

use std::path::{Path, PathBuf};

use lapstrake::diagnostic::Diagnose;
use lapstrake::oci::Reference;
use lapstrake::ops::{BuildRequest, Means, Output};
use lapstrake::python::environment::PythonHints;
use lapstrake::settings::{Requirements, Settings, Substitution, Warning};

use super::args::{BuildArgs, Shown};
use super::environment::Environment;
use super::exit::{self, UsageError};
use super::{ledger, setup};

type Failure = Box<dyn Diagnose + Send>;

const DEFAULT: &str = "lapstrake.yaml";

/// A request, and what it is carried out with.
pub(crate) struct Prepared {
    pub(crate) request: BuildRequest,
    pub(crate) means: Means,
    /// The registries that the settings allow plain http with.
    pub(crate) insecure: Vec<String>,
}

/// Reads the configuration and joins it with the flags.
pub(crate) fn prepare(args: &BuildArgs, shown: &Shown, environment: &Environment) -> Result<Prepared, Failure> {
    let named = args.config.as_ref().or(args.config_flag.as_ref());
    let file = named.cloned().or_else(|| Some(PathBuf::from(DEFAULT)).filter(|file| file.is_file()));
    let (mut settings, warnings) = settings(file.as_deref(), environment)?;
    let here = working_folder()?;
    let folder = match &file {
        Some(file) => absolute(&here, file.parent().unwrap_or(Path::new(""))),
        None => here.clone(),
    };
    apply_flags(args, &here, &mut settings)?;
    let native = &settings.lapstrake;
    let output = output(
        args.output.as_deref().map(|text| (text, &here)).or(native.output.as_deref().map(|text| (text, &folder))),
    )?;
    let targets = targets(args, &settings)?;
    let source_root = match (&args.source_root, &native.source_root) {
        (Some(flag), _) => absolute(&here, flag),
        (None, Some(setting)) => absolute(&folder, setting),
        (None, None) => folder.clone(),
    };
    let domains: Vec<String> = targets.iter().map(|target| target.domain().to_owned()).collect();
    let means = setup::means(&args.reach, &native.insecure_registries, &domains, shown, environment)?;
    for warning in &warnings {
        means.reporter.report(lapstrake::event::Event::Warning { text: format!("{}: {}", warning.at, warning.text) });
    }
    let insecure = native.insecure_registries.clone();
    let platforms = if args.platforms.is_empty() { native.platforms.clone() } else { args.platforms.clone() };
    let mut cache_from = native.cache_from.clone();
    for text in &args.cache_from {
        cache_from.push(reference(text)?);
    }
    let created = environment.source_date().map_err(|text| {
        let what = format!("`SOURCE_DATE_EPOCH` is `{text}`, which is no number of seconds");
        exit::fail(UsageError::new(what, "set it to seconds since 1970, or unset it"))
    })?;
    let mut not_sources = vec![means.store.root().to_path_buf()];
    not_sources.extend(ledger::files(environment));
    not_sources.extend(match &output {
        Output::OciLayout(path) | Output::DockerArchive(path) => Some(path.clone()),
        Output::Registry => None,
    });
    let python = PythonHints { version: native.python.version, prefix: native.python.prefix.clone() };
    let request = BuildRequest {
        platforms: if platforms.is_empty() {
            settings.docker.build_config.platform.clone().into_iter().collect()
        } else {
            platforms
        },
        settings,
        folder,
        source_root,
        not_sources,
        targets,
        output,
        cache_from,
        python,
        no_cache: args.no_cache,
        upgrade: args.upgrade,
        locked: args.locked,
        created,
        variables: environment.variables().clone(),
    };
    Ok(Prepared { request, means, insecure })
}

/// What a project's settings say of registries.
pub(crate) struct Project {
    /// The settings' file; `None` when there is none.
    pub(crate) file: Option<PathBuf>,
    /// The names to publish under.
    pub(crate) targets: Vec<Reference>,
    /// The image to build upon.
    pub(crate) parent: Option<Reference>,
    /// Registries that are spoken to by plain http.
    pub(crate) insecure: Vec<String>,
}

/// Reads the settings that are named, or those of the working folder, if there are any.
pub(crate) fn project(named: Option<&Path>, environment: &Environment) -> Result<Project, Failure> {
    let file = named.map(Path::to_path_buf).or_else(|| Some(PathBuf::from(DEFAULT)).filter(|file| file.is_file()));
    let (settings, _) = settings(file.as_deref(), environment)?;
    let targets = targets(&BuildArgs::default(), &settings)?;
    let insecure = settings.lapstrake.insecure_registries.clone();
    Ok(Project { file, targets, parent: settings.docker.parent_image, insecure })
}

fn settings(file: Option<&Path>, environment: &Environment) -> Result<(Settings, Vec<Warning>), Failure> {
    let Some(file) = file else { return Ok((Settings::default(), Vec::new())) };
    let text = std::fs::read_to_string(file).map_err(|error| {
        let what = format!("cannot read the configuration `{}`: {error}", file.display());
        let cure = match error.kind() {
            std::io::ErrorKind::InvalidData => "save it as UTF-8",
            _ => "see that the file is there, or pass `--config FILE`",
        };
        exit::fail(UsageError::new(what, cure))
    })?;
    let substitution = Substitution::new(environment.variables().clone());
    Settings::parse(&text, &file.display().to_string(), &substitution).map_err(exit::fail)
}

/// The folder that relative paths of the command line start from.
pub(crate) fn working_folder() -> Result<PathBuf, Failure> {
    std::env::current_dir().map_err(|error| {
        exit::fail(UsageError::new(
            format!("the working folder cannot be told: {error}"),
            "change into a folder that exists",
        ))
    })
}

fn absolute(from: &Path, path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { from.to_path_buf() } else { from.join(path) }
}

fn apply_flags(args: &BuildArgs, here: &Path, settings: &mut Settings) -> Result<(), Failure> {
    let docker = &mut settings.docker;
    if let Some(parent) = &args.parent_image {
        docker.parent_image = Some(reference(parent)?);
    }
    if let Some(file) = &args.requirements {
        docker.requirements = Some(Requirements::File(here.join(file)));
    }
    if let Some(user) = &args.user {
        docker.user = Some(user.clone());
    }
    for variable in &args.environment {
        let (name, value) = variable.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
            exit::fail(UsageError::new(
                format!("`--env {variable}` is not of the form NAME=VALUE"),
                "write `--env NAME=VALUE`",
            ))
        })?;
        docker.environment.insert(name.to_uppercase(), value.to_owned());
    }
    Ok(())
}

pub(crate) fn reference(text: &str) -> Result<Reference, Failure> {
    Reference::parse(text).map_err(exit::fail)
}

fn output(asked: Option<(&str, &PathBuf)>) -> Result<Output, Failure> {
    let Some((text, from)) = asked else { return Ok(Output::Registry) };
    match text.split_once(':') {
        None if text == "registry" => Ok(Output::Registry),
        Some(("oci", path)) if !path.is_empty() => Ok(Output::OciLayout(from.join(path))),
        Some(("docker-archive", path)) if !path.is_empty() => Ok(Output::DockerArchive(from.join(path))),
        _ => {
            let what = format!("output `{text}` is not one that there is");
            Err(exit::fail(UsageError::new(what, "write `registry`, `oci:DIR` or `docker-archive:FILE`")))
        }
    }
}

/// The names to publish under: flags, else the settings' tags, else registry, repository and tag put together.
fn targets(args: &BuildArgs, settings: &Settings) -> Result<Vec<Reference>, Failure> {
    if !args.tags.is_empty() {
        return args.tags.iter().map(|text| reference(text)).collect();
    }
    let native = &settings.lapstrake;
    if !native.tags.is_empty() {
        return Ok(native.tags.clone());
    }
    let Some(registry) = args.registry.as_deref().or(native.registry.as_deref()) else { return Ok(Vec::new()) };
    let repository = settings.docker.target_repository.as_deref().unwrap_or("zenml");
    let tag = settings.docker.image_tag.as_deref().unwrap_or("latest");
    Ok(vec![reference(&format!("{}/{repository}:{tag}", registry.trim_end_matches('/')))?])
}
