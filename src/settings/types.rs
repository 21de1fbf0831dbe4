//! What settings are once they are read: plain data.
//!
//! Paths stand as they were written; the caller resolves them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::oci::{Platform, Reference};

/// Everything that one file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `settings.docker`.
    pub docker: DockerSettings,
    /// `lapstrake`.
    pub lapstrake: Native,
}

/// ZenML's `DockerSettings`, as far as they are supported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DockerSettings {
    /// The image to build upon.
    pub parent_image: Option<Reference>,
    /// What to install.
    pub requirements: Option<Requirements>,
    /// Variables of the installation and the image; names in upper case.
    pub environment: BTreeMap<String, String>,
    /// Variables of the image alone; names in upper case.
    pub runtime_environment: BTreeMap<String, String>,
    /// Who owns `/app` and runs the container, as `name-or-id[:group]`.
    pub user: Option<String>,
    /// The tag, used as it is.
    pub image_tag: Option<String>,
    /// The path below the registry's URI.
    pub target_repository: Option<String>,
    /// What the build itself is told.
    pub build_config: BuildConfig,
    /// Arguments of the installer by name, without dashes; `None` is a bare flag.
    pub python_package_installer_args: BTreeMap<String, Option<String>>,
    /// Whether the parent is taken as it is.
    pub skip_build: bool,
    /// Whether the stack's requirements are installed; without effect as long as there is no stack.
    pub install_stack_requirements: bool,
    /// Whether sources may be put into the image.
    pub allow_including_files_in_images: bool,
    /// Whether code may be fetched from a repository at start; without effect as long as none is configured.
    pub allow_download_from_code_repository: bool,
    /// Whether code may be fetched from an artifact store at start; without effect as long as none is configured.
    pub allow_download_from_artifact_store: bool,
}

impl Default for DockerSettings {
    fn default() -> Self {
        Self {
            parent_image: None,
            requirements: None,
            environment: BTreeMap::new(),
            runtime_environment: BTreeMap::new(),
            user: None,
            image_tag: None,
            target_repository: None,
            build_config: BuildConfig::default(),
            python_package_installer_args: BTreeMap::new(),
            skip_build: false,
            install_stack_requirements: true,
            allow_including_files_in_images: true,
            allow_download_from_code_repository: true,
            allow_download_from_artifact_store: true,
        }
    }
}

/// Where requirements are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirements {
    /// In a file.
    File(PathBuf),
    /// In the settings, a line each.
    Lines(Vec<String>),
}

/// `build_config`, as far as it is supported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BuildConfig {
    /// The file that says which sources to leave out.
    pub dockerignore: Option<PathBuf>,
    /// `build_options.labels`.
    pub labels: BTreeMap<String, String>,
    /// `build_options.platform`.
    pub platform: Option<Platform>,
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
