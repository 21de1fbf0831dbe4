//! BuildKit's progress as `--progress rawjson` prints it: an object a line, of vertexes, statuses and logs
//! (BuildKit, client/graph.go, `SolveStatus`).
//!
//! Statuses, which count bytes, are left aside.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::watch::{ENDED_BADLY, Watch};

#[derive(Deserialize)]
struct Status {
    #[serde(default)]
    vertexes: Vec<Vertex>,
    #[serde(default)]
    logs: Vec<Log>,
}

#[derive(Deserialize)]
struct Vertex {
    digest: String,
    #[serde(default)]
    name: String,
    started: Option<String>,
    completed: Option<String>,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct Log {
    vertex: String,
    #[serde(default)]
    data: String,
}

/// Hands one line on; what is no status is said by the program itself.
pub(super) fn take(watch: &mut Watch, line: &str) {
    if !line.starts_with('{') {
        return watch.said(line);
    }
    let Ok(status) = serde_json::from_str::<Status>(line) else { return watch.said(line) };
    // Logs first: a vertex's end and its last words may share a line.
    for log in status.logs {
        if let Ok(data) = STANDARD.decode(&log.data) {
            watch.log(&log.vertex, &String::from_utf8_lossy(&data));
        }
    }
    for vertex in status.vertexes {
        let name = instruction(&vertex.name);
        match (&vertex.started, &vertex.completed) {
            (_, Some(_)) => watch.ended(&vertex.digest, name, failure(&vertex)),
            (Some(_), None) => watch.began(&vertex.digest, name),
            (None, None) => {}
        }
    }
}

/// Why an instruction failed. One that was cancelled fell with another, and a cache that is not there is no failure.
fn failure(vertex: &Vertex) -> Option<&str> {
    let is_aside = vertex.name.starts_with("importing cache") || vertex.name.starts_with("exporting cache");
    let is_cancelled = vertex.error.contains("context canceled");
    if vertex.error.is_empty() || is_aside || is_cancelled {
        return None;
    }
    // A process's error repeats the whole instruction.
    Some(vertex.error.rfind(ENDED_BADLY).map_or(vertex.error.as_str(), |at| &vertex.error[at + ENDED_BADLY.len()..]))
}

/// The name without `[stage-1 3/4]`.
fn instruction(name: &str) -> &str {
    let rest = name.strip_prefix('[').and_then(|rest| rest.split_once("] "));
    match rest {
        Some((place, rest)) if place.contains('/') => rest,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_shown_as_the_user_wrote_them() {
        assert_eq!(instruction("[stage-0 3/4] RUN make"), "RUN make");
        assert_eq!(instruction("[2/2] RUN make"), "RUN make");
        assert_eq!(instruction("[internal] load build context"), "[internal] load build context");
        assert_eq!(instruction("exporting to image"), "exporting to image");
    }
}
