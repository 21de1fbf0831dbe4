//! `lapstrake build`.
//!
//! stdout holds one `repository@digest` line an image, or one JSON object.

use std::time::Instant;

use lapstrake::event::Event;
use lapstrake::ops::{self, Built, Output};
use serde_json::{Value, json};

use super::args::{BuildArgs, Format, Shown};
use super::environment::Environment;
use super::exit::{self, Outcome};
use super::{config, ledger, output, setup};

/// The key of the only image that a build without steps makes (ZenML's name for it).
pub(crate) const IMAGE_KEY: &str = "orchestrator";

/// Builds, and prints what came of it.
pub(crate) async fn run(args: &BuildArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let started = Instant::now();
    let prepared = config::prepare(args, shown, environment)?;
    if args.create_repository && prepared.request.output == Output::Registry {
        let targets = &prepared.request.targets;
        setup::create_repositories(&args.reach, &prepared.insecure, environment, targets, &prepared.means).await?;
    }
    let built = ops::build(&prepared.means, &prepared.request).await.map_err(exit::fail)?;
    let seconds = started.elapsed().as_secs_f64();
    prepared.means.reporter.report(Event::Note { text: summary(&built, seconds) });
    let recorded = ledger::record(&prepared, &built, seconds, environment).await;
    let text = match shown.format {
        Format::Text => built.reference.clone(),
        Format::Json => {
            json!({"schemaVersion": 1, "build": recorded, "images": [as_json(&built, seconds)]}).to_string()
        }
    };
    output::to_stdout(&text).map_err(exit::fail)
}

fn summary(built: &Built, seconds: f64) -> String {
    let moved = built.moved;
    let what = if built.reused { "reused" } else { "built" };
    format!(
        "{what} in {seconds:.2} s: {} down, {} up, {} mounted",
        output::bytes(moved.downloaded),
        output::bytes(moved.uploaded),
        output::bytes(moved.mounted),
    )
}

fn as_json(built: &Built, seconds: f64) -> Value {
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
        "key": IMAGE_KEY,
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
