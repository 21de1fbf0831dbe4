//! A harbour: the embedded registry on loopback, and raw requests to it.
//!
//! Nothing is asserted here but what every test takes for granted.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use lapstrake::oci::media_type::{OCI_CONFIG, OCI_LAYER, OCI_MANIFEST};
use lapstrake::oci::{Algorithm, Digest, Digester};
use lapstrake::serve::{RequestLine, Running, ServeOptions, Server};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};

pub(crate) struct Harbour {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) running: Running,
    pub(crate) client: Client,
    pub(crate) seen: Arc<Mutex<Vec<RequestLine>>>,
}

impl Harbour {
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Response {
        // A Location may be absolute or relative; this server's are relative.
        let mut request = self.client.request(method, format!("http://{}{path}", self.running.address()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body.into()).send().await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, &[], "").await
    }

    pub(crate) async fn head(&self, path: &str) -> StatusCode {
        self.send(Method::HEAD, path, &[], "").await.status()
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path).await.bytes().await.unwrap()).unwrap()
    }

    pub(crate) async fn open(&self, name: &str) -> String {
        let answer = self.send(Method::POST, &format!("/v2/{name}/blobs/uploads/"), &[], "").await;
        assert_eq!(answer.status(), 202);
        header(&answer, "location")
    }

    pub(crate) async fn push_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        assert_eq!(self.send(Method::POST, &path, &[], bytes).await.status(), 201);
        digest
    }

    pub(crate) async fn put_manifest(&self, name: &str, target: &str, document: &Value) -> Response {
        let media_type = document["mediaType"].as_str().unwrap_or(OCI_MANIFEST).to_owned();
        let path = format!("/v2/{name}/manifests/{target}");
        self.send(Method::PUT, &path, &[("content-type", &media_type)], document.to_string()).await
    }

    /// Pushes an image with one layer and returns its manifest.
    pub(crate) async fn push_image(&self, name: &str, tag: &str, layer: &[u8]) -> Value {
        let config = br#"{"os":"linux"}"#;
        self.push_blob(name, config).await;
        self.push_blob(name, layer).await;
        let document = image(config, layer);
        assert_eq!(self.put_manifest(name, tag, &document).await.status(), 201);
        document
    }
}

pub(crate) fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

/// A server with the defaults.
pub(crate) async fn harbour() -> Harbour {
    harbour_with(|_| {}).await
}

/// A server whose options differ from the defaults.
pub(crate) async fn harbour_with(change: impl FnOnce(&mut ServeOptions)) -> Harbour {
    let folder = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut options = ServeOptions::new(folder.path().join("registry"));
    change(&mut options);
    let observer = Arc::clone(&seen);
    options.observer = Some(Arc::new(move |line: &RequestLine| observer.lock().unwrap().push(line.clone())));
    let running = Server::bind(options).await.unwrap().spawn();
    Harbour { folder, running, client: client(), seen }
}

pub(crate) fn header(answer: &Response, name: &str) -> String {
    answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

pub(crate) async fn code(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    (status, body["errors"][0]["code"].as_str().unwrap().to_owned())
}

pub(crate) fn pointer(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
}

pub(crate) fn image(config: &[u8], layer: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": pointer(OCI_CONFIG, config),
        "layers": [pointer(OCI_LAYER, layer)],
    })
}

pub(crate) fn digest_with(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut digester = Digester::new(algorithm);
    digester.update(bytes);
    digester.finish()
}

pub(crate) fn with_digest(location: &str, digest: &Digest) -> String {
    format!("{location}{}digest={digest}", if location.contains('?') { '&' } else { '?' })
}

pub(crate) fn files(folder: &Path) -> usize {
    #[expect(clippy::disallowed_methods, reason = "counts files, in any order")]
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

/// The binary's `registry serve` in a process of its own, which ends with this value.
pub(crate) struct Shed {
    child: Child,
    pub(crate) address: String,
}

impl Shed {
    /// Serves `root` on a free port, and returns when it answers.
    #[expect(clippy::disallowed_methods, reason = "the binary under test")]
    pub(crate) fn serve(root: &Path, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_lapstrake"))
            .args(["registry", "serve", "--listen", "127.0.0.1:0"])
            .args(arguments)
            .arg(root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
        Self { child, address: address.trim_end().to_owned() }
    }

    /// Ends it with SIGKILL, in the middle of whatever it does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The most memory that it had, in KiB, where the system tells.
    pub(crate) fn peak(&self) -> Option<u64> {
        let status = std::fs::read_to_string(PathBuf::from(format!("/proc/{}/status", self.child.id()))).ok()?;
        status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok())
    }
}

impl Drop for Shed {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
