//! Runs the cases in order and counts them.
//!
//! Knows nothing of what a case does; a case that panics has failed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use crate::tools;
use crate::world::World;

/// Why a case ended early.
#[derive(Clone, Debug)]
pub(crate) enum Halt {
    /// Something is not as it must be.
    Failed(String),
    /// Something that the case needs is not on this machine.
    Skipped(String),
}

impl From<std::io::Error> for Halt {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<serde_json::Error> for Halt {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(format!("not the JSON that was expected: {error}"))
    }
}

/// The figures of a case that passed, a line each.
pub(crate) type Figures = Result<Vec<String>, Halt>;

/// One case.
#[derive(Clone, Copy)]
pub(crate) struct Case {
    /// A sentence.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) run: fn(&World) -> Figures,
}

/// Ends a case unless `holds`.
pub(crate) fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Halt> {
    if holds { Ok(()) } else { Err(Halt::Failed(otherwise())) }
}

/// Ends a case unless both are equal.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), Halt> {
    check(found == expected, || format!("{what} is {found:?}, not {expected:?}"))
}

#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Runs the cases whose name contains one of the arguments.
pub(crate) fn run(cases: &[Case]) -> ExitCode {
    let filters: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_chosen = |case: &&Case| filters.is_empty() || filters.iter().any(|filter| case.name.contains(filter));
    for part in tools::parts() {
        println!("part  {part}");
    }
    let mut count = Count::default();
    match World::new() {
        Ok(world) => {
            cases.iter().filter(is_chosen).for_each(|case| run_case(&world, *case, &mut count));
        }
        Err(error) => {
            println!("FAILED  the suite's folder cannot be made: {error}");
            count.failed += 1;
        }
    }
    let _ = std::fs::remove_dir(crate::segments::temporary());
    println!();
    println!("{} passed, {} failed, {} skipped", count.passed, count.failed, count.skipped);
    if count.failed > 0 || count.passed + count.skipped == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run_case(world: &World, case: Case, count: &mut Count) {
    let start = Instant::now();
    let ended = catch_unwind(AssertUnwindSafe(|| (case.run)(world)));
    let ended = ended.unwrap_or_else(|_| Err(Halt::Failed("the case panicked".to_owned())));
    let seconds = start.elapsed().as_secs_f64();
    match ended {
        Ok(figures) => {
            println!("ok       {:6.1} s  {}", seconds, case.name);
            figures.iter().for_each(|line| println!("{}{line}", " ".repeat(19)));
            count.passed += 1;
        }
        Err(Halt::Skipped(why)) => {
            println!("skipped  {:6.1} s  {}: {why}", seconds, case.name);
            count.skipped += 1;
        }
        Err(Halt::Failed(why)) => {
            println!("FAILED   {:6.1} s  {}", seconds, case.name);
            why.lines().for_each(|line| println!("{}{line}", " ".repeat(19)));
            count.failed += 1;
        }
    }
}
