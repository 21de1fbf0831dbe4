//! Plans a build: gathers facts, asks registries what is there already, and decides layer by layer.
//!
//! Reads only. What the plan says is done by `build`.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::image::filesystem::Filesystem;
use crate::image::users::{Owner, resolve_user};
use crate::image::{ConfigChange, ParentImage, annotation};
use crate::inputs::requirements::SourcedRequirements;
use crate::inputs::source::SourceTree;
use crate::layer::EntryPath;
use crate::oci::{Descriptor, Document, Platform, Reference, Repository};
use crate::plan::{
    Action, ImagePlan, KeyHasher, Known, LayerKind, Making, PlanKey, PlannedLayer, add_change, config_change,
    sources_key,
};

use super::as_it_is::{as_it_is, parent_stays, stays_where_it_is};
use super::chosen::NewChoice;
use super::code::Code;
use super::dockerfile::{self, InstructionStep};
use super::earlier;
use super::error::OpsError;
use super::facts::{self, LocalFacts, Wanted};
use super::ground::{Ground, Mode, SegmentStep, ground};
use super::installation;
use super::kept_locks::PlannedLock;
use super::kept_runs::KeptRuns;
use super::means::Means;
use super::parent::{self, PinnedParent};
use super::parent_index::{self, ParentIndex};
use super::placed::{self, done_once, parent_layers};
use super::publish;
use super::python;
use super::request::{BuildRequest, Output};

/// What a build comes to.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The plan key of the whole.
    pub key: PlanKey,
    /// What only a backend can make, in order; the image stands on the last of it.
    pub segments: Vec<SegmentStep>,
    /// The parent, pinned.
    pub parent: Reference,
    /// What the parent's name stands for; `None` as long as a backend has yet to make it.
    pub parent_descriptor: Option<Descriptor>,
    /// What is done.
    pub course: Course,
    /// What is done about each instruction of a Dockerfile, of its first platform.
    pub instructions: Vec<InstructionStep>,
    /// Where a container gets its code from; `None` when the parent is taken as it is.
    pub code: Option<Arc<Code>>,
    /// Lines that say why.
    pub reasons: Vec<String>,
}

/// Which way a build goes.
#[derive(Clone, Debug)]
pub enum Course {
    /// The image is published already; only the names in `missing` are still to be set.
    Reuse {
        /// The published document.
        document: Document,
        /// Names that do not point to it yet.
        missing: Vec<Reference>,
        /// For which platforms it is.
        platforms: Vec<Platform>,
    },
    /// A backend has to make the parent first; what stands on it is planned when it is there.
    Waits,
    /// The parent is the image and stays where it is; nothing is published.
    ParentStays {
        /// The parent's document.
        document: Document,
        /// For which platforms it is.
        platforms: Vec<Platform>,
    },
    /// Nothing is asked for beside the parent: it is published as it is.
    ParentAsItIs {
        /// The parent's document.
        document: Document,
        /// For which platforms it is.
        platforms: Vec<Platform>,
        /// Its layers, those of all platforms.
        layers: Vec<PlannedLayer>,
    },
    /// Images are assembled, one a platform.
    Assemble {
        /// Their plans.
        images: Vec<ImagePlan>,
        /// The sources, when they go in.
        sources: Option<Arc<SourceTree>>,
        /// What the next build gets.
        kept: Kept,
        /// The requirement lines, which name the indexes that wheels come from.
        requirements: Vec<SourcedRequirements>,
    },
}

/// What is kept for the next build, in the store and beside the image.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Indexes of parents that the target does not have yet.
    pub(super) indexes: Vec<(Descriptor, Vec<u8>)>,
    /// What versions were chosen.
    pub(super) choices: Vec<NewChoice>,
    /// What installations were planned by whose layers are not the image's own.
    pub(super) locks: Vec<PlannedLock>,
    /// What runs of uv came to.
    pub(super) runs: Vec<KeptRuns>,
}

/// Plans the build that `request` asks for.
///
/// # Errors
/// Fails when something asked for is missing or contradictory, or when a registry or index does not answer.
pub async fn plan(means: &Means, request: &BuildRequest) -> Result<Planned, OpsError> {
    plan_as(means, request, Mode::Look).await
}

/// Plans the build; with [`Mode::Build`] what only a backend can make is there when the plan is.
pub(super) async fn plan_as(means: &Means, request: &BuildRequest, mode: Mode) -> Result<Planned, OpsError> {
    check_targets(request)?;
    if let Some(asked) = &request.dockerfile {
        return dockerfile::plan(means, request, asked, mode).await;
    }
    let Ground { request, steps, is_there, instructions, parent, folder: _folder } =
        match installation::command(request) {
            Some(command) => installation::ground(means, request, command, mode).await?,
            None => ground(means, request, mode).await?,
        };
    let mut planned = match is_there || request.settings.docker.dockerfile.is_none() {
        true => plan_on(means, &request).await?,
        false => waiting(&steps, parent)?,
    };
    planned.instructions = instructions;
    if !is_there && !matches!(planned.course, Course::Waits) {
        planned
            .reasons
            .push("a backend builds upon the parent first; the layers below are those for the parent as it is".into());
    }
    planned.segments = steps;
    Ok(planned)
}

/// The plan of an image whose parent a backend has yet to make.
fn waiting(steps: &[SegmentStep], below: Option<Reference>) -> Result<Planned, OpsError> {
    let first = steps.first();
    let at = first.and_then(|first| first.at.clone()).or(below).ok_or(OpsError::ParentUnset)?;
    let key = first.and_then(|first| first.key.clone());
    Ok(Planned {
        key: PlanKey(key.map_or_else(|| KeyHasher::new("waiting/1").finish(), |key| key.0)),
        segments: Vec::new(),
        parent: at,
        parent_descriptor: None,
        course: Course::Waits,
        code: None,
        instructions: Vec::new(),
        reasons: vec!["the Dockerfile's image comes first; what stands on it is planned when it is there".into()],
    })
}

async fn plan_on(means: &Means, request: &BuildRequest) -> Result<Planned, OpsError> {
    let named = request.settings.docker.parent_image.clone().ok_or(OpsError::ParentUnset)?;
    if stays_where_it_is(request) {
        return parent_stays(means, &named).await;
    }
    for target in &request.targets {
        means.registry.expect_push(&target.repository());
    }
    let local = facts::gather(means, request);
    let pinned = parent::pin(means, &named);
    let earlier = earlier::published(means, request);
    let (local, pinned, earlier) = tokio::join!(local, pinned, earlier);
    let (local, pinned, earlier) = (local?, pinned?, earlier?);

    let key = plan_key(request, &local, &pinned, &means.host_platform);
    let mut planned = Planned {
        key: key.clone(),
        segments: Vec::new(),
        parent: pinned.reference.clone(),
        parent_descriptor: Some(pinned.descriptor.clone()),
        course: Course::Assemble { images: Vec::new(), sources: None, kept: Kept::default(), requirements: Vec::new() },
        code: local.code.clone(),
        instructions: Vec::new(),
        reasons: Vec::new(),
    };
    let is_local = python::is_local(means, request, &local);
    if !request.no_cache
        && !request.no_reuse
        && !request.upgrade
        && !is_local
        && let Some((document, missing)) = earlier::reusable(means, request, &earlier, &key).await?
    {
        planned.reasons.push("every input is as it was: the published image is reused".into());
        let platforms = publish::platforms(means, request, &document);
        planned.course = Course::Reuse { document, missing, platforms };
        return Ok(planned);
    }
    let pinned = pinned.read(means).await?;
    planned.parent_descriptor = Some(pinned.descriptor.clone());
    if local.asks_for_nothing {
        return as_it_is(means, request, planned, &pinned, earlier.as_ref()).await;
    }
    let known = if request.no_cache { Known::default() } else { earlier::known(means, request, earlier).await };
    assemble_plan(means, request, &mut planned, &pinned, local, known).await?;
    Ok(planned)
}

fn check_targets(request: &BuildRequest) -> Result<(), OpsError> {
    if let Some(digest) = request.targets.iter().find(|target| target.digest().is_some()) {
        return Err(OpsError::TargetIsDigest(digest.to_string()));
    }
    if request.output == Output::Registry && request.targets.is_empty() && !request.settings.docker.skip_build {
        return Err(OpsError::NoTarget);
    }
    Ok(())
}

/// The key over everything that shapes the image.
fn plan_key(request: &BuildRequest, local: &LocalFacts, parent: &PinnedParent, host: &Platform) -> PlanKey {
    let mut key = KeyHasher::new("plan/2")
        .with("layers", crate::layer::LAYER_FORMAT)
        .with("parent", parent.descriptor.digest.as_str())
        .with("parent-name", parent.reference.to_string())
        .with("created", request.created.as_deref().unwrap_or_default());
    // A single manifest is the same image for every machine; of an index each takes its own.
    if request.platforms.is_empty() && !parent.descriptor.media_type.is_manifest() {
        key.add("platform", host.to_string());
    }
    for platform in &request.platforms {
        key.add("platform", platform.to_string());
    }
    local.add_to(&mut key);
    python::add_how(&mut key, request);
    let mut change = config_change(&request.settings, request.created.clone());
    local.add_code(&mut change);
    add_change(&mut key, &change);
    PlanKey(key.finish())
}

/// The platforms to plan for; `None` is the only one that the parent has.
pub(super) fn wanted_platforms(means: &Means, request: &BuildRequest, pinned: &PinnedParent) -> Vec<Option<Platform>> {
    match request.platforms.as_slice() {
        [] if pinned.platforms().len() > 1 => vec![Some(means.host_platform.clone())],
        [] => vec![None],
        several => several.iter().cloned().map(Some).collect(),
    }
}

async fn assemble_plan(
    means: &Means,
    request: &BuildRequest,
    planned: &mut Planned,
    pinned: &PinnedParent,
    local: LocalFacts,
    mut known: Known,
) -> Result<(), OpsError> {
    let wanted = wanted_platforms(means, request, pinned);
    if request.platforms.is_empty() && wanted[0].is_some() {
        planned.reasons.push(format!("the parent serves several platforms: {} is this machine's", means.host_platform));
    }
    let mut images = Vec::new();
    let mut kept = Kept::default();
    for platform in wanted {
        let parent = pinned.image(means, platform.as_ref()).await?;
        let mut planning = Planning::new(means, request, &local, pinned.reference.repository(), parent);
        let image = planning.plan(&mut known, &mut planned.reasons).await?;
        if let Some(ParentIndex { unpublished: Some(bytes), .. }) = planning.index {
            kept.indexes.push((planning.parent.descriptor.clone(), bytes));
        }
        kept.choices.extend(planning.choice);
        images.push(image);
    }
    done_once(images.iter_mut().flat_map(|image: &mut ImagePlan| &mut image.layers));
    let requirements = match local.wanted {
        Some(Wanted::Lines(sources)) => sources,
        _ => Vec::new(),
    };
    planned.course = Course::Assemble { images, sources: local.sources, kept, requirements };
    Ok(())
}

/// The planning of one platform's image; the parent's index is found when first needed.
pub(super) struct Planning<'a> {
    pub(super) means: &'a Means,
    pub(super) request: &'a BuildRequest,
    pub(super) local: &'a LocalFacts,
    pub(super) parent: ParentImage,
    parent_at: Repository,
    target: Option<Repository>,
    index: Option<ParentIndex>,
    choice: Option<NewChoice>,
}

impl<'a> Planning<'a> {
    pub(super) fn new(
        means: &'a Means,
        request: &'a BuildRequest,
        local: &'a LocalFacts,
        parent_at: Repository,
        parent: ParentImage,
    ) -> Self {
        let target = earlier::target_repository(request);
        Self { means, request, local, parent, parent_at, target, index: None, choice: None }
    }

    /// The planning of packages upon files that are known already.
    pub(super) fn upon(
        means: &'a Means,
        request: &'a BuildRequest,
        local: &'a LocalFacts,
        parent_at: Repository,
        parent: ParentImage,
        files: Arc<Filesystem>,
    ) -> Self {
        let index = Some(ParentIndex { files, unpublished: None });
        Self { index, ..Self::new(means, request, local, parent_at, parent) }
    }

    /// The parent's files.
    pub(super) async fn files(&mut self) -> Result<Arc<Filesystem>, OpsError> {
        if self.index.is_none() {
            let found = parent_index::find(self.means, &self.parent, &self.parent_at, self.target.as_ref()).await?;
            self.index = Some(found);
        }
        Ok(self.index.as_ref().map(|index| Arc::clone(&index.files)).unwrap_or_default())
    }

    /// The repository that images are published to.
    pub(super) fn target(&self) -> Option<&Repository> {
        self.target.as_ref()
    }

    async fn plan(&mut self, known: &mut Known, reasons: &mut Vec<String>) -> Result<ImagePlan, OpsError> {
        let platform = self.parent.config.platform();
        let owner = self.owner().await?;
        let of_parent = &self.parent.manifest.layers;
        let mut layers = parent_layers(self.means, self.target(), &self.parent_at, of_parent, known).await?;
        let python = python::plan(self, known, reasons).await?;
        let resolution = python.key.clone();
        self.choice = python.new_choice;
        for layer in python.layers {
            layers.push(self.located(layer, known)?);
        }
        if let Some(tree) = &self.local.sources {
            layers.push(self.located(source_layer(tree, owner)?, known)?);
        }
        let mut change = config_change(&self.request.settings, self.request.created.clone());
        self.local.add_code(&mut change);
        let annotations = self.local.code.as_ref().map(|code| code.annotations()).unwrap_or_default();
        let (parent, choice) = (self.parent.clone(), python.choice);
        Ok(ImagePlan { platform, parent, layers, change, resolution, annotations, choice })
    }

    fn located(&self, layer: PlannedLayer, known: &Known) -> Result<PlannedLayer, OpsError> {
        placed::located(self.means, self.request, self.target(), layer, known)
    }

    /// Who owns the sources: the user of the settings, by the parent's own files when it is a name.
    async fn owner(&mut self) -> Result<Owner, OpsError> {
        let Some(user) = self.request.settings.docker.user.clone() else { return Ok(Owner::default()) };
        let numeric = user.split(':').next().unwrap_or_default().parse::<u32>();
        let group = user.contains(':');
        let owner = match numeric {
            Ok(uid) if !group => Owner { uid: uid.into(), gid: 0 },
            _ => resolve_user(&*self.files().await?, &user)?,
        };
        // As `chown -R USER` does it: the group stays root's unless one is named.
        Ok(if group { owner } else { Owner { gid: 0, ..owner } })
    }
}

fn source_layer(tree: &SourceTree, owner: Owner) -> Result<PlannedLayer, OpsError> {
    let prefix = source_prefix()?;
    let files = tree.file_count();
    Ok(PlannedLayer {
        kind: LayerKind::Sources,
        title: match files {
            0 if tree.entries().is_empty() => format!("sources: the folder /{prefix}"),
            1 => format!("sources: 1 file in /{prefix}"),
            _ => format!("sources: {files} files in /{prefix}"),
        },
        key: Some(sources_key(tree.key_material().as_str().as_bytes(), &prefix, owner)),
        blob: None,
        place: None,
        action: Action::Build,
        bytes: Some(tree.total_bytes()),
        fetch: 0,
        making: Some(Making::Sources { owner }),
    })
}

/// Where sources go: `/app`, as ZenML has it.
pub(super) fn source_prefix() -> Result<EntryPath, OpsError> {
    Ok(EntryPath::parse(crate::plan::SOURCES)?)
}

/// The annotations of an image's manifest.
pub(super) fn manifest_annotations(
    key: &PlanKey,
    image: &ImagePlan,
    config: &ConfigChange,
) -> BTreeMap<String, String> {
    let mut annotations = BTreeMap::from([
        (annotation::PLAN_KEY.to_owned(), key.to_string()),
        (annotation::PLATFORM.to_owned(), image.platform.to_string()),
    ]);
    annotations.extend(image.annotations.clone());
    if let Some(resolution) = &image.resolution {
        annotations.insert(annotation::RESOLUTION_KEY.into(), resolution.to_string());
    }
    if let Some(choice) = &image.choice {
        annotations.insert(annotation::CHOICE.into(), choice.to_string());
    }
    if let Some(created) = &config.created {
        annotations.insert("org.opencontainers.image.created".into(), created.clone());
    }
    annotations
}
