//! What several capabilities need.

pub(crate) mod index;
pub(crate) mod wheel_maker;
