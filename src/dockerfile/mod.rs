//! Dockerfiles as text: the one that stands for what is assembled, and what RUN lines do.
//!
//! Nothing is built here.

mod equivalent;
mod instruction;
pub mod run;

pub use equivalent::{EquivalentImage, Exactness, equivalent, exec_form};
pub use instruction::{Command, HereDocument, Mount, MountKind, Run};
