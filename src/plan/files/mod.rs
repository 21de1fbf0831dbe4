//! Files that a stage of a Dockerfile places: what a layer of them holds, under which key, and what is there afterwards.
//!
//! Pure: contents are named by digest, and read when the layer is made.

mod accounts;
mod arguments;
mod commands;
mod home;
mod layers;
mod placed;
mod stage;

pub(crate) use arguments::is_remote;
pub use arguments::{ArgumentError, CopyArguments, CopyText, CopyVerb};
pub use commands::{LinkOptions, NewOwner, RemoveOptions};
pub use layers::{CopiedFiles, CopySource, copied_key, copied_layer, files_layer};
pub use placed::{FileContent, PlacedEntry, PlacedFiles, PlacedKind, files_key};
pub use stage::{Blocked, Draft, NotNative, Placed, StageFiles};
