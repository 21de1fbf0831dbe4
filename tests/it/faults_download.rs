//! Downloads under faults: taken up again, verified over the whole, never kept when wrong.

use std::time::{Duration, Instant};

use lapstrake::oci::Descriptor;
use lapstrake::oci::media_type::{OCI_LAYER_GZIP, OCI_MANIFEST};
use lapstrake::registry::{Client, Registry, RegistryError};
use lapstrake::store::Store;

use crate::support::calls::{BLOB, blob_path, client, config, read, repository};
use crate::support::fault::{FaultServer, Reply};
use crate::support::yard::{Yard, parent_config};

/// A blob whose bytes tell their positions.
fn content() -> Vec<u8> {
    (0..40_000_u32).flat_map(u32::to_le_bytes).collect()
}

#[tokio::test]
async fn a_download_that_breaks_anywhere_is_taken_up_there() {
    let content = content();
    let blob = Descriptor::of(OCI_LAYER_GZIP, &content);
    for position in [0, 1, content.len() / 2, content.len() - 1] {
        for (reset, honours_range) in [(false, true), (true, true), (false, false), (true, false)] {
            let whole = content.clone();
            let server = FaultServer::start(move |seen, nth| {
                let range = seen.header("range").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-'));
                let reply = match range.and_then(|start| start.parse::<usize>().ok()).filter(|_| honours_range) {
                    Some(start) => {
                        let range = format!("bytes {start}-{}/{}", whole.len() - 1, whole.len());
                        Reply::status(206).header("content-range", range).body(&whole[start..])
                    }
                    None => Reply::ok(whole.clone()),
                };
                match (nth, reset) {
                    (1, true) => reply.cut_after(position).reset(),
                    (1, false) => reply.cut_after(position),
                    _ => reply,
                }
            })
            .await;
            let fetched = client().fetch_blob(&repository(&server), &blob, blob.size).await.unwrap();
            assert!(fetched == content, "{position} {reset} {honours_range}");
            let asked: Vec<_> = server.seen().iter().map(|seen| seen.header("range").map(str::to_owned)).collect();
            assert_eq!(asked.len(), 2);
            // A reset may overtake bytes that were sent before it.
            let resumed = asked[1].clone().unwrap_or_else(|| "bytes=0-".to_owned());
            let start: usize = resumed.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
            assert!(start <= position, "{resumed}");
            let again = if honours_range { content.len() - start } else { content.len() };
            println!(
                "row N4, N5: broken at byte {position} of {}, reset {reset}, Range heeded {honours_range}: \
                 2 requests, {again} bytes in the second",
                content.len(),
            );
        }
    }
}

#[tokio::test]
async fn a_range_is_asked_for_from_the_byte_that_is_missing() {
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
async fn a_rest_that_belongs_to_another_blob_is_refused() {
    let other = |reply: Reply, nth: usize| if nth == 1 { reply.cut_after(7) } else { reply };
    let server = FaultServer::start(move |_, nth| match nth {
        1 => other(Reply::ok(BLOB), nth),
        _ => Reply::ok(b"xxxxxxxxxxxxxxxxxxxx"),
    })
    .await;
    let error = read(&client(), &server).await.unwrap_err();
    assert!(matches!(error, RegistryError::WrongDigest { .. }), "{error:?}");
    println!("row N5: Range ignored, other bytes the second time: {} requests: {error}", server.seen().len());

    let server = FaultServer::start(move |_, nth| match nth {
        1 => Reply::ok(BLOB).cut_after(7),
        _ => Reply::status(206).header("content-range", "bytes 3-19/20").body(&BLOB[3..]),
    })
    .await;
    let error = read(&client(), &server).await.unwrap_err();
    assert!(matches!(error, RegistryError::Protocol { .. }), "{error:?}");
}

#[tokio::test]
async fn bytes_from_an_offset_are_asked_for_by_range_and_counted() {
    let content = content();
    let (blob, whole) = (Descriptor::of(OCI_LAYER_GZIP, &content), content.clone());
    let server = FaultServer::start(move |seen, nth| match seen.header("range") {
        Some("bytes=1000-") if nth == 1 => {
            let range = format!("bytes 1000-{}/{}", whole.len() - 1, whole.len());
            Reply::status(206).header("content-range", range).body(&whole[1000..]).cut_after(500)
        }
        Some(_) => Reply::ok(whole.clone()),
        None => Reply::status(400),
    })
    .await;
    let at = repository(&server);
    let client = client();
    let collect = async |offset: u64| -> Vec<u8> {
        let stream = client.read_blob_from(&at, &blob, offset).await.unwrap();
        let pieces: Vec<bytes::Bytes> = futures_util::TryStreamExt::try_collect(stream).await.unwrap();
        pieces.concat()
    };
    assert!(collect(1000).await == content[1000..]);
    assert_eq!(collect(blob.size).await, b"");
    assert_eq!(server.seen().len(), 2);
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
        println!("row N8, N9: {} bytes for {}: {} requests: {error}", body.len(), BLOB.len(), server.seen().len());
    }
}

#[tokio::test]
async fn what_has_no_end_stops_at_its_length() {
    let server = FaultServer::start(|_, _| Reply::ok(b"0123456789abcdef".repeat(4096)).endless()).await;
    let error = read(&client(), &server).await.unwrap_err();
    assert!(matches!(error, RegistryError::WrongLength { .. }), "{error:?}");
    println!("row N9: a blob without end: {} requests: {error}", server.seen().len());
}

#[tokio::test]
async fn what_does_not_move_is_given_up_and_what_moves_slowly_is_not() {
    let quiet = FaultServer::start(|_, _| Reply::ok(BLOB).delay(Duration::from_secs(60))).await;
    let mut impatient = config();
    impatient.retry.tries = 2;
    let started = Instant::now();
    let error = read(&Client::new(impatient), &quiet).await.unwrap_err();
    println!("row N10: silent: 2 tries of 0.4 s, given up after {:.1} s", started.elapsed().as_secs_f64());
    assert!(matches!(error, RegistryError::Stalled { tries: 2, .. }), "{error:?}");
    let slow = FaultServer::start(|_, _| Reply::ok(BLOB).drip(Duration::from_millis(60))).await;
    let started = Instant::now();
    assert_eq!(read(&client(), &slow).await.unwrap(), BLOB);
    let seconds = started.elapsed().as_secs_f64();
    assert!(seconds > 0.9, "longer than the time for no progress");
    println!("row N10: one byte each 60 ms: whole after {seconds:.1} s");
    assert_eq!(slow.seen().len(), 1);
}

#[tokio::test]
async fn headers_without_end_are_given_up() {
    for (pause, what) in [(100, "one header each 100 ms"), (0, "headers as fast as they go")] {
        let pause = Duration::from_millis(pause);
        let server = FaultServer::start(move |_, _| Reply::status(200).endless_head(pause)).await;
        let mut impatient = config();
        impatient.retry.tries = 2;
        let started = Instant::now();
        let error = read(&Client::new(impatient), &server).await.unwrap_err();
        assert!(
            matches!(error, RegistryError::Stalled { tries: 2, .. } | RegistryError::Interrupted { tries: 2, .. }),
            "{error:?}"
        );
        let seconds = started.elapsed().as_secs_f64();
        assert!(seconds < 60.0);
        println!("row N10: {what}: {} requests, given up after {seconds:.1} s: {error}", server.seen().len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_of_a_parent_never_reach_the_store() {
    let yard = Yard::new().await;
    let layer = vec![7_u8; 3000];
    let right = Descriptor::of(OCI_LAYER_GZIP, &layer);
    for (fault, bytes) in [("truncated", &layer[..2000]), ("too long", &[7; 4000]), ("of the right size", &[8; 3000])] {
        let at = yard.reference("demo/wrong:1");
        let config = Descriptor::of("application/vnd.oci.image.config.v1+json", &parent_config());
        let document = serde_json::json!({
            "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [right],
        });
        let (document, bytes) = (document.to_string().into_bytes(), bytes.to_vec());
        let digest = lapstrake::oci::Digest::of(&document);
        let (layer_path, config_path) = (format!("/blobs/{}", right.digest), format!("/blobs/{}", config.digest));
        let server = FaultServer::start(move |seen, _| match seen.path() {
            path if path.contains("/manifests/") => Reply::ok(document.clone())
                .header("content-type", OCI_MANIFEST)
                .header("docker-content-digest", &digest),
            path if path.ends_with(&config_path) => Reply::ok(parent_config()),
            path if path.ends_with(&layer_path) => Reply::ok(bytes.clone()),
            _ => Reply::status(404),
        })
        .await;
        let parent = format!("{}/{}:1", server.domain(), at.path());
        let output = format!("oci:{}", yard.path("out").display());
        let settings = format!("settings:\n  docker:\n    parent_image: {parent}\n    skip_build: true\n");
        yard.write("lapstrake.yaml", settings);
        let flags = ["--quiet", "--parent-image", &parent, "--output", &output];
        let ran = yard.run_build("store", &flags);
        assert_ne!(ran.code, 0, "{fault}: {}", ran.stdout);
        assert!(!yard.path("out").exists(), "{fault}");
        assert_eq!(Store::open(&yard.path("store")).unwrap().contains(&right.digest), None, "{fault}");
        let first = ran.stderr.lines().next().unwrap_or_default().replace(&server.domain(), "HOST");
        println!("row N8, N9: {fault}: nothing in the store, exit {}: {first}", ran.code);
    }
}
