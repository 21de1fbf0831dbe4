//! `lapstrake delete`.
//!
//! Asks before anything goes; the removing is the library's.

use std::io::{BufRead as _, IsTerminal as _};

use lapstrake::event::Event;
use lapstrake::oci::{Reference, Repository};
use lapstrake::ops::{self, KeyTags, Means};
use serde_json::{Value, json};

use super::args::{DeleteArgs, Format, Shown};
use super::environment::Environment;
use super::exit::{self, Outcome, UsageError};
use super::{config, output, setup};

/// Removes what the references name, or the tags that builds left.
pub(crate) async fn run(args: &DeleteArgs, shown: &Shown, environment: &Environment) -> Outcome {
    match &args.key_tags {
        Some(repository) => key_tags(args, repository, shown, environment).await,
        None => references(args, shown, environment).await,
    }
}

async fn references(args: &DeleteArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let references: Vec<Reference> =
        args.references.iter().map(|text| config::reference(text)).collect::<Result<_, _>>()?;
    let domains: Vec<String> = references.iter().map(|reference| reference.domain().to_owned()).collect();
    let means = setup::means(&args.reach, &[], &domains, shown, environment)?;
    let named = |reference: &Reference| {
        let more = if reference.tag().is_none() { ", with all tags that stand for it" } else { "" };
        format!("{reference}{more}")
    };
    if !args.yes && !confirmed(&references.iter().map(named).collect::<Vec<_>>())? {
        means.reporter.report(Event::Note { text: "nothing was removed".to_owned() });
        return Ok(());
    }
    let mut removed = Vec::new();
    for reference in &references {
        let was_there = ops::remove(&means, reference).await.map_err(exit::fail)?;
        if shown.format == Format::Text {
            let what = if was_there { "removed" } else { "was not there:" };
            output::to_stdout(&format!("{what} {reference}")).map_err(exit::fail)?;
        }
        removed.push(json!({"reference": reference.to_string(), "removed": was_there}));
    }
    match shown.format {
        Format::Text => Ok(()),
        Format::Json => {
            output::to_stdout(&json!({"schemaVersion": 1, "references": removed}).to_string()).map_err(exit::fail)
        }
    }
}

/// Asks on the terminal whether these things are to go; without one, nobody can be asked.
pub(crate) fn confirmed(things: &[String]) -> Result<bool, Box<dyn lapstrake::diagnostic::Diagnose + Send>> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        let what = "nobody can be asked whether this is meant";
        return Err(exit::fail(UsageError::new(what, "pass `--yes`")));
    }
    for thing in things {
        output::to_stderr(thing);
    }
    output::to_stderr("Remove? It cannot be undone. [y/N]");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    Ok(read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}

async fn key_tags(args: &DeleteArgs, repository: &str, shown: &Shown, environment: &Environment) -> Outcome {
    let repository = Repository::parse(repository).map_err(exit::fail)?;
    let means = setup::means(&args.reach, &[], &[repository.registry().to_owned()], shown, environment)?;
    let found = ops::key_tags(&means, &repository).await.map_err(exit::fail)?;
    let stay = match args.yes {
        true => ops::remove_key_tags(&means, &repository, &found).await.map_err(exit::fail)?,
        false => Vec::new(),
    };
    note(&means, args.yes, &found, &stay);
    let text = match shown.format {
        Format::Text => {
            let gone = found.idle.iter().filter(|(tag, _)| !stay.contains(tag));
            let rows: Vec<Vec<String>> =
                gone.map(|(tag, digest)| vec![tag.clone(), digest.short().to_owned()]).collect();
            if rows.is_empty() {
                return Ok(());
            }
            output::table(&rows, &[])
        }
        Format::Json => as_json(&repository, args.yes, &found, &stay).to_string(),
    };
    output::to_stdout(&text).map_err(exit::fail)
}

fn note(means: &Means, done: bool, found: &KeyTags, stay: &[String]) {
    let tags = |count: usize| if count == 1 { "1 tag".to_owned() } else { format!("{count} tags") };
    let kept = format!("{} of images in use kept", tags(found.used));
    let text = match (found.idle.len(), done) {
        (0, _) => format!("no tag of a build is idle; {kept}"),
        (count, false) => format!("{} would go, {kept}; `--yes` removes them", tags(count)),
        (count, true) => format!("{} removed, {kept}", tags(count - stay.len())),
    };
    means.reporter.report(Event::Note { text });
    if !stay.is_empty() {
        let text = format!(
            "{} stay: the registry removes no tag alone, and what they stand for is needed: {}",
            tags(stay.len()),
            stay.join(", ")
        );
        means.reporter.report(Event::Warning { text });
    }
}

fn as_json(repository: &Repository, done: bool, found: &KeyTags, stay: &[String]) -> Value {
    let tag = |(tag, digest): &(String, lapstrake::oci::Digest)| json!({"tag": tag, "digest": digest, "removed": done && !stay.contains(tag)});
    json!({
        "schemaVersion": 1,
        "repository": repository.to_string(),
        "idle": found.idle.iter().map(tag).collect::<Vec<_>>(),
        "inUse": found.used,
    })
}
