//! What a build is asked for.
//!
//! Plain data: the command line or another program fills it in.

use std::path::PathBuf;

use crate::backend::Secret;
use crate::oci::{Platform, Reference};
use crate::python::environment::PythonHints;
use crate::settings::Settings;

use super::dockerfile::DockerfileRequest;

/// Where a finished image goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To a registry, under the targets' names.
    Registry,
    /// Into an OCI image layout.
    OciLayout(PathBuf),
    /// Into a file that `docker load` reads.
    DockerArchive(PathBuf),
}

/// One build.
#[derive(Clone, Debug)]
pub struct BuildRequest {
    /// The pipeline that the image is for.
    pub pipeline: Option<String>,
    /// What the image serves: `orchestrator`, or `STEP.orchestrator` for each step, as ZenML names them.
    pub keys: Vec<String>,
    /// The settings as ZenML's Python prints them, for its checksum.
    pub document: String,
    /// The merged settings.
    pub settings: Settings,
    /// The Dockerfile to build as it is; nothing else of the settings but their `lapstrake` section counts then.
    pub dockerfile: Option<DockerfileRequest>,
    /// The folder that relative paths in the settings start from.
    pub folder: PathBuf,
    /// The folder whose files go into the image.
    pub source_root: PathBuf,
    /// Files and folders that are never sources, such as the store.
    pub not_sources: Vec<PathBuf>,
    /// Under which names it is published.
    pub targets: Vec<Reference>,
    /// Where it goes.
    pub output: Output,
    /// For which platforms; several make an index, none takes the parent's or this machine's.
    pub platforms: Vec<Platform>,
    /// Images whose layers may be taken.
    pub cache_from: Vec<Reference>,
    /// What is known of the parent's Python beforehand.
    pub python: PythonHints,
    /// Make the image again though it is published; its layers may still be taken.
    pub no_reuse: bool,
    /// The backend for what cannot be assembled; `None` for the settings' own, else the first that can be used.
    pub backend: Option<String>,
    /// Let backends build their segments anew.
    pub refresh_backend: bool,
    /// Use nothing that an earlier build left.
    pub no_cache: bool,
    /// Resolve anew.
    pub upgrade: bool,
    /// Install just what `pylock.toml` says.
    pub locked: bool,
    /// Take what is only warned of for an error, such as files that look like secrets.
    pub strict: bool,
    /// RFC 3339 time for the image's `created`.
    pub created: Option<String>,
    /// The values of `lapstrake.secrets`, for indexes and backends; no key covers them.
    pub secrets: std::collections::BTreeMap<String, Secret>,
    /// Variables that requirement files may refer to.
    pub variables: std::collections::BTreeMap<String, String>,
}
