//! The server: an address, its connections, and their end.
//!
//! What a request means is none of its business.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};

use super::ServeError;
use super::exchange::{Registry, answer};
use super::login::Login;
use super::storage::Storage;
use super::uploads::Uploads;

/// How long running requests may go on after the shutdown.
const GRACE: Duration = Duration::from_secs(5);
/// Connections at once; more wait until one ends.
const CONNECTIONS: usize = 1024;

/// One request that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestLine {
    /// The method.
    pub method: String,
    /// The path with its query.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
}

/// Is told of each request as its answer begins; called from many threads.
pub type Observer = Arc<dyn Fn(&RequestLine) + Send + Sync>;

/// How to serve.
#[derive(Clone)]
pub struct ServeOptions {
    /// The folder.
    pub root: PathBuf,
    /// Where to listen; port 0 takes any free one.
    pub address: SocketAddr,
    /// Whether what is answered for survives a power cut.
    pub durable: bool,
    /// A file of users as `htpasswd -B` makes it, read at the start; without one, everybody is admitted.
    pub passwords: Option<PathBuf>,
    /// Whether every write is refused.
    pub is_read_only: bool,
    /// How long a client may neither send nor take anything.
    pub silence: Duration,
    /// Told of each request.
    pub observer: Option<Observer>,
}

impl ServeOptions {
    /// Serves `root` durably on any free port of 127.0.0.1.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            durable: true,
            passwords: None,
            is_read_only: false,
            silence: Duration::from_secs(60),
            observer: None,
        }
    }
}

impl fmt::Debug for ServeOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeOptions")
            .field("root", &self.root)
            .field("address", &self.address)
            .field("durable", &self.durable)
            .field("passwords", &self.passwords)
            .field("is_read_only", &self.is_read_only)
            .field("silence", &self.silence)
            .finish_non_exhaustive()
    }
}

/// A server that listens and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    registry: Arc<Registry>,
    observer: Option<Observer>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Server {
    /// Takes the folder and the address.
    ///
    /// # Errors
    /// Fails when the address is taken, when the folder is in use, not writable, or holds something else, or
    /// when the file of users has a hash that is not bcrypt's.
    pub async fn bind(options: ServeOptions) -> Result<Self, ServeError> {
        let ServeOptions { root, address, durable, passwords, is_read_only, silence, observer } = options;
        let opening = spawn_blocking({
            let root = root.clone();
            move || {
                let login = passwords.map(|path| Login::read(&path)).transpose()?;
                Ok::<_, ServeError>((Storage::open(&root, durable)?, login))
            }
        });
        let (storage, login) = opening.await.unwrap_or_else(|_| Err(ServeError::InUse { root }))?;
        let bound = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok((listener, address))
        };
        let (listener, address) = bound.await.map_err(|source| ServeError::Bind { address, source })?;
        let (storage, login) = (Arc::new(storage), login.map(Arc::new));
        let registry = Registry { storage, uploads: Uploads::default(), login, is_read_only, silence };
        Ok(Self { listener, address, registry: Arc::new(registry), observer })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `shutdown` is ready, then lets running requests end for a few seconds.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = pin!(shutdown);
        let (ending, end) = watch::channel(false);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = connections.join_next() => {}
                accepted = self.listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                    Ok((stream, _)) => {
                        let (registry, observer) = (Arc::clone(&self.registry), self.observer.clone());
                        connections.spawn(connection(stream, registry, observer, end.clone()));
                    }
                    // Out of file descriptors, most likely: wait for connections to end.
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                },
            }
        }
        drop(self.listener);
        let _ = ending.send(true);
        let all = async { while connections.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(GRACE, all).await;
    }

    /// Answers in a task of its own until the handle is stopped or dropped.
    pub fn spawn(self) -> Running {
        let address = self.address;
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(self.run(async {
            let _ = stopped.await;
        }));
        Running { address, stop, task }
    }
}

/// A server that answers in a task of its own.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Running {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Lets running requests end, and returns when the folder is free again.
    pub async fn stop(self) {
        drop(self.stop);
        let _ = self.task.await;
    }
}

async fn connection(
    stream: TcpStream,
    registry: Arc<Registry>,
    observer: Option<Observer>,
    mut end: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let silence = registry.silence;
    end_when_nothing_is_taken(&stream, silence);
    let service = service_fn(move |request: Request<Incoming>| {
        let (registry, observer) = (Arc::clone(&registry), observer.clone());
        async move { Ok::<_, Infallible>(observed(&registry, observer.as_ref(), request).await) }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(silence);
    let mut serving = pin!(http.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        // A connection that breaks is its client's affair.
        _ = serving.as_mut() => return,
        _ = end.changed() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// Has the system end the connection when its client takes no byte for so long.
#[cfg(target_os = "linux")]
fn end_when_nothing_is_taken(stream: &TcpStream, silence: Duration) {
    let milliseconds = u32::try_from(silence.as_millis()).unwrap_or(u32::MAX);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(stream, milliseconds);
}

/// Elsewhere the system's own patience applies.
#[cfg(not(target_os = "linux"))]
fn end_when_nothing_is_taken(_: &TcpStream, _: Duration) {}

async fn observed(
    registry: &Registry,
    observer: Option<&Observer>,
    request: Request<Incoming>,
) -> super::answer::Answer {
    let Some(observer) = observer else { return answer(registry, request).await };
    let method = request.method().to_string();
    let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    let answer = answer(registry, request).await;
    observer(&RequestLine { method, path, status: answer.status().as_u16() });
    answer
}
