//! A loopback HTTP server that does what a script says, faults included, and records what it sees.
//!
//! Speaks raw HTTP/1.1, since servers proper can neither cut nor reset a connection nor lie about a length.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    /// With lower-case names.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// The path without its query.
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What the server does with a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    delay: Duration,
    cut_after: Option<usize>,
    reset: bool,
    drip: Option<Duration>,
}

impl Reply {
    pub(crate) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(crate) fn ok(body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, body: body.into(), ..Self::default() }
    }

    pub(crate) fn header(mut self, name: &str, value: impl ToString) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Waits before the answer.
    pub(crate) fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Ends the connection after so many bytes of the body.
    pub(crate) fn cut_after(mut self, bytes: usize) -> Self {
        self.cut_after = Some(bytes);
        self
    }

    /// Ends the connection by a reset: in place of an answer, or after `cut_after` bytes of one.
    pub(crate) fn reset(mut self) -> Self {
        self.reset = true;
        self
    }

    /// Sends one byte at a time, with a pause after each.
    pub(crate) fn drip(mut self, pause: Duration) -> Self {
        self.drip = Some(pause);
        self
    }
}

type Script = dyn Fn(&Seen, usize) -> Reply + Send + Sync;

/// A running server; ends when dropped.
pub(crate) struct FaultServer {
    address: SocketAddr,
    log: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

struct State {
    script: Box<Script>,
    hits: Mutex<BTreeMap<(String, String), usize>>,
    log: Arc<Mutex<Vec<Seen>>>,
}

impl FaultServer {
    /// Starts a server. The script gets each request and which hit of its method and path it is, from 1.
    pub(crate) async fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let log = Arc::<Mutex<Vec<Seen>>>::default();
        let state = Arc::new(State { script: Box::new(script), hits: Mutex::default(), log: log.clone() });
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    // A client that goes away is no fault of the server.
                    let _ = serve(stream, &state).await;
                });
            }
        });
        Self { address, log, task }
    }

    /// `127.0.0.1:port`.
    pub(crate) fn domain(&self) -> String {
        self.address.to_string()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far, in order of their arrival.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.log.lock().unwrap().clone()
    }

    /// How many requests of this method and path came.
    pub(crate) fn hits(&self, method: &str, path: &str) -> usize {
        self.seen().iter().filter(|seen| seen.method == method && seen.path() == path).count()
    }
}

impl Drop for FaultServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(stream: TcpStream, state: &State) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(seen) = read_request(&mut stream).await? {
        let nth = {
            let mut hits = state.hits.lock().unwrap();
            let nth = hits.entry((seen.method.clone(), seen.path().to_owned())).or_default();
            *nth += 1;
            *nth
        };
        state.log.lock().unwrap().push(seen.clone());
        let reply = (state.script)(&seen, nth);
        tokio::time::sleep(reply.delay).await;
        if !answer(stream.get_mut(), &seen, &reply).await? {
            if reply.reset {
                stream.get_ref().set_zero_linger()?;
            }
            return Ok(());
        }
    }
    Ok(())
}

async fn read_request(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Seen>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let joined = headers.entry(name.to_ascii_lowercase()).or_insert_with(String::new);
        if !joined.is_empty() {
            joined.push_str(", ");
        }
        joined.push_str(value.trim());
    }
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length").and_then(|text| text.parse().ok()) {
        body.resize(length, 0);
        stream.read_exact(&mut body).await?;
    } else if headers.get("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        read_chunked(stream, &mut body).await?;
    }
    Ok(Some(Seen { method, target, headers, body }))
}

async fn read_chunked(stream: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let length = usize::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        let mut chunk = vec![0; length + 2];
        stream.read_exact(&mut chunk).await?;
        if length == 0 {
            return Ok(());
        }
        body.extend_from_slice(&chunk[..length]);
    }
}

/// Sends the answer; says whether the connection goes on.
async fn answer(stream: &mut TcpStream, seen: &Seen, reply: &Reply) -> io::Result<bool> {
    if reply.reset && reply.cut_after.is_none() {
        return Ok(false);
    }
    let mut head = format!("HTTP/1.1 {} Scripted\r\n", reply.status);
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let has_length = reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if !has_length && reply.status != 204 {
        head.push_str(&format!("content-length: {}\r\n", reply.body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    let body = if seen.method == "HEAD" { &[] } else { &reply.body[..] };
    let body = &body[..reply.cut_after.unwrap_or(body.len()).min(body.len())];
    match reply.drip {
        Some(pause) => {
            for byte in body {
                stream.write_all(&[*byte]).await?;
                tokio::time::sleep(pause).await;
            }
        }
        None => stream.write_all(body).await?,
    }
    stream.flush().await?;
    if reply.cut_after.is_some() && reply.reset {
        // Lets the bytes arrive before the reset overtakes them.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(reply.cut_after.is_none())
}
