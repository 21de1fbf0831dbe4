//! The project's own installation by a command that only a backend can run: upon an image with the sources, below what
//! comes last.
//!
//! In the order of the equivalent Dockerfile: sources, the command, their owner, variables of the running container.

use crate::backend::Segment;
use crate::oci::Reference;
use crate::python::local_project::local_project;
use crate::settings::{BuildConfig, DockerSettings, Native, StackSettings};

use super::build::carry_out;
use super::error::OpsError;
use super::ground::{self, Ground, Mode, SegmentStep, Step, asked, segments_target, stand_on};
use super::means::Means;
use super::parent;
use super::plan::{plan_as, wanted_platforms};
use super::request::{BuildRequest, Output};
use super::segment::{self, backend_for};

/// The tag of the image that the command runs upon; one of ours, so that `delete --key-tags` finds it.
const BELOW: &str = "lapstrake-below-";

/// The command of `request` that takes a backend, when it has one.
pub(super) fn command(request: &BuildRequest) -> Option<&str> {
    let docker = &request.settings.docker;
    let command = docker.local_project_install_command.as_deref().filter(|_| !docker.skip_build)?;
    local_project(command).is_err().then_some(command)
}

/// The image with requirements and sources, upon which the command runs.
pub(super) fn below(request: &BuildRequest) -> Result<BuildRequest, OpsError> {
    let mut below = request.clone();
    let docker = &mut below.settings.docker;
    docker.local_project_install_command = None;
    // The files have to be there for the command; who owns them comes after it.
    docker.allow_including_files_in_images = true;
    docker.allow_download_from_code_repository = false;
    docker.allow_download_from_artifact_store = false;
    docker.user = None;
    docker.runtime_environment.clear();
    below.settings.lapstrake = Native {
        entrypoint: None,
        cmd: None,
        labels: Default::default(),
        code_repository: None,
        artifact_store: None,
        ..below.settings.lapstrake
    };
    if request.output == Output::Registry {
        let Some(target) = request.targets.first() else { return Err(OpsError::NoTarget) };
        let tag = format!("{BELOW}{}", target.tag().unwrap_or("latest"));
        below.targets = vec![Reference::tagged(&target.repository(), &tag.chars().take(128).collect::<String>())?];
    }
    Ok(below)
}

/// What is left for `request` once its sources are in and its command ran.
fn above(request: &BuildRequest, parent: Reference, empty: &std::path::Path) -> BuildRequest {
    let mut above = request.clone();
    let docker = &request.settings.docker;
    above.source_root = empty.to_path_buf();
    above.locked = false;
    above.settings.docker = DockerSettings {
        parent_image: Some(parent),
        environment: docker.environment.clone(),
        runtime_environment: docker.runtime_environment.clone(),
        user: docker.user.clone(),
        build_config: BuildConfig { labels: docker.build_config.labels.clone(), ..BuildConfig::default() },
        ..DockerSettings::default()
    };
    above.settings.lapstrake.stack = StackSettings::default();
    above.settings.lapstrake.code_repository = None;
    above.settings.lapstrake.artifact_store = None;
    above
}

/// What the last part of the image stands on: the image below, and the command run upon it. A plan names the command, and
/// stands where the image below does.
///
/// # Errors
/// Fails without a backend, when the image below cannot be made, and when the command fails.
pub(super) async fn ground(
    means: &Means,
    request: &BuildRequest,
    command: &str,
    mode: Mode,
) -> Result<Ground, OpsError> {
    let below = below(request)?;
    let title = format!("local project `{command}`");
    let mut step =
        Step { title, instruction: command, reason: "it is no plain installation of the project", segments: &[] };
    let target = segments_target(request, command)?;
    if mode == Mode::Look {
        let backend = backend_for(means, asked(request, &step, &target)).await?;
        let mut ground = ground::ground(means, &below, mode).await?;
        // What it begins with is not there, and so has no key.
        let last = SegmentStep { title: step.title, backend: Some(backend), key: None, at: None, image: None };
        ground.steps.push(last);
        return Ok(ground);
    }
    // Nothing is published for a command that nobody can run.
    segment::expect_possible(means, asked(request, &step, &target), false).await?;
    let planned = Box::pin(plan_as(means, &below, mode)).await?;
    let steps = planned.segments.clone();
    let built = carry_out(means, &below, planned).await?;
    let segments = segments(means, request, command, &Reference::pinned(&target, &built.descriptor.digest)).await?;
    step.segments = &segments;
    let mut ground = Ground { steps, ..Ground::of(request) };
    stand_on(means, &mut ground, step, mode).await?;
    let parent = ground.request.settings.docker.parent_image.clone().ok_or(OpsError::ParentUnset)?;
    let empty = means.store.scratch()?;
    ground.request = above(request, parent, empty.path());
    Ok(Ground { folder: Some(empty), ..ground })
}

/// The command, upon the image of each platform in `image`.
async fn segments(
    means: &Means,
    request: &BuildRequest,
    command: &str,
    image: &Reference,
) -> Result<Vec<Segment>, OpsError> {
    let pinned = parent::pin(means, image).await?.read(means).await?;
    let mut segments = Vec::new();
    for platform in wanted_platforms(means, request, &pinned) {
        let of_platform = pinned.image(means, platform.as_ref()).await?;
        let from = Reference::pinned(&image.repository(), &of_platform.descriptor.digest);
        let text = dockerfile(&from, command, request.settings.docker.user.as_deref());
        segments.push(Segment::new(text, of_platform.config.platform()));
    }
    Ok(segments)
}

/// `RUN` of the command in `/app`, and the owner of what is there afterwards.
fn dockerfile(from: &Reference, command: &str, user: Option<&str>) -> String {
    let owner = user.map(|user| format!("RUN chown -R {user} .\n")).unwrap_or_default();
    format!("FROM {from}\nWORKDIR /app\nRUN {command}\n{owner}")
}
