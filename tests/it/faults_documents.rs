//! Documents under faults: confused kinds, no end, descriptors that lie. Refused before anything of them is fetched.

use std::time::Instant;

use lapstrake::oci::media_type::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};
use lapstrake::oci::{Descriptor, Digest, Reference};
use lapstrake::registry::{Registry, RegistryError};
use serde_json::{Value, json};

use crate::support::calls::{bearer, blob, challenge, client, client_of, password, read, repository};
use crate::support::fault::{FaultServer, Reply};

#[tokio::test]
async fn documents_are_capped_checked_and_not_confused() {
    let server = FaultServer::start(|seen, _| match seen.path() {
        "/v2/team/app/manifests/huge" => Reply::ok(vec![b' '; (4 << 20) + 1]).header("content-type", OCI_MANIFEST),
        "/v2/team/app/manifests/both" => Reply::ok(r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#),
        _ => Reply::ok(r#"{"schemaVersion":2,"manifests":[]}"#),
    })
    .await;
    let at = repository(&server);
    let read = async |reference: Reference| client().manifest(&reference).await;
    let huge = read(Reference::tagged(&at, "huge").unwrap()).await;
    assert!(matches!(huge, Err(RegistryError::TooLarge { .. })), "{huge:?}");
    let both = read(Reference::tagged(&at, "both").unwrap()).await;
    assert!(matches!(both, Err(RegistryError::Document { .. })), "{both:?}");
    let pinned = read(Reference::pinned(&at, &Digest::of(b"x"))).await;
    assert!(matches!(pinned, Err(RegistryError::Document { .. })), "{pinned:?}");
    // HEAD has no digest there: the body is hashed.
    let found = client().resolve(&Reference::tagged(&at, "plain").unwrap()).await.unwrap().unwrap();
    assert_eq!(found.digest, Digest::of(br#"{"schemaVersion":2,"manifests":[]}"#));
}

#[tokio::test]
async fn a_document_that_is_another_kind_than_its_type_is_refused() {
    let manifest = json!({"schemaVersion": 2, "config": blob(), "layers": []});
    let index = json!({"schemaVersion": 2, "manifests": []});
    let mut cases = 0;
    for (content_type, inner_type, document) in [
        (OCI_INDEX, None, &manifest),
        (OCI_MANIFEST, None, &index),
        (OCI_MANIFEST, Some(OCI_INDEX), &manifest),
        (OCI_INDEX, Some(OCI_MANIFEST), &index),
        ("text/html", Some(OCI_INDEX), &manifest),
    ] {
        let mut document = document.clone();
        if let Some(inner) = inner_type {
            document["mediaType"] = json!(inner);
        }
        let body = document.to_string();
        let server = FaultServer::start(move |_, _| Reply::ok(body.clone()).header("content-type", content_type)).await;
        let read = client().manifest(&Reference::tagged(&repository(&server), "1").unwrap()).await;
        assert!(matches!(read, Err(RegistryError::Document { .. })), "{content_type} {inner_type:?}: {read:?}");
        assert_eq!(server.seen().len(), 1);
        cases += 1;
    }
    println!("row H1: {cases} documents of two kinds: refused after 1 request each");
}

#[tokio::test]
async fn answers_without_end_stop_at_their_caps() {
    let filler = || Reply::ok(b"[{\"filler\":\"0123456789\"},".repeat(2000)).endless();
    let server = FaultServer::start(move |seen, _| match seen.path() {
        "/v2/team/app/manifests/endless" => filler().header("content-type", OCI_MANIFEST),
        "/v2/team/app/tags/list" => filler(),
        path if path.starts_with("/v2/team/app/referrers/") => filler().header("content-type", OCI_INDEX),
        _ => filler().header("x", "error"),
    })
    .await;
    let at = repository(&server);
    let started = Instant::now();
    let manifest = client().manifest(&Reference::tagged(&at, "endless").unwrap()).await;
    assert!(matches!(manifest, Err(RegistryError::TooLarge { cap: 4_194_304, .. })), "{manifest:?}");
    let tags = client().tags(&at).await;
    assert!(matches!(tags, Err(RegistryError::TooLarge { .. })), "{tags:?}");
    let referrers = client().referrers(&at, &blob().digest).await;
    assert!(matches!(referrers, Err(RegistryError::TooLarge { .. })), "{referrers:?}");
    let config = Descriptor { size: 9 << 20, ..blob() };
    let config = client().fetch_blob(&at, &config, 8 << 20).await;
    assert!(matches!(config, Err(RegistryError::TooLarge { cap: 8_388_608, .. })), "{config:?}");

    let error = FaultServer::start(|_, _| Reply::status(400).body(b"{\"errors\":[".repeat(2000)).endless()).await;
    let refused = read(&client(), &error).await.unwrap_err();
    assert!(matches!(refused, RegistryError::Status { status: 400, .. }), "{refused:?}");

    let tokens = FaultServer::start(move |seen, _| match seen.path() {
        "/token" => Reply::ok(b"{\"token\":\"".repeat(2000)).endless(),
        _ if bearer(seen).is_some() => Reply::ok(""),
        _ => challenge(seen),
    })
    .await;
    let refused = read(&client_of(&tokens.domain(), password()), &tokens).await.unwrap_err();
    assert!(matches!(refused, RegistryError::TooLarge { cap: 1_048_576, .. }), "{refused:?}");
    println!(
        "row H2: manifest, tags, referrers, config, error body and token without end: all stop at their caps, {:.2} s",
        started.elapsed().as_secs_f64(),
    );
}

#[tokio::test]
async fn malformed_descriptors_are_refused_before_a_fetch() {
    let right = serde_json::to_value(blob()).unwrap();
    let with = |key: &str, value: Value| {
        let mut descriptor = right.clone();
        descriptor[key] = value;
        descriptor
    };
    let cases = [
        with("size", json!(-1)),
        with("size", json!("20")),
        with("size", json!(1.5)),
        with("size", json!(1e30)),
        with("size", Value::Null),
        with("digest", json!("sha256:zz")),
        with("digest", json!("sha256:")),
        with("digest", json!("sha256:../../../../etc/passwd")),
        with("digest", json!("md5:d41d8cd98f00b204e9800998ecf8427e")),
        with("digest", json!(format!("sha256:{}", "A".repeat(64)))),
        with("digest", json!(7)),
        with("mediaType", json!({})),
        json!("sha256"),
        json!(null),
    ];
    for descriptor in &cases {
        for part in ["config", "layers"] {
            let (config, layers) =
                if part == "config" { (descriptor, json!([])) } else { (&right, json!([descriptor])) };
            let document = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers});
            let body = document.to_string();
            let server =
                FaultServer::start(move |_, _| Reply::ok(body.clone()).header("content-type", OCI_MANIFEST)).await;
            let read = client().manifest(&Reference::tagged(&repository(&server), "1").unwrap()).await;
            assert!(matches!(read, Err(RegistryError::Document { .. })), "{part} {descriptor}: {read:?}");
            assert_eq!(server.seen().len(), 1);
        }
    }
    println!("row H4: {} malformed descriptors, as config and as layer: refused after 1 request each", cases.len());
}

#[tokio::test]
async fn a_descriptor_that_claims_more_than_memory_holds_costs_nothing() {
    let server = FaultServer::start(|_, _| Reply::ok("{}")).await;
    let claimed = Descriptor { size: 1 << 62, ..Descriptor::of(OCI_CONFIG, b"{}") };
    let refused = client().fetch_blob(&repository(&server), &claimed, 8 << 20).await;
    assert!(matches!(refused, Err(RegistryError::TooLarge { .. })), "{refused:?}");
    assert_eq!(server.connections(), 0);
    let layer = Descriptor { size: 1 << 62, ..Descriptor::of(OCI_LAYER_GZIP, b"{}") };
    let stream = client().read_blob(&repository(&server), &layer).await.unwrap();
    let read: Result<Vec<bytes::Bytes>, _> = futures_util::TryStreamExt::try_collect(stream).await;
    assert!(matches!(read, Err(RegistryError::WrongLength { .. })), "{read:?}");
    println!(
        "row H4: a descriptor of 2^62 bytes: config refused with 0 connections, layer after {} requests",
        server.seen().len()
    );
}
