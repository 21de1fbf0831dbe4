//! Segments built by the library in a process of its own, which a case may kill.
//!
//! The suite's own program is that process: it builds what the file names that `LAPSTRAKE_E2E_ORDER` points to.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::Duration;

use lapstrake::artifacts::Artifacts;
use lapstrake::backend::{Backends, Context, Secret, Segment};
use lapstrake::diagnostic::Diagnose;
use lapstrake::event::{Event, Reporter};
use lapstrake::oci::{Platform, Repository};
use lapstrake::ops::segment::{self, SegmentRequest};
use lapstrake::ops::{Means, Memory, Traffic};
use lapstrake::registry::{Client, ClientConfig, Clouds, DockerKeychain, Facts, Helpers};
use lapstrake::resolver::child::ChildEnvironment;
use lapstrake::resolver::{HttpClient, Resolver};
use lapstrake::store::Store;
use serde::{Deserialize, Serialize};

use crate::harness::Halt;
use crate::process::{Ran, run};
use crate::world::World;

/// The variable that names the order.
pub(crate) const ORDER: &str = "LAPSTRAKE_E2E_ORDER";

/// The folder for temporary files of these processes; sockets have short paths only.
pub(crate) fn temporary() -> PathBuf {
    PathBuf::from(format!("/tmp/lapstrake-e2e-{}", std::process::id()))
}

/// What is built, and with what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) dockerfile: String,
    pub(crate) context: Option<PathBuf>,
    pub(crate) ignore: String,
    pub(crate) build_args: BTreeMap<String, String>,
    pub(crate) secrets: BTreeMap<String, String>,
    pub(crate) platform: String,
    pub(crate) target: String,
    pub(crate) backend: Option<String>,
    /// The network of instructions, where the engine is to be told.
    pub(crate) network: Option<String>,
    pub(crate) store: PathBuf,
    /// The whole environment of the process.
    pub(crate) environment: BTreeMap<String, String>,
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Made {
    pub(crate) reference: String,
    pub(crate) tag: String,
    pub(crate) made_by: Option<String>,
    pub(crate) steps: Vec<String>,
}

impl Order {
    /// A Dockerfile alone, for `repository`, with `path` as search path and a store of its own below the suite's folder.
    pub(crate) fn new(world: &World, store: &str, dockerfile: &str, repository: &str, path: &str) -> Self {
        let home = world.folder("segment-home").display().to_string();
        let environment = [("PATH", path.to_owned()), ("HOME", home), ("TMPDIR", temporary().display().to_string())];
        Self {
            dockerfile: dockerfile.to_owned(),
            context: None,
            ignore: String::new(),
            build_args: BTreeMap::new(),
            secrets: BTreeMap::new(),
            platform: "linux/amd64".to_owned(),
            target: repository.to_owned(),
            backend: None,
            network: None,
            store: world.folder(store),
            environment: environment.map(|(name, value)| (name.to_owned(), value)).into(),
        }
    }

    /// The same with a variable of the environment.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.to_owned(), value.to_owned());
        self
    }

    /// The command that builds it.
    pub(crate) fn command(&self, world: &World) -> Result<Command, Halt> {
        std::fs::create_dir_all(world.folder("segment-home"))?;
        std::fs::create_dir_all(temporary())?;
        let file = tempfile::Builder::new().prefix("order-").suffix(".json").tempfile_in(&world.work)?;
        serde_json::to_writer(file.as_file(), self)?;
        let (_, path) = file.keep().map_err(|error| Halt::Failed(error.to_string()))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.env_clear().envs(&self.environment).env(ORDER, path).stdin(std::process::Stdio::null());
        Ok(command)
    }

    /// Builds it to its end.
    pub(crate) fn run(&self, world: &World) -> Result<Ran, Halt> {
        run(&mut self.command(world)?)
    }

    /// Builds it, which has to succeed.
    pub(crate) fn build(&self, world: &World) -> Result<Made, Halt> {
        Ok(serde_json::from_str(&self.run(world)?.done()?.stdout)?)
    }

    /// Builds it, which has to fail, and gives what was said.
    pub(crate) fn refused(&self, world: &World) -> Result<String, Halt> {
        let ran = self.run(world)?;
        if ran.code == Some(1) { Ok(ran.stderr) } else { Err(Halt::Failed(format!("it ended with {:?}", ran.code))) }
    }
}

/// Keeps the names of a backend's steps.
#[derive(Default)]
struct StepNames(std::sync::Mutex<Vec<String>>);

impl Reporter for StepNames {
    fn report(&self, event: Event) {
        let text = match event {
            Event::Started { name, .. } => name,
            Event::Warning { text } => format!("warning: {text}"),
            _ => return,
        };
        if let Ok(mut names) = self.0.lock() {
            names.push(text);
        }
    }
}

/// Builds the order of this process; `None` when it has none, and is the suite.
pub(crate) fn child() -> Option<ExitCode> {
    let file = std::env::var_os(ORDER)?;
    let made =
        tokio::runtime::Runtime::new().map_err(Into::into).and_then(|runtime| runtime.block_on(made(Path::new(&file))));
    Some(match made {
        Ok(made) => {
            println!("{made}");
            ExitCode::SUCCESS
        }
        Err(text) => {
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.to_string().as_bytes());
            ExitCode::FAILURE
        }
    })
}

type Said = Box<dyn std::error::Error>;

async fn made(file: &Path) -> Result<String, Said> {
    let order: Order = serde_json::from_slice(&std::fs::read(file)?)?;
    let environment = ChildEnvironment::new(order.environment.clone());
    let steps = Arc::new(StepNames::default());
    let client = Arc::new(Client::new(ClientConfig::default()));
    let logins: Vec<PathBuf> = environment.value("REGISTRY_AUTH_FILE").map(PathBuf::from).into_iter().collect();
    let keychain = Arc::new(DockerKeychain::new(logins, Helpers::default()));
    let config = ClientConfig { keychain: keychain.clone(), ..ClientConfig::default() };
    let http = HttpClient::new("e2e", Duration::from_secs(30), true);
    let clouds = Clouds::new(Facts {
        variables: BTreeMap::new(),
        home: None,
        clock: Arc::new(|| 0),
        insecure: Vec::new(),
        extra_roots: Vec::new(),
        user_agent: "e2e".to_owned(),
        offline: true,
    });
    let means = Means {
        registry: Arc::new(Client::new(config)),
        artifacts: Arc::new(Artifacts::new(clouds)),
        store: Store::open(&order.store)?,
        resolver: Arc::new(Resolver::new(environment.clone(), http, None)),
        backends: Arc::new(Backends::new(environment, keychain, client, Vec::new())),
        netrc: None,
        reporter: Arc::clone(&steps) as Arc<dyn Reporter>,
        memory: Arc::new(Memory::new(2)),
        traffic: Arc::new(Traffic::default()),
        host_platform: Platform::new("linux", "amd64"),
        threads: 2,
        keeps_records: false,
    };
    let target = Repository::parse(&order.target)?;
    let mut segment = Segment::new(order.dockerfile.clone(), order.platform.parse()?);
    segment.context = order.context.clone().map(|root| Context { root, ignore: order.ignore.clone() });
    segment.build_args.extend(order.build_args.clone());
    segment.secrets = order.secrets.iter().map(|(id, value)| (id.clone(), Secret::from(value.as_str()))).collect();
    segment.engine_options.extend(order.network.iter().map(|network| ("network".to_owned(), network.as_str().into())));
    let backend = order.backend.as_deref();
    let request = SegmentRequest {
        target: &target,
        backend,
        refresh: false,
        place: None,
        instruction: "RUN",
        reason: "it runs a program",
    };
    let pinned = segment::pin(&means, &segment).await.map_err(|error| told(&error))?;
    let image = segment::find_or_build(&means, request, &pinned).await.map_err(|error| told(&error))?;
    let steps = steps.0.lock().map(|names| names.clone()).unwrap_or_default();
    let (reference, tag) = (image.reference.to_string(), format!("{target}:{}", image.key.tag()));
    Ok(serde_json::to_string(&Made { reference, tag, made_by: image.made_by, steps })?)
}

fn told(error: &dyn Diagnose) -> String {
    let mut text = format!("error: {error}\n");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!("  because: {error}\n"));
        cause = error.source();
    }
    text + &error.hint().map(|hint| format!("  hint: {hint}\n")).unwrap_or_default()
}
