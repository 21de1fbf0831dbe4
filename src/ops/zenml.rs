//! What ZenML would say of an image: its Dockerfile, the text of its requirements, the checksum of its settings.
//!
//! Told and recorded; no image is made from it.

use std::path::Path;

use crate::dockerfile::{EquivalentImage, Exactness, equivalent, exec_form};
use crate::event::Event;
use crate::inputs::python::PythonHost;
use crate::oci::Reference;
use crate::plan::SettingsChecksum;

use super::error::OpsError;
use super::facts::{self, Wanted};
use super::means::Means;
use super::parent;
use super::request::{BuildRequest, Output};
use super::requirements::{apt_packages, tell_once};

/// ZenML's own image, of which its version and that of Python are parts.
const DEFAULT_PARENT: &str = "zenmldocker/zenml:0.98.0-py";
/// The version of Python that is named when nothing says which.
const DEFAULT_PYTHON: (u32, u32) = (3, 11);

/// One image, as ZenML would record it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZenmlImage {
    /// The Dockerfile; `None` of a build that is skipped.
    pub dockerfile: Option<String>,
    /// The requirement files, one after the other; `None` without any.
    pub requirements: Option<String>,
    /// The checksum of the settings, in hexadecimal digits.
    pub settings_checksum: String,
}

/// The Dockerfile that ZenML would write for `request`; `None` of a build that is skipped.
///
/// # Errors
/// Fails when requirements cannot be gathered.
pub async fn equivalent_dockerfile(
    means: &Means,
    request: &BuildRequest,
    exactness: Exactness,
) -> Result<Option<String>, OpsError> {
    let sources = files(means, request).await?;
    Ok((!request.settings.docker.skip_build).then(|| dockerfile(request, &sources, exactness)))
}

/// What ZenML would record of the image. The parent's digest is asked for once in a run.
///
/// # Errors
/// Fails when requirements cannot be gathered, the Dockerfile cannot be read, or the parent's registry does not answer.
pub async fn zenml_image(means: &Means, request: &BuildRequest) -> Result<ZenmlImage, OpsError> {
    if let Some(asked) = &request.dockerfile {
        return of_dockerfile(request, &asked.file);
    }
    let docker = &request.settings.docker;
    let sources = files(means, request).await?;
    let texts: Vec<&str> = sources.iter().map(|file| file.text.as_str()).collect();
    let custom = match &docker.dockerfile {
        Some(file) => {
            let path = request.folder.join(file);
            Some(std::fs::read(&path).map_err(|source| OpsError::ReadFile { path, source })?)
        }
        None => None,
    };
    let parent = match &docker.parent_image {
        Some(named) if !docker.skip_build && request.output == Output::Registry => {
            Some(parent::pin(means, named).await?.descriptor.digest)
        }
        _ => None,
    };
    let entrypoint = entrypoint(request);
    let checksum = SettingsChecksum {
        document: &request.document,
        entrypoint: entrypoint.as_deref(),
        extra_files: &[],
        requirements: &texts,
        dockerfile: custom.as_deref(),
        parent_digest: parent.as_ref().map(|digest| digest.hex()),
    };
    Ok(ZenmlImage {
        settings_checksum: checksum.hex(),
        dockerfile: (!docker.skip_build).then(|| dockerfile(request, &sources, Exactness::Corrected)),
        requirements: (!texts.is_empty()).then(|| crate::inputs::requirements::without_credentials(&texts.join("\n"))),
    })
}

/// An image that a Dockerfile alone says everything of.
fn of_dockerfile(request: &BuildRequest, file: &Path) -> Result<ZenmlImage, OpsError> {
    let text = std::fs::read_to_string(file).map_err(|source| OpsError::ReadFile { path: file.to_owned(), source })?;
    let checksum = SettingsChecksum {
        document: &request.document,
        entrypoint: None,
        extra_files: &[],
        requirements: &[],
        dockerfile: Some(text.as_bytes()),
        parent_digest: None,
    };
    Ok(ZenmlImage { settings_checksum: checksum.hex(), dockerfile: Some(text), requirements: None })
}

/// One requirement file: the name that the Dockerfile has for it, and its text.
struct File {
    name: String,
    text: String,
}

/// The requirement files in the order of installation; uv installs a lock as it does any of them.
async fn files(means: &Means, request: &BuildRequest) -> Result<Vec<File>, OpsError> {
    Ok(match facts::wanted(means, request).await? {
        None => Vec::new(),
        Some(Wanted::Installs(_)) => Vec::new(),
        Some(Wanted::Lines(sources)) => {
            sources.into_iter().map(|source| File { name: source.name, text: source.text }).collect()
        }
        Some(Wanted::Lock { path, .. }) => {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&path).map_err(|source| OpsError::ReadFile { path, source })?;
            vec![File { name, text }]
        }
    })
}

fn dockerfile(request: &BuildRequest, files: &[File], exactness: Exactness) -> String {
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let docker = &request.settings.docker;
    let (parent, packages, entrypoint) = (parent_name(request), apt_packages(request), entrypoint(request));
    let image = EquivalentImage {
        settings: docker,
        parent: &parent,
        requirements_files: &names,
        apt_packages: &packages,
        entrypoint: entrypoint.as_deref(),
        includes_files: docker.allow_including_files_in_images,
    };
    equivalent(&image, exactness)
}

fn entrypoint(request: &BuildRequest) -> Option<String> {
    request.settings.lapstrake.entrypoint.as_deref().map(exec_form)
}

/// The parent as the settings write it; ZenML's own where they name none.
fn parent_name(request: &BuildRequest) -> String {
    let document: Option<serde_json::Value> = serde_json::from_str(&request.document).ok();
    let written = document.as_ref().and_then(|document| document["parent_image"].as_str());
    match written {
        Some(written) => written.to_owned(),
        None => match &request.settings.docker.parent_image {
            Some(taken) => taken.to_string().trim_start_matches("docker.io/").to_owned(),
            None => default_parent(DEFAULT_PYTHON),
        },
    }
}

/// Takes ZenML's own image for the parent where the settings name none, for the Python that `lapstrake.python.version` or
/// the project's environment has; without either the parent stays unset.
pub async fn take_default_parent(means: &Means, request: &mut BuildRequest) {
    let docker = &request.settings.docker;
    if docker.parent_image.is_some() || docker.dockerfile.is_some() || docker.skip_build {
        return;
    }
    let host = PythonHost::new(means.resolver.environment(), &request.source_root, None);
    let python = match request.python.version {
        Some(version) => Some(version),
        None => {
            let ask = async || Ok::<_, std::convert::Infallible>(host.version().await);
            let Ok(found) = means.memory.pythons.get(request.source_root.clone(), ask).await;
            found
        }
    };
    let Some(python) = python else { return };
    let name = default_parent(python);
    let Ok(parent) = Reference::parse(&name) else { return };
    let text = format!("`parent_image` is not set: the image is built upon ZenML's own, `{name}`");
    tell_once(means, Event::Note { text }).await;
    request.settings.docker.parent_image = Some(parent);
}

/// The image that ZenML takes where the settings name none.
fn default_parent((major, minor): (u32, u32)) -> String {
    format!("{DEFAULT_PARENT}{major}.{minor}")
}
