//! The integration tests: one binary, one module a capability.

mod support;
mod vectors_wheels;
mod wheels_against_uv;
