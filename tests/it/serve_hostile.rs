//! Hostile clients of the embedded registry: paths that lead out, links in its folder, silence, excess.

use std::path::Path;
use std::time::Duration;

use lapstrake::oci::Digest;
use lapstrake::serve::{ServeError, ServeOptions, Server};
use reqwest::Method;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::harbour::{Harbour, code, files, harbour, harbour_with};

/// Sends bytes as they are and returns the start of what comes back before the connection ends.
async fn raw(harbour: &Harbour, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(harbour.running.address()).await.unwrap();
    // The server may end the connection before it has read all.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn no_path_leads_out_of_the_folder() {
    let harbour = harbour().await;
    let digest = Digest::of(b"{}");
    let long = "a".repeat(300);
    let deep = "a/".repeat(127) + "a";
    let names = [
        "..",
        "../..",
        "a/../..",
        "a/./b",
        "%2e%2e",
        "%2e%2e/%2e%2e",
        "a%2f..%2f..",
        "..%2f..%2fetc",
        "a%00",
        "%00",
        "a\\..",
        "/etc",
        "//etc",
        "a//b",
        "_blobs",
        "a/_tags",
        "a/_blobs/sha256",
        "con\u{301}",
        "A",
        "a..b",
        "-a",
        "a%0d%0ax",
        &long,
    ];
    for name in names {
        for line in [
            format!("POST /v2/{name}/blobs/uploads/?digest={digest} HTTP/1.1"),
            format!("POST /v2/{name}/blobs/uploads/?mount={digest} HTTP/1.1"),
            format!("PUT /v2/{name}/manifests/1 HTTP/1.1"),
            format!("DELETE /v2/{name}/blobs/{digest} HTTP/1.1"),
        ] {
            let request = format!("{line}\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}");
            let answer = raw(&harbour, request.as_bytes()).await;
            assert!(["400", "404", "405"].contains(&status(&answer)), "{line}: {answer}");
        }
    }
    for target in ["..", ".hidden", "a%2fb", "%2e%2e", "a/b", "sha256:..", "sha256:../../../../x", &"t".repeat(129)] {
        for line in
            [format!("PUT /v2/a/manifests/{target} HTTP/1.1"), format!("PUT /v2/a/manifests/1?tag={target} HTTP/1.1")]
        {
            let request = format!("{line}\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}");
            let answer = raw(&harbour, request.as_bytes()).await;
            assert!(["400", "404", "405"].contains(&status(&answer)), "{line}: {answer}");
        }
    }
    let mut kept: Vec<_> = listed(harbour.folder.path());
    kept.retain(|path| !path.ends_with("uploads"));
    assert_eq!(kept, ["registry", "registry/layout", "registry/lock"], "nothing was written anywhere");
    assert_eq!(harbour.push_blob(&deep, b"{}").await, digest, "255 bytes are a name's limit");
}

/// The paths of all files and folders, in order.
fn listed(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        #[expect(clippy::disallowed_methods, reason = "sorted below")]
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            if path.is_dir() && !path.is_symlink() {
                todo.push(path);
            }
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn links_in_the_folder_are_not_followed() {
    use std::os::unix::fs::symlink;
    let harbour = harbour().await;
    let outside = harbour.folder.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("kept"), "kept").unwrap();
    let root = harbour.folder.path().join("registry");
    let layer = Digest::of(b"layer");
    harbour.push_image("a", "1", b"layer").await;
    symlink(&outside, root.join("repositories/evil")).unwrap();
    symlink("..", root.join("repositories/a/round")).unwrap();
    symlink(&outside, root.join("repositories/a/_referrers")).unwrap();
    let folder = Digest::of(b"elsewhere").hex()[..2].to_owned();
    symlink(&outside, root.join("blobs/sha256").join(&folder)).unwrap();

    let post = |name: &str, digest: &Digest| format!("/v2/{name}/blobs/uploads/?digest={digest}");
    let elsewhere = Digest::of(b"elsewhere");
    assert_eq!(harbour.send(Method::POST, &post("evil", &layer), &[], "layer").await.status(), 500);
    assert_eq!(harbour.send(Method::POST, &post("a", &elsewhere), &[], "elsewhere").await.status(), 500);
    assert_eq!(harbour.send(Method::DELETE, "/v2/evil/manifests/kept", &[], "").await.status(), 500);
    assert_eq!(harbour.json("/v2/_catalog").await["repositories"], serde_json::json!(["a"]));
    assert_eq!(listed(&outside), ["kept"]);

    let secret = outside.join("secret");
    std::fs::write(&secret, "layer").unwrap();
    let content = root.join("blobs/sha256").join(&layer.hex()[..2]).join(layer.hex());
    std::fs::remove_file(&content).unwrap();
    symlink(&secret, &content).unwrap();
    assert_eq!(harbour.head(&format!("/v2/a/blobs/{layer}")).await, 404, "a link is no content");
    harbour.push_blob("a", b"layer").await;
    assert!(!content.is_symlink() && secret.exists(), "the link was replaced, not what it led to");
}

#[tokio::test]
async fn folder_whose_uploads_are_a_link_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let (root, outside) = (folder.path().join("registry"), folder.path().join("outside"));
    Server::bind(ServeOptions::new(&root)).await.unwrap();
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("thesis.tex"), "").unwrap();
    std::fs::remove_dir(root.join("uploads")).unwrap();
    std::os::unix::fs::symlink(&outside, root.join("uploads")).unwrap();
    assert!(matches!(Server::bind(ServeOptions::new(&root)).await, Err(ServeError::Layout { .. })));
    assert!(outside.join("thesis.tex").exists(), "cleaning up did not follow the link");
}

#[tokio::test]
async fn silent_clients_are_let_go() {
    let silence = Duration::from_millis(300);
    let harbour = harbour_with(|options| options.silence = silence).await;
    let patience = Duration::from_secs(30);
    let location = harbour.open("a").await;
    for (request, expected) in [
        (String::new(), ""),
        ("GET /v2/ HTTP/1.1\r\nhost: x\r\n".to_owned(), ""),
        ("GET /v2/ HTTP/1.1\r\nhost: x\r\n\r\n".to_owned(), "200"),
        ("PUT /v2/a/manifests/1 HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{".to_owned(), "400"),
        (format!("PATCH {location} HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nbytes"), "400"),
    ] {
        let answer = tokio::time::timeout(patience, raw(&harbour, request.as_bytes())).await;
        let answer = answer.unwrap_or_else(|_| panic!("still connected: {request}"));
        assert!(status(&answer) == expected || status(&answer) == "408", "{request}: {answer}");
    }
    assert_eq!(harbour.head("/v2/").await, 200);
}

#[tokio::test]
async fn client_that_takes_nothing_is_let_go() {
    if !cfg!(target_os = "linux") {
        println!("skipped: the system's own patience applies here");
        return;
    }
    let harbour = harbour_with(|options| options.silence = Duration::from_secs(1)).await;
    let size = 64 * 1024 * 1024;
    let digest = harbour.push_blob("a", &vec![7; size]).await;
    let mut stream = TcpStream::connect(harbour.running.address()).await.unwrap();
    let request = format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    let mut taken = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(30), stream.read_to_end(&mut taken)).await.unwrap();
    assert!(read.is_err() || taken.len() < size, "the whole blob arrived after {} bytes", taken.len());
}

#[tokio::test]
async fn slow_sender_is_heard_out() {
    let harbour = harbour_with(|options| options.silence = Duration::from_millis(600)).await;
    let location = harbour.open("a").await;
    let mut stream = TcpStream::connect(harbour.running.address()).await.unwrap();
    let head = format!("PATCH {location} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    for byte in b"0123456789" {
        stream.write_all(&[*byte]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert_eq!(status(&answer), "202", "{answer}");
}

#[tokio::test]
async fn excess_is_refused_and_nothing_of_it_is_kept() {
    let harbour = harbour().await;
    let large = vec![b' '; 4 * 1024 * 1024 + 1];
    assert_eq!(
        code(harbour.send(Method::PUT, "/v2/a/manifests/1", &[], large).await).await,
        (413, "SIZE_INVALID".to_owned())
    );
    let chunked =
        "PUT /v2/a/manifests/1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut endless = chunked.as_bytes().to_vec();
    for _ in 0..80 {
        endless.extend_from_slice(b"10000\r\n");
        endless.extend_from_slice(&[b' '; 0x10000]);
        endless.extend_from_slice(b"\r\n");
    }
    endless.extend_from_slice(b"0\r\n\r\n");
    assert_eq!(status(&raw(&harbour, &endless).await), "413");
    let header = format!("GET /v2/ HTTP/1.1\r\nhost: x\r\nx-long: {}\r\n\r\n", "a".repeat(1024 * 1024));
    assert_eq!(status(&raw(&harbour, header.as_bytes()).await), "431");
    let many = "x: y\r\n".repeat(1000);
    let headers = format!("GET /v2/ HTTP/1.1\r\nhost: x\r\n{many}\r\n");
    assert_eq!(status(&raw(&harbour, headers.as_bytes()).await), "431");
    for _ in 0..512 {
        harbour.open("a").await;
    }
    let answer = harbour.send(Method::POST, "/v2/a/blobs/uploads/", &[], "").await;
    assert_eq!(code(answer).await, (429, "TOOMANYREQUESTS".to_owned()));
    assert_eq!(files(&harbour.folder.path().join("registry/blobs")), 0);
}
