//! What several capabilities need.

pub(crate) mod wheel_maker;
