//! Images: the parent's filesystem index, config changes, assembly and validation.

pub mod filesystem;
pub mod users;
