//! Integration tests: one module a capability, one binary.
#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says aloud what it counted or skipped"
)]

mod full_disk;
mod layer_readers;
mod outputs;
mod serve;
mod settings;
mod store;
mod vectors_oci;
