//! A package index on the loopback interface that can be told to misbehave.
//!
//! It speaks HTTP/1.1 by hand, one request a connection, so that it can break off where it likes.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with one request; the last one said for a path stays.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// The file, or the range asked for.
    Whole,
    /// The file from its start, whatever range is asked for.
    WithoutRanges,
    /// Breaks off after so many bytes of the body.
    Cut(usize),
    /// Sends so many bytes without saying the length, and ends properly.
    Unsized(usize),
    /// This status and no body.
    Status(u16),
    /// A redirect to this location.
    Redirect(String),
}

/// One request as the server saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) authorization: Option<String>,
    pub(crate) range: Option<String>,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    answers: BTreeMap<String, VecDeque<Answer>>,
    seen: Vec<Seen>,
}

/// The server; it ends with the runtime.
#[derive(Clone)]
pub(crate) struct IndexServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl IndexServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let state = server.state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = state.clone();
                tokio::spawn(async move {
                    let _ = serve(stream, &state).await;
                });
            }
        });
        server
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn put(&self, path: &str, bytes: &[u8]) {
        self.state.lock().unwrap().files.insert(path.into(), bytes.to_vec());
    }

    pub(crate) fn answer(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        self.state.lock().unwrap().answers.insert(path.into(), answers.into_iter().collect());
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }
}

async fn serve(mut stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let header = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let path = head.split_whitespace().nth(1).unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
    let range = header("range");
    let (answer, file) = {
        let mut state = state.lock().unwrap();
        state.seen.push(Seen { path: path.clone(), authorization: header("authorization"), range: range.clone() });
        let answer = match state.answers.get_mut(&path) {
            Some(answers) if answers.len() > 1 => answers.pop_front().unwrap(),
            Some(answers) => answers.front().cloned().unwrap_or(Answer::Whole),
            None => Answer::Whole,
        };
        (answer, state.files.get(&path).cloned())
    };
    stream.write_all(&respond(&answer, file, range.as_deref())).await?;
    stream.shutdown().await
}

fn respond(answer: &Answer, file: Option<Vec<u8>>, range: Option<&str>) -> Vec<u8> {
    let head =
        |status: &str, headers: &str| format!("HTTP/1.1 {status}\r\nconnection: close\r\n{headers}\r\n").into_bytes();
    let Some(file) = file else { return head("404 Not Found", "content-length: 0\r\n") };
    let asked = range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    let whole = |from: usize| {
        let length = file.len() - from;
        let ranged =
            format!("content-length: {length}\r\ncontent-range: bytes {from}-{}/{}\r\n", file.len() - 1, file.len());
        match from {
            0 => head("200 OK", &format!("content-length: {length}\r\n")),
            _ => head("206 Partial Content", &ranged),
        }
    };
    let from = asked.unwrap_or(0).min(file.len() - 1);
    match answer {
        Answer::Whole => [whole(from), file[from..].to_vec()].concat(),
        Answer::WithoutRanges => [whole(0), file.clone()].concat(),
        Answer::Cut(after) => [whole(from), file[from..file.len().min(from + after)].to_vec()].concat(),
        Answer::Unsized(count) => [head("200 OK", ""), file[..file.len().min(*count)].to_vec()].concat(),
        Answer::Status(status) => head(&format!("{status} Told"), "content-length: 0\r\n"),
        Answer::Redirect(to) => head("302 Found", &format!("content-length: 0\r\nlocation: {to}\r\n")),
    }
}
