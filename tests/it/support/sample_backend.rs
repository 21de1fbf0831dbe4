//! The sample backend, as a program that a test puts on a path.
//!
//! It needs a Python, and is skipped where there is none.

use std::path::Path;

/// The name that backends of others have.
pub(crate) const NAME: &str = "lapstrake-backend-sample";
const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/backend-sample/lapstrake-backend-sample");

/// A script that runs it; `None` where it cannot be run.
pub(crate) fn script() -> Option<String> {
    let places = ["/usr/bin/python3", "/usr/local/bin/python3", "/opt/homebrew/bin/python3"];
    let Some(python) = places.into_iter().find(|place| Path::new(place).exists()) else {
        println!("skipped: the sample backend needs python3");
        return None;
    };
    Some(format!("#!/bin/sh\nexec {python} {SAMPLE} \"$@\"\n"))
}
