//! What several capabilities' tests need.

pub mod fault;
pub mod tiny_registry;
pub mod vectors;
