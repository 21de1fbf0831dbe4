//! The log of builders that print lines for people: `STEP 2/5: RUN make` (buildah, podman), `Step 2/5 : RUN make` (docker).
//!
//! Lines that begin no step belong to the one that runs. What runs and what they announce goes to standard output, what a command
//! complains of and why the builder gives up to standard error; which of the two is read first is nobody's to say.

use super::error::BackendError;
use super::watch::{Watch, last_word};
use crate::resolver::child::Stream;

/// The steps of such a log.
pub(super) struct Steps {
    watch: Watch,
    current: Option<String>,
    count: usize,
    last: String,
    /// Why the builder gives up, unless standard error goes on.
    reason: Option<String>,
}

impl Steps {
    /// Reads a log for `watch`.
    pub(super) fn new(watch: Watch) -> Self {
        Self { watch, current: None, count: 0, last: String::new(), reason: None }
    }

    /// Takes one line.
    pub(super) fn take(&mut self, stream: Stream, line: &str) {
        if stream == Stream::Error {
            if let Some(complaint) = self.reason.take() {
                self.log(&complaint);
            }
            if gives_up(line) {
                self.reason = Some(line.to_owned());
                return;
            }
        }
        if let Some(name) = step(line) {
            self.end(None);
            self.count += 1;
            self.current = Some(name.to_owned());
            self.watch.began(&self.count.to_string(), name);
            return;
        }
        self.log(line);
    }

    fn log(&mut self, line: &str) {
        match &self.current {
            Some(_) => self.watch.log(&self.count.to_string(), &format!("{line}\n")),
            None => self.watch.said(line),
        }
        if !line.trim().is_empty() {
            self.last = line.to_owned();
        }
    }

    /// Ends the step that runs.
    pub(super) fn end(&mut self, error: Option<&str>) {
        if let Some(name) = self.current.take() {
            self.watch.ended(&self.count.to_string(), &name, error);
        }
    }

    /// The error of a build that failed in the step that runs.
    pub(super) fn failure(mut self, backend: &str) -> BackendError {
        match (self.reason.take(), &self.current) {
            (Some(reason), None) => self.watch.gave_up(last_word(&reason).unwrap_or(&reason)),
            (None, None) => {}
            (reason, Some(_)) => {
                let reason = reason.unwrap_or_else(|| std::mem::take(&mut self.last));
                self.end(Some(last_word(&reason).unwrap_or(&reason)));
            }
        }
        self.watch.failure(backend)
    }
}

/// Whether a line of standard error says why a builder gives up: `Error: ...`, or docker's of a command that failed.
fn gives_up(line: &str) -> bool {
    last_word(line).is_some() || line.starts_with("The command '") && line.contains("' returned a non-zero code: ")
}

/// The instruction that a line announces.
fn step(line: &str) -> Option<&str> {
    // Of several stages buildah says `[1/2] STEP 2/3: ...`.
    let line = match line.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
        Some((place, rest)) if place.contains('/') => rest,
        _ => line,
    };
    let rest = line.strip_prefix("STEP ").or(line.strip_prefix("Step "))?;
    let (place, name) = rest.split_once(": ").or(rest.split_once(" : "))?;
    let is_place = place.trim_end().split('/').all(|number| number.parse::<u32>().is_ok());
    is_place.then(|| name.trim())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::secret::Redaction;
    use super::*;
    use crate::event::Silent;

    #[test]
    fn the_reason_is_the_builders_whichever_stream_is_read_first() {
        let output = [(Stream::Output, "STEP 1/1: RUN make"), (Stream::Output, "making")];
        for last in ["Error: exit status 2", "The command 'make' returned a non-zero code: 2"] {
            let complaints = [(Stream::Error, "Error: no rule"), (Stream::Error, last)];
            let orders = [
                [output[0], output[1], complaints[0], complaints[1]],
                [complaints[0], complaints[1], output[0], output[1]],
                [output[0], complaints[0], complaints[1], output[1]],
            ];
            for order in orders {
                let watch = Watch::telling(Arc::new(Silent), Redaction::of(std::iter::empty()));
                let mut steps = Steps::new(watch);
                order.iter().for_each(|(stream, line)| steps.take(*stream, line));
                let BackendError::Instruction { instruction, reason, lines, .. } = steps.failure("buildah") else {
                    panic!()
                };
                assert_eq!((instruction.as_str(), reason.as_str()), ("RUN make", last_word(last).unwrap_or(last)));
                assert!(lines.contains(&"making".to_owned()), "{lines:?}");
            }
        }
    }

    #[test]
    fn steps_are_known_in_the_logs_of_three_builders() {
        assert_eq!(step("STEP 2/5: RUN make"), Some("RUN make"));
        assert_eq!(step("[1/2] STEP 2/5: RUN make"), Some("RUN make"));
        assert_eq!(step("Step 2/5 : RUN a : b"), Some("RUN a : b"));
        assert_eq!(step("STEP by STEP: on"), None);
        assert_eq!(step("[notice] STEP 1/2: on"), None);
    }
}
