//! What a machine tells the clouds' tools: variables, files, the time of day.
//!
//! Looks up nothing of itself; a caller that is allowed to fills it in.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::CloudError;
use crate::registry::small_file::{self, SmallFileError};

const FILE_CAP: u64 = 1 << 20;

/// What the clouds' tools are told by the machine that they run on. Holds secrets, so it cannot be shown.
#[derive(Clone)]
pub struct Facts {
    /// The environment, of which only the variables that the clouds document are looked at.
    pub variables: BTreeMap<String, String>,
    /// The home folder.
    pub home: Option<PathBuf>,
    /// Seconds since 1970, for signatures.
    pub clock: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Registries (`host` or `host:port`) that are spoken to by plain http.
    pub insecure: Vec<String>,
    /// PEM texts of certificates to trust beside the platform's.
    pub extra_roots: Vec<Vec<u8>>,
    /// The `User-Agent`.
    pub user_agent: String,
    /// Whether the network is switched off.
    pub offline: bool,
}

impl Facts {
    /// One variable; an empty one counts as absent.
    pub(crate) fn var(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Whether a variable says yes.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.var(name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    }

    /// The path that a variable names, else one below the home folder.
    pub(crate) fn path(&self, name: &str, below_home: &str) -> Option<PathBuf> {
        self.var(name).map(PathBuf::from).or_else(|| Some(self.home.as_ref()?.join(below_home)))
    }

    /// Seconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        (self.clock)()
    }
}

/// The text of a small file; `None` when it is not there.
pub(crate) fn text(path: &Path) -> Result<Option<String>, CloudError> {
    small_file::read(path, FILE_CAP).map_err(|error| match error {
        SmallFileError::Unreadable(source) => CloudError::Unreadable { path: path.to_owned(), source },
        SmallFileError::TooLarge => CloudError::FileTooLarge { path: path.to_owned(), cap: FILE_CAP },
    })
}

/// The text of a small file that has to be there.
pub(crate) fn demanded(path: &Path) -> Result<String, CloudError> {
    let absent = || CloudError::Unreadable { path: path.to_owned(), source: std::io::ErrorKind::NotFound.into() };
    text(path)?.ok_or_else(absent)
}

/// The token that a file holds, without the end of its line.
pub(crate) fn token(path: &Path) -> Result<String, CloudError> {
    let token = demanded(path)?.trim().to_owned();
    let broken = || CloudError::Field { of: path.display().to_string(), field: "token" };
    if token.is_empty() { Err(broken()) } else { Ok(token) }
}
