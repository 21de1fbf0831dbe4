//! The section of a plan that says where the code comes from: what goes in, what stays out, how large, what looks secret.
//!
//! Decides nothing; the text has a few names, the JSON all of them.

use std::collections::BTreeMap;

use lapstrake::inputs::source::{SourceKind, SourceTree};
use lapstrake::ops::{ChosenBy, Code, CodeDelivery};
use serde_json::{Value, json};

use super::output;

/// How many names a line shows.
const NAMED: usize = 5;
/// How many characters of a commit's ID a line shows.
const SHORT: usize = 12;

/// The section as people read it.
pub(crate) fn lines(code: &Code) -> Vec<String> {
    let mut lines = vec![format!("code    {}", delivery(code))];
    lines.extend(code.reasons.iter().map(|reason| format!("why     {reason}")));
    if let Some(tree) = &code.tree {
        let files = tree.file_count();
        let noun = if files == 1 { "file" } else { "files" };
        let largest: Vec<String> =
            largest(tree).into_iter().map(|(name, bytes)| format!("{name} {}", output::bytes(bytes))).collect();
        let shown = if largest.is_empty() { String::new() } else { format!(": {}", listed(&largest)) };
        lines.push(format!("in      {files} {noun}, {}{shown}", output::bytes(tree.total_bytes())));
        let ignored: Vec<String> = tree.ignored().iter().map(ToString::to_string).collect();
        if !ignored.is_empty() {
            lines.push(format!("out     by {}: {}", chosen_by(code), listed(&ignored)));
        }
    }
    lines.extend(code.suspects.iter().map(|suspect| format!("SECRET? {} looks like {}", suspect.path, suspect.what)));
    lines.iter().map(|line| output::printable(line)).collect()
}

fn delivery(code: &Code) -> String {
    let root = code.root.display();
    match &code.delivery {
        CodeDelivery::Include => format!("in the image, from {root}"),
        CodeDelivery::Repository(found) => {
            let commit = found.commit.get(..SHORT).unwrap_or(&found.commit);
            let branch = found.branch.as_ref().map(|branch| format!(" of {branch}")).unwrap_or_default();
            let folder = match found.subdirectory.as_str() {
                "" => String::new(),
                folder => format!(", folder {folder}"),
            };
            format!("fetched by the container from {} at {commit}{branch}{folder}", found.url)
        }
        CodeDelivery::Archive(found) => {
            let state = if found.is_there { "there already" } else { "to upload" };
            format!("fetched by the container from {}, {}, {state}", found.uri, output::bytes(found.size))
        }
        CodeDelivery::Nothing => "none".to_owned(),
    }
}

fn chosen_by(code: &Code) -> String {
    match &code.chosen_by {
        ChosenBy::Git => "git".to_owned(),
        ChosenBy::IgnoreFile(path) => path.strip_prefix(&code.root).unwrap_or(path).display().to_string(),
        ChosenBy::Everything => "nothing".to_owned(),
    }
}

/// The names at the top of the tree with the bytes below them, the largest first.
fn largest(tree: &SourceTree) -> Vec<(String, u64)> {
    let mut sums: BTreeMap<&[u8], u64> = BTreeMap::new();
    for entry in tree.entries() {
        if let SourceKind::File { size, .. } = entry.kind {
            let top = entry.path.as_bytes().split(|byte| *byte == b'/').next().unwrap_or_default();
            *sums.entry(top).or_default() += size;
        }
    }
    let mut sums: Vec<(String, u64)> =
        sums.into_iter().map(|(name, bytes)| (String::from_utf8_lossy(name).into_owned(), bytes)).collect();
    sums.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    sums
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The section for machines.
pub(crate) fn as_json(code: &Code) -> Value {
    let mut section = json!({
        "root": code.root,
        "delivery": code.delivery.word(),
        "reasons": code.reasons,
        "secrets": code.suspects.iter()
            .map(|suspect| json!({"path": suspect.path.to_string(), "what": suspect.what}))
            .collect::<Vec<_>>(),
    });
    if let Some(tree) = &code.tree {
        section["files"] = json!(tree.file_count());
        section["bytes"] = json!(tree.total_bytes());
        section["chosenBy"] = json!(chosen_by(code));
        section["out"] = tree.ignored().iter().map(ToString::to_string).collect();
    }
    match &code.delivery {
        CodeDelivery::Repository(found) => {
            section["repository"] = json!({
                "url": found.url, "commit": found.commit, "subdirectory": found.subdirectory, "branch": found.branch,
            });
        }
        CodeDelivery::Archive(found) => {
            section["archive"] =
                json!({"uri": found.uri, "digest": found.digest, "size": found.size, "isThere": found.is_there});
        }
        CodeDelivery::Include | CodeDelivery::Nothing => {}
    }
    section
}
