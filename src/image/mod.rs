//! Images: the parent's filesystem index, config changes, assembly and validation.

pub mod accounts;
pub mod filesystem;
pub mod mode;
pub mod users;

pub mod annotation;
mod assemble;

pub use assemble::{
    AddedLayer, AssembleError, ConfigChange, Image, InstructedConfig, InstructedStep, MAX_LAYERS, ParentImage, assemble,
};
