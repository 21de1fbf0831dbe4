//! Requirements with the source that they come from, as ZenML's builder would write them into files.
//!
//! Where a text comes from is for others to say; it is only kept and labelled here.

use std::fmt;
use std::path::{Path, PathBuf};

use super::set::{LineKind, RequirementLine, RequirementSet};

/// Who asks for requirements; the order of the variants is the order of installation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequirementOrigin {
    /// The packages of the local Python environment.
    LocalEnvironment,
    /// The stack: its components' integrations, and its own lines.
    Stack,
    /// The lines that a component of the stack has of its own, by the component's type.
    Component(String),
    /// What a deployment's server needs.
    Deployment,
    /// The required integrations.
    Integrations,
    /// The project's `pyproject.toml`.
    PyProject,
    /// The setting `requirements`, or the file that was found in its place.
    User,
}

impl RequirementOrigin {
    /// The word for it in machine-readable output.
    pub fn word(&self) -> &'static str {
        match self {
            Self::LocalEnvironment => "local-environment",
            Self::Stack => "stack",
            Self::Component(_) => "component",
            Self::Deployment => "deployment",
            Self::Integrations => "integrations",
            Self::PyProject => "pyproject",
            Self::User => "user",
        }
    }

    /// The name of the file that ZenML puts into the build context; a component's file has its type in the name.
    pub fn file_name(&self) -> String {
        match self {
            Self::LocalEnvironment => ".zenml_local_requirements".to_owned(),
            Self::Stack => ".zenml_stack_integration_requirements".to_owned(),
            Self::Component(kind) => format!(".zenml_{kind}_requirements"),
            Self::Deployment => ".zenml_deployment_requirements".to_owned(),
            Self::Integrations => ".zenml_integration_requirements".to_owned(),
            Self::PyProject => ".zenml_pyproject_requirements".to_owned(),
            Self::User => ".zenml_user_requirements".to_owned(),
        }
    }
}

/// The requirements of one source.
#[derive(Clone, PartialEq, Eq)]
pub struct SourcedRequirements {
    /// Who asks for them.
    pub origin: RequirementOrigin,
    /// The name of ZenML's file.
    pub name: String,
    /// Where they stand, for people: a setting, a file, a command.
    pub place: String,
    /// The text of ZenML's file, byte for byte; it may hold a credential.
    pub text: String,
    /// The folder that relative paths in `set` start from.
    pub folder: PathBuf,
    /// What the text says, with all that it includes; each line has the name of its own place as `file`.
    pub set: RequirementSet,
}

impl SourcedRequirements {
    /// The requirements of `origin`.
    pub fn new(
        origin: RequirementOrigin,
        place: impl Into<String>,
        text: impl Into<String>,
        folder: &Path,
        set: RequirementSet,
    ) -> Self {
        let name = origin.file_name();
        Self { origin, name, place: place.into(), text: text.into(), folder: folder.to_owned(), set }
    }
}

impl fmt::Debug for SourcedRequirements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} from {} ({} bytes): {:?}", self.name, self.place, self.text.len(), self.set)
    }
}

impl RequirementLine {
    /// The place of a project that is to be installed in place, behind `-e`; `None` for other lines.
    pub fn editable(&self) -> Option<&str> {
        let rest = self.text.strip_prefix("-e ").filter(|_| self.kind == LineKind::Editable)?;
        Some(rest.split(" --").next().unwrap_or(rest).trim())
    }
}
