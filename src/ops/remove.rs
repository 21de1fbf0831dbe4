//! Removes tags and manifests from a registry, and the tags that builds leave and nobody needs.
//!
//! A tag is never removed by removing what it stands for, unless nothing else does.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::diagnostic::Diagnose;
use crate::oci::{Digest, Document, Reference, Repository};
use crate::plan::{PlanKey, is_key_tag};
use crate::registry::RegistryError;

use super::copy::CopyError;
use super::error::OpsError;
use super::means::Means;

/// How many requests ask at once.
const ASKING: usize = 8;

/// Why something could not be removed.
#[derive(Debug, thiserror::Error)]
pub enum RemoveError {
    /// The reference has a tag and a digest.
    #[error("`{0}` names a tag and a manifest, and only one of them can be removed")]
    TagAndDigest(String),
    /// The registry does not remove a tag alone.
    #[error("`{reference}` stays: the registry does not remove a tag alone")]
    TagStays {
        /// The tag.
        reference: String,
        /// What it stands for.
        manifest: String,
        /// What the registry answered, when it was an error.
        #[source]
        source: Option<RegistryError>,
    },
    /// The registry does not remove manifests.
    #[error("`{reference}` stays: the registry does not remove manifests")]
    ManifestStays {
        /// The manifest.
        reference: String,
        /// What the registry answered.
        #[source]
        source: RegistryError,
    },
}

impl Diagnose for RemoveError {
    fn class(&self) -> crate::diagnostic::Class {
        match self {
            Self::TagAndDigest(_) => crate::diagnostic::Class::Usage,
            Self::TagStays { .. } | Self::ManifestStays { .. } => crate::diagnostic::Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TagAndDigest(_) => "leave out one of them".to_owned(),
            Self::TagStays { manifest, .. } => {
                format!("`lapstrake delete {manifest}` removes the manifest with all its tags, if the registry allows that")
            }
            Self::ManifestStays { .. } => {
                "switch deletion on in the registry (`REGISTRY_STORAGE_DELETE_ENABLED=true` for distribution's), or use \
                 its own console or retention rules"
                    .to_owned()
            }
        })
    }
}

/// Removes a tag, or a manifest with all tags that stand for it; says whether it was there.
///
/// # Errors
/// Fails when the reference names neither or both, or when the registry refuses or does not offer it.
pub async fn remove(means: &Means, reference: &Reference) -> Result<bool, OpsError> {
    means.registry.expect_push(&reference.repository());
    match (reference.tag(), reference.digest()) {
        (Some(_), Some(_)) => Err(RemoveError::TagAndDigest(reference.to_string()).into()),
        (Some(_), None) => remove_tag(means, reference).await,
        _ => match means.registry.delete(reference).await {
            Err(source) if is_unsupported(&source) => {
                Err(RemoveError::ManifestStays { reference: reference.to_string(), source }.into())
            }
            removed => Ok(removed?),
        },
    }
}

async fn remove_tag(means: &Means, reference: &Reference) -> Result<bool, OpsError> {
    let source = match means.registry.delete(reference).await {
        Ok(true) => return Ok(true),
        // Some registries look for a manifest of that name, and find none.
        Ok(false) => None,
        Err(error) if is_unsupported(&error) => Some(error),
        Err(error) => return Err(error.into()),
    };
    match means.registry.resolve(reference).await? {
        None => Ok(false),
        Some(found) => {
            let manifest = Reference::pinned(&reference.repository(), &found.digest).to_string();
            Err(RemoveError::TagStays { reference: reference.to_string(), manifest, source }.into())
        }
    }
}

/// Whether a registry says that it does not do this at all.
fn is_unsupported(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Status { status: 400 | 405 | 501, .. })
}

/// The tags of plan keys in a repository (docs/adr/0006).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyTags {
    /// Those whose image no tag of a person stands for, and the digest of that image.
    pub idle: Vec<(String, Digest)>,
    /// How many belong to an image that is in use.
    pub used: usize,
    /// Manifests that tags which stay stand for, or whose index does.
    held: BTreeSet<Digest>,
}

/// Finds the tags of plan keys, and whether their images are in use.
///
/// # Errors
/// Fails when the repository has no tags, or the registry does not say what they stand for.
pub async fn key_tags(means: &Means, repository: &Repository) -> Result<KeyTags, OpsError> {
    means.registry.expect_push(repository);
    let tags = means.registry.tags(repository).await?;
    if tags.is_empty() {
        return Err(CopyError::NoTags(repository.to_string()).into());
    }
    let asked = stream::iter(tags).map(|tag| async move {
        let at = Reference::tagged(repository, &tag)?;
        Ok::<_, OpsError>(means.registry.resolve(&at).await?.map(|found| (tag, found)))
    });
    let found: Vec<_> = asked.buffered(ASKING).try_collect().await?;
    let (mut keys, mut in_use, mut held, mut indexes) = (Vec::new(), BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
    for (tag, found) in found.into_iter().flatten() {
        if PlanKey::is_tag(&tag) {
            keys.push((tag, found.digest));
            continue;
        }
        if found.media_type.is_index() {
            let by_people: &mut bool = indexes.entry(found.digest.clone()).or_default();
            *by_people |= !is_key_tag(&tag);
        }
        if !is_key_tag(&tag) {
            in_use.insert(found.digest.clone());
        }
        held.insert(found.digest);
    }
    for (index, by_people) in indexes {
        let at = Reference::pinned(repository, &index);
        let Some(Document::Index(index)) = means.registry.manifest(&at).await? else { continue };
        for entry in &index.value().manifests {
            if by_people {
                in_use.insert(entry.digest.clone());
            }
            held.insert(entry.digest.clone());
        }
    }
    let (used, idle): (Vec<_>, Vec<_>) = keys.into_iter().partition(|(_, digest)| in_use.contains(digest));
    held.extend(used.iter().map(|(_, digest)| digest.clone()));
    Ok(KeyTags { idle, used: used.len(), held })
}

/// Removes the idle tags of plan keys. Where a registry removes no tags, a manifest that nothing else stands for goes
/// with them. Gives the tags that stay.
///
/// # Errors
/// Fails when the registry refuses.
pub async fn remove_key_tags(means: &Means, repository: &Repository, found: &KeyTags) -> Result<Vec<String>, OpsError> {
    let mut stay = Vec::new();
    let mut gone = BTreeSet::new();
    for (tag, digest) in &found.idle {
        let at = Reference::tagged(repository, tag)?;
        if gone.contains(digest) {
            continue;
        }
        match means.registry.delete(&at).await {
            Ok(true) => continue,
            Ok(false) => {}
            Err(error) if is_unsupported(&error) => {}
            Err(error) => return Err(error.into()),
        }
        if found.held.contains(digest) {
            stay.push(tag.clone());
            continue;
        }
        remove(means, &Reference::pinned(repository, digest)).await?;
        gone.insert(digest.clone());
    }
    Ok(stay)
}
