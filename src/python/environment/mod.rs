//! The Python that an image has: where it installs, what it is, what is installed.
//!
//! All of it is read from the image's index; no interpreter runs.

mod detect;
mod installed;
mod interpreter;
mod layout;
mod libc;
mod types;

pub use crate::image::filesystem::Libc;
pub use detect::{DetectError, detect};
pub use installed::{InstalledDistribution, InstalledFilesError};
pub use types::{EnvironmentKind, InstallPlace, PythonEnvironment, PythonHints};
