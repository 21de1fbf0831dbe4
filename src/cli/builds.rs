//! `lapstrake builds`: the ledger.
//!
//! What stands in it is shown by `builds_view`; a build writes it by `ledger`.

use std::path::Path;

use lapstrake::diagnostic::Diagnose;
use lapstrake::event::Event;
use lapstrake::oci::Repository;
use lapstrake::ops;
use lapstrake::store::ledger::{BuildRecord, Filter, Ledger, Query};
use serde_json::json;

use super::args::{Format, Shown};
use super::args_builds::{
    BuildsCommand, BuildsDeleteArgs, BuildsExportArgs, BuildsImportArgs, BuildsListArgs, BuildsShowArgs,
    BuildsSyncArgs, ListFormat, LogicalOperator,
};
use super::environment::Environment;
use super::exit::{self, Outcome, UsageError};
use super::{builds_view as view, delete, ledger, output, progress, setup};

type Failure = Box<dyn Diagnose + Send>;

/// The most bytes of a file that is imported.
const CAP: u64 = 16 << 20;

/// Runs one of the commands.
pub(crate) async fn run(command: &BuildsCommand, shown: &Shown, environment: &Environment) -> Outcome {
    match command {
        BuildsCommand::List(args) => list(args, shown, environment),
        BuildsCommand::Show(args) => show(args, shown, environment),
        BuildsCommand::Delete(args) => remove(args, shown, environment),
        BuildsCommand::Export(args) => export(args, environment),
        BuildsCommand::Import(args) => import(args, shown, environment),
        BuildsCommand::Sync(args) => sync(args, shown, environment).await,
    }
}

fn reading(environment: &Environment) -> Result<Ledger, Failure> {
    Ledger::read(&ledger::path(environment)?, &environment.scratch()).map_err(exit::fail)
}

fn writing(environment: &Environment) -> Result<Ledger, Failure> {
    Ledger::open(&ledger::path(environment)?).map_err(exit::fail)
}

fn print(text: &str) -> Outcome {
    output::to_stdout(text.trim_end_matches('\n')).map_err(exit::fail)
}

fn list(args: &BuildsListArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let filters = args.filters().into_iter().map(|(column, text)| Filter::parse(column, text));
    let query = Query {
        filters: filters.collect::<Result<_, _>>().map_err(exit::fail)?,
        any: args.logical_operator == LogicalOperator::Or,
        sort: args.sort_by.parse().map_err(exit::fail)?,
        page: args.page,
        size: Some(args.size),
    };
    let listed = reading(environment)?.list(&query).map_err(exit::fail)?;
    let format = args.output_format.unwrap_or(match shown.format {
        Format::Text => ListFormat::Table,
        Format::Json => ListFormat::Json,
    });
    if format == ListFormat::Table {
        view::note(&query, &listed, &*progress::reporter(shown));
        if listed.builds.is_empty() {
            return Ok(());
        }
    }
    print(&match format {
        ListFormat::Table => view::table(&listed.builds),
        ListFormat::Json => view::as_json(&query, &listed).to_string(),
        ListFormat::Yaml => lapstrake::store::ledger::to_yaml(&view::as_json(&query, &listed)),
        ListFormat::Csv => view::csv(&listed.builds).map_err(exit::fail)?,
    })
}

fn show(args: &BuildsShowArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let record = reading(environment)?.find(&args.id).map_err(exit::fail)?;
    print(&match shown.format {
        Format::Text => view::details(&record),
        Format::Json => record.to_json().to_string(),
    })
}

fn remove(args: &BuildsDeleteArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let reporter = progress::reporter(shown);
    let ledger = writing(environment)?;
    let found = args.ids.iter().map(|id| ledger.find(id));
    let found: Vec<BuildRecord> = found.collect::<Result<_, _>>().map_err(exit::fail)?;
    if !args.yes && !delete::confirmed(&found.iter().map(view::line).collect::<Vec<_>>())? {
        reporter.report(Event::Note { text: "nothing was removed".to_owned() });
        return Ok(());
    }
    for record in &found {
        ledger.delete(&record.id).map_err(exit::fail)?;
    }
    let text = "the images stay in their registries; `lapstrake delete` removes them there".to_owned();
    reporter.report(Event::Note { text });
    let ids: Vec<&str> = found.iter().map(|record| record.id.as_str()).collect();
    print(&match shown.format {
        Format::Text => ids.iter().map(|id| format!("removed {id}\n")).collect(),
        Format::Json => json!({"schemaVersion": 1, "removed": ids}).to_string(),
    })
}

fn export(args: &BuildsExportArgs, environment: &Environment) -> Outcome {
    let yaml = reading(environment)?.find(&args.id).map_err(exit::fail)?.to_yaml();
    match &args.output {
        None => print(&yaml),
        Some(file) => std::fs::write(file, yaml).map_err(|error| {
            let what = format!("cannot write `{}`: {error}", file.display());
            exit::fail(UsageError::new(what, "name a file in a folder that is there and that you may write"))
        }),
    }
}

fn import(args: &BuildsImportArgs, shown: &Shown, environment: &Environment) -> Outcome {
    // All are read before the first is written.
    let records = args.files.iter().map(|file| imported(file));
    let records: Vec<BuildRecord> = records.collect::<Result<_, _>>()?;
    let ledger = writing(environment)?;
    let (mut text, mut items) = (String::new(), Vec::new());
    for mut record in records {
        let is_new = ledger.put(&mut record).map_err(exit::fail)?;
        text.push_str(&format!("{} {}\n", if is_new { "imported" } else { "known" }, record.id));
        items.push(json!({"id": record.id, "isNew": is_new}));
    }
    print(&match shown.format {
        Format::Text => text,
        Format::Json => json!({"schemaVersion": 1, "builds": items}).to_string(),
    })
}

fn imported(file: &Path) -> Result<BuildRecord, Failure> {
    use std::io::Read as _;
    let mut text = String::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(CAP).read_to_string(&mut text));
    read.map_err(|error| {
        let what = format!("cannot read `{}`: {error}", file.display());
        exit::fail(UsageError::new(what, "see that the file is there and can be read"))
    })?;
    let id = ledger::fresh_id().ok_or_else(|| {
        exit::fail(UsageError::new("the system gives no random numbers", "run the command on a system that does"))
    })?;
    BuildRecord::from_yaml(&text, &file.display().to_string(), id, ledger::now()).map_err(exit::fail)
}

async fn sync(args: &BuildsSyncArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let parsed = args.repositories.iter().map(|text| Repository::parse(text));
    let repositories: Vec<Repository> = parsed.collect::<Result<_, _>>().map_err(exit::fail)?;
    let domains: Vec<String> = repositories.iter().map(|at| at.registry().to_owned()).collect();
    let means = setup::means(&args.reach, &[], &domains, shown, environment)?;
    let ledger = writing(environment)?;
    let mut done = Vec::new();
    for repository in &repositories {
        let synced = ops::sync_builds(&means, &ledger, repository).await.map_err(exit::fail)?;
        for (at, why) in &synced.refused {
            let text = format!("`{at}` is passed over: {}", output::printable(why));
            means.reporter.report(Event::Warning { text });
        }
        done.push(synced);
    }
    print(&match shown.format {
        Format::Text => view::synced(&done),
        Format::Json => view::synced_as_json(&done).to_string(),
    })
}
