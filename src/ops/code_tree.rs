//! Which files are delivered: for an image those that the ignore file leaves, for an archive those that git knows.
//!
//! Reads the files; where they go is decided in `code`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::inputs::git::{self, GitError, Listing};
use crate::inputs::ignore::{IgnoreRules, read_patterns};
use crate::inputs::source::{SourceEntry, SourceTree, WalkOptions, read_listed, walk};

use super::error::OpsError;
use super::request::BuildRequest;

/// The folder of ZenML's own state.
const ZENML: &[u8] = b".zen";

/// What decides which files are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// Git: what it tracks, and new files that it does not ignore.
    Git,
    /// An ignore file.
    IgnoreFile(PathBuf),
    /// Nothing: all files are.
    Everything,
}

/// The files of an archive.
pub(super) struct Archived {
    pub(super) tree: Arc<SourceTree>,
    pub(super) chosen_by: ChosenBy,
    pub(super) warnings: Vec<String>,
}

/// The files that go into the image: those that `build_config.dockerignore`, else the source root's `.dockerignore`,
/// leaves. As in ZenML, `.zen` is always among them, and `.dockerignore` never.
///
/// # Errors
/// Fails when the ignore file makes no sense, or a file cannot be read.
pub(super) async fn included(request: &BuildRequest) -> Result<(Arc<SourceTree>, ChosenBy), OpsError> {
    let request = request.clone();
    let read = move || {
        let (patterns, chosen_by) = patterns(&request)?;
        let own = if patterns.is_empty() { &[][..] } else { &[&b"!.zen"[..]][..] };
        let all = patterns.iter().map(Vec::as_slice).chain(own.iter().copied()).chain([&b".dockerignore"[..]]);
        let tree = walk(&request.source_root, &IgnoreRules::of(all)?, &options(&request))?;
        Ok((Arc::new(tree), chosen_by))
    };
    tokio::task::spawn_blocking(read).await.map_err(OpsError::Worker)?
}

/// The files that go into an archive: what git knows where there is a checkout, else what the ignore file leaves;
/// nothing of `.zen`, which changes with every use, and no link that leads out of the root.
///
/// # Errors
/// Fails when git or the ignore file makes no sense, or a file cannot be read.
pub(super) async fn archived(request: &BuildRequest) -> Result<Archived, OpsError> {
    let mut warnings = Vec::new();
    let listing = match listing(request).await {
        Ok(listing) => listing,
        Err(error) => {
            warnings.push(format!("git does not say which files belong to the project: {error}; the ignore file does"));
            None
        }
    };
    let request = request.clone();
    let read = move || {
        let (tree, chosen_by) = match listing {
            Some(listing) => of_git(&request, listing, &mut warnings)?,
            None => {
                let (patterns, chosen_by) = patterns(&request)?;
                let all = patterns.iter().map(Vec::as_slice).chain([&b".dockerignore"[..], b".git"]);
                (walk(&request.source_root, &IgnoreRules::of(all)?, &options(&request))?, chosen_by)
            }
        };
        let out: Vec<_> = tree.outward_links().into_iter().cloned().collect();
        warnings
            .extend(out.iter().map(|path| format!("`{path}` leads out of the sources and stays out of the archive")));
        let tree = tree.without(|entry| is_zenmls(entry) || out.contains(&entry.path));
        Ok(Archived { tree: Arc::new(tree), chosen_by, warnings })
    };
    tokio::task::spawn_blocking(read).await.map_err(OpsError::Worker)?
}

async fn listing(request: &BuildRequest) -> Result<Option<Listing>, GitError> {
    match git::find(&request.source_root, &request.variables)? {
        Some(checkout) => checkout.files().await.map(Some),
        None => Ok(None),
    }
}

fn of_git(
    request: &BuildRequest,
    listing: Listing,
    warnings: &mut Vec<String>,
) -> Result<(SourceTree, ChosenBy), OpsError> {
    let nested = listing.repositories.iter();
    warnings.extend(nested.map(|path| format!("`{path}` is a repository of its own, no submodule, and stays out")));
    let tree = read_listed(&request.source_root, listing.files, &options(request))?;
    Ok((tree.with_ignored(listing.ignored), ChosenBy::Git))
}

fn is_zenmls(entry: &SourceEntry) -> bool {
    entry.path.as_bytes().split(|byte| *byte == b'/').any(|part| part == ZENML)
}

fn options(request: &BuildRequest) -> WalkOptions {
    WalkOptions { without: request.not_sources.clone(), ..WalkOptions::default() }
}

/// The patterns of the ignore file that counts.
fn patterns(request: &BuildRequest) -> Result<(Vec<Vec<u8>>, ChosenBy), OpsError> {
    let usual = request.source_root.join(".dockerignore");
    let file = match &request.settings.docker.build_config.dockerignore {
        Some(file) => request.folder.join(file),
        None if usual.is_file() => usual,
        None => return Ok((Vec::new(), ChosenBy::Everything)),
    };
    let patterns = read_patterns(&read_file(&file)?)?;
    Ok((patterns, ChosenBy::IgnoreFile(file)))
}

fn read_file(path: &Path) -> Result<Vec<u8>, OpsError> {
    std::fs::read(path).map_err(|source| OpsError::ReadFile { path: path.into(), source })
}
