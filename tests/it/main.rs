//! The integration tests, in one binary.

mod vectors_sources;
