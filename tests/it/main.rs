//! The integration tests, one binary.

#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says aloud what it skipped"
)]

mod registry_client;
mod registry_conformance;
mod support;
mod vectors_oci;
mod vectors_registry;
