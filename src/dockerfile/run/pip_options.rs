//! The options of `pip install` and `uv pip install` that are understood, and the variables that give them.
//!
//! What stands in no table is refused.

use super::options::{Known, switch, value};
use super::sync::SyncOption;
use super::venv::VenvOption;

/// What an option means for an installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// It changes what is printed, how long is waited, or nothing.
    Idle,
    RequirementFile,
    Constraint,
    Editable,
    /// A value for the resolver, under this name.
    Argument(&'static str),
    /// A value that is added to those before it, with a blank between them.
    Listed(&'static str),
    /// The same, with a comma between them.
    Named(&'static str),
    /// A word for the resolver.
    Switch(&'static str),
    UpgradeStrategy,
    Compiles,
    DoesNotCompile,
    User,
    Target,
    Prefix,
    NoCache,
    CacheFolder,
    Group,
    Extra,
    AllExtras,
    System,
    Python,
    LinkMode,
    TorchBackend,
    KeyringProvider,
    ConfigFile,
    NoConfig,
    /// One that `uv sync` alone has.
    Sync(SyncOption),
    /// One that making an environment alone has.
    Venv(VenvOption),
}

use Meaning::{
    AllExtras, Argument, CacheFolder, Compiles, ConfigFile, Constraint, DoesNotCompile, Editable, Extra, Group, Idle,
    KeyringProvider, LinkMode, Listed, Named, NoCache, NoConfig, Prefix, Python, RequirementFile, Switch, System,
    Target, TorchBackend, UpgradeStrategy, User,
};

/// What pip takes before and behind `install`.
pub(super) const PIP_GENERAL: &[Known<Meaning>] = &[
    switch(&["-q", "--quiet", "-v", "--verbose", "--debug"], Idle),
    switch(&["--no-input", "--no-color", "--disable-pip-version-check", "--no-python-version-warning"], Idle),
    value(&["--timeout", "--default-timeout"], Argument("timeout")),
    value(&["--retries"], Argument("retries")),
    value(&["--trusted-host"], Listed("trusted-host")),
    switch(&["--no-cache-dir"], NoCache),
    // An abbreviation that many write; of variables pip takes none.
    switch(&["--no-cache"], NoCache),
    value(&["--cache-dir"], CacheFolder),
];

/// What pip takes behind `install` alone.
pub(super) const PIP_INSTALL: &[Known<Meaning>] = &[
    value(&["-r", "--requirement"], RequirementFile),
    value(&["-c", "--constraint"], Constraint),
    value(&["-e", "--editable"], Editable),
    value(&["--group"], Group),
    value(&["-i", "--index-url", "--pypi-url"], Argument("index-url")),
    value(&["--extra-index-url"], Listed("extra-index-url")),
    value(&["-f", "--find-links"], Listed("find-links")),
    switch(&["--no-index"], Switch("no-index")),
    switch(&["--pre"], Switch("pre")),
    switch(&["--no-deps", "--no-dependencies"], Switch("no-deps")),
    switch(&["-U", "--upgrade"], Switch("upgrade")),
    value(&["--upgrade-strategy"], UpgradeStrategy),
    switch(&["-I", "--ignore-installed"], Switch("ignore-installed")),
    switch(&["--force-reinstall"], Switch("force-reinstall")),
    value(&["--no-binary"], Named("no-binary")),
    value(&["--only-binary"], Named("only-binary")),
    switch(&["--prefer-binary"], Switch("prefer-binary")),
    switch(&["--require-hashes"], Switch("require-hashes")),
    switch(&["--no-build-isolation"], Switch("no-build-isolation")),
    switch(&["--user"], User),
    value(&["-t", "--target"], Target),
    value(&["--prefix"], Prefix),
    switch(&["--compile"], Compiles),
    switch(&["--no-compile"], DoesNotCompile),
    switch(&["--break-system-packages", "--no-warn-script-location", "--no-warn-conflicts", "--no-clean"], Idle),
    value(&["--root-user-action", "--progress-bar"], Idle),
];

/// Options of pip that are refused; their variables, `PIP_` and the name in capitals, are as well.
///
/// The last two are understood as options. Their variables turn the switch the other way round, which surprised people
/// enough to be changed one day.
pub(super) const PIP_REFUSED: [&str; 29] = [
    "abi",
    "build-constraint",
    "cert",
    "client-cert",
    "config-settings",
    "dry-run",
    "global-option",
    "ignore-requires-python",
    "implementation",
    "isolated",
    "keyring-provider",
    "log",
    "no-use-pep517",
    "no-user",
    "platform",
    "process-dependency-links",
    "proxy",
    "python",
    "python-version",
    "report",
    "require-virtualenv",
    "root",
    "src",
    "uploaded-prior-to",
    "use-deprecated",
    "use-feature",
    "use-pep517",
    "no-build-isolation",
    "no-compile",
];

/// What every command of uv takes.
pub(super) const UV_GENERAL: &[Known<Meaning>] = &[
    switch(&["-q", "--quiet", "-v", "--verbose", "--no-progress"], Idle),
    switch(&["--native-tls", "--system-certs", "--no-python-downloads"], Idle),
    value(&["--color"], Idle),
    value(&["--allow-insecure-host", "--trusted-host"], Listed("allow-insecure-host")).or("UV_INSECURE_HOST"),
    switch(&["-n", "--no-cache", "--no-cache-dir"], NoCache).or("UV_NO_CACHE"),
    value(&["--cache-dir"], CacheFolder).or("UV_CACHE_DIR"),
    value(&["--config-file"], ConfigFile).or("UV_CONFIG_FILE"),
    switch(&["--no-config"], NoConfig).or("UV_NO_CONFIG"),
];

/// What the commands of uv take that choose and install packages.
pub(super) const UV_RESOLVES: &[Known<Meaning>] = &[
    value(&["--index"], Listed("index")).or("UV_INDEX"),
    value(&["--default-index"], Argument("default-index")).or("UV_DEFAULT_INDEX"),
    value(&["-i", "--index-url"], Argument("index-url")).or("UV_INDEX_URL"),
    value(&["--extra-index-url"], Listed("extra-index-url")).or("UV_EXTRA_INDEX_URL"),
    value(&["-f", "--find-links"], Named("find-links")).or("UV_FIND_LINKS"),
    switch(&["--no-index"], Switch("no-index")).or("UV_NO_INDEX"),
    value(&["--index-strategy"], Argument("index-strategy")).or("UV_INDEX_STRATEGY"),
    value(&["--keyring-provider"], KeyringProvider).or("UV_KEYRING_PROVIDER"),
    switch(&["-U", "--upgrade"], Switch("upgrade")),
    value(&["--resolution"], Argument("resolution")).or("UV_RESOLUTION"),
    value(&["--prerelease"], Argument("prerelease")).or("UV_PRERELEASE"),
    switch(&["--pre"], Switch("pre")),
    value(&["--exclude-newer"], Argument("exclude-newer")).or("UV_EXCLUDE_NEWER"),
    switch(&["--no-sources"], Switch("no-sources")).or("UV_NO_SOURCES"),
    switch(&["--reinstall", "--force-reinstall"], Switch("reinstall")),
    switch(&["--no-build-isolation"], Switch("no-build-isolation")).or("UV_NO_BUILD_ISOLATION"),
    switch(&["--no-build"], Switch("no-build")).or("UV_NO_BUILD"),
    switch(&["--refresh"], Idle),
    value(&["--refresh-package"], Idle),
    value(&["--link-mode"], LinkMode).or("UV_LINK_MODE"),
    switch(&["--compile-bytecode", "--compile"], Compiles).or("UV_COMPILE_BYTECODE"),
    switch(&["--no-compile-bytecode", "--no-compile"], DoesNotCompile),
    value(&["-p", "--python"], Python).or("UV_PYTHON"),
];

/// What `uv pip install` takes besides.
pub(super) const UV_PIP_INSTALL: &[Known<Meaning>] = &[
    value(&["-r", "--requirements", "--requirement"], RequirementFile),
    value(&["-c", "--constraints", "--constraint"], Constraint).or("UV_CONSTRAINT"),
    value(&["-e", "--editable"], Editable),
    value(&["--group"], Group),
    value(&["--extra"], Extra),
    switch(&["--all-extras"], AllExtras),
    switch(&["--no-deps"], Switch("no-deps")),
    switch(&["--require-hashes"], Switch("require-hashes")).or("UV_REQUIRE_HASHES"),
    switch(&["--no-verify-hashes"], Switch("no-verify-hashes")).or("UV_NO_VERIFY_HASHES"),
    value(&["--no-binary"], Named("no-binary")),
    value(&["--only-binary"], Named("only-binary")),
    value(&["--torch-backend"], TorchBackend).or("UV_TORCH_BACKEND"),
    switch(&["--strict", "--disable-pip-version-check"], Idle),
    switch(&["--system"], System).or("UV_SYSTEM_PYTHON"),
    switch(&["--break-system-packages", "--no-break-system-packages"], Idle),
    value(&["-t", "--target"], Target),
    value(&["--prefix"], Prefix),
];

/// Variables of uv that change an installation and are refused.
pub(super) const UV_REFUSED: [&str; 22] = [
    "UV_BUILD_CONSTRAINT",
    "UV_CONFIG_SETTING",
    "UV_CUSTOM_COMPILE_COMMAND",
    "UV_DRY_RUN",
    "UV_EXCLUDE",
    "UV_EXCLUDE_NEWER_PACKAGE",
    "UV_EXTRA_BUILD_DEPENDENCIES",
    "UV_FORK_STRATEGY",
    "UV_MANAGED_PYTHON",
    "UV_NO_BINARY",
    "UV_NO_BINARY_PACKAGE",
    "UV_NO_BUILD_PACKAGE",
    "UV_NO_EDITABLE",
    "UV_NO_MANAGED_PYTHON",
    "UV_NO_SOURCES_PACKAGE",
    "UV_OFFLINE",
    "UV_OVERRIDE",
    "UV_PREVIEW",
    "UV_PROJECT",
    "UV_REQUIRE_BUILD_HASHES",
    "UV_WORKING_DIR",
    "UV_WORKING_DIRECTORY",
];
