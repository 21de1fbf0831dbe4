//! One entry of a layer: a path with its kind and metadata.
//!
//! Owners are numeric; names are never written, since they mean another thing in every image.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// A path inside an image: relative to `/`, no empty, `.` or `..` component, no NUL. Bytes, not text; copies share them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPath(Arc<[u8]>);

/// Why bytes are not an [`EntryPath`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("path `{}` is empty, absolute, or holds an empty, `.` or `..` component or a NUL", .0.escape_ascii())]
pub struct EntryPathError(pub Vec<u8>);

impl crate::diagnostic::Diagnose for EntryPathError {}

impl EntryPath {
    /// Checks `bytes` and wraps them.
    ///
    /// # Errors
    /// Fails when the path is empty or absolute, ends in a slash, or holds an empty, `.` or `..` component or a NUL.
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self, EntryPathError> {
        let bytes = bytes.as_ref();
        let plain = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
        if bytes.split(|b| *b == b'/').all(plain) {
            Ok(Self(bytes.into()))
        } else {
            Err(EntryPathError(bytes.to_vec()))
        }
    }

    /// The bytes, without a leading slash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path below `self` that `bytes` names.
    ///
    /// # Errors
    /// Fails when `bytes` is not itself an entry path.
    pub fn join(&self, bytes: impl AsRef<[u8]>) -> Result<Self, EntryPathError> {
        let below = Self::parse(bytes)?;
        Ok(Self([&self.0, &b"/"[..], &below.0].concat().into()))
    }

    /// The directory that holds this path; `None` at the top.
    pub fn parent(&self) -> Option<Self> {
        let slash = self.0.iter().rposition(|b| *b == b'/')?;
        Some(Self(self.0[..slash].into()))
    }

    /// The file beside this path that removes it when the layer is applied (image-spec, layer.md, "Whiteouts").
    #[must_use]
    pub fn whiteout(&self) -> Self {
        let (above, name) = self.0.split_at(self.0.len() - self.file_name().len());
        Self([above, b".wh.", name].concat().into())
    }

    /// The file in this directory that hides what lower layers have in it (image-spec, layer.md, "Opaque Whiteout").
    #[must_use]
    pub fn opaque_whiteout(&self) -> Self {
        Self([&self.0, &b"/.wh..wh..opq"[..]].concat().into())
    }

    /// The last component.
    pub fn file_name(&self) -> &[u8] {
        match self.0.iter().rposition(|b| *b == b'/') {
            Some(slash) => &self.0[slash + 1..],
            None => &self.0,
        }
    }
}

impl Borrow<[u8]> for EntryPath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// A directory.
    Directory,
    /// A regular file of `size` bytes.
    File {
        /// Number of content bytes.
        size: u64,
    },
    /// A symbolic link to `target`, any bytes but NUL.
    Symlink {
        /// Where it points.
        target: Vec<u8>,
    },
    /// Another name of `target`, an earlier file of the same layer.
    Hardlink {
        /// The file's first name.
        target: EntryPath,
    },
}

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where.
    pub path: EntryPath,
    /// What.
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Seconds since 1970-01-01 UTC.
    pub mtime: i64,
}

/// The modification time of every file that Lapstrake places: 1980-01-01 UTC, the earliest that a zip archive can hold.
pub const PLACED_MTIME: i64 = 315_532_800;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_leave_the_root_are_refused() {
        for path in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\0b"] {
            assert!(EntryPath::parse(path).is_err(), "{path:?}");
        }
        let path = EntryPath::parse("usr/lib/x").unwrap();
        assert_eq!(path.parent().unwrap().as_bytes(), b"usr/lib");
        assert_eq!(path.file_name(), b"x");
        assert_eq!(path.join("y/z").unwrap().as_bytes(), b"usr/lib/x/y/z");
        assert!(path.join("../z").is_err());
        assert_eq!(path.whiteout().as_bytes(), b"usr/lib/.wh.x");
        assert_eq!(EntryPath::parse("x").unwrap().whiteout().as_bytes(), b".wh.x");
        assert_eq!(path.opaque_whiteout().as_bytes(), b"usr/lib/x/.wh..wh..opq");
    }
}
