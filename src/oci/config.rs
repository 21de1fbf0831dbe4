//! Image configs: what a container of an image runs with.
//!
//! A config stays the JSON object that it was: members that are unknown here survive every change.
//! Nothing is decided here about how settings and a parent's config are joined.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::document::DocumentError;
use super::json::{self, Sorted};
use super::raw::Read;
use super::{DiffId, Digest, Platform};

/// The most bytes of an image config, 8 MiB.
pub const CONFIG_CAP: usize = 8 << 20;

/// The `PATH` of a process whose image config names none, as runtimes set it.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image config of either family (image-spec, config.md).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageConfig(Map<String, Value>);

/// How one layer, or one change without a layer, came to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// By what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_by: Option<String>,
    /// By whom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub author: Option<String>,
    /// A free text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// Whether no layer belongs to this entry.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub empty_layer: bool,
}

impl Read for ImageConfig {
    const NAME: &'static str = "image config";
    const CAP: usize = CONFIG_CAP;

    fn read(bytes: &[u8]) -> Result<Self, DocumentError> {
        let value = json::parse(bytes).map_err(|source| DocumentError::Json { name: Self::NAME, source })?;
        let Value::Object(object) = value else { return Err(fault("", "an object")) };
        check_shape(&object)?;
        Ok(Self(object))
    }

    fn to_bytes(&self) -> Result<Vec<u8>, DocumentError> {
        let value = Value::Object(self.0.clone());
        serde_json::to_vec(&Sorted(&value)).map_err(|source| DocumentError::Shape { name: Self::NAME, source })
    }
}

impl ImageConfig {
    /// The config of an image without layers.
    pub fn new(platform: &Platform) -> Self {
        let mut object = Map::new();
        object.insert("architecture".into(), platform.architecture.as_str().into());
        object.insert("os".into(), platform.os.as_str().into());
        let optional = [("variant", &platform.variant), ("os.version", &platform.os_version)];
        for (member, value) in optional {
            if let Some(value) = value {
                object.insert(member.into(), value.as_str().into());
            }
        }
        object.insert("config".into(), Value::Object(Map::new()));
        object.insert("rootfs".into(), serde_json::json!({"type": "layers", "diff_ids": []}));
        Self(object)
    }

    /// The platform that the image runs on.
    pub fn platform(&self) -> Platform {
        let text = |member: &str| self.0.get(member).and_then(Value::as_str).map(str::to_owned);
        let mut platform = Platform::new(&text("os").unwrap_or_default(), &text("architecture").unwrap_or_default());
        platform.variant = text("variant").filter(|variant| !variant.is_empty());
        platform.os_version = text("os.version").filter(|version| !version.is_empty());
        platform.os_features = texts(self.0.get("os.features")).unwrap_or_default();
        platform
    }

    /// The environment, in order; entries without `=` are left out, see [`ImageConfig::malformed_env`].
    pub fn env(&self) -> Vec<(String, String)> {
        let entries = self.env_entries();
        let pair = |entry: &String| entry.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        entries.iter().filter_map(pair).collect()
    }

    /// The entries of the environment that have no `=` or no name; they are kept as they are.
    pub fn malformed_env(&self) -> Vec<String> {
        self.env_entries().into_iter().filter(|entry| entry.find('=').is_none_or(|at| at == 0)).collect()
    }

    /// The user, as `name-or-id[:group]`; `None` when not set or empty.
    pub fn user(&self) -> Option<&str> {
        self.text("User")
    }

    /// The working directory; `None` when not set or empty.
    pub fn working_dir(&self) -> Option<&str> {
        self.text("WorkingDir")
    }

    /// The entrypoint; `None` when not set.
    pub fn entrypoint(&self) -> Option<Vec<String>> {
        texts(self.runtime("Entrypoint"))
    }

    /// The command; `None` when not set.
    pub fn cmd(&self) -> Option<Vec<String>> {
        texts(self.runtime("Cmd"))
    }

    /// What runs the shell form of a command; `None` when not set (Docker image specification 1.3, `Shell`).
    pub fn shell(&self) -> Option<Vec<String>> {
        texts(self.runtime("Shell")).filter(|words| !words.is_empty())
    }

    /// The labels.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let labels = self.runtime("Labels").and_then(Value::as_object).into_iter().flatten();
        labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
    }

    /// The digests of the uncompressed layers, bottom first.
    pub fn diff_ids(&self) -> Vec<DiffId> {
        let list = self.0.get("rootfs").and_then(|rootfs| texts(rootfs.get("diff_ids"))).unwrap_or_default();
        list.iter().filter_map(|text| Digest::parse(text).ok()).map(DiffId).collect()
    }

    /// The history, oldest first.
    pub fn history(&self) -> Vec<HistoryEntry> {
        let list = self.0.get("history").and_then(Value::as_array).into_iter().flatten();
        list.filter_map(|entry| HistoryEntry::deserialize(entry).ok()).collect()
    }

    /// Whether as many entries of the history have a layer as there are layers. A parent's need not: tools that squash
    /// or rewrite leave it behind.
    pub fn history_is_complete(&self) -> bool {
        self.history().iter().filter(|entry| !entry.empty_layer).count() == self.diff_ids().len()
    }

    /// When the image was made, RFC 3339.
    pub fn created(&self) -> Option<&str> {
        self.0.get("created").and_then(Value::as_str)
    }

    /// Checks the rules that [`Read::read`] forgives, since images in use break them.
    ///
    /// # Errors
    /// Fails at an entry of the environment without name or `=`.
    pub fn validate(&self) -> Result<(), DocumentError> {
        if self.malformed_env().is_empty() { Ok(()) } else { Err(fault("config.Env", "a list of `NAME=value`")) }
    }

    /// Sets one variable: in its place when it is there, else at the end.
    pub fn set_env(&mut self, key: &str, value: &str) {
        let new = format!("{key}={value}");
        let mut entries = self.env_entries();
        let same = |entry: &String| entry.split_once('=').is_some_and(|(name, _)| name == key);
        match entries.iter().position(same) {
            Some(at) => {
                entries[at] = new;
                let mut nth = 0;
                entries.retain(|entry| {
                    nth += 1;
                    nth <= at + 1 || !same(entry)
                });
            }
            None => entries.push(new),
        }
        self.set("Env", entries.into());
    }

    /// Sets the user, as `name-or-id[:group]`.
    pub fn set_user(&mut self, user: &str) {
        self.set("User", user.into());
    }

    /// Sets the working directory.
    pub fn set_working_dir(&mut self, path: &str) {
        self.set("WorkingDir", path.into());
    }

    /// Sets the entrypoint; an empty list removes it. The command stays.
    pub fn set_entrypoint(&mut self, argv: &[String]) {
        self.set_argv("Entrypoint", argv);
    }

    /// Sets the command; an empty list removes it.
    pub fn set_cmd(&mut self, argv: &[String]) {
        self.set_argv("Cmd", argv);
    }

    /// Sets one label.
    pub fn set_label(&mut self, key: &str, value: &str) {
        if let Some(labels) = self.runtime_mut().and_then(|runtime| object_at(runtime, "Labels")) {
            labels.insert(key.to_owned(), value.into());
        }
    }

    /// All that a container of the image runs with: the members of `config`.
    pub fn runtime_members(&self) -> Map<String, Value> {
        self.0.get("config").and_then(Value::as_object).cloned().unwrap_or_default()
    }

    /// Takes everything from `other` that containers run with, and its author; layers, history and platform stay.
    pub fn copy_runtime_of(&mut self, other: &Self) {
        for member in ["config", "author"] {
            match other.0.get(member) {
                Some(value) => self.0.insert(member.to_owned(), value.clone()),
                None => self.0.remove(member),
            };
        }
    }

    /// Sets a member of `config` that has no method of its own, as a Dockerfile's instruction does.
    pub fn set_member(&mut self, member: &str, value: Value) {
        self.set(member, value);
    }

    /// Adds a name to a set such as `ExposedPorts` or `Volumes`.
    pub fn add_member(&mut self, set: &str, name: &str) {
        if let Some(set) = self.runtime_mut().and_then(|runtime| object_at(runtime, set)) {
            set.entry(name).or_insert_with(|| Value::Object(Map::new()));
        }
    }

    /// Sets who maintains the image.
    pub fn set_author(&mut self, name: &str) {
        self.0.insert("author".into(), name.into());
    }

    /// Adds an instruction for images that build upon this one.
    pub fn add_on_build(&mut self, instruction: &str) {
        if let Some(runtime) = self.runtime_mut() {
            append(runtime, "OnBuild", instruction.into());
        }
    }

    /// Takes out the instructions for images that build upon this one.
    pub fn take_on_build(&mut self) -> Vec<String> {
        let taken = self.runtime_mut().and_then(|runtime| runtime.remove("OnBuild"));
        texts(taken.as_ref()).unwrap_or_default()
    }

    /// Sets when the image was made, RFC 3339.
    pub fn set_created(&mut self, created: &str) {
        self.0.insert("created".into(), created.into());
    }

    /// Adds a layer on top. A history that was shorter than the list of layers is filled up with empty entries first.
    pub fn push_layer(&mut self, diff_id: &DiffId, entry: HistoryEntry) {
        let layers = self.diff_ids().len();
        let known = self.history().iter().filter(|entry| !entry.empty_layer).count();
        for _ in known..layers {
            self.push_history(&HistoryEntry::default());
        }
        self.push_history(&HistoryEntry { empty_layer: false, ..entry });
        if let Some(rootfs) = object_at(&mut self.0, "rootfs") {
            rootfs.entry("type").or_insert_with(|| "layers".into());
            append(rootfs, "diff_ids", diff_id.0.as_str().into());
        }
    }

    /// Adds an entry to the history that has no layer.
    pub fn push_empty_history(&mut self, entry: HistoryEntry) {
        self.push_history(&HistoryEntry { empty_layer: true, ..entry });
    }

    fn push_history(&mut self, entry: &HistoryEntry) {
        let mut object = Map::new();
        let texts = [
            ("created", &entry.created),
            ("created_by", &entry.created_by),
            ("author", &entry.author),
            ("comment", &entry.comment),
        ];
        for (member, text) in texts {
            object.extend(text.as_deref().map(|text| (member.to_owned(), text.into())));
        }
        if entry.empty_layer {
            object.insert("empty_layer".into(), true.into());
        }
        append(&mut self.0, "history", Value::Object(object));
    }

    fn env_entries(&self) -> Vec<String> {
        texts(self.runtime("Env")).unwrap_or_default()
    }

    fn runtime(&self, member: &str) -> Option<&Value> {
        self.0.get("config")?.get(member)
    }

    fn runtime_mut(&mut self) -> Option<&mut Map<String, Value>> {
        object_at(&mut self.0, "config")
    }

    fn text(&self, member: &str) -> Option<&str> {
        self.runtime(member).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn set(&mut self, member: &str, value: Value) {
        if let Some(runtime) = self.runtime_mut() {
            runtime.insert(member.to_owned(), value);
        }
    }

    fn set_argv(&mut self, member: &str, argv: &[String]) {
        if !argv.is_empty() {
            self.set(member, argv.into());
        } else if let Some(runtime) = self.runtime_mut() {
            runtime.remove(member);
        }
    }
}

fn texts(value: Option<&Value>) -> Option<Vec<String>> {
    let list = value?.as_array()?;
    Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// The object at `member`, made when it is not there or `null`.
fn object_at<'a>(parent: &'a mut Map<String, Value>, member: &str) -> Option<&'a mut Map<String, Value>> {
    let value = parent.entry(member).or_insert(Value::Null);
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    value.as_object_mut()
}

/// Adds to the list at `member`, made when it is not there or `null`.
fn append(parent: &mut Map<String, Value>, member: &str, item: Value) {
    match parent.entry(member).or_insert(Value::Null) {
        Value::Array(list) => list.push(item),
        other => *other = Value::Array(vec![item]),
    }
}

fn fault(member: &str, expected: &'static str) -> DocumentError {
    DocumentError::Config { member: member.to_owned(), expected }
}

/// Checks the types of every member that is known here; `null` counts as absent.
fn check_shape(object: &Map<String, Value>) -> Result<(), DocumentError> {
    for member in ["architecture", "os"] {
        if !object.get(member).is_some_and(Value::is_string) {
            return Err(fault(member, "a text"));
        }
    }
    for member in ["variant", "os.version", "created", "author"] {
        check(object.get(member), member, "a text", Value::is_string)?;
    }
    check(object.get("os.features"), "os.features", "a list of texts", is_texts)?;
    check_runtime(object.get("config"))?;
    let rootfs = object.get("rootfs").and_then(Value::as_object).ok_or_else(|| fault("rootfs", "an object"))?;
    check(rootfs.get("type"), "rootfs.type", "`layers`", |kind| kind == "layers")?;
    let is_digest = |item: &Value| item.as_str().is_some_and(|text| Digest::parse(text).is_ok());
    let is_digests = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(is_digest));
    check(rootfs.get("diff_ids"), "rootfs.diff_ids", "a list of digests", is_digests)?;
    let is_entry = |item: &Value| item.is_object() && HistoryEntry::deserialize(item).is_ok();
    let is_history = |value: &Value| value.as_array().is_some_and(|list| list.iter().all(is_entry));
    check(object.get("history"), "history", "a list of history entries", is_history)
}

fn check_runtime(runtime: Option<&Value>) -> Result<(), DocumentError> {
    let Some(runtime) = runtime.filter(|value| !value.is_null()) else { return Ok(()) };
    let runtime = runtime.as_object().ok_or_else(|| fault("config", "an object"))?;
    let member = |name: &str, expected, fits: fn(&Value) -> bool| {
        check(runtime.get(name), &format!("config.{name}"), expected, fits)
    };
    for name in ["User", "WorkingDir", "StopSignal"] {
        member(name, "a text", Value::is_string)?;
    }
    for name in ["Env", "Entrypoint", "Cmd", "OnBuild", "Shell"] {
        member(name, "a list of texts", is_texts)?;
    }
    for name in ["ExposedPorts", "Volumes"] {
        member(name, "an object", Value::is_object)?;
    }
    member("Labels", "an object of texts", |value| {
        value.as_object().is_some_and(|labels| labels.values().all(Value::is_string))
    })
}

fn check(
    value: Option<&Value>,
    member: &str,
    expected: &'static str,
    fits: impl Fn(&Value) -> bool,
) -> Result<(), DocumentError> {
    match value {
        Some(value) if !value.is_null() && !fits(value) => Err(fault(member, expected)),
        _ => Ok(()),
    }
}

fn is_texts(value: &Value) -> bool {
    value.as_array().is_some_and(|list| list.iter().all(Value::is_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = r#"{"os":"linux","architecture":"arm64","variant":"v8","config":{"Env":["PATH=/bin","odd","A=1","A=2"],
        "Healthcheck":{"Interval":30000000000},"Labels":null},"rootfs":{"type":"layers","diff_ids":["sha256:DIFF"]},"moby.x":[1,{"z":1,"a":2}]}"#;

    fn parent() -> ImageConfig {
        ImageConfig::read(PARENT.replace("DIFF", &"a".repeat(64)).as_bytes()).unwrap()
    }

    #[test]
    fn unknown_members_survive_a_change() {
        let mut config = parent();
        config.set_env("A", "x=y");
        config.set_env("B", "");
        config.set_label("k", "v");
        config.set_user("app");
        config.set_entrypoint(&["python".into(), "-m".into()]);
        let diff_id = DiffId(Digest::of(b"layer"));
        config.push_layer(&diff_id, HistoryEntry { comment: Some("own".into()), ..HistoryEntry::default() });
        config.push_empty_history(HistoryEntry { created_by: Some("env".into()), ..HistoryEntry::default() });
        let expected = concat!(
            r#"{"architecture":"arm64","config":{"Entrypoint":["python","-m"],"Env":["PATH=/bin","odd","A=x=y","B="],"#,
            r#""Healthcheck":{"Interval":30000000000},"Labels":{"k":"v"},"User":"app"},"#,
            r#""history":[{},{"comment":"own"},{"created_by":"env","empty_layer":true}],"#,
            r#""moby.x":[1,{"a":2,"z":1}],"os":"linux","rootfs":{"diff_ids":["sha256:D0","D1"],"type":"layers"},"variant":"v8"}"#
        );
        let expected = expected.replace("D0", &"a".repeat(64)).replace("D1", diff_id.0.as_str());
        assert_eq!(String::from_utf8(config.to_bytes().unwrap()).unwrap(), expected);
        assert!(config.history_is_complete());
    }

    #[test]
    fn entries_of_the_environment_without_sign_are_kept_and_reported() {
        let config = parent();
        let names: Vec<String> = config.env().into_iter().map(|(key, _)| key).collect();
        assert_eq!(names, ["PATH", "A", "A"]);
        assert_eq!(config.malformed_env(), ["odd"]);
        assert!(config.validate().is_err());
    }

    #[test]
    fn members_of_a_wrong_type_are_refused_by_name() {
        let good = r#"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":[]}}"#;
        assert!(ImageConfig::read(good.as_bytes()).is_ok());
        for (member, expected) in [
            (r#""variant":7"#, "image config member `variant` must be a text"),
            (r#""history":"no""#, "image config member `history` must be a list of history entries"),
            (r#""history":[{"created":1}]"#, "image config member `history` must be a list of history entries"),
            (r#""config":{"Env":[1]}"#, "image config member `config.Env` must be a list of texts"),
            (r#""config":{"Volumes":[]}"#, "image config member `config.Volumes` must be an object"),
            (r#""os":"linux""#, "image config is not unambiguous JSON"),
        ] {
            let text = good.replacen('{', &format!("{{{member},"), 1);
            assert_eq!(ImageConfig::read(text.as_bytes()).unwrap_err().to_string(), expected);
        }
        assert!(ImageConfig::read(br#"{"os":"linux","architecture":"amd64"}"#).is_err());
    }

    #[test]
    fn a_new_config_reads_back() {
        let platform = Platform::parse("linux/arm/v7").unwrap();
        let mut config = ImageConfig::new(&platform);
        config.set_created("2020-01-01T00:00:00Z");
        let read = ImageConfig::read(&config.to_bytes().unwrap()).unwrap();
        assert_eq!((read.platform(), read.created()), (platform, Some("2020-01-01T00:00:00Z")));
        assert_eq!((read.user(), read.cmd(), read.diff_ids()), (None, None, vec![]));
    }
}
