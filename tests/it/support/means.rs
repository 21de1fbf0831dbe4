//! The handles of a use case, for tests that call the library and not the binary.
//!
//! No child finds anything of the caller's environment, and nothing leaves this machine.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lapstrake::artifacts::Artifacts;
use lapstrake::backend::Backends;
use lapstrake::event::Reporter;
use lapstrake::oci::Platform;
use lapstrake::ops::{Means, Memory, Traffic};
use lapstrake::registry::{Client, ClientConfig, Clouds, Facts, Keychain, Registry};
use lapstrake::resolver::child::ChildEnvironment;
use lapstrake::resolver::{HttpClient, Resolver};
use lapstrake::store::Store;

/// What tests choose of them.
pub(crate) struct Parts {
    /// All registries; `None` for the client that backends have.
    pub(crate) registry: Option<Arc<dyn Registry>>,
    pub(crate) environment: ChildEnvironment,
    pub(crate) keychain: Arc<dyn Keychain>,
    pub(crate) reporter: Arc<dyn Reporter>,
}

/// The handles, with the store in the folder `store`.
pub(crate) fn means(parts: Parts, store: &Path) -> Means {
    let Parts { registry, environment, keychain, reporter } = parts;
    let client = Arc::new(Client::new(ClientConfig::default()));
    let http = HttpClient::new("test", Duration::from_secs(5), true);
    let backends = Backends::new(environment.clone(), keychain, Arc::clone(&client), Vec::new());
    let clouds = Clouds::new(Facts {
        variables: Default::default(),
        home: None,
        clock: Arc::new(|| 0),
        insecure: Vec::new(),
        extra_roots: Vec::new(),
        user_agent: "test".to_owned(),
        offline: true,
    });
    Means {
        registry: registry.unwrap_or(client),
        store: Store::open(store).unwrap(),
        resolver: Arc::new(Resolver::new(environment, http, None)),
        backends: Arc::new(backends),
        artifacts: Arc::new(Artifacts::new(clouds)),
        netrc: None,
        reporter,
        memory: Arc::new(Memory::new(1)),
        traffic: Arc::new(Traffic::default()),
        host_platform: Platform::new("linux", "amd64"),
        threads: 1,
        keeps_records: false,
    }
}
