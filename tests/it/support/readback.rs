//! Reads an image back with other people's code: `oci-client` for the wire, `flate2` and `tar` for the layers.
//!
//! It believes nothing: digests and diff_ids are computed anew.

use std::collections::BTreeMap;
use std::io::Read as _;

use oci_distribution::client::{ClientConfig, ClientProtocol};
use oci_distribution::secrets::RegistryAuth;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// One entry of a layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) kind: tar::EntryType,
    pub(crate) mode: u32,
    pub(crate) uid: u64,
    pub(crate) gid: u64,
    pub(crate) mtime: u64,
    pub(crate) content: Vec<u8>,
}

impl File {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.content).unwrap()
    }
}

/// One layer: its descriptor and its entries by path, folders without the slash at their end.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) descriptor: Value,
    pub(crate) blob: Vec<u8>,
    pub(crate) files: BTreeMap<String, File>,
}

impl Layer {
    pub(crate) fn annotation(&self, name: &str) -> &str {
        self.descriptor["annotations"][name].as_str().unwrap_or_default()
    }
}

/// An image that was pulled and checked.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    pub(crate) digest: String,
    pub(crate) manifest: Value,
    pub(crate) manifest_bytes: Vec<u8>,
    pub(crate) config: Value,
    pub(crate) config_bytes: Vec<u8>,
    pub(crate) layers: Vec<Layer>,
}

impl Image {
    /// Pulls the manifest under `name`, its config and its layers, and checks every digest, size and diff_id.
    pub(crate) async fn pull(name: &str) -> Self {
        let (client, at) = client(name);
        let (manifest_bytes, digest) =
            client.pull_manifest_raw(&at, &RegistryAuth::Anonymous, &ACCEPTED).await.unwrap();
        assert_eq!(digest, sha256(&manifest_bytes));
        let manifest: Value = serde_json::from_slice(&manifest_bytes).unwrap();
        let config_bytes = blob(&client, &at, &manifest["config"]).await;
        let config: Value = serde_json::from_slice(&config_bytes).unwrap();
        let mut layers = Vec::new();
        let mut diff_ids = Vec::new();
        for descriptor in manifest["layers"].as_array().unwrap() {
            let bytes = blob(&client, &at, descriptor).await;
            let mut tar = Vec::new();
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut tar).unwrap();
            diff_ids.push(sha256(&tar));
            layers.push(Layer { descriptor: descriptor.clone(), blob: bytes, files: untar(&tar) });
        }
        assert_eq!(config["rootfs"]["diff_ids"], serde_json::json!(diff_ids));
        let whole = oci_spec::image::ImageConfiguration::from_reader(&config_bytes[..]).unwrap();
        let entries = whole.history().as_deref().unwrap_or_default().iter();
        assert_eq!(entries.filter(|entry| entry.empty_layer() != Some(true)).count(), layers.len(), "history");
        Self { digest, manifest, manifest_bytes: manifest_bytes.to_vec(), config, config_bytes, layers }
    }

    /// The layers that are not the parent's, by their kind.
    pub(crate) fn of_kind(&self, kind: &str) -> Vec<&Layer> {
        self.layers.iter().filter(|layer| layer.annotation("dev.lapstrake.layer.kind") == kind).collect()
    }

    /// The uppermost entry with this path.
    pub(crate) fn file(&self, path: &str) -> Option<&File> {
        self.layers.iter().rev().find_map(|layer| layer.files.get(path))
    }

    pub(crate) fn layer_digests(&self) -> Vec<String> {
        self.layers.iter().map(|layer| layer.descriptor["digest"].as_str().unwrap().to_owned()).collect()
    }
}

/// The manifest or index under `name`, unparsed, and its digest.
pub(crate) async fn document(name: &str) -> (Vec<u8>, String) {
    let (client, at) = client(name);
    let (bytes, digest) = client.pull_manifest_raw(&at, &RegistryAuth::Anonymous, &ACCEPTED).await.unwrap();
    (bytes.to_vec(), digest)
}

fn client(name: &str) -> (oci_distribution::Client, oci_distribution::Reference) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let config = ClientConfig {
        protocol: ClientProtocol::Http,
        no_proxy: Some("127.0.0.1".to_owned()),
        ..ClientConfig::default()
    };
    (oci_distribution::Client::new(config), name.parse().unwrap())
}

async fn blob(client: &oci_distribution::Client, at: &oci_distribution::Reference, descriptor: &Value) -> Vec<u8> {
    let digest = descriptor["digest"].as_str().unwrap();
    let mut bytes = Vec::new();
    client.pull_blob(at, digest, &mut bytes).await.unwrap();
    assert_eq!(descriptor["size"], bytes.len());
    assert_eq!(sha256(&bytes), digest);
    bytes
}

/// `sha256:` and the digest of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

fn untar(tar: &[u8]) -> BTreeMap<String, File> {
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().trim_end_matches('/').to_owned();
        let header = entry.header().clone();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        if let Some(target) = header.link_name().unwrap() {
            content = target.to_str().unwrap().as_bytes().to_vec();
        }
        let file = File {
            kind: header.entry_type(),
            mode: header.mode().unwrap(),
            uid: header.uid().unwrap(),
            gid: header.gid().unwrap(),
            mtime: header.mtime().unwrap(),
            content,
        };
        assert!(files.insert(path.clone(), file).is_none(), "`{path}` stands twice in a layer");
    }
    files
}
