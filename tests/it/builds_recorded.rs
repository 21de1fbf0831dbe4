//! What a build leaves in the ledger and beside its image, and how the one comes back from the other.

use lapstrake::oci::media_type::{OCI_EMPTY, OCI_MANIFEST};
use lapstrake::oci::{Descriptor, MediaType, Reference};
use lapstrake::registry::{BlobBody, Registry as _};
use serde_json::{Value, json};

use crate::support::fault::{FaultServer, Reply, Seen};
use crate::support::tiny_registry::TinyRegistry;
use crate::support::yard::Yard;

const ARTIFACT: &str = "application/vnd.lapstrake.build.v1+json";

fn builds(yard: &Yard) -> Vec<Value> {
    yard.json(&["builds", "list"])["builds"].as_array().unwrap().clone()
}

fn forget(yard: &Yard) {
    std::fs::remove_dir_all(yard.path("home/.local")).unwrap();
}

/// Builds `demo/app:latest`, and gives what was printed.
fn build(yard: &Yard) -> Value {
    let ran = yard.run_build("store", &["--format", "json"]);
    assert_eq!((ran.code, ran.stderr.contains("warning")), (0, false), "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_recorded_and_one_that_reuses_says_what() {
    let yard = Yard::with_ledger().await;
    let first = build(&yard);
    let second = build(&yard);
    let found = builds(&yard);
    assert_eq!(found.len(), 2);
    let ids = [&found[1]["id"], &found[0]["id"]];
    assert_eq!(ids, [&first["build"], &second["build"]]);
    let made = &found[1]["images"]["orchestrator"];
    assert_eq!(made["image"], first["images"][0]["reference"]);
    assert_eq!((&made["reused"], &made["containsCode"], &made["madeBy"]), (&json!(false), &json!(true), &Value::Null));
    let reused = &found[0]["images"]["orchestrator"];
    assert_eq!((&reused["reused"], &reused["madeBy"]), (&json!(true), ids[0]));
    assert_eq!((&reused["planKey"], &reused["containsCode"]), (&made["planKey"], &json!(true)));
    assert_eq!(
        (&found[1]["isLocal"], &found[1]["versions"]["lapstrake"]),
        (&json!(false), &json!(env!("CARGO_PKG_VERSION")))
    );
    let out = yard.run_build("store", &["--output", "oci:out"]);
    assert_eq!(out.code, 0, "{}", out.stderr);
    assert_eq!(builds(&yard)[0]["isLocal"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_image_costs_two_requests_more_and_an_unchanged_one_none() {
    let yard = Yard::with_ledger().await;
    let count = |ledger: &str| {
        yard.requests();
        let ran = yard.build_command("store", &[]).env("LAPSTRAKE_LEDGER", ledger).output().unwrap();
        assert!(ran.status.success());
        yard.requests().len()
    };
    let ledger = yard.path("ledger.db").display().to_string();
    count("off");
    let unchanged = count("off");
    yard.write("pipeline.py", "one = 1\n");
    let edited = count("off");
    assert!(!yard.path("home/.local").exists(), "`off` makes no ledger");
    assert_eq!(count(&ledger), unchanged);
    yard.write("pipeline.py", "two = 2\n");
    assert_eq!(count(&ledger), edited + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_says_nothing_of_its_build() {
    let yard = Yard::with_ledger().await;
    let digest = |store: &str, ledger: &str, tag: &str| {
        let mut command = yard.build_command(store, &["--no-cache", "--tag", &yard.at(tag)]);
        let ran = command.env("LAPSTRAKE_LEDGER", ledger).output().unwrap();
        let text = String::from_utf8(ran.stdout).unwrap();
        text.trim().rsplit_once('@').unwrap().1.to_owned()
    };
    let ledger = yard.path("ledger.db").display().to_string();
    let expected = digest("one", "off", "demo/one:1");
    assert_eq!(digest("two", &ledger, "demo/two:1"), expected);
    assert_eq!(digest("three", &ledger, "demo/two:1"), expected, "a second build of the same makes the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_among_the_sources_is_none_of_them() {
    let yard = Yard::with_ledger().await;
    let run = || {
        let mut command = yard.build_command("store", &["--format", "json"]);
        let ran = command.env("LAPSTRAKE_LEDGER", "ledger.db").output().unwrap();
        serde_json::from_slice::<Value>(&ran.stdout).unwrap()["images"][0].take()
    };
    let first = run();
    assert!(yard.project().join("ledger.db").exists());
    let second = run();
    assert_eq!((&second["digest"], &second["reused"]), (&first["digest"], &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_cannot_be_written_costs_a_warning() {
    let yard = Yard::with_ledger().await;
    yard.write("file", "");
    let newer = yard.path("newer.db");
    rusqlite::Connection::open(&newer)
        .unwrap()
        .execute_batch("PRAGMA application_id = 1281454156; PRAGMA user_version = 9; CREATE TABLE builds (a);")
        .unwrap();
    std::fs::write(yard.path("text.db"), "words, words, words".repeat(99)).unwrap();
    let mut said = String::new();
    for place in ["file/ledger.db", "..", "../newer.db", "../text.db"] {
        let ran = yard.build_command("store", &[]).env("LAPSTRAKE_LEDGER", place).output().unwrap();
        let stderr = String::from_utf8(ran.stderr).unwrap();
        assert_eq!(ran.status.code(), Some(0), "{stderr}");
        assert!(String::from_utf8(ran.stdout).unwrap().contains("demo/app@sha256:"));
        said.push_str(stderr.lines().find(|line| line.contains("ledger")).unwrap());
        said.push('\n');
        let listed = yard.command("store").args(["builds", "list"]).env("LAPSTRAKE_LEDGER", place).output().unwrap();
        said.push_str(&String::from_utf8(listed.stderr).unwrap());
    }
    insta::assert_snapshot!(said, @"
    warning: the build is not in the ledger: cannot open the ledger `file/ledger.db`: Not a directory (os error 20)
    error: cannot open the ledger `file/ledger.db`
      because: Not a directory (os error 20)
      hint: name a file in a folder that this user may write with `LAPSTRAKE_LEDGER`, or do without: `LAPSTRAKE_LEDGER=off`
    warning: the build is not in the ledger: `..` is not a ledger of builds
    error: `..` is not a ledger of builds
      hint: name another file with `LAPSTRAKE_LEDGER`
    warning: the build is not in the ledger: the ledger `../newer.db` has layout 9, this version reads up to 1
    error: the ledger `../newer.db` has layout 9, this version reads up to 1
      hint: use that version, or name another file with `LAPSTRAKE_LEDGER`
    warning: the build is not in the ledger: `../text.db` is not a ledger of builds
    error: `../text.db` is not a ledger of builds
      hint: name another file with `LAPSTRAKE_LEDGER`
    ");
    let referrers = yard.json(&["referrers", &yard.at("demo/app:latest")]);
    assert_eq!(referrers["referrers"].as_array().unwrap().len(), 1, "the copy beside the image is there all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_ledger_comes_back_from_the_registry() {
    let yard = Yard::with_ledger().await;
    build(&yard);
    yard.write("pipeline.py", "changed = True\n");
    build(&yard);
    let before = builds(&yard);
    let referrer = yard.json(&["referrers", &yard.at("demo/app:latest")])["referrers"][0].take();
    assert_eq!(
        (&referrer["artifactType"], &referrer["annotations"]["dev.lapstrake.build.id"]),
        (&json!(ARTIFACT), &before[0]["id"])
    );
    forget(&yard);
    assert!(builds(&yard).is_empty());
    let synced = yard.run(&["builds", "sync", &yard.at("demo/app")]);
    let words: Vec<&str> = synced.stdout.split_whitespace().collect();
    assert_eq!(words, ["REPOSITORY", "IMAGES", "ADDED", "KNOWN", "HOST/demo/app", "2", "2", "0"], "{}", synced.stderr);
    assert_eq!(builds(&yard), before, "also that of the image that only its key tag names");
    let again = yard.json(&["builds", "sync", &yard.at("demo/app")]);
    assert_eq!((&again["repositories"][0]["added"], &again["repositories"][0]["known"]), (&json!([]), &json!(2)));
    let none = yard.run(&["builds", "sync", &yard.at("demo/none")]);
    assert!(none.code == 1 && none.stderr.contains("`HOST/demo/none` has no tags"), "{}", none.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_none_are_passed_over() {
    let yard = Yard::with_ledger().await;
    build(&yard);
    let subject = yard.client().resolve(&yard.reference("demo/app:latest")).await.unwrap().unwrap();
    let whole = builds(&yard)[0].clone();
    let mut foreign = whole.clone();
    foreign["schemaVersion"] = json!(1);
    foreign["id"] = json!("f".repeat(32));
    foreign["images"]["orchestrator"]["image"] = json!(format!("registry.example/a@sha256:{}", "0".repeat(64)));
    let mut later = foreign.clone();
    later["schemaVersion"] = json!(2);
    for text in ["\u{1b}[2J".to_owned(), foreign.to_string(), later.to_string()] {
        push(&yard, &subject, &text).await;
    }
    forget(&yard);
    let ran = yard.run(&["builds", "sync", &yard.at("demo/app")]);
    assert_eq!((ran.code, ran.stderr.contains('\u{1b}')), (0, false), "{}", ran.stderr);
    let mut reasons: Vec<&str> =
        ran.stderr.lines().filter_map(|line| line.split_once("passed over: ")).map(|(_, why)| why).collect();
    reasons.sort_unstable();
    assert_eq!(reasons.len(), 3, "{}", ran.stderr);
    assert!(reasons[0].starts_with("it has version 2") && reasons[1].starts_with("it is not the record of a build"));
    assert!(reasons[2].starts_with("it is of other images than"));
    assert_eq!(builds(&yard), [whole]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_record_stands_in_its_manifest_and_a_large_one_beside_it() {
    let yard = Yard::with_ledger().await;
    build(&yard);
    let small = yard.json(&["referrers", &yard.at("demo/app:latest")])["referrers"][0].take();
    let text = small["annotations"]["dev.lapstrake.build.record"].as_str().unwrap();
    let record = builds(&yard)[0].clone();
    assert_eq!(serde_json::from_str::<Value>(text).unwrap()["id"], record["id"]);
    let shown = yard.run(&["referrers", &yard.at("demo/app:latest")]).stdout;
    assert!(shown.contains("dev.lapstrake.build.checksum=") && !shown.contains("build.record"), "{shown}");
    forget(&yard);
    yard.requests();
    let synced = yard.json(&["builds", "sync", &yard.at("demo/app")]);
    assert_eq!(synced["repositories"][0]["added"], json!([record["id"]]));
    let (asked, manifest) = (yard.requests(), small["digest"].as_str().unwrap());
    assert!(!asked.iter().any(|line| line.contains(manifest)), "the list has the record: {asked:?}");

    let lock = std::fs::read_to_string(yard.project().join("pylock.toml")).unwrap();
    yard.write("pylock.toml", format!("{}{lock}", "# a long story\n".repeat(900)));
    build(&yard);
    let large = yard.json(&["referrers", &yard.at("demo/app:latest")])["referrers"][0].take();
    let before = builds(&yard);
    assert_eq!(large["annotations"]["dev.lapstrake.build.id"], before[0]["id"]);
    assert_eq!(large["annotations"]["dev.lapstrake.build.record"], Value::Null);
    forget(&yard);
    yard.json(&["builds", "sync", &yard.at("demo/app")]);
    assert_eq!(builds(&yard), before);
}

/// Whether a request puts the manifest of a record: it has no tag.
fn is_record(seen: &Seen) -> bool {
    let target = seen.target.as_str();
    seen.method == "PUT" && target.contains("/manifests/sha256") && !target.contains("/manifests/sha256-")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_without_a_list_of_referrers_keeps_records_too_and_after_the_tag() {
    let yard = Yard::with_ledger().await;
    let registry = TinyRegistry::default();
    let server = FaultServer::start(move |seen, _| registry.reply(seen)).await;
    let target = format!("{}/demo/app:latest", server.domain());
    let ran = yard.run_build("store", &["--tag", &target]);
    assert_eq!((ran.code, ran.stderr.contains("warning")), (0, false), "{}", ran.stderr);
    let seen = server.seen();
    let at = |wanted: &dyn Fn(&Seen) -> bool| seen.iter().position(wanted).unwrap();
    let tagged = at(&|seen| seen.method == "PUT" && seen.target.ends_with("/manifests/latest"));
    assert!(tagged < at(&is_record), "what the image does not need comes after its tag");
    let before = builds(&yard);
    forget(&yard);
    let synced = yard.json(&["builds", "sync", &format!("{}/demo/app", server.domain())]);
    assert_eq!(synced["repositories"][0]["added"], json!([before[0]["id"]]));
    assert_eq!(builds(&yard), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_takes_no_records_costs_a_warning() {
    let yard = Yard::with_ledger().await;
    let registry = TinyRegistry::default();
    let refusing = move |seen: &Seen| if is_record(seen) { Reply::status(400) } else { registry.reply(seen) };
    let server = FaultServer::start(move |seen, _| refusing(seen)).await;
    let ran = yard.run_build("store", &["--tag", &format!("{}/demo/app:latest", server.domain())]);
    let warning = format!("warning: the build's record cannot be kept in `{}/demo/app`: ", server.domain());
    assert!(ran.code == 0 && ran.stderr.contains(&warning), "{}", ran.stderr);
    assert_eq!(builds(&yard).len(), 1);
}

/// Pushes `text` as the record of a build of `subject`.
async fn push(yard: &Yard, subject: &Descriptor, text: &str) {
    let at = yard.reference("demo/app").repository();
    let (blob, empty) = (Descriptor::of(ARTIFACT, text.as_bytes()), Descriptor::of(OCI_EMPTY, b"{}"));
    for (blob, bytes) in [(&blob, text.as_bytes().to_vec()), (&empty, b"{}".to_vec())] {
        yard.client().push_blob(&at, blob, BlobBody::Bytes(bytes.into()), &|_| ()).await.unwrap();
    }
    let manifest = json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "artifactType": ARTIFACT, "config": empty, "layers": [blob],
        "subject": subject,
    });
    let bytes = manifest.to_string().into_bytes();
    let name = Reference::pinned(&at, &Descriptor::of(OCI_MANIFEST, &bytes).digest);
    yard.client().push_manifest(&name, &MediaType::new(OCI_MANIFEST), &bytes).await.unwrap();
}
