//! The parent as the image: where nothing is asked for beside it, or the build is skipped.
//!
//! Nothing is assembled here; the parent's document keeps its digest.

use crate::oci::{Document, Platform, Reference};
use crate::plan::{Known, PlanKey, PlannedLayer};

use super::earlier;
use super::error::OpsError;
use super::means::Means;
use super::parent::{self, PinnedParent};
use super::placed::{done_once, parent_layers};
use super::plan::{Course, Planned};
use super::request::{BuildRequest, Output};

/// Whether the build is skipped and nobody asked for a copy.
pub(super) fn stays_where_it_is(request: &BuildRequest) -> bool {
    request.settings.docker.skip_build && request.output == Output::Registry && request.targets.is_empty()
}

pub(super) async fn parent_stays(means: &Means, named: &Reference) -> Result<Planned, OpsError> {
    let pinned = parent::pin(means, named).await?.read(means).await?;
    let document = pinned.document()?.clone();
    let platforms = parent_platforms(means, &pinned, &document).await?;
    Ok(Planned {
        key: PlanKey(document.digest().clone()),
        segments: Vec::new(),
        parent: pinned.reference.clone(),
        parent_descriptor: Some(pinned.descriptor.clone()),
        course: Course::ParentStays { document, platforms },
        code: None,
        reasons: vec!["`skip_build` is set: the parent is the image, and stays where it is".into()],
    })
}

async fn parent_platforms(
    means: &Means,
    pinned: &PinnedParent,
    document: &Document,
) -> Result<Vec<Platform>, OpsError> {
    Ok(match document {
        Document::Index(index) => index.value().platforms(),
        Document::Manifest(_) => vec![pinned.image(means, None).await?.config.platform()],
    })
}

/// The plan where nothing is asked for beside the parent; `earlier` is what the target stands for now.
pub(super) async fn as_it_is(
    means: &Means,
    request: &BuildRequest,
    mut planned: Planned,
    pinned: &PinnedParent,
    earlier: Option<&Document>,
) -> Result<Planned, OpsError> {
    planned.reasons.push(match request.settings.docker.skip_build {
        true => "`skip_build` is set: the parent is the image".into(),
        false => "nothing is asked for beside the parent: it is the image".into(),
    });
    let document = pinned.document()?.clone();
    let platforms = parent_platforms(means, pinned, &document).await?;
    if let Some(earlier) = earlier.filter(|earlier| earlier.digest() == document.digest())
        && let Some(missing) = earlier::missing_names(means, request, earlier, &request.targets[1..]).await?
    {
        planned.course = Course::Reuse { document, missing, platforms };
        return Ok(planned);
    }
    let layers = parent_layers_as_they_are(means, request, pinned, &document).await?;
    planned.course = Course::ParentAsItIs { document, platforms, layers };
    Ok(planned)
}

async fn parent_layers_as_they_are(
    means: &Means,
    request: &BuildRequest,
    pinned: &PinnedParent,
    document: &Document,
) -> Result<Vec<PlannedLayer>, OpsError> {
    let (target, from) = (earlier::target_repository(request), pinned.reference.repository());
    let mut layers = Vec::new();
    for document in parent::documents(means, &pinned.reference, document).await? {
        let Document::Manifest(manifest) = document else { continue };
        let of_image = &manifest.value().layers;
        layers.extend(parent_layers(means, target.as_ref(), &from, of_image, &Known::default()).await?);
    }
    done_once(&mut layers);
    Ok(layers)
}
