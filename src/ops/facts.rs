//! The facts of this machine that a build depends on: requirements and sources.
//!
//! Read once, on blocking threads, before anything is decided.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::event::Event;
use crate::image::ConfigChange;
use crate::inputs::requirements::SourcedRequirements;
use crate::inputs::source::SourceTree;
use crate::oci::Digest;
use crate::plan::{KeyHasher, changes_nothing};
use crate::settings::Requirements;

use super::code::{self, Code, CodeDelivery};
use super::error::OpsError;
use super::installer::By;
use super::means::Means;
use super::request::BuildRequest;
use super::requirements::{self, tell_once};
use super::wheels;

/// What is to be installed, as the project says it.
#[derive(Clone, Debug)]
pub(super) enum Wanted {
    /// A lock in the project: just these files.
    Lock {
        /// Where it is.
        path: PathBuf,
        /// The digest of its bytes.
        digest: Digest,
    },
    /// Lines that are to be resolved, source by source in the order of installation.
    Lines(Vec<SourcedRequirements>),
    /// Installations of a Dockerfile, each on top of those before it, with options of its own.
    Installs(Vec<Install>),
}

/// One installation of a Dockerfile.
#[derive(Clone, Debug)]
pub(super) struct Install {
    /// What is asked for.
    pub source: SourcedRequirements,
    /// How it is resolved: a request with the installation's options as settings.
    pub request: BuildRequest,
    /// What is installed, where a lock says it and nothing is resolved.
    pub lock: Option<Arc<PinnedLock>>,
    /// What a project requires that is installed itself, as lines.
    pub required: Vec<String>,
    /// Who installs.
    pub by: By,
}

/// The packages of a project's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PinnedLock {
    /// The text of a `pylock.toml`.
    pub packages: String,
    /// The whole version of the image's Python, by which markers are read.
    pub python: String,
}

/// The facts.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalFacts {
    /// What is to be installed; `None` when nothing is.
    pub wanted: Option<Wanted>,
    /// The digests of folders and files of this machine that requirements name, by absolute path.
    pub contents: BTreeMap<PathBuf, Digest>,
    /// Where a container gets its code from; `None` when the parent is taken as it is.
    pub code: Option<Arc<Code>>,
    /// The files that go into the image; `None` when there is no layer of sources, not even an empty folder.
    pub sources: Option<Arc<SourceTree>>,
    /// Whether the parent alone is what the settings ask for.
    pub asks_for_nothing: bool,
}

/// Reads the facts.
///
/// # Errors
/// Fails when a requirement file, the ignore file or a source file cannot be read or makes no sense.
pub(super) async fn gather(means: &Means, request: &BuildRequest) -> Result<LocalFacts, OpsError> {
    let docker = &request.settings.docker;
    if docker.skip_build {
        return Ok(LocalFacts { asks_for_nothing: true, ..LocalFacts::default() });
    }
    // First: a command that lists requirements may write a file into the project, as `uv lock` does.
    let wanted = wanted(means, request).await?;
    let contents = match &wanted {
        Some(Wanted::Lines(sources)) => {
            let sources = sources.clone();
            let looked_at = tokio::task::spawn_blocking(move || wheels::contents(&sources)).await;
            looked_at.map_err(OpsError::Worker)??
        }
        _ => BTreeMap::new(),
    };
    let decide = async || code::decide(means, request).await.map(Arc::new);
    let code = means.memory.codes.get(code::key(request), decide).await?;
    for text in &code.warnings {
        tell_once(means, Event::Warning { text: text.clone() }).await;
    }
    let sources = code.image_tree(docker.user.is_some());
    let is_fetched = matches!(code.delivery, CodeDelivery::Repository(_) | CodeDelivery::Archive(_));
    let is_empty = sources.as_ref().is_none_or(|tree| tree.entries().is_empty()) && !is_fetched;
    let asks_for_nothing = wanted.is_none() && is_empty && changes_nothing(&request.settings);
    Ok(LocalFacts { wanted, contents, code: Some(code), sources, asks_for_nothing })
}

/// What is to be installed, by the lock of the project or by the sources of requirements.
pub(super) async fn wanted(means: &Means, request: &BuildRequest) -> Result<Option<Wanted>, OpsError> {
    if request.locked {
        let path = request.source_root.join("pylock.toml");
        return if path.is_file() { lock(path).map(Some) } else { Err(OpsError::NoLock { path }) };
    }
    if let Some(Requirements::File(file)) = &request.settings.docker.requirements
        && is_lock(file)
    {
        requirements::warn_of_unread_sources(means, request, file).await;
        return lock(request.folder.join(file)).map(Some);
    }
    let sources = requirements::gather(means, request).await?;
    Ok(Some(sources).filter(|sources| !sources.is_empty()).map(Wanted::Lines))
}

/// Whether a file of this name is a lock (PEP 751, "File Name").
fn is_lock(file: &Path) -> bool {
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == "pylock.toml" || (name.starts_with("pylock.") && name.ends_with(".toml"))
}

fn lock(path: PathBuf) -> Result<Wanted, OpsError> {
    let bytes = read_file(&path)?;
    Ok(Wanted::Lock { digest: Digest::of(&bytes), path })
}

fn read_file(path: &Path) -> Result<Vec<u8>, OpsError> {
    std::fs::read(path).map_err(|source| OpsError::ReadFile { path: path.into(), source })
}

impl LocalFacts {
    /// Adds the variables that tell a container where its code is.
    pub(super) fn add_code(&self, change: &mut ConfigChange) {
        change.environment.extend(self.code.iter().flat_map(|code| code.environment()));
    }

    /// Adds everything that shapes the image to its key.
    pub(super) fn add_to(&self, key: &mut KeyHasher) {
        self.add_wanted(key);
        let sources = self.sources.as_ref().map(|tree| tree.key_material());
        key.add("sources", sources.as_ref().map_or("", Digest::as_str));
        key.add("parent-alone", [u8::from(self.asks_for_nothing)]);
    }

    /// Adds what versions are chosen from.
    pub(super) fn add_wanted(&self, key: &mut KeyHasher) {
        match &self.wanted {
            None => key.add("requirements", "none"),
            Some(Wanted::Lock { digest, .. }) => key.add("lock", digest.as_str()),
            Some(Wanted::Lines(sources)) => {
                for source in sources {
                    key.add("requirements", source.set.key_text());
                }
            }
            Some(Wanted::Installs(installs)) => {
                for Install { source, request, lock, required, by } in installs {
                    key.add("requirements", source.set.key_text());
                    super::python::add_how(key, request);
                    by.add_to(key);
                    required.iter().for_each(|line| key.add("required", line));
                    if let Some(lock) = lock {
                        key.add("pinned", Digest::of(lock.packages.as_bytes()).as_str());
                        key.add("python", &lock.python);
                    }
                }
            }
        }
        for content in self.contents.values() {
            key.add("content", content.as_str());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_files_are_known_by_the_names_of_pep_751() {
        for (name, lock) in
            [("pylock.toml", true), ("a/pylock.prod.toml", true), ("requirements.txt", false), ("mypylock.toml", false)]
        {
            assert_eq!(is_lock(Path::new(name)), lock, "{name}");
        }
    }
}
