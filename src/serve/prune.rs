//! Pruning: removes what nothing refers to, beside a server that runs or without one.
//!
//! A tag keeps its manifest, a manifest keeps what it names and what refers to it; whatever is young is kept,
//! since the manifest that will name it may be on its way. Uploads are the server's affair.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::ServeError;
use super::manifests::References;
use super::route::Name;
use super::storage::Storage;
use crate::oci::Digest;
use crate::store::{StoreError, folder};

/// What may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneOptions {
    /// Only what was neither pushed nor asked for by a pusher since then.
    pub before: SystemTime,
    /// Whether to count only.
    pub is_dry: bool,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Manifests, counted once for each repository that had them.
    pub manifests: u64,
    /// Blobs, counted once for each repository that had them.
    pub blobs: u64,
    /// Files of content that no repository has any more.
    pub files: u64,
    /// The bytes of those files.
    pub bytes: u64,
}

/// Removes from the registry in `root` what no tag leads to. Pushes to a running server wait meanwhile.
///
/// # Errors
/// Fails when the folder is no registry's, or when something in it cannot be read, before anything is removed
/// from the repository in question.
pub fn prune(root: &Path, options: &PruneOptions) -> Result<Pruned, ServeError> {
    let storage = Storage::attach(root)?;
    let _sweep = storage.sweeping()?;
    let mut pruned = Pruned::default();
    let mut linked = BTreeSet::new();
    for name in storage.names()? {
        linked.append(&mut prune_repository(&storage, &name, options, &mut pruned)?);
    }
    for (path, digest) in storage.all_content()? {
        if linked.contains(&digest) || !is_older(&path, options) {
            continue;
        }
        pruned.files += 1;
        pruned.bytes += fs::symlink_metadata(&path).map_or(0, |found| found.len());
        if !options.is_dry {
            storage.remove(&path)?;
        }
    }
    Ok(pruned)
}

/// What stays in a repository.
#[derive(Default)]
struct Kept {
    manifests: BTreeSet<Digest>,
    blobs: BTreeSet<Digest>,
}

/// Returns the digests of what the repository still has.
fn prune_repository(
    storage: &Storage,
    name: &Name,
    options: &PruneOptions,
    pruned: &mut Pruned,
) -> Result<BTreeSet<Digest>, StoreError> {
    let manifests = storage.manifests(name)?;
    let kept = mark(storage, name, &manifests, options)?;
    let mut left = BTreeSet::new();
    for (link, digest) in manifests {
        if kept.manifests.contains(&digest) {
            left.insert(digest);
            continue;
        }
        pruned.manifests += 1;
        if !options.is_dry {
            if let Some(subject) = References::of(storage, &digest)?.and_then(|found| found.subject) {
                storage.remove_referrer(name, &subject, &digest)?;
            }
            storage.remove(&link)?;
        }
    }
    for (link, digest) in storage.blobs(name)? {
        if kept.blobs.contains(&digest) || !is_older(&link, options) {
            left.insert(digest);
            continue;
        }
        pruned.blobs += 1;
        if !options.is_dry {
            storage.remove(&link)?;
        }
    }
    Ok(left)
}

/// Follows tags and young manifests to all that they lead to.
fn mark(
    storage: &Storage,
    name: &Name,
    manifests: &[(PathBuf, Digest)],
    options: &PruneOptions,
) -> Result<Kept, StoreError> {
    let mut kept = Kept::default();
    let young = manifests.iter().filter(|(link, _)| !is_older(link, options)).map(|(_, digest)| digest.clone());
    let mut todo: Vec<Digest> = young.collect();
    todo.extend(storage.tags(name)?.iter().filter_map(|tag| storage.tag(name, tag)));
    while let Some(digest) = todo.pop() {
        if !kept.manifests.insert(digest.clone()) {
            continue;
        }
        todo.extend(storage.referrer_digests(name, &digest)?);
        if storage.manifest(name, &digest).is_none() {
            continue;
        }
        let Some(references) = References::of(storage, &digest)? else { continue };
        // An index may name blobs, too.
        kept.blobs.extend(references.blobs.into_iter().chain(references.manifests.iter().cloned()));
        todo.extend(references.manifests);
    }
    Ok(kept)
}

/// What cannot be dated is young.
fn is_older(path: &Path, options: &PruneOptions) -> bool {
    let changed = fs::symlink_metadata(path).and_then(|found| found.modified());
    changed.is_ok_and(|changed| changed < options.before)
}

impl Storage {
    /// The files of all content, with their digests.
    fn all_content(&self) -> Result<Vec<(PathBuf, Digest)>, StoreError> {
        let mut found = Vec::new();
        for algorithm in folders(&self.root().join("blobs"))? {
            for start in folders(&algorithm)? {
                found.extend(named(&algorithm, folder::names(&start)?));
            }
        }
        Ok(found)
    }

    fn manifests(&self, name: &Name) -> Result<Vec<(PathBuf, Digest)>, StoreError> {
        links(&self.repository(name).join("_manifests"))
    }

    fn blobs(&self, name: &Name) -> Result<Vec<(PathBuf, Digest)>, StoreError> {
        links(&self.repository(name).join("_blobs"))
    }

    fn referrer_digests(&self, name: &Name, subject: &Digest) -> Result<Vec<Digest>, StoreError> {
        let names = folder::names(&self.referrers_folder(name, subject))?;
        let digest = |path: &PathBuf| Digest::parse(&path.file_name()?.to_str()?.replacen('-', ":", 1)).ok();
        Ok(names.iter().filter_map(digest).collect())
    }
}

fn links(folder: &Path) -> Result<Vec<(PathBuf, Digest)>, StoreError> {
    let mut found = Vec::new();
    for algorithm in folders(folder)? {
        found.extend(named(&algorithm, folder::names(&algorithm)?));
    }
    Ok(found)
}

/// The folders in a folder; links are none.
fn folders(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let is_folder = |path: &PathBuf| fs::symlink_metadata(path).is_ok_and(|found| found.is_dir());
    Ok(folder::names(folder)?.into_iter().filter(is_folder).collect())
}

/// The files whose names are digests of the folder's algorithm.
fn named(algorithm: &Path, paths: Vec<PathBuf>) -> Vec<(PathBuf, Digest)> {
    let name = |path: &Path| path.file_name()?.to_str().map(str::to_owned);
    let digest = |path: PathBuf| {
        let digest = Digest::parse(&format!("{}:{}", name(algorithm)?, name(&path)?)).ok()?;
        Some((path, digest))
    };
    paths.into_iter().filter_map(digest).collect()
}
