//! The contract of `Registry`, which every implementation keeps.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::TryStreamExt;
use lapstrake::oci::media_type::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};
use lapstrake::oci::{Descriptor, Digest, Document, Index, Manifest, MediaType, Raw, Reference, Repository};
use lapstrake::registry::{BlobBody, Client, ClientConfig, Memory, Mounted, Registry, RegistryError};
use lapstrake::serve::{ServeOptions, Server};

use crate::support::fault::FaultServer;
use crate::support::tiny_registry::TinyRegistry;

#[tokio::test]
async fn memory_keeps_the_contract() {
    keeps_the_contract(&Memory::new(), "memory.test").await;
}

#[tokio::test]
async fn http_client_keeps_the_contract() {
    let registry = TinyRegistry::default();
    let server = FaultServer::start(move |seen, _| registry.reply(seen)).await;
    keeps_the_contract(&Client::new(ClientConfig::default()), &server.domain()).await;
    let agents = server.seen().iter().all(|seen| seen.header("user-agent").unwrap().starts_with("lapstrake/"));
    assert!(agents);
}

#[tokio::test]
async fn http_client_and_embedded_server_keep_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let running = Server::bind(ServeOptions::new(folder.path())).await.unwrap().spawn();
    keeps_the_contract(&Client::new(ClientConfig::default()), &running.address().to_string()).await;
    running.stop().await;
}

async fn keeps_the_contract(registry: &dyn Registry, domain: &str) {
    let at = Repository::parse(&format!("{domain}/team/app")).unwrap();
    let tagged = |tag: &str| Reference::tagged(&at, tag).unwrap();
    nothing_is_there_at_first(registry, &at).await;
    let (config, layer) = blobs_are_pushed_and_read_back(registry, &at).await;

    let manifest = Raw::of(Manifest::new(config, vec![layer.clone()])).unwrap();
    let media_type = MediaType::new(OCI_MANIFEST);
    let elsewhere = Reference::parse(&format!("{domain}/team/empty:1")).unwrap();
    let refused = registry.push_manifest(&elsewhere, &media_type, manifest.bytes()).await;
    assert!(matches!(refused, Err(RegistryError::MissingParts { .. })), "{refused:?}");
    let wrong = Reference::pinned(&at, &Digest::of(b"other"));
    assert!(registry.push_manifest(&wrong, &media_type, manifest.bytes()).await.is_err());

    for tag in ["1", "2", "3"] {
        registry.push_manifest(&tagged(tag), &media_type, manifest.bytes()).await.unwrap();
    }
    let expected = manifest.descriptor(OCI_MANIFEST);
    assert_eq!(registry.resolve(&tagged("1")).await.unwrap().unwrap(), expected);
    let read = registry.manifest(&Reference::pinned(&at, manifest.digest())).await.unwrap().unwrap();
    assert_eq!(read.bytes(), manifest.bytes());
    assert!(matches!(read, Document::Manifest(_)));
    let mut tags = registry.tags(&at).await.unwrap();
    tags.sort();
    assert_eq!(tags, ["1", "2", "3"]);

    let index = Raw::of(Index::new(vec![expected.clone()])).unwrap();
    registry.push_manifest(&tagged("index"), &MediaType::new(OCI_INDEX), index.bytes()).await.unwrap();
    assert!(matches!(registry.manifest(&tagged("index")).await.unwrap(), Some(Document::Index(_))));

    referrers_are_listed(registry, &at, manifest.value(), &expected).await;
    blobs_are_mounted(registry, &at, &layer).await;

    assert!(registry.delete(&tagged("2")).await.unwrap());
    assert!(!registry.delete(&tagged("2")).await.unwrap());
    assert!(registry.resolve(&tagged("2")).await.unwrap().is_none());
    assert!(registry.resolve(&tagged("1")).await.unwrap().is_some());
    assert!(registry.delete(&Reference::pinned(&at, manifest.digest())).await.unwrap());
    assert!(registry.resolve(&tagged("1")).await.unwrap().is_none());
}

async fn nothing_is_there_at_first(registry: &dyn Registry, at: &Repository) {
    let absent = Descriptor::of(OCI_LAYER_GZIP, b"absent");
    assert!(registry.resolve(&Reference::tagged(at, "1").unwrap()).await.unwrap().is_none());
    assert!(registry.manifest(&Reference::pinned(at, &absent.digest)).await.unwrap().is_none());
    assert!(registry.blob_size(at, &absent.digest).await.unwrap().is_none());
    assert!(matches!(registry.read_blob(at, &absent).await, Err(RegistryError::NotFound { .. })));
    assert!(registry.tags(at).await.unwrap().is_empty());
    assert!(registry.referrers(at, &absent.digest).await.unwrap().is_empty());
}

async fn blobs_are_pushed_and_read_back(registry: &dyn Registry, at: &Repository) -> (Descriptor, Descriptor) {
    let content: Vec<u8> = (0..1_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let layer = Descriptor::of(OCI_LAYER_GZIP, &content);
    let config = Descriptor::of(OCI_CONFIG, b"{}");
    let empty = Descriptor::of(OCI_LAYER_GZIP, b"");
    let moved = AtomicU64::new(0);
    let progress = |bytes| {
        moved.fetch_add(bytes, Ordering::Relaxed);
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("layer");
    std::fs::write(&file, &content).unwrap();
    registry.push_blob(at, &layer, BlobBody::File(file.clone()), &progress).await.unwrap();
    assert_eq!(moved.load(Ordering::Relaxed), layer.size);
    registry.push_blob(at, &config, BlobBody::Bytes(Bytes::from_static(b"{}")), &progress).await.unwrap();
    registry.push_blob(at, &empty, BlobBody::Bytes(Bytes::new()), &progress).await.unwrap();
    let again: BlobBody = BlobBody::Stream(Arc::new(move |offset| {
        let file = file.clone();
        Box::pin(async move { BlobBody::File(file).open(offset).await })
    }));
    registry.push_blob(at, &layer, again, &|_| {}).await.unwrap();

    let lying = Descriptor { digest: Digest::of(b"other"), ..config.clone() };
    let pushed = registry.push_blob(at, &lying, BlobBody::Bytes(Bytes::from_static(b"{}")), &|_| {}).await;
    assert!(pushed.is_err());
    for size in [1, 3] {
        let lying = Descriptor { size, ..config.clone() };
        let pushed = registry.push_blob(at, &lying, BlobBody::Bytes(Bytes::from_static(b"{}")), &|_| {}).await;
        assert!(matches!(pushed, Err(RegistryError::WrongLength { .. })), "{pushed:?}");
    }
    let missing = BlobBody::File(directory.path().join("absent"));
    let never = Descriptor::of(OCI_LAYER_GZIP, b"never pushed");
    let pushed = registry.push_blob(at, &never, missing, &|_| {}).await;
    assert!(matches!(pushed, Err(RegistryError::Body { .. })), "{pushed:?}");

    assert_eq!(registry.blob_size(at, &layer.digest).await.unwrap(), Some(layer.size));
    let pieces: Vec<Bytes> = registry.read_blob(at, &layer).await.unwrap().try_collect().await.unwrap();
    assert_eq!(pieces.concat(), content);
    assert_eq!(registry.fetch_blob(at, &config, 2).await.unwrap(), b"{}");
    assert_eq!(registry.fetch_blob(at, &empty, 0).await.unwrap(), b"");
    assert!(matches!(registry.fetch_blob(at, &config, 1).await, Err(RegistryError::TooLarge { .. })));
    (config, layer)
}

async fn referrers_are_listed(registry: &dyn Registry, at: &Repository, subject: &Manifest, described: &Descriptor) {
    let seen = Mutex::new(Vec::new());
    for name in ["one", "two"] {
        let mut note = Manifest::new(subject.config.clone(), subject.layers.clone());
        note.artifact_type = Some("application/vnd.test.note".to_owned());
        note.subject = Some(described.clone());
        note.annotations.insert("name".to_owned(), name.to_owned());
        let note = Raw::of(note).unwrap();
        let pinned = Reference::pinned(at, note.digest());
        registry.push_manifest(&pinned, &MediaType::new(OCI_MANIFEST), note.bytes()).await.unwrap();
        registry.push_manifest(&pinned, &MediaType::new(OCI_MANIFEST), note.bytes()).await.unwrap();
        seen.lock().unwrap().push(note.digest().clone());
    }
    let mut listed = registry.referrers(at, &described.digest).await.unwrap();
    listed.sort_by_key(|referrer| referrer.annotations["name"].clone());
    let digests: Vec<Digest> = listed.iter().map(|referrer| referrer.digest.clone()).collect();
    assert_eq!(digests, *seen.lock().unwrap());
    assert!(listed.iter().all(|referrer| referrer.artifact_type.as_deref() == Some("application/vnd.test.note")));
}

async fn blobs_are_mounted(registry: &dyn Registry, from: &Repository, layer: &Descriptor) {
    let to = Repository::parse(&format!("{}/team/other", from.registry())).unwrap();
    assert_eq!(registry.mount(&to, &layer.digest, from).await.unwrap(), Mounted::Yes);
    assert_eq!(registry.blob_size(&to, &layer.digest).await.unwrap(), Some(layer.size));
    let absent = Descriptor::of(OCI_LAYER_GZIP, b"absent");
    assert_eq!(registry.mount(&to, &absent.digest, from).await.unwrap(), Mounted::No);
    registry.push_blob(&to, &absent, BlobBody::Bytes(Bytes::from_static(b"absent")), &|_| {}).await.unwrap();
    assert_eq!(registry.blob_size(&to, &absent.digest).await.unwrap(), Some(6));
}
