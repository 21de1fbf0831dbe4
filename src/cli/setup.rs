//! Puts together what a use case works with: the client, the store, the resolver, the reporter.
//!
//! The one place where flags, environment and configuration become handles.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lapstrake::diagnostic::Diagnose;
use lapstrake::event::{Event, Reporter};
use lapstrake::oci::Platform;
use lapstrake::ops::{Means, Traffic};
use lapstrake::registry::{
    Chain, Client, ClientConfig, Credential, DockerKeychain, Given, Helpers, Identity, Keychain,
};
use lapstrake::resolver::child::ChildEnvironment;
use lapstrake::resolver::{HttpClient, Resolver};
use lapstrake::store::Store;

use super::args::{Reach, Shown};
use super::environment::Environment;
use super::exit::{self, UsageError};
use super::progress;

type Failure = Box<dyn Diagnose + Send>;

const USER_AGENT: &str = concat!("lapstrake/", env!("CARGO_PKG_VERSION"));
/// How long nothing may move before a connection counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

/// The handles for one command. `targets` are the registries that credentials from the environment are for.
pub(crate) fn means(
    reach: &Reach,
    insecure: &[String],
    targets: &[String],
    shown: &Shown,
    environment: &Environment,
) -> Result<Means, Failure> {
    let reporter = progress::reporter(shown);
    let (store, is_lasting) = store(reach, environment, &*reporter)?;
    let mut config = ClientConfig { offline: reach.offline, ..ClientConfig::default() };
    config.keychain = keychain(targets, environment);
    config.insecure = [insecure, &reach.insecure_registry].concat();
    for file in &reach.ca_file {
        config.extra_roots.push(read(file)?);
    }
    let mut children = ChildEnvironment::new(environment.variables().clone());
    if !is_lasting && environment.var("UV_CACHE_DIR").is_none() {
        // Where there is no place for our store there may be none for uv's cache.
        children = children.with("UV_CACHE_DIR", store.root().join("uv").display().to_string());
    }
    let uv = environment.var("LAPSTRAKE_UV").map(PathBuf::from);
    let http = HttpClient::new(USER_AGENT, PATIENCE, reach.offline).trusting(config.extra_roots.clone());
    let resolver = Resolver::new(children, http, uv);
    Ok(Means {
        registry: Arc::new(Client::new(config)),
        store,
        resolver: Arc::new(resolver),
        netrc: netrc(environment),
        reporter,
        traffic: Arc::new(Traffic::default()),
        host_platform: host_platform(),
        threads: std::thread::available_parallelism().map_or(1, usize::from),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        let what = format!("cannot read `{}`: {error}", path.display());
        exit::fail(UsageError::new(what, "see that the file is there and can be read"))
    })
}

/// The store and `true`, or one for this run alone and `false` when the usual one cannot be had.
fn store(reach: &Reach, environment: &Environment, reporter: &dyn Reporter) -> Result<(Store, bool), Failure> {
    let root = reach.store.clone().filter(|path| !path.as_os_str().is_empty()).or_else(|| environment.default_store());
    let Some(root) = root else { return Ok((temporary(environment)?, false)) };
    match Store::open(&root) {
        Ok(store) => Ok((store, true)),
        Err(error) => {
            let why = exit::causes(&error, false).into_iter().map(|cause| format!(": {cause}")).collect::<String>();
            let text =
                format!("the store `{}` cannot be used, and this run goes on without it: {error}{why}", root.display());
            reporter.report(Event::Warning { text });
            Ok((temporary(environment)?, false))
        }
    }
}

fn temporary(environment: &Environment) -> Result<Store, Failure> {
    let folder = environment.var("TMPDIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    Store::temporary(&folder).map_err(exit::fail)
}

/// Identities: the environment's for the targets, then Docker's configuration, then podman's.
fn keychain(targets: &[String], environment: &Environment) -> Arc<dyn Keychain> {
    let mut chain: Vec<Arc<dyn Keychain>> = Vec::new();
    if let (Some(user), Some(password)) = (environment.var("LAPSTRAKE_USERNAME"), environment.var("LAPSTRAKE_PASSWORD"))
    {
        for domain in targets {
            let credential = Credential::Password { username: user.to_owned(), password: password.to_owned() };
            let source = "LAPSTRAKE_USERNAME".to_owned();
            chain.push(Arc::new(Given { domain: domain.clone(), identity: Identity { credential, source } }));
        }
    }
    let docker = environment.var("DOCKER_CONFIG").map(PathBuf::from);
    let docker = docker.or_else(|| Some(environment.home()?.join(".docker")));
    let mut files: Vec<PathBuf> = docker.map(|folder| folder.join("config.json")).into_iter().collect();
    files.extend(environment.var("REGISTRY_AUTH_FILE").map(PathBuf::from));
    files.extend(environment.var("XDG_RUNTIME_DIR").map(|folder| Path::new(folder).join("containers/auth.json")));
    files.extend(environment.home().map(|home| home.join(".config/containers/auth.json")));
    let helpers = Helpers { path: environment.var("PATH").map(Into::into), ..Helpers::default() };
    chain.push(Arc::new(DockerKeychain::new(files, helpers)));
    Arc::new(Chain(chain))
}

/// The netrc file: `$NETRC`, else `~/.netrc`; one that cannot be read counts as absent, as it does for curl.
fn netrc(environment: &Environment) -> Option<Arc<str>> {
    let path = environment.var("NETRC").map(PathBuf::from).or_else(|| Some(environment.home()?.join(".netrc")))?;
    std::fs::read_to_string(path).ok().map(Into::into)
}

/// What this machine runs, in Go's names.
pub(crate) fn host_platform() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    Platform::new("linux", architecture)
}
