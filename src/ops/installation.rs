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
use super::ground::{Ground, Mode, Step, backend_of, stand_on};
use super::means::Means;
use super::parent;
use super::plan::{plan_as, wanted_platforms};
use super::request::{BuildRequest, Output};
use super::segment::check_backend;

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

/// Makes what the last part of the image stands on: the image below, and the command run upon it. In a plan it names the
/// command and leaves the image below to be shown.
///
/// # Errors
/// Fails without a backend, when the image below cannot be made, and when the command fails.
pub(super) async fn ground(
    means: &Means,
    request: &BuildRequest,
    command: &str,
    mode: Mode,
) -> Result<Ground, OpsError> {
    let reason = "it is no plain installation of the project";
    let below = below(request)?;
    if mode == Mode::Look {
        let mut ground = Ground { request: below, steps: Vec::new(), is_there: true, folder: None };
        let backend = check_backend(means, backend_of(request), command, reason).await?;
        ground.promise(format!("local project `{command}`"), backend);
        return Ok(ground);
    }
    let planned = Box::pin(plan_as(means, &below, Mode::Build)).await?;
    let mut steps = planned.segments.clone();
    let built = carry_out(means, &below, planned).await?;
    let image = Reference::parse(&built.reference).map_err(OpsError::Reference)?;
    let pinned = parent::pin(means, &image).await?.read(means).await?;
    let mut segments = Vec::new();
    for platform in wanted_platforms(means, request, &pinned) {
        let of_platform = pinned.image(means, platform.as_ref()).await?;
        let from = Reference::pinned(&image.repository(), &of_platform.descriptor.digest);
        let text = dockerfile(&from, command, request.settings.docker.user.as_deref());
        segments.push(Segment::new(text, of_platform.config.platform()));
    }
    let mut ground = Ground { request: request.clone(), steps: Vec::new(), is_there: true, folder: None };
    let step = Step { title: format!("local project `{command}`"), instruction: command, reason, segments: &segments };
    stand_on(means, &mut ground, step, mode).await?;
    steps.append(&mut ground.steps);
    let parent = ground.request.settings.docker.parent_image.clone().ok_or(OpsError::ParentUnset)?;
    let empty = means.store.scratch()?;
    let request = above(request, parent, empty.path());
    Ok(Ground { request, steps, is_there: true, folder: Some(empty) })
}

/// `RUN` of the command in `/app`, and the owner of what is there afterwards.
fn dockerfile(from: &Reference, command: &str, user: Option<&str>) -> String {
    let owner = user.map(|user| format!("RUN chown -R {user} .\n")).unwrap_or_default();
    format!("FROM {from}\nWORKDIR /app\nRUN {command}\n{owner}")
}
