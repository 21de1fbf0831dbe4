//! The facts of this machine that a build depends on: requirements and sources.
//!
//! Read once, on blocking threads, before anything is decided.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::event::Event;
use crate::inputs::ignore::IgnoreRules;
use crate::inputs::requirements::SourcedRequirements;
use crate::inputs::source::{Omission, SourceTree, WalkOptions, walk};
use crate::oci::Digest;
use crate::plan::{KeyHasher, changes_nothing};
use crate::settings::Requirements;

use super::error::OpsError;
use super::means::Means;
use super::request::BuildRequest;
use super::requirements;
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
}

/// The facts.
#[derive(Clone, Debug, Default)]
pub(super) struct LocalFacts {
    /// What is to be installed; `None` when nothing is.
    pub wanted: Option<Wanted>,
    /// The digests of folders and files of this machine that requirements name, by absolute path.
    pub contents: BTreeMap<PathBuf, Digest>,
    /// The project's files; `None` when they stay out.
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
            blocking(request, move |_| wheels::contents(&sources)).await?
        }
        _ => BTreeMap::new(),
    };
    let sources = match docker.allow_including_files_in_images {
        true => Some(means.memory.trees.get(tree_key(request), async || blocking(request, sources).await).await?),
        false => None,
    };
    let empty = sources.as_ref().is_none_or(|tree| tree.entries().is_empty());
    let asks_for_nothing = wanted.is_none() && empty && changes_nothing(&request.settings);
    Ok(LocalFacts { wanted, contents, sources: sources.filter(|_| !empty), asks_for_nothing })
}

/// What `read` makes of the request, on a thread that may wait for the disk.
async fn blocking<T: Send + 'static>(
    request: &BuildRequest,
    read: impl FnOnce(&BuildRequest) -> Result<T, OpsError> + Send + 'static,
) -> Result<T, OpsError> {
    let request = request.clone();
    tokio::task::spawn_blocking(move || read(&request)).await.map_err(OpsError::Worker)?
}

/// What the tree of sources depends on: its root, the ignore file, and what is never a source.
pub(super) type TreeKey = (PathBuf, Option<PathBuf>, Vec<PathBuf>);

fn tree_key(request: &BuildRequest) -> TreeKey {
    let ignore = request.settings.docker.build_config.dockerignore.as_ref().map(|file| request.folder.join(file));
    (request.source_root.clone(), ignore, request.not_sources.clone())
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

fn sources(request: &BuildRequest) -> Result<Arc<SourceTree>, OpsError> {
    let rules = match &request.settings.docker.build_config.dockerignore {
        Some(file) => IgnoreRules::parse(&read_file(&request.folder.join(file))?)?,
        None => {
            let usual = request.source_root.join(".dockerignore");
            if usual.is_file() { IgnoreRules::parse(&read_file(&usual)?)? } else { IgnoreRules::default() }
        }
    };
    let options = WalkOptions { without: request.not_sources.clone(), ..WalkOptions::default() };
    Ok(Arc::new(walk(&request.source_root, &rules, &options)?))
}

/// Warns of everything that was left out of the sources though no rule ignores it.
pub(super) fn warn(means: &Means, local: &LocalFacts) {
    for left in local.sources.iter().flat_map(|tree| tree.left_out()) {
        let what = match left.what {
            Omission::Socket => "a socket",
            Omission::Fifo => "a named pipe",
            Omission::Device => "a device",
        };
        let text = format!("`{}` is {what} and stays out of the image", left.path);
        means.reporter.report(Event::Warning { text });
    }
}

impl LocalFacts {
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
