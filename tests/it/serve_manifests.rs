//! Manifests of the embedded registry: checked, kept, listed, deleted.

use lapstrake::oci::media_type::{OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use lapstrake::oci::{Algorithm, Digest};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::harbour::{code, digest_with, harbour, header, pointer};

#[tokio::test]
async fn manifest_is_kept_byte_for_byte_under_tag_and_digest() {
    let harbour = harbour().await;
    let document = harbour.push_image("a/b", "latest", b"layer").await;
    let bytes = document.to_string();
    let digest = Digest::of(bytes.as_bytes());
    for target in ["latest", digest.as_str()] {
        let path = format!("/v2/a/b/manifests/{target}");
        let answer = harbour.get(&path).await;
        assert_eq!(header(&answer, "content-type"), OCI_MANIFEST);
        assert_eq!(header(&answer, "docker-content-digest"), digest.as_str());
        assert_eq!(answer.bytes().await.unwrap(), bytes);
        let answer = harbour.send(Method::HEAD, &path, &[], "").await;
        assert_eq!(header(&answer, "content-length"), bytes.len().to_string());
    }
    let sha512 = digest_with(Algorithm::Sha512, bytes.as_bytes());
    let path = format!("{sha512}?tag=one&tag=two");
    let answer = harbour.put_manifest("a/b", &path, &document).await;
    assert_eq!(answer.status(), 201);
    let tags: Vec<_> = answer.headers().get_all("oci-tag").iter().map(|tag| tag.to_str().unwrap()).collect();
    assert_eq!(tags, ["one", "two"]);
    assert_eq!(header(&harbour.get("/v2/a/b/manifests/two").await, "docker-content-digest"), sha512.as_str());
    assert_eq!(harbour.head(&format!("/v2/a/manifests/{digest}")).await, 404, "another repository");
}

#[tokio::test]
async fn manifest_that_cannot_be_right_is_refused() {
    let harbour = harbour().await;
    let good = harbour.push_image("a", "good", b"layer").await;
    let child = good.to_string();
    let edit = |path: &str, value: Value| {
        let mut document = good.clone();
        *document.pointer_mut(path).unwrap() = value;
        document
    };
    let index = |manifests: Value| json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests });
    let mut both = good.clone();
    both["manifests"] = json!([]);
    let cases = [
        ("missing layer", edit("/layers/0", pointer(OCI_LAYER, b"never pushed")), "MANIFEST_BLOB_UNKNOWN"),
        ("missing config", edit("/config", pointer(OCI_CONFIG, b"never pushed")), "MANIFEST_BLOB_UNKNOWN"),
        ("missing child", index(json!([pointer(OCI_MANIFEST, b"never pushed")])), "MANIFEST_BLOB_UNKNOWN"),
        ("wrong size", edit("/layers/0/size", json!(99)), "SIZE_INVALID"),
        ("no digest", edit("/config/digest", json!("sha256:abc")), "MANIFEST_INVALID"),
        ("index as manifest", edit("/mediaType", json!(OCI_INDEX)), "MANIFEST_INVALID"),
        ("both", both, "MANIFEST_INVALID"),
        ("other type", edit("/mediaType", json!("application/vnd.example+json")), "MANIFEST_INVALID"),
    ];
    for (case, document, expected) in cases {
        assert_eq!(code(harbour.put_manifest("a", "bad", &document).await).await.1, expected, "{case}");
    }
    let put = |target: String, media_type: &'static str, body: String| {
        let (harbour, path) = (&harbour, format!("/v2/a/manifests/{target}"));
        async move { code(harbour.send(Method::PUT, &path, &[("content-type", media_type)], body).await).await }
    };
    assert_eq!(put("bad".to_owned(), OCI_INDEX, child.clone()).await, (400, "MANIFEST_INVALID".to_owned()));
    assert_eq!(put("bad".to_owned(), OCI_MANIFEST, "{".to_owned()).await, (400, "MANIFEST_INVALID".to_owned()));
    let digest = Digest::of(child.as_bytes());
    let spaced = format!("{child}  ");
    assert_eq!(put(digest.to_string(), OCI_MANIFEST, spaced).await, (400, "DIGEST_INVALID".to_owned()));
    assert_eq!(put("sha256:bad".to_owned(), OCI_MANIFEST, child.clone()).await, (400, "DIGEST_INVALID".to_owned()));
    assert_eq!(put(".bad".to_owned(), OCI_MANIFEST, child.clone()).await, (400, "TAG_INVALID".to_owned()));
    assert_eq!(put("bad".to_owned(), OCI_MANIFEST, " ".repeat(4 * 1024 * 1024 + 1)).await.0, 413);
    assert_eq!(harbour.json("/v2/a/tags/list").await["tags"], json!(["good"]));

    let sparse = json!({
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "digest": Digest::of(b"elsewhere"), "size": 1, "urls": ["https://example.com/"],
    });
    assert_eq!(harbour.put_manifest("a", "foreign", &edit("/layers/0", sparse)).await.status(), 201);
    let large = {
        let mut document = good.clone();
        document["annotations"] = (0..390).map(|number| (format!("key-{number}"), json!("A".repeat(10_000)))).collect();
        document
    };
    assert_eq!(harbour.put_manifest("a", "large", &large).await.status(), 201);
    assert_eq!(
        harbour.put_manifest("a", "index", &index(json!([pointer(OCI_MANIFEST, child.as_bytes())]))).await.status(),
        201
    );
    assert_eq!(harbour.put_manifest("a", "empty", &index(json!([]))).await.status(), 201);
}

#[tokio::test]
async fn tags_are_listed_in_pages() {
    let harbour = harbour().await;
    assert_eq!(code(harbour.get("/v2/a/tags/list").await).await, (404, "NAME_UNKNOWN".to_owned()));
    for tag in ["c", "a", "e", "b", "d"] {
        harbour.push_image("a", tag, b"layer").await;
    }
    harbour.push_image("b/c", "x", b"layer").await;
    assert_eq!(harbour.json("/v2/a/tags/list").await, json!({"name": "a", "tags": ["a", "b", "c", "d", "e"]}));
    let (mut path, mut seen) = ("/v2/a/tags/list?n=2".to_owned(), Vec::new());
    loop {
        let answer = harbour.get(&path).await;
        let link = header(&answer, "link");
        let page: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        seen.push(page["tags"].clone());
        let Some(next) = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\"")) else { break };
        next.clone_into(&mut path);
    }
    assert_eq!(seen, [json!(["a", "b"]), json!(["c", "d"]), json!(["e"])]);
    assert_eq!(harbour.json("/v2/a/tags/list?last=bb&n=1").await["tags"], json!(["c"]));
    assert_eq!(harbour.json("/v2/a/tags/list?n=0").await["tags"], json!([]));
    assert_eq!(harbour.get("/v2/a/tags/list?n=x").await.status(), 405);
    assert_eq!(harbour.json("/v2/_catalog").await, json!({"repositories": ["a", "b/c"]}));
}

#[tokio::test]
async fn deleting_a_digest_takes_its_tags_and_deleting_a_tag_leaves_the_digest() {
    let harbour = harbour().await;
    let bytes = harbour.push_image("a", "one", b"layer").await.to_string();
    harbour.push_image("a", "two", b"layer").await;
    let digest = Digest::of(bytes.as_bytes());
    let by_digest = format!("/v2/a/manifests/{digest}");
    assert_eq!(harbour.send(Method::DELETE, "/v2/a/manifests/one", &[], "").await.status(), 202);
    assert_eq!(code(harbour.get("/v2/a/manifests/one").await).await, (404, "MANIFEST_UNKNOWN".to_owned()));
    assert_eq!(harbour.head(&by_digest).await, 200);
    assert_eq!(harbour.send(Method::DELETE, &by_digest, &[], "").await.status(), 202);
    for path in ["/v2/a/manifests/two", &by_digest] {
        assert_eq!(harbour.head(path).await, 404);
        assert_eq!(harbour.send(Method::DELETE, path, &[], "").await.status(), 404);
    }
    assert_eq!(harbour.json("/v2/a/tags/list").await["tags"], json!([]));
}

#[tokio::test]
async fn referrers_are_listed_filtered_and_forgotten() {
    let harbour = harbour().await;
    let subject = Digest::of(harbour.push_image("a", "latest", b"layer").await.to_string().as_bytes());
    let list = format!("/v2/a/referrers/{subject}");
    let empty = harbour.json(&format!("/v2/never/referrers/{subject}")).await;
    assert_eq!(empty, json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}));
    harbour.push_blob("a", b"{}").await;
    let refer = |artifact_type: Option<&str>, note: &str| {
        let mut document = json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": pointer(OCI_EMPTY, b"{}"), "layers": [],
            "subject": { "mediaType": OCI_MANIFEST, "digest": subject, "size": 1 }, "annotations": { "note": note },
        });
        if let Some(artifact_type) = artifact_type {
            document["artifactType"] = json!(artifact_type);
        }
        document
    };
    let mut digests = Vec::new();
    for document in
        [refer(Some("application/x.sbom"), "1"), refer(Some("application/x.signature"), "2"), refer(None, "3")]
    {
        let digest = Digest::of(document.to_string().as_bytes());
        let answer = harbour.put_manifest("a", digest.as_str(), &document).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "oci-subject")), (201, subject.to_string()));
        digests.push(digest);
    }
    let answer = harbour.get(&list).await;
    assert_eq!(
        (header(&answer, "content-type"), header(&answer, "oci-filters-applied")),
        (OCI_INDEX.to_owned(), String::new())
    );
    assert_eq!(harbour.json(&list).await["manifests"].as_array().unwrap().len(), 3);
    let answer = harbour.get(&format!("{list}?artifactType=application%2Fx.sbom")).await;
    assert_eq!(header(&answer, "oci-filters-applied"), "artifactType");
    let found: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    assert_eq!(found["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(found["manifests"][0]["digest"], json!(digests[0]));
    assert_eq!(found["manifests"][0]["annotations"], json!({"note": "1"}));
    let found = harbour.json(&format!("{list}?artifactType={OCI_EMPTY}")).await;
    assert_eq!(found["manifests"].as_array().unwrap().len(), 1, "the config's type stands in: {found}");
    harbour.send(Method::DELETE, &format!("/v2/a/manifests/{}", digests[0]), &[], "").await;
    assert_eq!(harbour.json(&list).await["manifests"].as_array().unwrap().len(), 2);
    assert_eq!(harbour.get("/v2/a/referrers/sha256:bad").await.status(), 400);
}
