//! Brings the parts of an image into a repository: what it has stays, the rest is mounted or streamed.
//!
//! Tags are not moved here.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::event::{Task, Work};
use crate::oci::{Descriptor, Digest, Document, Reference, Repository};
use crate::plan::Action;
use crate::registry::Mounted;

use super::super::error::OpsError;
use super::super::means::Means;
use super::super::transfer;
use super::collect::Collection;
use super::source::Source;
use super::{ASKING, TRANSFERS};

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
    let due: Vec<Descriptor> = due.into_iter().filter(|blob| !done.contains_key(&blob.digest)).collect();
    let brought = stream::iter(due).map(|blob| async move {
        let action = bring(means, source, to, &blob).await?;
        Ok::<_, OpsError>((blob.digest, action))
    });
    done.extend(brought.buffer_unordered(TRANSFERS).try_collect::<Vec<_>>().await?);
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
    let asked = stream::iter(digests).map(|digest| async move {
        let found = means.registry.resolve(&Reference::pinned(to, &digest)).await?;
        Ok::<_, OpsError>(found.map(|_| digest))
    });
    let found: Vec<Option<Digest>> = asked.buffer_unordered(ASKING).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Brings one blob, and says what was done.
///
/// # Errors
/// Fails when it cannot be had, is not what its digest says, or the registry refuses.
pub(in crate::ops) async fn bring(
    means: &Means,
    source: &Source,
    to: &Repository,
    blob: &Descriptor,
) -> Result<Action, OpsError> {
    if source.repository() == Some(to) || means.registry.blob_size(to, &blob.digest).await?.is_some() {
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
        let puts = stream::iter(plain).map(|document| put(means, to, document));
        puts.buffer_unordered(ASKING).try_collect::<Vec<()>>().await?;
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

/// Those of `names` that do not stand for the root yet.
pub(super) async fn outdated(
    means: &Means,
    collection: &Collection,
    names: &[Reference],
) -> Result<Vec<Reference>, OpsError> {
    let mut due = Vec::new();
    for name in names {
        let Some(tag) = name.tag() else { continue };
        let name = Reference::tagged(&name.repository(), tag)?;
        let stands_for = means.registry.resolve(&name).await?;
        if stands_for.is_none_or(|found| found.digest != *collection.root.digest()) {
            due.push(name);
        }
    }
    Ok(due)
}
