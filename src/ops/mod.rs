//! Use cases: order, concurrency and wiring, nothing else.
//!
//! What is decided is decided in `plan`, what is moved is moved by `registry` and `store`.

mod traffic;

pub use traffic::{Moved, Traffic};
