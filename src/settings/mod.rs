//! The settings of a build: ZenML's `DockerSettings` and our own `lapstrake` section, read from YAML; and the user's
//! own configuration.
//!
//! Nothing is read from disk here and no default is taken from the machine: text, file name and
//! variables come in.

mod build_config;
mod docker;
mod document;
mod error;
mod field;
mod levels;
mod merge;
mod native;
mod overrides;
mod print;
mod provenance;
mod run;
mod schema;
mod secret;
mod substitution;
mod table;
mod types;
mod user;
mod yaml;

pub use error::{Place, Problem, SettingsError, Warning};
pub use overrides::Overrides;
pub use provenance::{Effective, Origin, Provenance};
pub use run::{Documents, RunSettings};
pub use schema::schema;
pub use secret::{MASK, is_secret_name, without_userinfo};
pub use substitution::Substitution;
pub use types::{
    BuildConfig, CodeRepository, DockerSettings, Installer, LayerSettings, LocalEnvironment, Native, PythonSettings,
    Requirements, Resolution, SecretSource, Settings, StackComponent, StackSettings,
};
pub use user::{Placed, RegistrySettings, UserConfig};
