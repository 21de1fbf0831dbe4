//! What settings are once they are read: plain data.
//!
//! Paths stand as they were written; the caller resolves them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;

use crate::oci::{Platform, Reference};

/// Everything that one file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `settings.docker`.
    pub docker: DockerSettings,
    /// `lapstrake`.
    pub lapstrake: Native,
}

/// ZenML's `DockerSettings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerSettings {
    /// The image to build upon.
    pub parent_image: Option<Reference>,
    /// A Dockerfile that is built first; its image is then the parent.
    pub dockerfile: Option<PathBuf>,
    /// The folder that the Dockerfile's `COPY` reads from; without it the context holds the Dockerfile alone.
    pub build_context_root: Option<PathBuf>,
    /// What the build of `dockerfile` is told.
    pub parent_image_build_config: BuildConfig,
    /// What the build on top of the parent is told.
    pub build_config: BuildConfig,
    /// Whether the parent is taken as it is.
    pub skip_build: bool,
    /// Whether no earlier build may stand in for this one.
    pub prevent_build_reuse: bool,
    /// The path below the registry's URI.
    pub target_repository: Option<String>,
    /// The tag, used as it is.
    pub image_tag: Option<String>,
    /// Who chooses versions.
    pub python_package_installer: Installer,
    /// Arguments of the installer by name, without dashes, in the order of the file; `None` is a bare flag.
    pub python_package_installer_args: IndexMap<String, Option<String>>,
    /// What follows `RUN --mount=` in the equivalent Dockerfile.
    pub python_package_installer_cache_mount: Option<String>,
    /// How the local Python environment is listed, when it is to be replicated.
    pub replicate_local_python_environment: Option<LocalEnvironment>,
    /// The project's `pyproject.toml`, or the folder that it is in.
    pub pyproject_path: Option<PathBuf>,
    /// The command that exports its requirements; `{directory}` stands for its folder.
    pub pyproject_export_command: Option<Vec<String>>,
    /// What to install.
    pub requirements: Option<Requirements>,
    /// Whether files of requirements in the source root are left alone.
    pub disable_automatic_requirements_detection: bool,
    /// Integrations of ZenML whose requirements are installed.
    pub required_integrations: Vec<String>,
    /// Whether the stack's requirements are installed.
    pub install_stack_requirements: bool,
    /// Whether a deployment's requirements are installed.
    pub install_deployment_requirements: bool,
    /// A command that installs the project itself, once its files are in.
    pub local_project_install_command: Option<String>,
    /// Packages of the parent's distribution.
    pub apt_packages: Vec<String>,
    /// Variables of the installation and the image, in the order of the file; names in upper case.
    pub environment: IndexMap<String, String>,
    /// Variables of the image alone, in the order of the file; names in upper case.
    pub runtime_environment: IndexMap<String, String>,
    /// Who owns `/app` and runs the container, as `name-or-id[:group]`.
    pub user: Option<String>,
    /// Whether sources may be put into the image.
    pub allow_including_files_in_images: bool,
    /// Whether code may be fetched from its repository at start.
    pub allow_download_from_code_repository: bool,
    /// Whether code may be fetched from an artifact store at start.
    pub allow_download_from_artifact_store: bool,
}

impl Default for DockerSettings {
    fn default() -> Self {
        Self {
            parent_image: None,
            dockerfile: None,
            build_context_root: None,
            parent_image_build_config: BuildConfig::default(),
            build_config: BuildConfig::default(),
            skip_build: false,
            prevent_build_reuse: false,
            target_repository: None,
            image_tag: None,
            python_package_installer: Installer::Uv,
            python_package_installer_args: IndexMap::new(),
            python_package_installer_cache_mount: None,
            replicate_local_python_environment: None,
            pyproject_path: None,
            pyproject_export_command: None,
            requirements: None,
            disable_automatic_requirements_detection: true,
            required_integrations: Vec::new(),
            install_stack_requirements: true,
            install_deployment_requirements: true,
            local_project_install_command: None,
            apt_packages: Vec::new(),
            environment: IndexMap::new(),
            runtime_environment: IndexMap::new(),
            user: None,
            allow_including_files_in_images: true,
            allow_download_from_code_repository: true,
            allow_download_from_artifact_store: true,
        }
    }
}

/// Who chooses versions and says how requirements are read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Installer {
    /// `uv`.
    #[default]
    Uv,
    /// `pip`.
    Pip,
}

/// How the packages of the local Python environment are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LocalEnvironment {
    /// By the installer's own `freeze`.
    Freeze,
    /// By `pip freeze` (deprecated).
    PipFreeze,
    /// By `uv pip freeze` (deprecated).
    UvFreeze,
    /// By `poetry export` (deprecated).
    PoetryExport,
    /// By a command (deprecated).
    Command(Vec<String>),
}

/// Where requirements are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirements {
    /// In a file.
    File(PathBuf),
    /// In the settings, a line each.
    Lines(Vec<String>),
}

/// `build_config` and `parent_image_build_config`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildConfig {
    /// The file that says which files to leave out.
    pub dockerignore: Option<PathBuf>,
    /// `build_options.labels`.
    pub labels: BTreeMap<String, String>,
    /// `build_options.platform`.
    pub platform: Option<Platform>,
    /// `build_options.build_args`, in the order of the file; `None` takes the value of the environment.
    pub build_args: IndexMap<String, Option<String>>,
    /// `build_options.cache_from`.
    pub cache_from: Vec<Reference>,
    /// `build_options.no_cache`.
    pub no_cache: bool,
    /// Whatever only an engine can honour, such as `pull`, `rm`, `shm_size`; values as JSON.
    pub engine_options: BTreeMap<String, serde_json::Value>,
}

/// The keys under `lapstrake`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Native {
    /// The folder of the sources.
    pub source_root: Option<PathBuf>,
    /// The image's entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// The image's command.
    pub cmd: Option<Vec<String>>,
    /// The image's working directory, absolute.
    pub working_dir: Option<String>,
    /// Names to publish under.
    pub tags: Vec<Reference>,
    /// The registry's URI, such as `registry.example/team`, without a slash at its end.
    pub registry: Option<String>,
    /// Platforms to build for.
    pub platforms: Vec<Platform>,
    /// Images whose layers may be reused.
    pub cache_from: Vec<Reference>,
    /// Where the image goes, as on the command line.
    pub output: Option<String>,
    /// Hosts that may be spoken to without TLS, `host[:port]`.
    pub insecure_registries: Vec<String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// What is known about the parent's Python.
    pub python: PythonSettings,
    /// How the image is cut into layers.
    pub layers: LayerSettings,
    /// The pipeline's stack.
    pub stack: StackSettings,
    /// How the sources of requirements are resolved.
    pub resolution: Resolution,
    /// The repository that containers may fetch code from.
    pub code_repository: Option<CodeRepository>,
    /// Where code is uploaded to: a folder, `s3://`, `gs://` or `az://`.
    pub artifact_store: Option<String>,
    /// Secrets for indexes and backends, by name.
    pub secrets: BTreeMap<String, SecretSource>,
    /// Which backend builds what cannot be assembled.
    pub backend: Option<String>,
}

/// `lapstrake.code_repository`: where containers fetch code that is clean and pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeRepository {
    /// The checkout's own remote (`true`).
    Remote,
    /// This URL, which one of the checkout's remotes has to mean.
    Url(String),
}

/// `lapstrake.stack`: what ZenML would know of the stack's components.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackSettings {
    /// The stack's name.
    pub name: Option<String>,
    /// The components by their type, such as `orchestrator: kubernetes`.
    pub components: BTreeMap<String, StackComponent>,
    /// Requirement lines beside those of the flavors.
    pub requirements: Vec<String>,
    /// Packages of the parent's distribution beside those of the flavors.
    pub apt_packages: Vec<String>,
}

/// A component of the stack: a flavor alone, or a mapping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StackComponent {
    /// Its flavor; the requirements of the flavor's integration are installed.
    pub flavor: Option<String>,
    /// Requirement lines of its own.
    pub requirements: Vec<String>,
    /// Packages of the parent's distribution of its own.
    pub apt_packages: Vec<String>,
}

/// `lapstrake.resolution`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Resolution {
    /// All sources of requirements are resolved together.
    #[default]
    Joint,
    /// One after the other, each on top of what the ones before installed, as ZenML does.
    Sequential,
}

/// Where a secret's value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A variable of the environment.
    Environment(String),
    /// A file; a line break at its end is left out.
    File(PathBuf),
    /// The output of a command; a line break at its end is left out.
    Command(Vec<String>),
}

/// `lapstrake.python`: what to believe when the parent image does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PythonSettings {
    /// Major and minor version.
    pub version: Option<(u32, u32)>,
    /// The prefix of the interpreter, absolute.
    pub prefix: Option<String>,
}

/// `lapstrake.layers`: how the image is cut into layers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LayerSettings {
    /// The most layers to add to the parent's.
    pub budget: Option<u64>,
    /// The size in bytes above which a package gets a layer of its own.
    pub own_layer_above_bytes: Option<u64>,
}
