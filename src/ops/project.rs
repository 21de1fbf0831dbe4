//! The project's own installation: its wheel, and what that requires.
//!
//! Commands that are more than an installation of the project are refused here; those are a backend's.

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;

use crate::event::Event;
use crate::plan::KeyHasher;
use crate::python::local_project::{LocalProject, local_project};
use crate::python::lock::{Lock, LockedWheel, RemovedDistribution};
use crate::python::marker::MarkerEnvironment;
use crate::python::origin::Origin;
use crate::python::{Wheel, normalize_name};
use crate::resolver::WantedWheel;
use crate::resolver::request::RequirementText;
use crate::settings::Installer;

use super::error::OpsError;
use super::facts::LocalFacts;
use super::plan::{Planning, source_prefix};
use super::request::BuildRequest;
use super::resolution;
use super::wheels::{Making, staged_sources};

/// The wheel of the project, and the lines that it adds to the requirements.
pub(super) struct ProjectWheel {
    wheel: LockedWheel,
    /// What it requires; nothing with `--no-deps`.
    pub(super) requirements: Option<RequirementText>,
}

/// Whether the settings ask for the project's own installation.
pub(super) fn is_asked(request: &BuildRequest) -> bool {
    request.settings.docker.local_project_install_command.is_some()
}

/// Adds the command, and the sources that the wheel is made of, to a key of Python layers.
pub(super) fn add_to(key: &mut KeyHasher, request: &BuildRequest, local: &LocalFacts) {
    if let Some(command) = &request.settings.docker.local_project_install_command {
        let sources = local.sources.as_ref().map(|tree| tree.key_material());
        key.add("project", command);
        key.add("project-sources", sources.as_ref().map_or("", |digest| digest.as_str()));
    }
}

/// Makes the project's wheel, when the settings ask for it.
///
/// # Errors
/// Fails for a command that takes a backend, without sources, and when the project does not build.
pub(super) async fn make(planning: &Planning<'_>, making: &Making<'_>) -> Result<Option<ProjectWheel>, OpsError> {
    let docker = &planning.request.settings.docker;
    let Some(command) = &docker.local_project_install_command else { return Ok(None) };
    let project = local_project(command)?;
    let Some(tree) = &planning.local.sources else {
        return Err(OpsError::NoProject { command: command.clone() });
    };
    if project.is_editable {
        let text = format!("`{command}` installs a wheel: an image's own copy of the project is not edited");
        planning.means.reporter.report(Event::Note { text });
    }
    let (content, subdirectory) = (Some(tree.key_material()), project.folder.clone());
    let origin = Origin::Folder { path: ".".into(), content, subdirectory };
    let wanted = WantedWheel { shown: command.clone(), name: None, version: String::new(), index: None, origin };
    let builder = making.builder().await?;
    let wheel = match builder.remembered(&wanted)? {
        Some(wheel) => wheel,
        None => {
            let copy = staged_sources(planning.means, &Arc::clone(tree), &planning.request.source_root).await?;
            builder.build(&wanted, Some(copy.path())).await?
        }
    };
    let requirements = match project.no_deps {
        true => None,
        false => Some(RequirementText {
            name: command.clone(),
            text: requirements(making, &wheel, &project)?.join("\n"),
            folder: planning.request.source_root.clone(),
        }),
    };
    let wheel = LockedWheel { direct_url: Some(direct_url(&project, docker.python_package_installer)?), ..wheel };
    Ok(Some(ProjectWheel { wheel, requirements }))
}

/// The text that the installer writes for the folder in the image, which is the same on every machine.
fn direct_url(project: &LocalProject, installer: Installer) -> Result<String, OpsError> {
    let below = project.folder.as_ref().map(|folder| format!("/{folder}")).unwrap_or_default();
    let url = format!("file:///{}{below}", source_prefix()?);
    Ok(match installer {
        Installer::Uv => format!("{{\"url\":\"{url}\",\"dir_info\":{{}}}}"),
        Installer::Pip => format!("{{\"dir_info\": {{}}, \"url\": \"{url}\"}}"),
    })
}

/// What the wheel requires in the image, with the extras asked for.
fn requirements(making: &Making<'_>, wheel: &LockedWheel, project: &LocalProject) -> Result<Vec<String>, OpsError> {
    let path = making.means.store.path(&wheel.sha256);
    let file = File::open(&path).map_err(|source| OpsError::ReadFile { path, source })?;
    let metadata = Wheel::open(file, &wheel.filename)?.metadata()?;
    let target = &making.asked.target;
    let markers = MarkerEnvironment::linux(&target.version, resolution::machine(&target.platform));
    Ok(required(&String::from_utf8_lossy(&metadata), &wheel.name, &project.extras, &markers))
}

/// The `Requires-Dist` of `metadata` that count, without their markers; extras of the project itself are followed.
pub(super) fn required(metadata: &str, name: &str, extras: &[String], markers: &MarkerEnvironment) -> Vec<String> {
    let head = metadata.lines().take_while(|line| !line.trim_end().is_empty());
    let given = head.filter_map(|line| line.strip_prefix("Requires-Dist:")).map(str::trim);
    let lines: Vec<(&str, &str)> = given.map(|line| line.split_once(';').unwrap_or((line, ""))).collect();
    let mut wanted: BTreeSet<String> = extras.iter().map(|extra| normalize_name(extra)).collect();
    loop {
        let counts = |marker: &str| {
            let holds = |extra: &str| markers.with_extra(extra).holds(marker, &[]) != Some(false);
            marker.trim().is_empty() || holds("") || wanted.iter().any(|extra| holds(extra))
        };
        let (own, others): (Vec<&str>, Vec<&str>) =
            lines.iter().filter(|(_, marker)| counts(marker)).map(|(line, _)| line.trim()).partition(|line| {
                normalize_name(line.split(['[', ' ', '<', '>', '=', '!', '~', '(']).next().unwrap_or(line)) == name
            });
        let more = own.iter().filter_map(|line| line.split_once('[')?.1.split_once(']')).map(|(extras, _)| extras);
        let before = wanted.len();
        wanted.extend(
            more.flat_map(|extras| extras.split(',')).map(|extra| normalize_name(extra.trim())).collect::<Vec<_>>(),
        );
        if wanted.len() == before {
            return others.into_iter().map(str::to_owned).collect();
        }
    }
}

impl ProjectWheel {
    /// Puts the project's wheel into `lock`, in the place of what has its name.
    pub(super) fn join(self, lock: &mut Lock, installed: impl Fn(&str) -> Option<String>) {
        lock.packages.retain(|wheel| wheel.name != self.wheel.name);
        let is_removed = lock.removed.iter().any(|gone| gone.name == self.wheel.name);
        if let Some(version) = installed(&self.wheel.name).filter(|_| !is_removed) {
            lock.removed.push(RemovedDistribution { name: self.wheel.name.clone(), version });
            lock.removed.sort();
        }
        lock.packages.push(self.wheel);
        lock.packages.sort_by(|a, b| a.name.cmp(&b.name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_those_of_the_image_and_the_extras() {
        let metadata = "Name: Demo\nRequires-Dist: idna>=3\nRequires-Dist: tomli; python_version < '3.11'\n\
                        Requires-Dist: six; extra == 'x'\nRequires-Dist: rich ; extra == \"y\"\n\
                        Requires-Dist: demo[x,y]; extra == 'all'\n\nRequires-Dist: text\n";
        let markers = MarkerEnvironment::linux("3.11", "x86_64");
        let of = |extras: &[&str]| {
            let extras: Vec<String> = extras.iter().map(|&extra| extra.to_owned()).collect();
            required(metadata, "demo", &extras, &markers)
        };
        assert_eq!(of(&[]), ["idna>=3"]);
        assert_eq!(of(&["X"]), ["idna>=3", "six"]);
        assert_eq!(of(&["all"]), ["idna>=3", "six", "rich"]);
    }
}
