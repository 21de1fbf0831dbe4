//! Copying between registries: byte-exact, resumable, mounted where it can be, with referrers, tags last.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lapstrake::oci::Descriptor;
use lapstrake::registry::Registry as _;
use serde_json::{Value, json};

use crate::support::fault::{FaultServer, Reply};
use crate::support::parents::gzip;
use crate::support::readback::document;
use crate::support::tiny_registry::TinyRegistry;
use crate::support::yard::{Ran, Yard, changed_config, parent_config, parent_layer};

/// What an index of the yard consists of.
struct Pushed {
    index: Descriptor,
    amd64: Descriptor,
}

/// Pushes `demo/many:1`: two platforms, and an attestation of the first as BuildKit leaves it.
async fn push_index(yard: &Yard) -> Pushed {
    let arm = changed_config(|config| config["architecture"] = json!("arm64"));
    let amd64 = yard.push_image("demo/many:amd64", &[&parent_layer()], &parent_config()).await;
    let arm64 = yard.push_image("demo/many:arm64", &[&parent_layer(), b"another"], &arm).await;
    let attestation = yard.push_image("demo/many:attested", &[b"{}"], b"{\"architecture\":\"unknown\"}").await;
    let entry = |of: &Descriptor, platform: Value| {
        let mut entry = serde_json::to_value(of).unwrap();
        entry["platform"] = platform;
        entry
    };
    let mut about = entry(&attestation, json!({"os": "unknown", "architecture": "unknown"}));
    about["annotations"] = json!({
        "vnd.docker.reference.digest": amd64.digest, "vnd.docker.reference.type": "attestation-manifest"
    });
    let media_type = lapstrake::oci::media_type::OCI_INDEX;
    let index = json!({
        "schemaVersion": 2, "mediaType": media_type, "an unknown member": [1, 2],
        "manifests": [
            entry(&amd64, json!({"os": "linux", "architecture": "amd64"})),
            entry(&arm64, json!({"os": "linux", "architecture": "arm64"})),
            about,
        ],
    });
    let bytes = serde_json::to_vec_pretty(&index).unwrap();
    let at = yard.reference("demo/many:1");
    yard.client().push_manifest(&at, &lapstrake::oci::MediaType::new(media_type), &bytes).await.unwrap();
    yard.requests();
    Pushed { index: Descriptor::of(media_type, &bytes), amd64 }
}

fn copy(yard: &Yard, arguments: &[&str]) -> Value {
    let mut printed = yard.json(&[&["copy"], arguments].concat());
    assert_eq!(printed["schemaVersion"], 1);
    assert_eq!(printed["images"].as_array().unwrap().len(), 1);
    printed["images"][0].take()
}

/// `action kind` of each item of a target, counted.
fn actions(copied: &Value, target: usize) -> Vec<String> {
    let items = copied["targets"][target]["items"].as_array().unwrap();
    items.iter().map(|item| format!("{} {}", item["action"], item["kind"]).replace('"', "")).collect()
}

fn writes(requests: Vec<String>) -> Vec<String> {
    requests.into_iter().filter(|line| !line.starts_with("GET") && !line.starts_with("HEAD")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_copied_with_all_its_manifests_byte_for_byte() {
    let (from, to) = (Yard::new().await, Yard::new().await);
    let pushed = push_index(&from).await;
    let copied = copy(&from, &[&from.at("demo/many:1"), &to.at("team/app:2")]);
    assert_eq!(copied["digest"], json!(pushed.index.digest));
    assert_eq!(copied["platforms"], json!(["linux/amd64", "linux/arm64"]));
    let (bytes, digest) = document(&to.at("team/app:2")).await;
    assert_eq!((bytes.clone(), digest), document(&from.at("demo/many:1")).await);
    let index: Value = serde_json::from_slice(&bytes).unwrap();
    for entry in &index["manifests"].as_array().unwrap()[..1] {
        let name = entry["digest"].as_str().unwrap();
        let (one, other) = (from.pull(&format!("demo/many@{name}")).await, to.pull(&format!("team/app@{name}")).await);
        assert_eq!(one.manifest_bytes, other.manifest_bytes);
        assert_eq!(one.config_bytes, other.config_bytes);
    }
    assert!(actions(&copied, 0).iter().all(|action| action.starts_with("copy ")), "{copied}");
    assert_eq!(copied["bytes"]["downloaded"], copied["bytes"]["uploaded"]);
    assert_eq!(writes(from.requests()), Vec::<String>::new(), "nothing is written at the source");
}

#[tokio::test(flavor = "multi_thread")]
async fn blobs_go_before_manifests_these_before_the_index_and_the_tag_is_last() {
    let (from, to) = (Yard::new().await, Yard::new().await);
    push_index(&from).await;
    copy(&from, &[&from.at("demo/many:1"), &to.at("team/app:2")]);
    let writes = writes(to.requests());
    let kind = |line: &String| match line {
        line if line.contains("/blobs/") => 0,
        line if line.ends_with("/manifests/2") => 2,
        _ => 1,
    };
    let kinds: Vec<i32> = writes.iter().map(kind).collect();
    assert!(kinds.is_sorted(), "{writes:#?}");
    assert_eq!(kinds.iter().filter(|kind| **kind == 1).count(), 3);
    assert_eq!(kinds.iter().filter(|kind| **kind == 2).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_there_costs_only_questions() {
    let (from, to) = (Yard::new().await, Yard::new().await);
    push_index(&from).await;
    let arguments = [from.at("demo/many:1"), to.at("team/app:2")];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    copy(&from, &arguments);
    from.requests();
    to.requests();
    let again = copy(&from, &arguments);
    assert!(actions(&again, 0).iter().all(|action| action.starts_with("hit ")), "{again}");
    assert_eq!(again["bytes"]["uploaded"], 0);
    let asked = to.requests();
    assert!(asked.iter().all(|line| line.starts_with("HEAD /v2/team/app/manifests/")), "{asked:#?}");
    assert_eq!(asked.len(), 5, "one for each document and one for the tag");
    let read = from.requests();
    assert!(read.iter().all(|line| line.contains("/manifests/")), "no blob is read: {read:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn between_repositories_of_one_registry_blobs_are_mounted() {
    let yard = Yard::new().await;
    push_index(&yard).await;
    let copied = copy(&yard, &[&yard.at("demo/many:1"), &yard.at("team/app:2")]);
    let requests = yard.requests();
    assert!(!requests.iter().any(|line| line.starts_with("GET") && line.contains("/blobs/")), "{requests:#?}");
    let kinds = actions(&copied, 0);
    assert!(kinds.iter().filter(|kind| kind.ends_with("layer")).all(|kind| kind == "mount layer"), "{kinds:?}");
    let items = copied["targets"][0]["items"].as_array().unwrap();
    let sum = |action: &str| {
        items.iter().filter(|item| item["action"] == action).map(|item| item["size"].as_u64().unwrap()).sum::<u64>()
    };
    assert_eq!(copied["bytes"]["mounted"], sum("mount"));
    assert_eq!(copied["bytes"]["uploaded"], sum("copy"), "documents alone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_tag_in_the_same_repository_is_one_put() {
    let yard = Yard::new().await;
    push_index(&yard).await;
    copy(&yard, &[&yard.at("demo/many:1"), &yard.at("demo/many:2")]);
    assert_eq!(writes(yard.requests()), ["PUT /v2/demo/many/manifests/2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_platform_gives_its_manifest_and_several_an_index_over_theirs() {
    let (from, to) = (Yard::new().await, Yard::new().await);
    let pushed = push_index(&from).await;
    let ran = from.run(&["copy", "--platform", "linux/amd64", &from.at("demo/many:1"), &to.at("team/one:1")]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(to.digest_of("team/one:1").await.unwrap(), pushed.amd64.digest);
    let said = format!(
        "of `HOST/demo/many:1` one manifest is copied: `{}` in place of `{}`",
        pushed.amd64.digest, pushed.index.digest
    );
    assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    let platforms = ["--platform", "linux/amd64", "--platform", "linux/amd64"];
    copy(&from, &[&platforms[..], &[&from.at("demo/many:1"), &to.at("team/two:1")]].concat());
    let index: Value = serde_json::from_slice(&document(&to.at("team/two:1")).await.0).unwrap();
    let entries = index["manifests"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "the platform and its attestation");
    assert_eq!(entries[1]["platform"]["os"], "unknown");
    let all = ["--platform", "linux/arm64", "--platform", "linux/amd64", "--platform", "linux/arm64"];
    let whole = copy(&from, &[&all[..], &[&from.at("demo/many:1"), &to.at("team/all:1")]].concat());
    assert_eq!(whole["digest"], json!(pushed.index.digest), "all that there are is the index as it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn several_targets_get_the_same_image_and_neighbours_mount_from_each_other() {
    let (from, to) = (Yard::new().await, Yard::new().await);
    let pushed = push_index(&from).await;
    let targets = ["team/app:1", "team/app:latest", "team/mirror:1"].map(|name| to.at(name));
    let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
    let copied = copy(&from, &[&[from.at("demo/many:1").as_str()], &targets[..]].concat());
    for name in ["team/app:1", "team/app:latest", "team/mirror:1"] {
        assert_eq!(to.digest_of(name).await.unwrap(), pushed.index.digest);
    }
    assert_eq!(copied["targets"].as_array().unwrap().len(), 2);
    assert_eq!(copied["targets"][0]["names"], json!(["1", "latest"]));
    let mirrored = actions(&copied, 1);
    assert!(mirrored.iter().any(|action| action == "mount layer"), "{mirrored:?}");
    let tags: Vec<String> = to.requests().into_iter().filter(|line| line.starts_with("PUT")).collect();
    let tags = &tags[tags.len() - 3..];
    assert_eq!(
        tags,
        ["/v2/team/app/manifests/1", "/v2/team/app/manifests/latest", "/v2/team/mirror/manifests/1"]
            .map(|path| format!("PUT {path}")),
        "all content is everywhere before the first tag moves"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_go_with_the_image_and_theirs_with_them() {
    let (from, to) = (Yard::new().await, Yard::new().await);
    let pushed = push_index(&from).await;
    let of_index = from.push_referrer("demo/many", &pushed.index, "test/signature").await;
    let of_manifest = from.push_referrer("demo/many", &pushed.amd64, "test/packages").await;
    let of_referrer = from.push_referrer("demo/many", &of_manifest, "test/signature").await;
    let arguments = [from.at("demo/many:1"), to.at("team/app:2")];
    let plain = copy(&from, &[&arguments[0], &arguments[1]]);
    assert_eq!(plain["targets"][0]["items"].as_array().unwrap().len(), actions(&plain, 0).len());
    for (subject, _) in [(&pushed.index, 0), (&pushed.amd64, 0)] {
        let at = to.reference("team/app").repository();
        assert_eq!(to.client().referrers(&at, &subject.digest).await.unwrap(), [], "only when asked for");
    }
    copy(&from, &["--referrers", &arguments[0], &arguments[1]]);
    for (subject, referrer) in [(&pushed.index, &of_index), (&pushed.amd64, &of_manifest), (&of_manifest, &of_referrer)]
    {
        let at = to.reference("team/app").repository();
        let listed = to.client().referrers(&at, &subject.digest).await.unwrap();
        assert_eq!(listed.iter().map(|found| &found.digest).collect::<Vec<_>>(), [&referrer.digest]);
    }
    let again = copy(&from, &["--referrers", &arguments[0], &arguments[1]]);
    assert_eq!(again["bytes"]["uploaded"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_api_referrers_are_listed_under_a_tag_and_the_image_tag_is_last() {
    let from = Yard::new().await;
    let pushed = push_index(&from).await;
    let first = from.push_referrer("demo/many", &pushed.amd64, "test/packages").await;
    let second = from.push_referrer("demo/many", &pushed.amd64, "test/signature").await;
    let registry = TinyRegistry::default();
    let server = FaultServer::start(move |seen, _| registry.reply(seen)).await;
    let target = format!("{}/team/app:2", server.domain());
    copy(&from, &["--referrers", "--platform", "linux/amd64", &from.at("demo/many:1"), &target]);
    let puts: Vec<String> =
        server.seen().iter().filter(|seen| seen.method == "PUT").map(|seen| seen.path().to_owned()).collect();
    let manifests: Vec<&String> = puts.iter().filter(|path| path.contains("/manifests/")).collect();
    assert_eq!(*manifests.last().unwrap(), "/v2/team/app/manifests/2");
    let tag = pushed.amd64.digest.to_string().replace(':', "-");
    let listed = server.seen().into_iter().rev().find(|seen| seen.method == "PUT" && seen.path().ends_with(&tag));
    let index: Value = serde_json::from_slice(&listed.unwrap().body).unwrap();
    let mut found: Vec<String> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["digest"].as_str().unwrap().to_owned())
        .collect();
    found.sort();
    let mut expected = [first.digest.to_string(), second.digest.to_string()];
    expected.sort();
    assert_eq!(found, expected, "both, although one tag lists them");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_copy_goes_on_where_it_ended() {
    let from = Yard::new().await;
    let layers: Vec<Vec<u8>> = (0..12u8).map(|number| vec![number; 100_000 + usize::from(number)]).collect();
    let layers: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    from.push_image("demo/long:1", &layers, &parent_config()).await;
    let (registry, broken) = (TinyRegistry::default(), Arc::new(AtomicBool::new(true)));
    let is_broken = Arc::clone(&broken);
    let last = lapstrake::oci::Digest::of(layers[0]).to_string();
    let server = FaultServer::start(move |seen, _| {
        let refused = seen.method == "PUT" && seen.target.contains(last.split(':').nth(1).unwrap());
        if refused && is_broken.load(Ordering::SeqCst) {
            return Reply::status(403).body(r#"{"errors":[{"code":"DENIED","message":"not now"}]}"#);
        }
        registry.reply(seen)
    })
    .await;
    let target = format!("{}/team/long:1", server.domain());
    let uploaded = |from: usize| {
        let puts = server.seen().into_iter().skip(from).filter(|seen| seen.method == "PUT");
        let blobs: Vec<usize> =
            puts.filter(|seen| seen.path().contains("/blobs/")).map(|seen| seen.body.len()).collect();
        (blobs.len(), blobs.iter().sum::<usize>())
    };
    let ran: Ran = from.run(&["copy", &from.at("demo/long:1"), &target]);
    server.quiet().await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("DENIED: not now"), "{}", ran.stderr);
    assert_eq!(server.hits("PUT", "/v2/team/long/manifests/1"), 0, "a failure moves no tag");
    let (first, requests) = (uploaded(0), server.seen().len());
    broken.store(false, Ordering::SeqCst);
    let copied = copy(&from, &[&from.at("demo/long:1"), &target]);
    let second = uploaded(requests);
    println!(
        "interrupted: {} blobs, {} bytes; resumed: {} blobs, {} bytes, {} requests",
        first.0,
        first.1,
        second.0,
        second.1,
        server.seen().len() - requests
    );
    let hits = actions(&copied, 0).iter().filter(|action| *action == "hit layer").count();
    assert!(hits > 0, "what had arrived is not sent again");
    let copies =
        actions(&copied, 0).iter().filter(|action| matches!(action.as_str(), "copy layer" | "copy config")).count();
    assert_eq!(second.0, copies, "and nothing else is");
    assert_eq!(server.hits("PUT", "/v2/team/long/manifests/1"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn all_tags_of_a_repository_keep_their_names() {
    let (from, to) = (Yard::new().await, Yard::new().await);
    push_index(&from).await;
    let printed = from.json(&["copy", "--all-tags", &from.at("demo/many"), &to.at("team/app")]);
    assert_eq!(printed["images"].as_array().unwrap().len(), 4);
    for tag in ["1", "amd64", "arm64", "attested"] {
        let (one, other) = (format!("demo/many:{tag}"), format!("team/app:{tag}"));
        assert_eq!(from.digest_of(&one).await, to.digest_of(&other).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_is_a_table_for_people_and_a_line_for_scripts() {
    let (from, to) = (Yard::new().await, Yard::new().await);
    push_index(&from).await;
    let target = to.at("team/app:2");
    from.run(&["copy", "--platform", "linux/amd64", &from.at("demo/many:1"), &to.at("team/other:1")]);
    let ran = from.run(&["copy", "--progress", "plain", &from.at("demo/many:1"), &target]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let stderr = ran.stderr.replace(&to.domain(), "TARGET");
    let table = stderr.lines().filter(|line| !line.contains(" copying ") && !line.contains("publishing"));
    let table: Vec<&str> = table.take_while(|line| !line.starts_with("copied in")).collect();
    insta::assert_snapshot!(format!("{}\n\n{}", ran.stdout.trim_end().replace(&to.domain(), "TARGET"), table.join("\n")), @"
    TARGET/team/app@sha256:4e76f29f5b7afa3e3fcd7fb9e143cd96f3b2a41a4b5ad4f461b0d8b9c3be1eb7

    TARGET/team/app@sha256:4e76f29f5b7afa3e3fcd7fb9e143cd96f3b2a41a4b5ad4f461b0d8b9c3be1eb7 as 2
    DONE    WHAT        SIZE  DIGEST
    copied  layer     8.7 kB  50386cdd7ba9
    copied  config     448 B  99b6caf5114c
    copied  manifest   402 B  9a37aa2b6b8d
    copied  layer        7 B  ae448ac86c4e
    copied  config     365 B  4a547edfbe66
    copied  manifest   554 B  3eb06f032006
    copied  layer        2 B  44136fa355b3
    copied  config      26 B  131f337f6d45
    copied  manifest   398 B  18d666668d4f
    copied  index     1.2 kB  4e76f29f5b7a
    ");
    let quiet = from.run(&["copy", "--quiet", &from.at("demo/many:1"), &target]);
    assert_eq!((quiet.stdout, quiet.stderr), (ran.stdout, String::new()));
}

/// Two versions of an image, `demo/app:1` and `demo/app:2`, of 30 layers each, of which 29 are the same.
async fn push_versions(yard: &Yard) {
    let layers: Vec<Vec<u8>> = (0..31_u8).map(|number| gzip(&[number; 2048])).collect();
    let all: Vec<&[u8]> = layers.iter().map(Vec::as_slice).collect();
    yard.push_image("demo/app:1", &all[..30], &parent_config()).await;
    let changed = changed_config(|config| config["config"]["Env"] = json!(["VERSION=2"]));
    yard.push_image("demo/app:2", &all[1..], &changed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_asks_only_for_what_is_new_under_the_tag_before_and_under_a_new_one() {
    let (from, to) = (Yard::new().await, Yard::new().await);
    push_versions(&from).await;
    for (name, tag, expected) in [("same", "latest", 6), ("new", "2", 8)] {
        let first = if tag == "2" { "1" } else { tag };
        copy(&from, &[&from.at("demo/app:1"), &to.at(&format!("team/{name}:{first}"))]);
        to.requests();
        copy(&from, &[&from.at("demo/app:2"), &to.at(&format!("team/{name}:{tag}"))]);
        let requests = to.requests();
        assert_eq!(requests.len(), expected, "of 30 layers 29 are there: {requests:#?}");
        println!("row N2: a push of which 29 of 30 layers are there, under the {name} tag: {expected} requests");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_version_under_a_new_tag_costs_little_where_no_post_carries_a_blob() {
    let from = Yard::new().await;
    push_versions(&from).await;
    let registry = Arc::new(TinyRegistry::default());
    let script = Arc::clone(&registry);
    let server = FaultServer::start(move |seen, _| script.reply(seen)).await;
    let mut counts = Vec::new();
    for version in [1, 2] {
        let before = server.seen().len();
        let target = format!("{}/team/app:{version}", server.domain());
        copy(&from, &[&from.at(&format!("demo/app:{version}")), &target]);
        counts.push(server.seen().len() - before);
    }
    let lines = server.lines();
    assert!(counts[1] <= 10, "{:#?}", &lines[counts[0]..]);
    let sent = lines.iter().filter(|line| line.starts_with("PUT") && line.contains("/blobs/")).count();
    assert_eq!(sent, 31 + 2, "the session that answers a POST with a blob is used: {lines:#?}");
    println!(
        "row N2: the same at a strict registry under a new tag: {} requests (first push: {})",
        counts[1], counts[0]
    );
}
