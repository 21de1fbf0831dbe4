//! Sources of requirements resolved one after the other, each on top of what the ones before installed.
//!
//! A later source may undo what an earlier one chose, as ZenML's files do; contradictions are no errors here.

use std::collections::BTreeMap;
use std::fs::File;

use crate::python::Wheel;
use crate::python::lock::{Lock, LockedWheel, RemovedDistribution};
use crate::python::tags::CompatibleTags;
use crate::resolver::WheelFetcher;
use crate::resolver::request::{ParentDistribution, ResolveRequest};

use super::error::OpsError;
use super::means::Means;
use super::request::BuildRequest;
use super::resolution::{self, Asking};

/// One source, in its turn.
pub(super) enum Question {
    /// For the resolver.
    Open(Box<ResolveRequest>),
    /// A lock, which says what is installed.
    Answered(Lock),
}

/// What is installed after some of the sources.
#[derive(Default)]
struct Stage {
    packages: BTreeMap<String, LockedWheel>,
    /// Which source each package is of.
    of: BTreeMap<String, usize>,
    removed: BTreeMap<String, RemovedDistribution>,
}

impl Stage {
    /// What one more source, the one at `at`, changes.
    fn add(&mut self, lock: Lock, at: usize) {
        for gone in lock.removed {
            if self.packages.remove(&gone.name).is_none() {
                self.removed.insert(gone.name.clone(), gone);
            }
        }
        self.of.extend(lock.packages.iter().map(|wheel| (wheel.name.clone(), at)));
        self.packages.extend(lock.packages.into_iter().map(|wheel| (wheel.name.clone(), wheel)));
    }

    /// The parent's distributions that are left, and what was chosen in the place of others.
    fn installed(&self, means: &Means, parent: &[ParentDistribution]) -> Result<Vec<ParentDistribution>, OpsError> {
        let is_left = |dist: &&ParentDistribution| {
            !self.removed.contains_key(&dist.name) && !self.packages.contains_key(&dist.name)
        };
        let mut installed: Vec<ParentDistribution> = parent.iter().filter(is_left).cloned().collect();
        for wheel in self.packages.values() {
            let path = means.store.path(&wheel.sha256);
            let file = File::open(&path).map_err(|source| OpsError::ReadFile { path, source })?;
            installed.push(ParentDistribution {
                name: wheel.name.clone(),
                version: wheel.version.clone(),
                metadata: Wheel::open(file, &wheel.filename)?.metadata()?,
                installer: Some("uv\n".to_owned()),
            });
        }
        Ok(installed)
    }
}

/// The lock for `questions`, in their order, and which of them each package is of; each has the parent's distributions as
/// its own.
///
/// Wheels of all but the last are fetched, since what they require counts for the next.
///
/// # Errors
/// Fails as the first source that cannot be resolved does.
pub(super) async fn resolve(
    means: &Means,
    request: &BuildRequest,
    questions: Vec<Question>,
    tags: &CompatibleTags,
    fetcher: &WheelFetcher,
) -> Result<(Lock, BTreeMap<String, usize>), OpsError> {
    let mut stage = Stage::default();
    let last = questions.len().saturating_sub(1);
    for (at, question) in questions.into_iter().enumerate() {
        let lock = match question {
            Question::Answered(lock) => lock,
            Question::Open(question) => {
                let installed = stage.installed(means, &question.installed)?;
                let asked = ResolveRequest { installed, ..*question };
                resolution::resolve_once(Asking { means, request, tags, fetcher, last: None }, &asked).await?.lock
            }
        };
        if at < last {
            fetcher.fetch_all(&lock.packages).await?;
        }
        stage.add(lock, at);
    }
    let Stage { packages, of, removed } = stage;
    let lock = Lock { packages: packages.into_values().collect(), removed: removed.into_values().collect() };
    Ok((lock, of))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    fn wheel(name: &str, version: &str) -> LockedWheel {
        LockedWheel {
            name: name.into(),
            version: version.into(),
            filename: format!("{name}-{version}-py3-none-any.whl"),
            url: format!("https://files.example/{name}-{version}-py3-none-any.whl"),
            sha256: Digest::of(version.as_bytes()),
            size: None,
            direct_url: None,
            index: None,
            origin: None,
        }
    }

    #[test]
    fn a_later_source_replaces_what_an_earlier_one_or_the_parent_has() {
        let gone = |name: &str, version: &str| RemovedDistribution { name: name.into(), version: version.into() };
        let mut stage = Stage::default();
        stage.add(Lock { packages: vec![wheel("a", "1"), wheel("b", "1")], removed: vec![gone("a", "0.9")] }, 0);
        stage.add(Lock { packages: vec![wheel("a", "2")], removed: vec![gone("a", "1")] }, 1);
        let versions: Vec<(&str, &str)> =
            stage.packages.values().map(|wheel| (wheel.name.as_str(), wheel.version.as_str())).collect();
        assert_eq!(versions, [("a", "2"), ("b", "1")]);
        assert_eq!(stage.of, BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 0)]));
        let removed: Vec<&RemovedDistribution> = stage.removed.values().collect();
        assert_eq!(removed, [&gone("a", "0.9")]);
    }
}
