//! A build of the ledger in the place of a new one: by its name, or by ZenML's checksum.
//!
//! Only builds whose images are all still there count; by plan key images are reused without the ledger.

use lapstrake::diagnostic::Diagnose;
use lapstrake::event::Event;
use lapstrake::ops::{self, ZenmlImage};
use lapstrake::plan::build_checksum;
use lapstrake::store::ledger::{BuildRecord, Ledger, Wanted};
use serde_json::{Value, json};

use super::args::{BuildCommand, Checksum, Format};
use super::config::Prepared;
use super::environment::Environment;
use super::exit::{self, UsageError};
use super::ledger;

type Failure = Box<dyn Diagnose + Send>;

/// The build that stands in for a new one, when the command asks for one.
pub(super) async fn earlier(
    args: &BuildCommand,
    prepared: &Prepared,
    environment: &Environment,
) -> Result<Option<BuildRecord>, Failure> {
    if let Some(id) = &args.build_id {
        return named(id, prepared, environment).await.map(Some);
    }
    let Some(Checksum::Zenml) = args.checksum else { return Ok(None) };
    if prepared.pipeline().no_reuse || prepared.pipeline().no_cache {
        return Ok(None);
    }
    let ledger = Ledger::open(&ledger::path(environment)?).map_err(exit::fail)?;
    let images = zenml_images(prepared).await?;
    let pipeline = prepared.pipeline();
    let wanted = Wanted {
        checksum: checksum(prepared, &images),
        stack: pipeline.settings.lapstrake.stack.name.clone(),
        pipeline: pipeline.pipeline.clone(),
        ..Wanted::default()
    };
    let registry = pipeline.targets.first().map(|target| target.domain().to_owned());
    ops::find_reusable_build(&prepared.means, &ledger, &wanted, registry.as_deref()).await.map_err(exit::fail)
}

async fn named(id: &str, prepared: &Prepared, environment: &Environment) -> Result<BuildRecord, Failure> {
    let ledger = Ledger::open(&ledger::path(environment)?).map_err(exit::fail)?;
    let record = ledger.find(id).map_err(exit::fail)?;
    let gone = ops::still_there(&prepared.means, &record).await.map_err(exit::fail)?;
    match gone.first() {
        None => Ok(record),
        Some(image) => {
            let what = format!("build `{}` cannot be used: its image `{image}` is gone", record.id.short());
            Err(exit::fail(UsageError::new(what, "leave `--build` away, and the images are made again")))
        }
    }
}

/// What ZenML would record of each image, in the order of the requests.
pub(super) async fn zenml_images(prepared: &Prepared) -> Result<Vec<ZenmlImage>, Failure> {
    let mut images = Vec::new();
    for request in &prepared.requests {
        images.push(ops::zenml_image(&prepared.means, request).await.map_err(exit::fail)?);
    }
    Ok(images)
}

/// ZenML's checksum of the whole build.
pub(super) fn checksum(prepared: &Prepared, images: &[ZenmlImage]) -> String {
    let of = |key: &str| {
        let at = prepared.requests.iter().position(|request| request.keys.iter().any(|known| known == key))?;
        images.get(at).map(|image| image.settings_checksum.as_str())
    };
    build_checksum(prepared.keys.iter().filter_map(|key| Some((key.as_str(), of(key)?))))
}

/// The images of the build, as `build` prints those that it makes.
pub(super) fn shown(record: &BuildRecord, prepared: &Prepared, format: Format) -> String {
    let text = format!("build `{}` stands in: nothing is made", record.id.short());
    prepared.means.reporter.report(Event::Note { text });
    match format {
        Format::Text => {
            let mut lines: Vec<&str> = Vec::new();
            for image in record.images.values() {
                if !lines.contains(&image.image.as_str()) {
                    lines.push(&image.image);
                }
            }
            lines.join("\n")
        }
        Format::Json => {
            let image = |(key, image): (&String, &lapstrake::store::ledger::ImageRecord)| json!({"key": key, "keys": [key], "reference": image.image, "reused": true});
            let images: Vec<Value> = record.images.iter().map(image).collect();
            json!({"schemaVersion": 1, "build": record.id, "images": images}).to_string()
        }
    }
}
