//! Builds as files that ZenML and Lapstrake exchange: `zenml pipeline build --output FILE` writes them, `zenml pipeline
//! run --build FILE` reads them.
//!
//! What only we know stands under `lapstrake:`, which ZenML passes over. Files are not opened here.

use std::collections::BTreeMap;

use saphyr::ScanError;
use serde_json::json;

use super::moment::Moment;
use super::record::{BuildId, BuildRecord, ImageRecord, Versions};
use super::yaml::{self, Node, to_yaml};
use crate::diagnostic::{Class, Diagnose};

/// Why a file is not a build.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    /// It is no YAML.
    #[error("`{file}` is not valid YAML")]
    Yaml {
        /// The file.
        file: String,
        /// Where and why.
        #[source]
        source: ScanError,
    },
    /// Something that every build has is not there.
    #[error("`{file}` has no `{key}`")]
    Missing {
        /// The file.
        file: String,
        /// The path of the key.
        key: String,
    },
    /// A value is of another kind.
    #[error("`{key}` in `{file}` is not {kind}")]
    Kind {
        /// The file.
        file: String,
        /// The path of the key.
        key: String,
        /// What it would have to be.
        kind: &'static str,
    },
}

impl Diagnose for ExchangeError {
    fn class(&self) -> Class {
        Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("`zenml pipeline build --output FILE` and `lapstrake builds export` write such files".to_owned())
    }
}

impl BuildRecord {
    /// The record as the YAML that ZenML 0.98 writes and reads (`PipelineBuildResponse.to_yaml`).
    pub fn to_yaml(&self) -> String {
        let mut images = serde_json::Map::new();
        let mut ours = serde_json::Map::new();
        for (key, image) in &self.images {
            images.insert(
                key.clone(),
                json!({
                    "image": image.image,
                    "dockerfile": image.dockerfile,
                    "requirements": image.requirements,
                    "settings_checksum": image.settings_checksum,
                    "contains_code": image.contains_code,
                    "requires_code_download": image.requires_code_download,
                }),
            );
            ours.insert(
                key.clone(),
                json!({
                    "plan_key": image.plan_key,
                    "step_name": image.step_name,
                    "reused": image.reused,
                    "made_by": image.made_by,
                }),
            );
        }
        to_yaml(&json!({
            "id": self.id.hyphenated(),
            "permission_denied": false,
            "resources": null,
            "images": images,
            "zenml_version": self.versions.zenml,
            "python_version": self.versions.python,
            "checksum": self.checksum,
            "stack_checksum": self.stack_checksum,
            "is_local": self.is_local,
            "contains_code": self.contains_code,
            "duration": self.duration_seconds.map(|seconds| seconds.round() as i64),
            "lapstrake": {
                "created": self.created,
                "pipeline": self.pipeline,
                "stack": self.stack,
                "version": self.versions.lapstrake,
                "duration_seconds": self.duration_seconds,
                "images": ours,
            },
        }))
    }

    /// Reads what ZenML or [`BuildRecord::to_yaml`] wrote; `file` is for messages. A file that names no build and no
    /// time gets `id` and `now`.
    ///
    /// # Errors
    /// Fails when the file is no YAML, or lacks what ZenML demands of a build.
    pub fn from_yaml(text: &str, file: &str, id: BuildId, now: Moment) -> Result<Self, ExchangeError> {
        let root = yaml::read(text).map_err(|source| ExchangeError::Yaml { file: file.to_owned(), source })?;
        let reader = Reader { file };
        let ours = root.get("lapstrake");
        let mut images = BTreeMap::new();
        for (key, node) in root.get("images").members() {
            images.insert(key.clone(), reader.image(key, node, ours.get("images").get(key))?);
        }
        if images.is_empty() {
            return Err(reader.missing("images"));
        }
        let named = reader.parsed(&root, "id", "the name of a build", BuildId::parse)?;
        let created = reader.parsed(ours, "created", "a point in time", Moment::parse)?;
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| number.is_finite() && *number >= 0.0);
        let whole = reader.parsed(&root, "duration", "a number", number)?;
        Ok(Self {
            id: named.unwrap_or(id),
            created: created.unwrap_or(now),
            pipeline: reader.text(ours, "pipeline")?,
            stack: reader.text(ours, "stack")?,
            stack_checksum: reader.text(&root, "stack_checksum")?,
            versions: Versions {
                lapstrake: reader.text(ours, "version")?,
                python: reader.text(&root, "python_version")?,
                zenml: reader.text(&root, "zenml_version")?,
            },
            checksum: reader.text(&root, "checksum")?,
            is_local: reader.flag(&root, "is_local")?.ok_or_else(|| reader.missing("is_local"))?,
            contains_code: reader.flag(&root, "contains_code")?.ok_or_else(|| reader.missing("contains_code"))?,
            images,
            duration_seconds: reader.parsed(ours, "duration_seconds", "a number", number)?.or(whole),
        })
    }
}

struct Reader<'a> {
    file: &'a str,
}

impl Reader<'_> {
    fn image(&self, key: &str, node: &Node, ours: &Node) -> Result<ImageRecord, ExchangeError> {
        let image = self.text(node, "image")?.filter(|image| !image.is_empty());
        let step = key.rsplit_once('.').map(|(step, _)| step.to_owned());
        Ok(ImageRecord {
            image: image.ok_or_else(|| self.missing(&format!("images.{key}.image")))?,
            settings_checksum: self.text(node, "settings_checksum")?,
            plan_key: self.text(ours, "plan_key")?,
            dockerfile: self.text(node, "dockerfile")?,
            requirements: self.text(node, "requirements")?,
            step_name: self.text(ours, "step_name")?.or(step),
            // As ZenML takes them when they are not there.
            contains_code: self.flag(node, "contains_code")?.unwrap_or(true),
            requires_code_download: self.flag(node, "requires_code_download")?.unwrap_or(false),
            reused: self.flag(ours, "reused")?.unwrap_or(false),
            made_by: self.parsed(ours, "made_by", "the name of a build", BuildId::parse)?,
        })
    }

    fn missing(&self, key: &str) -> ExchangeError {
        ExchangeError::Missing { file: self.file.to_owned(), key: key.to_owned() }
    }

    fn text(&self, node: &Node, key: &str) -> Result<Option<String>, ExchangeError> {
        self.parsed(node, key, "a text", |text| Some(text.to_owned()))
    }

    fn flag(&self, node: &Node, key: &str) -> Result<Option<bool>, ExchangeError> {
        self.parsed(node, key, "`true` or `false`", |text| match text.to_lowercase().as_str() {
            "true" | "yes" | "on" => Some(true),
            "false" | "no" | "off" => Some(false),
            _ => None,
        })
    }

    fn parsed<T>(
        &self,
        node: &Node,
        key: &str,
        kind: &'static str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ExchangeError> {
        let refused = || ExchangeError::Kind { file: self.file.to_owned(), key: key.to_owned(), kind };
        match node.get(key) {
            Node::Null => Ok(None),
            Node::Scalar(text) => parse(text).map(Some).ok_or_else(refused),
            Node::List | Node::Map(_) => Err(refused()),
        }
    }
}
