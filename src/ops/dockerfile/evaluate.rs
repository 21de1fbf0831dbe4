//! Goes through the instructions of the stages that are needed: here where it can be done, else by a backend.
//!
//! What an instruction comes to is decided in `copies`, `run` and `python`; what goes to a backend, in `segments`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::dockerfile::{BuildArguments, Dockerfile, Instruction, InstructionKind, Origin, expand_word, is_config};
use crate::image::ParentImage;
use crate::image::filesystem::View;
use crate::image::users::Owner;
use crate::inputs::requirements::SourcedRequirements;
use crate::oci::{Descriptor, Digest, Platform, Repository};
use crate::plan::files::{CopyVerb, NotNative, Placed, StageFiles, files_layer};
use crate::plan::{Known, PlannedLayer};

use super::super::earlier;
use super::super::error::{Lower, OpsError};
use super::super::ground::{Mode, SegmentStep};
use super::super::kept_locks::PlannedLock;
use super::super::kept_runs::Runs;
use super::super::means::Means;
use super::super::parent_index::{self, ParentIndex};
use super::super::placed;
use super::super::request::BuildRequest;
use super::origin::Origins;
use super::plan::Wanted;
use super::recipe::Recipe;
use super::request::DockerfileRequest;
use super::segments::Open;
use super::stage::{Base, Stage};
use super::steps::{How, InstructionStep};
use super::uv_runs::runs;

/// What an instruction came to: why it could be done here, or why not.
pub(super) type Outcome = Result<String, NotNative>;

/// The evaluation of a Dockerfile for one platform.
pub(super) struct Evaluation<'a> {
    pub(super) means: &'a Means,
    pub(super) request: &'a BuildRequest,
    pub(super) asked: &'a DockerfileRequest,
    pub(super) recipe: &'a Recipe,
    pub(super) arguments: &'a BuildArguments,
    pub(super) origins: &'a Origins,
    pub(super) platform: &'a Platform,
    pub(super) mode: Mode,
    /// Whether it ends where a layer would have to be fetched to know what is in it.
    pub(super) is_rehearsal: bool,
    /// Whether it ended so.
    pub(super) is_cut: AtomicBool,
    /// The repository that images are published to.
    pub(super) target: Option<Repository>,
    /// Layers that exist.
    pub(super) known: Known,
    /// Stages that are done, by position.
    pub(super) stages: BTreeMap<usize, Stage>,
    /// Images that are copied from, with what is in them.
    pub(super) copied: Vec<(Descriptor, ParentIndex)>,
    /// What is done about each instruction.
    pub(super) steps: Vec<InstructionStep>,
    /// What only a backend can make.
    pub(super) segments: Vec<SegmentStep>,
    /// What installations were planned by.
    pub(super) locks: Vec<PlannedLock>,
    /// What runs of uv come to.
    pub(super) runs: Runs,
    /// The requirements of all stages.
    pub(super) sources: Vec<SourcedRequirements>,
    /// Whether an image brought instructions of its own.
    pub(super) has_triggers: bool,
    /// Whether every segment is there.
    pub(super) is_there: bool,
}

impl<'a> Evaluation<'a> {
    /// The beginning of an evaluation for one platform.
    pub(super) fn new(
        means: &'a Means,
        (request, asked): (&'a BuildRequest, &'a DockerfileRequest),
        recipe: &'a Recipe,
        wanted: &'a Wanted,
        known: Known,
        mode: Mode,
    ) -> Self {
        let Wanted { platform, arguments, origins, .. } = wanted;
        let target = earlier::target_repository(request);
        Self {
            means,
            request,
            asked,
            recipe,
            arguments,
            origins,
            platform,
            mode,
            is_rehearsal: false,
            is_cut: AtomicBool::new(false),
            target,
            known,
            stages: BTreeMap::new(),
            copied: Vec::new(),
            steps: Vec::new(),
            segments: Vec::new(),
            locks: Vec::new(),
            runs: runs(request, recipe, platform),
            sources: Vec::new(),
            has_triggers: false,
            is_there: true,
        }
    }

    /// The indexes that the target does not have yet: those of all stages, and of images that are copied from.
    pub(super) fn unpublished(&mut self, stage: &mut Stage) -> BTreeMap<Digest, (Descriptor, Vec<u8>)> {
        let mut found = BTreeMap::new();
        let of_stages = self.stages.values_mut().chain([stage]);
        let of_stages = of_stages.filter_map(|stage| Some((stage.base.image.descriptor.clone(), stage.index.take()?)));
        for (image, ParentIndex { unpublished, .. }) in of_stages.chain(self.copied.drain(..)) {
            if let Some(bytes) = unpublished {
                found.insert(image.digest.clone(), (image, bytes));
            }
        }
        found
    }

    /// The stage that is asked for, with all that it needs.
    ///
    /// # Errors
    /// Fails at the first instruction that makes no sense or needs a backend that there is not, and says which.
    pub(super) async fn target(&mut self, needed: &[(usize, Origin)]) -> Result<Stage, OpsError> {
        for (position, origin) in needed {
            let stage = self.stage(*position, origin).await?;
            self.stages.insert(*position, stage);
        }
        self.stages.remove(&self.recipe.target).ok_or(OpsError::ParentUnset)
    }

    async fn stage(&mut self, position: usize, origin: &Origin) -> Result<Stage, OpsError> {
        let mut stage = match origin {
            Origin::Stage(below) => self.stages.get(below).map(Stage::continued).ok_or(OpsError::ParentUnset)?,
            Origin::Scratch => Stage::new(Base::scratch(self.platform)?),
            Origin::Image(name) => Stage::new(self.origins.base(self.means, name, &self.platform_of(position)?).await?),
        };
        let mut open = None;
        if matches!(origin, Origin::Image(_)) {
            for instruction in self.triggers(&mut stage)? {
                self.has_triggers = true;
                stage.preamble = None;
                self.instruction(position, &mut stage, &mut open, &instruction).await?;
            }
        }
        for instruction in &self.recipe.file.stages[position].instructions {
            self.instruction(position, &mut stage, &mut open, instruction).await?;
        }
        self.close(position, &mut stage, &mut open).await?;
        Ok(stage)
    }

    /// The platform of the stage's image: that of `FROM --platform`, else the one that is built for.
    fn platform_of(&self, position: usize) -> Result<Platform, OpsError> {
        let stage = &self.recipe.file.stages[position];
        let Some(written) = &stage.platform else { return Ok(self.platform.clone()) };
        let failed = |source: Lower| OpsError::Instruction {
            place: self.recipe.place(stage.lines.first),
            text: stage.text.clone(),
            source,
        };
        let escape = self.recipe.file.directives.escape;
        let word = expand_word(written, escape, &|name| self.arguments.global(name));
        let word = word.map_err(|error| failed(Lower::of(error)))?;
        word.parse().map_err(|error: crate::oci::PlatformError| failed(Lower::of(error)))
    }

    /// The instructions that the image has for those who build upon it.
    fn triggers(&self, stage: &mut Stage) -> Result<Vec<Instruction>, OpsError> {
        let texts = stage.config.take_on_build();
        let mut instructions = Vec::new();
        for text in texts {
            let parsed = Dockerfile::parse(&format!("FROM scratch\n{text}\n"));
            let parsed = parsed.map_err(|source| OpsError::Instruction {
                place: format!("`ONBUILD` of {}", stage.base.image.name),
                text,
                source: Lower::of(source),
            })?;
            instructions.extend(parsed.stages.into_iter().flat_map(|stage| stage.instructions));
        }
        Ok(instructions)
    }

    async fn instruction(
        &mut self,
        position: usize,
        stage: &mut Stage,
        open: &mut Option<Open>,
        instruction: &Instruction,
    ) -> Result<(), OpsError> {
        let mut step = self.step(position, instruction);
        if let InstructionKind::Arg(pairs) = &instruction.kind {
            self.declare(stage, open, instruction, pairs)?;
            step.why = "a value for what follows".into();
            self.steps.push(step);
            return Ok(());
        }
        let lookup = |name: &str| stage.scope.value(name);
        let kind = instruction.kind.expanded(self.recipe.file.directives.escape, &lookup);
        let kind = kind.map_err(|error| self.failed(instruction, error))?;
        if is_config(instruction) {
            let line = stage.config.apply(&kind).map_err(|error| self.failed(instruction, error))?;
            if let InstructionKind::Env(pairs) = &kind {
                pairs.iter().for_each(|(name, value)| stage.scope.set(name, value));
            }
            stage.note(line.unwrap_or_default(), 0);
            if counts_for_commands(&kind) {
                self.remember(stage, open, &instruction.text);
            }
            step.why = "the image's config".into();
            self.steps.push(step);
            return Ok(());
        }
        let outcome = match self.reason_before(stage, &kind) {
            Some(reason) => Err(reason),
            None => {
                // What may be done here stands upon what a backend makes.
                self.close(position, stage, open).await?;
                let first = stage.layers.len();
                let done = self.natively(position, stage, &kind).await;
                done.map_err(|error| self.failed(instruction, error))?.map(|why| (why, first))
            }
        };
        match outcome {
            Ok((why, first)) => self.natively_done(stage, (instruction, &kind), step, (why, first)),
            Err(NotNative { reason }) => {
                let at = self.steps.len();
                self.steps.push(InstructionStep { how: How::Backend, why: reason.clone(), ..step });
                open.get_or_insert_with(Open::default).add(instruction, &kind, reason, at);
                if let InstructionKind::Workdir(_) = &kind {
                    stage.config.apply(&kind).map_err(|error| self.failed(instruction, error))?;
                }
            }
        }
        Ok(())
    }

    fn step(&self, position: usize, instruction: &Instruction) -> InstructionStep {
        let name = self.recipe.stage_name(position);
        InstructionStep::native(name, instruction.lines.first, &instruction.text, "")
    }

    /// Notes an instruction that was carried out here; its layers begin at `first`.
    fn natively_done(
        &mut self,
        stage: &mut Stage,
        (instruction, kind): (&Instruction, &InstructionKind),
        step: InstructionStep,
        (why, first): (String, usize),
    ) {
        let line = instruction.text.lines().next().unwrap_or_default();
        stage.note(line, stage.layers.len().saturating_sub(first));
        if let (InstructionKind::Workdir(_), Some(preamble)) = (kind, &mut stage.preamble) {
            preamble.push(instruction.text.clone());
        }
        let layers = first.min(stage.layers.len())..stage.layers.len();
        self.steps.push(InstructionStep { why, layers, ..step });
    }

    /// Declares arguments; each default may use those before it.
    fn declare(
        &self,
        stage: &mut Stage,
        open: &mut Option<Open>,
        instruction: &Instruction,
        pairs: &[(String, Option<String>)],
    ) -> Result<(), OpsError> {
        let escape = self.recipe.file.directives.escape;
        for (name, default) in pairs {
            let expanded = default.as_deref().map(|word| expand_word(word, escape, &|name| stage.scope.value(name)));
            let expanded = expanded.transpose().map_err(|error| self.failed(instruction, error))?;
            stage.scope.declare(name, expanded.as_deref(), self.arguments);
        }
        let names: Vec<&str> = pairs.iter().map(|(name, _)| name.as_str()).collect();
        let line = format!("ARG {}", names.join(" "));
        self.remember(stage, open, &line);
        stage.note(line, 0);
        Ok(())
    }

    /// What went wrong, with the instruction's place.
    fn failed(
        &self,
        instruction: &Instruction,
        source: impl crate::diagnostic::Diagnose + Send + Sync + 'static,
    ) -> OpsError {
        OpsError::Instruction {
            place: self.recipe.place(instruction.lines.first),
            text: instruction.text.lines().next().unwrap_or_default().to_owned(),
            source: Lower::of(source),
        }
    }

    /// Why a command is a backend's already by its text, so that what was opened for one can stay open.
    fn reason_before(&self, stage: &Stage, kind: &InstructionKind) -> Option<NotNative> {
        match kind {
            InstructionKind::Run(run) => super::run::known(stage, run).err(),
            _ => None,
        }
    }

    async fn natively(
        &mut self,
        position: usize,
        stage: &mut Stage,
        kind: &InstructionKind,
    ) -> Result<Outcome, OpsError> {
        match kind {
            InstructionKind::Workdir(path) => self.workdir(stage, path, kind).await,
            InstructionKind::Copy(copy) => self.copy(position, stage, copy, CopyVerb::Copy).await,
            InstructionKind::Add(copy) => self.copy(position, stage, copy, CopyVerb::Add).await,
            // A future of its own: those of all commands in one another are too deep for the compiler.
            InstructionKind::Run(run) => Box::pin(self.run(stage, run)).await,
            _ => Ok(Err(NotNative::because("it is no instruction that is known"))),
        }
    }

    /// Keeps an instruction that shapes how commands run, for the segment that may come.
    fn remember(&self, stage: &mut Stage, open: &mut Option<Open>, text: &str) {
        match (open, &mut stage.preamble) {
            (Some(open), _) => open.remember(text),
            (None, Some(preamble)) => preamble.push(text.to_owned()),
            (None, None) => {}
        }
    }

    async fn workdir(&mut self, stage: &mut Stage, path: &str, kind: &InstructionKind) -> Result<Outcome, OpsError> {
        let place = format!("/{}", stage.place(path));
        if place != "/" {
            let user = stage.config.config.user().map(str::to_owned);
            let files = self.files(stage).await?;
            let owner = match user {
                None => None,
                Some(user) => match files.owner(&user) {
                    Ok(owner) => Some(owner),
                    Err(reason) => return Ok(Err(reason)),
                },
            };
            let made = match files.working_directory(&place, owner) {
                Ok(made) => made,
                Err(reason) => return Ok(Err(reason)),
            };
            let preamble = stage.preamble.take();
            self.place(stage, made, format!("the folder {place}"))?;
            stage.preamble = preamble;
        }
        let _ = stage.config.apply(kind);
        Ok(Ok("its folder, and the image's config".into()))
    }

    /// The files of the stage.
    pub(super) async fn files(&self, stage: &mut Stage) -> Result<StageFiles, OpsError> {
        if let Some(files) = &stage.files {
            return Ok(files.clone());
        }
        let files = match &stage.base.at {
            None => StageFiles::default(),
            Some(at) => {
                let index = self.index(&stage.base.image, at).await?;
                let files = StageFiles::new(View::new(Arc::clone(&index.files)));
                stage.index = Some(index);
                files
            }
        };
        stage.files = Some(files.clone());
        Ok(files)
    }

    /// What is in an image.
    ///
    /// # Errors
    /// Fails when its layers cannot be read, and in a rehearsal when they would have to be.
    pub(super) async fn index(&self, image: &ParentImage, at: &Repository) -> Result<ParentIndex, OpsError> {
        let target = self.target.as_ref();
        if !self.is_rehearsal {
            return parent_index::find(self.means, image, at, target).await;
        }
        let index = parent_index::at_hand(self.means, &image.descriptor.digest, target).await?;
        self.is_cut.fetch_or(index.is_none(), Ordering::Relaxed);
        index.ok_or(OpsError::ParentUnset)
    }

    /// Adds a layer of placed files, when anything was placed.
    pub(super) fn place(&self, stage: &mut Stage, made: Placed, title: String) -> Result<(), OpsError> {
        if !made.files.is_empty() {
            let root = self.recipe.context.as_ref().map_or(std::path::PathBuf::new(), |tree| tree.root().to_owned());
            let layer = self.located(files_layer(made.files, &root, title))?;
            stage.add(layer);
        }
        stage.files = Some(made.after);
        Ok(())
    }

    /// Decides how the target comes to a layer.
    pub(super) fn located(&self, layer: PlannedLayer) -> Result<PlannedLayer, OpsError> {
        placed::located(self.means, self.request, self.target.as_ref(), layer, &self.known)
    }

    /// Who runs the commands of the stage.
    pub(super) async fn runner(&self, stage: &mut Stage) -> Result<Result<Owner, NotNative>, OpsError> {
        let Some(user) = stage.config.config.user().map(str::to_owned) else { return Ok(Ok(Owner::default())) };
        Ok(super::run::account(&self.files(stage).await?, &user))
    }
}

/// Whether an instruction shapes what a command does.
fn counts_for_commands(kind: &InstructionKind) -> bool {
    matches!(kind, InstructionKind::Env(_) | InstructionKind::User(_) | InstructionKind::Shell(_))
}
