//! Says what an image holds: its layers, its packages, and on request its files.
//!
//! Layers that Lapstrake made say so themselves; no layer is read unless the files are asked for.

use std::sync::Arc;

use crate::image::filesystem::Filesystem;
use crate::image::{ParentImage, annotation};
use crate::oci::{Descriptor, Platform, Reference};

use super::error::OpsError;
use super::means::Means;
use super::{parent, parent_index};

/// What an image holds.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The image of the platform: its manifest and config.
    pub image: ParentImage,
    /// All platforms, of an index.
    pub platforms: Vec<Platform>,
    /// Its layers with what is known of each.
    pub layers: Vec<InspectedLayer>,
    /// Its files, when they were asked for.
    pub files: Option<Arc<Filesystem>>,
}

/// One layer of an image.
#[derive(Clone, Debug)]
pub struct InspectedLayer {
    /// The blob.
    pub descriptor: Descriptor,
    /// The digest of its tar.
    pub diff_id: String,
    /// What it holds: our title, else the history's line.
    pub title: String,
    /// Its kind, when Lapstrake made it.
    pub kind: Option<String>,
}

/// Reads the image at `reference`; of an index the one for `platform`, or for this machine.
///
/// # Errors
/// Fails when there is no such image, or a layer cannot be read.
pub async fn inspect(
    means: &Means,
    reference: &Reference,
    platform: Option<&Platform>,
    with_files: bool,
) -> Result<Inspection, OpsError> {
    let pinned = parent::pin(means, reference).await.map_err(no_image)?.read(means).await.map_err(no_image)?;
    let platforms = pinned.platforms();
    let wanted = platform.or(Some(&means.host_platform).filter(|_| platforms.len() > 1));
    let image = pinned.image(means, wanted).await?;
    let files = match with_files {
        true => Some(parent_index::find(means, &image, &reference.repository(), None).await?.files),
        false => None,
    };
    let layers = layers(&image);
    Ok(Inspection { image, platforms, layers, files })
}

/// What is looked at need not be anybody's parent.
fn no_image(error: OpsError) -> OpsError {
    match error {
        OpsError::NoParent { reference } => OpsError::NoImage { reference },
        other => other,
    }
}

fn layers(image: &ParentImage) -> Vec<InspectedLayer> {
    let history = image.config.history();
    let mut lines = history.iter().filter(|entry| !entry.empty_layer).map(|entry| entry.created_by.clone());
    let diff_ids = image.config.diff_ids();
    let named = image.manifest.layers.iter().zip(diff_ids).map(|(descriptor, diff_id)| {
        let said = lines.next().flatten();
        let ours = descriptor.annotations.get(annotation::LAYER_TITLE).cloned();
        InspectedLayer {
            descriptor: descriptor.clone(),
            diff_id: diff_id.to_string(),
            title: ours.or(said).unwrap_or_default(),
            kind: descriptor.annotations.get(annotation::LAYER_KIND).cloned(),
        }
    });
    named.collect()
}
