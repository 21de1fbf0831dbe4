//! Gathers the documents of an image, each one checked against what refers to it, before anything is moved.
//!
//! Blobs are named here and not read.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::event::Event;
use crate::oci::media_type::OCI_EMPTY;
use crate::oci::{Descriptor, Digest, Document, Manifest};
use crate::plan::Action;

use super::super::error::OpsError;
use super::super::means::Means;
use super::error::CopyError;
use super::source::Source;
use super::{ASKING, Item, ItemKind};

/// How many documents one image may consist of.
const DOCUMENTS: usize = 10_000;
/// How many steps lead from the image to the last of them.
const STEPS: usize = 32;

/// All documents of an image.
#[derive(Clone, Debug)]
pub(in crate::ops) struct Collection {
    /// The image's own document.
    pub(in crate::ops) root: Document,
    /// All documents in groups: each stands after the groups of what it refers to.
    pub(super) levels: Vec<Vec<Document>>,
    /// The digests of those that are there as referrers.
    pub(super) referrers: BTreeSet<Digest>,
}

/// A document that is still to be read, and why.
struct Wanted {
    descriptor: Descriptor,
    subject: Option<Digest>,
}

impl Collection {
    /// Reads all documents below `root` from `source`, and on request those that refer to them, and so on.
    ///
    /// # Errors
    /// Fails when one is missing, is not what is said of it, or when there is no end to them.
    pub(in crate::ops) async fn gather(
        means: &Means,
        name: &str,
        source: &Source,
        root: Document,
        with_referrers: bool,
    ) -> Result<Self, OpsError> {
        let mut known: BTreeMap<Digest, Document> = BTreeMap::new();
        let mut order = vec![root.digest().clone()];
        let mut referrers = BTreeSet::new();
        let mut fresh = vec![root.clone()];
        known.insert(root.digest().clone(), root.clone());
        for _ in 0..STEPS {
            let wanted = wanted(means, source, &fresh, with_referrers).await?;
            let mut asked: Vec<Wanted> = Vec::new();
            let mut seen = BTreeSet::new();
            for want in wanted {
                match known.get(&want.descriptor.digest) {
                    Some(document) => agrees(name, &want.descriptor, document)?,
                    None if seen.insert(want.descriptor.digest.clone()) => asked.push(want),
                    None => {}
                }
            }
            if asked.is_empty() {
                let levels = levels(&known, &order);
                return Ok(Self { root, levels, referrers });
            }
            if known.len() + asked.len() > DOCUMENTS {
                return Err(CopyError::TooMany { reference: name.to_owned(), limit: DOCUMENTS }.into());
            }
            let read = stream::iter(asked).map(|want| read(means, name, source, want));
            fresh = Vec::new();
            for (subject, document) in read.buffered(ASKING).try_collect::<Vec<_>>().await?.into_iter().flatten() {
                if subject.is_some() {
                    referrers.insert(document.digest().clone());
                }
                order.push(document.digest().clone());
                known.insert(document.digest().clone(), document.clone());
                fresh.push(document);
            }
        }
        Err(CopyError::TooDeep { reference: name.to_owned(), limit: STEPS }.into())
    }

    /// The documents, referred-to ones first.
    pub(super) fn documents(&self) -> impl Iterator<Item = &Document> {
        self.levels.iter().flatten()
    }

    /// The blobs of those documents that `wanted` takes, each once, the largest first; not those that may not be
    /// pushed elsewhere.
    ///
    /// # Errors
    /// Fails when two manifests disagree on the size of a blob.
    pub(super) fn blobs(&self, name: &str, wanted: impl Fn(&Document) -> bool) -> Result<Vec<Descriptor>, OpsError> {
        let mut blobs: BTreeMap<Digest, Descriptor> = BTreeMap::new();
        for document in self.documents().filter(|document| wanted(document)) {
            let Document::Manifest(manifest) = document else { continue };
            for (_, blob) in parts(manifest.value()) {
                let known = blobs.entry(blob.digest.clone()).or_insert_with(|| blob.clone());
                if known.size != blob.size {
                    let (found, said) = (format!("of {} bytes", known.size), format!("{} bytes", blob.size));
                    let (reference, digest) = (name.to_owned(), blob.digest.clone());
                    return Err(CopyError::Differs { reference, digest, found, said }.into());
                }
            }
        }
        let mut blobs: Vec<_> = blobs.into_values().collect();
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size));
        Ok(blobs)
    }

    /// The configs of the images among those documents that `wanted` takes. An artifact has none of its own.
    pub(super) fn configs(&self, wanted: impl Fn(&Document) -> bool) -> BTreeSet<Digest> {
        let manifests = self.documents().filter(|document| wanted(document)).filter_map(|document| match document {
            Document::Manifest(manifest) => Some(manifest.value()),
            Document::Index(_) => None,
        });
        let configs =
            manifests.map(|manifest| &manifest.config).filter(|config| config.media_type.as_str() != OCI_EMPTY);
        configs.map(|config| config.digest.clone()).collect()
    }
}

impl Collection {
    /// Everything in the collection with what was done for it: the blobs of each manifest before it, each blob once.
    pub(super) fn items(&self, done: &BTreeMap<Digest, Action>) -> Vec<Item> {
        let mut items = Vec::new();
        let mut seen = BTreeSet::new();
        let mut add = |kind, descriptor: Descriptor| {
            if let Some(action) = done.get(&descriptor.digest)
                && seen.insert(descriptor.digest.clone())
            {
                items.push(Item { kind, descriptor, action: action.clone() });
            }
        };
        for document in self.documents() {
            match document {
                Document::Manifest(manifest) => {
                    parts(manifest.value()).for_each(|(kind, blob)| add(kind, blob.clone()));
                    add(ItemKind::Manifest, document.descriptor());
                }
                Document::Index(_) => add(ItemKind::Index, document.descriptor()),
            }
        }
        items
    }
}

/// The blobs of a manifest that go with it.
fn parts(manifest: &Manifest) -> impl Iterator<Item = (ItemKind, &Descriptor)> {
    let layers = manifest.layers.iter().map(|layer| (ItemKind::Layer, layer));
    let all = layers.chain([(ItemKind::Config, &manifest.config)]);
    all.filter(|(_, blob)| !blob.media_type.is_non_distributable())
}

/// What the documents just read refer to, and what refers to them.
async fn wanted(
    means: &Means,
    source: &Source,
    fresh: &[Document],
    with_referrers: bool,
) -> Result<Vec<Wanted>, OpsError> {
    let mut wanted = Vec::new();
    for document in fresh {
        if let Document::Index(index) = document {
            let entries = index.value().manifests.iter().cloned();
            wanted.extend(entries.map(|descriptor| Wanted { descriptor, subject: None }));
        }
    }
    if with_referrers {
        let digests: Vec<Digest> = fresh.iter().map(|document| document.digest().clone()).collect();
        let listed = stream::iter(digests).map(|subject| async move {
            let found = source.referrers(means, &subject).await?;
            let wanted = |descriptor| Wanted { descriptor, subject: Some(subject.clone()) };
            Ok::<_, OpsError>(found.into_iter().map(wanted).collect::<Vec<_>>())
        });
        wanted.extend(listed.buffered(ASKING).try_collect::<Vec<_>>().await?.into_iter().flatten());
    }
    Ok(wanted)
}

/// Reads one document; a listed referrer that is gone or refers to something else is left out, with a word.
async fn read(
    means: &Means,
    name: &str,
    source: &Source,
    want: Wanted,
) -> Result<Option<(Option<Digest>, Document)>, OpsError> {
    let Wanted { descriptor, subject } = want;
    let found = source.document(means, &descriptor.digest).await?;
    match (found, subject) {
        (None, None) => Err(CopyError::Missing { reference: name.to_owned(), digest: descriptor.digest }.into()),
        (Some(document), None) => {
            agrees(name, &descriptor, &document)?;
            Ok(Some((None, document)))
        }
        (Some(document), Some(of)) if document.subject().is_some_and(|subject| subject.digest == of) => {
            agrees(name, &descriptor, &document)?;
            Ok(Some((Some(of), document)))
        }
        (found, Some(of)) => {
            let why = if found.is_some() { "names another subject" } else { "is not there" };
            let text = format!("`{}` is listed as a referrer of `{of}`, but {why}: it is left out", descriptor.digest);
            means.reporter.report(Event::Warning { text });
            Ok(None)
        }
    }
}

/// A document has to be of the kind and size that its descriptor says.
fn agrees(name: &str, said: &Descriptor, document: &Document) -> Result<(), OpsError> {
    let is_index = matches!(document, Document::Index(_));
    let size = document.bytes().len() as u64;
    if said.size == size && if is_index { said.media_type.is_index() } else { said.media_type.is_manifest() } {
        return Ok(());
    }
    let found = format!("`{}` of {size} bytes", document.media_type());
    let said_of = format!("`{}` of {} bytes", said.media_type, said.size);
    let (reference, digest) = (name.to_owned(), said.digest.clone());
    Err(CopyError::Differs { reference, digest, found, said: said_of }.into())
}

/// Groups documents so that each comes after those that it refers to; in a group they keep their order.
fn levels(known: &BTreeMap<Digest, Document>, order: &[Digest]) -> Vec<Vec<Document>> {
    let mut level: BTreeMap<&Digest, usize> = known.keys().map(|digest| (digest, 0)).collect();
    // A digest cannot be in what it is the digest of, so there are no circles and this ends.
    loop {
        let mut moved = false;
        for (digest, document) in known {
            let entries = match document {
                Document::Index(index) => &index.value().manifests[..],
                Document::Manifest(_) => &[],
            };
            let below = entries.iter().chain(document.subject()).filter_map(|part| level.get(&part.digest));
            let due = below.max().map_or(0, |highest| highest + 1);
            if level.get(digest).is_some_and(|now| *now < due) {
                level.insert(digest, due);
                moved = true;
            }
        }
        if !moved {
            break;
        }
    }
    let mut groups = vec![Vec::new(); level.values().max().map_or(0, |highest| highest + 1)];
    for digest in order {
        if let (Some(at), Some(document)) = (level.get(digest), known.get(digest)) {
            groups[*at].push(document.clone());
        }
    }
    groups
}
