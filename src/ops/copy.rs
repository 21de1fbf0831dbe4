//! Copies an image as it is: from a registry, a folder or an archive, to any number of such places.
//!
//! Documents keep their bytes, so that the copy has the source's digest. Nothing is made here but the index over the
//! platforms that were asked for, when these are not all.

mod collect;
mod error;
mod locator;
mod narrow;
mod registry;
mod sink;
mod source;
mod standing;

use std::collections::BTreeSet;

use crate::event::{Task, Work};
use crate::oci::{Descriptor, Digest, Document, Platform, Reference, Repository};
use crate::plan::Action;

use super::error::OpsError;
use super::means::Means;
use super::publish;
use super::traffic::Moved;

pub(super) use collect::Collection;
pub use error::CopyError;
pub use locator::Locator;
pub(super) use registry::{Chance, bring};
pub(super) use source::Source;

/// How many requests ask at once, and how many blobs are moved at once.
const ASKING: usize = 8;
const TRANSFERS: usize = 8;

/// One copy.
#[derive(Clone, Debug)]
pub struct CopyRequest {
    /// Where the image is.
    pub source: Locator,
    /// Where it goes.
    pub targets: Vec<Locator>,
    /// Which platforms of an index; none means all.
    pub platforms: Vec<Platform>,
    /// Whether what refers to the image goes with it: signatures, attestations, lists of packages.
    pub referrers: bool,
}

/// What a copy left.
#[derive(Clone, Debug)]
pub struct Copied {
    /// The source as it was named.
    pub source: String,
    /// What was copied: the manifest or index.
    pub descriptor: Descriptor,
    /// For which platforms, as an index says.
    pub platforms: Vec<Platform>,
    /// What was done at each place.
    pub targets: Vec<CopiedTo>,
    /// Bytes moved.
    pub moved: Moved,
}

/// What was done at one place: a repository, a folder or an archive.
#[derive(Clone, Debug)]
pub struct CopiedTo {
    /// Where it can be had: `repository@digest`, or the place as it was asked for.
    pub reference: String,
    /// The names that stand for it there.
    pub names: Vec<String>,
    /// Everything that the image consists of: the blobs of each manifest before it.
    pub items: Vec<Item>,
}

/// One blob or document of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: ItemKind,
    /// Its bytes.
    pub descriptor: Descriptor,
    /// What was done for it.
    pub action: Action,
}

/// What a part of an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A layer, or the content of an artifact.
    Layer,
    /// A config.
    Config,
    /// A manifest.
    Manifest,
    /// An index.
    Index,
}

impl ItemKind {
    /// The word in machine-readable output.
    pub fn word(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Config => "config",
            Self::Manifest => "manifest",
            Self::Index => "index",
        }
    }
}

/// Copies one image to all its targets; tags move last.
///
/// # Errors
/// Fails when something of the image cannot be had, is not what its digest says, or a target refuses; every tag then
/// stands where it stood.
pub async fn copy(means: &Means, request: &CopyRequest) -> Result<Copied, OpsError> {
    let before = means.traffic.moved();
    expect_pushes(means, request);
    let (source, root) = source::open(means, &request.source).await?;
    let whole = root.digest().clone();
    let root = narrow::narrowed(means, &request.source, &source, root, &request.platforms).await?;
    fits(request, &root)?;
    let (named, kept) = (request.source.to_string(), *root.digest() == whole);
    let collection = Collection::gather(means, &named, &source, root, request.referrers).await?;
    if !kept {
        narrow::say(means, &request.source, &whole, &collection.root);
    }
    let targets = to_all(means, &source, &collection, &request.targets).await?;
    let platforms = match &collection.root {
        Document::Index(index) => index.value().platforms(),
        Document::Manifest(_) => request.platforms.clone(),
    };
    let moved = means.traffic.moved().since(before);
    Ok(Copied { source: named, descriptor: collection.root.descriptor(), platforms, targets, moved })
}

/// Targets are read from their registries themselves, and from no mirror.
fn expect_pushes(means: &Means, request: &CopyRequest) {
    for target in &request.targets {
        if let Locator::Registry(target) = target {
            means.registry.expect_push(&target.repository());
        }
    }
}

/// Copies every tag of a repository; each target is a repository or a folder, where the tags keep their names.
///
/// # Errors
/// Fails as [`copy`] does, at the first tag that cannot be copied, or when a target has a tag of its own.
pub async fn copy_all_tags(means: &Means, request: &CopyRequest) -> Result<Vec<Copied>, OpsError> {
    let Locator::Registry(source) = &request.source else {
        return Err(CopyError::AllTagsOf(request.source.to_string()).into());
    };
    if source.tag().is_some() || source.digest().is_some() {
        return Err(CopyError::AllTagsOf(request.source.to_string()).into());
    }
    expect_pushes(means, request);
    let repository = source.repository();
    let tags = means.registry.tags(&repository).await?;
    if tags.is_empty() {
        return Err(CopyError::NoTags(repository.to_string()).into());
    }
    let mut all = Vec::new();
    for tag in &tags {
        let named = |target: &Locator| target.named(tag);
        let request = CopyRequest {
            source: Locator::Registry(Reference::tagged(&repository, tag)?),
            targets: request.targets.iter().map(named).collect::<Result<_, _>>()?,
            ..request.clone()
        };
        all.push(copy(means, &request).await?);
    }
    Ok(all)
}

/// Refuses what cannot end well before anything is moved.
fn fits(request: &CopyRequest, root: &Document) -> Result<(), OpsError> {
    for target in &request.targets {
        match target {
            Locator::Registry(reference) => {
                let asked = reference.digest().filter(|asked| *asked != root.digest());
                if let Some(asked) = asked {
                    let (target, asked, found) = (reference.to_string(), asked.clone(), root.digest().clone());
                    return Err(CopyError::OtherDigest { target, asked, found }.into());
                }
            }
            Locator::OciLayout { digest: Some(asked), .. } if asked != root.digest() => {
                let (target, asked, found) = (target.to_string(), asked.clone(), root.digest().clone());
                return Err(CopyError::OtherDigest { target, asked, found }.into());
            }
            Locator::OciLayout { .. } => {}
            Locator::DockerArchive { .. } if request.referrers => {
                return Err(CopyError::ReferrersInArchive(target.to_string()).into());
            }
            Locator::DockerArchive { .. } => {
                if let Document::Index(index) = root
                    && index.value().manifests.len() != 1
                {
                    let found = index.value().manifests.len();
                    return Err(crate::store::SinkError::OneImage { found }.into());
                }
            }
        }
    }
    Ok(())
}

/// One place, and the names that the image gets there.
struct Stop {
    at: Locator,
    repository: Option<Repository>,
    names: Vec<Reference>,
}

/// Brings a collection to all targets: first everything but the tags everywhere, then the tags, in their order.
pub(super) async fn to_all(
    means: &Means,
    source: &Source,
    collection: &Collection,
    targets: &[Locator],
) -> Result<Vec<CopiedTo>, OpsError> {
    let stops = stops(targets)?;
    let mut done: Vec<CopiedTo> = Vec::new();
    let mut nearest: Vec<Source> = vec![source.clone()];
    let mut new = BTreeSet::new();
    for stop in &stops {
        let actions = match &stop.repository {
            Some(repository) => {
                let from = nearest.iter().find(|from| from.is_of_registry(repository)).unwrap_or(source);
                let actions = registry::carry(means, from, collection, repository, &stop.names).await?;
                if actions.get(collection.root.digest()) != Some(&Action::Hit) {
                    new.insert(repository.clone());
                }
                nearest.push(Source::Registry(repository.clone()));
                actions
            }
            None => sink::write(means, source, collection, &stop.at).await?,
        };
        let items = collection.items(&actions);
        done.push(CopiedTo { reference: stop.reference(collection.root.digest()), names: stop.listed(), items });
    }
    for stop in &stops {
        let Some(repository) = &stop.repository else { continue };
        let _task = Task::start(&means.reporter, Work::Publish, &repository.to_string(), None);
        let due = registry::outdated(means, collection, &stop.names, new.contains(repository)).await?;
        publish::tag(means, &collection.root, &due).await?;
    }
    Ok(done)
}

/// Joins the names of one repository.
fn stops(targets: &[Locator]) -> Result<Vec<Stop>, OpsError> {
    let mut stops: Vec<Stop> = Vec::new();
    for target in targets {
        let Locator::Registry(reference) = target else {
            stops.push(Stop { at: target.clone(), repository: None, names: Vec::new() });
            continue;
        };
        let name = super::parent::tagged(reference)?;
        let repository = name.repository();
        match stops.iter_mut().find(|stop| stop.repository.as_ref() == Some(&repository)) {
            Some(stop) => stop.names.push(name),
            None => stops.push(Stop { at: target.clone(), repository: Some(repository), names: vec![name] }),
        }
    }
    Ok(stops)
}

impl Stop {
    fn reference(&self, digest: &Digest) -> String {
        match &self.repository {
            Some(repository) => format!("{repository}@{digest}"),
            None => self.at.pinned(digest),
        }
    }

    fn listed(&self) -> Vec<String> {
        match &self.repository {
            Some(_) => self.names.iter().filter_map(|name| name.tag().map(str::to_owned)).collect(),
            None => self.at.names(),
        }
    }
}
