//! From the command line and the configuration file to a build request.
//!
//! Flags beat the file. Relative paths of the file start from its folder, those of flags from the working folder.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lapstrake::backend::resolve_secrets;
use lapstrake::diagnostic::Diagnose;
use lapstrake::inputs::source::zenml_root;
use lapstrake::oci::{Platform, Reference};
use lapstrake::ops::{self, BuildRequest, Means, Output};
use lapstrake::plan::{WantedImage, wanted_images};
use lapstrake::python::environment::PythonHints;
use lapstrake::settings::{Native, Overrides, RunSettings, Settings, Substitution, Warning};

use super::args::{BuildArgs, Refresh, Shown};
use super::environment::Environment;
use super::exit::{self, UsageError};
use super::{dockerfile, ledger, setup, targets};

type Failure = Box<dyn Diagnose + Send>;

/// The configuration where none is named.
pub(crate) const DEFAULT: &str = "lapstrake.yaml";

/// Requests, and what they are carried out with.
pub(crate) struct Prepared {
    /// The pipeline's image, then those of steps.
    pub(crate) requests: Vec<BuildRequest>,
    pub(crate) means: Means,
    /// The keys of all images, in the order of the steps.
    pub(crate) keys: Vec<String>,
    /// The registries that the settings allow plain http with.
    pub(crate) insecure: Vec<String>,
}

impl Prepared {
    /// The request for the pipeline's own image.
    pub(crate) fn pipeline(&self) -> &BuildRequest {
        &self.requests[0]
    }
}

/// Reads the configuration and joins it with the flags.
pub(crate) async fn prepare(args: &BuildArgs, shown: &Shown, environment: &Environment) -> Result<Prepared, Failure> {
    let file = file(args.config.as_deref().or(args.config_flag.as_deref()));
    let here = working_folder()?;
    let (run, warnings) = settings(file.as_deref(), &args.changes.overrides(&here)?, environment)?;
    let folder = match &file {
        Some(file) => absolute(&here, file.parent().unwrap_or(Path::new(""))),
        None => here.clone(),
    };
    let native = &run.pipeline.lapstrake;
    let output = output(
        args.output.as_deref().map(|text| (text, &here)).or(native.output.as_deref().map(|text| (text, &folder))),
    )?;
    let mut images = wanted_images(&run.pipeline, &run.steps);
    let file = dockerfile::request(args, &here, environment)?;
    if file.is_some() {
        images.truncate(1);
    }
    if let (Output::DockerArchive(path), true) = (&output, images.len() > 1) {
        let what = format!("`docker-archive:{}` cannot take {} images", path.display(), images.len());
        return Err(exit::fail(UsageError::new(what, "write `oci:DIR`, or publish to a registry")));
    }
    let targets = targets::of_images(args, run.name.as_deref(), &images)?;
    let domains: Vec<String> = targets.iter().flatten().map(|target| target.domain().to_owned()).collect();
    let means = setup::means(&args.reach, &native.insecure_registries, &domains, shown, environment)?;
    for warning in &warnings {
        means.reporter.report(lapstrake::event::Event::Warning { text: format!("{}: {}", warning.at, warning.text) });
    }
    let no_reuse = args.no_reuse || prevents_reuse(&run);
    let setting = Setting { args, environment, here, folder, output, store: means.store.root(), no_reuse };
    let requests = images.iter().zip(targets).map(|(image, targets)| setting.request(&run, image, targets));
    let mut requests = requests.collect::<Result<Vec<BuildRequest>, _>>()?;
    let secrets = resolve_secrets(&native.secrets, &setting.folder, means.backends.environment()).await;
    let secrets = secrets.map_err(exit::fail)?;
    for request in &mut requests {
        request.secrets = secrets.clone();
        match &file {
            Some((file, secrets)) => {
                request.secrets.extend(secrets.clone());
                request.dockerfile = Some(file.clone());
            }
            None => ops::take_default_parent(&means, request).await,
        }
    }
    let insecure = native.insecure_registries.clone();
    Ok(Prepared { requests, means, keys: keys(&run, &images), insecure })
}

/// Whether any step asks that no earlier build stands in; the whole pipeline is then built (as ZenML has it).
fn prevents_reuse(run: &RunSettings) -> bool {
    let prevents = |settings: &Settings| settings.docker.prevent_build_reuse;
    prevents(&run.pipeline) || run.steps.iter().any(|(_, settings)| prevents(settings))
}

/// The keys of `images`: the pipeline's first, then the steps' in their order.
fn keys(run: &RunSettings, images: &[WantedImage<'_>]) -> Vec<String> {
    let mut keys: Vec<String> = images.iter().flat_map(|image| image.keys.clone()).collect();
    let place = |key: &String| run.steps.iter().position(|(step, _)| key.strip_suffix(".orchestrator") == Some(step));
    keys.sort_by_key(place);
    keys
}

/// What ZenML takes the checksum of.
fn document_of<'r>(run: &'r RunSettings, image: &WantedImage<'_>) -> &'r str {
    let at = image.step.and_then(|step| run.steps.iter().position(|(name, _)| name == step));
    at.and_then(|at| run.documents.steps.get(at)).unwrap_or(&run.documents.pipeline)
}

/// What the requests of one run share.
struct Setting<'a> {
    args: &'a BuildArgs,
    environment: &'a Environment,
    here: PathBuf,
    folder: PathBuf,
    output: Output,
    store: &'a Path,
    no_reuse: bool,
}

impl Setting<'_> {
    fn request(
        &self,
        run: &RunSettings,
        image: &WantedImage<'_>,
        targets: Vec<Reference>,
    ) -> Result<BuildRequest, Failure> {
        let (args, native) = (self.args, &image.settings.lapstrake);
        let source_root = match (&args.source_root, &native.source_root) {
            (Some(flag), _) => absolute(&self.here, flag),
            (None, Some(setting)) => absolute(&self.folder, setting),
            (None, None) => zenml_root(&self.folder).unwrap_or(&self.folder).to_path_buf(),
        };
        let mut cache_from = native.cache_from.clone();
        for text in &args.cache_from {
            cache_from.push(reference(text)?);
        }
        let created = self.environment.source_date().map_err(|text| {
            let what = format!("`SOURCE_DATE_EPOCH` is `{text}`, which is no number of seconds");
            exit::fail(UsageError::new(what, "set it to seconds since 1970, or unset it"))
        })?;
        let mut not_sources = vec![self.store.to_path_buf()];
        not_sources.extend(ledger::files(self.environment));
        not_sources.extend(match &self.output {
            Output::OciLayout(path) | Output::DockerArchive(path) => Some(path.clone()),
            Output::Registry => None,
        });
        Ok(BuildRequest {
            pipeline: run.name.clone(),
            document: document_of(run, image).to_owned(),
            keys: image.keys.clone(),
            platforms: self.platforms(image.settings),
            python: PythonHints { version: native.python.version, prefix: native.python.prefix.clone(), place: None },
            settings: image.settings.clone(),
            dockerfile: None,
            folder: self.folder.clone(),
            source_root,
            not_sources,
            targets,
            output: self.output.clone(),
            cache_from,
            no_reuse: self.no_reuse,
            backend: args.backend.clone(),
            refresh_backend: args.refresh.contains(&Refresh::Backend),
            no_cache: args.no_cache,
            upgrade: args.upgrade,
            locked: args.locked,
            strict: args.changes.strict,
            created,
            variables: self.environment.variables().clone(),
            secrets: BTreeMap::new(),
        })
    }

    /// Flags, else `lapstrake.platforms`, else the platform of the build options.
    fn platforms(&self, settings: &Settings) -> Vec<Platform> {
        let (flags, native) = (&self.args.platforms, &settings.lapstrake.platforms);
        match (flags.is_empty(), native.is_empty()) {
            (false, _) => flags.clone(),
            (true, false) => native.clone(),
            (true, true) => settings.docker.build_config.platform.clone().into_iter().collect(),
        }
    }
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
    /// The backend that the settings choose.
    pub(crate) backend: Option<String>,
}

/// Reads the settings that are named, or those of the working folder, if there are any.
pub(crate) fn project(named: Option<&Path>, environment: &Environment) -> Result<Project, Failure> {
    let file = file(named);
    let (run, _) = settings(file.as_deref(), &Overrides::default(), environment)?;
    let images = wanted_images(&run.pipeline, &run.steps);
    let targets = targets::of_images(&BuildArgs::default(), run.name.as_deref(), &images)?.concat();
    let Native { insecure_registries: insecure, backend, .. } = run.pipeline.lapstrake;
    Ok(Project { file, targets, parent: run.pipeline.docker.parent_image, insecure, backend })
}

/// The settings of the file with what beats them; those of the flags alone where there is no file.
fn settings(
    file: Option<&Path>,
    overrides: &Overrides,
    environment: &Environment,
) -> Result<(RunSettings, Vec<Warning>), Failure> {
    let (text, name) = match file {
        Some(file) => (text(file)?, file.display().to_string()),
        None => (String::new(), DEFAULT.to_owned()),
    };
    let substitution = Substitution::new(environment.variables().clone());
    RunSettings::parse(&text, &name, overrides, &substitution).map_err(exit::fail)
}

/// The configuration that is named, or that of the working folder, if there is one.
pub(crate) fn file(named: Option<&Path>) -> Option<PathBuf> {
    named.map(Path::to_path_buf).or_else(|| Some(PathBuf::from(DEFAULT)).filter(|file| file.is_file()))
}

/// The text of a configuration.
pub(crate) fn text(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| {
        let what = format!("cannot read the configuration `{}`: {error}", file.display());
        let cure = match error.kind() {
            std::io::ErrorKind::InvalidData => "save it as UTF-8",
            _ => "see that the file is there, or pass `--config FILE`",
        };
        exit::fail(UsageError::new(what, cure))
    })
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

pub(crate) fn reference(text: &str) -> Result<Reference, Failure> {
    Reference::written(text).map_err(exit::fail)
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
