//! Pruning of the embedded registry: what no tag leads to goes, the rest stays whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use lapstrake::oci::Digest;
use lapstrake::oci::media_type::{OCI_EMPTY, OCI_INDEX, OCI_MANIFEST};
use lapstrake::serve::{PruneOptions, Pruned, ServeError, prune};
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::harbour::{Harbour, files, harbour, image, pointer};
use crate::support::yard::{Ran, Yard};

/// Everything is older than this.
fn all() -> PruneOptions {
    PruneOptions { before: SystemTime::UNIX_EPOCH + Duration::from_secs(1 << 33), is_dry: false }
}

fn referring(subject: &Value, note: &str) -> Value {
    json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": pointer(OCI_EMPTY, b"{}"), "layers": [],
        "subject": pointer(OCI_MANIFEST, subject.to_string().as_bytes()), "annotations": { "note": note },
    })
}

async fn put(harbour: &Harbour, name: &str, target: Option<&str>, document: &Value) -> String {
    let digest = Digest::of(document.to_string().as_bytes()).to_string();
    let answer = harbour.put_manifest(name, target.unwrap_or(&digest), document).await;
    assert_eq!(answer.status(), 201);
    digest
}

async fn is_there(harbour: &Harbour, name: &str, kind: &str, target: &str) -> bool {
    // GET, since HEAD would make it young.
    harbour.get(&format!("/v2/{name}/{kind}/{target}")).await.status() == 200
}

#[tokio::test]
async fn what_no_tag_leads_to_is_removed_and_all_else_stays() {
    let harbour = harbour().await;
    let root = harbour.folder.path().join("registry");
    harbour.push_blob("a", b"{}").await;
    let old = harbour.push_image("a", "latest", b"old layer").await;
    let child = harbour.push_image("a", "child", b"child layer").await;
    let new = harbour.push_image("a", "latest", b"new layer").await;
    let index = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [pointer(OCI_MANIFEST, child.to_string().as_bytes())] });
    let nested = json!({ "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [pointer(OCI_INDEX, index.to_string().as_bytes())] });
    let index = put(&harbour, "a", None, &index).await;
    put(&harbour, "a", Some("nested"), &nested).await;
    harbour.send(Method::DELETE, "/v2/a/manifests/child", &[], "").await;
    let signature = referring(&new, "signature");
    let of_signature = put(&harbour, "a", None, &referring(&signature, "of the signature")).await;
    let signature = put(&harbour, "a", None, &signature).await;
    let lost = put(&harbour, "a", None, &referring(&old, "of what goes")).await;
    let orphan = harbour.push_blob("a", b"orphan").await;
    harbour.push_blob("b", b"old layer").await;

    let nothing = PruneOptions { before: SystemTime::UNIX_EPOCH, is_dry: false };
    assert_eq!(prune(&root, &nothing).unwrap(), Pruned::default(), "all is young");
    let before = files(&root);
    let would = prune(&root, &PruneOptions { is_dry: true, ..all() }).unwrap();
    assert_eq!(files(&root), before, "counting removes nothing");
    let did = prune(&root, &all()).unwrap();
    assert_eq!(did, would);
    assert_eq!((did.manifests, did.blobs), (2, 3), "the old image and its referrer; their layer, the orphan, b's blob");
    assert_eq!(did.files, 4, "two manifests, two blobs");

    let digest = |document: &Value| Digest::of(document.to_string().as_bytes()).to_string();
    for kept in ["latest", "nested", &index, &digest(&child), &digest(&new), &signature, &of_signature] {
        assert!(is_there(&harbour, "a", "manifests", kept).await, "{kept}");
    }
    for kept in [b"new layer".as_slice(), b"child layer", b"{}", br#"{"os":"linux"}"#] {
        assert!(is_there(&harbour, "a", "blobs", Digest::of(kept).as_str()).await);
    }
    for gone in [digest(&old), lost] {
        assert!(!is_there(&harbour, "a", "manifests", &gone).await, "{gone}");
    }
    for (name, gone) in [("a", orphan), ("a", Digest::of(b"old layer")), ("b", Digest::of(b"old layer"))] {
        assert!(!is_there(&harbour, name, "blobs", gone.as_str()).await, "{gone}");
    }
    assert_eq!(harbour.json(&format!("/v2/a/referrers/{}", digest(&old))).await["manifests"], json!([]));
    assert_eq!(prune(&root, &all()).unwrap(), Pruned::default(), "the second time there is nothing left");
    let again = harbour.push_image("a", "old", b"old layer").await;
    assert_eq!(again, old);
    assert!(is_there(&harbour, "a", "manifests", "old").await, "what was removed can be pushed again");
}

#[tokio::test]
async fn asking_for_a_blob_makes_it_young() {
    let harbour = harbour().await;
    let root = harbour.folder.path().join("registry");
    let (asked, other) = (harbour.push_blob("a", b"asked for").await, harbour.push_blob("a", b"other").await);
    tokio::time::sleep(Duration::from_millis(50)).await;
    #[expect(clippy::disallowed_methods, reason = "between two moments of the file system's clock")]
    let before = SystemTime::now();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(harbour.head(&format!("/v2/a/blobs/{asked}")).await, 200);
    assert_eq!(prune(&root, &PruneOptions { before, is_dry: false }).unwrap().blobs, 1);
    assert!(is_there(&harbour, "a", "blobs", asked.as_str()).await);
    assert!(!is_there(&harbour, "a", "blobs", other.as_str()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pruning_beside_pushes_leaves_every_acknowledged_image_whole() {
    let harbour = Arc::new(harbour().await);
    let root = harbour.folder.path().join("registry");
    let is_over = Arc::new(AtomicBool::new(false));
    let sweeper = {
        let is_over = Arc::clone(&is_over);
        // The harshest sweep: nothing is too young for it.
        let sweep = move || {
            let mut rounds = 0;
            while !is_over.load(Ordering::Relaxed) {
                prune(&root, &all()).unwrap();
                rounds += 1;
            }
            rounds
        };
        tokio::task::spawn_blocking(sweep)
    };
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..4 {
        let harbour = Arc::clone(&harbour);
        tasks.spawn(async move {
            let mut kept = Vec::new();
            for turn in 0..25 {
                let (config, layer) = (format!("{{\"n\":{number}}}"), format!("layer {turn}"));
                let document = image(config.as_bytes(), layer.as_bytes());
                let tag = format!("t{number}-{turn}");
                // What is swept between its push and the manifest is refused there, and pushed again.
                for _ in 0..200 {
                    harbour.push_blob("a", config.as_bytes()).await;
                    harbour.push_blob("a", layer.as_bytes()).await;
                    if harbour.put_manifest("a", &tag, &document).await.status() == 201 {
                        kept.push((tag, document));
                        break;
                    }
                }
            }
            kept
        });
    }
    let kept: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    is_over.store(true, Ordering::Relaxed);
    let rounds = sweeper.await.unwrap();
    for (tag, document) in &kept {
        assert_eq!(harbour.json(&format!("/v2/a/manifests/{tag}")).await, *document, "{tag}");
        for pointer in ["/config/digest", "/layers/0/digest"] {
            let digest = document.pointer(pointer).unwrap().as_str().unwrap();
            assert!(is_there(&harbour, "a", "blobs", digest).await, "{tag}: {digest}");
        }
    }
    println!("{rounds} sweeps beside {} acknowledged images", kept.len());
    assert!(rounds > 0 && !kept.is_empty());
}

#[tokio::test]
async fn command_says_what_it_removed_and_refuses_other_folders() {
    let yard = Yard::new().await;
    let harbour = harbour().await;
    harbour.push_blob("a", b"orphan").await;
    let root = harbour.folder.path().join("registry");
    let run = |arguments: &[&str]| {
        let mut command = yard.command("store");
        Ran::from(command.args(["registry", "prune"]).arg(&root).args(arguments).output().unwrap())
    };
    assert!(run(&[]).stdout.starts_with("removed 0 manifests and 0 blobs"), "it is not a day old");
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(run(&["--older-than", "0", "--dry-run"]).stdout.starts_with("would remove 0 manifests and 1 blobs"));
    let ran = run(&["--older-than", "0", "--format", "json"]);
    let found: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(found, json!({"schemaVersion": 1, "manifests": 0, "blobs": 1, "freed": 6, "dryRun": false}));

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("thesis.tex"), "").unwrap();
    assert!(matches!(prune(folder.path(), &all()), Err(ServeError::Layout { .. })));
    assert!(folder.path().join("thesis.tex").exists());
}
