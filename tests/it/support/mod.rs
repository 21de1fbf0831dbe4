//! What several capabilities need.

pub(crate) mod index;
pub(crate) mod wheel_maker;
//! What several capabilities' tests need.

pub(crate) mod fault;
pub(crate) mod tiny_registry;
pub(crate) mod vectors;
