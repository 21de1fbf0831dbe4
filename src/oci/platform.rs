//! Platforms: what an image runs on, and which entry of an index serves one.
//!
//! There is no default platform here: the caller names one or takes the only one there is.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An operating system and architecture in Go's names (image-spec, image-index.md).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// CPU architecture: `amd64`, `arm64`...
    pub architecture: String,
    /// Operating system: `linux`...
    pub os: String,
    /// Version of the operating system, on Windows.
    #[serde(rename = "os.version", default, skip_serializing_if = "Option::is_none")]
    pub os_version: Option<String>,
    /// Features that the operating system must have, on Windows.
    #[serde(
        rename = "os.features",
        default,
        deserialize_with = "super::json::null_as_default",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub os_features: Vec<String>,
    /// CPU variant: `v7`, `v8`...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

/// Why a text is not a platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("platform `{0}` is not of the form `os/architecture[/variant]`")]
pub struct PlatformError(pub String);

impl Platform {
    /// A platform without variant.
    pub fn new(os: &str, architecture: &str) -> Self {
        Self {
            architecture: architecture.into(),
            os: os.into(),
            os_version: None,
            os_features: Vec::new(),
            variant: None,
        }
    }

    /// Parses `os/architecture[/variant]`; `x86_64` and `aarch64` are taken as `amd64` and `arm64`.
    ///
    /// # Errors
    /// Fails when there are fewer than two or more than three parts, or an empty one.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let parts: Vec<&str> = text.split('/').collect();
        let plain =
            |part: &&str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !(2..=3).contains(&parts.len()) || !parts.iter().all(plain) {
            return Err(PlatformError(text.into()));
        }
        let architecture = match parts[1] {
            "x86_64" | "x86-64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let mut platform = Self::new(parts[0], architecture);
        platform.variant = parts.get(2).map(|variant| (*variant).to_owned());
        Ok(platform.normalized())
    }

    /// The platform with the variants that mean nothing removed: `arm64/v8` is `arm64`, `amd64/v1` is `amd64`.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        let redundant = matches!(
            (self.architecture.as_str(), self.variant.as_deref()),
            ("arm64", Some("v8" | "8")) | ("amd64", Some("v1"))
        );
        if redundant {
            self.variant = None;
        }
        self
    }

    /// Whether an image of `self` serves a request for `wanted`.
    pub fn serves(&self, wanted: &Self) -> bool {
        let have = self.clone().normalized();
        let want = wanted.clone().normalized();
        have.os == want.os
            && have.architecture == want.architecture
            && (want.variant.is_none() || have.variant == want.variant)
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Platform {
    type Err = PlatformError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl crate::diagnostic::Diagnose for PlatformError {
    fn class(&self) -> crate::diagnostic::Class {
        crate::diagnostic::Class::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("write it as `linux/amd64` or `linux/arm/v7`".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_knows_aliases_and_refuses_the_rest() {
        assert_eq!(Platform::parse("linux/x86_64").unwrap(), Platform::new("linux", "amd64"));
        assert_eq!(Platform::parse("linux/arm64/v8").unwrap().to_string(), "linux/arm64");
        assert_eq!(Platform::parse("linux/arm/v7").unwrap().to_string(), "linux/arm/v7");
        for text in ["", "linux", "linux/", "/amd64", "a/b/c/d", "linux/am d64"] {
            assert!(Platform::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn serves_asks_for_a_variant_only_when_wanted() {
        let v7 = Platform::parse("linux/arm/v7").unwrap();
        assert!(v7.serves(&Platform::new("linux", "arm")));
        assert!(!v7.serves(&Platform::parse("linux/arm/v6").unwrap()));
    }
}
