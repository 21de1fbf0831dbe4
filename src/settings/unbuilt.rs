//! What settings may say and no build does yet: a gate that loses a line with each feature.
//!
//! It knows nothing of values; whether a field asks for something is all that counts.

use super::error::{Place, Problem, SettingsError};
use super::provenance::{Effective, Origin};
use super::run::RunSettings;
use super::types::{DockerSettings, Installer, Native, Resolution, Settings};

/// The error of the first setting, of the pipeline or a step, that asks for what no build does yet.
pub fn first_unbuilt(run: &RunSettings) -> Option<SettingsError> {
    let pipeline = unbuilt(&run.pipeline).map(|gap| refusal(gap, "", &run.provenance.pipeline));
    pipeline.or_else(|| {
        run.steps.iter().zip(&run.provenance.steps).find_map(|((name, settings), (_, shown))| {
            Some(refusal(unbuilt(settings)?, &format!("steps.{name}."), shown))
        })
    })
}

type Gap = (&'static str, &'static str);

fn refusal((path, instead): Gap, prefix: &str, shown: &[Effective]) -> SettingsError {
    let is_below = |value: &&Effective| {
        let dotted = value.path.join(".");
        value.origin != Origin::Default && (dotted == path || dotted.starts_with(&format!("{path}.")))
    };
    let at = match shown.iter().find(is_below).map(|value| &value.origin) {
        Some(Origin::File(place)) => place.clone(),
        Some(origin) => Place { file: origin.to_string(), line: 0, column: 0 },
        None => Place { file: "settings".to_owned(), line: 0, column: 0 },
    };
    let what = format!("{prefix}{path}");
    SettingsError { at, path: what.clone(), problem: Box::new(Problem::NotSupported { what, instead: Some(instead) }) }
}

fn unbuilt(settings: &Settings) -> Option<Gap> {
    unbuilt_docker(&settings.docker).or_else(|| unbuilt_native(&settings.lapstrake))
}

fn unbuilt_docker(docker: &DockerSettings) -> Option<Gap> {
    let gaps = [
        (
            docker.local_project_install_command.is_some(),
            "settings.docker.local_project_install_command",
            "build a wheel of the project and list it under `requirements`",
        ),
        (
            docker.python_package_installer == Installer::Pip,
            "settings.docker.python_package_installer",
            "write `uv`, which reads the same requirements",
        ),
    ];
    gaps.into_iter().find(|(is_asked, ..)| *is_asked).map(|(_, path, instead)| (path, instead))
}

fn unbuilt_native(native: &Native) -> Option<Gap> {
    let gaps = [
        (native.resolution != Resolution::default(), "lapstrake.resolution"),
    ];
    gaps.into_iter().find(|(is_asked, _)| *is_asked).map(|(_, path)| (path, "remove it"))
}
