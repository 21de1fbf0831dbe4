//! The integration tests, one binary.

#![expect(
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test fails by panicking, and says aloud what it skipped"
)]

mod vectors_oci;
