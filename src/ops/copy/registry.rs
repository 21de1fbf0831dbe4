//! Brings the parts of an image into a repository: what it has stays, the rest is mounted or streamed.
//!
//! Tags are not moved here.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;

use crate::event::{Task, Work};
use crate::oci::{Descriptor, Digest, Document, Reference, Repository};
use crate::plan::Action;
use crate::registry::Mounted;

use super::super::error::OpsError;
use super::super::means::Means;
use super::super::transfer;
use super::collect::Collection;
use super::source::Source;
use super::standing;

/// Brings everything to `to` but the names; a root that nothing refers to goes with its first name.
pub(super) async fn carry(
    means: &Means,
    source: &Source,
    collection: &Collection,
    to: &Repository,
    names: &[Reference],
) -> Result<BTreeMap<Digest, Action>, OpsError> {
    let present = present(means, source, collection, to).await?;
    let is_present = |document: &Document| present.contains(document.digest());
    // A registry takes a manifest only with all its blobs, so that these are there too.
    let held = collection.blobs(&to.to_string(), is_present)?;
    let mut done: BTreeMap<Digest, Action> = held.into_iter().map(|blob| (blob.digest, Action::Hit)).collect();
    let due = collection.blobs(&to.to_string(), |document| !is_present(document))?;
    let configs = collection.configs(|document| !is_present(document));
    if source.repository() != Some(to) && !is_present(&collection.root) {
        let held = standing::blobs(means, names, due.len()).await;
        done.extend(held.into_iter().map(|digest| (digest, Action::Hit)));
    }
    let due: Vec<Descriptor> = due.into_iter().filter(|blob| !done.contains_key(&blob.digest)).collect();
    // How many are under way at once is decided at each registry, by what it bears.
    let brought = due.into_iter().map(|blob| {
        let chance = if configs.contains(&blob.digest) { Chance::Slim } else { Chance::Fair };
        async move { Ok::<_, OpsError>((blob.digest.clone(), bring(means, source, to, &blob, chance).await?)) }
    });
    done.extend(try_join_all(brought).await?);
    documents(means, collection, to, &present, names).await?;
    done.extend(collection.documents().map(|document| {
        let action = if is_present(document) { Action::Hit } else { Action::Copy };
        (document.digest().clone(), action)
    }));
    Ok(done)
}

/// The documents that the repository has already.
async fn present(
    means: &Means,
    source: &Source,
    collection: &Collection,
    to: &Repository,
) -> Result<BTreeSet<Digest>, OpsError> {
    let digests: Vec<Digest> = collection.documents().map(|document| document.digest().clone()).collect();
    if source.repository() == Some(to) {
        // A narrowed index is new there too.
        let made = collection.root.digest();
        let is_new = means.registry.resolve(&Reference::pinned(to, made)).await?.is_none();
        return Ok(digests.into_iter().filter(|digest| !(is_new && digest == made)).collect());
    }
    let asked = digests.into_iter().map(|digest| async move {
        let found = means.registry.resolve(&Reference::pinned(to, &digest)).await?;
        Ok::<_, OpsError>(found.map(|_| digest))
    });
    Ok(try_join_all(asked).await?.into_iter().flatten().collect())
}

/// How likely a repository has a blob already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) enum Chance {
    /// Worth a question, which costs one request.
    Fair,
    /// Not worth one: it is the config of a manifest that the repository does not have.
    Slim,
}

/// The most bytes that are sent without asking whether they are there.
const UNASKED: u64 = 64 << 10;

/// Brings one blob, and says what was done.
///
/// # Errors
/// Fails when it cannot be had, is not what its digest says, or the registry refuses.
pub(in crate::ops) async fn bring(
    means: &Means,
    source: &Source,
    to: &Repository,
    blob: &Descriptor,
    chance: Chance,
) -> Result<Action, OpsError> {
    if source.repository() == Some(to) {
        return Ok(Action::Hit);
    }
    let unasked = chance == Chance::Slim && blob.size <= UNASKED;
    if !unasked && means.registry.blob_size(to, &blob.digest).await?.is_some() {
        return Ok(Action::Hit);
    }
    if let Some(from) = source.repository().filter(|_| source.is_of_registry(to))
        && means.registry.mount(to, &blob.digest, from).await? == Mounted::Yes
    {
        means.traffic.mounted(blob.size);
        return Ok(Action::Mount);
    }
    let work = if source.repository().is_some() { Work::Copy } else { Work::Upload };
    let task = Task::start(&means.reporter, work, blob.digest.short(), Some(blob.size));
    transfer::push(means, to, blob, source.body(means, blob)?, &task).await?;
    Ok(Action::Copy)
}

/// Puts the documents that are not there, by digest, each after those that it refers to.
async fn documents(
    means: &Means,
    collection: &Collection,
    to: &Repository,
    present: &BTreeSet<Digest>,
    names: &[Reference],
) -> Result<(), OpsError> {
    let root = collection.root.digest();
    // A tag brings the root itself, unless something that has to be there before the tag refers to it.
    let with_tag = collection.referrers.is_empty() && names.iter().any(|name| name.tag().is_some());
    for level in &collection.levels {
        let due = level.iter().filter(|document| !present.contains(document.digest()));
        let due = due.filter(|document| !(with_tag && document.digest() == root));
        let (about, plain): (Vec<&Document>, Vec<&Document>) = due.partition(|document| document.subject().is_some());
        try_join_all(plain.into_iter().map(|document| put(means, to, document))).await?;
        // Where a tag lists the referrers, two clients at once would lose one of them.
        for document in about {
            put(means, to, document).await?;
        }
    }
    Ok(())
}

async fn put(means: &Means, to: &Repository, document: &Document) -> Result<(), OpsError> {
    let at = Reference::pinned(to, document.digest());
    means.registry.push_manifest(&at, &document.media_type(), document.bytes()).await?;
    means.traffic.uploaded(document.bytes().len() as u64);
    Ok(())
}

/// Those of `names` that do not stand for the root yet; all of them when the root is `new` in the repository.
pub(super) async fn outdated(
    means: &Means,
    collection: &Collection,
    names: &[Reference],
    new: bool,
) -> Result<Vec<Reference>, OpsError> {
    let mut due = Vec::new();
    for name in names {
        let Some(tag) = name.tag() else { continue };
        let name = Reference::tagged(&name.repository(), tag)?;
        let stands_for = if new { None } else { means.registry.resolve(&name).await? };
        if stands_for.is_none_or(|found| found.digest != *collection.root.digest()) {
            due.push(name);
        }
    }
    Ok(due)
}
