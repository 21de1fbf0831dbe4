//! Whole commands against a registry under faults: what stands where it stood, and in which order things come.

use std::sync::{Arc, Mutex};

use lapstrake::oci::media_type::{OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST};
use lapstrake::oci::{Descriptor, MediaType, Reference, Repository};
use lapstrake::registry::{BlobBody, Client, ClientConfig, Registry};
use serde_json::{Value, json};

use crate::support::fault::{FaultServer, Reply, Seen};
use crate::support::tiny_registry::TinyRegistry;
use crate::support::yard::{Ran, Yard, changed_config, parent_config, parent_layer};

/// Pushes an image with the demo parent's layer; gives its digest.
async fn push_image(at: &Reference, config: &[u8]) -> String {
    let client = Client::new(ClientConfig::default());
    let parts = [Descriptor::of(OCI_CONFIG, config), Descriptor::of(OCI_LAYER_GZIP, &parent_layer())];
    for (part, bytes) in parts.iter().zip([config.to_vec(), parent_layer()]) {
        client.push_blob(&at.repository(), part, BlobBody::Bytes(bytes.into()), &|_| ()).await.unwrap();
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": parts[0], "layers": [parts[1]],
    });
    let bytes = manifest.to_string().into_bytes();
    client.push_manifest(at, &MediaType::new(OCI_MANIFEST), &bytes).await.unwrap();
    Descriptor::of(OCI_MANIFEST, &bytes).digest.to_string()
}

/// Builds the yard's project onto `demo/parent:1` of the server, as `demo/app:latest` there.
fn build(yard: &Yard, server: &FaultServer, store: &str) -> Ran {
    let (parent, target) =
        (format!("{}/demo/parent:1", server.domain()), format!("{}/demo/app:latest", server.domain()));
    yard.run_build(store, &["--quiet", "--parent-image", &parent, "--tag", &target])
}

/// A registry whose requests pass `fault` first.
async fn faulty(fault: impl Fn(&Seen) -> Option<Reply> + Send + Sync + 'static) -> (Arc<TinyRegistry>, FaultServer) {
    let registry = Arc::new(TinyRegistry::default());
    let answering = registry.clone();
    let server = FaultServer::start(move |seen, _| fault(seen).unwrap_or_else(|| answering.reply(seen))).await;
    (registry, server)
}

fn reference(server: &FaultServer, name: &str) -> Reference {
    Reference::parse(&format!("{}/{name}", server.domain())).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parents_tag_that_moves_in_mid_build_changes_nothing() {
    let yard = Yard::new().await;
    let moved = Arc::new(Mutex::new(None::<String>));
    let asked = moved.clone();
    let registry = Arc::new(TinyRegistry::default());
    let answering = registry.clone();
    let server = FaultServer::start(move |seen, nth| {
        let mut seen = seen.clone();
        if seen.method != "PUT" && seen.path() == "/v2/demo/parent/manifests/1" && nth > 1 {
            // After the first question the tag is another image's.
            *asked.lock().unwrap() = Some(seen.method.clone());
            seen.target = "/v2/demo/parent/manifests/2".to_owned();
        }
        answering.reply(&seen)
    })
    .await;
    let planned = push_image(&reference(&server, "demo/parent:1"), &parent_config()).await;
    let later = changed_config(|config| config["config"]["Env"] = json!(["MOVED=1"]));
    let other = push_image(&reference(&server, "demo/parent:2"), &later).await;
    assert_ne!(planned, other);
    let ran = build(&yard, &server, "store");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let image = read_manifest(&server, "demo/app:latest").await;
    assert_eq!(image["annotations"]["org.opencontainers.image.base.digest"], planned.as_str());
    let config = read_blob(&server, "demo/app", &image["config"]).await;
    assert!(!String::from_utf8_lossy(&config).contains("MOVED=1"));
    let asks = server
        .seen()
        .iter()
        .filter(|seen| seen.path() == "/v2/demo/parent/manifests/1" && seen.method != "PUT")
        .count();
    println!("row H9: the parent's tag is asked for {asks} time, everything else goes by digest {}", &planned[..19]);
}

async fn read_manifest(server: &FaultServer, name: &str) -> Value {
    let document = Client::new(ClientConfig::default()).manifest(&reference(server, name)).await.unwrap().unwrap();
    serde_json::from_slice(document.bytes()).unwrap()
}

async fn read_blob(server: &FaultServer, path: &str, descriptor: &Value) -> Vec<u8> {
    let at = Repository::parse(&format!("{}/{path}", server.domain())).unwrap();
    let descriptor: Descriptor = serde_json::from_value(descriptor.clone()).unwrap();
    Client::new(ClientConfig::default()).fetch_blob(&at, &descriptor, 1 << 20).await.unwrap()
}

/// What a write is, in the order in which writes have to come.
fn stage(seen: &Seen) -> Option<u8> {
    let (method, target) = (seen.method.as_str(), seen.target.as_str());
    match (method, target) {
        ("PUT", target) if target.contains("/blobs/uploads/") => Some(0),
        ("POST", target) if target.contains("mount=") => Some(0),
        ("PUT", target) if target.contains("/manifests/lapstrake-parent-") => Some(1),
        ("PUT", target) if target.contains("/manifests/sha256-") => Some(1),
        ("PUT", target) if target.contains("/manifests/lapstrake-") => Some(1),
        ("PUT", target) if target.ends_with("/manifests/latest") => Some(2),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_come_before_manifests_and_the_tag_last() {
    let yard = Yard::new().await;
    let (_, server) = faulty(|_| None).await;
    push_image(&reference(&server, "demo/parent:1"), &parent_config()).await;
    let before = server.seen().len();
    let ran = build(&yard, &server, "store");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mut writes: Vec<Seen> =
        server.seen().split_off(before).into_iter().filter(|seen| stage(seen).is_some()).collect();
    let order: Vec<u8> = writes.iter().filter_map(stage).collect();
    assert_eq!(order.iter().filter(|stage| **stage == 2).count(), 1);
    // After the tag comes the record of the build alone: its empty blob, tried at once and then in a session, its manifest, and the
    // list of what refers to the image.
    let tagged = order.iter().position(|stage| *stage == 2).unwrap();
    assert!(order.len() - tagged <= 5, "{order:?}");
    writes.truncate(tagged + 1);
    // Each manifest comes after the blobs that it names.
    for (at, manifest) in writes.iter().enumerate().filter(|(_, seen)| stage(seen) != Some(0)) {
        let document: Value = serde_json::from_slice(&manifest.body).unwrap();
        let parts = document["layers"].as_array().into_iter().flatten().chain(document.get("config"));
        for part in parts {
            let digest = part["digest"].as_str().unwrap().replace(':', "%3A");
            let brought = writes[..at].iter().any(|seen| seen.target.contains(&digest));
            assert!(brought, "{} names {digest} before it is there", manifest.target);
        }
    }
    println!("row O6: {} writes: blobs, manifests by key, the tag last", writes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_at_any_write_moves_no_tag() {
    let yard = Yard::new().await;
    let fails_at = Arc::new(Mutex::new((usize::MAX, 0_usize)));
    let counted = fails_at.clone();
    let (registry, server) = faulty(move |seen| {
        let is_write = matches!(seen.method.as_str(), "PUT" | "POST" | "PATCH" | "DELETE");
        let mut counted = counted.lock().unwrap();
        counted.1 += usize::from(is_write);
        (is_write && counted.1 >= counted.0).then(|| Reply::status(400))
    })
    .await;
    push_image(&reference(&server, "demo/parent:1"), &parent_config()).await;
    push_image(&reference(&server, "demo/app:latest"), &parent_config()).await;
    let old = registry.tag("demo/app", "latest");
    let mut failing = 1;
    loop {
        *fails_at.lock().unwrap() = (failing, 0);
        // A store of its own: nothing that an earlier round left is used.
        let ran = build(&yard, &server, &format!("store-{failing}"));
        if ran.code == 0 {
            break;
        }
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert_eq!(registry.tag("demo/app", "latest"), old, "write {failing}");
        assert!(ran.stderr.contains("error:") && !ran.stderr.contains("panicked"), "{}", ran.stderr);
        failing += 1;
        assert!(failing < 60, "the build never ends well");
    }
    assert_ne!(registry.tag("demo/app", "latest"), old);
    assert!(failing > 3);
    println!("row O6: every write from number 1 to {} refused in turn: the tag stood each time", failing - 1);
}
