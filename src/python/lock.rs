//! Locks: which file of which version goes in, as `pylock.toml` (PEP 751).
//!
//! Choosing versions is the resolver's work; fetching the files is `resolver::download`'s.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::marker::MarkerEnvironment;
use super::origin::{Origin, Unbuilt};
pub(crate) use super::pylock::{lexically_absolute, percent_decoded};
pub use super::pylock_write::PylockHead;
use super::tags::CompatibleTags;
use super::{pylock, pylock_write};
use crate::diagnostic::{Class, Diagnose};
use crate::oci::Digest;

/// The wheels of one environment, one file a package, and what has to go from the parent first.
///
/// `packages` is sorted by name; equal locks have equal bytes ([`Lock::to_bytes`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    /// What to install, sorted by name.
    pub packages: Vec<LockedWheel>,
    /// Distributions of the parent that a package replaces, sorted by name.
    pub removed: Vec<RemovedDistribution>,
}

/// One wheel of a [`Lock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockedWheel {
    /// The normalised name (PEP 503).
    pub name: String,
    /// The version, as the lock spells it.
    pub version: String,
    /// The wheel's file name.
    pub filename: String,
    /// Where the wheel is: `https:`, `http:` or `file:`; never with userinfo.
    pub url: String,
    /// SHA-256 of the wheel.
    pub sha256: Digest,
    /// Bytes of the wheel, when the lock knows.
    pub size: Option<u64>,
    /// The text of `direct_url.json` (PEP 610) for a requirement that names a URL or path.
    pub direct_url: Option<String>,
    /// The index that offers it, without userinfo, when the lock tells.
    pub index: Option<String>,
    /// What it was built from here; `None` for a wheel that somebody offers.
    pub origin: Option<Origin>,
}

/// A distribution of the parent that is replaced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RemovedDistribution {
    /// The normalised name.
    pub name: String,
    /// The version that is there.
    pub version: String,
}

/// Why a text is not a lock, or not one for this target.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The file cannot be read.
    #[error("lock file `{path}` cannot be read")]
    Unreadable {
        /// Which file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The text is not TOML, or not of PEP 751's form.
    #[error("lock is damaged at line {line}: {reason}")]
    Syntax {
        /// One-based line.
        line: usize,
        /// What the reader expected there.
        reason: String,
    },
    /// The lock is of a version that this reader does not know.
    #[error("lock has version `{version}` at line {line}, which is not known here")]
    Version {
        /// One-based line.
        line: usize,
        /// The version found.
        version: String,
    },
    /// A file has no SHA-256, or one that is no SHA-256.
    #[error("lock gives no valid SHA-256 for `{file}` at line {line}")]
    Hash {
        /// One-based line of the package.
        line: usize,
        /// The file.
        file: String,
    },
    /// A file's name says that it is of another package or version.
    #[error("lock gives `{file}` as a file of `{name}` {version}, at line {line}")]
    Foreign {
        /// One-based line of the package.
        line: usize,
        /// The file.
        file: String,
        /// The package, as the lock has it.
        name: String,
        /// Its version, as the lock has it.
        version: String,
    },
    /// A file has neither a usable URL nor a path.
    #[error("lock gives no usable place for `{file}` at line {line}")]
    Place {
        /// One-based line of the package.
        line: usize,
        /// The file, or the package when the file has no name.
        file: String,
    },
    /// A marker cannot be evaluated.
    #[error("lock holds the marker `{marker}` at line {line}, which cannot be evaluated")]
    Marker {
        /// One-based line of the package.
        line: usize,
        /// The marker.
        marker: String,
    },
    /// A package is there twice for this target.
    #[error("lock names `{name}` twice for this target, at line {line}")]
    Twice {
        /// One-based line of the second.
        line: usize,
        /// The package.
        name: String,
    },
    /// A package has wheels, none of which fits.
    #[error("no wheel of `{name}` {version} fits: {obstacles}; tried {tried}")]
    NoWheelFits {
        /// The package.
        name: String,
        /// Its version.
        version: String,
        /// The tags tried, shortened.
        tried: String,
        /// What keeps each file away.
        obstacles: String,
    },
    /// A package has a source and no wheel, where only wheels are of use.
    #[error("`{name}`{} comes from a {kind}, not from a wheel", spaced(.version))]
    NotAWheel {
        /// The package.
        name: String,
        /// Its version; empty when the lock does not tell.
        version: String,
        /// `source distribution`, `folder` or `repository`.
        kind: &'static str,
    },
}

fn spaced(version: &str) -> String {
    if version.is_empty() { String::new() } else { format!(" {version}") }
}

impl Diagnose for LockError {
    fn class(&self) -> Class {
        match self {
            Self::NoWheelFits { .. } | Self::NotAWheel { .. } => Class::Failed,
            _ => Class::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unreadable { .. } | Self::Place { .. } => None,
            Self::Syntax { .. }
            | Self::Foreign { .. }
            | Self::Twice { .. }
            | Self::Version { .. }
            | Self::Marker { .. } => Some("make the lock again, or take out what a merge left in it".into()),
            Self::Hash { .. } => Some("make the lock again with hashes; a file without one is never installed".into()),
            Self::NoWheelFits { name, .. } => Some(format!(
                "require another version of `{name}`, or a parent image with another Python, C library or platform"
            )),
            Self::NotAWheel { name, .. } => {
                Some(format!("build a wheel of `{name}` with `pip wheel` and name its folder in `find-links`"))
            }
        }
    }
}

impl Lock {
    /// Reads a `pylock.toml` and chooses one wheel a package; relative paths start from the file's folder.
    ///
    /// Packages whose marker does not hold are left out. Nothing is downloaded and no tool is started.
    ///
    /// # Errors
    /// Fails when the file cannot be read, is damaged, lacks a hash, or has a package without a fitting wheel.
    pub fn read_pylock(path: &Path, tags: &CompatibleTags, markers: &MarkerEnvironment) -> Result<Self, LockError> {
        let unreadable = |source| LockError::Unreadable { path: path.display().to_string(), source };
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let path = std::path::absolute(path).map_err(unreadable)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        Self::parse_pylock(&text, folder, tags, markers)
    }

    /// Reads a `pylock.toml` from its text; relative paths start from `folder`, which is absolute.
    ///
    /// # Errors
    /// As [`Lock::read_pylock`].
    pub fn parse_pylock(
        text: &str,
        folder: &Path,
        tags: &CompatibleTags,
        markers: &MarkerEnvironment,
    ) -> Result<Self, LockError> {
        Self::without_sources(pylock::read(text, folder, Some(tags), Some(markers))?)
    }

    fn without_sources((lock, unbuilt): (Self, Vec<Unbuilt>)) -> Result<Self, LockError> {
        match unbuilt.into_iter().next() {
            Some(Unbuilt { name, version, origin, .. }) => {
                Err(LockError::NotAWheel { name, version, kind: origin.kind() })
            }
            None => Ok(lock),
        }
    }

    /// Reads a `pylock.toml` as [`Lock::parse_pylock`] does, and gives what has no wheel yet beside the lock.
    ///
    /// # Errors
    /// As [`Lock::read_pylock`], but for packages that have a source alone.
    pub fn parse_pylock_with_sources(
        text: &str,
        folder: &Path,
        tags: &CompatibleTags,
        markers: &MarkerEnvironment,
    ) -> Result<(Self, Vec<Unbuilt>), LockError> {
        pylock::read(text, folder, Some(tags), Some(markers))
    }

    /// Reads what [`Lock::to_bytes`] wrote.
    ///
    /// # Errors
    /// Fails when the bytes are no such lock.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LockError> {
        let text = std::str::from_utf8(bytes).map_err(|error| LockError::Syntax {
            line: bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count() + 1,
            reason: "bytes that are not UTF-8".into(),
        })?;
        Self::without_sources(pylock::read(text, Path::new("/"), None, None)?)
    }

    /// Writes the lock as a `pylock.toml` of one target; equal locks have equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        pylock_write::record(self).into_bytes()
    }

    /// Writes the lock as a project's `pylock.toml` (PEP 751), for people and other installers.
    pub fn to_pylock(&self, head: &PylockHead) -> String {
        pylock_write::project(self, head)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wheel(name: &str) -> LockedWheel {
        LockedWheel {
            name: name.into(),
            version: "1.0".into(),
            filename: format!("{name}-1.0-py3-none-any.whl"),
            url: format!("https://files.example/{name}-1.0-py3-none-any.whl"),
            sha256: Digest::of(name.as_bytes()),
            size: Some(7),
            direct_url: None,
            index: None,
            origin: None,
        }
    }

    #[test]
    fn bytes_are_read_back_and_do_not_depend_on_order() {
        let direct = LockedWheel {
            url: "file:///w/b-1.0-py3-none-any.whl".into(),
            direct_url: Some(r#"{"url":"file:///w/b-1.0-py3-none-any.whl","archive_info":{}}"#.into()),
            ..wheel("b")
        };
        let gone = RemovedDistribution { name: "a".into(), version: "0.9\u{7f}\"\\".into() };
        let listed = LockedWheel { index: Some("https://index.example/simple".into()), ..wheel("c") };
        let made = |name: &str, origin: Origin| LockedWheel {
            url: origin.url(),
            direct_url: origin.direct_url(),
            origin: Some(origin),
            ..wheel(name)
        };
        let archive = |is_direct: bool| Origin::Archive {
            filename: "d-1.0.tar.gz".into(),
            url: "https://files.example/d-1.0.tar.gz".into(),
            sha256: Digest::of(b"sdist"),
            size: Some(9),
            subdirectory: is_direct.then(|| "python".into()),
            is_direct,
        };
        let repository = Origin::Repository {
            url: "https://h.example/f.git".into(),
            revision: Some("v1".into()),
            commit: "0123456789abcdef0123456789abcdef01234567".into(),
            subdirectory: None,
        };
        let folder = Origin::Folder { path: "lib".into(), content: Some(Digest::of(b"lib")), subdirectory: None };
        let packages = vec![
            wheel("a"),
            direct,
            listed,
            made("d", archive(false)),
            made("e", archive(true)),
            made("f", repository),
            made("g", folder),
        ];
        let lock = Lock { packages, removed: vec![gone] };
        let mut turned = lock.clone();
        turned.packages.reverse();
        assert_eq!(lock.to_bytes(), turned.to_bytes());
        assert_eq!(Lock::from_bytes(&lock.to_bytes()).unwrap(), lock);
    }

    #[test]
    fn damaged_locks_are_refused_with_their_line() {
        let whole =
            String::from_utf8(Lock { packages: vec![wheel("a"), wheel("b")], removed: vec![] }.to_bytes()).unwrap();
        let marked = whole.replacen("\n[[packages]]\nname = \"b\"", "\n<<<<<<< HEAD\n[[packages]]\nname = \"b\"", 1);
        let cases = [
            (marked.as_str(), 9),
            (&whole[..whole.len() - 20], 12),
            (&whole.replacen("lock-version = \"1.0\"", "lock-version = \"2.0\"", 1), 1),
            (&whole.replacen("sha256 = \"", "sha256 = \"0", 1), 5),
            (&whole.replacen("sha256", "md5", 1), 5),
            (&whole.replacen("https:", "gopher:", 1), 5),
            (&whole.replacen("name = \"b\"", "name = \"a\"", 1).replace("b-1.0-py3", "a-1.0-py3"), 10),
        ];
        for (text, expected) in cases {
            let line = match Lock::from_bytes(text.as_bytes()).unwrap_err() {
                LockError::Syntax { line, .. }
                | LockError::Version { line, .. }
                | LockError::Hash { line, .. }
                | LockError::Place { line, .. }
                | LockError::Twice { line, .. } => line,
                other => panic!("{other}"),
            };
            assert_eq!(line, expected, "{text}");
        }
    }
}
