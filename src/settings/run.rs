//! A run configuration: the file that ZenML reads, with our section beside ZenML's own.
//!
//! What belongs to ZenML alone is accepted and not looked at.

use std::cell::RefCell;

use super::error::{SettingsError, Warning};
use super::field::{Field, Reader};
use super::substitution::Substitution;
use super::types::Settings;
use super::{docker, native, yaml};

const SECTIONS: [&str; 2] = ["settings", "lapstrake"];
/// Keys of ZenML's run configuration that say nothing about images.
const ZENML: [&str; 29] = [
    "build",
    "cache_policy",
    "enable_artifact_metadata",
    "enable_artifact_visualization",
    "enable_cache",
    "enable_heartbeat",
    "enable_pipeline_logs",
    "enable_step_logs",
    "environment",
    "execution_mode",
    "extra",
    "failure_hook_source",
    "init_hook_kwargs",
    "init_hook_source",
    "cleanup_hook_source",
    "model",
    "name",
    "parameters",
    "retry",
    "run_name",
    "schedule",
    "secrets",
    "steps",
    "step_configurations",
    "substitutions",
    "success_hook_source",
    "tags",
    "description",
    "source",
];
/// The first words of the keys under `settings`; a flavor may follow after a dot.
const KINDS: [&str; 17] = [
    "docker",
    "resources",
    "deployment",
    "orchestrator",
    "step_operator",
    "artifact_store",
    "container_registry",
    "image_builder",
    "experiment_tracker",
    "model_deployer",
    "model_registry",
    "data_validator",
    "feature_store",
    "annotator",
    "alerter",
    "deployer",
    "log_store",
];

impl Settings {
    /// Parses the text of a run configuration; `file` names it in messages, `substitution` gives `${NAME}` its values.
    ///
    /// # Errors
    /// Fails at the first key that is unknown, not supported yet or has a wrong value, with its place and its path.
    pub fn parse(text: &str, file: &str, substitution: &Substitution) -> Result<(Self, Vec<Warning>), SettingsError> {
        let node = yaml::parse(text, file)?;
        let reader = Reader { file, substitution, warnings: RefCell::new(Vec::new()) };
        let mut settings = Self::default();
        for field in Field::root(&reader, &node).fields()? {
            match field.key() {
                "settings" => read_settings(&field, &mut settings)?,
                "lapstrake" => settings.lapstrake = native::read(&field)?,
                "steps" | "step_configurations" => refuse_steps(&field)?,
                key if ZENML.contains(&key) => {}
                _ => return Err(field.unknown(&[&SECTIONS[..], &ZENML[..]].concat())),
            }
        }
        let mut warnings = reader.warnings.into_inner();
        warnings.sort_by(|a, b| a.at.cmp(&b.at));
        Ok((settings, warnings))
    }
}

fn read_settings(section: &Field<'_>, settings: &mut Settings) -> Result<(), SettingsError> {
    for field in section.fields()? {
        let kind = field.key().split('.').next().unwrap_or_default();
        match field.key() {
            "docker" => settings.docker = docker::read(&field)?,
            _ if kind != "docker" && KINDS.contains(&kind) => {}
            _ => return Err(field.unknown(&KINDS)),
        }
    }
    Ok(())
}

fn refuse_steps(steps: &Field<'_>) -> Result<(), SettingsError> {
    for step in steps.fields()? {
        let settings = step.fields()?.into_iter().filter(|field| field.key() == "settings");
        for settings in settings {
            let docker = settings.fields()?.into_iter().find(|field| field.key() == "docker" && !field.is_nothing());
            if let Some(docker) = docker {
                return Err(docker.not_supported(Some("set `settings.docker` for the whole pipeline")));
            }
        }
    }
    Ok(())
}
