//! What a person or a program sees of a running command, on stderr.
//!
//! Results never come through here.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use lapstrake::event::{Event, Reporter, Silent, TaskId, Work};

use super::args::{ProgressMode, Shown};
use super::output;

/// Characters of a name that a line shows, and that stand before a bar.
const NAME: usize = 64;
const BAR_NAME: usize = 32;

/// The reporter that the flags ask for.
pub(crate) fn reporter(shown: &Shown) -> Arc<dyn Reporter> {
    match shown.progress {
        ProgressMode::Json => Arc::new(JsonLines),
        _ if shown.quiet => Arc::new(Silent),
        ProgressMode::None => Arc::new(WarningsOnly),
        ProgressMode::Auto if std::io::stderr().is_terminal() => Arc::new(Bars::default()),
        ProgressMode::Auto | ProgressMode::Plain => Arc::new(Lines::default()),
    }
}

/// One JSON object a line.
struct JsonLines;

impl Reporter for JsonLines {
    fn report(&self, event: Event) {
        if let Ok(line) = serde_json::to_string(&event) {
            output::to_stderr(&line);
        }
    }
}

struct WarningsOnly;

impl Reporter for WarningsOnly {
    fn report(&self, event: Event) {
        if let Event::Warning { text } = event {
            output::to_stderr(&format!("warning: {text}"));
        }
    }
}

fn verb(work: Work) -> &'static str {
    match work {
        Work::Index => "indexing",
        Work::Resolve => "resolving",
        Work::Download => "downloading",
        Work::Wheel => "building",
        Work::Layer => "layering",
        Work::Upload => "uploading",
        Work::Copy => "copying",
        Work::Mount => "mounting",
        Work::Publish => "publishing",
        Work::Backend => "building",
    }
}

/// One line a task, when it ends.
#[derive(Default)]
struct Lines {
    running: Mutex<BTreeMap<TaskId, (Work, String, u64)>>,
}

impl Reporter for Lines {
    fn report(&self, event: Event) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { task, work, name, .. } => {
                running.insert(task, (work, name, 0));
            }
            Event::Advanced { task, bytes } => {
                if let Some(entry) = running.get_mut(&task) {
                    entry.2 += bytes;
                }
            }
            Event::Finished { task } => {
                if let Some((work, name, moved)) = running.remove(&task) {
                    let moved = if moved > 0 { format!("  {}", output::bytes(moved)) } else { String::new() };
                    output::to_stderr(&format!("{:>11} {}{moved}", verb(work), output::shortened(&name, NAME)));
                }
            }
            Event::Note { text } => output::to_stderr(&text),
            Event::Warning { text } => output::to_stderr(&format!("warning: {text}")),
        }
    }
}

/// Bars on a terminal; a task that is over leaves no trace.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    running: Mutex<BTreeMap<TaskId, ProgressBar>>,
}

impl Bars {
    fn start(&self, work: Work, name: &str, bytes: Option<u64>) -> ProgressBar {
        let bar = bytes.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
        let template = match bytes {
            Some(_) => "{prefix:>11.cyan} {msg:32!} {bar:24.cyan/dim} {decimal_bytes:>10} of {decimal_total_bytes}",
            None => "{prefix:>11.cyan} {msg:32!} {spinner} {decimal_bytes:>10}",
        };
        let bar = self.all.add(bar);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("━━ "));
        }
        bar.set_prefix(verb(work));
        bar.set_message(output::shortened(name, BAR_NAME));
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

impl Reporter for Bars {
    fn report(&self, event: Event) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Started { task, work, name, bytes } => {
                running.insert(task, self.start(work, &name, bytes));
            }
            Event::Advanced { task, bytes } => {
                if let Some(bar) = running.get(&task) {
                    bar.inc(bytes);
                }
            }
            Event::Finished { task } => {
                if let Some(bar) = running.remove(&task) {
                    bar.finish_and_clear();
                    self.all.remove(&bar);
                }
            }
            Event::Note { text } => self.all.suspend(|| output::to_stderr(&text)),
            Event::Warning { text } => self.all.suspend(|| output::to_stderr(&format!("warning: {text}"))),
        }
    }
}
