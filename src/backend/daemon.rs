//! A private `buildkitd`: started for one build, with a root and a socket of its own, and ended with it.
//!
//! It is held on a leash, so that nothing of it outlives this process, however that ends: as root it has a process and a
//! mount namespace of its own, which the kernel clears; else `rootlesskit` gives it both.

use std::fmt::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::contract::Order;
use super::error::BackendError;
use super::logins::{Door, Logins};
use super::workbench::write;
use crate::resolver::child::{Child, ChildEnvironment, Serving};

/// How long the daemon has until it listens.
const PATIENCE: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(20);
/// The longest path of a socket that buildkitd takes, which is less than the kernel does, without the socket's own name.
const SOCKET_FOLDER: usize = 104 - "/buildkitd.sock".len();
/// OCI runtimes under the names that buildkitd looks for.
const RUNTIMES: [&str; 2] = ["buildkit-runc", "runc"];
const ROOTLESS_TOOLS: [&str; 3] = ["rootlesskit", "newuidmap", "newgidmap"];

/// What is missing for a private daemon.
pub(super) fn missing(environment: &ChildEnvironment) -> Option<String> {
    let has = |name: &str| environment.find_on_path(name).is_some();
    if !has("buildkitd") {
        return Some("`buildkitd` is not on PATH".to_owned());
    }
    if !RUNTIMES.into_iter().any(has) && !has("crun") {
        return Some("`runc` is not on PATH".to_owned());
    }
    if is_root() {
        return None;
    }
    let absent = ROOTLESS_TOOLS.into_iter().find(|name| !has(name))?;
    Some(format!("this is not root, and `{absent}` is not on PATH"))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A daemon that serves until it is ended or dropped.
pub(super) struct PrivateDaemon {
    serving: Serving,
    folder: TempDir,
}

impl PrivateDaemon {
    /// Starts one and waits until `ask`, which takes its address, is answered.
    ///
    /// # Errors
    /// Fails when the daemon cannot be started or ends by itself, with its last words.
    pub(super) async fn start<F: Future<Output = Result<(), String>>>(
        environment: &ChildEnvironment,
        order: &Order<'_>,
        ask: impl Fn(String) -> F,
    ) -> Result<Self, BackendError> {
        let folder = folder(environment, order)?;
        let config = config(order.logins, folder.path(), environment)?;
        write(&folder.path().join("buildkitd.toml"), config.as_bytes())?;
        let log = folder.path().join("log");
        let scratch = |source| BackendError::Scratch { path: log.clone(), source };
        std::fs::create_dir(folder.path().join("tmp")).map_err(scratch)?;
        let file = std::fs::File::create(&log).map_err(scratch)?;
        let child = command(environment, folder.path()).await;
        let serving = child.serve(file).map_err(|source| BackendError::Run { backend: "buildkitd".into(), source })?;
        let mut daemon = Self { serving, folder };
        let began = Instant::now();
        loop {
            if daemon.socket().exists() && ask(daemon.address()).await.is_ok() {
                return Ok(daemon);
            }
            if daemon.serving.has_ended() || began.elapsed() > PATIENCE {
                let lines = last_lines(&log);
                daemon.end().await;
                return Err(BackendError::Daemon { lines });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("buildkitd.sock")
    }

    /// Its address, as `buildctl` takes it.
    pub(super) fn address(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// Ends it, and waits until its processes, mounts and files are gone.
    pub(super) async fn end(self) {
        self.serving.end().await;
    }
}

/// The folder of socket, root and configuration: in the order's scratch folder, where there is room for layers, unless
/// a socket cannot have so long a path.
fn folder(environment: &ChildEnvironment, order: &Order<'_>) -> Result<TempDir, BackendError> {
    let temporary = environment.value("TMPDIR").filter(|folder| folder.starts_with('/')).unwrap_or("/tmp");
    let fits = |folder: &Path| folder.as_os_str().len() + "/buildkit-123456".len() <= SOCKET_FOLDER;
    let places = [order.scratch, Path::new(temporary), Path::new("/tmp")];
    let place = places.into_iter().find(|place| fits(place)).unwrap_or(Path::new("/tmp"));
    let private = std::fs::Permissions::from_mode(0o700);
    let made = tempfile::Builder::new().prefix("buildkit-").rand_bytes(6).permissions(private).tempdir_in(place);
    made.map_err(|source| BackendError::Scratch { path: place.into(), source })
}

/// `buildkitd.toml`: who speaks plain http, mirrors, certificates.
fn config(logins: &Logins, folder: &Path, environment: &ChildEnvironment) -> Result<String, BackendError> {
    let mut text =
        String::from("[worker.containerd]\n  enabled = false\n[worker.oci]\n  enabled = true\n  gc = false\n");
    let has_runtime = RUNTIMES.into_iter().any(|name| environment.find_on_path(name).is_some());
    if !has_runtime && let Some(crun) = environment.find_on_path("crun") {
        let _ = writeln!(text, "  binary = {}", quoted(&crun.display().to_string()));
    }
    let mut roots = Vec::new();
    for (number, pem) in logins.roots.iter().enumerate() {
        let path = folder.join(format!("root-{number}.pem"));
        write(&path, pem)?;
        roots.push(quoted(&path.display().to_string()));
    }
    for (name, Door { plain_http, mirrors, .. }) in &logins.doors {
        let _ = writeln!(text, "[registry.{}]", quoted(name));
        if *plain_http {
            text.push_str("  http = true\n");
        }
        if !roots.is_empty() {
            let _ = writeln!(text, "  ca = [{}]", roots.join(", "));
        }
        if !mirrors.is_empty() {
            let mirrors: Vec<String> = mirrors.iter().map(|mirror| quoted(mirror)).collect();
            let _ = writeln!(text, "  mirrors = [{}]", mirrors.join(", "));
        }
    }
    Ok(text)
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

async fn command(environment: &ChildEnvironment, folder: &Path) -> Child {
    let program = |name: &str| environment.find_on_path(name).unwrap_or_else(|| PathBuf::from(name));
    let below = |name: &str| folder.join(name).display().to_string();
    let daemon = [
        program("buildkitd").display().to_string(),
        format!("--config={}", below("buildkitd.toml")),
        format!("--root={}", below("root")),
        format!("--addr=unix://{}", below("buildkitd.sock")),
        // Else it takes the place of another daemon's.
        format!("--otel-socket-path={}", below("otel.sock")),
        "--oci-worker-net=host".to_owned(),
        "--allow-insecure-entitlement=network.host".to_owned(),
    ];
    // What it leaves in its temporary folder goes with the rest.
    let environment = environment.clone().with("TMPDIR", below("tmp"));
    let child = |name: &str| Child::new(program(name), environment.clone(), folder);
    if !is_root() {
        let mut child = child("rootlesskit").on_choke(folder, Some(program("rootlesskit")));
        let namespaces = ["--net=host", "--pidns", "--copy-up=/etc", "--copy-up=/run"].map(str::to_owned);
        // Below `/run` of its own it would find no place of the user's.
        child.environment = child.environment.with("XDG_RUNTIME_DIR", folder.display().to_string());
        child.arguments = [&namespaces[..], &daemon[..], &["--rootless".to_owned()]].concat();
        return child;
    }
    let mut probe = child("unshare");
    probe.arguments = UNSHARE.into_iter().chain(["true"]).map(str::to_owned).collect();
    probe.timeout = PATIENCE;
    if probe.run().await.is_ok_and(|outcome| outcome.status.success()) {
        let mut child = child("unshare").on_choke(folder, None);
        child.arguments = UNSHARE.into_iter().map(str::to_owned).chain(daemon).collect();
        return child;
    }
    // Without namespaces of its own it has to be asked to end, so that it unmounts what it mounted.
    let mut child = child("buildkitd").on_leash(folder);
    child.arguments = daemon[1..].to_vec();
    child
}

/// Processes and mounts of its own, which go with the first process; that one goes when `unshare` does.
const UNSHARE: [&str; 5] = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

fn last_lines(log: &Path) -> Vec<String> {
    let text = std::fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(8)..].iter().map(|line| (*line).to_owned()).collect()
}
