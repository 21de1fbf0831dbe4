//! What the settings change in the parent's config, in the order of the equivalent Dockerfile.
//!
//! The parent's own values are not looked at here; `image::assemble` joins them.

use crate::image::ConfigChange;
use crate::settings::Settings;

use super::key::KeyHasher;

/// Where the project's files go, and the working directory unless the settings name another.
pub const SOURCES: &str = "app";

/// Variables that ZenML sets in every image that it builds.
const ZENML: [(&str, &str); 2] =
    [("ZENML_ENABLE_REPO_INIT_WARNINGS", "False"), ("ZENML_CONFIG_PATH", "/app/.zenconfig")];

/// The config change that `settings` ask for.
pub fn config_change(settings: &Settings, created: Option<String>) -> ConfigChange {
    let (docker, native) = (&settings.docker, &settings.lapstrake);
    let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let mut environment: Vec<(String, String)> = docker.environment.clone().into_iter().collect();
    environment.extend(ZENML.map(owned));
    environment.extend(docker.runtime_environment.clone());
    let mut labels = docker.build_config.labels.clone();
    labels.extend(native.labels.clone());
    ConfigChange {
        working_dir: Some(native.working_dir.clone().unwrap_or_else(|| format!("/{SOURCES}"))),
        environment,
        user: docker.user.clone(),
        entrypoint: native.entrypoint.clone(),
        cmd: native.cmd.clone(),
        labels,
        created,
        instructed: None,
    }
}

/// Whether the settings leave the parent's config as it is.
pub fn changes_nothing(settings: &Settings) -> bool {
    let (docker, native) = (&settings.docker, &settings.lapstrake);
    docker.environment.is_empty()
        && docker.runtime_environment.is_empty()
        && docker.user.is_none()
        && docker.build_config.labels.is_empty()
        && native.labels.is_empty()
        && native.working_dir.is_none()
        && native.entrypoint.is_none()
        && native.cmd.is_none()
}

/// Adds everything of `change` to a key.
pub fn add_change(key: &mut KeyHasher, change: &ConfigChange) {
    let list = |key: &mut KeyHasher, name: &str, list: &Option<Vec<String>>| {
        let words = list.as_deref().unwrap_or_default();
        key.add(name, (words.len() as u64 + u64::from(list.is_some())).to_le_bytes());
        words.iter().for_each(|word| key.add("word", word));
    };
    key.add("working-dir", change.working_dir.as_deref().unwrap_or_default());
    for (name, value) in &change.environment {
        key.add("variable", name);
        key.add("value", value);
    }
    key.add("user", change.user.as_deref().unwrap_or_default());
    list(key, "entrypoint", &change.entrypoint);
    list(key, "cmd", &change.cmd);
    for (name, value) in &change.labels {
        key.add("label", name);
        key.add("value", value);
    }
    key.add("created", change.created.as_deref().unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtime_variables_come_after_all_others() {
        let mut settings = Settings::default();
        settings.docker.environment.insert("B".into(), "1".into());
        settings.docker.runtime_environment.insert("A".into(), "2".into());
        let change = config_change(&settings, None);
        let names: Vec<&str> = change.environment.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["B", "ZENML_ENABLE_REPO_INIT_WARNINGS", "ZENML_CONFIG_PATH", "A"]);
        assert_eq!(change.working_dir.as_deref(), Some("/app"));
    }

    #[test]
    fn an_absent_list_and_an_empty_one_have_other_keys() {
        let key = |entrypoint: Option<Vec<String>>| {
            let mut hasher = KeyHasher::new("test/1");
            add_change(&mut hasher, &ConfigChange { entrypoint, ..ConfigChange::default() });
            hasher.finish()
        };
        assert_ne!(key(None), key(Some(vec![])));
        assert_ne!(key(Some(vec![])), key(Some(vec![String::new()])));
    }
}
