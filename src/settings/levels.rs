//! The parts of a run configuration that say how images are made, each level laid over the one below it.
//!
//! Nothing is typed here; an error of a merged step still names the line that is wrong.

use super::error::SettingsError;
use super::field::{Field, Reader};
use super::merge::{merge, merge_docker, modernise};
use super::overrides::{Overrides, Section};
use super::yaml::{Data, Node};

const SECTIONS: [&str; 4] = ["settings", "lapstrake", "steps", "step_configurations"];
/// Keys of ZenML's run configuration that say nothing about images.
pub(super) const ZENML: [&str; 31] = [
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
    "end_hook_source",
    "init_hook_source",
    "cleanup_hook_source",
    "model",
    "name",
    "parameters",
    "retry",
    "run_name",
    "schedule",
    "secrets",
    "start_hook_source",
    "pause_hook_source",
    "resume_hook_source",
    "substitutions",
    "success_hook_source",
    "tags",
    "description",
    "source",
];
/// The first words of the keys under `settings`; a flavor may follow after a dot.
pub(super) const KINDS: [&str; 17] = [
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

/// Keys of a step; all but `settings` say nothing about images.
pub(super) const STEP: [&str; 34] = [
    "settings",
    "cache_expiration",
    "cache_policy",
    "caching_parameters",
    "client_lazy_loaders",
    "command",
    "config",
    "enable_artifact_metadata",
    "enable_artifact_visualization",
    "enable_cache",
    "enable_heartbeat",
    "enable_step_logs",
    "end_hook_source",
    "environment",
    "experiment_tracker",
    "external_input_artifacts",
    "extra",
    "failure_hook_source",
    "heartbeat_healthy_threshold",
    "model",
    "model_artifacts_or_metadata",
    "name",
    "outputs",
    "parameters",
    "retry",
    "runtime",
    "secrets",
    "spec",
    "start_hook_source",
    "step_config_overrides",
    "step_operator",
    "step_type",
    "substitutions",
    "success_hook_source",
];

/// `settings.docker` of the pipeline and of each step, and `lapstrake`.
pub(super) struct Levels {
    pub(super) name: Option<String>,
    pub(super) docker: Node,
    pub(super) native: Node,
    /// In the order of the file; each laid over the pipeline's.
    pub(super) steps: Vec<(String, Node)>,
}

impl Levels {
    /// Takes the levels of a file and what beats them; flags beat the file on their own level alone.
    pub(super) fn read(reader: &Reader<'_>, root: &Node, overrides: &Overrides) -> Result<Self, SettingsError> {
        let nothing = Node { at: root.at, data: Data::Null };
        let mut levels = Self { name: None, docker: nothing.clone(), native: nothing.clone(), steps: Vec::new() };
        for field in Field::root(reader, root).fields()? {
            match field.key() {
                "settings" => levels.docker = docker_of(&field, reader)?.unwrap_or_else(|| nothing.clone()),
                "lapstrake" => levels.native = field.mapping()?.clone(),
                "steps" | "step_configurations" => levels.take_steps(&field, reader)?,
                "name" if field.is_null() => {}
                "name" => levels.name = Some(field.text()?).filter(|name| !name.is_empty()),
                key if ZENML.contains(&key) => {}
                _ => field.unknown(SECTIONS.into_iter().chain(ZENML))?,
            }
        }
        for (section, mut node) in overrides.nodes(1)? {
            match section {
                Section::Native => levels.native = merge(levels.native, node),
                Section::Docker => {
                    modernise(&mut node, reader);
                    levels.docker = merge_docker(levels.docker, node);
                }
                Section::Step(name) => {
                    modernise(&mut node, reader);
                    levels.put_step(&name, node);
                }
            }
        }
        for (_, step) in &mut levels.steps {
            let own = std::mem::replace(step, nothing.clone());
            *step = merge_docker(levels.docker.clone(), own);
        }
        Ok(levels)
    }

    fn take_steps(&mut self, steps: &Field<'_>, reader: &Reader<'_>) -> Result<(), SettingsError> {
        for step in steps.fields()? {
            let mut docker = Node { at: step.node().at, data: Data::Null };
            for field in step.fields()? {
                match field.key() {
                    "settings" => docker = docker_of(&field, reader)?.unwrap_or(docker),
                    key if STEP.contains(&key) => {}
                    _ => field.unknown(STEP)?,
                }
            }
            self.put_step(step.key(), docker);
        }
        Ok(())
    }

    fn put_step(&mut self, name: &str, docker: Node) {
        match self.steps.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => {
                let below = std::mem::replace(known, Node { at: docker.at, data: Data::Null });
                *known = merge_docker(below, docker);
            }
            None => self.steps.push((name.to_owned(), docker)),
        }
    }
}

/// `docker` of a section `settings`, in today's spellings.
fn docker_of(settings: &Field<'_>, reader: &Reader<'_>) -> Result<Option<Node>, SettingsError> {
    let mut docker = None;
    for field in settings.fields()? {
        let kind = field.key().split('.').next().unwrap_or_default();
        match field.key() {
            "docker" => {
                let mut node = field.mapping()?.clone();
                modernise(&mut node, reader);
                docker = Some(node);
            }
            _ if kind != "docker" && KINDS.contains(&kind) => {}
            _ => field.unknown(KINDS)?,
        }
    }
    Ok(docker)
}
