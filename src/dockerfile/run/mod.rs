//! RUN lines: what their commands do, where that is known without running them.
//!
//! Nothing is run or looked up here: whether a path, an interpreter or a user exists is the caller's to see.

mod accounts;
mod commands;
mod files;
mod installation;
mod mode;
mod mounted;
mod not_known;
mod options;
mod pattern;
mod pip;
mod pip_options;
mod poetry;
mod read;
mod requirement;
mod shell;
mod step;
mod sync;
mod uv;
mod venv;

#[cfg(test)]
mod tests;

pub use accounts::{AccountTool, AddGroup, AddMember, AddUser, Password};
pub use installation::{Cache, ConfigFile, Place};
pub use mode::Mode;
pub use mounted::Mounted;
pub use not_known::NotKnown;
pub use pattern::Pattern;
pub use pip::{Interpreter, LocalArchive, PipInstall, ProjectFolder};
pub use poetry::{PoetryInstall, PoetrySetting, PoetrySettingName};
pub use read::read_run;
pub use step::{ChownGroup, KnownRun, RunStep, Step};
pub use sync::{Groups, UvSync};
pub use venv::{Venv, VenvTool};
