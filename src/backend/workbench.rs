//! The folder of one order: the Dockerfile, its ignore file, secrets, logins.
//!
//! Only its owner can read it. It goes when the order is done, and with the leash of the child when this process dies.

use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tempfile::TempDir;

use super::contract::Order;
use super::error::BackendError;

/// The files of one order.
pub(super) struct Workbench {
    folder: TempDir,
    context: PathBuf,
    secrets: Vec<(String, PathBuf)>,
}

impl Workbench {
    /// Writes what a backend reads; `more` goes into Docker's configuration beside the logins.
    ///
    /// # Errors
    /// Fails when the scratch folder cannot be written.
    pub(super) fn lay(order: &Order<'_>, more: Map<String, Value>) -> Result<Self, BackendError> {
        let failed = |source| BackendError::Scratch { path: order.scratch.into(), source };
        let private = std::fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("segment-").permissions(private).tempdir_in(order.scratch);
        let mut bench = Self { folder: folder.map_err(failed)?, context: PathBuf::new(), secrets: Vec::new() };
        // A folder for itself: where there is no context, it is the context, and secrets must not be in it.
        make(&bench.path("file"))?;
        write(&bench.dockerfile(), order.segment.dockerfile.as_bytes())?;
        bench.context = match &order.segment.context {
            None => bench.path("file"),
            Some(context) => {
                write(&bench.ignore_file(), context.ignore.as_bytes())?;
                // The backend's working folder is another.
                std::path::absolute(&context.root).map_err(failed)?
            }
        };
        make(&bench.path("secrets"))?;
        for (number, (id, secret)) in order.segment.secrets.iter().enumerate() {
            let path = bench.path("secrets").join(number.to_string());
            write(&path, secret.expose())?;
            bench.secrets.push((id.clone(), path));
        }
        make(&bench.docker_config())?;
        let config: Map<String, Value> = order.logins.config_json().into_iter().chain(more).collect();
        write(&bench.docker_config().join("config.json"), Value::Object(config).to_string().as_bytes())?;
        Ok(bench)
    }

    /// Copies what the ignore rules leave of the context, for backends that know none.
    ///
    /// # Errors
    /// Fails when a file cannot be read or copied.
    pub(super) fn stage_context(&mut self, order: &Order<'_>) -> Result<(), BackendError> {
        let Some(context) = &order.segment.context else { return Ok(()) };
        let staged = self.path("context");
        make(&staged)?;
        context.stage(&staged)?;
        self.context = staged;
        Ok(())
    }

    /// The folder.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path in it.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    /// The Dockerfile.
    pub(super) fn dockerfile(&self) -> PathBuf {
        self.path("file/Dockerfile")
    }

    /// The ignore file, which builders take before one in the context; there is none without a context.
    pub(super) fn ignore_file(&self) -> PathBuf {
        self.path("file/Dockerfile.dockerignore")
    }

    /// The folder that `COPY` reads from.
    pub(super) fn context(&self) -> &Path {
        &self.context
    }

    /// The folder of Docker's configuration.
    pub(super) fn docker_config(&self) -> PathBuf {
        self.path("docker")
    }

    /// The secrets' ids and files.
    pub(super) fn secrets(&self) -> &[(String, PathBuf)] {
        &self.secrets
    }

    /// `--secret id=...,src=...` for each secret.
    pub(super) fn secret_arguments(&self) -> Vec<String> {
        let argument = |(id, path): &(String, PathBuf)| format!("id={id},src={}", path.display());
        self.secrets.iter().flat_map(|secret| ["--secret".to_owned(), argument(secret)]).collect()
    }

    /// A small file that the backend wrote, as text.
    pub(super) fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.path(name)).ok()
    }
}

fn make(folder: &Path) -> Result<(), BackendError> {
    let made = std::fs::DirBuilder::new().mode(0o700).create(folder);
    made.map_err(|source| BackendError::Scratch { path: folder.into(), source })
}

/// Writes a file that its owner alone can read.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), BackendError> {
    let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = file.and_then(|mut file| file.write_all(bytes));
    written.map_err(|source| BackendError::Scratch { path: path.into(), source })
}
