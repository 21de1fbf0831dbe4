//! A loopback HTTP server that does what a script says, faults included, and records what it sees.
//!
//! Speaks raw HTTP/1.1, since servers proper can neither cut nor reset a connection nor lie about a length.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    /// Whether the body was read to its end.
    pub(crate) whole: bool,
}

/// What the server does with a request's body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Reading {
    /// Reads all of it.
    #[default]
    All,
    /// Reads so many bytes, then resets the connection; the script still sees what came, its answer is not sent.
    Reset(usize),
    /// Reads so many bytes, then nothing more.
    Stall(usize),
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
    endless: bool,
    endless_head: Option<Duration>,
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

    /// Sends the body again and again, without a length.
    pub(crate) fn endless(mut self) -> Self {
        self.endless = true;
        self
    }

    /// Sends headers without end, with a pause after each.
    pub(crate) fn endless_head(mut self, pause: Duration) -> Self {
        self.endless_head = Some(pause);
        self
    }

    /// Sends one byte at a time, with a pause after each.
    pub(crate) fn drip(mut self, pause: Duration) -> Self {
        self.drip = Some(pause);
        self
    }
}

type Script = dyn Fn(&Seen, usize) -> Reply + Send + Sync;
type ReadingScript = dyn Fn(&Seen, usize) -> Reading + Send + Sync;

/// A running server; ends when dropped.
pub(crate) struct FaultServer {
    address: SocketAddr,
    state: Arc<State>,
    task: JoinHandle<()>,
}

struct State {
    script: Box<Script>,
    reading: Box<ReadingScript>,
    hits: Mutex<BTreeMap<(String, String), usize>>,
    log: Mutex<Vec<Seen>>,
    /// By method: how many requests are being answered now, and how many were at most.
    busy: Mutex<BTreeMap<String, (usize, usize)>>,
    connections: AtomicUsize,
    /// How many of them are open.
    open: AtomicUsize,
}

impl FaultServer {
    /// Starts a server. The script gets each request and which hit of its method and path it is, from 1.
    pub(crate) async fn start(script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_reading(|_, _| Reading::All, script).await
    }

    /// Starts a server that treats bodies as `reading` says, which gets each request before its body.
    pub(crate) async fn start_reading(
        reading: impl Fn(&Seen, usize) -> Reading + Send + Sync + 'static,
        script: impl Fn(&Seen, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            script: Box::new(script),
            reading: Box::new(reading),
            hits: Mutex::default(),
            log: Mutex::default(),
            busy: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
        });
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::Relaxed);
                shared.open.fetch_add(1, Ordering::SeqCst);
                let state = shared.clone();
                tokio::spawn(async move {
                    // A client that goes away is no fault of the server.
                    let _ = serve(stream, &state).await;
                    state.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { address, state, task }
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
        self.state.log.lock().unwrap().clone()
    }

    /// Waits until what a client that ended had still sent is read and in the log.
    pub(crate) async fn quiet(&self) {
        let closed = async {
            while self.state.open.load(Ordering::SeqCst) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), closed).await.expect("every client ended");
    }

    /// How many connections were made.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// How many requests of this method were being answered at once, at most.
    pub(crate) fn peak(&self, method: &str) -> usize {
        self.state.busy.lock().unwrap().get(method).map_or(0, |(_, peak)| *peak)
    }

    /// All requests as `METHOD path`, in order of their arrival.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.path())).collect()
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
    while let Some(mut seen) = read_head(&mut stream).await? {
        let nth = {
            let mut hits = state.hits.lock().unwrap();
            let nth = hits.entry((seen.method.clone(), seen.path().to_owned())).or_default();
            *nth += 1;
            *nth
        };
        let reading = (state.reading)(&seen, nth);
        {
            let mut busy = state.busy.lock().unwrap();
            let (now, peak) = busy.entry(seen.method.clone()).or_default();
            *now += 1;
            *peak = (*peak).max(*now);
        }
        let read = read_body(&mut stream, &mut seen, reading).await;
        state.log.lock().unwrap().push(seen.clone());
        let goes_on = match read {
            Ok(()) => {
                let reply = (state.script)(&seen, nth);
                reply_to(stream.get_mut(), &seen, &reply).await
            }
            Err(error) => Err(error),
        };
        state.busy.lock().unwrap().entry(seen.method.clone()).or_default().0 -= 1;
        if !goes_on? {
            return Ok(());
        }
    }
    Ok(())
}

/// Answers as told; says whether the connection goes on.
async fn reply_to(stream: &mut TcpStream, seen: &Seen, reply: &Reply) -> io::Result<bool> {
    if !seen.whole {
        stream.set_zero_linger()?;
        return Ok(false);
    }
    tokio::time::sleep(reply.delay).await;
    let goes_on = answer(stream, seen, reply).await?;
    if !goes_on && reply.reset {
        stream.set_zero_linger()?;
    }
    Ok(goes_on)
}

async fn read_head(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Seen>> {
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
    Ok(Some(Seen { method, target, headers, body: Vec::new(), whole: true }))
}

/// Reads the body as told; what came before the connection ended is kept.
async fn read_body(stream: &mut BufReader<TcpStream>, seen: &mut Seen, reading: Reading) -> io::Result<()> {
    if let Some(length) = seen.header("content-length").and_then(|text| text.parse::<usize>().ok()) {
        let wanted = match reading {
            Reading::All => length,
            Reading::Reset(bytes) | Reading::Stall(bytes) => bytes.min(length),
        };
        let read = stream.take(wanted as u64).read_to_end(&mut seen.body).await;
        seen.whole = seen.body.len() == length && matches!(reading, Reading::All);
        if matches!(reading, Reading::Stall(_)) {
            std::future::pending::<()>().await;
        }
        read?;
    } else if seen.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
        read_chunked(stream, &mut seen.body).await?;
    }
    Ok(())
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
    if let Some(pause) = reply.endless_head {
        loop {
            stream.write_all(head.as_bytes()).await?;
            stream.flush().await?;
            tokio::time::sleep(pause).await;
            head = format!("x-filler: {}\r\n", "x".repeat(900));
        }
    }
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    let has_length = reply.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    if !has_length && reply.status != 204 && !reply.endless {
        head.push_str(&format!("content-length: {}\r\n", reply.body.len()));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    let body = if seen.method == "HEAD" { &[] } else { &reply.body[..] };
    let body = &body[..reply.cut_after.unwrap_or(body.len()).min(body.len())];
    if reply.endless {
        loop {
            stream.write_all(body).await?;
        }
    }
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
