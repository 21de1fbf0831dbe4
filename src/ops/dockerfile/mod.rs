//! Dockerfiles built as they say: instruction by instruction, here where it can be done and by a backend where not.
//!
//! Nothing is added to the image that the file does not ask for; settings of ZenML play no part.

mod accounts;
mod by_text;
mod copies;
mod evaluate;
mod interpreter;
mod local_project;
mod origin;
mod plan;
mod poetry;
mod poetry_environment;
mod poetry_root;
mod poetry_settings;
mod poetry_tool;
mod project_files;
mod python;
mod recipe;
mod rehearsal;
mod request;
mod requirements;
mod run;
mod secrets;
mod segments;
mod stage;
mod steps;
mod sync;
mod sync_words;
mod uv_python;
mod uv_runs;
mod uv_venv;
mod venv;

pub(super) use plan::plan;
pub use request::DockerfileRequest;
pub use steps::{How, InstructionStep};
