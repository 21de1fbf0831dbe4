//! Uploads under faults: sessions that are lost, cut, refused, too small; and blobs that several tasks want to push.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use lapstrake::oci::media_type::{OCI_INDEX, OCI_LAYER_GZIP};
use lapstrake::oci::{Descriptor, MediaType, Reference, Repository};
use lapstrake::registry::{BlobBody, Client, ClientConfig, Mounted, Registry, RegistryError};

use crate::support::calls::{BLOB, blob, blob_path, client, config, push, repository};
use crate::support::fault::{FaultServer, Reading, Reply, Seen};
use crate::support::tiny_registry::{Habits, TinyRegistry};

const MIB: usize = 1 << 20;

/// A blob of so many bytes that tell their positions.
fn large(size: usize) -> (Descriptor, Bytes) {
    let bytes: Bytes = (0..size as u64 / 8).flat_map(u64::to_le_bytes).collect::<Vec<u8>>().into();
    (Descriptor::of(OCI_LAYER_GZIP, &bytes), bytes)
}

async fn push_large(
    client: &Client,
    server: &FaultServer,
    blob: &Descriptor,
    bytes: &Bytes,
) -> Result<u64, RegistryError> {
    let moved = AtomicU64::new(0);
    let report = |bytes| {
        moved.fetch_add(bytes, Ordering::Relaxed);
    };
    client.push_blob(&repository(server), blob, BlobBody::Bytes(bytes.clone()), &report).await?;
    Ok(moved.into_inner())
}

/// A registry with habits, shared with its test.
async fn registry_with(
    habits: Habits,
    reading: impl Fn(&Seen, usize) -> Reading + Send + Sync + 'static,
) -> (Arc<TinyRegistry>, FaultServer) {
    let registry = Arc::new(TinyRegistry::with(habits));
    let answering = registry.clone();
    let server = FaultServer::start_reading(reading, move |seen, _| answering.reply(seen)).await;
    (registry, server)
}

/// Methods, with the size of their bodies in MiB where they have one.
fn story(server: &FaultServer) -> Vec<String> {
    let one = |seen: &Seen| match seen.body.len() {
        0 => seen.method.clone(),
        bytes => format!("{} {}", seen.method, bytes as f64 / MIB as f64),
    };
    server.seen().iter().map(one).collect()
}

/// Cuts the first request of each of these methods after so many bytes.
fn cut_first(cuts: &'static [(&'static str, usize)]) -> impl Fn(&Seen, usize) -> Reading + Send + Sync + 'static {
    let seen: Vec<AtomicUsize> = cuts.iter().map(|_| AtomicUsize::new(0)).collect();
    move |request, _| {
        let cut = cuts.iter().zip(&seen).find(|((method, _), _)| *method == request.method);
        match cut {
            Some(((_, bytes), seen)) if seen.fetch_add(1, Ordering::Relaxed) == 0 => Reading::Reset(*bytes),
            _ => Reading::All,
        }
    }
}

fn body_bytes(server: &FaultServer) -> usize {
    server.seen().iter().map(|seen| seen.body.len()).sum()
}

#[tokio::test]
async fn an_upload_that_is_cut_goes_on_where_the_registry_has_it() {
    let (blob, bytes) = large(6 * MIB);
    let cut = cut_first(&[("PUT", 2 * MIB), ("PATCH", MIB)]);
    let habits = Habits { patch: true, status: true, ..Habits::default() };
    let (registry, server) = registry_with(habits, cut).await;
    let moved = push_large(&client(), &server, &blob, &bytes).await.unwrap();
    assert_eq!(story(&server), ["POST", "PUT 2", "HEAD", "GET", "PATCH 1", "GET", "PATCH 3", "PUT"]);
    assert!(registry.blob("team/app", &blob.digest).unwrap() == bytes);
    assert_eq!(moved, blob.size, "bytes are reported once");
    let sent = body_bytes(&server);
    assert_eq!(sent, bytes.len(), "no byte is sent twice");
    println!("row N6: 6 MiB cut twice, upload's status known: {} requests, {sent} bytes", server.seen().len());
}

#[tokio::test]
async fn an_upload_that_cannot_be_asked_about_begins_anew() {
    let (blob, bytes) = large(3 * MIB);
    let cut = cut_first(&[("PUT", MIB)]);
    let (registry, server) = registry_with(Habits { patch: true, ..Habits::default() }, cut).await;
    push_large(&client(), &server, &blob, &bytes).await.unwrap();
    assert_eq!(story(&server), ["POST", "PUT 1", "HEAD", "GET", "POST", "PUT 3"]);
    assert!(registry.blob("team/app", &blob.digest).unwrap() == bytes);
    println!("row N6: 3 MiB cut once, no status: {} requests, {} bytes", server.seen().len(), body_bytes(&server));
}

#[tokio::test]
async fn a_status_that_makes_no_sense_begins_anew() {
    let (blob, bytes) = large(2 * MIB);
    for (status, range) in [
        (204, "0-0"),
        (204, "0-99999999"),
        (204, "5-1000000"),
        (204, "0--5"),
        (204, "0-18446744073709551615"),
        (204, ""),
        (200, "0-1000000"),
        (404, "0-1000000"),
    ] {
        let registry = TinyRegistry::default();
        let cut = cut_first(&[("PUT", MIB)]);
        let server = FaultServer::start_reading(cut, move |seen, _| match seen.method.as_str() {
            "GET" => Reply::status(status).header("range", range),
            _ => registry.reply(seen),
        })
        .await;
        push_large(&client(), &server, &blob, &bytes).await.unwrap();
        assert_eq!(story(&server), ["POST", "PUT 1", "HEAD", "GET", "POST", "PUT 2"], "{status} {range}");
    }
}

#[tokio::test]
async fn wrong_bytes_after_a_resumption_cost_one_more_upload() {
    let (blob, bytes) = large(4 * MIB);
    let registry = Arc::new(TinyRegistry::with(Habits { patch: true, status: true, ..Habits::default() }));
    let answering = registry.clone();
    let cut = cut_first(&[("PUT", 2 * MIB)]);
    let server = FaultServer::start_reading(cut, move |seen, _| {
        let mut seen = seen.clone();
        if !seen.whole {
            // What the registry keeps of the broken request is not what was sent.
            seen.body[MIB] ^= 1;
        }
        answering.reply(&seen)
    })
    .await;
    push_large(&client(), &server, &blob, &bytes).await.unwrap();
    assert!(registry.blob("team/app", &blob.digest).unwrap() == bytes);
    let story = story(&server);
    assert_eq!(story[..6], ["POST", "PUT 2", "HEAD", "GET", "PATCH 2", "PUT"]);
    assert_eq!(story.last().unwrap(), "PUT 4");
    println!("row N6: a session that went bad: {} requests, {} bytes", server.seen().len(), body_bytes(&server));
}

#[tokio::test]
async fn a_copy_that_is_cut_reads_only_the_rest_of_its_source() {
    let (blob, bytes) = large(4 * MIB);
    let whole = bytes.clone();
    let source = FaultServer::start(move |seen, _| {
        let start = seen.header("range").map_or(0, |range| range[6..range.len() - 1].parse().unwrap());
        let range = format!("bytes {start}-{}/{}", whole.len() - 1, whole.len());
        let status = if start == 0 { 200 } else { 206 };
        Reply::status(status).header("content-range", range).body(&whole[start..])
    })
    .await;
    let cut = cut_first(&[("PUT", 3 * MIB)]);
    let habits = Habits { patch: true, status: true, ..Habits::default() };
    let (registry, target) = registry_with(habits, cut).await;
    let client = client();
    let (reading, from, wanted) = (client.clone(), repository(&source), blob.clone());
    let body = BlobBody::Stream(Arc::new(move |offset| {
        let (reading, from, wanted) = (reading.clone(), from.clone(), wanted.clone());
        Box::pin(async move { reading.read_blob_from(&from, &wanted, offset).await })
    }));
    client.push_blob(&repository(&target), &blob, body, &|_| {}).await.unwrap();
    assert!(registry.blob("team/app", &blob.digest).unwrap() == bytes);
    let ranges: Vec<_> = source.seen().iter().map(|seen| seen.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, [None, Some(format!("bytes={}-", 3 * MIB))]);
    println!(
        "row N6: a copy of 4 MiB cut at 3: {:?} at the target, {} requests at the source",
        story(&target),
        ranges.len()
    );
}

#[tokio::test]
async fn an_answer_lost_after_the_commit_of_a_patch_is_a_success() {
    let registry = TinyRegistry::with(Habits { put: false, patch: true, ..Habits::default() });
    let server = FaultServer::start(move |seen, _| {
        let reply = registry.reply(seen);
        if seen.method == "PUT" && seen.body.is_empty() { reply.reset() } else { reply }
    })
    .await;
    push(&client(), &server).await.unwrap();
    assert_eq!(server.hits("HEAD", &blob_path()), 1);
    println!("row N7: answer to the commit lost: {} requests", server.seen().len());
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
    println!("row N7: answer to the PUT lost: {} requests", server.seen().len());
    let put = |seen: &Seen| seen.method == "PUT";
    assert_eq!(server.seen().iter().filter(|seen| put(seen)).count(), 1);
    assert_eq!(server.hits("HEAD", &blob_path()), 1);
}

#[tokio::test]
async fn a_lost_session_is_opened_anew() {
    let registry = TinyRegistry::default();
    let count = AtomicUsize::new(0);
    let puts = move |seen: &Seen| match seen.method.as_str() {
        "PUT" => count.fetch_add(1, Ordering::Relaxed) + 1,
        _ => 0,
    };
    let server = FaultServer::start(move |seen, _| match (seen.method.as_str(), puts(seen)) {
        ("PUT", 1) => Reply::status(404).body(r#"{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}"#),
        ("PUT", 2) => Reply::status(416),
        ("PUT", 3) => Reply::status(502),
        _ => registry.reply(seen),
    })
    .await;
    push(&client(), &server).await.unwrap();
    assert_eq!(server.hits("POST", "/v2/team/app/blobs/uploads/"), 4);
    println!("row N7: session lost three times: 4 sessions, {} requests", server.seen().len());
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

#[tokio::test]
async fn the_way_that_had_success_is_taken_at_once_for_the_next_blob() {
    let (_, server) = registry_with(Habits { put: false, patch: true, ..Habits::default() }, |_, _| Reading::All).await;
    let client = client();
    push(&client, &server).await.unwrap();
    let (blob, bytes) = large(MIB);
    push_large(&client, &server, &blob, &bytes).await.unwrap();
    let methods: Vec<String> = server.seen().into_iter().map(|seen| seen.method).collect();
    assert_eq!(methods, ["POST", "PUT", "POST", "PATCH", "PUT", "POST", "PATCH", "PUT"]);
}

#[tokio::test]
async fn bodies_that_are_too_large_are_halved_until_they_fit_and_that_is_remembered() {
    let habits = Habits { patch: true, body: MIB, ..Habits::default() };
    let (registry, server) = registry_with(habits, |_, _| Reading::All).await;
    let client = client();
    let (first, bytes) = large(5 * MIB);
    let moved = push_large(&client, &server, &first, &bytes).await.unwrap();
    assert_eq!(moved, first.size);
    let refused = server.seen().iter().filter(|seen| seen.body.len() > MIB).count();
    assert_eq!(refused, 3, "5, 4 and 2 MiB");
    let before = server.seen().len();
    let (second, more) = large(3 * MIB + 8);
    push_large(&client, &server, &second, &more).await.unwrap();
    assert_eq!(server.seen().len() - before, 6, "POST, four PATCH, PUT");
    for (blob, bytes) in [(&first, &bytes), (&second, &more)] {
        assert!(registry.blob("team/app", &blob.digest).unwrap() == *bytes);
    }
    push(&client, &server).await.unwrap();
    assert_eq!(story(&server).last().unwrap().split(' ').next(), Some("PUT"), "small blobs go at once");
    println!("row N6: a proxy's limit of 1 MiB: 5 MiB in {before} requests, 3 MiB more in 6");
}

#[tokio::test]
async fn a_limit_below_every_sensible_chunk_is_an_error_with_a_hint() {
    let habits = Habits { patch: true, body: 1000, ..Habits::default() };
    let (_, server) = registry_with(habits, |_, _| Reading::All).await;
    let (blob, bytes) = large(MIB);
    let error = push_large(&client(), &server, &blob, &bytes).await.unwrap_err();
    assert!(matches!(error, RegistryError::Status { status: 413, .. }), "{error:?}");
    assert!(server.seen().len() <= 8, "{:?}", story(&server));
}

#[tokio::test]
async fn announced_chunks_are_used_and_each_newest_location() {
    let habits = Habits { put: false, patch: true, announced: Some(MIB), ..Habits::default() };
    let (registry, server) = registry_with(habits, |_, _| Reading::All).await;
    let (blob, bytes) = large(2 * MIB + MIB / 2);
    push_large(&client(), &server, &blob, &bytes).await.unwrap();
    assert_eq!(story(&server), ["POST", "PATCH 1", "PATCH 1", "PATCH 0.5", "PUT"]);
    let ranges: Vec<_> =
        server.seen().iter().filter_map(|seen| seen.header("content-range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["0-1048575", "1048576-2097151", "2097152-2621439"]);
    assert!(registry.blob("team/app", &blob.digest).unwrap() == bytes);
}

#[tokio::test]
async fn a_registry_without_chunks_gets_the_whole_blob_by_one_patch() {
    let habits = Habits { put: false, patch: true, ranged: false, announced: Some(MIB), ..Habits::default() };
    let (registry, server) = registry_with(habits, |_, _| Reading::All).await;
    let (blob, bytes) = large(3 * MIB);
    push_large(&client(), &server, &blob, &bytes).await.unwrap();
    assert_eq!(story(&server), ["POST", "PATCH 1", "POST", "PATCH 3", "PUT"]);
    assert!(registry.blob("team/app", &blob.digest).unwrap() == bytes);
}

#[tokio::test]
async fn a_registry_that_stops_reading_is_given_up() {
    let stall = |seen: &Seen, _| if seen.method == "PUT" { Reading::Stall(1000) } else { Reading::All };
    let (_, server) = registry_with(Habits::default(), stall).await;
    let (blob, bytes) = large(32 * MIB);
    let mut impatient = config();
    impatient.retry.tries = 2;
    let started = Instant::now();
    let error = push_large(&Client::new(impatient), &server, &blob, &bytes).await.unwrap_err();
    assert!(matches!(error, RegistryError::Stalled { tries: 2, .. }), "{error:?}");
    println!("row N10: an upload that stops moving: 2 tries of 0.4 s, {:.1} s", started.elapsed().as_secs_f64());
}

#[tokio::test]
async fn a_commit_may_take_longer_than_bytes_may() {
    let registry = TinyRegistry::default();
    let server = FaultServer::start(move |seen, _| {
        let reply = registry.reply(seen);
        if seen.method == "PUT" { reply.delay(Duration::from_millis(900)) } else { reply }
    })
    .await;
    push(&client(), &server).await.unwrap();
    assert_eq!(server.seen().len(), 2, "0.9 s with 0.4 s for bytes");
}

#[tokio::test]
async fn a_blob_that_many_tasks_push_is_sent_once_and_mounted_elsewhere() {
    let registry = TinyRegistry::default();
    let delay = Duration::from_millis(50);
    let server = FaultServer::start(move |seen, _| registry.reply(seen).delay(delay)).await;
    let (blob, bytes) = large(MIB);
    let client = client();
    let repositories: Vec<Repository> = (0..12)
        .map(|number| Repository::parse(&format!("{}/team/app{}", server.domain(), number % 4)).unwrap())
        .collect();
    let pushes = repositories.iter().map(|at| client.push_blob(at, &blob, BlobBody::Bytes(bytes.clone()), &|_| {}));
    try_join_all(pushes).await.unwrap();
    let count = |method: &str| server.seen().iter().filter(|seen| seen.method == method).count();
    assert_eq!((count("PUT"), count("POST")), (1, 4), "one upload, three mounts");
    println!(
        "row H12: 12 pushes of one blob to 4 repositories: {} requests, {} bytes",
        server.seen().len(),
        body_bytes(&server)
    );
}

#[tokio::test]
async fn when_the_one_that_pushes_fails_another_takes_over() {
    let registry = TinyRegistry::default();
    let server = FaultServer::start(move |seen, nth| match (seen.method.as_str(), nth) {
        ("POST", 1) => Reply::status(403).delay(Duration::from_millis(50)),
        _ => registry.reply(seen),
    })
    .await;
    let (client, at, blob) = (client(), repository(&server), blob());
    let pushes = (0..5).map(|_| client.push_blob(&at, &blob, BlobBody::Bytes(Bytes::from_static(BLOB)), &|_| {}));
    let ended = join_all(pushes).await;
    assert_eq!(ended.iter().filter(|ended| ended.is_err()).count(), 1);
    assert_eq!(server.lines().len(), 3, "POST, POST, PUT");
}

#[tokio::test]
async fn what_a_removal_took_is_pushed_again() {
    let registry = Arc::new(TinyRegistry::default());
    let answering = registry.clone();
    let server = FaultServer::start(move |seen, _| answering.reply(seen)).await;
    let client = client();
    push(&client, &server).await.unwrap();
    push(&client, &server).await.unwrap();
    assert_eq!(server.seen().len(), 2, "the second push is known to be done");
    assert!(!client.delete(&Reference::tagged(&repository(&server), "none").unwrap()).await.unwrap());
    push(&client, &server).await.unwrap();
    assert_eq!(server.seen().len(), 5);
}

#[tokio::test]
async fn a_server_that_is_known_to_refuse_mounts_is_not_asked_again() {
    let server = FaultServer::start(|_, _| Reply::status(404).header("x-jfrog-version", "Artifactory/7.0")).await;
    let client = client();
    let (to, digest) = (repository(&server), blob().digest);
    let from = Repository::parse(&format!("{}/team/base", server.domain())).unwrap();
    assert_eq!(client.mount(&to, &digest, &from).await.unwrap(), Mounted::No);
    assert_eq!(client.mount(&to, &digest, &from).await.unwrap(), Mounted::No);
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn two_pushers_of_one_blob_and_one_tag_both_succeed() {
    let registry = Arc::new(TinyRegistry::default());
    let answering = registry.clone();
    let delay = Duration::from_millis(20);
    let server = FaultServer::start(move |seen, _| answering.reply(seen).delay(delay)).await;
    let at = repository(&server);
    let tag = Reference::tagged(&at, "1").unwrap();
    let one = async |name: &str| -> Result<String, RegistryError> {
        // Two processes: two clients that know nothing of each other.
        let client = Client::new(ClientConfig::default());
        let (blob, bytes) = large(MIB);
        client.push_blob(&at, &blob, BlobBody::Bytes(bytes), &|_| {}).await?;
        let index = format!(r#"{{"schemaVersion":2,"manifests":[],"annotations":{{"name":"{name}"}}}}"#);
        client.push_manifest(&tag, &MediaType::new(OCI_INDEX), index.as_bytes()).await?;
        Ok(Descriptor::of(OCI_INDEX, index.as_bytes()).digest.to_string())
    };
    let (first, second) = tokio::join!(one("first"), one("second"));
    let digests = [first.unwrap(), second.unwrap()];
    let tagged = registry.tag("team/app", "1").unwrap();
    assert!(digests.contains(&tagged));
    println!(
        "row H12: two pushers, one blob, one tag: both succeed in {} requests, the tag is one of them",
        server.seen().len()
    );
}

#[tokio::test]
async fn a_manifest_whose_parts_are_out_of_sight_for_a_moment_is_put_again() {
    let unseen =
        r#"{"errors":[{"code":"DIGEST_INVALID","message":"x"},{"code":"MANIFEST_BLOB_UNKNOWN","message":"y"}]}"#;
    let mut all_puts = Vec::new();
    for (moments, succeeds) in [(1, true), (2, true), (usize::MAX, false)] {
        let hits = AtomicUsize::new(0);
        let server = FaultServer::start(move |seen, _| match seen.method.as_str() {
            "PUT" if hits.fetch_add(1, Ordering::SeqCst) < moments => Reply::status(400).body(unseen),
            "PUT" => Reply::status(201),
            _ => Reply::status(404),
        })
        .await;
        let tag = Reference::tagged(&repository(&server), "1").unwrap();
        let index = br#"{"schemaVersion":2,"manifests":[]}"#;
        let pushed = client().push_manifest(&tag, &MediaType::new(OCI_INDEX), index).await;
        match succeeds {
            true => pushed.unwrap(),
            false => assert!(matches!(pushed, Err(RegistryError::MissingParts { .. }))),
        }
        all_puts.push(server.seen().iter().filter(|seen| seen.method == "PUT").count());
    }
    assert_eq!(all_puts, [2, 3, 3]);
    println!("row H12: parts that another pusher's commit hides for a moment: {all_puts:?} PUTs");
}
