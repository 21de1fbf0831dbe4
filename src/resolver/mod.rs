//! Resolution by uv, and the files that a lock names.
//!
//! Choosing versions is left to uv; nothing here compares two versions.

pub mod child;
pub mod index;
pub mod request;
mod requirement;
