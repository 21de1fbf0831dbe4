//! Why a use case failed.
//!
//! Conditions that only show when things are put together; all others pass through with the
//! message of the module that met them.

use std::fmt;
use std::path::PathBuf;

use crate::diagnostic::{Class, Diagnose};
use crate::dockerfile::DockerfileError;
use crate::oci::{DocumentError, ReferenceError};
use crate::python::lock::LockError;

/// Why a use case failed.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// The settings name no parent.
    #[error("`settings.docker.parent_image` is not set")]
    ParentUnset,
    /// A backend's image has nowhere to go.
    #[error("`{instruction}` needs a backend, which leaves its image in a registry, and the output is none")]
    SegmentNeedsRegistry {
        /// What needs a backend.
        instruction: String,
    },
    /// The registry has no such image.
    #[error("parent image `{reference}` does not exist")]
    NoParent {
        /// As the settings name it.
        reference: String,
    },
    /// The registry has no image of this name.
    #[error("image `{reference}` does not exist")]
    NoImage {
        /// As it was named.
        reference: String,
    },
    /// The parent's document contradicts itself.
    #[error("parent image `{reference}` cannot be read")]
    ParentDocument {
        /// As the settings name it.
        reference: String,
        /// What is wrong with it.
        #[source]
        source: DocumentError,
    },
    /// An index inside an index.
    #[error("parent image `{reference}` is an index whose entry is an index again")]
    NestedIndex {
        /// As the settings name it.
        reference: String,
    },
    /// The parent does not serve the platform.
    #[error("parent image `{reference}` has no image for `{wanted}`; it has {have}")]
    Platform {
        /// As the settings name it.
        reference: String,
        /// The platform asked for.
        wanted: String,
        /// The platforms there are.
        have: String,
    },
    /// The parent's config names no platform, which every config must (image-spec, config.md).
    #[error("parent image `{reference}` does not say which platform it is for")]
    NoPlatform {
        /// As the settings name it.
        reference: String,
    },
    /// A Dockerfile that cannot be used.
    #[error("{}:{problem}", path.display())]
    Dockerfile {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: Box<DockerfileError>,
    },
    /// An instruction of a Dockerfile that cannot be carried out.
    #[error("{place}: `{text}`")]
    Instruction {
        /// File and line.
        place: String,
        /// The instruction's first line.
        text: String,
        /// Why.
        #[source]
        source: Lower,
    },
    /// A mount demands a secret that nobody gave.
    #[error("the secret `{id}` is required, and there is none")]
    NoSecret {
        /// Its name.
        id: String,
    },
    /// An instruction copies files, and there is no folder to copy from.
    #[error("there is no build context to copy from")]
    NoContext,
    /// `uv sync --locked` of a project whose lock is not up to date.
    #[error("`uv.lock` does not fit `pyproject.toml`, and `--locked` asks for one that does\n{explanation}")]
    OutdatedLock {
        /// uv's messages.
        explanation: String,
    },
    /// Nowhere to publish to.
    #[error("nothing says where the image goes")]
    NoTarget,
    /// A target is a digest.
    #[error("target `{0}` is a digest, and a digest cannot be chosen")]
    TargetIsDigest(String),
    /// A reference is none.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// A file of the project is missing or unreadable.
    #[error("cannot read `{}`", path.display())]
    ReadFile {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file of our own cannot be written.
    #[error("cannot write `{}`", path.display())]
    WriteFile {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// With `strict`: files that would go into the image look like secrets.
    #[error("files that look like secrets would be delivered with the code: {files}")]
    Secrets {
        /// Their names, in backticks.
        files: String,
    },
    /// A lock of the project makes no sense.
    #[error("lock file `{}` cannot be used", path.display())]
    Lock {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: LockError,
    },
    /// `--locked` without a lock.
    #[error("`--locked` needs `{}`, which is not there", path.display())]
    NoLock {
        /// Where it would be.
        path: PathBuf,
    },
    /// The project is to be installed, and its files are not there.
    #[error("`{command}` installs the project, whose files stay out of the image")]
    NoProject {
        /// The command.
        command: String,
    },
    /// A folder that a wheel is built from is not what it was.
    #[error("folder `{}` changed: since the lock was made, or while it was read", path.display())]
    FolderChanged {
        /// Which.
        path: PathBuf,
    },
    /// A task ended by a panic.
    #[error("a worker ended unexpectedly")]
    Worker(#[source] tokio::task::JoinError),
    /// The parent's layers could not be indexed.
    #[error("cannot index layer `{digest}` of parent image `{reference}`")]
    ParentLayer {
        /// As the settings name it.
        reference: String,
        /// The layer.
        digest: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A layer of the parent unpacks to something else than its config says.
    #[error("layer `{digest}` of parent image `{reference}` unpacks to `{found}`, its config says `{expected}`")]
    ParentDiffId {
        /// As the settings name it.
        reference: String,
        /// The layer.
        digest: String,
        /// The config's diff_id.
        expected: String,
        /// The layer's.
        found: String,
    },
    /// A layer of what is copied from could not be indexed.
    #[error("cannot index layer `{digest}` of `{name}`, which is copied from")]
    CopySource {
        /// The stage or image.
        name: String,
        /// The layer.
        digest: String,
        /// Why.
        #[source]
        source: crate::image::filesystem::IndexError,
    },
    /// A blob of the store is gone or damaged.
    #[error("blob `{digest}` is no longer in the store")]
    LostBlob {
        /// Which.
        digest: String,
    },
    /// A blob could not be brought into the store.
    #[error("cannot fetch blob `{digest}`")]
    FetchBlob {
        /// Which.
        digest: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Two things that the settings ask for cannot go together.
    #[error("{what}")]
    Contradiction {
        /// What contradicts what.
        what: String,
        /// The cure.
        hint: String,
    },
    /// An error of a module below, with its own message and cure.
    #[error(transparent)]
    Below(Lower),
}

/// An error of a floor below, shown as it is.
#[derive(Debug)]
pub struct Lower(Box<dyn Diagnose + Send + Sync>);

impl Lower {
    /// Any error that knows its cure.
    pub(super) fn of(error: impl Diagnose + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

impl OpsError {
    /// Why a source distribution gives no wheel that the image takes, where that is what failed.
    pub(super) fn unbuilt(&self) -> Option<String> {
        use crate::resolver::ResolveError::{Build, NoPython, NotForTarget};
        let Self::Below(Lower(error)) = self else { return None };
        let error: &(dyn std::error::Error + 'static) = &**error;
        match error.downcast_ref()? {
            Build { requirement, explanation } => {
                let said = explanation.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
                Some(format!("`{requirement}` does not build on this machine: {said}"))
            }
            error @ (NotForTarget { .. } | NoPython) => Some(error.to_string()),
            _ => None,
        }
    }
}

impl fmt::Display for Lower {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for Lower {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Lets `?` lift the diagnosed errors of the floors below.
macro_rules! lifted {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for OpsError {
            fn from(error: $error) -> Self {
                Self::Below(Lower(Box::new(error)))
            }
        }
    )*};
}
lifted!(
    crate::artifacts::ArtifactError,
    crate::backend::BackendError,
    crate::backend::SecretError,
    crate::image::AssembleError,
    crate::image::filesystem::LookupError,
    crate::image::filesystem::MergeError,
    crate::image::users::UserError,
    crate::inputs::copy::CopyError,
    crate::inputs::copy::LayersError,
    crate::inputs::ignore::IgnoreError,
    crate::inputs::python::ListingError,
    crate::inputs::requirements::RequirementsError,
    crate::inputs::source::SourceLayerError,
    crate::inputs::source::WalkError,
    crate::layer::EntryPathError,
    crate::layer::LayerError,
    crate::plan::files::ArgumentError,
    crate::python::WheelError,
    crate::python::environment::DetectError,
    crate::python::integrations::IntegrationError,
    crate::python::layering::NoRoom,
    LockError,
    crate::python::write::PlaceError,
    crate::registry::KeychainError,
    crate::registry::LoginError,
    crate::registry::RegistryError,
    crate::resolver::FetchError,
    crate::resolver::ResolveError,
    crate::python::local_project::NotNative,
    crate::store::ArchiveError,
    crate::store::ledger::LedgerError,
    crate::store::SinkError,
    super::copy::CopyError,
    super::remove::RemoveError,
    super::segment::SegmentError,
    crate::store::StoreError,
);

impl Diagnose for OpsError {
    fn class(&self) -> Class {
        match self {
            Self::ParentUnset
            | Self::SegmentNeedsRegistry { .. }
            | Self::NoTarget
            | Self::TargetIsDigest(_)
            | Self::Reference(_) => Class::Usage,
            Self::NoLock { .. } | Self::NoProject { .. } | Self::FolderChanged { .. } | Self::Contradiction { .. } => {
                Class::Usage
            }
            Self::ReadFile { .. } | Self::Secrets { .. } => Class::Usage,
            Self::Lock { source, .. } => source.class(),
            Self::Dockerfile { problem, .. } => problem.class(),
            Self::Instruction { source, .. } => source.0.class(),
            Self::NoContext | Self::NoSecret { .. } | Self::OutdatedLock { .. } => Class::Usage,
            Self::Worker(_) => Class::Defect,
            Self::Below(error) => error.0.class(),
            _ => Class::Failed,
        }
    }

    fn hint(&self) -> Option<String> {
        let text = match self {
            Self::SegmentNeedsRegistry { .. } => {
                "publish to a registry by `--tag`, `lapstrake registry serve` has one; then `lapstrake copy REF oci:DIR`"
            }
            Self::ParentUnset => "name one, as in `parent_image: python:3.12-slim`, or pass `--parent-image`",
            Self::NoParent { .. } | Self::NoImage { .. } => {
                "see that the name and tag are right, and that the registry lets you pull it"
            }
            Self::ParentDocument { .. }
            | Self::NestedIndex { .. }
            | Self::ParentLayer { .. }
            | Self::ParentDiffId { .. } => {
                "the parent image is damaged or of a form that no runtime takes; push it again, or use another"
            }
            Self::CopySource { source, .. } => return source.hint(),
            Self::NoPlatform { .. } => {
                "set `os` and `architecture` in its config, as `crane mutate --set-platform linux/amd64` does"
            }
            Self::Platform { .. } => "choose one of these with `--platform`",
            Self::NoTarget => "pass `--tag REGISTRY/NAME:TAG`, or `--registry URI`, or `--output oci:DIR`",
            Self::TargetIsDigest(_) => "name a tag, as in `registry/name:tag`",
            Self::Reference(source) => return source.hint(),
            Self::ReadFile { .. } => "see that the file is there and can be read",
            Self::NoProject { .. } => {
                "set `allow_including_files_in_images: true`, and see that the source root has files"
            }
            Self::FolderChanged { .. } => "make the lock again, or build while nobody writes there",
            Self::WriteFile { .. } => "see that the disk has room and the store can be written",
            Self::Secrets { .. } => "name them in `.dockerignore` or `.gitignore`, or leave `--strict` away",
            Self::NoLock { .. } => "make one with `lapstrake requirements --write-lock`, or leave `--locked` away",
            Self::Lock { source, .. } => return source.hint(),
            Self::Dockerfile { problem, .. } => return problem.hint(),
            Self::Instruction { source, .. } => return source.0.hint(),
            Self::NoSecret { id } => {
                return Some(format!("pass `--secret id={id},src=FILE` or `id={id},env=VARIABLE`"));
            }
            Self::OutdatedLock { .. } => "run `uv lock`, and put the lock under version control",
            Self::NoContext => "name its folder with `--context DIR`",
            Self::LostBlob { .. } => "run the build again: what was lost is made again",
            Self::FetchBlob { .. } => "run the build again; what arrived whole is kept",
            Self::Contradiction { hint, .. } => hint,
            Self::Worker(_) => "this is a defect of lapstrake; please report it with the command that you ran",
            Self::Below(error) => return error.0.hint(),
        };
        Some(text.to_owned())
    }
}
