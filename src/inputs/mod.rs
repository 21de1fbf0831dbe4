//! Facts of this machine: the source walk and requirement files.
//!
//! Facts only; what they mean for a build is decided by `plan`.

pub mod ignore;
pub mod requirements;
pub mod source;
