//! The files that a segment's `COPY` reads.
//!
//! Read through the same walk and the same ignore rules as the project's own sources.

use std::path::{Path, PathBuf};

use super::error::BackendError;
use crate::inputs::ignore::IgnoreRules;
use crate::inputs::source::{SourceKind, SourceTree, WalkOptions, walk};
use crate::oci::Digest;

/// A folder and what of it is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context {
    /// The folder.
    pub root: PathBuf,
    /// The text of its `.dockerignore`, or of the file that takes its place; empty for none.
    pub ignore: String,
}

impl Context {
    /// The digest of all that a `COPY` could see: paths, kinds, executable bits, contents, link targets.
    ///
    /// # Errors
    /// Fails when the ignore rules make no sense or a file cannot be read.
    pub fn key_material(&self) -> Result<Digest, BackendError> {
        Ok(self.tree()?.key_material())
    }

    fn tree(&self) -> Result<SourceTree, BackendError> {
        let rules = IgnoreRules::parse(self.ignore.as_bytes())?;
        Ok(walk(&self.root, &rules, &WalkOptions::default())?)
    }

    /// Copies what is not ignored into `folder`, for backends that do not know ignore rules.
    pub(super) fn stage(&self, folder: &Path) -> Result<(), BackendError> {
        use std::os::unix::ffi::OsStrExt as _;
        for entry in self.tree()?.entries() {
            let below = Path::new(std::ffi::OsStr::from_bytes(entry.path.as_bytes()));
            let (from, to) = (self.root.join(below), folder.join(below));
            let done = match &entry.kind {
                SourceKind::Directory => std::fs::create_dir_all(&to),
                SourceKind::Symlink { target } => std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), &to),
                // A copy and no link: what a backend does to it must not reach the project.
                SourceKind::File { .. } => std::fs::copy(&from, &to).map(drop),
            };
            done.map_err(|source| BackendError::Scratch { path: to, source })?;
        }
        Ok(())
    }
}
