//! Options that only an engine honours, as `build_options` has them.
//!
//! An option that a backend does not know is left out with a warning: most of them change nothing in the image.

use std::collections::BTreeMap;

use serde_json::Value;

/// Options that mean nothing here: what they are about does not outlive a build.
const MOOT: [&str; 4] = ["rm", "forcerm", "quiet", "nocache"];

/// The options that builders share.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct EngineOptions {
    /// The network of `RUN`.
    pub(super) network: Option<String>,
    /// The size of `/dev/shm`.
    pub(super) shm_size: Option<String>,
    /// `name:address` pairs for `/etc/hosts`.
    pub(super) hosts: Vec<(String, String)>,
    /// Whether images are asked for anew.
    pub(super) pull: bool,
    /// What is not known here.
    pub(super) unknown: Vec<String>,
}

impl EngineOptions {
    /// Reads the options.
    pub(super) fn read(options: &BTreeMap<String, Value>) -> Self {
        let mut read = Self::default();
        for (name, value) in options {
            match (name.as_str(), value) {
                (moot, _) if MOOT.contains(&moot) => {}
                (_, Value::Null) => {}
                ("network" | "network_mode", value) => read.network = text(value),
                ("shm_size" | "shmsize", value) => read.shm_size = text(value),
                ("pull", Value::Bool(pull)) => read.pull = *pull,
                ("extra_hosts", Value::Object(hosts)) => {
                    read.hosts = hosts.iter().filter_map(|(host, at)| Some((host.clone(), text(at)?))).collect();
                }
                _ => read.unknown.push(name.clone()),
            }
        }
        read
    }

    /// The flags that docker, podman and buildah share.
    pub(super) fn flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        flags.extend(self.network.iter().map(|network| format!("--network={network}")));
        flags.extend(self.shm_size.iter().map(|size| format!("--shm-size={size}")));
        flags.extend(self.hosts.iter().map(|(host, at)| format!("--add-host={host}:{at}")));
        flags.extend(self.pull.then(|| "--pull".to_owned()));
        flags
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_become_flags_and_strangers_are_named() {
        let options = json!({"network": "host", "shm_size": 1024, "extra_hosts": {"a": "1.2.3.4"}, "pull": true, "rm": true, "squash": true});
        let options: BTreeMap<String, Value> = serde_json::from_value(options).unwrap();
        let read = EngineOptions::read(&options);
        assert_eq!(read.flags(), ["--network=host", "--shm-size=1024", "--add-host=a:1.2.3.4", "--pull"]);
        assert_eq!(read.unknown, ["squash"]);
    }
}
