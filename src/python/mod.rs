//! Python packaging: wheels, records, install schemes, installed distributions, locks.
//!
//! Nothing here chooses versions or fetches files.

pub mod copied;
pub mod entry_points;
pub mod environment;
pub mod filename;
pub mod install;
pub mod integrations;
pub mod layering;
pub mod local_project;
pub mod lock;
pub mod marker;
pub mod metadata;
mod normalize;
pub mod origin;
pub mod pip_config;
pub mod poetry;
mod pylock;
mod pylock_write;
pub mod record;
mod scheme;
pub mod tags;
#[cfg(test)]
#[path = "../../tests/it/support/wheel_maker.rs"]
pub(crate) mod testing;
pub mod uv_environment;
pub mod uv_project;
pub mod virtual_environment;
pub mod virtualenv_package;
mod wheel;
pub mod write;
pub mod zip;

pub use normalize::normalize_name;
pub use scheme::InstallScheme;
pub use wheel::{Refusal, Wheel, WheelError};
