//! The embedded registry server, through raw requests and through an independent client.

use std::path::Path;
use std::sync::{Arc, Mutex};

use lapstrake::oci::media_type::{OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_LAYER, OCI_MANIFEST};
use lapstrake::oci::{Algorithm, Digest, Digester};
use lapstrake::serve::{RequestLine, Running, ServeError, ServeOptions, Server};
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};

struct Harbour {
    folder: tempfile::TempDir,
    running: Running,
    client: Client,
    seen: Arc<Mutex<Vec<RequestLine>>>,
}

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().unwrap()
}

async fn harbour() -> Harbour {
    let folder = tempfile::tempdir().unwrap();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let mut options = ServeOptions::new(folder.path().join("registry"));
    let observer = Arc::clone(&seen);
    options.observer = Some(Arc::new(move |line: &RequestLine| observer.lock().unwrap().push(line.clone())));
    let running = Server::bind(options).await.unwrap().spawn();
    Harbour { folder, running, client: client(), seen }
}

impl Harbour {
    async fn send(&self, method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Response {
        // A Location may be absolute or relative; this server's are relative.
        let mut request = self.client.request(method, format!("http://{}{path}", self.running.address()));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body.into()).send().await.unwrap()
    }

    async fn get(&self, path: &str) -> Response {
        self.send(Method::GET, path, &[], "").await
    }

    async fn head(&self, path: &str) -> StatusCode {
        self.send(Method::HEAD, path, &[], "").await.status()
    }

    async fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.get(path).await.bytes().await.unwrap()).unwrap()
    }

    async fn open(&self, name: &str) -> String {
        let answer = self.send(Method::POST, &format!("/v2/{name}/blobs/uploads/"), &[], "").await;
        assert_eq!(answer.status(), 202);
        header(&answer, "location")
    }

    async fn push_blob(&self, name: &str, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        assert_eq!(self.send(Method::POST, &path, &[], bytes).await.status(), 201);
        digest
    }

    async fn put_manifest(&self, name: &str, target: &str, document: &Value) -> Response {
        let media_type = document["mediaType"].as_str().unwrap_or(OCI_MANIFEST).to_owned();
        let path = format!("/v2/{name}/manifests/{target}");
        self.send(Method::PUT, &path, &[("content-type", &media_type)], document.to_string()).await
    }

    /// Pushes an image with one layer and returns its manifest.
    async fn push_image(&self, name: &str, tag: &str, layer: &[u8]) -> Value {
        let config = br#"{"os":"linux"}"#;
        self.push_blob(name, config).await;
        self.push_blob(name, layer).await;
        let document = image(config, layer);
        assert_eq!(self.put_manifest(name, tag, &document).await.status(), 201);
        document
    }
}

fn header(answer: &Response, name: &str) -> String {
    answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

async fn code(answer: Response) -> (u16, String) {
    let status = answer.status().as_u16();
    let body: Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
    (status, body["errors"][0]["code"].as_str().unwrap().to_owned())
}

fn pointer(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len() })
}

fn image(config: &[u8], layer: &[u8]) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": pointer(OCI_CONFIG, config),
        "layers": [pointer(OCI_LAYER, layer)],
    })
}

fn digest_with(algorithm: Algorithm, bytes: &[u8]) -> Digest {
    let mut digester = Digester::new(algorithm);
    digester.update(bytes);
    digester.finish()
}

fn with_digest(location: &str, digest: &Digest) -> String {
    format!("{location}{}digest={digest}", if location.contains('?') { '&' } else { '?' })
}

#[tokio::test]
async fn ping_answers_and_unknown_paths_do_not() {
    let harbour = harbour().await;
    assert!(harbour.running.address().ip().is_loopback());
    assert_eq!(harbour.head("/v2/").await, 200);
    assert_eq!(code(harbour.get("/v2/x").await).await, (404, "UNSUPPORTED".to_owned()));
    assert_eq!(code(harbour.send(Method::POST, "/v2/", &[], "").await).await.0, 405);
    assert_eq!(harbour.seen.lock().unwrap()[0].status, 200);
}

/// The ways to push a blob, each returning the answer to its last request.
#[derive(Clone, Copy, Debug)]
enum Way {
    PostOnly,
    PostPut,
    Stream,
    Chunks,
    ChunksAndPut,
}

const WAYS: [Way; 5] = [Way::PostOnly, Way::PostPut, Way::Stream, Way::Chunks, Way::ChunksAndPut];

async fn push(harbour: &Harbour, way: Way, name: &str, bytes: &[u8], digest: &Digest) -> Response {
    if matches!(way, Way::PostOnly) {
        let path = format!("/v2/{name}/blobs/uploads/?digest={digest}");
        return harbour.send(Method::POST, &path, &[], bytes).await;
    }
    let mut location = harbour.open(name).await;
    let third = bytes.len() / 3 + 1;
    let mut rest = bytes;
    match way {
        Way::PostOnly | Way::PostPut => {}
        Way::Stream => {
            let answer = harbour.send(Method::PATCH, &location, &[], bytes).await;
            assert_eq!(answer.status(), 202);
            location = header(&answer, "location");
            rest = &[];
        }
        Way::Chunks | Way::ChunksAndPut => {
            let mut start = 0;
            for chunk in bytes.chunks(third) {
                if matches!(way, Way::ChunksAndPut) && start + chunk.len() == bytes.len() {
                    break;
                }
                let range = format!("{start}-{}", start + chunk.len() - 1);
                let answer = harbour.send(Method::PATCH, &location, &[("content-range", &range)], chunk).await;
                start += chunk.len();
                assert_eq!((answer.status().as_u16(), header(&answer, "range")), (202, format!("0-{}", start - 1)));
                location = header(&answer, "location");
            }
            rest = &bytes[start..];
        }
    }
    harbour.send(Method::PUT, &with_digest(&location, digest), &[], rest).await
}

#[tokio::test]
async fn blob_pushed_in_any_way_is_read_back() {
    let harbour = harbour().await;
    let big: Vec<u8> = (0..3_000_001_u32).map(|number| number.to_le_bytes()[1]).collect();
    let mut count = 0;
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        for bytes in [&b"{}"[..], &b""[..], &big] {
            for way in WAYS {
                let name = format!("a/b{count}");
                count += 1;
                let digest = digest_with(algorithm, bytes);
                let answer = push(&harbour, way, &name, bytes, &digest).await;
                assert_eq!(answer.status(), 201, "{way:?}");
                assert_eq!(header(&answer, "docker-content-digest"), digest.as_str());
                let answer = harbour.get(&header(&answer, "location")).await;
                assert_eq!(header(&answer, "content-length"), bytes.len().to_string());
                assert_eq!(answer.bytes().await.unwrap(), bytes, "{way:?}");
                let path = format!("/v2/{name}/blobs/{digest}");
                assert_eq!(harbour.head(&path).await, 200);
                assert_eq!(harbour.send(Method::DELETE, &path, &[], "").await.status(), 202);
                assert_eq!(harbour.head(&path).await, 404);
            }
        }
    }
    println!("pushed {count} blobs");
}

#[tokio::test]
async fn blob_with_another_digest_is_refused_and_leaves_nothing() {
    let harbour = harbour().await;
    let digest = Digest::of(b"expected");
    for way in WAYS {
        let answer = push(&harbour, way, "a", b"received something else", &digest).await;
        assert_eq!(code(answer).await, (400, "DIGEST_INVALID".to_owned()), "{way:?}");
        assert_eq!(code(harbour.get(&format!("/v2/a/blobs/{digest}")).await).await, (404, "BLOB_UNKNOWN".to_owned()));
    }
    assert_eq!(files(&harbour.folder.path().join("registry/uploads")), 0);
    assert_eq!(files(&harbour.folder.path().join("registry/blobs")), 0);
}

fn files(folder: &Path) -> usize {
    #[expect(clippy::disallowed_methods, reason = "counts files, in any order")]
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { files(&path) } else { 1 }).sum()
}

#[tokio::test]
async fn chunk_out_of_order_is_refused_and_the_upload_goes_on() {
    let harbour = harbour().await;
    let digest = Digest::of(b"0123456789");
    let location = harbour.open("a").await;
    let patch = |range: &'static str, body: &'static str| {
        let (harbour, location) = (&harbour, &location);
        async move { harbour.send(Method::PATCH, location, &[("content-range", range)], body).await }
    };
    let answer = patch("4-5", "45").await;
    assert_eq!(header(&answer, "location"), location);
    assert_eq!(answer.status(), 416);
    assert_eq!(patch("0-3", "0123").await.status(), 202);
    assert_eq!(patch("0-3", "0123").await.status(), 416);
    assert_eq!(code(patch("4-9", "45").await).await, (400, "SIZE_INVALID".to_owned()));
    assert_eq!(code(patch("nonsense", "45").await).await, (400, "BLOB_UPLOAD_INVALID".to_owned()));
    let last = with_digest(&location, &digest);
    assert_eq!(harbour.send(Method::PUT, &last, &[("content-range", "6-9")], "6789").await.status(), 416);
    let answer = harbour.get(&location).await;
    assert_eq!((answer.status().as_u16(), header(&answer, "range")), (204, "0-3".to_owned()));
    assert_eq!(harbour.send(Method::PUT, &last, &[("content-range", "4-9")], "456789").await.status(), 201);
    assert_eq!(harbour.get(&format!("/v2/a/blobs/{digest}")).await.bytes().await.unwrap(), "0123456789");
    assert_eq!(code(harbour.get(&location).await).await, (404, "BLOB_UPLOAD_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn upload_belongs_to_its_repository_and_can_be_cancelled() {
    let harbour = harbour().await;
    let location = harbour.open("a").await;
    let elsewhere = location.replace("/v2/a/", "/v2/b/");
    assert_eq!(harbour.get(&elsewhere).await.status(), 404);
    assert_eq!(code(harbour.send(Method::PUT, &location, &[], "").await).await, (400, "DIGEST_INVALID".to_owned()));
    assert_eq!(harbour.send(Method::DELETE, &location, &[], "").await.status(), 204);
    assert_eq!(harbour.send(Method::PATCH, &location, &[], "x").await.status(), 404);
    assert_eq!(harbour.send(Method::DELETE, &location, &[], "").await.status(), 404);
}

#[tokio::test]
async fn ranges_of_a_blob_are_answered_as_rfc_9110_says() {
    let harbour = harbour().await;
    let bytes: Vec<u8> = (0..2048_u32).map(|number| number.to_le_bytes()[0]).collect();
    let path = format!("/v2/a/blobs/{}", harbour.push_blob("a", &bytes).await);
    for (range, from, to) in [
        ("bytes=500-1499", 500, 1500),
        ("bytes=500-", 500, 2048),
        ("bytes=-500", 1548, 2048),
        ("bytes=2000-5000", 2000, 2048),
        ("bytes=0-0", 0, 1),
        ("bytes=-9999", 0, 2048),
    ] {
        let answer = harbour.send(Method::GET, &path, &[("range", range)], "").await;
        assert_eq!(answer.status(), 206, "{range}");
        assert_eq!(header(&answer, "content-range"), format!("bytes {from}-{}/2048", to - 1));
        assert_eq!(answer.bytes().await.unwrap(), bytes[from..to], "{range}");
    }
    for range in ["bytes=500-0", "bytes=5000-10000", "bytes=2048-", "bytes=-0"] {
        let answer = harbour.send(Method::GET, &path, &[("range", range)], "").await;
        assert_eq!((answer.status().as_u16(), header(&answer, "content-range")), (416, "bytes */2048".to_owned()));
    }
    for range in ["bytes=0-1,4-5", "lines=1-2", "bytes=x-"] {
        assert_eq!(harbour.send(Method::GET, &path, &[("range", range)], "").await.status(), 200, "{range}");
    }
}

#[tokio::test]
async fn mount_needs_a_repository_that_has_the_blob() {
    let harbour = harbour().await;
    let digest = harbour.push_blob("source", b"layer").await;
    let mount = |name: &'static str, from: &'static str| {
        let harbour = &harbour;
        let path = format!("/v2/{name}/blobs/uploads/?mount={digest}{from}");
        async move { harbour.send(Method::POST, &path, &[], "").await }
    };
    assert_eq!(harbour.head(&format!("/v2/target/blobs/{digest}")).await, 404, "not seen before it is mounted");
    let answer = mount("target", "&from=source").await;
    assert_eq!(answer.status(), 201);
    assert_eq!(harbour.head(&header(&answer, "location")).await, 200);
    assert_eq!(mount("anonymous", "").await.status(), 201);
    let answer = mount("other", "&from=never").await;
    assert_eq!(answer.status(), 202);
    let path = with_digest(&header(&answer, "location"), &digest);
    assert_eq!(harbour.send(Method::PUT, &path, &[], "layer").await.status(), 201);
    assert_eq!(mount("escape", "&from=../source").await.status(), 202);
    harbour.send(Method::DELETE, &format!("/v2/source/blobs/{digest}"), &[], "").await;
    assert_eq!(harbour.get(&format!("/v2/target/blobs/{digest}")).await.bytes().await.unwrap(), "layer");
}

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
async fn upload_that_breaks_off_can_go_on_where_it_stopped() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let harbour = harbour().await;
    let location = harbour.open("a").await;
    let mut stream = tokio::net::TcpStream::connect(harbour.running.address()).await.unwrap();
    let head = format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n0123");
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let _ = stream.read_to_end(&mut Vec::new()).await;
    drop(stream);
    assert_eq!(header(&harbour.get(&location).await, "range"), "0-3");
    let digest = Digest::of(b"0123456789");
    let answer =
        harbour.send(Method::PUT, &with_digest(&location, &digest), &[("content-range", "4-9")], "456789").await;
    assert_eq!(answer.status(), 201);
}

#[tokio::test]
async fn many_pushers_of_one_blob_and_one_tag_all_succeed() {
    let harbour = Arc::new(harbour().await);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let harbour = Arc::clone(&harbour);
        tasks.spawn(async move { harbour.push_image("a", "latest", &[7; 100_000]).await });
    }
    assert_eq!(tasks.join_all().await.len(), 16);
    assert_eq!(harbour.head("/v2/a/manifests/latest").await, 200);
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
