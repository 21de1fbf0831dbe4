//! Parts that integration tests share.

pub(crate) mod index;
