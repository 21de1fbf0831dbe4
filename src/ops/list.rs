//! Says what a repository lists: its tags, and what refers to an image.
//!
//! Nothing of an image itself is read.

use crate::oci::{Descriptor, Digest, Reference, Repository};
use crate::plan::is_key_tag;

use super::copy::CopyError;
use super::error::OpsError;
use super::means::Means;
use super::parent::tagged;

/// The tags of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tags {
    /// In the order of the registry.
    pub tags: Vec<String>,
    /// How many of ours were left out.
    pub hidden: usize,
}

/// Lists the tags of `repository`; those that builds leave for later builds only when `all` are asked for.
///
/// # Errors
/// Fails when there are none, or the registry does not say.
pub async fn tags(means: &Means, repository: &Repository, all: bool) -> Result<Tags, OpsError> {
    let found = means.registry.tags(repository).await?;
    if found.is_empty() {
        return Err(CopyError::NoTags(repository.to_string()).into());
    }
    let count = found.len();
    let tags: Vec<String> = found.into_iter().filter(|tag| all || !is_key_tag(tag)).collect();
    Ok(Tags { hidden: count - tags.len(), tags })
}

/// What refers to an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrers {
    /// The image.
    pub subject: Digest,
    /// The manifests that name it as their subject, in the order of the registry.
    pub referrers: Vec<Descriptor>,
}

/// Lists what names the manifest at `reference` as its subject; of one artifact type, when that is asked for.
///
/// # Errors
/// Fails when there is no such image, or the registry does not say.
pub async fn referrers(
    means: &Means,
    reference: &Reference,
    artifact_type: Option<&str>,
) -> Result<Referrers, OpsError> {
    let named = tagged(reference)?;
    let found = means.registry.resolve(&named).await?;
    let subject = found.ok_or_else(|| CopyError::NoSource(named.to_string()))?.digest;
    let mut referrers = means.registry.referrers(&named.repository(), &subject).await?;
    referrers.retain(|found| artifact_type.is_none_or(|wanted| found.artifact_type.as_deref() == Some(wanted)));
    Ok(Referrers { subject, referrers })
}
