//! The embedded registry server: its folder, its restarts, an independent client.

use lapstrake::oci::Digest;
use lapstrake::oci::media_type::{OCI_CONFIG, OCI_LAYER};
use lapstrake::serve::{ServeError, ServeOptions, Server};
use reqwest::Method;

use crate::support::harbour::{Harbour, code, files, harbour};

#[tokio::test]
async fn ping_answers_and_unknown_paths_do_not() {
    let harbour = harbour().await;
    assert!(harbour.running.address().ip().is_loopback());
    assert_eq!(harbour.head("/v2/").await, 200);
    assert_eq!(code(harbour.get("/v2/x").await).await, (404, "UNSUPPORTED".to_owned()));
    assert_eq!(code(harbour.send(Method::POST, "/v2/", &[], "").await).await.0, 405);
    assert_eq!(harbour.seen.lock().unwrap()[0].status, 200);
}

#[tokio::test]
async fn two_servers_do_not_share_a_folder_and_a_restart_keeps_what_was_pushed() {
    let harbour = harbour().await;
    let bytes = harbour.push_image("a", "latest", b"layer").await.to_string();
    let location = harbour.open("a").await;
    harbour.send(Method::PATCH, &location, &[], "half").await;
    let root = harbour.folder.path().join("registry");
    assert_eq!(files(&root.join("uploads")), 1);
    let second = Server::bind(ServeOptions::new(&root)).await;
    assert!(matches!(second, Err(ServeError::InUse { .. })));
    let Harbour { running, folder, client, seen } = harbour;
    running.stop().await;

    let running = Server::bind(ServeOptions::new(&root)).await.unwrap().spawn();
    let harbour = Harbour { folder, running, client, seen };
    assert_eq!(harbour.get("/v2/a/manifests/latest").await.bytes().await.unwrap(), bytes);
    assert_eq!(harbour.get(&location).await.status(), 404);
    assert_eq!(files(&root.join("uploads")), 0, "cut off uploads are removed");
    let blob = root.join("blobs/sha256").join(&Digest::of(b"layer").hex()[..2]).join(Digest::of(b"layer").hex());
    std::fs::write(blob, b"lay").unwrap();
    let path = format!("/v2/a/blobs/{}", Digest::of(b"layer"));
    assert_eq!(harbour.head(&path).await, 404, "a truncated blob is absent");
    harbour.push_blob("a", b"layer").await;
    assert_eq!(harbour.head(&path).await, 200);
}

#[tokio::test]
async fn folder_of_something_else_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.tex"), "").unwrap();
    assert!(matches!(Server::bind(ServeOptions::new(folder.path())).await, Err(ServeError::Layout { .. })));
}

#[tokio::test]
async fn independent_client_pushes_pulls_and_lists() {
    use oci_distribution::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
    use oci_distribution::secrets::RegistryAuth;
    let harbour = harbour().await;
    let config = ClientConfig {
        protocol: ClientProtocol::Http,
        no_proxy: Some("127.0.0.1".to_owned()),
        ..ClientConfig::default()
    };
    let other = oci_distribution::Client::new(config);
    let address = harbour.running.address();
    let image: oci_distribution::Reference = format!("{address}/other/client:v1").parse().unwrap();
    let layer: Vec<u8> = (0..9_000_000_u32).map(|number| number.to_le_bytes()[0]).collect();
    let layers = [ImageLayer::new(layer.clone(), OCI_LAYER.to_owned(), None)];
    let config = Config::new(&b"{}"[..], OCI_CONFIG.to_owned(), None);
    let auth = RegistryAuth::Anonymous;
    other.push(&image, &layers, config, &auth, None).await.unwrap();
    let pulled = other.pull(&image, &auth, vec![OCI_LAYER]).await.unwrap();
    assert_eq!(pulled.layers[0].data, layer);
    assert_eq!(other.list_tags(&image, &auth, None, None).await.unwrap().tags, ["v1"]);
    let target: oci_distribution::Reference = format!("{address}/other/target:v1").parse().unwrap();
    let digest = Digest::of(&layer);
    other.mount_blob(&target, &image, digest.as_str()).await.unwrap();
    assert!(other.blob_exists(&target, digest.as_str()).await.unwrap());
}
