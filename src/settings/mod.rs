//! The settings of a build: ZenML's `DockerSettings` and our own `lapstrake` section, read from YAML; and the user's
//! own configuration.
//!
//! Nothing is read from disk here and no default is taken from the machine: text, file name and
//! variables come in.

mod docker;
mod error;
mod field;
mod native;
mod run;
mod substitution;
mod types;
mod user;
mod yaml;

pub use error::{Place, Problem, SettingsError, Warning};
pub use substitution::Substitution;
pub use types::{
    BuildConfig, CodeRepository, DockerSettings, Installer, LayerSettings, LocalEnvironment, Native, PythonSettings,
    Requirements, Resolution, SecretSource, Settings, StackSettings,
};
pub use user::{Placed, RegistrySettings, UserConfig};
