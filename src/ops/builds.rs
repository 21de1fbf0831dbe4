//! What the ledger's builds are good for: using one again, and getting them back from a registry.
//!
//! Whether a build may be used again by the settings is for the caller to say; here the registry is asked.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::event::Event;
use crate::image::annotation;
use crate::oci::{Descriptor, Digest, Document, Reference, Repository};
use crate::plan::{PlanKey, is_key_tag};
use crate::store::ledger::{BuildId, BuildRecord, Ledger, Wanted};

use super::copy::CopyError;
use super::error::OpsError;
use super::ledger::ARTIFACT;
use super::means::Means;

/// How many requests ask at once.
const ASKING: usize = 8;
/// How many builds are looked at before a new one is made.
const CANDIDATES: usize = 5;
/// The most bytes of a record that is read back.
const CAP: u64 = 4 << 20;

/// The newest build that is as wanted and whose images are all still there; only builds in `registry`, when one is
/// named. A registry that does not answer costs the reuse, never the build.
///
/// # Errors
/// Fails when the ledger cannot be read.
pub async fn find_reusable_build(
    means: &Means,
    ledger: &Ledger,
    wanted: &Wanted,
    registry: Option<&str>,
) -> Result<Option<BuildRecord>, OpsError> {
    let (asked, wanted) = (ledger.clone(), wanted.clone());
    let found = tokio::task::spawn_blocking(move || asked.reusable(&wanted, CANDIDATES)).await;
    for record in found.map_err(OpsError::Worker)?? {
        let is_elsewhere = |at: &Reference| registry.is_some_and(|registry| at.domain() != registry);
        if record.references().iter().any(is_elsewhere) {
            continue;
        }
        match still_there(means, &record).await {
            Ok(gone) if gone.is_empty() => return Ok(Some(record)),
            Ok(_) => {}
            Err(error) => {
                let text = format!("build `{}` cannot be used again: {error}", record.id.short());
                means.reporter.report(Event::Warning { text });
            }
        }
    }
    Ok(None)
}

/// Asks the registries for all images of a build, and gives the names of those that are gone. What is in no registry
/// counts as gone.
///
/// # Errors
/// Fails when a registry does not say.
pub async fn still_there(means: &Means, record: &BuildRecord) -> Result<Vec<String>, OpsError> {
    let references = record.references();
    let asked = references.iter().map(|at| async move {
        let found = means.registry.resolve(&Reference::pinned(&at.repository(), pinned(at)?)).await?;
        Ok::<_, OpsError>(found.is_none().then(|| at.to_string()))
    });
    let mut gone: BTreeSet<String> = try_join_all(asked).await?.into_iter().flatten().collect();
    let is_elsewhere = |image: &String| !Reference::parse(image).is_ok_and(|at| at.digest().is_some());
    gone.extend(record.images.values().map(|image| image.image.clone()).filter(is_elsewhere));
    Ok(gone.into_iter().collect())
}

fn pinned(at: &Reference) -> Result<&Digest, OpsError> {
    at.digest().ok_or_else(|| OpsError::NoImage { reference: at.to_string() })
}

/// What a repository knew of builds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Synced {
    /// The repository.
    pub repository: Repository,
    /// How many images were asked for.
    pub images: usize,
    /// The builds that the ledger did not have.
    pub added: Vec<BuildId>,
    /// How many it had.
    pub known: usize,
    /// What called itself the record of a build and is none, and why.
    pub refused: Vec<(Reference, String)>,
}

/// Brings the builds that are recorded beside the images of a repository into the ledger.
///
/// # Errors
/// Fails when the repository has no tags, the registry does not say what refers to an image, or the ledger cannot be
/// written.
pub async fn sync_builds(means: &Means, ledger: &Ledger, repository: &Repository) -> Result<Synced, OpsError> {
    let subjects = subjects(means, repository).await?;
    let listed = stream::iter(&subjects).map(|subject| async move {
        let found = means.registry.referrers_of_type(repository, subject, ARTIFACT).await?;
        Ok::<_, OpsError>(found.into_iter().map(|found| (subject.clone(), found)).collect::<Vec<_>>())
    });
    let listed: Vec<_> = listed.buffered(ASKING).try_collect().await?;
    let reading = stream::iter(listed.into_iter().flatten()).map(|(subject, found)| async move {
        let at = Reference::pinned(repository, &found.digest);
        (at, read(means, repository, &subject, &found).await)
    });
    let read: Vec<_> = reading.buffered(ASKING).collect().await;
    let mut synced = Synced {
        repository: repository.clone(),
        images: subjects.len(),
        added: Vec::new(),
        known: 0,
        refused: Vec::new(),
    };
    let mut seen = BTreeSet::new();
    for (at, record) in read {
        match record {
            Err(why) => synced.refused.push((at, why)),
            // A build of several images is recorded beside each.
            Ok(record) if !seen.insert(record.id.clone()) => {}
            Ok(mut record) => {
                let ledger = ledger.clone();
                let put =
                    tokio::task::spawn_blocking(move || ledger.put(&mut record).map(|is_new| (is_new, record.id)));
                match put.await.map_err(OpsError::Worker)?? {
                    (true, id) => synced.added.push(id),
                    (false, _) => synced.known += 1,
                }
            }
        }
    }
    Ok(synced)
}

/// The images of a repository: what its tags stand for, and what the fallback tags of referrers name
/// (distribution-spec, "Referrers Tag Schema").
async fn subjects(means: &Means, repository: &Repository) -> Result<BTreeSet<Digest>, OpsError> {
    let tags = means.registry.tags(repository).await?;
    if tags.is_empty() {
        return Err(CopyError::NoTags(repository.to_string()).into());
    }
    let is_image = |tag: &String| !is_key_tag(tag) || PlanKey::is_tag(tag);
    let asked = stream::iter(tags.into_iter().filter(is_image)).map(|tag| async move {
        if let Some(named) = tag.split_once('-').and_then(|(name, hex)| format!("{name}:{hex}").parse::<Digest>().ok())
        {
            return Ok(Some(named));
        }
        let at = Reference::tagged(repository, &tag)?;
        Ok::<_, OpsError>(means.registry.resolve(&at).await?.map(|found| found.digest))
    });
    let found: Vec<_> = asked.buffered(ASKING).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// The record in a referrer of `subject`, or why there is none: what others pushed may be anything.
async fn read(
    means: &Means,
    repository: &Repository,
    subject: &Digest,
    found: &Descriptor,
) -> Result<BuildRecord, String> {
    // Most lists have what stands in the manifest.
    let bytes = match found.annotations.get(annotation::BUILD_RECORD) {
        Some(text) => text.clone().into_bytes(),
        None => content(means, &Reference::pinned(repository, &found.digest)).await?,
    };
    let record = BuildRecord::read(&bytes).map_err(|error| error.to_string())?;
    let is_of_subject = record.references().iter().any(|at| at.digest() == Some(subject));
    if is_of_subject { Ok(record) } else { Err(format!("it is of other images than `{subject}`")) }
}

/// What the manifest of a record holds: the record, or a blob that is one.
async fn content(means: &Means, at: &Reference) -> Result<Vec<u8>, String> {
    let document = means.registry.manifest(at).await.map_err(|error| error.to_string())?;
    let Some(Document::Manifest(manifest)) = document else { return Err("it is no manifest".to_owned()) };
    if let Some(text) = manifest.value().annotations.get(annotation::BUILD_RECORD) {
        return Ok(text.clone().into_bytes());
    }
    let blob = manifest.value().layers.iter().find(|blob| blob.media_type.as_str() == ARTIFACT);
    let blob = blob.ok_or_else(|| "it has no record in it".to_owned())?;
    means.registry.fetch_blob(&at.repository(), blob, CAP).await.map_err(|error| error.to_string())
}
