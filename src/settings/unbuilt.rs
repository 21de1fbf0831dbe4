//! What settings may say and no build does yet: a gate that loses a line with each feature.
//!
//! It knows nothing of values; whether a field asks for something is all that counts.

use super::error::{Place, Problem, SettingsError};
use super::provenance::{Effective, Origin};
use super::run::RunSettings;
use super::types::{DockerSettings, Installer, Native, Resolution, Settings, StackSettings};

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
    let default = DockerSettings::default();
    let options = &docker.build_config;
    let gaps = [
        (!docker.apt_packages.is_empty(), "settings.docker.apt_packages", "use a parent image that has these packages"),
        (
            docker.dockerfile.is_some(),
            "settings.docker.dockerfile",
            "build that image first and name it as `parent_image`",
        ),
        (
            docker.parent_image_build_config != default.parent_image_build_config,
            "settings.docker.parent_image_build_config",
            "build the parent first and name it as `parent_image`",
        ),
        (
            docker.pyproject_path.is_some() || docker.pyproject_export_command.is_some(),
            "settings.docker.pyproject_path",
            "export the project's requirements into a file and name it under `requirements`",
        ),
        (
            docker.replicate_local_python_environment.is_some(),
            "settings.docker.replicate_local_python_environment",
            "write `uv pip freeze` into a file and name it under `requirements`",
        ),
        (
            !docker.required_integrations.is_empty(),
            "settings.docker.required_integrations",
            "list the integrations' packages under `requirements`",
        ),
        (
            docker.local_project_install_command.is_some(),
            "settings.docker.local_project_install_command",
            "build a wheel of the project and list it under `requirements`",
        ),
        (
            !docker.disable_automatic_requirements_detection,
            "settings.docker.disable_automatic_requirements_detection",
            "name the file under `requirements`",
        ),
        (
            docker.python_package_installer == Installer::Pip,
            "settings.docker.python_package_installer",
            "write `uv`, which reads the same requirements",
        ),
        (
            !options.build_args.is_empty() || !options.engine_options.is_empty(),
            "settings.docker.build_config.build_options",
            "keep `labels` and `platform` alone; no engine takes part in the build",
        ),
        (
            options.no_cache || !options.cache_from.is_empty(),
            "settings.docker.build_config.build_options",
            "use `--no-cache` and `lapstrake.cache_from`",
        ),
    ];
    gaps.into_iter().find(|(is_asked, ..)| *is_asked).map(|(_, path, instead)| (path, instead))
}

fn unbuilt_native(native: &Native) -> Option<Gap> {
    let gaps = [
        (native.stack != StackSettings::default(), "lapstrake.stack"),
        (native.resolution != Resolution::default(), "lapstrake.resolution"),
        (native.artifact_store.is_some(), "lapstrake.artifact_store"),
        (!native.secrets.is_empty(), "lapstrake.secrets"),
        (native.backend.is_some(), "lapstrake.backend"),
    ];
    gaps.into_iter().find(|(is_asked, _)| *is_asked).map(|(_, path)| (path, "remove it"))
}
