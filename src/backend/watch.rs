//! What a backend says, turned into our events and, when it fails, into an error.
//!
//! Bounded: of each step the last lines are kept while it runs.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::contract::Order;
use super::error::BackendError;
use super::secret::Redaction;
use crate::event::{Event, Reporter, Task, Work};

/// How many lines of a step are kept, and how many characters of a line.
const LINES: usize = 20;
const CHARACTERS: usize = 400;
/// How many lines of one piece are looked at: some of those that are kept may be empty.
const KEPT: usize = LINES * 10;

/// What BuildKit says of a process, before how it ended.
pub(super) const ENDED_BADLY: &str = "did not complete successfully: ";

/// The steps of one build.
pub(super) struct Watch {
    reporter: Arc<dyn Reporter>,
    redaction: Redaction,
    steps: BTreeMap<String, Step>,
    /// The first step that failed, and why; it stays among the steps, since its last words may come later.
    failed: Option<(String, String)>,
    /// The process that failed, and how it ended, as the program says outside any step.
    ended_badly: Option<(String, String)>,
    /// Why it gave up, where it has a word for that.
    reason: Option<String>,
    said: Tail,
}

#[derive(Default)]
struct Step {
    name: String,
    task: Option<Task>,
    tail: Tail,
}

/// The last lines of a text that comes in pieces.
#[derive(Default)]
struct Tail {
    lines: VecDeque<String>,
    open: String,
}

impl Tail {
    fn add(&mut self, text: &str) {
        // Of a burst only the end can stay.
        let text = match memchr::memrchr_iter(b'\n', text.as_bytes()).nth(KEPT) {
            Some(at) => {
                self.open.clear();
                &text[at + 1..]
            }
            None => text,
        };
        let mut pieces = text.split('\n').peekable();
        while let Some(piece) = pieces.next() {
            // What a carriage return overwrites was progress.
            let piece = piece.rsplit('\r').find(|part| !part.is_empty()).unwrap_or_default();
            let room = CHARACTERS.saturating_sub(self.open.chars().count());
            self.open.extend(piece.chars().take(room));
            if pieces.peek().is_some() {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.open);
        if !line.trim().is_empty() {
            self.lines.push_back(line);
        }
        if self.lines.len() > LINES {
            self.lines.pop_front();
        }
    }

    fn finish(&mut self, redaction: &Redaction) -> Vec<String> {
        self.end_line();
        self.lines.drain(..).map(|line| redaction.apply(line.trim_end())).collect()
    }
}

impl Watch {
    /// Watches the build of `order`.
    pub(super) fn new(order: &Order<'_>) -> Self {
        Self::telling(Arc::clone(order.reporter), Redaction::of(order.segment.secrets.values()))
    }

    pub(super) fn telling(reporter: Arc<dyn Reporter>, redaction: Redaction) -> Self {
        Self {
            reporter,
            redaction,
            steps: BTreeMap::new(),
            failed: None,
            ended_badly: None,
            reason: None,
            said: Tail::default(),
        }
    }

    /// A step began, perhaps once more.
    pub(super) fn began(&mut self, id: &str, name: &str) {
        let name = self.redaction.apply(name);
        let step = self.steps.entry(id.to_owned()).or_default();
        step.name.clone_from(&name);
        if step.task.is_none() {
            step.task = Some(Task::start(&self.reporter, Work::Backend, &name, None));
        }
    }

    /// A step said something.
    pub(super) fn log(&mut self, id: &str, text: &str) {
        self.steps.entry(id.to_owned()).or_default().tail.add(text);
    }

    /// A step ended; of several that failed the first counts.
    pub(super) fn ended(&mut self, id: &str, name: &str, error: Option<&str>) {
        let Some(error) = error.filter(|_| self.failed.is_none()) else {
            if self.failed.as_ref().is_none_or(|(failed, _)| failed != id) {
                self.steps.remove(id);
            }
            return;
        };
        let step = self.steps.entry(id.to_owned()).or_default();
        step.task = None;
        if step.name.is_empty() {
            step.name = self.redaction.apply(name);
        }
        self.failed = Some((id.to_owned(), self.redaction.apply(error)));
    }

    /// The backend said something outside any step.
    pub(super) fn said(&mut self, line: &str) {
        if let Some((process, reason)) = line.split_once(ENDED_BADLY) {
            self.ended_badly = Some((process.to_owned(), reason.to_owned()));
        }
        self.said.add(line);
        self.said.end_line();
    }

    /// The backend said why it gives up, whatever else is still on its way.
    pub(super) fn gave_up(&mut self, reason: &str) {
        self.reason = Some(self.redaction.apply(reason));
    }

    /// Something that the user should know.
    pub(super) fn warning(&self, text: &str) {
        self.reporter.report(Event::Warning { text: self.redaction.apply(text) });
    }

    /// The error of a build that failed: of the step that failed, else of what was said last.
    pub(super) fn failure(mut self, backend: &str) -> BackendError {
        let backend = backend.to_owned();
        if let Some((id, reason)) = self.failed.take().or_else(|| self.open_step()) {
            let mut step = self.steps.remove(&id).unwrap_or_default();
            let lines = step.tail.finish(&self.redaction);
            return BackendError::Instruction { backend, instruction: step.name, reason, lines };
        }
        let mut lines = self.said.finish(&self.redaction);
        let reason = self.reason.take().unwrap_or_else(|| {
            // The two streams of a program are read side by side: a line of the other may come behind its last word.
            let at = lines.iter().rposition(|line| last_word(line).is_some()).or(lines.len().checked_sub(1));
            let last = at.map_or_else(|| "it says nothing".to_owned(), |at| lines.remove(at));
            last_word(&last).unwrap_or(&last).to_owned()
        });
        BackendError::Failed { backend, reason, lines }
    }

    /// The step of the process that failed, when its end was not told: BuildKit stops telling three seconds after the end of a
    /// build, and a long log may be behind by more than that.
    fn open_step(&mut self) -> Option<(String, String)> {
        let (process, reason) = self.ended_badly.take()?;
        let runs: Vec<_> =
            self.steps.iter().filter_map(|(id, step)| Some((id, step.name.strip_prefix("RUN ")?))).collect();
        let of_process = runs.iter().find(|(_, command)| process.contains(command.trim()));
        let (id, _) = of_process.or(if let [only] = &runs[..] { Some(only) } else { None })?;
        Some(((*id).clone(), self.redaction.apply(&reason)))
    }
}

/// The reason in a line with which a program ends that failed: `Error: no room`.
pub(super) fn last_word(line: &str) -> Option<&str> {
    line.strip_prefix("error: ").or(line.strip_prefix("Error: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_last_word_also_where_the_other_stream_comes_behind() {
        let failed = |lines: &[&str], gave_up: Option<&str>| {
            let mut watch = Watch::telling(Arc::new(crate::event::Silent), Redaction::of(std::iter::empty()));
            gave_up.into_iter().for_each(|reason| watch.gave_up(reason));
            lines.iter().for_each(|line| watch.said(line));
            let BackendError::Failed { reason, lines, .. } = watch.failure("buildah") else { panic!() };
            (reason, lines)
        };
        assert_eq!(failed(&["Error: no room", "copying"], None), ("no room".into(), vec!["copying".into()]));
        assert_eq!(failed(&["copying", "denied"], None), ("denied".into(), vec!["copying".into()]));
        assert_eq!(failed(&["bye"], Some("no quota")), ("no quota".into(), vec!["bye".into()]));
        assert_eq!(failed(&[], None), ("it says nothing".into(), vec![]));
    }

    #[test]
    fn a_step_whose_end_was_not_told_is_found_by_its_process() {
        let mut watch = Watch::telling(Arc::new(crate::event::Silent), Redaction::of(std::iter::empty()));
        for (id, name) in [("1", "COPY . ."), ("2", "RUN make all"), ("3", "RUN make docs")] {
            watch.began(id, name);
            watch.log(id, "so far");
        }
        watch.said(
            "error: failed to solve: process \"/bin/sh -c make docs\" did not complete successfully: exit code: 9",
        );
        let BackendError::Instruction { instruction, reason, lines, .. } = watch.failure("buildkit") else { panic!() };
        assert_eq!(
            (instruction.as_str(), reason.as_str(), lines),
            ("RUN make docs", "exit code: 9", vec!["so far".into()])
        );
    }

    #[test]
    fn of_a_burst_the_last_lines_stay() {
        let mut tail = Tail::default();
        tail.add("before\nopen ");
        tail.add(&"a line\n".repeat(100_000));
        tail.add("\nthe end");
        let lines = tail.finish(&Redaction::of(std::iter::empty()));
        assert_eq!(lines.len(), LINES);
        assert_eq!(lines[LINES - 2..], ["a line", "the end"]);
        tail.add("open ");
        tail.add(&format!("and shut\n{}", "\n".repeat(KEPT - 1)));
        assert_eq!(tail.finish(&Redaction::of(std::iter::empty())), ["open and shut"]);
    }
}
