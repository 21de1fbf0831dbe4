//! What the ledger knows of one build.
//!
//! Plain data, read and written as JSON; nothing of it takes part in a digest of an image.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::moment::Moment;
use crate::diagnostic::Diagnose;
use crate::oci::Reference;

/// One build: what for, by what, and which images it came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildRecord {
    /// Its name.
    pub id: BuildId,
    /// When it ended.
    pub created: Moment,
    /// For which pipeline.
    pub pipeline: Option<String>,
    /// For which stack.
    pub stack: Option<String>,
    /// ZenML's checksum of that stack.
    pub stack_checksum: Option<String>,
    /// By which versions.
    pub versions: Versions,
    /// ZenML's checksum over image keys and settings.
    pub checksum: Option<String>,
    /// Whether an image is in no registry.
    pub is_local: bool,
    /// Whether an image holds the project's files.
    pub contains_code: bool,
    /// The images by their keys: `orchestrator`, `STEP.orchestrator`.
    pub images: BTreeMap<String, ImageRecord>,
    /// How long it took.
    pub duration_seconds: Option<f64>,
}

/// The versions that made a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Versions {
    /// Lapstrake's; `None` when something else made it.
    pub lapstrake: Option<String>,
    /// Python's.
    pub python: Option<String>,
    /// ZenML's.
    pub zenml: Option<String>,
}

/// One image of a build.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageRecord {
    /// `repository@digest`, or where else it went.
    pub image: String,
    /// ZenML's checksum of its settings.
    pub settings_checksum: Option<String>,
    /// Our key over all its inputs.
    pub plan_key: Option<String>,
    /// The equivalent Dockerfile.
    pub dockerfile: Option<String>,
    /// The requirement files, one after the other.
    pub requirements: Option<String>,
    /// For which step alone.
    pub step_name: Option<String>,
    /// Whether it holds the project's files.
    #[serde(default)]
    pub contains_code: bool,
    /// Whether its containers fetch the project's files.
    #[serde(default)]
    pub requires_code_download: bool,
    /// Whether it was there before this build.
    #[serde(default)]
    pub reused: bool,
    /// The build that made it, when that is another one and is known.
    pub made_by: Option<BuildId>,
}

/// The name of a build: 32 hexadecimal digits, a UUID without its dashes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BuildId(String);

impl BuildId {
    /// The name made of random bytes (RFC 9562, section 5.4).
    pub fn of_random(mut bytes: [u8; 16]) -> Self {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// Parses a name, with or without the dashes of a UUID.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = digits(text)?;
        (digits.len() == 32).then_some(Self(digits))
    }

    /// The 32 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits that lists show.
    pub fn short(&self) -> &str {
        &self.0[..12]
    }

    /// As a UUID is written: `8-4-4-4-12` digits.
    pub fn hyphenated(&self) -> String {
        let id = &self.0;
        format!("{}-{}-{}-{}-{}", &id[..8], &id[8..12], &id[12..16], &id[16..20], &id[20..])
    }
}

/// The digits of a name or of its beginning; `None` when it is neither.
pub(super) fn digits(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    (is_hex && (1..=32).contains(&digits.len())).then_some(digits)
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for BuildId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("`{text}` is not the name of a build"))
    }
}

impl From<BuildId> for String {
    fn from(id: BuildId) -> Self {
        id.0
    }
}

/// Why bytes are not the record of a build.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// They are no record's JSON.
    #[error("it is not the record of a build")]
    Json(#[source] serde_json::Error),
    /// A later version wrote it.
    #[error("it has version {0}, and this version reads 1")]
    Version(u64),
    /// It names no image.
    #[error("build `{0}` has no image")]
    NoImage(BuildId),
}

impl Diagnose for RecordError {}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    schema_version: u64,
}

impl BuildRecord {
    /// Reads what [`BuildRecord::to_json`] wrote.
    ///
    /// # Errors
    /// Fails when it is something else, or of a later version.
    pub fn read(bytes: &[u8]) -> Result<Self, RecordError> {
        let head: Head = serde_json::from_slice(bytes).map_err(RecordError::Json)?;
        if head.schema_version != 1 {
            return Err(RecordError::Version(head.schema_version));
        }
        let record: Self = serde_json::from_slice(bytes).map_err(RecordError::Json)?;
        if record.images.is_empty() { Err(RecordError::NoImage(record.id)) } else { Ok(record) }
    }

    /// The record as one JSON object with `schemaVersion`.
    pub fn to_json(&self) -> serde_json::Value {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(members) = value.as_object_mut() {
            members.insert("schemaVersion".to_owned(), 1.into());
        }
        value
    }

    /// The images that are in registries, each once.
    pub fn references(&self) -> Vec<Reference> {
        let parsed = self.images.values().filter_map(|image| Reference::parse(&image.image).ok());
        let mut references: Vec<Reference> = parsed.filter(|reference| reference.digest().is_some()).collect();
        references.sort();
        references.dedup();
        references
    }

    /// The record with the users and passwords of URLs masked: requirement files may hold them.
    pub fn without_secrets(mut self) -> Self {
        for image in self.images.values_mut() {
            for text in [&mut image.dockerfile, &mut image.requirements].into_iter().flatten() {
                *text = masked(text);
            }
        }
        self
    }
}

/// `text` with `****` for what stands before the `@` of each URL's authority (RFC 3986, section 3.2).
fn masked(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        clean.push_str(head);
        let ends = |c: char| c.is_whitespace() || matches!(c, '/' | '?' | '#' | '"' | '\'');
        let (authority, after) = tail.split_at(tail.find(ends).unwrap_or(tail.len()));
        match authority.rsplit_once('@') {
            Some((_, host)) => clean.push_str(&format!("****@{host}")),
            None => clean.push_str(authority),
        }
        rest = after;
    }
    clean + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_uuids_with_and_without_dashes() {
        let id = BuildId::of_random([0xff; 16]);
        assert_eq!(id.hyphenated(), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(BuildId::parse(&id.hyphenated().to_uppercase()), Some(id));
        for text in ["", "ffff", "gfffffffffff4fffbfffffffffffffff", "ffffffffffff4fffbfffffffffffffff0"] {
            assert_eq!(BuildId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn users_and_passwords_of_urls_are_masked() {
        for (text, clean) in [
            ("--index-url https://me:p%40ss@host/simple\nx", "--index-url https://****@host/simple\nx"),
            ("a @ git+ssh://git@host/a.git@v1 https://t0ken@b c", "a @ git+ssh://****@host/a.git@v1 https://****@b c"),
            ("https://u:p@@h?x=@y", "https://****@h?x=@y"),
            ("pkg @ https://host/a@1.whl", "pkg @ https://host/a@1.whl"),
            ("plain@text", "plain@text"),
        ] {
            assert_eq!(masked(text), clean);
        }
    }

    #[test]
    fn records_of_later_versions_and_other_things_are_refused() {
        let refused = |text: &str| BuildRecord::read(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(refused(r#"{"schemaVersion":2}"#), "it has version 2, and this version reads 1");
        assert_eq!(refused(r#"{"schemaVersion":1}"#), "it is not the record of a build");
        assert_eq!(refused("[]"), "it is not the record of a build");
    }
}
