//! What native layers stand on: the parent, or the image that a backend's segments make of it.
//!
//! Decides which settings only a backend can honour. How a segment is found or built is the business of `segment`.

use std::collections::BTreeMap;
use std::path::Path;

use indexmap::IndexMap;
use tempfile::TempDir;

use crate::backend::{Segment, apt_segment};
use crate::event::Event;
use crate::oci::{Descriptor, Digest, Document, Index, Platform, Raw, Reference, Repository};
use crate::plan::SegmentKey;
use crate::settings::{BuildConfig, DockerSettings, Settings};

use super::build::carry_out;
use super::dockerfile::{DockerfileRequest, InstructionStep};
use super::earlier::target_repository;
use super::error::OpsError;
use super::means::Means;
use super::parent;
use super::plan::{Course, plan_as, wanted_platforms};
use super::request::BuildRequest;
use super::requirements::apt_packages;
use super::segment::{self, PlannedSegment, SegmentRequest};

/// What is done about a segment of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentStep {
    /// What it is, as the settings say it.
    pub title: String,
    /// The backend that builds it; `None` when its image is there.
    pub backend: Option<String>,
    /// Its key; of several platforms the first one's. `None` as long as what it begins with is not there.
    pub key: Option<SegmentKey>,
    /// The tag under which the target repository keeps its image.
    pub at: Option<Reference>,
    /// Its image, once it is there.
    pub image: Option<Reference>,
}

/// What native layers stand on.
pub(super) struct Ground {
    /// The request with the segments' image in the place of the parent.
    pub(super) request: BuildRequest,
    /// The segments, in order.
    pub(super) steps: Vec<SegmentStep>,
    /// Whether the image to stand on is there; else a plan shows what stands on the parent as it is now.
    pub(super) is_there: bool,
    /// The instructions of a Dockerfile that is assembled here.
    pub(super) instructions: Vec<InstructionStep>,
    /// What that Dockerfile builds upon, as long as its own image is not there.
    pub(super) parent: Option<Reference>,
    /// A folder that the request names, as long as the plan reads it.
    pub(super) folder: Option<TempDir>,
}

impl Ground {
    /// The ground of a request that needs no backend.
    pub(super) fn of(request: &BuildRequest) -> Self {
        let (steps, instructions) = (Vec::new(), Vec::new());
        Self { request: request.clone(), steps, is_there: true, instructions, parent: None, folder: None }
    }
}

/// How far to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Say what would be done.
    Look,
    /// Do it.
    Build,
}

/// Finds what the layers of `request` stand on; a segment that is not there is built, or in a plan named.
///
/// # Errors
/// Fails when there is no parent, no backend for what needs one, or the backend fails.
pub(super) async fn ground(means: &Means, request: &BuildRequest, mode: Mode) -> Result<Ground, OpsError> {
    let mut ground = Ground::of(request);
    if request.settings.docker.skip_build {
        return Ok(ground);
    }
    if request.settings.docker.dockerfile.is_some() {
        dockerfile(means, &mut ground, mode).await?;
    }
    let packages = apt_packages(request);
    // What a Dockerfile has yet to make has no digest that the next segment could begin with.
    if !packages.is_empty() && ground.is_there {
        apt(means, &mut ground, &packages, mode).await?;
    }
    Ok(ground)
}

/// How the tag of an image begins that was assembled from a Dockerfile of the settings; one of ours.
const ASSEMBLED: &str = "lapstrake-dockerfile-";

/// The image of the user's own Dockerfile, built as `build --dockerfile` builds it: here instruction by instruction, by a
/// backend what is not known. Its image in the target repository becomes the parent.
async fn dockerfile(means: &Means, ground: &mut Ground, mode: Mode) -> Result<(), OpsError> {
    let docker = &ground.request.settings.docker;
    let Some(file) = docker.dockerfile.clone() else { return Ok(()) };
    if docker.parent_image.is_some() {
        let text = "`dockerfile` is set: its image is the parent, and `parent_image` is passed over".to_owned();
        means.reporter.report(Event::Warning { text });
    }
    let target = segments_target(&ground.request, &format!("dockerfile: {}", file.display()))?;
    let inner = of_dockerfile(means, &ground.request, &file, &target)?;
    let planned = Box::pin(plan_as(means, &inner, mode)).await?;
    ground.instructions.clone_from(&planned.instructions);
    ground.steps.clone_from(&planned.segments);
    let digest = match (&planned.course, mode) {
        (Course::Reuse { document, .. }, Mode::Look) => document.digest().clone(),
        (_, Mode::Build) => Box::pin(carry_out(means, &inner, planned)).await?.descriptor.digest,
        (_, Mode::Look) => {
            ground.is_there = false;
            ground.parent = Some(planned.parent.clone());
            return Ok(());
        }
    };
    ground.request.settings.docker.parent_image = Some(Reference::pinned(&target, &digest));
    Ok(())
}

/// The build of `file` alone, with what the settings say of it; its image goes to a tag of ours.
fn of_dockerfile(
    means: &Means,
    request: &BuildRequest,
    file: &Path,
    target: &Repository,
) -> Result<BuildRequest, OpsError> {
    let docker = &request.settings.docker;
    let config = &docker.parent_image_build_config;
    // As the settings write it: the folder of a checkout differs from machine to machine.
    let name = Digest::of(file.as_os_str().as_encoded_bytes());
    let asked = DockerfileRequest {
        file: request.folder.join(file),
        context: docker.build_context_root.as_ref().map(|root| request.folder.join(root)),
        ignore: config.dockerignore.as_ref().map(|file| request.folder.join(file)),
        target: None,
        build_args: build_args(config, &request.variables).into_iter().collect(),
        engine_options: config.engine_options.clone(),
        labels: config.labels.clone(),
    };
    Ok(BuildRequest {
        dockerfile: Some(asked),
        settings: Settings { docker: DockerSettings::default(), lapstrake: request.settings.lapstrake.clone() },
        targets: vec![Reference::tagged(target, &format!("{ASSEMBLED}{}", &name.hex()[..40]))?],
        platforms: platforms(means, request, config),
        no_cache: request.no_cache || config.no_cache,
        ..request.clone()
    })
}

fn platforms(means: &Means, request: &BuildRequest, config: &BuildConfig) -> Vec<Platform> {
    match (request.platforms.as_slice(), &config.platform) {
        ([], Some(platform)) => vec![platform.clone()],
        ([], None) => vec![means.host_platform.clone()],
        (several, _) => several.to_vec(),
    }
}

/// Build arguments; one without a value has that of the environment, and is left out where there is none.
fn build_args(config: &BuildConfig, variables: &BTreeMap<String, String>) -> IndexMap<String, String> {
    let value = |(name, value): (&String, &Option<String>)| {
        let value = value.clone().or_else(|| variables.get(name).cloned())?;
        Some((name.clone(), value))
    };
    config.build_args.iter().filter_map(value).collect()
}

fn apt_title(packages: &[String]) -> String {
    format!("apt packages {}", packages.join(", "))
}

/// The parent with packages of its distribution.
async fn apt(means: &Means, ground: &mut Ground, packages: &[String], mode: Mode) -> Result<(), OpsError> {
    let request = ground.request.clone();
    let named = request.settings.docker.parent_image.clone().ok_or(OpsError::ParentUnset)?;
    let reason = "it runs the distribution's package manager";
    let step = Step { title: apt_title(packages), instruction: "apt_packages", reason, segments: &[] };
    let target = segments_target(&request, step.instruction)?;
    segment::expect_possible(means, asked(&request, &step, &target), false).await?;
    let pinned = parent::pin(means, &named).await?.read(means).await?;
    let mut segments = Vec::new();
    for wanted in wanted_platforms(means, &request, &pinned) {
        let image = pinned.image(means, wanted.as_ref()).await?;
        let at = Reference::pinned(&pinned.reference.repository(), &image.descriptor.digest);
        let user = image.config.user().unwrap_or_default();
        let config = &request.settings.docker.build_config;
        segments.extend(apt_segment(&at, user, packages, image.config.platform()).map(|segment| Segment {
            no_cache: config.no_cache || request.no_cache,
            engine_options: config.engine_options.clone(),
            ..segment
        }));
    }
    stand_on(means, ground, Step { segments: &segments, ..step }, mode).await
}

/// One thing that the settings ask for, as a segment a platform.
pub(super) struct Step<'a> {
    pub(super) title: String,
    pub(super) instruction: &'a str,
    pub(super) reason: &'a str,
    pub(super) segments: &'a [Segment],
}

/// What is asked about a step of `request`, whose segments go to `target`.
pub(super) fn asked<'a>(request: &'a BuildRequest, step: &Step<'a>, target: &'a Repository) -> SegmentRequest<'a> {
    SegmentRequest {
        target,
        backend: request.backend.as_deref().or(request.settings.lapstrake.backend.as_deref()),
        refresh: request.refresh_backend,
        place: None,
        instruction: step.instruction,
        reason: step.reason,
    }
}

/// The repository that keeps the images of segments.
///
/// # Errors
/// Fails when the image goes to no registry.
pub(super) fn segments_target(request: &BuildRequest, instruction: &str) -> Result<Repository, OpsError> {
    let none = || OpsError::SegmentNeedsRegistry { instruction: instruction.to_owned() };
    target_repository(request).ok_or_else(none)
}

/// Puts the images of the segments into the place of the parent.
///
/// # Errors
/// Fails without a registry to leave the image in, without a backend, and when the backend fails.
pub(super) async fn stand_on(means: &Means, ground: &mut Ground, step: Step<'_>, mode: Mode) -> Result<(), OpsError> {
    let target = segments_target(&ground.request, step.instruction)?;
    let asked = asked(&ground.request, &step, &target);
    let (mut images, mut made_by, mut first) = (Vec::new(), None, None);
    for segment in step.segments {
        // The context is read for it: once, whatever is asked by it.
        let key = segment::key_of(segment).await?;
        first.get_or_insert_with(|| key.clone());
        let image = match mode {
            Mode::Build => {
                let name = format!("{target} {key}");
                let make = || segment::find_or_build_keyed(means, asked, segment, key);
                means.memory.segments.get(name, make).await?
            }
            Mode::Look => match segment::find_keyed(means, asked, segment, &key).await? {
                PlannedSegment::Reused(image) => *image,
                PlannedSegment::Build { backend, .. } => {
                    made_by = Some(backend);
                    continue;
                }
            },
        };
        made_by = made_by.or(image.made_by);
        images.push(Descriptor { platform: Some(segment.platform.clone()), ..image.descriptor });
    }
    let Some(key) = first else { return Ok(()) };
    let at = Reference::tagged(&target, &key.tag())?;
    let image = match images.len() == step.segments.len() {
        true => joined(means, &target, images, mode).await?,
        false => None,
    };
    ground.is_there = image.is_some();
    if let Some(image) = &image {
        ground.request.settings.docker.parent_image = Some(image.clone());
    }
    ground.steps.push(SegmentStep { title: step.title, backend: made_by, key: Some(key), at: Some(at), image });
    Ok(())
}

/// The only image, or an index over those of several platforms, which a plan does not write.
async fn joined(
    means: &Means,
    target: &Repository,
    images: Vec<Descriptor>,
    mode: Mode,
) -> Result<Option<Reference>, OpsError> {
    if let [only] = images.as_slice() {
        return Ok(Some(Reference::pinned(target, &only.digest)));
    }
    let index = Raw::of(Index::new(images))
        .map_err(|source| OpsError::ParentDocument { reference: target.to_string(), source })?;
    let document = Document::Index(index);
    let reference = Reference::pinned(target, document.digest());
    match (means.registry.resolve(&reference).await?, mode) {
        (Some(_), _) => {}
        (None, Mode::Look) => return Ok(None),
        (None, Mode::Build) => {
            means.registry.push_manifest(&reference, &document.media_type(), document.bytes()).await?;
        }
    }
    Ok(Some(reference))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_argument_without_a_value_has_that_of_the_environment() {
        let args = [("A", Some("1")), ("B", None), ("C", None)];
        let args = args.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        let config = BuildConfig { build_args: args.into(), ..BuildConfig::default() };
        let variables = [("B".to_owned(), "2".to_owned())].into();
        let found: Vec<_> = build_args(&config, &variables).into_iter().collect();
        assert_eq!(found, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "2".to_owned())]);
    }
}
