//! Puts together what a use case works with: the client, the store, the resolver, the reporter.
//!
//! The one place where flags, environment and configuration become handles.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lapstrake::artifacts::Artifacts;
use lapstrake::backend::Backends;
use lapstrake::diagnostic::Diagnose;
use lapstrake::event::{Event, Reporter};
use lapstrake::oci::{Platform, Reference};
use lapstrake::ops::{self, Means, Memory, Traffic};
use lapstrake::registry::{
    Chain, Client, ClientConfig, Clouds, Credential, DockerKeychain, Facts, Given, Helpers, Identity, Keychain,
    LoginStore, Proxies, check_roots, registry_name,
};
use lapstrake::resolver::child::ChildEnvironment;
use lapstrake::resolver::{HttpClient, Resolver};
use lapstrake::store::Store;

use super::args::{Reach, Shown};
use super::environment::Environment;
use super::exit::{self, UsageError};
use super::{progress, user_config};

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
    let config = client_config(reach, insecure, targets, &reporter, environment)?;
    let mut children = ChildEnvironment::new(environment.variables().clone());
    if !is_lasting && environment.var("UV_CACHE_DIR").is_none() {
        // Where there is no place for our store there may be none for uv's cache.
        children = children.with("UV_CACHE_DIR", store.root().join("uv").display().to_string());
    }
    let uv = environment.var("LAPSTRAKE_UV").map(PathBuf::from);
    let http = HttpClient::new(USER_AGENT, PATIENCE, reach.offline)
        .trusting(config.extra_roots.clone())
        .through(config.proxies.clone());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let resolver = Resolver::new(children.clone(), http, uv);
    let (keychain, roots) = (Arc::clone(&config.keychain), config.extra_roots.clone());
    let client = Arc::new(Client::new(config));
    let backends = Backends::new(children, keychain, Arc::clone(&client), roots);
    Ok(Means {
        artifacts: Arc::new(Artifacts::new(clouds(reach, insecure, environment)?)),
        registry: client,
        store,
        resolver: Arc::new(resolver),
        backends: Arc::new(backends),
        netrc: netrc(environment),
        reporter,
        memory: Arc::new(Memory::new(threads)),
        traffic: Arc::new(Traffic::default()),
        host_platform: host_platform(),
        threads,
        keeps_records: environment.ledger().is_some(),
    })
}

/// How registries are reached, and who we are there.
pub(crate) fn client_config(
    reach: &Reach,
    insecure: &[String],
    targets: &[String],
    reporter: &Arc<dyn Reporter>,
    environment: &Environment,
) -> Result<ClientConfig, Failure> {
    let config = anonymous_config(reach, insecure, environment)?;
    let plain = config.access.iter().filter(|(_, access)| access.plain_http == Some(true));
    let insecure: Vec<String> = insecure.iter().chain(plain.map(|(domain, _)| domain)).cloned().collect();
    let keychain = keychain(targets, reach, &insecure, environment, &**reporter)?;
    Ok(ClientConfig { keychain, reporter: Arc::clone(reporter), ..config })
}

/// How registries are reached: flags, the user's configuration, the environment.
fn anonymous_config(reach: &Reach, insecure: &[String], environment: &Environment) -> Result<ClientConfig, Failure> {
    let mut access = user_config::read(environment)?.access;
    user_config::add_mirrors(&reach.registry_mirror, &mut access)?;
    Ok(ClientConfig {
        insecure: [insecure, &reach.insecure_registry].concat(),
        extra_roots: extra_roots(reach)?,
        access,
        proxies: Proxies::from_variables(environment.variables()),
        offline: reach.offline,
        ..ClientConfig::default()
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
    Store::temporary(&environment.scratch()).map_err(exit::fail)
}

/// The client that checks a login: it knows nobody else.
pub(crate) fn login_client(reach: &Reach, environment: &Environment) -> Result<Client, Failure> {
    Ok(Client::new(anonymous_config(reach, &[], environment)?))
}

/// The certificates of `--ca-file`.
fn extra_roots(reach: &Reach) -> Result<Vec<Vec<u8>>, Failure> {
    let roots = |file| user_config::pem(file, "`--ca-file`", |text| check_roots(text).map(|()| text.to_vec()));
    reach.ca_file.iter().map(PathBuf::as_path).map(roots).collect()
}

/// The logins of Docker's configuration.
pub(crate) fn login_store(environment: &Environment) -> Result<LoginStore, Failure> {
    let file = docker_config(environment).ok_or_else(|| {
        let what = "neither `DOCKER_CONFIG` nor `HOME` says where logins are kept";
        exit::fail(UsageError::new(what, "set `DOCKER_CONFIG` to a folder"))
    })?;
    Ok(LoginStore::new(file, credential_programs(environment)))
}

/// Docker's `config.json`: in `$DOCKER_CONFIG`, else in `~/.docker`.
fn docker_config(environment: &Environment) -> Option<PathBuf> {
    let folder = environment.var("DOCKER_CONFIG").map(PathBuf::from);
    Some(folder.or_else(|| Some(environment.home()?.join(".docker")))?.join("config.json"))
}

fn credential_programs(environment: &Environment) -> Helpers {
    Helpers { path: environment.var("PATH").map(Into::into), ..Helpers::default() }
}

/// The clouds' own credentials.
fn clouds(reach: &Reach, insecure: &[String], environment: &Environment) -> Result<Clouds, Failure> {
    Ok(Clouds::new(Facts {
        variables: environment.variables().clone(),
        home: environment.home(),
        clock: Arc::new(seconds_since_1970),
        insecure: [insecure, &reach.insecure_registry].concat(),
        extra_roots: extra_roots(reach)?,
        user_agent: USER_AGENT.to_owned(),
        offline: reach.offline,
    }))
}

/// Makes the repositories of `targets` that are in Amazon ECR and not there yet, and says so.
pub(crate) async fn create_repositories(
    reach: &Reach,
    insecure: &[String],
    environment: &Environment,
    targets: &[Reference],
    means: &Means,
) -> Result<(), Failure> {
    let clouds = clouds(reach, insecure, environment)?;
    for name in ops::create_repositories(&clouds, targets).await.map_err(exit::fail)? {
        means.reporter.report(Event::Note { text: format!("made the repository {name}") });
    }
    Ok(())
}

fn seconds_since_1970() -> u64 {
    milliseconds_since_1970() / 1_000
}

/// The time of day.
#[expect(clippy::disallowed_methods, reason = "the clouds sign with the time of day, and builds have one")]
pub(crate) fn milliseconds_since_1970() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Identities: the environment's for the targets, then Docker's configuration, then podman's, then the clouds' own.
fn keychain(
    targets: &[String],
    reach: &Reach,
    insecure: &[String],
    environment: &Environment,
    reporter: &dyn Reporter,
) -> Result<Arc<dyn Keychain>, Failure> {
    let mut chain = given(targets, environment, reporter)?;
    let mut files: Vec<PathBuf> = docker_config(environment).into_iter().collect();
    files.extend(environment.var("REGISTRY_AUTH_FILE").map(PathBuf::from));
    files.extend(environment.var("XDG_RUNTIME_DIR").map(|folder| Path::new(folder).join("containers/auth.json")));
    files.extend(environment.home().map(|home| home.join(".config/containers/auth.json")));
    chain.push(Arc::new(DockerKeychain::new(files, credential_programs(environment))));
    chain.push(Arc::new(clouds(reach, insecure, environment)?));
    Ok(Arc::new(Chain(chain)))
}

/// The identity of `LAPSTRAKE_USERNAME` and `LAPSTRAKE_PASSWORD`: for the registry that `LAPSTRAKE_REGISTRY` names,
/// else for those that the command writes to or asks about.
fn given(
    targets: &[String],
    environment: &Environment,
    reporter: &dyn Reporter,
) -> Result<Vec<Arc<dyn Keychain>>, Failure> {
    let (username, password) = match ["LAPSTRAKE_USERNAME", "LAPSTRAKE_PASSWORD"].map(|name| environment.var(name)) {
        [Some(username), Some(password)] => (username.to_owned(), password.to_owned()),
        [None, None] => return Ok(Vec::new()),
        _ => {
            let text = "only one of `LAPSTRAKE_USERNAME` and `LAPSTRAKE_PASSWORD` is set, and is not used".to_owned();
            reporter.report(Event::Warning { text });
            return Ok(Vec::new());
        }
    };
    let domains = match environment.var("LAPSTRAKE_REGISTRY") {
        Some(name) => vec![registry_name(name).map_err(exit::fail)?],
        None => targets.to_vec(),
    };
    let credential = Credential::Password { username, password };
    let identity = Identity::new(credential, "LAPSTRAKE_USERNAME");
    let keychain = |domain| -> Arc<dyn Keychain> { Arc::new(Given { domain, identity: identity.clone() }) };
    Ok(domains.into_iter().map(keychain).collect())
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
