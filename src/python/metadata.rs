//! The two header files of a wheel: METADATA and WHEEL (core metadata; PEP 427).
//!
//! Only the headers that installing needs are read.

use std::str::FromStr;

use pep440_rs::Version;

use super::filename::WheelFilename;
use super::normalize::normalize_name;
use crate::diagnostic::Diagnose;

/// Why METADATA or WHEEL is refused.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// A file is no UTF-8.
    #[error("`{0}` is no UTF-8")]
    Encoding(&'static str),
    /// A header is missing.
    #[error("`{file}` has no header `{header}`")]
    Header {
        /// The file.
        file: &'static str,
        /// The header.
        header: &'static str,
    },
    /// The name differs from the one in the file name.
    #[error("`{place}` is of `{found}`, but the file name says `{expected}`")]
    Name {
        /// Where the name stands.
        place: String,
        /// The name there.
        found: String,
        /// The name in the file name.
        expected: String,
    },
    /// The version differs from the one in the file name, or is none.
    #[error("`{place}` has version `{found}`, but the file name says `{expected}`")]
    Version {
        /// Where the version stands.
        place: String,
        /// The version there.
        found: String,
        /// The version in the file name.
        expected: String,
    },
    /// The wheel is of a format that does not exist yet.
    #[error("wheel format `{0}` is not supported, only 1.x")]
    WheelVersion(String),
}

impl Diagnose for MetadataError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::WheelVersion(_) => Some("use a newer lapstrake or an older build of the wheel".to_owned()),
            _ => Some("the wheel was renamed or is malformed; fetch it again or use another build".to_owned()),
        }
    }
}

/// The value of the first header `name` in `text`, up to the empty line that ends the headers (RFC 822).
fn header<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().take_while(|line| !line.is_empty()).find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

/// Checks that METADATA speaks of what the file name speaks of.
///
/// # Errors
/// Fails when a header is missing or name or version differ; a local version may be missing in METADATA.
pub(super) fn check_metadata(bytes: &[u8], filename: &WheelFilename) -> Result<(), MetadataError> {
    let text = std::str::from_utf8(bytes).map_err(|_| MetadataError::Encoding("METADATA"))?;
    let wanted = |name| header(text, name).ok_or(MetadataError::Header { file: "METADATA", header: name });
    check_identity("METADATA", wanted("Name")?, wanted("Version")?, filename)
}

/// Checks that the folder `stem.dist-info` is named after what the file name speaks of.
///
/// # Errors
/// Fails when name or version differ.
pub(super) fn check_dist_info(stem: &str, filename: &WheelFilename) -> Result<(), MetadataError> {
    let place = format!("{stem}.dist-info");
    let (name, version) = stem.rsplit_once('-').unwrap_or((stem, ""));
    check_identity(&place, name, version, filename)
}

fn check_identity(place: &str, name: &str, version: &str, filename: &WheelFilename) -> Result<(), MetadataError> {
    if normalize_name(name) != filename.name {
        let (place, found, expected) = (place.to_owned(), name.to_owned(), filename.name.clone());
        return Err(MetadataError::Name { place, found, expected });
    }
    let same = Version::from_str(version)
        .is_ok_and(|found| found == filename.version || found == filename.version.clone().without_local());
    if same {
        return Ok(());
    }
    Err(MetadataError::Version {
        place: place.to_owned(),
        found: version.to_owned(),
        expected: filename.version.to_string(),
    })
}

/// Reads WHEEL: whether the root goes to the folder for pure Python modules.
///
/// # Errors
/// Fails when there is no format version, or one that is not 1.x.
pub(super) fn root_is_purelib(bytes: &[u8]) -> Result<bool, MetadataError> {
    let text = std::str::from_utf8(bytes).map_err(|_| MetadataError::Encoding("WHEEL"))?;
    let version =
        header(text, "Wheel-Version").ok_or(MetadataError::Header { file: "WHEEL", header: "Wheel-Version" })?;
    if version.split_once('.').is_none_or(|(major, _)| major != "1") {
        return Err(MetadataError::WheelVersion(version.to_owned()));
    }
    Ok(header(text, "Root-Is-Purelib") == Some("true"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_that_speaks_of_another_distribution_is_refused() {
        let filename = WheelFilename::parse("foo_bar-1.0+cu1-py3-none-any.whl").unwrap();
        for text in ["Name: Foo.Bar\nVersion: 1.0+cu1\n", "Version: 1.0\r\nname: foo-bar\r\n\r\nName: other"] {
            assert!(check_metadata(text.as_bytes(), &filename).is_ok(), "{text}");
        }
        for text in ["", "Name: foo-bar\n\nVersion: 1.0", "Name: foo\nVersion: 1.0", "Name: foo-bar\nVersion: 1.1"] {
            assert!(check_metadata(text.as_bytes(), &filename).is_err(), "{text}");
        }
        assert!(check_dist_info("Foo_Bar-1.0+cu1", &filename).is_ok());
        assert!(check_dist_info("foo-1.0", &filename).is_err());
    }

    #[test]
    fn wheel_format_other_than_one_is_refused() {
        assert!(root_is_purelib(b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\n").unwrap());
        assert!(!root_is_purelib(b"Wheel-Version: 1.9\nRoot-Is-Purelib: false\n").unwrap());
        for text in ["", "Wheel-Version: 2.0", "Wheel-Version: 1", "Wheel-Version: 10.0"] {
            assert!(root_is_purelib(text.as_bytes()).is_err(), "{text}");
        }
    }
}
