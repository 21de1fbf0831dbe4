//! What `lapstrake doctor` says of backends.
//!
//! Looks only; which of them a build takes is the library's choice.

use std::sync::Arc;

use lapstrake::backend::{Absence, Backends, Found, Surveyed};
use lapstrake::ops::{Check, Diagnosis, State};
use lapstrake::registry::{Client, ClientConfig};
use lapstrake::resolver::child::ChildEnvironment;
use serde_json::{Value, json};

use super::environment::Environment;

/// All backends, with the one that builds when the settings name `wanted`.
pub(super) async fn survey(reach: &ClientConfig, wanted: Option<&str>, environment: &Environment) -> Vec<Surveyed> {
    let children = ChildEnvironment::new(environment.variables().clone());
    let client = Arc::new(Client::new(reach.clone()));
    Backends::new(children, Arc::clone(&reach.keychain), client, Vec::new()).survey(wanted).await
}

/// A line for each, and one for the choice.
pub(super) fn diagnosis(surveyed: &[Surveyed], wanted: Option<&str>) -> Diagnosis {
    let mut diagnosis = Diagnosis::new("backends, for what only running can tell".to_owned());
    for Surveyed { name, found, took, .. } in surveyed {
        let check = |state, text| Check { state, took: Some(*took), ..Check::fine(name.clone(), text) };
        diagnosis.add(match found {
            Ok(found) => check(State::Fine, shown(found)),
            Err(Absence::Missing(reason)) => Check { took: None, ..check(State::Note, reason.clone()) },
            Err(Absence::Broken(reason)) => {
                let hint = "mend it: no other backend takes its place".to_owned();
                check(State::Warning, reason.clone()).hint(hint)
            }
        });
    }
    let chosen = surveyed.iter().find(|one| one.is_chosen).map(|one| &one.name);
    diagnosis.add(match (chosen, wanted) {
        (Some(name), Some(_)) => Check::fine("chosen", format!("{name}, by the settings")),
        (Some(name), None) => Check::fine("chosen", name.clone()),
        (None, Some(wanted)) => Check::warning("chosen", format!("none: the settings say `{wanted}`")),
        (None, None) => {
            let hint = "only builds that need one miss it; docs/guides/backends.md says what to install".to_owned();
            Check { state: State::Note, ..Check::fine("chosen", "none".to_owned()) }.hint(hint)
        }
    });
    diagnosis
}

fn shown(found: &Found) -> String {
    match (&found.version, &found.address) {
        (Some(version), Some(address)) => format!("{version}, {address}"),
        (one, other) => one.as_ref().or(other.as_ref()).cloned().unwrap_or_else(|| "it can be used".to_owned()),
    }
}

/// The same for programs.
pub(super) fn as_json(surveyed: &[Surveyed]) -> Vec<Value> {
    let one = |one: &Surveyed| {
        let found = one.found.as_ref().ok();
        json!({
            "name": one.name, "available": found.is_some(), "chosen": one.is_chosen,
            "version": found.and_then(|found| found.version.as_ref()),
            "address": found.and_then(|found| found.address.as_ref()),
            "reason": one.found.as_ref().err().map(Absence::reason),
        })
    };
    surveyed.iter().map(one).collect()
}
