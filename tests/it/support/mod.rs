//! What several capabilities need.

pub(crate) mod index;
pub(crate) mod wheel_maker;
//! What several capabilities' tests need.

pub mod fault;
pub mod tiny_registry;
pub mod vectors;
