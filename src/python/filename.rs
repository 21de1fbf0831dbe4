//! What the file names of wheels and source distributions say (PEP 427, PEP 625).
//!
//! A name is read, never mended: what does not follow the form is refused.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use pep440_rs::Version;

use super::normalize::normalize_name;
use crate::diagnostic::Diagnose;

/// One compatibility tag: interpreter, ABI, platform (PEP 425).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// `py3`, `cp311`...
    pub python: String,
    /// `none`, `abi3`, `cp311`...
    pub abi: String,
    /// `any`, `manylinux_2_28_x86_64`...
    pub platform: String,
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.python, self.abi, self.platform)
    }
}

/// A wheel's file name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WheelFilename {
    /// The normalised name.
    pub name: String,
    /// The version.
    pub version: Version,
    /// The build number with what follows it.
    pub build: Option<(u64, String)>,
    /// All tags, expanded from the compressed sets.
    pub tags: BTreeSet<Tag>,
}

/// A source distribution's file name, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SdistFilename {
    /// The normalised name.
    pub name: String,
    /// The version.
    pub version: Version,
}

/// Why a file name is refused.
#[derive(Debug, thiserror::Error)]
pub enum FilenameError {
    /// The name does not end as it must.
    #[error("file name `{0}` has another extension than `.whl`")]
    Extension(String),
    /// The name of a source distribution ends in neither `.tar.gz` nor `.zip`.
    #[error("file name `{0}` has another extension than `.tar.gz` or `.zip`")]
    SdistExtension(String),
    /// The number of parts between dashes is wrong.
    #[error("file name `{0}` does not have the parts that it needs between dashes")]
    Parts(String),
    /// The distribution's name is empty or holds what it may not.
    #[error("file name `{0}` does not begin with a valid name")]
    Name(String),
    /// The version is none.
    #[error("file name `{filename}` holds no valid version")]
    Version {
        /// The file name.
        filename: String,
        /// Why.
        #[source]
        source: pep440_rs::VersionParseError,
    },
    /// The build tag does not begin with a digit.
    #[error("file name `{0}` holds an invalid build tag")]
    Build(String),
    /// A tag is empty or holds what it may not.
    #[error("file name `{0}` holds an invalid compatibility tag")]
    Tag(String),
}

impl Diagnose for FilenameError {
    fn hint(&self) -> Option<String> {
        Some("wheels are named `name-version(-build)-python-abi-platform.whl`; do not rename them".to_owned())
    }
}

impl WheelFilename {
    /// Parses `filename`.
    ///
    /// # Errors
    /// Fails when the name does not follow the binary distribution format.
    pub fn parse(filename: &str) -> Result<Self, FilenameError> {
        let owned = || filename.to_owned();
        let stem = filename.strip_suffix(".whl").ok_or_else(|| FilenameError::Extension(owned()))?;
        let parts: Vec<&str> = stem.split('-').collect();
        let (name, version, build, tags) = match parts[..] {
            [name, version, python, abi, platform] => (name, version, None, [python, abi, platform]),
            [name, version, build, python, abi, platform] => (name, version, Some(build), [python, abi, platform]),
            _ => return Err(FilenameError::Parts(owned())),
        };
        let build = build.map(|build| parse_build(build).ok_or_else(|| FilenameError::Build(owned()))).transpose()?;
        Ok(Self {
            name: parse_name(name).ok_or_else(|| FilenameError::Name(owned()))?,
            version: parse_version(filename, version)?,
            build,
            tags: expand(tags).ok_or_else(|| FilenameError::Tag(owned()))?,
        })
    }
}

impl SdistFilename {
    /// Parses `filename`.
    ///
    /// # Errors
    /// Fails when the name is not `name-version.tar.gz` or `name-version.zip`.
    pub fn parse(filename: &str) -> Result<Self, FilenameError> {
        let stem = filename
            .strip_suffix(".tar.gz")
            .or_else(|| filename.strip_suffix(".zip"))
            .ok_or_else(|| FilenameError::SdistExtension(filename.to_owned()))?;
        let (name, version) = stem.rsplit_once('-').ok_or_else(|| FilenameError::Parts(filename.to_owned()))?;
        if name.is_empty() || name.contains(['/', '\\', '\0']) {
            return Err(FilenameError::Name(filename.to_owned()));
        }
        Ok(Self { name: normalize_name(name), version: parse_version(filename, version)? })
    }
}

fn parse_name(name: &str) -> Option<String> {
    let plain = |letter: char| letter.is_alphanumeric() || matches!(letter, '_' | '.');
    (!name.is_empty() && !name.contains("__") && name.chars().all(plain)).then(|| normalize_name(name))
}

fn parse_version(filename: &str, version: &str) -> Result<Version, FilenameError> {
    Version::from_str(version).map_err(|source| FilenameError::Version { filename: filename.to_owned(), source })
}

fn parse_build(build: &str) -> Option<(u64, String)> {
    let digits = build.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = build.split_at(digits);
    let plain = rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'));
    Some((number.parse().ok().filter(|_| plain)?, rest.to_owned()))
}

/// Every combination of the three compressed sets; `None` when one holds an empty or unprintable part,
/// or an interpreter without a name.
fn expand(sets: [&str; 3]) -> Option<BTreeSet<Tag>> {
    let valid = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let named = |part: &str| part.starts_with(|letter: char| letter.is_ascii_alphabetic());
    if !sets.iter().all(|set| set.split('.').all(valid)) || !sets[0].split('.').all(named) {
        return None;
    }
    let [python, abi, platform] = sets.map(str::to_ascii_lowercase);
    let mut tags = BTreeSet::new();
    for python in python.split('.') {
        for abi in abi.split('.') {
            for platform in platform.split('.') {
                tags.insert(Tag { python: python.to_owned(), abi: abi.to_owned(), platform: platform.to_owned() });
            }
        }
    }
    Some(tags)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filename_is_taken_apart_and_its_tag_sets_expanded() {
        let parsed = WheelFilename::parse("Some_Name-1.0.post1-2b-py2.py3-none-any.whl").unwrap();
        assert_eq!(parsed.name, "some-name");
        assert_eq!(parsed.version.to_string(), "1.0.post1");
        assert_eq!(parsed.build, Some((2, "b".to_owned())));
        let tags: Vec<String> = parsed.tags.iter().map(Tag::to_string).collect();
        assert_eq!(tags, ["py2-none-any", "py3-none-any"]);
    }

    #[test]
    fn filename_that_could_be_a_path_or_has_no_form_is_refused() {
        for name in [
            "a/b-1-py3-none-any.whl",
            "a-1-py3-none-../x.whl",
            "a-1-1/2-py3-none-any.whl",
            "a-1-py3-none.whl",
            "a-1-py3-none-any.zip",
            "a-1-py3..py2-none-any.whl",
            "a__b-1-py3-none-any.whl",
            "-1-py3-none-any.whl",
            "a-x-py3-none-any.whl",
        ] {
            assert!(WheelFilename::parse(name).is_err(), "{name}");
        }
    }
}
