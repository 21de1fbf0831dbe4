//! Facts of this machine: the source walk, git's view of it, requirement files, the local Python environment.
//!
//! Facts only; what they mean for a build is decided by `plan`.

pub mod context;
pub mod copy;
pub mod git;
pub mod ignore;
pub mod python;
pub mod requirements;
pub mod secrets;
pub mod source;
