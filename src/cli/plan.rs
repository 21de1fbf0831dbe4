//! `lapstrake plan`.
//!
//! One screen that says what will happen, why, and how many bytes it will cost.

use lapstrake::dockerfile::Exactness;
use lapstrake::oci::Platform;
use lapstrake::ops::{self, BuildRequest, Course, Output, Planned, SegmentStep};
use lapstrake::plan::{Action, LayerKind, Moves, PlannedLayer};
use serde_json::{Value, json};

use super::args::{BuildArgs, Format, PlanArgs, Shown};
use super::config::Prepared;
use super::environment::Environment;
use super::exit::{self, Outcome};
use super::{config, dockerfile, output, sources};

/// Characters of a title that are shown in a row.
const TITLE: usize = 58;

/// Plans, and prints the plan.
pub(crate) async fn run(command: &PlanArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let args = &command.build;
    if let Some(named) = dockerfile::equivalent(args) {
        let prepared = config::prepare(&named, shown, environment).await?;
        return dockerfiles(command, &prepared, shown).await;
    }
    let prepared = config::prepare(args, shown, environment).await?;
    let planned = ops::plan_all(&prepared.means, &prepared.requests).await.map_err(exit::fail)?;
    let images = prepared.requests.iter().zip(&planned);
    let text = match shown.format {
        Format::Text => {
            let images: Vec<String> =
                images.map(|(request, planned)| titled(request, text(planned, &target(args, request)))).collect();
            let total = (images.len() > 1).then(|| total(&planned));
            images.into_iter().chain(total).collect::<Vec<_>>().join("\n\n")
        }
        Format::Json => {
            let images: Vec<Value> =
                images.map(|(request, planned)| as_json(request, planned, &target(args, request))).collect();
            let is_pushed = prepared.pipeline().output == Output::Registry;
            json!({"schemaVersion": 1, "images": images, "bytes": moves_json(all_moves(&planned), is_pushed)})
                .to_string()
        }
    };
    output::to_stdout(&text).map_err(exit::fail)
}

/// The Dockerfile of each image; of several, each with a line that says whose it is.
async fn dockerfiles(command: &PlanArgs, prepared: &Prepared, shown: &Shown) -> Outcome {
    let exactness = if command.corrected { Exactness::Corrected } else { Exactness::Zenml };
    let mut images = Vec::new();
    for request in &prepared.requests {
        let text = ops::equivalent_dockerfile(&prepared.means, request, exactness).await.map_err(exit::fail)?;
        images.push((request, text));
    }
    let text = match shown.format {
        Format::Json => {
            let images = images.iter().map(|(request, text)| json!({"keys": request.keys, "dockerfile": text}));
            json!({"schemaVersion": 1, "images": images.collect::<Vec<_>>()}).to_string()
        }
        Format::Text => {
            let skipped = || "# the build is skipped: the parent is the image".to_owned();
            let is_single = images.len() == 1;
            let text = |(request, text): (&BuildRequest, Option<String>)| {
                let text = text.unwrap_or_else(skipped);
                if is_single { text } else { format!("# image {}\n{text}\n", request.keys.join(", ")) }
            };
            images.into_iter().map(text).collect::<Vec<_>>().join("\n")
        }
    };
    output::to_stdout(&text).map_err(exit::fail)
}

fn target(args: &BuildArgs, request: &BuildRequest) -> String {
    match request.targets.first() {
        Some(target) => target.to_string(),
        None => args.output.clone().unwrap_or_default(),
    }
}

/// The plan of a step's image says whom it is for.
fn titled(request: &BuildRequest, text: String) -> String {
    let steps: Vec<&str> = request.keys.iter().filter_map(|key| key.strip_suffix(".orchestrator")).collect();
    if steps.is_empty() { text } else { format!("for     {}\n{text}", steps.join(", ")) }
}

/// What all images cost together; what several need is moved once.
fn all_moves(planned: &[Planned]) -> Moves {
    let layers = planned.iter().filter_map(|planned| match &planned.course {
        Course::Assemble { images, .. } => Some(images.iter().flat_map(|image| &image.layers).collect()),
        Course::ParentAsItIs { layers, .. } => Some(layers.iter().collect()),
        Course::Reuse { .. } | Course::ParentStays { .. } | Course::Waits => None::<Vec<&PlannedLayer>>,
    });
    Moves::of(layers.flatten())
}

fn total(planned: &[Planned]) -> String {
    let moves = all_moves(planned);
    let (down, up) = (output::bytes(moves.downloaded), output::bytes(moves.uploaded));
    format!("all {} images: {down} to fetch, about {up} to push", planned.len())
}

/// The plan as people read it.
pub(crate) fn text(planned: &Planned, target: &str) -> String {
    let mut lines = vec![
        format!("image   {target}"),
        match &planned.parent_descriptor {
            Some(parent) => format!("parent  {} @ {}", planned.parent, parent.digest.short()),
            None => format!("parent  {} (not there yet)", planned.parent),
        },
    ];
    lines.extend(planned.segments.iter().filter(|_| planned.instructions.is_empty()).map(segment_text));
    lines.extend(planned.reasons.iter().map(|reason| format!("why     {reason}")));
    lines.extend(planned.code.iter().flat_map(|code| sources::lines(code)));
    if !planned.instructions.is_empty() {
        lines.push(dockerfile::table(&planned.instructions));
    }
    match &planned.course {
        Course::Reuse { document, missing, .. } => {
            lines.push(format!("REUSE   {}: nothing is made or moved", document.digest()));
            lines.extend(missing.iter().map(|name| format!("TAG     {name}")));
        }
        Course::Waits => lines.push("WAITS   for the parent".to_owned()),
        Course::ParentStays { document, .. } => {
            lines.push(format!("PARENT  {}: nothing is made or moved", document.digest()));
        }
        Course::ParentAsItIs { document, layers, platforms } => {
            lines.push(format!("COPY    {} as it is", document.digest()));
            lines.push(layers_text(&words(platforms).join(", "), layers));
        }
        Course::Assemble { images, .. } => {
            images.iter().for_each(|image| lines.push(layers_text(&image.platform.to_string(), &image.layers)));
        }
    }
    lines.join("\n")
}

fn segment_text(step: &SegmentStep) -> String {
    match &step.backend {
        Some(backend) => format!("BACKEND {}: built by {backend}", step.title),
        None => format!("SEGMENT {}: as it was built before", step.title),
    }
}

fn segment_json(step: &SegmentStep) -> Value {
    json!({
        "title": step.title,
        "key": step.key.as_ref().map(ToString::to_string),
        "backend": step.backend,
        "reference": step.at.as_ref().map(ToString::to_string),
    })
}

fn layers_text(platform: &str, layers: &[PlannedLayer]) -> String {
    let mut rows = vec![["", "LAYER", "SIZE", "FETCH"].map(str::to_owned).to_vec()];
    let parents: Vec<&PlannedLayer> = layers.iter().filter(|layer| layer.kind == LayerKind::Parent).collect();
    for action in [Action::Hit, Action::Mount, Action::Copy] {
        let same: Vec<&&PlannedLayer> = parents.iter().filter(|layer| layer.action == action).collect();
        if !same.is_empty() {
            let bytes: u64 = same.iter().filter_map(|layer| layer.bytes).sum();
            let fetch: u64 = same.iter().map(|layer| layer.fetch).sum();
            let title = format!("{} {} of the parent", same.len(), if same.len() == 1 { "layer" } else { "layers" });
            rows.push(vec![action.word().to_uppercase(), title, output::bytes(bytes), fetched(fetch)]);
        }
    }
    for layer in layers.iter().filter(|layer| layer.kind != LayerKind::Parent) {
        rows.push(vec![
            layer.action.word().to_uppercase(),
            output::shortened(&layer.title, TITLE),
            size(layer),
            fetched(layer.fetch),
        ]);
    }
    let moves = Moves::of(layers);
    let sum = format!(
        "{platform}: {} to fetch, about {} to push; {} {}",
        output::bytes(moves.downloaded),
        output::bytes(moves.uploaded),
        layers.len(),
        if layers.len() == 1 { "layer" } else { "layers" },
    );
    format!("\n{}\n\n{sum}", output::table(&rows, &[2, 3]))
}

/// Sizes that are still estimates carry a `~`.
fn size(layer: &PlannedLayer) -> String {
    match (layer.bytes, &layer.action) {
        (Some(bytes), Action::Build) => format!("~{}", output::bytes(bytes)),
        (Some(bytes), _) => output::bytes(bytes),
        (None, _) => "?".to_owned(),
    }
}

fn fetched(bytes: u64) -> String {
    if bytes == 0 { String::new() } else { output::bytes(bytes) }
}

fn as_json(request: &BuildRequest, planned: &Planned, target: &str) -> Value {
    let is_pushed = request.output == Output::Registry;
    let mut image = match &planned.course {
        Course::Assemble { images, .. } => {
            let platforms: Vec<Platform> = images.iter().map(|image| image.platform.clone()).collect();
            let layers: Vec<&PlannedLayer> = images.iter().flat_map(|image| &image.layers).collect();
            image_json(planned, target, &platforms, &layers, is_pushed)
        }
        Course::ParentAsItIs { document, platforms, layers } => {
            let mut image = image_json(planned, target, platforms, &layers.iter().collect::<Vec<_>>(), is_pushed);
            image["digest"] = json!(document.digest());
            image
        }
        Course::Waits => image_json(planned, target, &[], &[], is_pushed),
        Course::Reuse { document, platforms, .. } | Course::ParentStays { document, platforms } => {
            let mut image = image_json(planned, target, platforms, &[], is_pushed);
            image["digest"] = json!(document.digest());
            image["reused"] = json!(true);
            image
        }
    };
    image["key"] = json!(request.keys.first());
    image["keys"] = json!(request.keys);
    if !planned.instructions.is_empty() {
        image["instructions"] = planned.instructions.iter().map(dockerfile::as_json).collect();
    }
    image["segments"] = planned.segments.iter().map(segment_json).collect();
    image
}

fn parent_json(planned: &Planned) -> Value {
    let digest = planned.parent_descriptor.as_ref().map(|parent| &parent.digest);
    json!({"reference": planned.parent.to_string(), "digest": digest})
}

fn words(platforms: &[Platform]) -> Vec<String> {
    platforms.iter().map(ToString::to_string).collect()
}

/// All platforms as the one image that they come to, as `build` shows it; without what is only known afterwards.
fn image_json(
    planned: &Planned,
    target: &str,
    platforms: &[Platform],
    layers: &[&PlannedLayer],
    is_pushed: bool,
) -> Value {
    let shown = layers.iter().map(|layer| {
        json!({
            "key": layer.key,
            "kind": layer.kind.word(),
            "title": layer.title,
            "digest": layer.blob.as_ref().map(|(blob, _)| &blob.digest),
            "size": layer.bytes,
            "action": layer.action.word(),
        })
    });
    let moves = Moves::of(layers.iter().copied());
    json!({
        "reference": target,
        "platforms": words(platforms),
        "reused": false,
        "parent": parent_json(planned),
        "sources": planned.code.as_ref().map(|code| sources::as_json(code)),
        "layers": shown.collect::<Vec<_>>(),
        "bytes": moves_json(moves, is_pushed),
    })
}

fn moves_json(moves: Moves, is_pushed: bool) -> Value {
    json!({
        "downloaded": moves.downloaded,
        // As `build` counts: what is written to a folder or a file is not sent to anybody.
        "uploaded": if is_pushed { moves.uploaded } else { 0 },
        "mounted": moves.mounted,
    })
}
