//! What may stand on the command line.
//!
//! Parsing only; what the words mean is decided by each command.

use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser};
use clap::{Args, Parser, Subcommand, ValueEnum};
use lapstrake::oci::Platform;

use super::args_builds::BuildsCommand;
use super::args_dockerfile::DockerfileArgs;
use super::settings::{Changes, SettingsArgs};

/// Assembles OCI images without a daemon: the cost of a build is the size of the change.
#[derive(Debug, Parser)]
#[command(name = "lapstrake", version, propagate_version = true, max_term_width = 100)]
#[command(after_long_help = "Exit codes: 0 done, 1 failed, 2 usage or settings, 70 defect, 130/143 interrupted.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
    #[command(flatten)]
    pub(crate) shown: Shown,
}

/// How things are shown.
#[derive(Clone, Debug, Args)]
pub(crate) struct Shown {
    /// How progress is shown on stderr
    #[arg(long, global = true, value_enum, default_value_t = ProgressMode::Auto, help_heading = "Output")]
    pub(crate) progress: ProgressMode,
    /// How results are shown on stdout
    #[arg(long, global = true, value_enum, default_value_t = Format::Text, help_heading = "Output")]
    pub(crate) format: Format,
    /// Whether to use colour; `NO_COLOR` is honoured
    #[arg(long, global = true, value_enum, default_value_t = ColorMode::Auto, help_heading = "Output")]
    pub(crate) color: ColorMode,
    /// Say nothing but results and errors
    #[arg(short, long, global = true, help_heading = "Output")]
    pub(crate) quiet: bool,
    /// Say more; twice for every cause of an error
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Output")]
    pub(crate) verbose: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// Bars on a terminal, lines otherwise
    Auto,
    /// One line a task
    Plain,
    /// One JSON object a line
    Json,
    /// Nothing
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// One JSON object with `schemaVersion`
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorMode {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Assemble and publish the image; stdout holds one `repository@digest` line an image
    Build(BuildCommand),
    /// Say what `build` would do, why, and how many bytes it would move; writes nothing
    Plan(PlanArgs),
    /// Show what counts for the pipeline and each step, and where every value comes from
    Settings(SettingsArgs),
    /// Show the files of requirements in the order of installation, and the versions that they come to
    Requirements(RequirementsArgs),
    /// Show what an image holds: layers, packages, files, sizes
    Inspect(InspectArgs),
    /// Try how registries are reached and what they allow, and look at this machine; changes nothing
    Doctor(DoctorArgs),
    /// Check a user name and password at a registry, and keep them where Docker does
    Login(LoginArgs),
    /// Forget what `login` keeps for a registry
    Logout(LogoutArgs),
    /// Copy an image as it is, between registries, folders and archives; all platforms, same digest
    Copy(CopyArgs),
    /// List the tags of a repository
    Tags(TagsArgs),
    /// List what refers to an image: signatures, attestations, lists of packages
    Referrers(ReferrersArgs),
    /// Remove tags or manifests from a registry
    Delete(DeleteArgs),
    /// The ledger of builds: what was built, when, and where it is
    #[command(subcommand)]
    Builds(BuildsCommand),
    /// The embedded registry
    #[command(subcommand)]
    Registry(RegistryCommand),
    /// The local store
    #[command(subcommand)]
    Cache(CacheCommand),
    /// See the whole thing work, without network, Docker or Python
    Demo(DemoArgs),
    /// Print shell completions
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// How registries and the store are reached.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Reach {
    /// Speak plain http with this registry (loopback needs no flag); repeatable
    #[arg(long, value_name = "HOST", help_heading = "Reach")]
    pub(crate) insecure_registry: Vec<String>,
    /// Pull what is at REGISTRY from MIRROR first (`host[:port][/prefix]`); repeatable
    #[arg(long, value_name = "REGISTRY=MIRROR", help_heading = "Reach")]
    pub(crate) registry_mirror: Vec<String>,
    /// Connect to nothing that is not on this machine
    #[arg(long, help_heading = "Reach")]
    pub(crate) offline: bool,
    /// Trust the certificates in this PEM file, beside the platform's; repeatable
    #[arg(long, value_name = "FILE", help_heading = "Reach")]
    pub(crate) ca_file: Vec<PathBuf>,
    /// The folder of the local store
    #[arg(long, value_name = "DIR", env = "LAPSTRAKE_STORE", help_heading = "Reach", value_parser = folder())]
    pub(crate) store: Option<PathBuf>,
}

/// What `build` and `plan` take.
#[derive(Clone, Debug, Default, Args)]
#[command(after_long_help = "Examples:
  lapstrake build --tag ghcr.io/me/app:latest
  lapstrake build --parent-image python:3.12 -r requirements.txt --tag localhost:5000/app:dev
  lapstrake build --output oci:out --platform linux/amd64 --platform linux/arm64
  lapstrake build --dockerfile Dockerfile --context . --tag localhost:5000/app:dev")]
pub(crate) struct BuildArgs {
    /// The configuration; a ZenML run configuration works as it is [default: lapstrake.yaml]
    pub(crate) config: Option<PathBuf>,
    /// The configuration, as a flag
    #[arg(long = "config", value_name = "FILE", conflicts_with = "config")]
    pub(crate) config_flag: Option<PathBuf>,
    /// Publish under this reference; repeatable
    #[arg(short, long = "tag", value_name = "REF")]
    pub(crate) tags: Vec<String>,
    /// The registry that `target_repository` is appended to
    #[arg(long, value_name = "URI")]
    pub(crate) registry: Option<String>,
    /// Where the image goes: `registry`, `oci:DIR` or `docker-archive:FILE`
    #[arg(short, long, value_name = "OUTPUT")]
    pub(crate) output: Option<String>,
    /// Build for this platform; several make an index
    #[arg(long = "platform", value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platforms: Vec<Platform>,
    /// Take layers from this image when their keys match; repeatable
    #[arg(long, value_name = "REF")]
    pub(crate) cache_from: Vec<String>,
    /// Make images again though they are published; their layers may still be taken
    #[arg(long)]
    pub(crate) no_reuse: bool,
    /// Use nothing that an earlier build left
    #[arg(long)]
    pub(crate) no_cache: bool,
    /// What builds that which cannot be assembled; `none` for an error [default: the first that there is]
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Option<String>,
    /// Make anew what is remembered of an earlier build: `backend`, the segments that backends made
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) refresh: Vec<Refresh>,
    /// Choose all versions anew; else those chosen before stand, also when requirements are added
    #[arg(long)]
    pub(crate) upgrade: bool,
    /// Demand `pylock.toml` in the source root, and install just what it says
    #[arg(long)]
    pub(crate) locked: bool,
    /// The folder whose files go into the image [default: the configuration's folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) source_root: Option<PathBuf>,
    /// Make the targets' repositories first where they are in Amazon ECR; other registries need no such thing
    #[arg(long)]
    pub(crate) create_repository: bool,
    #[command(flatten)]
    pub(crate) file: DockerfileArgs,
    #[command(flatten)]
    pub(crate) changes: Changes,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What `build` takes beside what `plan` does.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct BuildCommand {
    /// Take the images of this build of the ledger instead of making any; its first digits suffice
    #[arg(long = "build", value_name = "ID", conflicts_with_all = ["checksum", "no_reuse", "no_cache"])]
    pub(crate) build_id: Option<String>,
    /// Also take a build of the ledger that has this checksum, as `zenml pipeline run` does
    #[arg(long, value_enum, value_name = "WHOSE")]
    pub(crate) checksum: Option<Checksum>,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

/// Whose checksum decides whether a build is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Checksum {
    /// ZenML's, which covers settings and requirement files, and neither sources nor versions
    Zenml,
}

/// What `plan` takes.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PlanArgs {
    /// With `--dockerfile` alone: quote what ZenML does not, and leave out what looks like a secret
    #[arg(long, requires = "dockerfile")]
    pub(crate) corrected: bool,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

/// What `--refresh` forgets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Refresh {
    /// The segments that backends made
    Backend,
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  lapstrake requirements
  lapstrake requirements --files-only run.yaml
  lapstrake requirements --format json --platform linux/arm64")]
pub(crate) struct RequirementsArgs {
    /// Show the files alone; nothing is resolved, and no registry is asked
    #[arg(long)]
    pub(crate) files_only: bool,
    /// Also write the lock into the source root, as `pylock.toml`; `build --locked` then installs just that
    #[arg(long, conflicts_with = "files_only")]
    pub(crate) write_lock: bool,
    #[command(flatten)]
    pub(crate) build: BuildArgs,
}

#[derive(Debug, Args)]
pub(crate) struct InspectArgs {
    /// The image
    pub(crate) reference: String,
    /// Which image of an index
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Option<Platform>,
    /// Also list the files; reads the image's layers
    #[arg(long)]
    pub(crate) files: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  lapstrake doctor                   the machine, and the registries of the project in this folder
  lapstrake doctor ghcr.io           name, connection, TLS, login
  lapstrake doctor ghcr.io/me/app    and what may be done with the repository

Exit codes: 0 all is well, 1 something failed.")]
pub(crate) struct DoctorArgs {
    /// What to try [default: the registries of the project's settings]
    #[arg(value_name = "REGISTRY|REPOSITORY")]
    pub(crate) subjects: Vec<String>,
    /// The project's configuration [default: lapstrake.yaml]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  lapstrake login ghcr.io -u me --password-stdin < token.txt
  lapstrake login docker.io

The password goes to the credential helper that `$DOCKER_CONFIG/config.json` names for the registry
(`credHelpers`, `credsStore`), else unencrypted into that file; Docker and podman find it there too.
Amazon ECR, Google's registries, Azure's and GitHub's need no login where their own credentials are at hand.")]
pub(crate) struct LoginArgs {
    /// The registry: `HOST` or `HOST:PORT`
    pub(crate) registry: String,
    /// The user name; asked for at a terminal
    #[arg(short, long, value_name = "USER")]
    pub(crate) username: Option<String>,
    /// Read the password from stdin, to its end
    #[arg(long)]
    pub(crate) password_stdin: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Copies an image byte for byte: the copy has the source's digest. What a target has already stays where it is, so that
/// a copy that was interrupted goes on where it ended. Nothing touches a disk between two registries.
#[derive(Debug, Args)]
#[command(after_long_help = "A place is `[registry/]name[:tag][@digest]`, `oci:DIR[:tag][@digest]` or \
`docker-archive:FILE[:name:tag]`.
LAPSTRAKE_USERNAME and LAPSTRAKE_PASSWORD are sent to the registries of the targets alone.

Examples:
  lapstrake copy python:3.12-slim ghcr.io/me/python:3.12-slim
  lapstrake copy localhost:5000/app:1 registry.example/app:1 registry.example/app:latest
  lapstrake copy --platform linux/arm64 python:3.12-slim docker-archive:python.tar:python:3.12-slim
  lapstrake copy --referrers ghcr.io/me/app:1 oci:backup:1
  lapstrake copy --all-tags localhost:5000/app registry.example/app")]
pub(crate) struct CopyArgs {
    /// Where the image is
    #[arg(value_name = "SRC")]
    pub(crate) source: String,
    /// Where it goes; several are fine
    #[arg(value_name = "DST", required = true)]
    pub(crate) targets: Vec<String>,
    /// Of an index take this platform's manifest alone; several make an index over theirs
    #[arg(long = "platform", value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platforms: Vec<Platform>,
    /// Also copy what refers to the image, and what refers to that
    #[arg(long)]
    pub(crate) referrers: bool,
    /// Copy every tag of the repository SRC to the repository DST
    #[arg(long)]
    pub(crate) all_tags: bool,
    /// Make the targets' repositories first where they are in Amazon ECR; other registries need no such thing
    #[arg(long)]
    pub(crate) create_repository: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  lapstrake logout ghcr.io")]
pub(crate) struct LogoutArgs {
    /// The registry: `HOST` or `HOST:PORT`
    pub(crate) registry: String,
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  lapstrake tags ghcr.io/me/app
  lapstrake tags --format json localhost:5000/app")]
pub(crate) struct TagsArgs {
    /// The repository
    pub(crate) repository: String,
    /// Also show the `lapstrake-…` tags, by which builds find what earlier ones made
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
#[command(after_long_help = "Examples:
  lapstrake referrers ghcr.io/me/app:1
  lapstrake referrers --artifact-type application/spdx+json ghcr.io/me/app:1")]
pub(crate) struct ReferrersArgs {
    /// The image
    pub(crate) reference: String,
    /// Only those of this type
    #[arg(long, value_name = "TYPE")]
    pub(crate) artifact_type: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Removes tags (`name:tag`) or manifests (`name@sha256:…`, with all tags that stand for them). A tag is never removed by
/// removing its manifest: where a registry does not remove tags alone, that is an error.
#[derive(Debug, Args)]
#[command(
    after_long_help = "Every build leaves a tag `lapstrake-…`, by which the next one finds it. `--key-tags` names those \
whose image no other tag stands for, and with `--yes` removes them. A registry does not say how old a tag is, so all of \
them go; the next build of such an image makes it anew.

Examples:
  lapstrake delete ghcr.io/me/app:old
  lapstrake delete --yes localhost:5000/app@sha256:0123…
  lapstrake delete --key-tags localhost:5000/app
  lapstrake delete --key-tags localhost:5000/app --yes"
)]
pub(crate) struct DeleteArgs {
    /// What is removed: tags, or manifests by digest
    #[arg(value_name = "REF", required_unless_present = "key_tags")]
    pub(crate) references: Vec<String>,
    /// Show the tags that builds left in this repository and nobody needs; with `--yes`, remove them
    #[arg(long, value_name = "REPOSITORY", conflicts_with = "references")]
    pub(crate) key_tags: Option<String>,
    /// Do not ask
    #[arg(short, long)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RegistryCommand {
    /// Serve a registry from one folder, until interrupted
    Serve(ServeArgs),
    /// Remove what no tag leads to, also beside a server that runs
    Prune(RegistryPruneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// The folder that holds everything
    #[arg(default_value = "lapstrake-registry")]
    pub(crate) root: PathBuf,
    /// Where to listen; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:5000", value_name = "ADDRESS:PORT")]
    pub(crate) listen: std::net::SocketAddr,
    /// Admit only the users of this file, made with `htpasswd -B`
    #[arg(long, value_name = "FILE")]
    pub(crate) htpasswd: Option<PathBuf>,
    /// Refuse every push and delete
    #[arg(long)]
    pub(crate) read_only: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RegistryPruneArgs {
    /// The folder that holds everything
    #[arg(default_value = "lapstrake-registry")]
    pub(crate) root: PathBuf,
    /// Keep what was pushed or asked for by a pusher in so many last hours
    #[arg(long, default_value_t = 24, value_name = "HOURS")]
    pub(crate) older_than: u64,
    /// Say what would be removed, and remove nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Show how much the store holds
    Du(StoreArgs),
    /// Hash everything in the store, and remove what is damaged
    Verify(StoreArgs),
    /// Make room
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StoreArgs {
    /// The folder of the local store
    #[arg(long, value_name = "DIR", env = "LAPSTRAKE_STORE", value_parser = folder())]
    pub(crate) store: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Remove everything
    #[arg(long, conflicts_with_all = ["older_than", "keep"])]
    pub(crate) all: bool,
    /// Remove what was not used for so many days
    #[arg(long, value_name = "DAYS")]
    pub(crate) older_than: Option<u64>,
    /// Remove the oldest until so many MiB are left
    #[arg(long, value_name = "MIB")]
    pub(crate) keep: Option<u64>,
    #[command(flatten)]
    pub(crate) at: StoreArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Take real requirements from the package index (needs uv, or pip to fetch it)
    #[arg(long)]
    pub(crate) real: bool,
    /// A real parent image instead of the embedded one
    #[arg(long, value_name = "REF", requires = "real")]
    pub(crate) parent: Option<String>,
    /// Requirements for `--real`
    #[arg(long = "requirement", value_name = "LINE", requires = "real")]
    pub(crate) requirements: Vec<String>,
    /// Keep the demo's folder and say where it is
    #[arg(long)]
    pub(crate) keep: bool,
}

/// A folder; an empty variable is taken as one that is not set.
fn folder() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}
