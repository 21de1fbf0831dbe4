//! Tokens and credentials under faults: renewed in time, replayed, never sent elsewhere.
//!
//! Where credentials are found is tested with the keychains.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lapstrake::oci::media_type::OCI_LAYER_GZIP;
use lapstrake::oci::{Descriptor, Repository};
use lapstrake::registry::{BlobBody, Credential, Mounted, Registry, RegistryError};

use crate::support::calls::{
    BLOB, SECRET, bearer, blob, blob_path, challenge, client, client_of, password, push, read, repository, shown, token,
};
use crate::support::fault::{FaultServer, Reply};
use crate::support::tiny_registry::{Habits, TinyRegistry};

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
    let started = Instant::now();
    let client = client();
    for number in 0..10_u8 {
        let bytes = Bytes::from(vec![number; 100]);
        let blob = Descriptor::of(OCI_LAYER_GZIP, &bytes);
        client.push_blob(&repository(&server), &blob, BlobBody::Bytes(bytes), &|_| {}).await.unwrap();
    }
    let (tokens, requests) = (server.hits("GET", "/token"), server.seen().len());
    assert!(tokens >= 2);
    let refused = requests - tokens - 20;
    assert!(refused <= 2, "renewed before they end: {refused} requests were refused");
    let seconds = started.elapsed().as_secs_f64();
    println!("row A1: 10 blobs, tokens of 2 s: {tokens} tokens, {requests} requests, {seconds:.1} s");
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
        let tries = server.hits("GET", &blob_path());
        assert_eq!(tries, 2);
        println!("row A3: {status} for ever: {tries} tries, {} requests: {error}", server.seen().len());
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
    let secrets = elsewhere.seen().iter().filter(|seen| seen.header("authorization").is_some()).count();
    assert_eq!(secrets, 0);
    println!("row A5: redirect elsewhere: {} requests seen there, {secrets} with a credential", elsewhere.seen().len());
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
    let secrets = elsewhere.seen().iter().filter(|seen| seen.header("authorization").is_some()).count();
    assert_eq!(secrets, 0);
    println!("row A4: realm elsewhere: {} requests seen there, {secrets} with a credential", elsewhere.seen().len());
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
    let secrets = elsewhere.seen().iter().filter(|seen| seen.header("authorization").is_some()).count();
    assert_eq!(secrets, 0);
    println!(
        "row A6: upload `Location` elsewhere: {} requests seen there, {secrets} with a credential",
        elsewhere.seen().len()
    );
}

#[tokio::test]
async fn tasks_that_need_the_same_token_wait_for_one_renewal() {
    let registry = TinyRegistry::default();
    let server = FaultServer::start(move |seen, nth| match seen.path() {
        "/token" => token(&format!("t{nth}")).delay(Duration::from_millis(50)),
        // The first token is withdrawn while sixteen uploads are under way.
        _ if seen.method == "PUT" && bearer(seen) == Some("t1") => challenge(seen),
        _ if bearer(seen).is_some() => registry.reply(seen).delay(Duration::from_millis(20)),
        _ => challenge(seen),
    })
    .await;
    let (client, at) = (client(), repository(&server));
    let pushes = (0..16_u8).map(|number| {
        let (client, at) = (&client, &at);
        async move {
            let bytes = Bytes::from(vec![number; 100]);
            let blob = Descriptor::of(OCI_LAYER_GZIP, &bytes);
            client.push_blob(at, &blob, BlobBody::Bytes(bytes), &|_| {}).await
        }
    });
    futures_util::future::try_join_all(pushes).await.unwrap();
    let tokens = server.hits("GET", "/token");
    assert_eq!(tokens, 2);
    println!("row A1: a token withdrawn under 16 uploads: {tokens} tokens, {} requests", server.seen().len());
}

#[tokio::test]
async fn a_token_that_ends_between_chunks_does_not_cost_the_chunks() {
    let habits = Habits { put: false, patch: true, status: true, announced: Some(1 << 20), ..Habits::default() };
    let registry = TinyRegistry::with(habits);
    let server = FaultServer::start(move |seen, nth| match (seen.method.as_str(), seen.path()) {
        (_, "/token") => token(&format!("t{nth}")),
        ("PATCH", _) if nth == 3 => challenge(seen),
        _ if bearer(seen).is_some() => registry.reply(seen),
        _ => challenge(seen),
    })
    .await;
    let bytes = Bytes::from(vec![7; 4 << 20]);
    let blob = Descriptor::of(OCI_LAYER_GZIP, &bytes);
    client().push_blob(&repository(&server), &blob, BlobBody::Bytes(bytes), &|_| {}).await.unwrap();
    let sent: usize = server.seen().iter().filter(|seen| seen.method == "PATCH").map(|seen| seen.body.len()).sum();
    assert_eq!(sent, 5 << 20, "the refused chunk is sent again, and no other");
    assert_eq!(server.hits("GET", "/token"), 2);
}

#[tokio::test]
async fn lifetimes_of_all_forms_do_not_stop_a_push() {
    for lifetime in ["null", "0", "-1", "\"300\"", "1e300", "[]", "0.001"] {
        let registry = TinyRegistry::default();
        let body = format!(r#"{{"access_token":"good","expires_in":{lifetime}}}"#);
        let server = FaultServer::start(move |seen, _| match seen.path() {
            "/token" => Reply::ok(body.clone()),
            _ if bearer(seen) == Some("good") => registry.reply(seen),
            _ => challenge(seen),
        })
        .await;
        push(&client(), &server).await.unwrap();
        assert_eq!(server.hits("GET", "/token"), 1, "{lifetime}");
    }
}
