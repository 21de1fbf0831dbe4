//! Every key of a run configuration that is read here: its type, its default, one sentence.
//!
//! Reading a key into its type is the sections' work; what is known, shown and described comes from here.

use serde_json::Value;

/// One key.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    /// As JSON; of `settings.docker` as ZenML has it.
    pub(super) default: &'static str,
    pub(super) about: &'static str,
    pub(super) is_deprecated: bool,
}

/// What may stand under a key; `null` always may, and stands for the default.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// A text that is not empty.
    Text,
    /// A path, as a text.
    Path,
    /// A path that begins with a slash.
    AbsolutePath,
    /// A reference of an image.
    Image,
    /// References of images.
    Images,
    /// A tag of an image.
    Tag,
    /// A path in a registry.
    RepositoryPath,
    /// A registry's host, perhaps with a path below it.
    Registry,
    /// Registries' hosts.
    Hosts,
    /// `os/architecture[/variant]`.
    Platform,
    /// Platforms.
    Platforms,
    /// A truth value, in every spelling that pydantic takes.
    Flag,
    /// A truth value, or the URL of a repository.
    CodeRepository,
    /// A whole number that is at least this.
    Count(u64),
    /// `3.12`, in quotes or not.
    PythonVersion,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Texts.
    Texts,
    /// Lines of requirements, or the path of a file of them.
    Requirements,
    /// Whether the local environment is replicated, or how (deprecated).
    LocalEnvironment,
    /// Variables by name; texts, numbers and truth values.
    Variables,
    /// Arguments by name; as variables, and `null` for a bare flag.
    Arguments,
    /// Texts, numbers and truth values by name.
    Labels,
    /// Components of a stack by their type; a flavor, or a mapping.
    Components,
    /// Sources of secrets by name.
    Secrets,
    /// Anything by name.
    Anything,
    /// Keys of its own.
    Section(&'static [Row]),
    /// Keys of its own, and anything else.
    Open(&'static [Row]),
}

impl Row {
    /// The default, as a value.
    pub(super) fn default_value(&self) -> Value {
        serde_json::from_str(self.default).unwrap_or_default()
    }
}

const fn row(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Row {
    Row { name, kind, default, about, is_deprecated: false }
}

const fn old(name: &'static str, kind: Kind, default: &'static str, about: &'static str) -> Row {
    Row { name, kind, default, about, is_deprecated: true }
}

/// The names of rows.
pub(super) fn names(rows: &'static [Row]) -> impl Iterator<Item = &'static str> {
    rows.iter().map(|row| row.name)
}

/// The row of a name.
pub(super) fn find<'r>(rows: &'r [Row], name: &str) -> Option<&'r Row> {
    rows.iter().find(|row| row.name == name)
}

/// `settings.docker`, in the order of its documentation.
pub(super) const DOCKER: &[Row] = &[
    row("parent_image", Kind::Image, "null", "The image to build upon."),
    row("dockerfile", Kind::Path, "null", "A Dockerfile that is built first; its image is then the parent."),
    row("build_context_root", Kind::Path, "null", "The folder that the Dockerfile's `COPY` reads from."),
    row("parent_image_build_config", Kind::Section(BUILD_CONFIG), "null", "What the build of `dockerfile` is told."),
    row("build_config", Kind::Section(BUILD_CONFIG), "null", "What the build on top of the parent is told."),
    row("skip_build", Kind::Flag, "false", "Whether the parent is taken as it is."),
    row("prevent_build_reuse", Kind::Flag, "false", "Whether no earlier build may stand in for this one."),
    row("target_repository", Kind::RepositoryPath, "null", "The path below the registry."),
    row("image_tag", Kind::Tag, "null", "The tag, used as it is."),
    row("python_package_installer", Kind::Choice(&["uv", "pip"]), "\"uv\"", "Who chooses versions."),
    row(
        "python_package_installer_args",
        Kind::Arguments,
        "{}",
        "Arguments of the installer by name, without dashes; `null` is a bare flag.",
    ),
    row(
        "python_package_installer_cache_mount",
        Kind::Text,
        "null",
        "What follows `RUN --mount=` in the equivalent Dockerfile.",
    ),
    row(
        "replicate_local_python_environment",
        Kind::LocalEnvironment,
        "null",
        "Whether the packages of the local Python environment are installed.",
    ),
    row("pyproject_path", Kind::Path, "null", "The project's `pyproject.toml`, or its folder."),
    row(
        "pyproject_export_command",
        Kind::Texts,
        "null",
        "The command that exports its requirements; `{directory}` stands for its folder.",
    ),
    row("requirements", Kind::Requirements, "null", "Lines of requirements, or the path of a file of them."),
    row(
        "disable_automatic_requirements_detection",
        Kind::Flag,
        "true",
        "Whether files of requirements in the source root are left alone.",
    ),
    row("required_integrations", Kind::Texts, "[]", "Integrations of ZenML whose requirements are installed."),
    row("install_stack_requirements", Kind::Flag, "true", "Whether the stack's requirements are installed."),
    row("install_deployment_requirements", Kind::Flag, "true", "Whether a deployment's requirements are installed."),
    row(
        "local_project_install_command",
        Kind::Text,
        "null",
        "A command that installs the project itself, once its files are in.",
    ),
    row("apt_packages", Kind::Texts, "[]", "Packages of the parent's distribution."),
    row("environment", Kind::Variables, "{}", "Variables of the installation and of the image."),
    row("runtime_environment", Kind::Variables, "{}", "Variables of the image alone."),
    row("user", Kind::Text, "null", "Who owns `/app` and runs the container, as `name-or-id[:group]`."),
    row("allow_including_files_in_images", Kind::Flag, "true", "Whether sources may be put into the image."),
    row(
        "allow_download_from_code_repository",
        Kind::Flag,
        "true",
        "Whether code may be fetched from its repository at start.",
    ),
    row(
        "allow_download_from_artifact_store",
        Kind::Flag,
        "true",
        "Whether code may be fetched from an artifact store at start.",
    ),
    old("build_options", Kind::Anything, "{}", "Has no effect; write it under `build_config`."),
    old("dockerignore", Kind::Path, "null", "What `build_config.dockerignore` says, unless that is there."),
    old("copy_files", Kind::Flag, "true", "Has no effect."),
    old("copy_global_config", Kind::Flag, "true", "Has no effect."),
    old(
        "source_files",
        Kind::Choice(&["include", "download_or_include", "download", "ignore"]),
        "null",
        "What the three `allow_` keys say.",
    ),
    old("required_hub_plugins", Kind::Texts, "[]", "Has no effect."),
];

/// `build_config` and `parent_image_build_config`.
pub(super) const BUILD_CONFIG: &[Row] = &[
    row("dockerignore", Kind::Path, "null", "The file that says which files to leave out."),
    row("build_options", Kind::Open(BUILD_OPTIONS), "null", "Options of the build."),
];

/// `build_options`, as ZenML types them; `platform` has no type there, and so no default.
pub(super) const BUILD_OPTIONS: &[Row] = &[
    row("platform", Kind::Platform, "", "The image's platform, as `os/architecture[/variant]`."),
    row("pull", Kind::Flag, "null", "Whether an engine asks for newer images first."),
    row("rm", Kind::Flag, "null", "Whether an engine removes containers in between."),
    row("no_cache", Kind::Flag, "null", "Whether nothing is taken from earlier builds."),
    row("shm_size", Kind::Count(0), "null", "Bytes of shared memory in an engine."),
    row("labels", Kind::Labels, "null", "Labels of the image."),
    row("build_args", Kind::Arguments, "null", "Build arguments of Dockerfiles; `null` takes the environment's value."),
    row("cache_from", Kind::Images, "null", "Images whose layers may be reused."),
];

/// `lapstrake`.
pub(super) const NATIVE: &[Row] = &[
    row("source_root", Kind::Path, "null", "The folder of the sources; that of this file unless it is given."),
    row("entrypoint", Kind::Texts, "null", "The image's entrypoint."),
    row("cmd", Kind::Texts, "null", "The image's command."),
    row("working_dir", Kind::AbsolutePath, "null", "The image's working directory."),
    row("tags", Kind::Images, "[]", "Names to publish under."),
    row("registry", Kind::Registry, "null", "The registry that `target_repository` is appended to."),
    row("platforms", Kind::Platforms, "[]", "Platforms to build for."),
    row("cache_from", Kind::Images, "[]", "Images whose layers may be reused."),
    row("output", Kind::Text, "null", "`registry`, `oci:DIR` or `docker-archive:FILE`."),
    row("insecure_registries", Kind::Hosts, "[]", "Registries that are spoken to by plain http."),
    row("labels", Kind::Labels, "{}", "Labels of the image."),
    row("python", Kind::Section(PYTHON), "{}", "What to believe when the parent image does not tell."),
    row("layers", Kind::Section(LAYERS), "{}", "How the image is cut into layers."),
    row("stack", Kind::Section(STACK), "{}", "What ZenML would know of the stack's components."),
    row(
        "resolution",
        Kind::Choice(&["joint", "sequential"]),
        "\"joint\"",
        "Whether all requirements are resolved together, or one source after the other, as ZenML does.",
    ),
    row(
        "code_repository",
        Kind::CodeRepository,
        "null",
        "The repository that containers may fetch code from: `true` for the checkout's remote, or a URL.",
    ),
    row("artifact_store", Kind::Text, "null", "Where code is uploaded to: a folder, `s3://`, `gs://` or `az://`."),
    row("secrets", Kind::Secrets, "{}", "Secrets for indexes and backends; never in an image, ledger or log."),
    row("backend", Kind::Text, "null", "Which backend builds what cannot be assembled."),
];

/// `lapstrake.python`.
pub(super) const PYTHON: &[Row] = &[
    row("version", Kind::PythonVersion, "null", "Major and minor version."),
    row("prefix", Kind::AbsolutePath, "null", "The prefix of the interpreter."),
];

/// `lapstrake.layers`.
pub(super) const LAYERS: &[Row] = &[
    row("budget", Kind::Count(1), "null", "The most layers to add to the parent's."),
    row(
        "own_layer_above_bytes",
        Kind::Count(0),
        "null",
        "The size in bytes above which a package gets a layer of its own.",
    ),
];

/// A component under `lapstrake.stack.components`.
pub(super) const COMPONENT: &[Row] = &[
    row("flavor", Kind::Text, "null", "Its flavor; the requirements of the flavor's integration are installed."),
    row("requirements", Kind::Texts, "[]", "Requirement lines of its own."),
    row("apt_packages", Kind::Texts, "[]", "Packages of the distribution of its own."),
];

/// `lapstrake.stack`.
pub(super) const STACK: &[Row] = &[
    row("name", Kind::Text, "null", "The stack's name."),
    row(
        "components",
        Kind::Components,
        "{}",
        "Components by their type: a flavor, as in `orchestrator: kubernetes`, or a mapping.",
    ),
    row("requirements", Kind::Texts, "[]", "Requirement lines beside those of the flavors."),
    row("apt_packages", Kind::Texts, "[]", "Packages of the distribution beside those of the flavors."),
];
