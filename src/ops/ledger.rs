//! Writes down what a build came to: in the ledger of this machine, and beside each new image for the others.
//!
//! The image itself says nothing of it: equal inputs give equal digests, whoever builds when. A ledger that cannot be
//! written costs a warning, never the build (docs/adr/0017).

use std::collections::BTreeMap;
use std::error::Error;

use futures_util::future::join_all;

use crate::event::Event;
use crate::image::annotation;
use crate::oci::{Descriptor, Document, DocumentError, Manifest, MediaType, Raw, Reference, Repository, media_type};
use crate::plan::LayerKind;
use crate::store::ledger::{BuildRecord, Ledger, LedgerError};

use super::artifact;
use super::build::BuiltLayer;
use super::error::OpsError;
use super::means::Means;
use super::request::BuildRequest;

/// The artifact type of a record that was pushed, and the media type of the blob of a large one.
pub(super) const ARTIFACT: &str = "application/vnd.lapstrake.build.v1+json";

/// The most bytes of a record that stands in the annotations of its manifest, which lists of referrers repeat. That of a
/// single image has one or two thousand; one with the requirements of a hundred has a blob of its own.
const IN_MANIFEST: usize = 8 << 10;

/// An image that this build brought into a registry.
#[derive(Clone, Debug)]
pub struct NewImage {
    /// Where it is.
    pub repository: Repository,
    /// Its manifest or index.
    pub descriptor: Descriptor,
}

/// Writes a record into the ledger, and a copy beside each of `images` as a referrer of it: a question and a manifest
/// for an image, nothing for one that was reused. What goes wrong is reported. Gives the record as it was written.
pub async fn record_build(
    means: &Means,
    ledger: Option<&Ledger>,
    record: BuildRecord,
    images: &[NewImage],
) -> BuildRecord {
    let record = match ledger {
        Some(ledger) => match put(ledger, record.clone()).await {
            Ok(written) => written,
            Err(error) => {
                warn(means, format!("the build is not in the ledger: {}", with_causes(&*error)));
                record.without_secrets()
            }
        },
        None => record.without_secrets(),
    };
    let pushes = images.iter().map(|image| async {
        if let Err(error) = publish(means, &record, image).await {
            let text = format!("the build's record cannot be kept in `{}`: {}", image.repository, with_causes(&error));
            warn(means, text);
        }
    });
    join_all(pushes).await;
    record
}

/// Whether the project's files are in a finished image. Of one that was there already no layers were made; its manifest
/// says what its layers are, and of an index what was asked for has to do.
pub(super) fn contains_code(request: &BuildRequest, document: &Document, made: &[BuiltLayer]) -> bool {
    if document.annotations().contains_key(annotation::CODE_DELIVERY) {
        return false;
    }
    if super::installation::command(request).is_some() {
        // A backend made the layers of such an image anew, without our annotations.
        return true;
    }
    let is_sources = |layer: &Descriptor| {
        layer.annotations.get(annotation::LAYER_KIND).is_some_and(|kind| kind == LayerKind::Sources.word())
    };
    match document {
        Document::Manifest(manifest) => manifest.value().layers.iter().any(is_sources),
        Document::Index(_) if made.is_empty() => request.settings.docker.allow_including_files_in_images,
        Document::Index(_) => made.iter().any(|layer| layer.kind == LayerKind::Sources),
    }
}

async fn put(ledger: &Ledger, mut record: BuildRecord) -> Result<BuildRecord, Box<dyn Error + Send + Sync>> {
    let ledger = ledger.clone();
    let put = tokio::task::spawn_blocking(move || ledger.put(&mut record).map(|_| record));
    Ok(put.await?.map_err(Box::<LedgerError>::new)?)
}

fn warn(means: &Means, text: String) {
    means.reporter.report(Event::Warning { text });
}

/// An error and why it came to it.
fn with_causes(error: &dyn Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_causes(cause)),
        None => error.to_string(),
    }
}

/// Does what the record of an image in `at` needs and what does not wait for the image: it is asked for beside the last pushes.
pub(super) async fn prepare(means: &Means, at: &Repository) {
    if means.keeps_records {
        // What fails here fails again, with a warning, when the record is pushed.
        let _ = artifact::empty(means, at).await;
    }
}

/// Pushes the record as an artifact whose subject is the image: in its annotations over the empty blob, which most
/// repositories have, or as a blob that is config and layer in one (image-spec, manifest.md, "Guidelines for Artifact Usage").
async fn publish(means: &Means, record: &BuildRecord, image: &NewImage) -> Result<(), OpsError> {
    let text = record.to_json().to_string();
    let mut annotations = annotations(record, image);
    let blob = if text.len() <= IN_MANIFEST {
        annotations.insert(annotation::BUILD_RECORD.to_owned(), text);
        artifact::empty(means, &image.repository).await?
    } else {
        let blob = Descriptor::of(ARTIFACT, text.as_bytes());
        artifact::bring(means, &image.repository, &blob, text.into_bytes()).await?;
        blob
    };
    let mut manifest = Manifest::new(blob.clone(), vec![blob]);
    manifest.artifact_type = Some(ARTIFACT.to_owned());
    let subject = &image.descriptor;
    manifest.subject = Some(Descriptor::new(subject.media_type.as_str(), subject.digest.clone(), subject.size));
    manifest.annotations = annotations;
    let unwritable =
        |source: DocumentError| OpsError::ParentDocument { reference: image.repository.to_string(), source };
    let manifest = Raw::of(manifest).map_err(unwritable)?;
    let name = Reference::pinned(&image.repository, manifest.digest());
    means.registry.push_manifest(&name, &MediaType::new(media_type::OCI_MANIFEST), manifest.bytes()).await?;
    means.traffic.uploaded(manifest.bytes().len() as u64);
    Ok(())
}

/// What a list of referrers says of a build without reading its record.
fn annotations(record: &BuildRecord, image: &NewImage) -> BTreeMap<String, String> {
    let digest = format!("@{}", image.descriptor.digest);
    let ours = record.images.iter().filter(|(_, found)| found.image.ends_with(&digest));
    let keys: Vec<&str> = ours.map(|(key, _)| key.as_str()).collect();
    let mut annotations = BTreeMap::from([
        (annotation::CREATED.to_owned(), record.created.to_string()),
        (annotation::BUILD_ID.to_owned(), record.id.to_string()),
        (annotation::BUILD_KEYS.to_owned(), keys.join(",")),
    ]);
    let others = [
        (annotation::BUILD_PIPELINE, &record.pipeline),
        (annotation::BUILD_STACK, &record.stack),
        (annotation::BUILD_CHECKSUM, &record.checksum),
    ];
    annotations.extend(others.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value.clone()?))));
    annotations
}
