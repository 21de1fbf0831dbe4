//! The integration tests: one binary, one module a capability.

//! Integration tests: one module a capability, one binary.
#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says aloud what it counted or skipped"
)]

mod layer_readers;
mod resolver;
mod serve;
mod settings;
mod store;
mod support;
mod full_disk;
mod layer_readers;
mod outputs;
mod serve;
mod settings;
mod store;
mod vectors_oci;
mod vectors_parent;
mod vectors_sources;
mod vectors_wheels;
