//! `lapstrake build`.
//!
//! stdout holds one `repository@digest` line an image, or one JSON object.

use std::time::Instant;

use lapstrake::event::Event;
use lapstrake::oci::Reference;
use lapstrake::ops::{self, BuildRequest, Built, Moved, Output};
use serde_json::{Value, json};

use super::args::{BuildCommand, Format, Shown};
use super::environment::Environment;
use super::exit::{self, Outcome};
use super::{config, ledger, output, reuse, setup};

/// Builds, and prints what came of it.
pub(crate) async fn run(command: &BuildCommand, shown: &Shown, environment: &Environment) -> Outcome {
    let started = Instant::now();
    let args = &command.build;
    let prepared = config::prepare(args, shown, environment).await?;
    if let Some(record) = reuse::earlier(command, &prepared, environment).await? {
        return output::to_stdout(&reuse::shown(&record, &prepared, shown.format)).map_err(exit::fail);
    }
    if args.create_repository && prepared.pipeline().output == Output::Registry {
        let targets: Vec<Reference> = prepared.requests.iter().flat_map(|request| request.targets.clone()).collect();
        setup::create_repositories(&args.reach, &prepared.insecure, environment, &targets, &prepared.means).await?;
    }
    let built = ops::build_all(&prepared.means, &prepared.requests).await.map_err(exit::fail)?;
    let seconds = started.elapsed().as_secs_f64();
    let moved = prepared.means.traffic.moved();
    prepared.means.reporter.report(Event::Note { text: summary(&built, moved, seconds) });
    let recorded = ledger::record(&prepared, &built, seconds, environment).await;
    let text = match shown.format {
        Format::Text => built.iter().map(|image| image.reference.as_str()).collect::<Vec<_>>().join("\n"),
        Format::Json => {
            let images = prepared.requests.iter().zip(&built);
            let images: Vec<Value> = images.map(|(request, image)| as_json(request, image, seconds)).collect();
            json!({"schemaVersion": 1, "build": recorded, "images": images, "bytes": moved}).to_string()
        }
    };
    output::to_stdout(&text).map_err(exit::fail)
}

fn summary(built: &[Built], moved: Moved, seconds: f64) -> String {
    let reused = built.iter().filter(|image| image.reused).count();
    let what = match (built.len(), reused) {
        (1, 0) => "built".to_owned(),
        (1, _) => "reused".to_owned(),
        (all, 0) => format!("built {all} images"),
        (all, reused) if all == reused => format!("reused {all} images"),
        (all, reused) => format!("built {} and reused {reused} images", all - reused),
    };
    format!(
        "{what} in {seconds:.2} s: {} down, {} up, {} mounted",
        output::bytes(moved.downloaded),
        output::bytes(moved.uploaded),
        output::bytes(moved.mounted),
    )
}

fn as_json(request: &BuildRequest, built: &Built, seconds: f64) -> Value {
    let layers: Vec<Value> = built
        .layers
        .iter()
        .map(|layer| {
            json!({
                "key": layer.key,
                "kind": layer.kind.word(),
                "title": layer.title,
                "digest": layer.descriptor.digest,
                "size": layer.descriptor.size,
                "action": layer.action.word(),
            })
        })
        .collect();
    json!({
        "key": request.keys.first(),
        "keys": request.keys,
        "reference": built.reference,
        "digest": built.descriptor.digest,
        "platforms": built.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "reused": built.reused,
        "parent": {"reference": built.parent.to_string(), "digest": built.parent_descriptor.digest},
        "layers": layers,
        "bytes": built.moved,
        "seconds": (seconds * 1000.0).round() / 1000.0,
    })
}
