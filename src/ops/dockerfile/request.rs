//! What a build of a Dockerfile is asked for.
//!
//! Plain data; nothing is read here.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// A Dockerfile whose image is built as the file says it, with nothing added.
#[derive(Clone, Debug, Default)]
pub struct DockerfileRequest {
    /// The file.
    pub file: PathBuf,
    /// The folder that `COPY` reads from; without one there is nothing to copy.
    pub context: Option<PathBuf>,
    /// The ignore file, where one is named; else `FILE.dockerignore`, else `.dockerignore` of the context.
    pub ignore: Option<PathBuf>,
    /// The stage to build, by name or number; the last when absent.
    pub target: Option<String>,
    /// Values for its `ARG`s.
    pub build_args: BTreeMap<String, String>,
    /// Options that only a backend can honour; values as JSON.
    pub engine_options: BTreeMap<String, serde_json::Value>,
    /// Labels beside those of the file; they win.
    pub labels: BTreeMap<String, String>,
}
