//! A proxy on loopback that makes tunnels (RFC 9110, CONNECT) to where the test says, and records who asked.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request for a tunnel.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    /// `host:port`.
    pub(crate) target: String,
    /// `Proxy-Authorization`.
    pub(crate) login: Option<String>,
}

/// A running proxy; ends when dropped.
pub(crate) struct TunnelProxy {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl TunnelProxy {
    /// Leads each `host:port` of `ways` to an address of this machine, for those who send `login`, if there is one.
    pub(crate) async fn start(ways: &[(&str, SocketAddr)], login: Option<&'static str>) -> Self {
        let ways: BTreeMap<String, SocketAddr> = ways.iter().map(|(target, to)| ((*target).to_owned(), *to)).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let log = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (ways, log) = (ways.clone(), Arc::clone(&log));
                tokio::spawn(async move {
                    // A client that goes away is no fault of the proxy.
                    let _ = serve(stream, &ways, login, &log).await;
                });
            }
        });
        Self { address, asked, task }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for TunnelProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    stream: TcpStream,
    ways: &BTreeMap<String, SocketAddr>,
    login: Option<&str>,
    log: &Mutex<Vec<Asked>>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut first = String::new();
    stream.read_line(&mut first).await?;
    let target = first.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let mut given = None;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        if name.eq_ignore_ascii_case("proxy-authorization") {
            given = Some(value.trim().to_owned());
        }
    }
    log.lock().unwrap().push(Asked { target: target.clone(), login: given.clone() });
    let refusal = match ways.get(&target) {
        _ if login.is_some_and(|login| given.as_deref() != Some(login)) => "407 Proxy Authentication Required",
        Some(to) => {
            let mut behind = TcpStream::connect(to).await?;
            stream.get_mut().write_all(b"HTTP/1.1 200 Connected\r\n\r\n").await?;
            copy_bidirectional(&mut stream, &mut behind).await?;
            return Ok(());
        }
        None => "502 Bad Gateway",
    };
    let answer = format!("HTTP/1.1 {refusal}\r\nproxy-authenticate: Basic realm=\"p\"\r\ncontent-length: 0\r\n\r\n");
    stream.get_mut().write_all(answer.as_bytes()).await
}
