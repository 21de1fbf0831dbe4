//! What the HTTP client does with answers that differ from registry to registry and are no faults.

use lapstrake::oci::media_type::{OCI_INDEX, OCI_MANIFEST};
use lapstrake::oci::{Descriptor, Digest, MediaType, Reference};
use lapstrake::registry::Registry;
use serde_json::json;

use crate::support::calls::{blob, client, repository, shown};
use crate::support::fault::{FaultServer, Reply, Seen};

#[tokio::test]
async fn an_immutable_tag_with_the_same_manifest_is_a_success() {
    let manifest = br#"{"schemaVersion":2}"#;
    let present = Digest::of(manifest);
    let server = FaultServer::start(move |seen, _| match seen.method.as_str() {
        "PUT" => Reply::status(400).body(r#"{"errors":[{"code":"TAG_INVALID","message":"immutable"}]}"#),
        _ => Reply::ok(manifest).header("content-type", OCI_MANIFEST).header("docker-content-digest", &present),
    })
    .await;
    let tag = Reference::tagged(&repository(&server), "1").unwrap();
    let media_type = MediaType::new(OCI_MANIFEST);
    client().push_manifest(&tag, &media_type, manifest).await.unwrap();
    let other = client().push_manifest(&tag, &media_type, b"{}").await.unwrap_err();
    assert!(shown(&other).contains("TAG_INVALID: immutable"), "{other}");
}

fn referrer(name: &str, artifact_type: &str) -> Descriptor {
    let mut descriptor = Descriptor::of(OCI_MANIFEST, name.as_bytes());
    descriptor.artifact_type = Some(artifact_type.to_owned());
    descriptor
}

fn listing(referrers: &[Descriptor]) -> Reply {
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": referrers});
    Reply::ok(index.to_string()).header("content-type", OCI_INDEX)
}

#[tokio::test]
async fn referrers_of_a_type_are_filtered_by_the_registry_or_by_us() {
    let all = [referrer("a", "application/x"), referrer("b", "application/y"), referrer("c", "application/x")];
    let digests = |listed: Vec<Descriptor>| listed.into_iter().map(|one| one.digest).collect::<Vec<Digest>>();
    let wanted = vec![all[0].digest.clone(), all[2].digest.clone()];
    for filters in [true, false] {
        let shown = all.clone();
        let server = FaultServer::start(move |seen, _| {
            let is_asked = seen.target.contains("?artifactType=application%2Fx");
            match (is_asked && filters, seen.target.contains("page=2")) {
                (true, _) => {
                    listing(&[shown[0].clone(), shown[2].clone()]).header("oci-filters-applied", "artifactType")
                }
                (false, false) => {
                    listing(&shown[..2]).header("link", format!("<{}&page=2>; rel=\"next\"", seen.target))
                }
                (false, true) => listing(&shown[2..]),
            }
        })
        .await;
        let at = repository(&server);
        let listed = client().referrers_of_type(&at, &blob().digest, "application/x").await.unwrap();
        assert_eq!(digests(listed), wanted, "the registry filters: {filters}");
        assert_eq!(server.seen().len(), if filters { 1 } else { 2 });
    }
}

#[tokio::test]
async fn referrers_of_a_tag_are_filtered_too() {
    let all = [referrer("a", "application/x"), referrer("b", "application/y")];
    let wanted = all[1].clone();
    let server = FaultServer::start(move |seen, _| match seen.path() {
        path if path.contains("/manifests/sha256-") => listing(&all),
        _ => Reply::status(404),
    })
    .await;
    let listed = client().referrers_of_type(&repository(&server), &blob().digest, "application/y").await.unwrap();
    assert_eq!(listed, [wanted]);
}

#[tokio::test]
async fn lists_are_read_page_by_page_and_only_at_home() {
    let pages = |seen: &Seen| seen.target.split_once("last=").map_or(0, |(_, last)| last.parse::<usize>().unwrap());
    let server = FaultServer::start(move |seen, _| {
        let at = pages(seen);
        let reply = Reply::ok(json!({"name": "team/app", "tags": [format!("t{at}")]}).to_string());
        if at == 9 { reply } else { reply.header("link", format!("<?last={}>; rel=\"next\"", at + 1)) }
    })
    .await;
    let tags = client().tags(&repository(&server)).await.unwrap();
    assert_eq!(tags.len(), 10);
    assert_eq!(server.seen().len(), 10);

    let elsewhere = FaultServer::start(|_, _| Reply::ok(r#"{"tags":["stolen"]}"#)).await;
    let next = format!("<{}>; rel=\"next\"", elsewhere.url("/v2/team/app/tags/list"));
    let server = FaultServer::start(move |_, _| Reply::ok(r#"{"tags":["a"]}"#).header("link", &next)).await;
    client().tags(&repository(&server)).await.unwrap_err();
    assert!(elsewhere.seen().is_empty());
}
