//! Lists what the local environment and a `pyproject.toml` hold, once a run for all images.
//!
//! Starts other programs; what they print is read by `requirements`.

use std::path::{Path, PathBuf};

use crate::event::{Task, Work};
use crate::inputs::python::{Listed, ListingError, Pyproject, PythonHost, export, freeze};
use crate::settings::LocalEnvironment;

use super::means::Means;
use super::request::BuildRequest;
use super::resolution;

/// Lists the packages of the local environment.
pub(super) async fn local_environment(
    means: &Means,
    request: &BuildRequest,
    how: &LocalEnvironment,
) -> Result<Listed, ListingError> {
    let key = format!("{how:?} in {}", request.source_root.display());
    means.memory.listings.get(key, async || list_local(means, request, how).await).await
}

async fn list_local(means: &Means, request: &BuildRequest, how: &LocalEnvironment) -> Result<Listed, ListingError> {
    let _task = Task::start(&means.reporter, Work::Resolve, "the local environment", None);
    let plain = PythonHost::new(means.resolver.environment(), &request.source_root, None);
    let needs_uv = match how {
        LocalEnvironment::Freeze => !plain.has_pip(),
        LocalEnvironment::UvFreeze => true,
        LocalEnvironment::PipFreeze | LocalEnvironment::PoetryExport | LocalEnvironment::Command(_) => false,
    };
    let host = if needs_uv { plain.with_uv(uv(means, request).await) } else { plain };
    freeze(&host, how).await
}

/// Exports what the project file at `path` asks for.
pub(super) async fn pyproject(
    means: &Means,
    request: &BuildRequest,
    path: &Path,
) -> Result<(Pyproject, Listed), ListingError> {
    let project = Pyproject::at(path)?;
    let command = request.settings.docker.pyproject_export_command.as_deref();
    let key = format!("{command:?} of {} in {}", project.file.display(), request.source_root.display());
    let list = async || list_project(means, request, &project).await;
    let listed = means.memory.listings.get(key, list).await?;
    Ok((project, listed))
}

async fn list_project(means: &Means, request: &BuildRequest, project: &Pyproject) -> Result<Listed, ListingError> {
    let command = request.settings.docker.pyproject_export_command.as_deref();
    let _task = Task::start(&means.reporter, Work::Resolve, &project.file.display().to_string(), None);
    let host = PythonHost::new(means.resolver.environment(), &request.source_root, None);
    let host = if command.is_none() { host.with_uv(uv(means, request).await) } else { host };
    export(&host, project, command).await
}

/// The resolver's uv, if there is one; without it other programs are tried.
async fn uv(means: &Means, request: &BuildRequest) -> Option<PathBuf> {
    let asked = resolution::question(means, request, &[], &std::collections::BTreeMap::new(), None);
    let found = means.resolver.uv(&asked, &means.store, &means.reporter).await.ok()?;
    Some(found.program().to_owned())
}
