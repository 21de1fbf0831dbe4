//! Integration tests: one module a capability, one binary.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking and say what they counted")]

mod serve;
mod store;
mod layer_readers;
//! The integration tests, one binary.

#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says aloud what it skipped"
)]

mod settings;
mod vectors_oci;
