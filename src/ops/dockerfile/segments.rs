//! What a backend does between that which is done here: as few instructions as go together, upon what is there so far.
//!
//! How a segment is found or built is the business of `ops::segment`.

use std::collections::{BTreeMap, BTreeSet};

use crate::backend::{BackendError, Context, Segment};
use crate::dockerfile::{Instruction, InstructionKind, MountKind, Origin, renamed};
use crate::image::{ConfigChange, InstructedConfig};
use crate::oci::{Descriptor, ImageConfig, Reference, Repository};
use crate::plan::{ImagePlan, KeyHasher, PlanKey};

use super::super::build::carry_out;
use super::super::error::OpsError;
use super::super::ground::{Mode, SegmentStep, segments_target};
use super::super::plan::{Course, Kept, Planned};
use super::super::request::BuildRequest;
use super::super::segment::{self, PlannedSegment, SegmentRequest};
use super::super::{parent, placed};
use super::by_text::TakesBackend;
use super::evaluate::Evaluation;
use super::stage::{Base, Stage};
use super::steps::How;

/// The tag of an image that a backend builds upon; one of ours, so that `delete --key-tags` finds it.
const BELOW: &str = "lapstrake-below-";

/// Instructions that a backend is to carry out together.
#[derive(Debug, Default)]
pub(super) struct Open {
    lines: Vec<String>,
    /// Instructions for the commands that may follow.
    pending: Vec<String>,
    /// Their places in the list of steps.
    steps: Vec<usize>,
    /// The first one: on which line it stands, and why it needs a backend.
    first: Option<First>,
    /// Words that name stages or images.
    origins: Vec<String>,
    reads_context: bool,
    /// Names of the secrets that are mounted.
    secrets: BTreeSet<String>,
}

/// The first instruction that a backend is to carry out.
#[derive(Clone, Debug, Default)]
struct First {
    line: usize,
    text: String,
    reason: String,
}

impl Open {
    /// Adds an instruction that is not known how to carry out here.
    pub(super) fn add(&mut self, instruction: &Instruction, kind: &InstructionKind, reason: String, step: usize) {
        self.lines.append(&mut self.pending);
        self.lines.push(instruction.text.clone());
        self.steps.push(step);
        let text = instruction.text.lines().next().unwrap_or_default().to_owned();
        self.first.get_or_insert(First { line: instruction.lines.first, text, reason });
        match kind {
            InstructionKind::Copy(copy) | InstructionKind::Add(copy) => {
                self.reads_context |= copy.from.is_none();
                self.origins.extend(copy.from.clone());
            }
            InstructionKind::Run(run) => {
                for mount in &run.mounts {
                    self.reads_context |= mount.kind == MountKind::Bind && mount.from.is_none();
                    self.secrets.extend(mount.secret().map(str::to_owned));
                    self.origins.extend(mount.from.clone());
                }
            }
            _ => {}
        }
    }

    /// Keeps an instruction that shapes how the commands after it run.
    pub(super) fn remember(&mut self, text: &str) {
        self.pending.push(text.to_owned());
    }
}

impl Evaluation<'_> {
    /// Lets a backend carry out what was left to it; in a plan, says so.
    ///
    /// # Errors
    /// Fails without a registry to leave the image in, without a backend, and when the backend fails.
    pub(super) async fn close(
        &mut self,
        position: usize,
        stage: &mut Stage,
        open: &mut Option<Open>,
    ) -> Result<(), OpsError> {
        let Some(open) = open.take() else { return Ok(()) };
        let First { line, text: instruction, reason } = open.first.clone().unwrap_or_default();
        let (stage_at, place) = (position, self.recipe.place(line));
        let takes = TakesBackend { stage: stage_at, line, place, text: instruction.clone(), reason };
        let target = segments_target(self.request, &instruction)?;
        let asked = takes.asked(self.request, &target);
        let built = match self.segment(position, stage, &open, &asked).await? {
            Some(segment) => self.found_or_built(&segment, &asked).await?,
            None => {
                let backend = segment::backend_for(self.means, asked).await?;
                SegmentStep { title: String::new(), backend: Some(backend), key: None, at: None, image: None }
            }
        };
        for at in &open.steps {
            let step = &mut self.steps[*at];
            match &built.backend {
                Some(backend) => step.why = format!("{backend}, since {}", step.why),
                None => step.how = How::Reused,
            }
        }
        match &built.image {
            Some(image) => {
                let pinned = parent::pin(self.means, image).await?.read(self.means).await?;
                let mut made = pinned.image(self.means, None).await?;
                made.name.clone_from(&stage.base.image.name);
                let material = stage.material.clone();
                *stage = stage.rebased(Base { image: made, at: Some(target.clone()) });
                stage.material = material;
            }
            None => self.is_there = false,
        }
        let title = match open.steps.len() {
            1 => format!("`{instruction}`"),
            more => format!("`{instruction}` and {} more", more - 1),
        };
        self.segments.push(SegmentStep { title, ..built });
        Ok(())
    }

    async fn found_or_built(&self, segment: &Segment, asked: &SegmentRequest<'_>) -> Result<SegmentStep, OpsError> {
        let key = segment::key_of(segment).await?;
        let at = Some(Reference::tagged(asked.target, &key.tag())?);
        let step = SegmentStep { title: String::new(), backend: None, key: Some(key.clone()), at, image: None };
        let image = match self.mode {
            Mode::Build => {
                let make = || segment::find_or_build_keyed(self.means, *asked, segment, key.clone());
                self.means.memory.segments.get(format!("{} {key}", asked.target), make).await?
            }
            Mode::Look => match segment::find_keyed(self.means, *asked, segment, &key).await? {
                PlannedSegment::Reused(image) => *image,
                PlannedSegment::Build { backend, .. } => return Ok(SegmentStep { backend: Some(backend), ..step }),
            },
        };
        Ok(SegmentStep { backend: image.made_by, image: Some(image.reference), ..step })
    }

    /// The segment; `None` in a plan when what it begins with is not there.
    async fn segment(
        &mut self,
        position: usize,
        stage: &Stage,
        open: &Open,
        asked: &SegmentRequest<'_>,
    ) -> Result<Option<Segment>, OpsError> {
        let mut lines: Vec<String> = Vec::new();
        let directives = &self.recipe.file.directives;
        // The usual front end is in every backend; a line that names it would have it fetched.
        let other = directives.syntax.iter().filter(|syntax| !is_usual(syntax));
        lines.extend(other.map(|syntax| format!("# syntax={syntax}")));
        if directives.escape != '\\' {
            lines.push(format!("# escape={}", directives.escape));
        }
        match (&stage.preamble, &stage.base.at) {
            (Some(preamble), Some(at)) => {
                lines.push(format!("FROM {}", Reference::pinned(at, &stage.base.image.descriptor.digest)));
                lines.extend(preamble.iter().cloned());
            }
            _ => {
                let Some(below) = self.below(stage, asked).await? else { return Ok(None) };
                lines.push(format!("FROM {below}"));
                lines.extend(stage.scope.arguments().map(|(name, _)| format!("ARG {name}")));
            }
        }
        let mut images: BTreeMap<&str, Reference> = BTreeMap::new();
        for word in &open.origins {
            let Origin::Stage(at) = self.recipe.file.origin(position, word) else { continue };
            let other = self.stages.get(&at).cloned().ok_or(OpsError::ParentUnset)?;
            match self.below(&other, asked).await? {
                Some(image) => images.insert(word, image),
                None => return Ok(None),
            };
        }
        lines.extend(open.lines.iter().cloned());
        let text = renamed(&(lines.join("\n") + "\n"), &|word| images.get(word).map(ToString::to_string));
        let text = text.map_err(BackendError::from)?;
        let args = stage.scope.arguments().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let context = match (&self.asked.context, open.reads_context) {
            (Some(root), true) => Some(Context { root: root.clone(), ignore: self.recipe.ignore.clone() }),
            _ => None,
        };
        // What a line is given it has to name; a name that is a variable may be any.
        let is_named = |id: &String| open.secrets.iter().any(|named| named == id || named.contains('$'));
        let secrets = self.request.secrets.iter().filter(|(id, _)| is_named(id));
        let mut segment = Segment {
            context,
            build_args: args.collect(),
            secrets: secrets.map(|(id, secret)| (id.clone(), secret.clone())).collect(),
            no_cache: self.request.no_cache,
            engine_options: self.asked.engine_options.clone(),
            ..Segment::new(text, stage.base.image.config.platform())
        };
        // Images that its lines name themselves.
        segment = segment::pin(self.means, &segment).await?;
        Ok(Some(segment))
    }

    /// The stage as an image in the target repository, for commands that run upon it: its files, and of its config what
    /// shapes commands. `None` in a plan when it is not there.
    async fn below(&mut self, stage: &Stage, asked: &SegmentRequest<'_>) -> Result<Option<Reference>, OpsError> {
        let change = bare(stage);
        let mut key = KeyHasher::new("below/1").with("stage", stage.key_of_files().as_str());
        let members = change.instructed.iter().map(|instructed| instructed.config.runtime_members());
        members.for_each(|members| key.add("config", serde_json::Value::Object(members).to_string()));
        let key = PlanKey(key.finish());
        let at = Reference::tagged(asked.target, &format!("{BELOW}{}", &key.0.hex()[..40]))?;
        if !self.request.no_cache
            && let Some(found) = self.means.registry.resolve(&at).await?
        {
            return Ok(Some(Reference::pinned(asked.target, &found.digest)));
        }
        if self.mode == Mode::Look {
            return Ok(None);
        }
        // Nothing is published for a command that nobody can run.
        segment::backend_for(self.means, *asked).await?;
        let plan = self.image_plan(stage, change).await?;
        let planned = Planned {
            key,
            segments: Vec::new(),
            parent: reference_of(&stage.base, asked.target),
            parent_descriptor: Some(stage.base.image.descriptor.clone()),
            course: Course::Assemble {
                images: vec![plan],
                sources: None,
                // Whoever looks for what is built upon this needs them for its key.
                kept: Kept { indexes: self.indexes(stage), ..Kept::default() },
                requirements: self.sources.clone(),
            },
            code: None,
            instructions: Vec::new(),
            reasons: Vec::new(),
        };
        let request = BuildRequest { targets: vec![at], dockerfile: None, ..self.request.clone() };
        let built = carry_out(self.means, &request, planned).await?;
        Ok(Some(Reference::pinned(asked.target, &built.descriptor.digest)))
    }

    /// The indexes that keys of this evaluation were computed with.
    fn indexes(&self, stage: &Stage) -> Vec<(Descriptor, Vec<u8>)> {
        let of_stage = |stage: &Stage| Some((stage.base.image.descriptor.clone(), stage.index.as_ref()?.bytes()?));
        let copied = self.copied.iter().filter_map(|(image, index)| Some((image.clone(), index.bytes()?)));
        self.stages.values().chain([stage]).filter_map(of_stage).chain(copied).collect()
    }

    /// The stage as a plan of an image.
    pub(super) async fn image_plan(&self, stage: &Stage, change: ConfigChange) -> Result<ImagePlan, OpsError> {
        let mut layers = match &stage.base.at {
            Some(at) => {
                let of_base = &stage.base.image.manifest.layers;
                placed::parent_layers(self.means, self.target.as_ref(), at, of_base, &self.known).await?
            }
            None => Vec::new(),
        };
        layers.extend(stage.layers.iter().cloned());
        Ok(ImagePlan {
            platform: stage.base.image.config.platform(),
            parent: stage.base.image.clone(),
            layers,
            change,
            resolution: stage.resolution.clone(),
            annotations: BTreeMap::new(),
            choice: stage.choice.as_ref().map(|(digest, _)| digest.clone()),
        })
    }
}

/// How a base is named where a reference is wanted; `scratch` is in no registry.
pub(super) fn reference_of(base: &Base, target: &Repository) -> Reference {
    Reference::pinned(base.at.as_ref().unwrap_or(target), &base.image.descriptor.digest)
}

/// Whether a front end is the one that reads Dockerfiles everywhere.
fn is_usual(syntax: &str) -> bool {
    let name = syntax.strip_prefix("docker.io/").unwrap_or(syntax);
    name.strip_prefix("docker/dockerfile").is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '@']))
}

/// Of the config what shapes commands, and nothing that a command does not see.
fn bare(stage: &Stage) -> ConfigChange {
    let (now, platform) = (&stage.config.config, stage.base.image.config.platform());
    let mut runtime = ImageConfig::new(&platform);
    now.env().iter().for_each(|(name, value)| runtime.set_env(name, value));
    now.user().iter().for_each(|user| runtime.set_user(user));
    now.working_dir().iter().for_each(|folder| runtime.set_working_dir(folder));
    now.shell().iter().for_each(|shell| runtime.set_member("Shell", serde_json::json!(shell)));
    let mut config = stage.base.image.config.clone();
    config.copy_runtime_of(&runtime);
    let steps = vec![crate::image::InstructedStep { created_by: "below".into(), layers: stage.layers.len() }];
    ConfigChange { instructed: Some(Box::new(InstructedConfig { config, steps })), ..ConfigChange::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_front_end_is_known_by_its_name() {
        for (syntax, usual) in [
            ("docker/dockerfile:1", true),
            ("docker.io/docker/dockerfile", true),
            ("docker/dockerfile-upstream:master", false),
            ("me/dockerfile:1", false),
        ] {
            assert_eq!(is_usual(syntax), usual, "{syntax}");
        }
    }
}
