//! Carries a plan out: makes layers, moves blobs, publishes documents, and moves tags last.
//!
//! Decides nothing: what is done for which layer stands in the plan.

use std::sync::Arc;

use futures_util::future::{join_all, try_join_all};
use tokio::task::JoinSet;

use crate::event::Event;
use crate::image::{AddedLayer, Image, annotation, assemble};
use crate::inputs::source::SourceTree;
use crate::oci::{Descriptor, Document, Platform, Reference, Repository};
use crate::plan::{Action, ImagePlan, LayerKind, Place, PlanKey, PlannedLayer, annotate};
use crate::resolver::WheelFetcher;

use super::chosen;
use super::error::OpsError;
use super::export;
use super::ground::Mode;
use super::make::{Job, MadeLayer, Shared};
use super::means::Means;
use super::plan::{Course, Kept, Planned, manifest_annotations, plan_as};
use super::publish;
use super::request::{BuildRequest, Output};
use super::traffic::Moved;
use super::{code_archive, earlier, kept_locks, kept_runs, ledger, resolution, transfer};

/// What a build left.
#[derive(Clone, Debug)]
pub struct Built {
    /// The published document's digest.
    pub descriptor: Descriptor,
    /// Where it can be had: `repository@digest`, or the output as it was asked for.
    pub reference: String,
    /// For which platforms.
    pub platforms: Vec<Platform>,
    /// Whether it was there already.
    pub reused: bool,
    /// The key over all that shapes it.
    pub plan_key: PlanKey,
    /// The parent as it was named.
    pub parent: Reference,
    /// The parent's digest.
    pub parent_descriptor: Descriptor,
    /// All layers of all platforms.
    pub layers: Vec<BuiltLayer>,
    /// Whether the project's files are in it.
    pub contains_code: bool,
    /// Whether its containers fetch them.
    pub requires_code_download: bool,
    /// Bytes moved.
    pub moved: Moved,
}

/// One layer of an image that was built.
#[derive(Clone, Debug)]
pub struct BuiltLayer {
    /// Its key, when it is ours.
    pub key: Option<String>,
    /// What kind.
    pub kind: LayerKind,
    /// What it holds.
    pub title: String,
    /// The blob.
    pub descriptor: Descriptor,
    /// What was done for it.
    pub action: Action,
}

/// Plans and carries out.
///
/// # Errors
/// Fails as planning does, or when a layer cannot be made or moved; the tags then stand where they stood.
pub async fn build(means: &Means, request: &BuildRequest) -> Result<Built, OpsError> {
    let planned = plan_as(means, request, Mode::Build).await?;
    carry_out(means, request, planned).await
}

/// Carries out what was planned for `request`.
///
/// # Errors
/// Fails when a layer cannot be made or moved; the tags then stand where they stood.
pub(super) async fn carry_out(means: &Means, request: &BuildRequest, planned: Planned) -> Result<Built, OpsError> {
    let absent = || OpsError::NoParent { reference: planned.parent.to_string() };
    let parent = (planned.parent.clone(), planned.parent_descriptor.clone().ok_or_else(absent)?);
    if let Some(code) = &planned.code {
        code_archive::deliver(means, code).await?;
    }
    let done = match planned.course.clone() {
        Course::Reuse { document, missing, platforms } => {
            publish::tag(means, &document, &missing).await?;
            Done { platforms, document, layers: Vec::new(), reused: true }
        }
        Course::Waits => return Err(absent()),
        Course::ParentStays { document, platforms } => Done { platforms, document, layers: Vec::new(), reused: true },
        Course::ParentAsItIs { document, platforms, layers } => {
            publish::parent(means, request, &planned.parent, document, platforms, &layers).await?
        }
        Course::Assemble { images, sources, kept, requirements } => {
            let fetcher = resolution::fetcher(means, request, &requirements).await?;
            let workshop = Workshop::new(means, request, sources, fetcher);
            assemble_all(&workshop, &planned, images, kept).await?
        }
    };
    let descriptor = done.document.descriptor();
    let stays = matches!(planned.course, Course::ParentStays { .. });
    let reference = match (&request.output, request.targets.first()) {
        _ if stays => format!("{}@{}", planned.parent.repository(), descriptor.digest),
        (Output::Registry, Some(target)) => format!("{}@{}", target.repository(), descriptor.digest),
        (Output::OciLayout(path), _) => format!("oci:{}@{}", path.display(), descriptor.digest),
        (Output::DockerArchive(path), _) => format!("docker-archive:{}@{}", path.display(), descriptor.digest),
        (Output::Registry, None) => return Err(OpsError::NoTarget),
    };
    Ok(Built {
        descriptor,
        reference,
        platforms: done.platforms,
        reused: done.reused,
        plan_key: planned.key,
        parent: parent.0,
        parent_descriptor: parent.1,
        contains_code: ledger::contains_code(request, &done.document, &done.layers),
        requires_code_download: done.document.annotations().contains_key(annotation::CODE_DELIVERY),
        layers: done.layers,
        moved: means.traffic.moved(),
    })
}

/// What one course came to.
pub(super) struct Done {
    pub(super) document: Document,
    pub(super) platforms: Vec<Platform>,
    pub(super) layers: Vec<BuiltLayer>,
    pub(super) reused: bool,
}

async fn assemble_all(
    workshop: &Workshop<'_>,
    planned: &Planned,
    images: Vec<ImagePlan>,
    kept: Kept,
) -> Result<Done, OpsError> {
    let (means, request) = (workshop.means, workshop.request);
    let mut finished = Vec::new();
    let mut layers = Vec::new();
    // How many requests are under way at once is decided at each registry, by what it bears.
    let made = try_join_all(images.iter().map(|plan| workshop.image(planned, plan))).await?;
    for (plan, (image, built)) in images.iter().zip(made) {
        layers.extend(built);
        finished.push((plan.resolution.clone(), image));
    }
    let platforms = images.iter().map(|plan| plan.platform.clone()).collect();
    let made: Vec<&Image> = finished.iter().map(|(_, image)| image).collect();
    let document = publish::document(planned, &made)?;
    match earlier::target_repository(request) {
        Some(repository) => {
            let kept = keep(means, kept, Some(&repository));
            let published = publish::images(means, request, planned, &finished, &document);
            tokio::join!(kept, published).1?;
        }
        None => {
            for plan in &images {
                let layers = &plan.parent.manifest.layers;
                export::fetch(means, &planned.parent.repository(), layers).await?;
            }
            export::write(means, request, &made, &document).await?;
            keep(means, kept, None).await;
        }
    }
    Ok(Done { document, platforms, layers, reused: false })
}

/// Keeps what the next build gets, in the store and in the repository `beside`. What cannot be kept costs a warning.
async fn keep(means: &Means, kept: Kept, beside: Option<&Repository>) {
    let Kept { indexes, choices, locks, runs } = kept;
    let indexes = async {
        for (parent, bytes) in indexes {
            let Some(at) = beside else { continue };
            // Some registries refuse artifacts; the next machine then streams the parent once more.
            if let Err(error) = super::parent_index::publish(means, &parent, bytes, at).await {
                let text = format!("the parent's index cannot be kept in `{at}`: {error}");
                means.reporter.report(Event::Warning { text });
            }
        }
    };
    let choices = join_all(choices.into_iter().map(|choice| chosen::keep(means, choice, beside)));
    tokio::join!(indexes, choices, kept_locks::keep(means, locks, beside), kept_runs::keep(means, runs));
}

/// What the layers of one build share.
struct Workshop<'a> {
    means: &'a Means,
    request: &'a BuildRequest,
    sources: Option<Arc<SourceTree>>,
    fetcher: WheelFetcher,
    target: Option<Repository>,
}

impl<'a> Workshop<'a> {
    fn new(
        means: &'a Means,
        request: &'a BuildRequest,
        sources: Option<Arc<SourceTree>>,
        fetcher: WheelFetcher,
    ) -> Self {
        Self { means, request, sources, fetcher, target: earlier::target_repository(request) }
    }

    /// Makes and moves the layers of one image, then its config.
    async fn image(&self, planned: &Planned, plan: &ImagePlan) -> Result<(Image, Vec<BuiltLayer>), OpsError> {
        let (fetcher, cores) = (self.fetcher.clone(), Arc::clone(&self.means.memory.cores));
        let shared = Arc::new(Shared::new(fetcher, cores));
        let mut moves: JoinSet<Result<(), OpsError>> = JoinSet::new();
        let mut makes: JoinSet<(usize, Result<Vec<MadeLayer>, OpsError>)> = JoinSet::new();
        let mut made: Vec<Vec<MadeLayer>> = vec![Vec::new(); plan.layers.len()];
        self.announce(plan);
        for at in largest_first(&plan.layers) {
            let layer = &plan.layers[at];
            match &layer.blob {
                Some((descriptor, diff_id)) => {
                    self.spawn_move(&mut moves, layer, descriptor.clone());
                    let key = layer.key.clone();
                    made[at] = vec![MadeLayer {
                        key,
                        descriptor: descriptor.clone(),
                        diff_id: diff_id.clone(),
                        title: layer.title.clone(),
                    }];
                }
                None => {
                    let sources = self.sources.clone();
                    let job = Job::new(self.means, self.request, layer, sources, &shared, at);
                    let (memory, key) = (Arc::clone(&self.means.memory), layer.key.clone());
                    makes.spawn(async move {
                        let made = match key {
                            Some(key) => memory.layers.get(key, || job.run()).await,
                            None => job.run().await,
                        };
                        (at, made)
                    });
                }
            }
        }
        while let Some(ended) = makes.join_next().await {
            let (at, layers) = ended.map_err(OpsError::Worker)?;
            let layers = layers?;
            for layer in &layers {
                self.spawn_push(&mut moves, layer);
            }
            made[at] = layers;
        }
        let added = added_layers(plan, &made);
        let annotations = manifest_annotations(&planned.key, plan, &plan.change);
        let image = assemble(&plan.parent, &added, &plan.change, annotations)?;
        if let Some(target) = &self.target {
            let config = image.manifest.value().config.clone();
            transfer::push_bytes(self.means, target, &config, image.config.bytes().to_vec(), "config").await?;
        }
        while let Some(ended) = moves.join_next().await {
            ended.map_err(OpsError::Worker)??;
        }
        Ok((image, built_layers(plan, &made)))
    }

    /// Says what is going to be pushed: the layers that are made, and the config after them.
    fn announce(&self, plan: &ImagePlan) {
        let makes = plan.layers.iter().filter(|layer| layer.blob.is_none()).count();
        if let Some(target) = self.target.as_ref().filter(|_| makes > 0) {
            (0..=makes).for_each(|_| self.means.registry.prepare_push(target));
        }
    }

    fn spawn_move(&self, moves: &mut JoinSet<Result<(), OpsError>>, layer: &PlannedLayer, blob: Descriptor) {
        let Some(target) = self.target.clone() else { return };
        let means = self.means.clone();
        let (action, place, title) = (layer.action.clone(), layer.place.clone(), layer.title.clone());
        moves.spawn(async move {
            match (action, place) {
                (Action::Mount, Some(Place::Repository(from))) => {
                    transfer::mount(&means, &target, &blob, &from, &title).await
                }
                (Action::Copy, Some(Place::Repository(from))) => {
                    transfer::copy(&means, &target, &blob, &from, &title).await
                }
                (Action::Copy, Some(Place::Store)) => transfer::push_stored(&means, &target, &blob, &title).await,
                _ => Ok(()),
            }
        });
    }

    fn spawn_push(&self, moves: &mut JoinSet<Result<(), OpsError>>, layer: &MadeLayer) {
        let Some(target) = self.target.clone() else { return };
        let (means, layer) = (self.means.clone(), layer.clone());
        moves.spawn(async move { transfer::push_stored(&means, &target, &layer.descriptor, &layer.title).await });
    }
}

/// Positions of `layers` in the order in which they are begun: a large one begun last would be waited for alone.
fn largest_first(layers: &[PlannedLayer]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..layers.len()).collect();
    order.sort_by_key(|at| std::cmp::Reverse(layers[*at].bytes));
    order
}

/// The layers on top of the parent's, annotated for the next build.
fn added_layers(plan: &ImagePlan, made: &[Vec<MadeLayer>]) -> Vec<AddedLayer> {
    let ours = plan.layers.iter().zip(made).filter(|(planned, _)| planned.kind != LayerKind::Parent);
    let added = ours.flat_map(|(planned, made)| made.iter().map(move |layer| (planned.kind, layer)));
    added
        .filter_map(|(kind, layer)| {
            let (key, diff_id) = (layer.key.as_ref()?, layer.diff_id.clone()?);
            let bare = Descriptor { annotations: std::collections::BTreeMap::new(), ..layer.descriptor.clone() };
            let descriptor = annotate(bare, key, &diff_id.to_string(), kind, &layer.title);
            Some(AddedLayer { descriptor, diff_id, title: layer.title.clone() })
        })
        .collect()
}

fn built_layers(plan: &ImagePlan, made: &[Vec<MadeLayer>]) -> Vec<BuiltLayer> {
    let pairs = plan.layers.iter().zip(made);
    let of = |(planned, made): (&PlannedLayer, &Vec<MadeLayer>)| {
        let (kind, action) = (planned.kind, planned.action.clone());
        made.iter()
            .map(move |layer| BuiltLayer {
                key: layer.key.as_ref().map(ToString::to_string),
                kind,
                title: layer.title.clone(),
                descriptor: layer.descriptor.clone(),
                action: action.clone(),
            })
            .collect::<Vec<_>>()
    };
    pairs.flat_map(of).collect()
}
