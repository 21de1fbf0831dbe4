//! What needs a backend where there is none is found before anything is fetched: the stages are gone through without
//! reading a layer, as far as the segments that may be remembered.
//!
//! Nothing is built here, and what comes of it is thrown away.

use std::sync::atomic::Ordering;

use crate::dockerfile::InstructionKind;
use crate::plan::Known;

use super::super::error::OpsError;
use super::super::ground::{Mode, segments_target};
use super::super::means::Means;
use super::super::request::BuildRequest;
use super::super::{parent_index, segment};
use super::by_text::{TakesBackend, takes_backend};
use super::evaluate::Evaluation;
use super::plan::Wanted;
use super::recipe::Recipe;
use super::request::DockerfileRequest;
use super::uv_runs::runs;

pub(super) use super::super::segment::Expected;

/// Whether what takes a backend by its text can be there. Where an image was published before and all parents are known,
/// segments are likely to be remembered, and no backend is asked for nothing.
///
/// # Errors
/// Fails for an instruction that nobody can carry out, before anything is fetched for those around it.
pub(super) async fn expect_backend(
    means: &Means,
    request: &BuildRequest,
    recipe: &Recipe,
    wanted: &[Wanted],
    is_first: bool,
) -> Result<Expected, OpsError> {
    let takes = |wanted: &Wanted| takes_backend(recipe, &wanted.needed, &wanted.arguments).into_iter().next();
    let Some(takes) = wanted.iter().find_map(takes) else { return Ok(Expected::Built) };
    let target = segments_target(request, &takes.text)?;
    let asks_it = is_first || request.refresh_backend || !are_known(means, wanted).await?;
    segment::expect_possible(means, takes.asked(request, &target), asks_it).await
}

/// Whether no layer of an image that is named has to be read.
async fn are_known(means: &Means, wanted: &[Wanted]) -> Result<bool, OpsError> {
    for Wanted { origins, platform, .. } in wanted {
        for (name, _) in origins.digests() {
            // An image of another platform is told of where it is used.
            let Ok(base) = origins.base(means, name, platform).await else { return Ok(false) };
            if !parent_index::is_stored(means, &base.image.descriptor.digest)? {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// Goes through what stands below each instruction that takes a backend, where there is none.
///
/// Whoever built a segment upon files left the indexes that its key takes beside it, so that without them it is not there.
///
/// # Errors
/// Fails for the first one whose segment the target repository does not have.
pub(super) async fn rehearse(
    means: &Means,
    (request, asked): (&BuildRequest, &DockerfileRequest),
    (recipe, wanted): (&Recipe, &[Wanted]),
    known: &Known,
) -> Result<(), OpsError> {
    for of_platform in wanted {
        for takes in takes_backend(recipe, &of_platform.needed, &of_platform.arguments) {
            let until = until(recipe, &takes);
            let needed = until.needed(asked, &of_platform.arguments)?;
            let mut evaluation =
                Evaluation::new(means, (request, asked), &until, of_platform, known.clone(), Mode::Look);
            evaluation.is_rehearsal = true;
            evaluation.runs = runs(request, recipe, &of_platform.platform);
            // A future of its own: those of all commands in one another are too deep for the compiler.
            let gone = Box::pin(evaluation.target(&needed)).await;
            let name = until.stage_name(takes.stage);
            let is_there = evaluation.steps.iter().any(|step| (&step.stage, step.line) == (&name, takes.line));
            match gone {
                Ok(_) => {}
                Err(_) if evaluation.is_cut.load(Ordering::Relaxed) => {
                    let target = segments_target(request, &takes.text)?;
                    if !is_there {
                        segment::backend_for(means, takes.asked(request, &target)).await?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// The file as far as the segment of `takes` goes: no further than what ends it in any case.
fn until(recipe: &Recipe, takes: &TakesBackend) -> Recipe {
    let mut until = Recipe { target: takes.stage, ..recipe.clone() };
    let ends = |kind: &InstructionKind| {
        matches!(kind, InstructionKind::Copy(_) | InstructionKind::Add(_) | InstructionKind::Workdir(_))
    };
    let lines = &mut until.file.stages[takes.stage].instructions;
    let end = lines.iter().position(|line| line.lines.first > takes.line && ends(&line.kind));
    lines.truncate(end.unwrap_or(lines.len()));
    until
}
