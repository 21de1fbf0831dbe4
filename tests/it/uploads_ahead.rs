//! Upload sessions that are opened before there are bytes: used by whoever pushes next, and never in anybody's way.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lapstrake::registry::{Registry as _, RegistryError};

use crate::support::calls::{blob, client, push, repository};
use crate::support::fault::{FaultServer, Reply, Seen};
use crate::support::tiny_registry::TinyRegistry;

/// Waits for so many requests.
async fn seen(server: &FaultServer, count: usize) {
    let all = async {
        while server.seen().len() < count {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), all).await.unwrap();
}

fn methods(server: &FaultServer) -> Vec<String> {
    server.seen().into_iter().map(|seen| seen.method).collect()
}

fn is_post(seen: &Seen) -> bool {
    seen.method == "POST"
}

#[tokio::test]
async fn a_session_that_was_opened_ahead_takes_the_next_blob() {
    let registry = TinyRegistry::default();
    let server = FaultServer::start(move |seen, _| registry.reply(seen)).await;
    let client = client();
    client.prepare_push(&repository(&server));
    seen(&server, 1).await;
    push(&client, &server).await.unwrap();
    assert_eq!(methods(&server), ["POST", "PUT"]);
    assert_eq!(server.seen()[0].body.len(), 0);
    assert!(client.blob_size(&repository(&server), &blob().digest).await.unwrap().is_some());
}

#[tokio::test]
async fn an_answer_that_is_still_to_come_is_waited_for() {
    let registry = TinyRegistry::default();
    let server = FaultServer::start(move |seen, _| registry.reply(seen)).await;
    let client = client();
    for _ in 0..9 {
        client.prepare_push(&repository(&server));
    }
    push(&client, &server).await.unwrap();
    let posts = server.seen().iter().filter(|seen| is_post(seen)).count();
    assert!(posts <= 4 && methods(&server).iter().any(|method| method == "PUT"), "{:?}", server.lines());
}

#[tokio::test]
async fn a_session_that_the_registry_forgot_is_replaced_at_once() {
    let registry = TinyRegistry::default();
    let forgotten = AtomicBool::new(false);
    let server = FaultServer::start(move |seen, _| {
        if seen.method == "PUT" && !forgotten.swap(true, Ordering::Relaxed) {
            return Reply::status(404).body(r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#);
        }
        registry.reply(seen)
    })
    .await;
    let client = client();
    client.prepare_push(&repository(&server));
    seen(&server, 1).await;
    push(&client, &server).await.unwrap();
    assert_eq!(methods(&server), ["POST", "PUT", "POST", "PUT"]);
}

#[tokio::test]
async fn what_was_refused_ahead_is_told_by_the_push_itself() {
    let refusal = r#"{"errors":[{"code":"DENIED","message":"not here"}]}"#;
    let server = FaultServer::start(move |_, _| Reply::status(403).body(refusal)).await;
    let client = client();
    client.prepare_push(&repository(&server));
    seen(&server, 1).await;
    let error = push(&client, &server).await.unwrap_err();
    assert!(matches!(error, RegistryError::Denied { .. }), "{error:?}");
    assert!(error.to_string().contains("not here"), "{error}");
}

#[tokio::test]
async fn none_is_opened_where_a_blob_comes_with_the_post() {
    let server = FaultServer::start(|_, _| Reply::status(201)).await;
    let client = client();
    push(&client, &server).await.unwrap();
    client.prepare_push(&repository(&server));
    push(&client, &server).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(methods(&server), ["POST"], "and the second push knows of the first");
}
