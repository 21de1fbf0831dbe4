//! Dockerfiles: the language as BuildKit reads it, and the file that stands for what is assembled.
//!
//! Text becomes stages with typed instructions, and words are expanded on request. Nothing is built here, and no file is read.

mod apply;
mod canonical;
mod directive;
mod equivalent;
mod error;
mod expand;
mod flags;
mod healthcheck;
mod here_document;
mod instruction;
mod mount;
mod node;
mod parse;
mod rename;
mod scope;
mod stages;
#[cfg(test)]
mod tests;
mod types;
mod words;

pub mod run;

pub use apply::{ApplyError, StageConfig, absolute, is_config};
pub use canonical::canonical;
pub use equivalent::{EquivalentImage, Exactness, equivalent, exec_form};
pub use error::{DockerfileError, Problem};
pub use expand::{ExpandError, ExpandProblem, Lookup, expand_word, expand_words};
pub use mount::{Mount, MountKind, MountProblem, Sharing};
pub use node::{Node, Nodes, read_nodes};
pub use rename::renamed;
pub use scope::{BuildArguments, Scope, is_predefined};
pub use stages::{Origin, StageError};
pub use types::{
    ArgBeforeFrom, Command, Copy, Directives, Dockerfile, Healthcheck, HereDocument, Instruction, InstructionKind,
    Lines, Run, Script, Stage,
};
