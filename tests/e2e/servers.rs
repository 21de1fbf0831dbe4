//! Servers on loopback that live as long as the suite, or as a value of it.
//!
//! Each is ended by its own process id, on drop, and by the kernel when the suite dies first.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::Halt;
use crate::process::{command, done, run, tail};
use crate::tools;

const PATIENCE: Duration = Duration::from_secs(90);

/// A child that serves.
pub(crate) struct Serving {
    child: Child,
    log: PathBuf,
}

impl Serving {
    /// Starts `program`; what it says goes into `log`, after what it said there before.
    pub(crate) fn start(program: &str, arguments: &[&str], log: &Path, stdout: Stdio) -> Result<Self, Halt> {
        let file = File::options().create(true).append(true).open(log)?;
        let mut command = if tools::find("setpriv").is_some() {
            // The kernel ends the server when the suite dies without dropping it.
            command("setpriv", ["--pdeathsig", "TERM", program].iter().chain(arguments))
        } else {
            command(program, arguments)
        };
        // distribution 3 would tell a collector of traces what it does.
        let child = command.env("OTEL_TRACES_EXPORTER", "none").stdout(stdout).stderr(file).spawn()?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Sends a signal to it.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Halt> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let sent = pid.is_some_and(|pid| kill_process(pid, signal).is_ok());
        if sent { Ok(()) } else { Err(Halt::Failed("the server took no signal".to_owned())) }
    }

    fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until `ready`, or gives the last words of the server.
    pub(crate) fn wait(&mut self, ready: impl Fn() -> bool) -> Result<(), String> {
        let start = Instant::now();
        while !ready() {
            if self.ended() || start.elapsed() > PATIENCE {
                return Err(tail(&self.log()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if !self.ended() {
            let _ = self.signal(Signal::TERM);
        }
        let start = Instant::now();
        while !self.ended() && start.elapsed() < Duration::from_secs(15) {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether a registry answers, whatever it says.
pub(crate) fn answers(address: &str) -> bool {
    get(address, "/v2/").is_ok()
}

/// Asks for a path as nobody in particular, and gives status and body.
pub(crate) fn get(address: &str, path: &str) -> Result<(u16, String), Halt> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    // Since 1.0 knows no chunks, the body is what follows the head.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(4 << 20).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.strip_prefix("HTTP/").and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let status = status.ok_or_else(|| Halt::Failed(format!("`{address}` does not speak HTTP: {head}")))?;
    Ok((status, body.to_owned()))
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16, Halt> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// `lapstrake registry serve`.
pub(crate) struct EmbeddedRegistry {
    _serving: Serving,
    pub(crate) address: String,
}

impl EmbeddedRegistry {
    /// Serves from `folder`.
    pub(crate) fn start(folder: &Path) -> Result<Self, Halt> {
        std::fs::create_dir_all(folder)?;
        let root = folder.join("data");
        let arguments = ["registry", "serve", &root.to_string_lossy(), "--listen", "127.0.0.1:0"];
        let program = env!("CARGO_BIN_EXE_lapstrake");
        let mut serving = Serving::start(program, &arguments, &folder.join("log"), Stdio::piped())?;
        let mut line = String::new();
        if let Some(stdout) = serving.child.stdout.take() {
            BufReader::new(stdout).read_line(&mut line)?;
        }
        let address = line.trim().to_owned();
        let ready = serving.wait(|| answers(&address));
        ready.map_err(|log| Halt::Failed(format!("`lapstrake registry serve` did not start\n{log}")))?;
        Ok(Self { _serving: serving, address })
    }
}

/// moto: AWS's APIs in memory.
pub(crate) struct Moto {
    _serving: Serving,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
}

impl Moto {
    /// Serves with a log in `folder`.
    pub(crate) fn start(folder: &Path) -> Result<Self, Halt> {
        tools::need(&["moto_server"])?;
        std::fs::create_dir_all(folder)?;
        let port = free_port()?;
        let arguments = ["-H", "127.0.0.1", "-p", &port.to_string()];
        let mut serving = Serving::start("moto_server", &arguments, &folder.join("moto.log"), Stdio::null())?;
        let address = format!("127.0.0.1:{port}");
        let ready = serving.wait(|| matches!(Self::ask(&address, "DescribeRepositories", "{}"), Ok((200, _))));
        ready.map_err(|log| Halt::Failed(format!("moto_server did not start\n{log}")))?;
        Ok(Self { _serving: serving, address })
    }

    /// Calls an operation of its ECR, and gives status and body.
    pub(crate) fn call(&self, operation: &str, body: &str) -> Result<(u16, String), Halt> {
        Ok(Self::ask(&self.address, operation, body)?)
    }

    /// The same at an address; moto believes every signature.
    pub(crate) fn ask(address: &str, operation: &str, body: &str) -> std::io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        let scope = "AKID/20260101/eu-central-1/ecr/aws4_request";
        write!(
            stream,
            "POST / HTTP/1.0\r\nhost: {address}\r\ncontent-type: application/x-amz-json-1.1\r\n\
             content-length: {length}\r\nx-amz-target: AmazonEC2ContainerRegistry_V20150921.{operation}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|word| word.parse().ok()).unwrap_or(0);
        Ok((status, answer))
    }
}

/// Where a buildkitd listens other than on a socket, and the flags that both ends need for it.
#[derive(Default)]
pub(crate) struct TlsDoor {
    pub(crate) address: Option<String>,
    pub(crate) of_daemon: Vec<String>,
    pub(crate) of_caller: Vec<String>,
}

/// A buildkitd that serves several builds.
pub(crate) struct Buildkitd {
    _serving: Serving,
    /// As `BUILDKIT_HOST` has it.
    pub(crate) address: String,
    // Sockets have short paths only.
    _sockets: tempfile::TempDir,
}

impl Buildkitd {
    /// Starts it with everything below `folder`; `registry` speaks plain http, and `more` ends the configuration.
    pub(crate) fn start(folder: &Path, registry: &str, more: &str) -> Result<Self, Halt> {
        Self::behind(folder, registry, more, &TlsDoor::default())
    }

    /// The same behind a door of its own.
    pub(crate) fn behind(folder: &Path, registry: &str, more: &str, door: &TlsDoor) -> Result<Self, Halt> {
        tools::need(&["buildkitd", "buildctl", "runc"])?;
        tools::need_root()?;
        std::fs::create_dir_all(folder)?;
        let sockets = tempfile::Builder::new().prefix("lapstrake-e2e-").tempdir()?;
        let own = || format!("unix://{}/buildkitd.sock", sockets.path().display());
        let address = door.address.clone().unwrap_or_else(own);
        let below = |name: &str| folder.join(name).display().to_string();
        let config = format!("[worker.containerd]\nenabled = false\n[registry.\"{registry}\"]\nhttp = true\n{more}");
        std::fs::write(below("buildkitd.toml"), config)?;
        let (config, root) = (below("buildkitd.toml"), below("root"));
        let mut arguments = vec!["--config", &config, "--root", &root, "--addr", &address, "--oci-worker-net=host"];
        arguments.extend(door.of_daemon.iter().map(String::as_str));
        let otel = format!("--otel-socket-path={}/otel.sock", sockets.path().display());
        arguments.push(&otel);
        let mut serving = Serving::start("buildkitd", &arguments, &folder.join("log"), Stdio::null())?;
        let asks = || door.of_caller.iter().map(String::as_str).chain(["--addr", &address, "debug", "workers"]);
        let ready = || run(&mut command("buildctl", asks())).is_ok_and(|ran| ran.code == Some(0));
        serving.wait(ready).map_err(|log| {
            Halt::Skipped(format!("buildkitd does not start here: {}", log.lines().last().unwrap_or("no word")))
        })?;
        Ok(Self { _serving: serving, address, _sockets: sockets })
    }
}

/// Debian's dockerd on a socket of its own.
pub(crate) struct Dockerd {
    _serving: Serving,
    socket: String,
    // Sockets have short paths only, so they are not below the suite's folder.
    _sockets: tempfile::TempDir,
}

impl Dockerd {
    /// Starts it with everything below `folder`.
    pub(crate) fn start(folder: &Path) -> Result<Self, Halt> {
        tools::need(&["dockerd", "docker", "runc"])?;
        tools::need_root()?;
        std::fs::create_dir_all(folder)?;
        let sockets = tempfile::Builder::new().prefix("lapstrake-e2e-").tempdir()?;
        let below = |name: &str| sockets.path().join(name).display().to_string();
        let socket = format!("unix://{}", below("docker.sock"));
        let (exec_root, pid_file) = (below("exec"), below("pid"));
        let data_root = folder.join("data").display().to_string();
        let arguments = [
            ["-H", &socket, "--data-root", &data_root, "--exec-root", &exec_root].as_slice(),
            &["-p", &pid_file, "--iptables=false", "--ip6tables=false", "--bridge=none"],
        ]
        .concat();
        let mut serving = Serving::start("dockerd", &arguments, &folder.join("log"), Stdio::null())?;
        let ready = || run(&mut command("docker", ["-H", &socket, "version"])).is_ok_and(|ran| ran.code == Some(0));
        serving.wait(ready).map_err(|log| {
            Halt::Skipped(format!("dockerd does not start here: {}", log.lines().last().unwrap_or("no word")))
        })?;
        Ok(Self { _serving: serving, socket, _sockets: sockets })
    }

    /// Where it listens, as `DOCKER_HOST` has it.
    pub(crate) fn address(&self) -> &str {
        &self.socket
    }

    /// Runs `docker` against it, and gives stdout.
    pub(crate) fn docker(&self, arguments: &[&str]) -> Result<String, Halt> {
        done("docker", ["-H", &self.socket].iter().copied().chain(arguments.iter().copied()))
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        let _ = self.docker(&["container", "prune", "--force"]);
    }
}

/// A command of the binary under test.
pub(crate) fn lapstrake() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapstrake"));
    command.stdin(Stdio::null());
    command
}
