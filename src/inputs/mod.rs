//! Facts of this machine: the source walk, requirement files, the local Python environment.
//!
//! Facts only; what they mean for a build is decided by `plan`.

pub mod ignore;
pub mod python;
pub mod requirements;
pub mod source;
