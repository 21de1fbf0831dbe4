//! Plans the image of a Dockerfile: whether it is published already, else its layers, one after the other.
//!
//! What it comes to is carried out as any other plan is.

use std::sync::Arc;

use futures_util::future::try_join_all;

use crate::dockerfile::{BuildArguments, InstructionKind, Origin};
use crate::event::Event;
use crate::oci::Platform;
use crate::plan::{Action, KeyHasher, Known, PlanKey};

use super::super::error::OpsError;
use super::super::ground::Mode;
use super::super::means::Means;
use super::super::parent::PinnedParent;
use super::super::placed::done_once;
use super::super::plan::{Course, Kept, Planned};
use super::super::request::BuildRequest;
use super::super::{earlier, publish};
use super::evaluate::Evaluation;
use super::origin::Origins;
use super::recipe::Recipe;
use super::rehearsal::{self, Expected};
use super::request::DockerfileRequest;
use super::segments::reference_of;
use super::stage::Stage;
use super::steps::{How, InstructionStep};

/// What one platform's image is made of.
pub(super) struct Wanted {
    pub(super) platform: Platform,
    pub(super) arguments: BuildArguments,
    pub(super) needed: Vec<(usize, Origin)>,
    pub(super) origins: Origins,
}

/// Plans the image of the Dockerfile that `asked` names.
///
/// # Errors
/// Fails when the file or its context cannot be read, when an instruction makes no sense, and when one needs a backend
/// and there is none; each names the line.
pub(in crate::ops) async fn plan(
    means: &Means,
    request: &BuildRequest,
    asked: &DockerfileRequest,
    mode: Mode,
) -> Result<Planned, OpsError> {
    for target in &request.targets {
        means.registry.expect_push(&target.repository());
    }
    let read = async {
        let (of_request, of_file) = (request.clone(), asked.clone());
        let read = tokio::task::spawn_blocking(move || Recipe::read(&of_request, &of_file));
        let recipe = Arc::new(read.await.map_err(OpsError::Worker)??);
        let wanted = wanted(means, request, asked, &recipe).await?;
        Ok::<_, OpsError>((recipe, wanted))
    };
    let (read, earlier) = tokio::join!(read, earlier::published(means, request));
    let ((recipe, wanted), earlier) = (read?, earlier?);
    warn(means, &recipe, &wanted);
    let key = key(request, asked, &recipe, &wanted).await?;
    let mut planned = Planned {
        key: key.clone(),
        segments: Vec::new(),
        parent: request.targets.first().cloned().ok_or(OpsError::NoTarget).or_else(|_| scratch())?,
        parent_descriptor: None,
        course: Course::Waits,
        code: None,
        instructions: Vec::new(),
        reasons: Vec::new(),
    };
    let may_reuse = !request.no_cache && !request.no_reuse && !request.upgrade && !request.refresh_backend;
    if may_reuse && let Some((document, missing)) = earlier::reusable(means, request, &earlier, &key).await? {
        planned.reasons.push("every input is as it was: the published image is reused".into());
        let platforms = publish::platforms(means, request, &document);
        let base = wanted.first().and_then(|wanted| base_of(&recipe, wanted));
        planned.parent_descriptor = Some(base.map_or_else(|| document.descriptor(), |base| base.descriptor.clone()));
        if let Some(base) = base {
            planned.parent.clone_from(&base.reference);
        }
        planned.course = Course::Reuse { document, missing, platforms };
        return Ok(planned);
    }
    let is_first = earlier.is_none();
    let expected = rehearsal::expect_backend(means, request, &recipe, &wanted, is_first).await?;
    let known = if request.no_cache { Known::default() } else { earlier::known(means, request, earlier).await };
    if expected == Expected::Remembered {
        rehearsal::rehearse(means, (request, asked), (&recipe, &wanted), &known).await?;
    }
    assemble(means, request, asked, (&recipe, &wanted), known, mode, &mut planned).await?;
    Ok(planned)
}

fn scratch() -> Result<crate::oci::Reference, OpsError> {
    Ok(crate::oci::Reference::parse("scratch")?)
}

/// The image that the stage which is built begins with, through the stages below it.
fn base_of<'a>(recipe: &Recipe, wanted: &'a Wanted) -> Option<&'a PinnedParent> {
    let mut position = recipe.target;
    loop {
        match &wanted.needed.iter().find(|(at, _)| *at == position)?.1 {
            Origin::Stage(below) => position = *below,
            Origin::Image(name) => return wanted.origins.pinned(name).ok(),
            Origin::Scratch => return None,
        }
    }
}

/// What each platform's image is made of.
async fn wanted(
    means: &Means,
    request: &BuildRequest,
    asked: &DockerfileRequest,
    recipe: &Recipe,
) -> Result<Vec<Wanted>, OpsError> {
    let host = &means.host_platform;
    let platforms = if request.platforms.is_empty() { vec![host.clone()] } else { request.platforms.clone() };
    let each = platforms.into_iter().map(|platform| async move {
        let arguments = recipe.arguments(asked, host, &platform)?;
        let needed = recipe.needed(asked, &arguments)?;
        let origins = Origins::pin(means, recipe, &needed).await?;
        Ok::<_, OpsError>(Wanted { platform, arguments, needed, origins })
    });
    try_join_all(each).await
}

/// Warns of build arguments that nothing asks for.
fn warn(means: &Means, recipe: &Recipe, wanted: &[Wanted]) {
    let declared = |name: &str| {
        let lines = recipe.file.stages.iter().flat_map(|stage| &stage.instructions);
        let in_stages = lines.into_iter().any(|line| match &line.kind {
            InstructionKind::Arg(pairs) => pairs.iter().any(|(known, _)| known == name),
            _ => false,
        });
        in_stages || recipe.file.args.iter().any(|argument| argument.name == name)
    };
    let Some(first) = wanted.first() else { return };
    for name in first.arguments.unused(&declared) {
        let text = format!("the build argument `{name}` is not declared by any `ARG` of `{}`", recipe.name);
        means.reporter.report(Event::Warning { text });
    }
}

/// The key over everything that shapes the image. Of the context, what the instructions take.
async fn key(
    request: &BuildRequest,
    asked: &DockerfileRequest,
    recipe: &Arc<Recipe>,
    wanted: &[Wanted],
) -> Result<PlanKey, OpsError> {
    let mut key = KeyHasher::new("dockerfile/1")
        .with("layers", crate::layer::LAYER_FORMAT)
        .with("created", request.created.as_deref().unwrap_or_default());
    for (name, value) in &asked.labels {
        key.add("label", name);
        key.add("value", value);
    }
    for (name, value) in &asked.engine_options {
        key.add("option", name);
        key.add("value", value.to_string());
    }
    for id in request.secrets.keys() {
        key.add("secret", id);
    }
    for Wanted { platform, needed, origins, .. } in wanted {
        key.add("platform", platform.to_string());
        for (name, digest) in origins.digests() {
            key.add("image", name);
            key.add("digest", digest);
        }
        for (position, _) in needed {
            let stage = &recipe.file.stages[*position];
            key.add("from", &stage.base);
            key.add("stage", stage.name.as_deref().unwrap_or_default());
            stage.instructions.iter().for_each(|instruction| key.add("instruction", &instruction.text));
        }
    }
    for (name, value) in &asked.build_args {
        key.add("argument", name);
        key.add("value", value);
    }
    for argument in &recipe.file.args {
        key.add("default", &argument.name);
        key.add("value", argument.default.as_deref().unwrap_or_default());
    }
    let positions = wanted.iter().flat_map(|wanted| wanted.needed.iter().map(|(position, _)| *position)).collect();
    let of_context = Arc::clone(recipe);
    let taken = tokio::task::spawn_blocking(move || of_context.taken(&positions));
    for layer in taken.await.map_err(OpsError::Worker)?? {
        key.add("context", layer.to_string());
    }
    Ok(PlanKey(key.finish()))
}

async fn assemble(
    means: &Means,
    request: &BuildRequest,
    asked: &DockerfileRequest,
    (recipe, wanted): (&Recipe, &[Wanted]),
    known: Known,
    mode: Mode,
    planned: &mut Planned,
) -> Result<(), OpsError> {
    let (mut images, mut kept, mut requirements) = (Vec::new(), Kept::default(), Vec::new());
    let mut known = Some(known);
    for of_platform @ Wanted { needed, .. } in wanted {
        let known_now = known.take().unwrap_or_default();
        let mut evaluation = Evaluation::new(means, (request, asked), recipe, of_platform, known_now, mode);
        let mut stage = evaluation.target(needed).await?;
        let change = stage.change(request.created.clone(), &asked.labels);
        images.push(evaluation.image_plan(&stage, change).await?);
        kept.indexes.extend(evaluation.unpublished(&mut stage).into_values());
        kept.choices.extend(stage.choice.take().and_then(|(_, choice)| choice));
        requirements.append(&mut evaluation.sources);
        // The image tells by itself what its own packages are.
        kept.locks.extend(evaluation.locks.drain(..).filter(|planned| stage.resolution.as_ref() != Some(&planned.key)));
        let Evaluation { mut steps, segments, is_there, has_triggers, runs, known: left, .. } = evaluation;
        kept.runs.extend(runs.into_kept());
        if has_triggers {
            // What they copy is in no key, so that no later build takes the image for its own.
            let files = stage.key_of_files();
            planned.key = PlanKey(
                KeyHasher::new("triggers/1").with("plan", planned.key.0.hex()).with("files", files.hex()).finish(),
            );
        }
        mark(&mut steps, &stage, &recipe.stage_name(recipe.target));
        if planned.instructions.is_empty() {
            planned.instructions = steps;
            let at =
                earlier::target_repository(request).map_or_else(|| crate::oci::Repository::parse("scratch"), Ok)?;
            let named = crate::oci::Reference::parse(&stage.base.image.name).ok().filter(|_| stage.base.at.is_some());
            planned.parent = named.unwrap_or_else(|| reference_of(&stage.base, &at));
            planned.parent_descriptor = Some(stage.base.image.descriptor.clone());
        }
        planned.segments.extend(segments);
        if !is_there {
            let text = "a backend goes first; the layers below are those of what is there without it";
            planned.reasons.push(text.to_owned());
        }
        known = Some(left);
    }
    done_once(images.iter_mut().flat_map(|image| &mut image.layers));
    planned.course = Course::Assemble { images, sources: None, kept, requirements };
    Ok(())
}

/// Says of instructions whose layers are all there that they are reused.
fn mark(steps: &mut [InstructionStep], stage: &Stage, name: &str) {
    for step in steps.iter_mut().filter(|step| step.stage == name && step.how == How::Native) {
        let layers = stage.layers.get(step.layers.clone()).unwrap_or_default();
        if !layers.is_empty() && layers.iter().all(|layer| layer.action != Action::Build) {
            step.how = How::Reused;
        }
    }
}
