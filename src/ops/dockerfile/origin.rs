//! Images that a Dockerfile names: pinned once, and as the beginning of a stage.
//!
//! What is in their layers is the business of `parent_index`.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use crate::dockerfile::{InstructionKind, Origin};
use crate::oci::{Platform, Reference};

use super::super::error::OpsError;
use super::super::means::Means;
use super::super::parent::{self, PinnedParent};
use super::recipe::Recipe;
use super::stage::Base;

/// Images by the name that the Dockerfile gives them.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(BTreeMap<String, PinnedParent>);

impl Origins {
    /// Asks registries what the images of the `needed` stages stand for.
    ///
    /// # Errors
    /// Fails when a name is no reference, or there is no such image.
    pub(super) async fn pin(means: &Means, recipe: &Recipe, needed: &[(usize, Origin)]) -> Result<Self, OpsError> {
        let bases = needed.iter().map(|(_, origin)| origin.clone());
        let copied = needed.iter().flat_map(|(position, _)| {
            let lines = recipe.file.stages[*position].instructions.iter();
            let words = lines.filter_map(|line| match &line.kind {
                InstructionKind::Copy(copy) => copy.from.as_deref(),
                _ => None,
            });
            words.map(|word| recipe.file.origin(*position, word))
        });
        let mut names: Vec<String> = bases
            .chain(copied)
            .filter_map(|origin| match origin {
                Origin::Image(name) => Some(name),
                Origin::Stage(_) | Origin::Scratch => None,
            })
            .collect();
        names.sort();
        names.dedup();
        let pinned = names.into_iter().map(|name| async move {
            let reference = Reference::written(&name)?;
            Ok::<_, OpsError>((name, parent::pin(means, &reference).await?))
        });
        Ok(Self(try_join_all(pinned).await?.into_iter().collect()))
    }

    /// The digests, by name.
    pub(super) fn digests(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, pinned)| (name.as_str(), pinned.descriptor.digest.as_str()))
    }

    /// The image called `name`, pinned.
    ///
    /// # Errors
    /// Fails when it is none of those that were pinned.
    pub(super) fn pinned(&self, name: &str) -> Result<&PinnedParent, OpsError> {
        self.0.get(name).ok_or_else(|| OpsError::NoParent { reference: name.to_owned() })
    }

    /// The image called `name` as the beginning of a stage for `platform`.
    ///
    /// # Errors
    /// Fails when it does not serve the platform, or its documents cannot be read.
    pub(super) async fn base(&self, means: &Means, name: &str, platform: &Platform) -> Result<Base, OpsError> {
        let pinned = self.pinned(name)?.clone().read(means).await?;
        // A single manifest is taken as it is, as a backend takes it.
        let wanted = Some(platform).filter(|_| !pinned.platforms().is_empty());
        let image = pinned.image(means, wanted).await?;
        Ok(Base { image, at: Some(pinned.reference.repository()) })
    }
}
