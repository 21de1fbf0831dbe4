//! Blobs of the embedded registry: pushed in every way, read, mounted, deleted.

use lapstrake::oci::{Algorithm, Digest};
use reqwest::{Method, Response};

use crate::support::harbour::{Harbour, code, digest_with, files, harbour, header, with_digest};

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
