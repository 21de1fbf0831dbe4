//! Passing troubles on every kind of request, and registries that want to be asked less.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lapstrake::oci::media_type::{OCI_INDEX, OCI_LAYER_GZIP};
use lapstrake::oci::{Descriptor, MediaType, Reference};
use lapstrake::registry::{BlobBody, Client, ClientConfig, Registry, RegistryError, RetryPolicy};

use crate::support::calls::{BLOB, bearer, blob, challenge, client, config, push, read, repository, token};
use crate::support::fault::{FaultServer, Reply, Seen};
use crate::support::tiny_registry::{Habits, TinyRegistry};

/// One request of each kind, with what names it among all.
const KINDS: [(&str, &str, &str); 11] = [
    ("token", "GET", "/token"),
    ("resolve", "HEAD", "/manifests/"),
    ("manifest", "GET", "/manifests/"),
    ("question for a blob", "HEAD", "/blobs/sha256:"),
    ("download", "GET", "/blobs/sha256:"),
    ("mount or session", "POST", "/blobs/uploads/"),
    ("upload", "PATCH", "/blobs/uploads/"),
    ("commit", "PUT", "/blobs/uploads/"),
    ("manifest to push", "PUT", "/manifests/"),
    ("tags", "GET", "/tags/list"),
    ("referrers", "GET", "/referrers/"),
];

/// Makes every kind of request.
async fn everything(client: &Client, server: &FaultServer) -> Result<(), RegistryError> {
    let at = repository(server);
    let index = br#"{"schemaVersion":2,"manifests":[]}"#;
    let tag = Reference::tagged(&at, "1").unwrap();
    push(client, server).await?;
    client.push_manifest(&tag, &MediaType::new(OCI_INDEX), index).await?;
    client.resolve(&tag).await?.unwrap();
    client.manifest(&tag).await?.unwrap();
    assert_eq!(client.blob_size(&at, &blob().digest).await?, Some(blob().size));
    assert_eq!(read(client, server).await?, BLOB);
    assert_eq!(client.tags(&at).await?, ["1"]);
    client.referrers(&at, &blob().digest).await?;
    Ok(())
}

/// A registry behind tokens whose requests of one kind are answered by `fault` as long as that gives something.
async fn troubled(kind: usize, fault: impl Fn(usize) -> Option<Reply> + Send + Sync + 'static) -> FaultServer {
    let registry = TinyRegistry::with(Habits { put: false, patch: true, ..Habits::default() });
    let (_, method, part) = KINDS[kind];
    let hits = Mutex::new(0);
    FaultServer::start(move |seen, _| {
        if seen.method == method && seen.path().contains(part) && (part == "/token" || bearer(seen).is_some()) {
            let mut hits = hits.lock().unwrap();
            *hits += 1;
            if let Some(reply) = fault(*hits) {
                return reply;
            }
        }
        match seen.path() {
            "/token" => token("good"),
            _ if bearer(seen) == Some("good") => registry.reply(seen),
            _ => challenge(seen),
        }
    })
    .await
}

#[tokio::test]
async fn every_kind_of_request_survives_every_passing_trouble() {
    let started = Instant::now();
    let mut requests = 0;
    let statuses = [429, 500, 503, 520];
    for (kind, (name, ..)) in KINDS.iter().enumerate() {
        for status in statuses {
            let server = troubled(kind, move |nth| (nth <= 2).then(|| Reply::status(status))).await;
            everything(&client(), &server).await.unwrap_or_else(|error| panic!("{name} {status}: {error}"));
            requests += server.seen().len();
        }
        let server = troubled(kind, |nth| (nth <= 2).then(|| Reply::default().reset())).await;
        everything(&client(), &server).await.unwrap_or_else(|error| panic!("{name} reset: {error}"));
        requests += server.seen().len();
    }
    println!(
        "row N1: {} kinds of requests, {} statuses and a reset, twice each: {requests} requests, {:.1} s, none failed",
        KINDS.len(),
        statuses.len(),
        started.elapsed().as_secs_f64(),
    );
}

#[tokio::test]
async fn a_trouble_that_does_not_pass_is_an_error_with_status_host_and_tries() {
    for (kind, (name, method, part)) in KINDS.iter().enumerate() {
        for status in [429, 503] {
            let server = troubled(kind, move |_| Some(Reply::status(status))).await;
            let error = everything(&client(), &server).await.unwrap_err();
            let named = |seen: &&Seen| {
                seen.method == *method && seen.path().contains(part) && (*part == "/token" || bearer(seen).is_some())
            };
            let tries = server.seen().iter().filter(named).count();
            let text = error.to_string();
            assert!(text.contains(&server.domain()), "{name}: {text}");
            assert!(text.contains("5 tries") || text.contains("try 5") && text.contains("503"), "{name}: {text}");
            // Every try of a commit has a session of its own, and asks that session twice.
            assert!((5..=10).contains(&tries), "{name} {status}: {tries}");
            println!("row N1: {name}, {status} for ever: {tries} requests: {}", text.replace(&server.domain(), "HOST"));
        }
    }
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
async fn retry_after_is_heeded_in_every_form_and_capped() {
    let date =
        |seconds: u64| httpdate::fmt_http_date(std::time::UNIX_EPOCH + Duration::from_secs(800_000_000 + seconds));
    for (asked, at_least, at_most) in [
        ("1".to_owned(), 1.0, 20.0),
        (date(1), 1.0, 20.0),
        ("99999999999999999999".to_owned(), 1.5, 20.0),
        (date(4_000_000_000), 1.5, 20.0),
        (date(0), 0.0, 1.0),
        ("-5".to_owned(), 0.0, 1.0),
        ("soon".to_owned(), 0.0, 1.0),
    ] {
        let (retry_after, now) = (asked.clone(), date(0));
        let server = FaultServer::start(move |_, nth| match nth {
            1 => Reply::status(429).header("retry-after", &retry_after).header("date", &now),
            _ => Reply::ok(BLOB),
        })
        .await;
        let mut capped = config();
        capped.retry.longest_retry_after = Duration::from_millis(1500);
        let started = Instant::now();
        assert_eq!(read(&Client::new(capped), &server).await.unwrap(), BLOB);
        let seconds = started.elapsed().as_secs_f64();
        assert!((at_least..at_most).contains(&seconds), "{asked}: {seconds}");
        println!("row N2: Retry-After `{asked}` with a cap of 1.5 s: waited {seconds:.2} s");
    }
}

#[tokio::test]
async fn retry_after_slows_every_task_to_that_registry() {
    let arrivals = std::sync::Arc::<Mutex<Vec<Instant>>>::default();
    let log = arrivals.clone();
    let server = FaultServer::start(move |_, _| {
        let mut log = log.lock().unwrap();
        log.push(Instant::now());
        if log.len() == 1 { Reply::status(429).header("retry-after", 1) } else { Reply::ok(BLOB) }
    })
    .await;
    let client = client();
    let later = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        read(&client, &server).await
    };
    let (first, second) = tokio::join!(read(&client, &server), later);
    assert_eq!((first.unwrap(), second.unwrap()), (BLOB.to_vec(), BLOB.to_vec()));
    let arrivals = arrivals.lock().unwrap();
    let wait = (arrivals[1] - arrivals[0]).as_secs_f64();
    assert_eq!(arrivals.len(), 3);
    assert!(wait >= 0.95, "{wait}");
    println!("row N2: a task that begins 0.2 s after another one's `Retry-After: 1` waits {:.2} s", wait - 0.2);
}

/// Pushes so many small blobs at once.
async fn push_many(client: &Client, server: &FaultServer, count: u32) -> Result<(), RegistryError> {
    let at = repository(server);
    let pushes = (0..count).map(|number| {
        let at = &at;
        async move {
            let bytes = Bytes::from(number.to_le_bytes().repeat(50));
            let blob = Descriptor::of(OCI_LAYER_GZIP, &bytes);
            client.push_blob(at, &blob, BlobBody::Bytes(bytes), &|_| {}).await
        }
    });
    futures_util::future::try_join_all(pushes).await.map(drop)
}

#[tokio::test]
async fn sixty_blobs_open_neither_sixty_connections_nor_one() {
    let registry = TinyRegistry::default();
    let delay = Duration::from_millis(30);
    let server = FaultServer::start(move |seen, _| registry.reply(seen).delay(delay)).await;
    let started = Instant::now();
    push_many(&client(), &server, 60).await.unwrap();
    let (peak, seconds) = (server.peak("PUT"), started.elapsed().as_secs_f64());
    assert_eq!(server.seen().len(), 120, "two requests a blob");
    assert!((6..=16).contains(&peak), "{peak}");
    assert!(server.connections() <= 32, "{}", server.connections());
    println!(
        "row N2: 60 blobs: 120 requests, at most {peak} uploads at once, {} connections, {seconds:.2} s",
        server.connections()
    );
}

#[tokio::test]
async fn a_registry_that_limits_is_asked_less_until_it_keeps_up() {
    let registry = TinyRegistry::default();
    let recent = Mutex::new(VecDeque::<Instant>::new());
    let window = Duration::from_millis(100);
    let server = FaultServer::start(move |seen, _| {
        if seen.method == "PUT" {
            let mut recent = recent.lock().unwrap();
            while recent.front().is_some_and(|at| at.elapsed() > window) {
                recent.pop_front();
            }
            if recent.len() >= 6 {
                return Reply::status(429);
            }
            recent.push_back(Instant::now());
        }
        registry.reply(seen).delay(Duration::from_millis(30))
    })
    .await;
    let retry = RetryPolicy { first_wait: Duration::from_millis(100), tries: 10, ..RetryPolicy::default() };
    let client = Client::new(ClientConfig { retry, ..config() });
    push_many(&client, &server, 60).await.unwrap();
    let puts = server.seen().iter().filter(|seen| seen.method == "PUT").count();
    assert!(puts < 240, "{puts} uploads for 60 blobs");
    println!("row N2: 60 blobs at a registry that takes 6 in 100 ms: {} of {puts} uploads answered 429", puts - 60);
}

#[tokio::test]
async fn offline_means_not_one_connection() {
    let server = FaultServer::start(|_, _| Reply::ok(BLOB)).await;
    let client = Client::new(ClientConfig { offline: true, ..config() });
    assert!(matches!(read(&client, &server).await, Err(RegistryError::Offline { .. })));
    assert!(matches!(push(&client, &server).await, Err(RegistryError::Offline { .. })));
    assert_eq!(server.connections(), 0);
    println!("row N16: offline: {} connections", server.connections());
}

#[tokio::test]
async fn failures_to_connect_are_told_apart() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap().to_string();
    drop(listener);
    let resolve =
        async |client: Client, text: String| client.resolve(&Reference::parse(&text).unwrap()).await.unwrap_err();
    let started = Instant::now();
    let refused = resolve(client(), format!("{closed}/a:1")).await;
    assert!(matches!(refused, RegistryError::Refused { .. }), "{refused:?}");
    let unknown = resolve(client(), "no-such-host.invalid/a:1".to_owned()).await;
    assert!(matches!(unknown, RegistryError::UnknownHost { .. }), "{unknown:?}");
    println!("row N1: nobody listens, and an unknown host: {:.1} s", started.elapsed().as_secs_f64());
}
