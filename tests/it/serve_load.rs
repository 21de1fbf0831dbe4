//! The embedded registry under load, and killed in the middle of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lapstrake::oci::Digest;
use lapstrake::oci::media_type::OCI_MANIFEST;
use reqwest::Client;
use tokio::task::JoinSet;

use crate::support::harbour::{Shed, client, files, image};

const PUSHERS: usize = 64;
const ROUNDS: usize = 8;
const LAYER: usize = 4 * 1024 * 1024;
/// Far above what the streams of 64 pushers take, and far below what they push.
const MEMORY_KIB: u64 = 200 * 1024;

/// Bytes that differ with the number.
fn bytes(number: usize, length: usize) -> Vec<u8> {
    let mut state = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = std::iter::repeat_with(&mut next).take(length / 8 + 1).flatten().collect();
    bytes.truncate(length);
    bytes
}

/// What a registry said that it has.
#[derive(Default)]
struct Promised {
    /// Digests of blobs in `repository`.
    blobs: BTreeMap<(String, Digest), usize>,
    /// What a tag was last moved to, and by whom it may have been moved in the meantime.
    manifests: BTreeMap<(String, String), Vec<Digest>>,
    acknowledged: usize,
}

struct Pusher {
    client: Client,
    address: String,
    promised: Arc<Mutex<Promised>>,
}

impl Pusher {
    async fn push_blob(&self, name: &str, bytes: &[u8]) -> Option<Digest> {
        let digest = Digest::of(bytes);
        let start = format!("http://{}/v2/{name}/blobs/uploads/", self.address);
        let opened = self.client.post(start).send().await.ok()?;
        let location = opened.headers().get("location")?.to_str().ok()?.to_owned();
        let half = bytes.len() / 2;
        let upload = format!("http://{}{location}", self.address);
        let patched = self.client.patch(&upload).body(bytes[..half].to_vec()).send().await.ok()?;
        assert_eq!(patched.status(), 202);
        let last = self.client.put(format!("{upload}?digest={digest}")).body(bytes[half..].to_vec());
        assert_eq!(last.send().await.ok()?.status(), 201);
        let mut promised = self.promised.lock().unwrap();
        promised.blobs.insert((name.to_owned(), digest.clone()), bytes.len());
        promised.acknowledged += 1;
        Some(digest)
    }

    /// Pushes an image of a shared config, a shared layer and its own one; `None` when the server is gone.
    async fn push_image(&self, name: &str, tags: &[&str], own: &[u8], shared: &[u8]) -> Option<Digest> {
        self.push_blob(name, shared).await?;
        self.push_blob(name, own).await?;
        let document = image(shared, own).to_string();
        let digest = Digest::of(document.as_bytes());
        for tag in tags {
            let put = self.client.put(format!("http://{}/v2/{name}/manifests/{tag}", self.address));
            let put = put.header("content-type", OCI_MANIFEST).body(document.clone());
            assert_eq!(put.send().await.ok()?.status(), 201);
            let mut promised = self.promised.lock().unwrap();
            promised.manifests.entry((name.to_owned(), (*tag).to_owned())).or_default().push(digest.clone());
            promised.acknowledged += 1;
        }
        Some(digest)
    }
}

fn pusher(shed: &Shed, promised: &Arc<Mutex<Promised>>) -> Pusher {
    Pusher { client: client(), address: shed.address.clone(), promised: Arc::clone(promised) }
}

/// The whole answer, when it is 200.
async fn read(shed: &Shed, path: &str) -> Option<Vec<u8>> {
    let answer = client().get(format!("http://{}{path}", shed.address)).send().await.unwrap();
    (answer.status() == 200).then_some(answer.bytes().await.unwrap().to_vec())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_parallel_pushes_all_succeed_in_little_memory() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("registry");
    let shed = Shed::serve(&root, &[]);
    let promised: Arc<Mutex<Promised>> = Arc::default();
    let shared = Arc::new(bytes(999, 1_000_000));
    let mut tasks = JoinSet::new();
    for number in 0..PUSHERS {
        let (pusher, shared) = (pusher(&shed, &promised), Arc::clone(&shared));
        tasks.spawn(async move {
            // Two pushers have each layer, four each repository, and all one tag of theirs.
            let own = bytes(number / 2, LAYER);
            let (name, tag) = (format!("team/app{}", number / 4), format!("v{number}"));
            pusher.push_image(&name, &[&tag, "latest"], &own, &shared).await.unwrap()
        });
    }
    let pushed = tasks.join_all().await;
    assert_eq!(pushed.len(), PUSHERS);
    let manifests = { promised.lock().unwrap().manifests.clone() };
    for ((name, tag), digests) in manifests {
        let body = read(&shed, &format!("/v2/{name}/manifests/{tag}")).await.unwrap();
        assert!(digests.contains(&Digest::of(&body)), "{name}:{tag}");
    }
    assert_eq!(files(&root.join("uploads")), 0);
    let sent = PUSHERS * (LAYER + shared.len()) / 1024;
    let peak = shed.peak();
    println!("{PUSHERS} parallel pushes sent {sent} KiB; the server's peak was {peak:?} KiB");
    assert!(peak.is_none_or(|peak| peak < MEMORY_KIB), "{peak:?} KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_kill_is_whole_and_nothing_is_half_there() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("registry");
    let promised: Arc<Mutex<Promised>> = Arc::default();
    let mut interrupted = 0;
    for round in 0..ROUNDS {
        let shed = Shed::serve(&root, &[]);
        let mut tasks = JoinSet::new();
        for number in 0..8 {
            let pusher = pusher(&shed, &promised);
            tasks.spawn(async move {
                for turn in 0.. {
                    let own = bytes(round * 1_000_000 + number * 1000 + turn, 300_000 + turn * 40_000);
                    let (name, tag) = (format!("app{number}"), format!("r{round}-{turn}"));
                    if pusher.push_image(&name, &[&tag], &own, &bytes(round, 100_000)).await.is_none() {
                        return;
                    }
                }
            });
        }
        // Another moment in each round.
        tokio::time::sleep(Duration::from_millis(90 + 61 * round as u64)).await;
        shed.kill();
        tasks.join_all().await;
        interrupted += files(&root.join("uploads"));

        let shed = Shed::serve(&root, &[]);
        assert_eq!(files(&root.join("uploads")), 0, "what was cut off is removed");
        every_file_is_whole(&root.join("blobs"));
        let promised = { std::mem::take(&mut promised.lock().unwrap().blobs) };
        for ((name, digest), length) in promised {
            let body = read(&shed, &format!("/v2/{name}/blobs/{digest}")).await;
            assert!(body.is_some_and(|body| body.len() == length && Digest::of(&body) == digest), "{name} {digest}");
        }
        shed.kill();
    }
    let shed = Shed::serve(&root, &[]);
    let (manifests, acknowledged) = {
        let mut promised = promised.lock().unwrap();
        (std::mem::take(&mut promised.manifests), promised.acknowledged)
    };
    for ((name, tag), digests) in manifests {
        let body = read(&shed, &format!("/v2/{name}/manifests/{tag}")).await.unwrap();
        assert_eq!(digests, [Digest::of(&body)], "{name}:{tag}");
    }
    println!("{ROUNDS} kills, {interrupted} uploads cut off, {acknowledged} acknowledgements kept");
    assert!(acknowledged > 0);
}

/// Content has the digest that its name says.
fn every_file_is_whole(folder: &Path) {
    #[expect(clippy::disallowed_methods, reason = "looks at every file, in any order")]
    for entry in std::fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            every_file_is_whole(&path);
        } else {
            let name = path.file_name().unwrap().to_str().unwrap();
            assert_eq!(Digest::of(&std::fs::read(&path).unwrap()).hex(), name);
        }
    }
}
