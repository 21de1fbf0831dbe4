//! Parts that integration tests share.

pub(crate) mod index;
//! What several capabilities need.

pub(crate) mod wheel_maker;
