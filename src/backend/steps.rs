//! The log of builders that print lines for people: `STEP 2/5: RUN make` (buildah, podman), `Step 2/5 : RUN make` (docker).
//!
//! Lines that begin no step belong to the one that runs.

use super::error::BackendError;
use super::watch::Watch;

/// The steps of such a log.
pub(super) struct Steps {
    watch: Watch,
    current: Option<String>,
    count: usize,
    last: String,
}

impl Steps {
    /// Reads a log for `watch`.
    pub(super) fn new(watch: Watch) -> Self {
        Self { watch, current: None, count: 0, last: String::new() }
    }

    /// Takes one line.
    pub(super) fn take(&mut self, line: &str) {
        if let Some(name) = step(line) {
            self.end(None);
            self.count += 1;
            self.current = Some(name.to_owned());
            self.watch.began(&self.count.to_string(), name);
            return;
        }
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
        let last = std::mem::take(&mut self.last);
        let reason = ["Error: ", "error: "].iter().find_map(|prefix| last.strip_prefix(prefix)).unwrap_or(&last);
        self.end(Some(reason));
        self.watch.failure(backend)
    }
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
    use super::*;

    #[test]
    fn steps_are_known_in_the_logs_of_three_builders() {
        assert_eq!(step("STEP 2/5: RUN make"), Some("RUN make"));
        assert_eq!(step("[1/2] STEP 2/5: RUN make"), Some("RUN make"));
        assert_eq!(step("Step 2/5 : RUN a : b"), Some("RUN a : b"));
        assert_eq!(step("STEP by STEP: on"), None);
        assert_eq!(step("[notice] STEP 1/2: on"), None);
    }
}
