//! `lapstrake plan`.
//!
//! One screen that says what will happen, why, and how many bytes it will cost.

use lapstrake::oci::{Document, Platform};
use lapstrake::ops::{self, Course, Planned};
use lapstrake::plan::{Action, ImagePlan, LayerKind, PlannedLayer};
use serde_json::{Value, json};

use super::args::{BuildArgs, Format, Shown};
use super::build::IMAGE_KEY;
use super::environment::Environment;
use super::exit::{self, Outcome};
use super::{config, output};

/// Characters of a title that are shown in a row.
const TITLE: usize = 58;

/// Plans, and prints the plan.
pub(crate) async fn run(args: &BuildArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let prepared = config::prepare(args, shown, environment)?;
    let planned = ops::plan(&prepared.means, &prepared.request).await.map_err(exit::fail)?;
    let target = match prepared.request.targets.first() {
        Some(target) => target.to_string(),
        None => args.output.clone().unwrap_or_default(),
    };
    let text = match shown.format {
        Format::Text => text(&planned, &target),
        Format::Json => as_json(&planned, &target).to_string(),
    };
    output::to_stdout(&text).map_err(exit::fail)
}

/// The plan as people read it.
pub(crate) fn text(planned: &Planned, target: &str) -> String {
    let mut lines = vec![
        format!("image   {target}"),
        format!("parent  {} @ {}", planned.parent, planned.parent_descriptor.digest.short()),
    ];
    lines.extend(planned.reasons.iter().map(|reason| format!("why     {reason}")));
    match &planned.course {
        Course::Reuse { document, missing, .. } => {
            lines.push(format!("REUSE   {}: nothing is made or moved", document.digest()));
            lines.extend(missing.iter().map(|name| format!("TAG     {name}")));
        }
        Course::ParentAsItIs { document, .. } => lines.push(format!("COPY    {} as it is", document.digest())),
        Course::Assemble { images, .. } => images.iter().for_each(|image| lines.push(image_text(image))),
    }
    lines.join("\n")
}

fn image_text(image: &ImagePlan) -> String {
    let mut rows = vec![["", "LAYER", "SIZE", "FETCH"].map(str::to_owned).to_vec()];
    let parents: Vec<&PlannedLayer> = image.layers.iter().filter(|layer| layer.kind == LayerKind::Parent).collect();
    for action in [Action::Hit, Action::Mount, Action::Copy] {
        let same: Vec<&&PlannedLayer> = parents.iter().filter(|layer| layer.action == action).collect();
        if !same.is_empty() {
            let bytes: u64 = same.iter().filter_map(|layer| layer.bytes).sum();
            let fetch: u64 = same.iter().map(|layer| layer.fetch).sum();
            let title = format!("{} {} of the parent", same.len(), if same.len() == 1 { "layer" } else { "layers" });
            rows.push(vec![action.word().to_uppercase(), title, output::bytes(bytes), fetched(fetch)]);
        }
    }
    for layer in image.layers.iter().filter(|layer| layer.kind != LayerKind::Parent) {
        rows.push(vec![
            layer.action.word().to_uppercase(),
            output::shortened(&layer.title, TITLE),
            size(layer),
            fetched(layer.fetch),
        ]);
    }
    let sum = format!(
        "{}: {} to fetch, about {} to push; {} layers",
        image.platform,
        output::bytes(image.download_bytes()),
        output::bytes(image.upload_bytes()),
        image.layers.len(),
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

fn as_json(planned: &Planned, target: &str) -> Value {
    let image = match &planned.course {
        Course::Assemble { images, .. } => assembled(planned, images, target),
        Course::Reuse { document, platforms, .. } => published(planned, target, document, platforms, true),
        Course::ParentAsItIs { document, platforms } => published(planned, target, document, platforms, false),
    };
    json!({"schemaVersion": 1, "images": [image]})
}

fn parent_json(planned: &Planned) -> Value {
    json!({"reference": planned.parent.to_string(), "digest": planned.parent_descriptor.digest})
}

fn words(platforms: &[Platform]) -> Vec<String> {
    platforms.iter().map(ToString::to_string).collect()
}

fn published(planned: &Planned, target: &str, document: &Document, platforms: &[Platform], reused: bool) -> Value {
    json!({
        "key": IMAGE_KEY,
        "reference": target,
        "digest": document.digest(),
        "platforms": words(platforms),
        "reused": reused,
        "parent": parent_json(planned),
        "layers": [],
        "bytes": {"downloaded": 0, "uploaded": 0, "mounted": 0},
    })
}

/// All platforms as the one image that they come to, as `build` shows it; its digest is only known afterwards.
fn assembled(planned: &Planned, images: &[ImagePlan], target: &str) -> Value {
    let all: Vec<&PlannedLayer> = images.iter().flat_map(|image| &image.layers).collect();
    let layers: Vec<Value> = all
        .iter()
        .map(|layer| {
            json!({
                "key": layer.key,
                "kind": layer.kind.word(),
                "title": layer.title,
                "digest": layer.blob.as_ref().map(|(blob, _)| &blob.digest),
                "size": layer.bytes,
                "action": layer.action.word(),
            })
        })
        .collect();
    let mounted = all.iter().filter(|layer| layer.action == Action::Mount).filter_map(|layer| layer.bytes);
    json!({
        "key": IMAGE_KEY,
        "reference": target,
        "platforms": images.iter().map(|image| image.platform.to_string()).collect::<Vec<_>>(),
        "reused": false,
        "parent": parent_json(planned),
        "layers": layers,
        "bytes": {
            "downloaded": images.iter().map(ImagePlan::download_bytes).sum::<u64>(),
            "uploaded": images.iter().map(ImagePlan::upload_bytes).sum::<u64>(),
            "mounted": mounted.sum::<u64>(),
        },
    })
}
