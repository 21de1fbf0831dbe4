//! The part of the shell's language that is read without a shell.
//!
//! What shells differ in, and what depends on the state of a machine, is refused with a reason.

mod dialect;
mod expand;
mod script;
mod variables;
mod word;

pub(super) use dialect::Dialect;
pub(super) use expand::Field;
pub(super) use script::{Joint, SimpleCommand, read_script};
pub(super) use variables::Variables;
pub(super) use word::{Word, is_name};
