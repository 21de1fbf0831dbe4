//! `.dockerignore` files, read and matched as BuildKit does it.
//!
//! Nothing here touches the disk; the walk asks about each path that it meets.

mod expression;
mod file;
mod glob;
mod pattern;
mod rules;

pub use file::read_patterns;
pub(super) use glob::matches as glob_matches;
pub use rules::{IgnoreError, IgnoreRules, Judgement, Matched};
