//! How builds are shown: a table, details, JSON, CSV.
//!
//! What is in the ledger may come from a registry, and is made printable.

use lapstrake::event::{Event, Reporter};
use lapstrake::ops::Synced;
use lapstrake::store::ledger::{BuildRecord, Column, ImageRecord, Listed, Query};
use serde_json::{Value, json};

use super::exit::UsageError;
use super::output;

/// Characters of a text that a table shows.
const CELL: usize = 40;

/// Says on stderr how many builds there are beside those shown.
pub(crate) fn note(query: &Query, listed: &Listed, reporter: &dyn Reporter) {
    let shown = listed.builds.len() as u64;
    let first = query.page.saturating_sub(1).saturating_mul(query.size.unwrap_or(0)) + 1;
    let text = match (shown, listed.total) {
        (0, 0) if query.filters.is_empty() => "no build is in the ledger".to_owned(),
        (0, 0) => "no build in the ledger is like that".to_owned(),
        (0, total) => format!("there is no page {}: {total} builds fill less", query.page),
        (shown, total) if shown == total => return,
        (shown, total) => {
            format!("builds {first} to {} of {total}; `--page` and `--size` show others", first + shown - 1)
        }
    };
    reporter.report(Event::Note { text });
}

/// One line a build.
pub(crate) fn table(builds: &[BuildRecord]) -> String {
    let names = ["ID", "PIPELINE", "STACK", "VERSIONS", "CHECKSUM", "LOCAL", "IMAGES", "CREATED", "SECONDS"];
    let mut rows = vec![names.map(str::to_owned).to_vec()];
    rows.extend(builds.iter().map(|record| {
        let text = |text: &Option<String>| output::clipped(text.as_deref().unwrap_or("-"), CELL);
        vec![
            record.id.short().to_owned(),
            text(&record.pipeline),
            text(&record.stack),
            versions(record),
            record.checksum.as_deref().map_or("-", |checksum| checksum.get(..12).unwrap_or(checksum)).to_owned(),
            if record.is_local { "yes" } else { "no" }.to_owned(),
            images(record),
            record.created.to_the_second().replace('T', " ").trim_end_matches('Z').to_owned(),
            record.duration_seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}")),
        ]
    }));
    output::table(&rows, &[8])
}

fn versions(record: &BuildRecord) -> String {
    let versions = &record.versions;
    let named = [("lapstrake", &versions.lapstrake), ("python", &versions.python), ("zenml", &versions.zenml)];
    let known = named.into_iter().filter_map(|(name, version)| Some(format!("{name} {}", version.as_deref()?)));
    let known = known.collect::<Vec<_>>().join(", ");
    if known.is_empty() { "-".to_owned() } else { known }
}

/// The first image with a short digest, and how many more there are.
fn images(record: &BuildRecord) -> String {
    let Some(first) = record.images.values().next() else { return "-".to_owned() };
    let short = match first.image.split_once("@sha256:") {
        Some((name, hex)) => format!("{name}@sha256:{}", hex.get(..12).unwrap_or(hex)),
        None => output::clipped(&first.image, CELL),
    };
    match record.images.len() {
        1 => short,
        several => format!("{short} and {} more", several - 1),
    }
}

/// A build in one line, for a question.
pub(crate) fn line(record: &BuildRecord) -> String {
    let pipeline = record.pipeline.as_deref().map_or_else(String::new, |pipeline| format!(" of pipeline `{pipeline}`"));
    output::printable(&format!("build {}{pipeline}, {}", record.id, record.created.to_the_second()))
}

/// All that is known of a build.
pub(crate) fn details(record: &BuildRecord) -> String {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let yes = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
    let mut rows = vec![
        row("build", record.id.to_string()),
        row("created", record.created.to_the_second()),
        row("pipeline", or_none(&record.pipeline)),
        row("stack", or_none(&record.stack)),
        row("stack checksum", or_none(&record.stack_checksum)),
        row("versions", versions(record)),
        row("checksum", or_none(&record.checksum)),
        row("local", yes(record.is_local)),
        row("contains code", yes(record.contains_code)),
        row("seconds", record.duration_seconds.map_or_else(|| "-".to_owned(), |seconds| seconds.to_string())),
    ];
    for (key, image) in &record.images {
        rows.push(row("", String::new()));
        rows.extend(image_rows(key, image));
    }
    let mut text = output::table(&rows, &[]);
    for (key, image) in &record.images {
        for (what, content) in [("requirements", &image.requirements), ("Dockerfile", &image.dockerfile)] {
            let Some(content) = content else { continue };
            text.push_str(&format!("\n\n{what} of {}:", output::printable(key)));
            for line in content.lines() {
                text.push_str(&format!("\n  {}", output::printable(line)));
            }
        }
    }
    text
}

fn image_rows(key: &str, image: &ImageRecord) -> Vec<Vec<String>> {
    let made = match (&image.made_by, image.reused) {
        (Some(build), _) => format!("by build {build}, reused by this one"),
        (None, true) => "by an earlier build".to_owned(),
        (None, false) => "by this build".to_owned(),
    };
    let code = match (image.contains_code, image.requires_code_download) {
        (true, _) => "in the image",
        (false, true) => "fetched when a container starts",
        (false, false) => "-",
    };
    let mut rows = vec![row("image", key.to_owned()), row("  name", image.image.clone())];
    let optional = [
        ("  settings checksum", &image.settings_checksum),
        ("  plan key", &image.plan_key),
        ("  step", &image.step_name),
    ];
    rows.extend(optional.into_iter().filter_map(|(name, value)| Some(row(name, value.clone()?))));
    rows.extend([row("  made", made), row("  code", code.to_owned())]);
    rows
}

fn row(name: &str, value: String) -> Vec<String> {
    vec![name.to_owned(), value]
}

/// The list as one object.
pub(crate) fn as_json(query: &Query, listed: &Listed) -> Value {
    json!({
        "schemaVersion": 1,
        "builds": listed.builds,
        "page": query.page,
        "size": query.size,
        "total": listed.total,
    })
}

/// The list as CSV (RFC 4180) with a header; images as `KEY=IMAGE`, with blanks between them.
pub(crate) fn csv(builds: &[BuildRecord]) -> Result<String, UsageError> {
    let failed =
        |error: String| UsageError::new(format!("the list cannot be written as CSV: {error}"), "use another format");
    let mut writer = csv::Writer::from_writer(Vec::new());
    let header = Column::ALL.map(|column| if column == Column::Image { "images" } else { column.name() });
    writer.write_record(header).map_err(|error| failed(error.to_string()))?;
    for record in builds {
        let row = Column::ALL.map(|column| cell(record, column));
        writer.write_record(row).map_err(|error| failed(error.to_string()))?;
    }
    let bytes = writer.into_inner().map_err(|error| failed(error.to_string()))?;
    String::from_utf8(bytes).map_err(|error| failed(error.to_string()))
}

fn cell(record: &BuildRecord, column: Column) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let image = |(key, image): (&String, &ImageRecord)| format!("{key}={}", image.image);
    match column {
        Column::Id => record.id.to_string(),
        Column::Created => record.created.to_string(),
        Column::Pipeline => text(&record.pipeline),
        Column::Stack => text(&record.stack),
        Column::StackChecksum => text(&record.stack_checksum),
        Column::LapstrakeVersion => text(&record.versions.lapstrake),
        Column::PythonVersion => text(&record.versions.python),
        Column::ZenmlVersion => text(&record.versions.zenml),
        Column::Checksum => text(&record.checksum),
        Column::IsLocal => record.is_local.to_string(),
        Column::ContainsCode => record.contains_code.to_string(),
        Column::Image => record.images.iter().map(image).collect::<Vec<_>>().join(" "),
        Column::Duration => record.duration_seconds.map(|seconds| seconds.to_string()).unwrap_or_default(),
    }
}

/// One line a repository.
pub(crate) fn synced(done: &[Synced]) -> String {
    let mut rows = vec![["REPOSITORY", "IMAGES", "ADDED", "KNOWN"].map(str::to_owned).to_vec()];
    rows.extend(done.iter().map(|synced| {
        let counts = [synced.images, synced.added.len(), synced.known].map(|count| count.to_string());
        [vec![synced.repository.to_string()], counts.to_vec()].concat()
    }));
    output::table(&rows, &[1, 2, 3])
}

/// The same as one object.
pub(crate) fn synced_as_json(done: &[Synced]) -> Value {
    let one = |synced: &Synced| {
        let refused = synced.refused.iter().map(|(at, why)| json!({"reference": at.to_string(), "why": why}));
        json!({
            "repository": synced.repository.to_string(),
            "images": synced.images,
            "added": synced.added,
            "known": synced.known,
            "refused": refused.collect::<Vec<_>>(),
        })
    };
    json!({"schemaVersion": 1, "repositories": done.iter().map(one).collect::<Vec<_>>()})
}
