//! A shipyard: the embedded registry with the demo's parent, the demo's project, and the binary to run on it.
//!
//! No network, no tool and no variable of the caller's environment is used.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use lapstrake::oci::media_type::{OCI_CONFIG, OCI_EMPTY, OCI_LAYER_GZIP, OCI_MANIFEST};
use lapstrake::oci::{Descriptor, Digest, MediaType, Reference};
use lapstrake::registry::{BlobBody, Client, ClientConfig, Registry};
use lapstrake::serve::{RequestLine, Running, ServeOptions, Server};
use serde_json::{Value, json};

use super::readback::Image;

/// Where the demo's parent and project are checked in.
pub(crate) const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/demo");

/// What a run of the binary left.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let code = output.status.code().unwrap_or(-1);
        Self { code, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

/// A registry, a project, and a place for stores.
pub(crate) struct Yard {
    folder: tempfile::TempDir,
    running: Running,
    seen: Arc<Mutex<Vec<RequestLine>>>,
    client: Client,
    /// Whether builds are recorded.
    ledger: bool,
}

impl Yard {
    /// Starts a registry that has the demo's parent as `demo/parent:1`, and writes the demo's project.
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let seen: Arc<Mutex<Vec<RequestLine>>> = Arc::default();
        let observer = Arc::clone(&seen);
        let running = Server::bind(ServeOptions {
            durable: false,
            observer: Some(Arc::new(move |line: &RequestLine| observer.lock().unwrap().push(line.clone()))),
            ..ServeOptions::new(folder.path().join("registry"))
        });
        let running = running.await.unwrap().spawn();
        let yard = Self { folder, running, seen, client: Client::new(ClientConfig::default()), ledger: false };
        copy_tree(&Path::new(FIXTURES).join("project"), &yard.project());
        std::fs::create_dir_all(yard.path("home")).unwrap();
        yard.push_image("demo/parent:1", &[&parent_layer()], &parent_config()).await;
        yard.requests();
        yard
    }

    /// A yard whose builds are recorded. In all others they are not, so that the requests of a test are the image's.
    pub(crate) async fn with_ledger() -> Self {
        Self { ledger: true, ..Self::new().await }
    }

    /// A path of the yard's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The project's folder.
    pub(crate) fn project(&self) -> PathBuf {
        self.path("project")
    }

    /// `host:port` of the registry.
    pub(crate) fn domain(&self) -> String {
        self.running.address().to_string()
    }

    /// A reference in the registry.
    pub(crate) fn at(&self, name: &str) -> String {
        format!("{}/{name}", self.domain())
    }

    /// The parsed reference.
    pub(crate) fn reference(&self, name: &str) -> Reference {
        Reference::parse(&self.at(name)).unwrap()
    }

    /// The registry, through the library's client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.project().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// The requests since the last call, as `METHOD path`.
    pub(crate) fn requests(&self) -> Vec<String> {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        seen.iter().map(|line| format!("{} {}", line.method, line.path)).collect()
    }

    /// The binary with a clean environment, the store `store`, and the project as working folder.
    #[expect(clippy::disallowed_methods, reason = "the binary itself is what is tested")]
    pub(crate) fn command(&self, store: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lapstrake"));
        command.env_clear().env("HOME", self.path("home")).env("TMPDIR", self.folder.path());
        if !self.ledger {
            command.env("LAPSTRAKE_LEDGER", "off");
        }
        command.env("LAPSTRAKE_STORE", self.path(store)).current_dir(self.project());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the binary with these arguments to its end; its output has `HOST` in place of the registry's name.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        let ran: Ran = self.command("store").args(arguments).output().unwrap().into();
        let named = |text: String| text.replace(&self.domain(), "HOST");
        Ran { stdout: named(ran.stdout), stderr: named(ran.stderr), ..ran }
    }

    /// Runs the binary, which has to succeed, and gives its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let ran: Ran = self.command("store").args(["--format", "json"]).args(arguments).output().unwrap().into();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    }

    /// Pushes an artifact that names `subject`, under its digest alone, and gives its descriptor.
    pub(crate) async fn push_referrer(&self, repository: &str, subject: &Descriptor, kind: &str) -> Descriptor {
        let at = self.reference(repository).repository();
        let content = format!("{kind} of {}", subject.digest).into_bytes();
        let (blob, empty) = (Descriptor::of("text/plain", &content), Descriptor::of(OCI_EMPTY, b"{}"));
        for (blob, bytes) in [(&blob, content), (&empty, b"{}".to_vec())] {
            self.client.push_blob(&at, blob, BlobBody::Bytes(bytes.into()), &|_| ()).await.unwrap();
        }
        let manifest = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": kind, "config": empty, "layers": [blob],
            "subject": subject, "annotations": {"made": "for a test"},
        });
        let bytes = manifest.to_string().into_bytes();
        let descriptor = Descriptor::of(OCI_MANIFEST, &bytes);
        let name = Reference::pinned(&at, &descriptor.digest);
        self.client.push_manifest(&name, &MediaType::new(OCI_MANIFEST), &bytes).await.unwrap();
        descriptor
    }

    /// `lapstrake build` with `more` flags: onto the demo's parent and as `demo/app:latest` unless they say otherwise.
    pub(crate) fn build_command(&self, store: &str, more: &[&str]) -> Command {
        let mut command = self.command(store);
        command.arg("build");
        if !more.contains(&"--parent-image") {
            command.args(["--parent-image", &self.at("demo/parent:1")]);
        }
        if !more.iter().any(|flag| matches!(*flag, "--tag" | "--output" | "--registry")) {
            command.args(["--tag", &self.at("demo/app:latest")]);
        }
        command.args(more);
        command
    }

    /// Runs the build to its end.
    pub(crate) fn run_build(&self, store: &str, more: &[&str]) -> Ran {
        self.build_command(store, more).output().unwrap().into()
    }

    /// Runs the build, which has to succeed, and gives its only image of `--format json`.
    pub(crate) fn build(&self, store: &str, more: &[&str]) -> Value {
        let ran = self.run_build(store, &[&["--format", "json"], more].concat());
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let mut printed: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(printed["images"].as_array().unwrap().len(), 1);
        printed["images"][0].take()
    }

    /// The image under a name of the registry, read by an independent client.
    pub(crate) async fn pull(&self, name: &str) -> Image {
        Image::pull(&self.at(name)).await
    }

    /// What a tag stands for now.
    pub(crate) async fn digest_of(&self, name: &str) -> Option<Digest> {
        let found = self.client.resolve(&self.reference(name)).await.unwrap();
        found.map(|descriptor| descriptor.digest)
    }

    /// Pushes an image of gzipped layers with OCI media types.
    pub(crate) async fn push_image(&self, name: &str, layers: &[&[u8]], config: &[u8]) -> Descriptor {
        self.push_image_as(name, layers, config, [OCI_MANIFEST, OCI_CONFIG, OCI_LAYER_GZIP]).await
    }

    /// Pushes an image with the given media types of manifest, config and layers.
    pub(crate) async fn push_image_as(
        &self,
        name: &str,
        layers: &[&[u8]],
        config: &[u8],
        types: [&str; 3],
    ) -> Descriptor {
        let at = self.reference(name);
        let [manifest_type, config_type, layer_type] = types;
        let layers: Vec<_> = layers.iter().map(|bytes| (Descriptor::of(layer_type, bytes), bytes.to_vec())).collect();
        let config = (Descriptor::of(config_type, config), config.to_vec());
        for (blob, bytes) in layers.iter().chain([&config]) {
            let body = BlobBody::Bytes(bytes.clone().into());
            self.client.push_blob(&at.repository(), blob, body, &|_| ()).await.unwrap();
        }
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": config.0,
            "layers": layers.iter().map(|(blob, _)| blob).collect::<Vec<_>>(),
        });
        let bytes = manifest.to_string().into_bytes();
        self.client.push_manifest(&at, &MediaType::new(manifest_type), &bytes).await.unwrap();
        Descriptor::of(manifest_type, &bytes)
    }

    /// Pushes an index over `children`, each with its platform.
    pub(crate) async fn push_index(&self, name: &str, children: &[(Descriptor, &str)]) {
        let manifests: Vec<Value> = children
            .iter()
            .map(|(child, architecture)| {
                let mut child = serde_json::to_value(child).unwrap();
                child["platform"] = json!({"os": "linux", "architecture": architecture});
                child
            })
            .collect();
        let media_type = lapstrake::oci::media_type::OCI_INDEX;
        let index = json!({"schemaVersion": 2, "mediaType": media_type, "manifests": manifests}).to_string();
        let media_type = MediaType::new(media_type);
        self.client.push_manifest(&self.reference(name), &media_type, index.as_bytes()).await.unwrap();
    }
}

/// The demo parent's only layer.
pub(crate) fn parent_layer() -> Vec<u8> {
    std::fs::read(Path::new(FIXTURES).join("parent.tar.gz")).unwrap()
}

/// The demo parent's config.
pub(crate) fn parent_config() -> Vec<u8> {
    std::fs::read(Path::new(FIXTURES).join("parent.json")).unwrap()
}

/// The demo parent's config with `change` done to it.
pub(crate) fn changed_config(change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut config: Value = serde_json::from_slice(&parent_config()).unwrap();
    change(&mut config);
    config.to_string().into_bytes()
}

/// Copies a folder.
#[expect(clippy::disallowed_methods, reason = "the order of copying reaches no bytes")]
pub(crate) fn copy_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
