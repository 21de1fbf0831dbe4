//! Login and reading only: who may do what on the embedded registry.

use std::path::Path;

use lapstrake::serve::{ServeError, ServeOptions, Server};
use reqwest::Method;

use crate::support::harbour::{Harbour, code, harbour_with, header};
use crate::support::yard::{Ran, Yard};

/// A file with what `htpasswd -nbBC 4 ada sesame` answers.
fn users(folder: &Path) -> std::path::PathBuf {
    let path = folder.join("users");
    let hash = bcrypt::hash("sesame", 4).unwrap().replace("$2b$", "$2y$");
    std::fs::write(&path, format!("# users\nada:{hash}\n")).unwrap();
    path
}

fn basic(pair: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

#[tokio::test]
async fn every_path_asks_strangers_for_a_login() {
    let folder = tempfile::tempdir().unwrap();
    let harbour = harbour_with(|options| options.passwords = Some(users(folder.path()))).await;
    let zeros = "0".repeat(64);
    let paths = [
        (Method::GET, "/v2/".to_owned()),
        (Method::GET, "/v2/_catalog".to_owned()),
        (Method::GET, "/v2/a/tags/list".to_owned()),
        (Method::HEAD, "/v2/a/manifests/1".to_owned()),
        (Method::PUT, "/v2/a/manifests/1".to_owned()),
        (Method::DELETE, format!("/v2/a/blobs/sha256:{zeros}")),
        (Method::POST, "/v2/a/blobs/uploads/".to_owned()),
        (Method::PATCH, "/v2/a/blobs/uploads/x".to_owned()),
        (Method::GET, format!("/v2/a/referrers/sha256:{zeros}")),
        (Method::GET, "/elsewhere".to_owned()),
        (Method::PUT, "/v2/A/manifests/..".to_owned()),
    ];
    for (method, path) in paths {
        for given in [None, Some(basic("ada:Sesame")), Some(basic("eve:sesame")), Some("Bearer abc".to_owned())] {
            let headers: Vec<(&str, &str)> = given.iter().map(|given| ("authorization", given.as_str())).collect();
            let answer = harbour.send(method.clone(), &path, &headers, "").await;
            let challenge = header(&answer, "www-authenticate");
            assert_eq!((answer.status().as_u16(), challenge.starts_with("Basic realm=")), (401, true), "{path}");
            if method != Method::HEAD {
                assert_eq!(code(answer).await, (401, "UNAUTHORIZED".to_owned()), "{method} {path}");
            }
        }
        let right = basic("ada:sesame");
        let answer = harbour.send(method.clone(), &path, &[("authorization", &right)], "").await;
        assert_ne!(answer.status(), 401, "{method} {path}");
    }
}

#[tokio::test]
async fn stranger_who_sends_a_body_reads_the_refusal() {
    let folder = tempfile::tempdir().unwrap();
    let harbour = harbour_with(|options| options.passwords = Some(users(folder.path()))).await;
    let body = vec![b' '; 4_000_000];
    for _ in 0..4 {
        let answer = harbour.send(Method::PUT, "/v2/a/manifests/1", &[], body.clone()).await;
        assert_eq!(answer.status(), 401);
    }
}

#[tokio::test]
async fn file_with_other_hashes_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for (text, expected) in [
        ("ada:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=", "line 1"),
        ("\nada:$apr1$dHjB0/..$mkTTbqwpK/0h/rz4ZeN8M0", "line 2"),
        ("", "names no user"),
    ] {
        let path = folder.path().join("users");
        std::fs::write(&path, text).unwrap();
        let options = ServeOptions { passwords: Some(path), ..ServeOptions::new(folder.path().join("registry")) };
        let error = Server::bind(options).await.unwrap_err();
        assert!(matches!(error, ServeError::Passwords { .. }));
        assert!(error.to_string().contains(expected) && !error.to_string().contains("fEqN"), "{error}");
    }
    let missing = Some(folder.path().join("absent"));
    let options = ServeOptions { passwords: missing, ..ServeOptions::new(folder.path().join("registry")) };
    assert!(matches!(Server::bind(options).await, Err(ServeError::Storage { .. })));
}

#[tokio::test]
async fn command_line_refuses_a_file_that_is_not_one_of_users() {
    let yard = Yard::new().await;
    let path = yard.path("users");
    std::fs::write(&path, "ada:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=\n").unwrap();
    let mut command = yard.command("store");
    command.args(["registry", "serve", "--listen", "127.0.0.1:0", "--htpasswd"]).arg(&path);
    let ran = Ran::from(command.output().unwrap());
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("has a hash that is not bcrypt's"), "{}", ran.stderr);
    assert!(ran.stderr.contains("htpasswd -B") && !ran.stderr.contains("fEqN"), "{}", ran.stderr);
}

#[tokio::test]
async fn registry_for_reading_refuses_every_write() {
    let harbour = harbour_with(|_| {}).await;
    let bytes = harbour.push_image("a", "1", b"layer").await.to_string();
    let Harbour { folder, running, client, seen } = harbour;
    running.stop().await;
    let options = ServeOptions { is_read_only: true, ..ServeOptions::new(folder.path().join("registry")) };
    let running = Server::bind(options).await.unwrap().spawn();
    let harbour = Harbour { folder, running, client, seen };
    assert_eq!(harbour.get("/v2/a/manifests/1").await.bytes().await.unwrap(), bytes);
    assert_eq!(harbour.get("/v2/a/tags/list").await.status(), 200);
    let digest = lapstrake::oci::Digest::of(b"layer");
    for (method, path, allowed) in [
        (Method::PUT, "/v2/a/manifests/2".to_owned(), "GET, HEAD"),
        (Method::DELETE, "/v2/a/manifests/1".to_owned(), "GET, HEAD"),
        (Method::DELETE, format!("/v2/a/blobs/{digest}"), "GET, HEAD"),
        (Method::POST, "/v2/a/blobs/uploads/".to_owned(), ""),
        (Method::POST, format!("/v2/b/blobs/uploads/?mount={digest}&from=a"), ""),
        (Method::POST, format!("/v2/b/blobs/uploads/?digest={digest}"), ""),
        (Method::PATCH, "/v2/a/blobs/uploads/x".to_owned(), "GET, HEAD"),
        (Method::PUT, "/v2/a/blobs/uploads/x".to_owned(), "GET, HEAD"),
    ] {
        let answer = harbour.send(method.clone(), &path, &[], "layer").await;
        assert_eq!(header(&answer, "allow"), allowed, "{method} {path}");
        assert_eq!(code(answer).await, (405, "UNSUPPORTED".to_owned()), "{method} {path}");
    }
    assert_eq!(harbour.head(&format!("/v2/b/blobs/{digest}")).await, 404);
    assert_eq!(harbour.head("/v2/a/manifests/1").await, 200);
}
