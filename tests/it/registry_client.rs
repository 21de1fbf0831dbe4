//! The HTTP client against a loopback registry that misbehaves as told.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lapstrake::diagnostic::Diagnose;
use lapstrake::oci::media_type::{OCI_LAYER_GZIP, OCI_MANIFEST};
use lapstrake::oci::{Descriptor, Digest, MediaType, Reference, Repository};
use lapstrake::registry::{
    BlobBody, Client, ClientConfig, Credential, Given, Identity, Mounted, Registry, RegistryError, RetryPolicy,
};

use crate::support::fault::{FaultServer, Reply, Seen};
use crate::support::tiny_registry::TinyRegistry;

const SECRET: &str = "canary-5f1c";
const BLOB: &[u8] = b"0123456789abcdefghij";

fn config() -> ClientConfig {
    let retry = RetryPolicy { first_wait: Duration::from_millis(2), ..RetryPolicy::default() };
    ClientConfig { retry, patience: Duration::from_millis(400), ..ClientConfig::default() }
}

fn client() -> Client {
    Client::new(config())
}

fn client_of(domain: &str, credential: Credential) -> Client {
    let identity = Identity::new(credential, "a test's flag");
    Client::new(ClientConfig { keychain: Arc::new(Given { domain: domain.into(), identity }), ..config() })
}

fn password() -> Credential {
    Credential::Password { username: "user".into(), password: SECRET.into() }
}

fn repository(server: &FaultServer) -> Repository {
    Repository::parse(&format!("{}/team/app", server.domain())).unwrap()
}

fn blob() -> Descriptor {
    Descriptor::of(OCI_LAYER_GZIP, BLOB)
}

fn blob_path() -> String {
    format!("/v2/team/app/blobs/{}", blob().digest)
}

async fn read(client: &Client, server: &FaultServer) -> Result<Vec<u8>, RegistryError> {
    client.fetch_blob(&repository(server), &blob(), 1000).await
}

async fn push(client: &Client, server: &FaultServer) -> Result<(), RegistryError> {
    client.push_blob(&repository(server), &blob(), BlobBody::Bytes(Bytes::from_static(BLOB)), &|_| {}).await
}

fn challenge(seen: &Seen) -> Reply {
    let host = seen.header("host").unwrap();
    Reply::status(401).header("www-authenticate", format!(r#"Bearer realm="http://{host}/token",service="reg""#))
}

fn bearer(seen: &Seen) -> Option<&str> {
    seen.header("authorization")?.strip_prefix("Bearer ")
}

fn token(value: &str) -> Reply {
    Reply::ok(format!(r#"{{"token":"{value}","expires_in":300}}"#))
}

/// The message of an error with its causes and its hint: all that a user may see of it.
fn shown(error: &RegistryError) -> String {
    let mut text = format!("{error} {error:?} {:?}", error.hint());
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!(" {error}"));
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_token_is_fetched_once_for_many_tasks_and_reused() {
    let registry = TinyRegistry::default();
    registry.put_blob("team/app", BLOB);
    let server = FaultServer::start(move |seen, _| match seen.path() {
        "/token" => token("good").delay(Duration::from_millis(50)),
        _ if bearer(seen) == Some("good") => registry.reply(seen),
        _ => challenge(seen),
    })
    .await;
    let client = client_of(&server.domain(), password());
    let at = repository(&server);
    let digest = blob().digest;
    let sizes = futures_util::future::join_all((0..8).map(|_| client.blob_size(&at, &digest))).await;
    assert!(sizes.into_iter().all(|size| size.unwrap() == Some(20)));
    assert_eq!(server.hits("GET", "/token"), 1);
    let asked = server.seen().into_iter().find(|seen| seen.path() == "/token").unwrap();
    assert_eq!(asked.target, "/token?service=reg&scope=repository%3Ateam%2Fapp%3Apull");
    assert_eq!(asked.header("authorization"), Some("Basic dXNlcjpjYW5hcnktNWYxYw=="));
}

#[tokio::test]
async fn push_and_mount_share_a_token_and_mount_scope_is_given_up_when_refused() {
    for refused in [false, true] {
        let registry = TinyRegistry::default();
        let server = FaultServer::start(move |seen, _| match seen.path() {
            "/token" if refused && seen.target.contains("team%2Fbase") => Reply::status(403),
            "/token" => token("good"),
            _ if bearer(seen) == Some("good") => registry.reply(seen),
            _ => challenge(seen),
        })
        .await;
        let client = client();
        let to = repository(&server);
        let from = Repository::parse(&format!("{}/team/base", server.domain())).unwrap();
        assert_eq!(client.mount(&to, &blob().digest, &from).await.unwrap(), Mounted::No);
        push(&client, &server).await.unwrap();
        let first = server.seen().into_iter().find(|seen| seen.path() == "/token").unwrap();
        assert!(
            first.target.ends_with("scope=repository%3Ateam%2Fapp%3Apull%2Cpush&scope=repository%3Ateam%2Fbase%3Apull")
        );
        assert_eq!(server.hits("GET", "/token"), if refused { 2 } else { 1 });
        // The session that the mount opened is used: no second POST but the replay after the challenge.
        assert_eq!(server.hits("POST", "/v2/team/app/blobs/uploads/"), 2);
    }
}

#[tokio::test]
async fn a_token_that_ends_in_mid_push_is_renewed() {
    let registry = TinyRegistry::default();
    let server = FaultServer::start(move |seen, nth| match (seen.method.as_str(), seen.path()) {
        (_, "/token") => token(&format!("t{nth}")),
        ("PUT", _) if bearer(seen) != Some("t2") => challenge(seen),
        _ if bearer(seen).is_some() => registry.reply(seen),
        _ => challenge(seen),
    })
    .await;
    push(&client(), &server).await.unwrap();
    assert_eq!(server.hits("GET", "/token"), 2);
    assert_eq!(server.seen().iter().filter(|seen| seen.method == "PUT").count(), 2);
}

#[tokio::test]
async fn tokens_of_two_seconds_carry_a_push_of_ten_blobs() {
    let registry = TinyRegistry::default();
    let issued = std::sync::Mutex::new(Vec::<Instant>::new());
    let server = FaultServer::start(move |seen, nth| {
        let mut issued = issued.lock().unwrap();
        if seen.path() == "/token" {
            issued.push(Instant::now());
            return Reply::ok(format!(r#"{{"access_token":"{nth}","expires_in":2}}"#));
        }
        let number: Option<usize> = bearer(seen).and_then(|text| text.parse().ok());
        match number.and_then(|number| issued.get(number - 1)) {
            Some(start) if start.elapsed() < Duration::from_secs(2) => {
                registry.reply(seen).delay(Duration::from_millis(150))
            }
            _ => challenge(seen),
        }
    })
    .await;
    let client = client();
    for number in 0..10_u8 {
        let bytes = Bytes::from(vec![number; 100]);
        let blob = Descriptor::of(OCI_LAYER_GZIP, &bytes);
        client.push_blob(&repository(&server), &blob, BlobBody::Bytes(bytes), &|_| {}).await.unwrap();
    }
    assert!(server.hits("GET", "/token") >= 2);
}

#[tokio::test]
async fn a_refusal_for_ever_takes_two_tries_and_names_source_and_scope() {
    for status in [401, 403] {
        let server = FaultServer::start(move |seen, _| match seen.path() {
            "/token" => token(SECRET),
            _ if bearer(seen).is_some() && status == 403 => {
                let said = format!(r#"{{"errors":[{{"code":"DENIED","message":"{SECRET} may not"}}]}}"#);
                Reply::status(403).body(said)
            }
            _ => challenge(seen),
        })
        .await;
        let error = read(&client_of(&server.domain(), password()), &server).await.unwrap_err();
        let text = shown(&error);
        assert!(text.contains("a test's flag") && text.contains("repository:team/app:pull"), "{text}");
        assert!(!text.contains(SECRET), "{text}");
        assert_eq!(server.hits("GET", &blob_path()), 2);
    }
}

#[tokio::test]
async fn basic_and_identity_tokens_are_used_as_docker_does() {
    let server = FaultServer::start(|seen, _| match seen.header("authorization") {
        Some("Basic dXNlcjpjYW5hcnktNWYxYw==") => Reply::ok(BLOB),
        _ => Reply::status(401).header("www-authenticate", "Basic realm=\"x\""),
    })
    .await;
    assert_eq!(read(&client_of(&server.domain(), password()), &server).await.unwrap(), BLOB);
    let anonymous = read(&client(), &server).await.unwrap_err();
    assert!(matches!(anonymous, RegistryError::Unauthorized { .. }));
    assert!(shown(&anonymous).contains("anonymous"));

    let server = FaultServer::start(|seen, _| match (seen.method.as_str(), seen.path()) {
        ("POST", "/token") if String::from_utf8_lossy(&seen.body).contains("refresh_token=canary-5f1c") => {
            Reply::ok(r#"{"access_token":"good"}"#)
        }
        ("GET", "/token") => Reply::status(400),
        _ if bearer(seen) == Some("good") => Reply::ok(BLOB),
        _ => challenge(seen),
    })
    .await;
    let client = client_of(&server.domain(), Credential::IdentityToken(SECRET.into()));
    assert_eq!(read(&client, &server).await.unwrap(), BLOB);
}

#[tokio::test]
async fn a_redirect_drops_the_authorization() {
    let elsewhere = FaultServer::start(|_, _| Reply::ok(BLOB)).await;
    let target = elsewhere.url("/signed?signature=1");
    let server = FaultServer::start(move |seen, _| match seen.path() {
        "/token" => token("good"),
        _ if bearer(seen) == Some("good") => Reply::status(307).header("location", &target),
        _ => challenge(seen),
    })
    .await;
    assert_eq!(read(&client_of(&server.domain(), password()), &server).await.unwrap(), BLOB);
    let seen = elsewhere.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(seen[0].header("authorization"), None);
}

#[tokio::test]
async fn redirects_end() {
    let server = FaultServer::start(|seen, _| Reply::status(302).header("location", format!("{}x", seen.target))).await;
    assert!(matches!(read(&client(), &server).await, Err(RegistryError::Redirects { limit: 10, .. })));
}

#[tokio::test]
async fn a_realm_elsewhere_sees_nothing() {
    let elsewhere = FaultServer::start(|_, _| token("stolen")).await;
    let realm = elsewhere.url("/token");
    let server = FaultServer::start(move |_, _| {
        Reply::status(401).header("www-authenticate", format!(r#"Bearer realm="{realm}""#))
    })
    .await;
    let error = read(&client_of(&server.domain(), password()), &server).await.unwrap_err();
    assert!(matches!(error, RegistryError::Realm { .. }), "{error}");
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn an_upload_location_elsewhere_sees_nothing() {
    let elsewhere = FaultServer::start(|_, _| Reply::status(201)).await;
    let location = elsewhere.url("/upload");
    let server = FaultServer::start(move |seen, _| match seen.path() {
        "/token" => token("good"),
        _ if bearer(seen).is_none() => challenge(seen),
        _ => Reply::status(202).header("location", &location),
    })
    .await;
    let error = push(&client_of(&server.domain(), password()), &server).await.unwrap_err();
    assert!(matches!(error, RegistryError::Detour { .. }), "{error}");
    assert!(elsewhere.seen().is_empty());
}

#[tokio::test]
async fn wrong_bytes_and_wrong_lengths_are_refused() {
    for (body, expected) in [
        (&b"0123456789abcdefghiX"[..], "WrongDigest"),
        (&b"0123456789abcdefghijk"[..], "WrongLength"),
        (&b"0123456789"[..], "WrongLength"),
    ] {
        let server = FaultServer::start(move |_, _| Reply::ok(body)).await;
        let error = read(&client(), &server).await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
    }
}

#[tokio::test]
async fn a_cut_download_is_resumed_by_range() {
    for (resets, honours_range) in [(false, true), (false, false), (true, true)] {
        let server = FaultServer::start(move |seen, nth| {
            let reply = match seen.header("range") {
                Some("bytes=7-") if honours_range => {
                    Reply::status(206).header("content-range", "bytes 7-19/20").body(&BLOB[7..])
                }
                _ => Reply::ok(BLOB),
            };
            match (nth, resets) {
                (1, true) => reply.cut_after(7).reset(),
                (1, false) => reply.cut_after(7),
                _ => reply,
            }
        })
        .await;
        assert_eq!(read(&client(), &server).await.unwrap(), BLOB, "{resets} {honours_range}");
        let ranges: Vec<_> = server.seen().iter().map(|seen| seen.header("range").map(str::to_owned)).collect();
        assert_eq!(ranges, [None, Some("bytes=7-".to_owned())]);
    }
}

#[tokio::test]
async fn a_download_that_is_always_cut_ends_in_an_error() {
    let server = FaultServer::start(|_, _| Reply::ok(BLOB).cut_after(0)).await;
    let error = read(&client(), &server).await.unwrap_err();
    assert!(matches!(error, RegistryError::Interrupted { tries: 5, .. }), "{error:?}");
    assert_eq!(server.hits("GET", &blob_path()), 5);
}

#[tokio::test]
async fn passing_troubles_are_retried_and_retry_after_is_heeded() {
    let server = FaultServer::start(|_, nth| match nth {
        1 => Reply::status(429).header("retry-after", 1),
        2 => Reply::status(503),
        3 => Reply::default().reset(),
        _ => Reply::ok(BLOB),
    })
    .await;
    let started = Instant::now();
    assert_eq!(read(&client(), &server).await.unwrap(), BLOB);
    assert!(started.elapsed() >= Duration::from_secs(1));
    assert_eq!(server.seen().len(), 4);

    let server = FaultServer::start(|_, _| Reply::status(500)).await;
    let error = read(&client(), &server).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 500, tries: 5, .. }), "{error:?}");
    let server = FaultServer::start(|_, _| Reply::status(429)).await;
    assert!(matches!(read(&client(), &server).await, Err(RegistryError::RateLimited { tries: 5, .. })));
    let server = FaultServer::start(|_, _| Reply::status(400)).await;
    assert!(read(&client(), &server).await.is_err());
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_answer_lost_after_the_commit_is_a_success() {
    let registry = TinyRegistry::default();
    let server = FaultServer::start(move |seen, _| {
        let reply = registry.reply(seen);
        if seen.method == "PUT" { reply.reset() } else { reply }
    })
    .await;
    push(&client(), &server).await.unwrap();
    let put = |seen: &Seen| seen.method == "PUT";
    assert_eq!(server.seen().iter().filter(|seen| put(seen)).count(), 1);
    assert_eq!(server.hits("HEAD", &blob_path()), 1);
}

#[tokio::test]
async fn a_lost_session_is_opened_anew() {
    let registry = TinyRegistry::default();
    let server = FaultServer::start(move |seen, nth| match (seen.method.as_str(), nth) {
        ("PUT", 1) => Reply::status(404).body(r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#),
        ("PUT", 2) => Reply::status(416),
        ("PUT", 3) => Reply::status(502),
        _ => registry.reply(seen),
    })
    .await;
    push(&client(), &server).await.unwrap();
    assert_eq!(server.hits("POST", "/v2/team/app/blobs/uploads/"), 4);
}

#[tokio::test]
async fn a_registry_that_refuses_one_put_gets_a_patch() {
    let server = FaultServer::start(|seen, _| match (seen.method.as_str(), seen.target.as_str()) {
        ("POST", _) => Reply::status(202).header("location", "/up/1"),
        ("PATCH", "/up/1") if seen.body == BLOB && seen.header("content-range").is_none() => {
            Reply::status(201).header("location", "/up/2?a=b")
        }
        ("PUT", target) if target.starts_with("/up/2?a=b&digest=sha256%3A") && seen.body.is_empty() => {
            Reply::status(201)
        }
        _ => Reply::status(405),
    })
    .await;
    push(&client(), &server).await.unwrap();
    let methods: Vec<String> = server.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["POST", "PUT", "POST", "PATCH", "PUT"]);
}

#[tokio::test]
async fn what_does_not_move_is_given_up_and_what_moves_slowly_is_not() {
    let quiet = FaultServer::start(|_, _| Reply::ok(BLOB).delay(Duration::from_secs(60))).await;
    let mut impatient = config();
    impatient.retry.tries = 2;
    let error = read(&Client::new(impatient), &quiet).await.unwrap_err();
    assert!(matches!(error, RegistryError::Stalled { tries: 2, .. }), "{error:?}");
    let slow = FaultServer::start(|_, _| Reply::ok(BLOB).drip(Duration::from_millis(60))).await;
    assert_eq!(read(&client(), &slow).await.unwrap(), BLOB);
    assert_eq!(slow.seen().len(), 1);
}

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

#[tokio::test]
async fn offline_means_not_one_connection() {
    let server = FaultServer::start(|_, _| Reply::ok(BLOB)).await;
    let client = Client::new(ClientConfig { offline: true, ..config() });
    assert!(matches!(read(&client, &server).await, Err(RegistryError::Offline { .. })));
    assert!(matches!(push(&client, &server).await, Err(RegistryError::Offline { .. })));
    assert!(server.seen().is_empty());
}

#[tokio::test]
async fn failures_to_connect_are_told_apart() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap().to_string();
    drop(listener);
    let resolve =
        async |client: Client, text: String| client.resolve(&Reference::parse(&text).unwrap()).await.unwrap_err();
    let refused = resolve(client(), format!("{closed}/a:1")).await;
    assert!(matches!(refused, RegistryError::Refused { .. }), "{refused:?}");
    let unknown = resolve(client(), "no-such-host.invalid/a:1".to_owned()).await;
    assert!(matches!(unknown, RegistryError::UnknownHost { .. }), "{unknown:?}");
}

#[tokio::test]
async fn uploads_stream_a_file_that_changes_into_an_error() {
    let registry = TinyRegistry::default();
    let server = FaultServer::start(move |seen, _| registry.reply(seen)).await;
    let directory = tempfile::tempdir().unwrap();
    let file: PathBuf = directory.path().join("layer");
    std::fs::write(&file, b"shorter").unwrap();
    let pushed = client().push_blob(&repository(&server), &blob(), BlobBody::File(file), &|_| {}).await;
    assert!(matches!(pushed, Err(RegistryError::WrongLength { .. })), "{pushed:?}");
    assert!(client().blob_size(&repository(&server), &blob().digest).await.unwrap().is_none());
}
