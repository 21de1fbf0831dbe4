//! The integration tests: one binary, one module a capability.

mod vectors_parent;
