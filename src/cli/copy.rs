//! `lapstrake copy`.
//!
//! stdout holds one `repository@digest` line a target, or one JSON object; the table of what was done is a note.

use std::time::Instant;

use lapstrake::event::Event;
use lapstrake::ops::{self, Copied, CopiedTo, CopyRequest, Item, Locator};
use lapstrake::plan::Action;
use serde_json::{Value, json};

use super::args::{CopyArgs, Format, Shown};
use super::environment::Environment;
use super::exit::{self, Outcome};
use super::{config, output, setup};

/// Copies, and prints what came of it.
pub(crate) async fn run(args: &CopyArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let started = Instant::now();
    let here = config::working_folder()?;
    let place = |text: &String| Locator::parse(text, &here).map_err(exit::fail);
    let request = CopyRequest {
        source: place(&args.source)?,
        targets: args.targets.iter().map(place).collect::<Result<_, _>>()?,
        platforms: args.platforms.clone(),
        referrers: args.referrers,
    };
    let domains = request.targets.iter().filter_map(|target| target.domain().map(str::to_owned));
    let means = setup::means(&args.reach, &[], &domains.collect::<Vec<_>>(), shown, environment)?;
    if args.create_repository {
        let of_registry = |target: &Locator| match target {
            Locator::Registry(reference) => Some(reference.clone()),
            _ => None,
        };
        let targets: Vec<_> = request.targets.iter().filter_map(of_registry).collect();
        setup::create_repositories(&args.reach, &[], environment, &targets, &means).await?;
    }
    let copied = match args.all_tags {
        true => ops::copy_all_tags(&means, &request).await.map_err(exit::fail)?,
        false => vec![ops::copy(&means, &request).await.map_err(exit::fail)?],
    };
    let seconds = started.elapsed().as_secs_f64();
    let text = match shown.format {
        Format::Text => {
            means.reporter.report(Event::Note { text: copied.iter().map(table).collect::<Vec<_>>().join("\n\n") });
            let targets = copied.iter().flat_map(|one| &one.targets);
            targets.map(|target| target.reference.as_str()).collect::<Vec<_>>().join("\n")
        }
        Format::Json => {
            let images: Vec<Value> = copied.iter().map(as_json).collect();
            let seconds = (seconds * 1000.0).round() / 1000.0;
            json!({"schemaVersion": 1, "images": images, "seconds": seconds}).to_string()
        }
    };
    means.reporter.report(Event::Note { text: summary(&copied, seconds) });
    output::to_stdout(&text).map_err(exit::fail)
}

fn summary(copied: &[Copied], seconds: f64) -> String {
    let sum = |count: fn(&Copied) -> u64| output::bytes(copied.iter().map(count).sum());
    format!(
        "copied in {seconds:.2} s: {} down, {} up, {} mounted",
        sum(|one| one.moved.downloaded),
        sum(|one| one.moved.uploaded),
        sum(|one| one.moved.mounted),
    )
}

/// What was done, as people say it.
fn word(action: &Action) -> &'static str {
    match action {
        Action::Hit => "exists",
        Action::Mount => "mounted",
        Action::Copy | Action::Build => "copied",
    }
}

fn table(copied: &Copied) -> String {
    let mut parts = Vec::new();
    for target in &copied.targets {
        let names = target.names.join(", ");
        let heading = match names.is_empty() {
            true => target.reference.clone(),
            false => format!("{} as {names}", target.reference),
        };
        let mut rows = vec![["DONE", "WHAT", "SIZE", "DIGEST"].map(str::to_owned).to_vec()];
        rows.extend(target.items.iter().map(|item| {
            let size = output::bytes(item.descriptor.size);
            let digest = item.descriptor.digest.short().to_owned();
            vec![word(&item.action).to_owned(), item.kind.word().to_owned(), size, digest]
        }));
        parts.push(format!("{heading}\n{}", output::table(&rows, &[2])));
    }
    parts.join("\n\n")
}

fn as_json(copied: &Copied) -> Value {
    json!({
        "source": copied.source,
        "digest": copied.descriptor.digest,
        "mediaType": copied.descriptor.media_type,
        "platforms": copied.platforms.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "targets": copied.targets.iter().map(target_as_json).collect::<Vec<_>>(),
        "bytes": copied.moved,
    })
}

fn target_as_json(target: &CopiedTo) -> Value {
    json!({
        "reference": target.reference,
        "names": target.names,
        "items": target.items.iter().map(item_as_json).collect::<Vec<_>>(),
    })
}

fn item_as_json(item: &Item) -> Value {
    json!({
        "kind": item.kind.word(),
        "digest": item.descriptor.digest,
        "size": item.descriptor.size,
        "mediaType": item.descriptor.media_type,
        "action": item.action.word(),
    })
}
