//! Requirement files, read as pip reads them, with all that they include.
//!
//! Versions are not looked at; choosing them is the work of `resolver`.

mod error;
mod line;
mod read;
mod set;
mod sourced;
mod text;

pub use error::{Position, RequirementsError};
pub use read::{RequirementSource, read};
pub use set::{LineKind, RequirementFile, RequirementLine, RequirementOption, RequirementSet};
pub use sourced::{RequirementOrigin, SourcedRequirements};
pub(crate) use text::without_credentials;
