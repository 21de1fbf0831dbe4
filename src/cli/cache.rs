//! `lapstrake cache du|verify|prune`.
//!
//! Shows what the store says of itself.

use std::time::{Duration, SystemTime};

use lapstrake::store::{PruneOptions, Store};
use serde_json::json;

use super::args::{CacheCommand, Format, PruneArgs, Shown, StoreArgs};
use super::environment::Environment;
use super::exit::{self, Outcome, UsageError};
use super::output;

const DAY: u64 = 24 * 60 * 60;

/// Runs one of the cache commands.
pub(crate) fn run(command: &CacheCommand, shown: &Shown, environment: &Environment) -> Outcome {
    let text = match command {
        CacheCommand::Du(args) => usage(&open(args, environment)?, shown)?,
        CacheCommand::Verify(args) => verify(&open(args, environment)?, shown)?,
        CacheCommand::Prune(args) => prune(args, &open(&args.at, environment)?, shown)?,
    };
    output::to_stdout(&text).map_err(exit::fail)
}

type Shows = Result<String, Box<dyn lapstrake::diagnostic::Diagnose + Send>>;

fn open(args: &StoreArgs, environment: &Environment) -> Result<Store, Box<dyn lapstrake::diagnostic::Diagnose + Send>> {
    let root = args.store.clone().filter(|path| !path.as_os_str().is_empty()).or_else(|| environment.default_store());
    let root =
        root.ok_or_else(|| exit::fail(UsageError::new("there is no home folder", "name a folder with `--store DIR`")))?;
    Store::open(&root).map_err(exit::fail)
}

fn usage(store: &Store, shown: &Shown) -> Shows {
    let kinds = store.usage().map_err(exit::fail)?;
    let (entries, bytes) = kinds.iter().fold((0, 0), |(n, b), kind| (n + kind.entries, b + kind.bytes));
    if shown.format == Format::Json {
        let kinds: Vec<_> =
            kinds.iter().map(|kind| json!({"kind": kind.kind, "entries": kind.entries, "bytes": kind.bytes})).collect();
        return Ok(
            json!({"schemaVersion": 1, "store": store.root(), "entries": entries, "bytes": bytes, "kinds": kinds})
                .to_string(),
        );
    }
    let mut rows = vec![["KIND", "ENTRIES", "SIZE"].map(str::to_owned).to_vec()];
    rows.extend(kinds.iter().map(|kind| vec![kind.kind.clone(), kind.entries.to_string(), output::bytes(kind.bytes)]));
    rows.push(vec!["all".into(), entries.to_string(), output::bytes(bytes)]);
    Ok(format!("{}\n{}", store.root().display(), output::table(&rows, &[1, 2])))
}

fn verify(store: &Store, shown: &Shown) -> Shows {
    let found = store.verify(true).map_err(exit::fail)?;
    let damaged: Vec<String> = found.damaged.iter().map(|entry| entry.path.display().to_string()).collect();
    if shown.format == Format::Json {
        return Ok(
            json!({"schemaVersion": 1, "entries": found.entries, "bytes": found.bytes, "removed": damaged}).to_string()
        );
    }
    let mut text = format!("{} entries, {}: ", found.entries, output::bytes(found.bytes));
    match damaged.len() {
        0 => text.push_str("all whole"),
        count => text.push_str(&format!("{count} damaged, removed\n{}", damaged.join("\n"))),
    }
    Ok(text)
}

#[expect(clippy::disallowed_methods, reason = "pruning by age starts from the time at which the command was given")]
fn prune(args: &PruneArgs, store: &Store, shown: &Shown) -> Shows {
    if !args.all && args.older_than.is_none() && args.keep.is_none() {
        let hint = "say `--all`, `--older-than DAYS` or `--keep MIB`";
        return Err(exit::fail(UsageError::new("nothing says what is to be removed", hint)));
    }
    let options = PruneOptions {
        now: SystemTime::now(),
        older_than: args.older_than.map(|days| Duration::from_secs(days.saturating_mul(DAY))),
        keep_bytes: args.keep.map(|mib| mib.saturating_mul(1 << 20)),
        everything: args.all,
    };
    let pruned = store.prune(&options).map_err(exit::fail)?;
    if shown.format == Format::Json {
        return Ok(json!({
            "schemaVersion": 1, "removed": pruned.entries, "freed": pruned.bytes, "left": pruned.left, "inUse": pruned.kept_in_use,
        })
        .to_string());
    }
    let mut text = format!(
        "removed {} entries, {}; {} left",
        pruned.entries,
        output::bytes(pruned.bytes),
        output::bytes(pruned.left)
    );
    if pruned.kept_in_use > 0 {
        text.push_str(&format!("; {} kept, since a build is running", pruned.kept_in_use));
    }
    Ok(text)
}
