//! The integration tests: one binary, one module a capability.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and say what they counted")]

mod resolver;
mod store;
mod support;
mod vectors_wheels;
