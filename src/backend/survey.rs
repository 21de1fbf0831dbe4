//! What there is of each backend, for whoever wants to see all of them.
//!
//! Starts no daemon and builds nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::future::join_all;

use super::backends::{Backends, NONE};
use super::contract::Absence;
use crate::resolver::child::{Child, ChildEnvironment};

/// How long a program has to say its version.
const PATIENCE: Duration = Duration::from_secs(20);

/// A backend that can be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Its version, or its daemon's; `None` when it does not say.
    pub version: Option<String>,
    /// Where it builds: an address, a program, or a few words.
    pub address: Option<String>,
}

/// A backend and what was found of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Surveyed {
    /// Its name.
    pub name: String,
    /// What it is, or why it cannot be used.
    pub found: Result<Found, Absence>,
    /// Whether it is the one that builds.
    pub is_chosen: bool,
    /// How long it took to find out.
    pub took: Duration,
}

impl Backends {
    /// All backends in their order, and which of them builds when `wanted` is asked for, as [`Backends::choose`] chooses.
    pub async fn survey(&self, wanted: Option<&str>) -> Vec<Surveyed> {
        let all = self.all();
        let looks = all.iter().map(|backend| async {
            let started = Instant::now();
            let found = backend.look().await;
            Surveyed { name: backend.name().to_owned(), found, is_chosen: false, took: started.elapsed() }
        });
        let mut surveyed = join_all(looks).await;
        let decides = |one: &&mut Surveyed| match wanted {
            Some(wanted) => wanted != NONE && one.name == wanted,
            None => !matches!(one.found, Err(Absence::Missing(_))),
        };
        if let Some(first) = surveyed.iter_mut().find(decides) {
            first.is_chosen = first.found.is_ok();
        }
        surveyed
    }
}

/// What `program` prints; `None` when it fails.
pub(super) async fn said(environment: &ChildEnvironment, program: &Path, arguments: &[String]) -> Option<String> {
    let mut child = Child::new(program, environment.clone(), "/");
    child.arguments = arguments.to_vec();
    child.timeout = PATIENCE;
    let outcome = child.run().await.ok().filter(|outcome| outcome.status.success())?;
    Some(String::from_utf8_lossy(&outcome.stdout).trim().to_owned())
}

/// The first word of `text` that is a version, without a `v` before it.
pub(super) fn version_in(text: &str) -> Option<String> {
    let words = text.split_whitespace().map(|word| word.strip_prefix('v').unwrap_or(word).trim_end_matches(','));
    let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    words.into_iter().find(is_version).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        for (text, expected) in [
            ("buildctl github.com/moby/buildkit v0.26.3 c70e8e6", Some("0.26.3")),
            ("buildah version 1.28.2 (image-spec 1.0.2-dev, runtime-spec 1.0.2-dev)", Some("1.28.2")),
            ("BuildKit:\tgithub.com/moby/buildkit v0.26.3+unknown", Some("0.26.3+unknown")),
            ("20.10.24+dfsg1", Some("20.10.24+dfsg1")),
            ("a 3", None),
        ] {
            assert_eq!(version_in(text).as_deref(), expected, "{text}");
        }
    }
}
