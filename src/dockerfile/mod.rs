//! Dockerfiles as text: the one that stands for what is assembled.
//!
//! Nothing is built here, and no Dockerfile is read.

mod equivalent;
mod instruction;

pub use equivalent::{EquivalentImage, Exactness, equivalent, exec_form};
pub use instruction::{Copy, HereDocument};
