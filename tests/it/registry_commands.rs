//! `tags`, `referrers` and `delete` as people use them.

use serde_json::json;

use lapstrake::oci::Digest;
use lapstrake::registry::Registry as _;

use crate::support::fault::{FaultServer, Reply};
use crate::support::yard::Yard;

fn key_tag(text: &str) -> String {
    format!("lapstrake-{}", &Digest::of(text.as_bytes()).hex()[..40])
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_are_listed_without_those_that_builds_leave() {
    let yard = Yard::new().await;
    yard.build("store", &["--tag", &yard.at("demo/app:one"), "--tag", &yard.at("demo/app:two")]);
    let ran = yard.run(&["tags", &yard.at("demo/app")]);
    insta::assert_snapshot!(format!("{}---\n{}", ran.stdout, ran.stderr), @"
    one
    two
    ---
    3 tags that builds left are not shown; `--all` shows them
    ");
    let all = yard.json(&["tags", "--all", &yard.at("demo/app")]);
    assert_eq!(all["tags"].as_array().unwrap().len(), 5, "{all}");
    assert_eq!(all["repository"], yard.at("demo/app"));
    let none = yard.run(&["tags", &yard.at("demo/none")]);
    assert_eq!(none.code, 1);
    assert!(none.stderr.contains("`HOST/demo/none` has no tags, or does not exist"), "{}", none.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn referrers_are_a_table_and_can_be_of_one_type() {
    let yard = Yard::new().await;
    let subject = yard.client().resolve(&yard.reference("demo/parent:1")).await.unwrap().unwrap();
    yard.push_referrer("demo/parent", &subject, "test/signature").await;
    let packages = yard.push_referrer("demo/parent", &subject, "test/packages").await;
    let ran = yard.run(&["referrers", "--artifact-type", "test/packages", &yard.at("demo/parent:1")]);
    insta::assert_snapshot!(ran.stdout, @"
    DIGEST                                                                   TYPE            SIZE  ANNOTATIONS
    sha256:775190968558e0feb45c82b7c25a981d8e925a7de5a369740c07a0ba0ed3e491  test/packages  588 B  made=for a test
    ");
    let listed = yard.json(&["referrers", &yard.at("demo/parent:1")]);
    assert_eq!(listed["subject"], json!(subject.digest));
    assert_eq!(listed["referrers"].as_array().unwrap().len(), 2);
    assert!(listed["referrers"].as_array().unwrap().iter().any(|one| one["digest"] == json!(packages.digest)));
    let none = yard.run(&["referrers", "--artifact-type", "test/none", &yard.at("demo/parent:1")]);
    assert_eq!((none.code, none.stdout.as_str()), (0, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_tag_leaves_the_manifest_and_a_digest_takes_its_tags() {
    let yard = Yard::new().await;
    yard.json(&["copy", &yard.at("demo/parent:1"), &yard.at("demo/parent:2"), &yard.at("demo/parent:3")]);
    let digest = yard.digest_of("demo/parent:1").await.unwrap();
    let unasked = yard.run(&["delete", &yard.at("demo/parent:2")]);
    insta::assert_snapshot!(unasked.stderr, @"
    error: nobody can be asked whether this is meant
      hint: pass `--yes`
    ");
    assert_eq!(unasked.code, 2);
    let ran = yard.run(&["delete", "--yes", &yard.at("demo/parent:2"), &yard.at("demo/parent:absent")]);
    insta::assert_snapshot!(format!("{}{}", ran.stdout, ran.stderr), @"
    removed HOST/demo/parent:2
    was not there: HOST/demo/parent:absent
    ");
    assert_eq!(yard.digest_of("demo/parent:3").await, Some(digest.clone()), "the manifest stays");
    let both = yard.run(&["delete", "--yes", &yard.at(&format!("demo/parent:3@{digest}"))]);
    assert_eq!(both.code, 2, "{}", both.stderr);
    let unnamed = yard.run(&["delete", "--yes", &yard.at("demo/parent")]);
    assert_eq!(unnamed.code, 1, "no tag is made up: {}", unnamed.stderr);
    let removed = yard.json(&["delete", "--yes", &yard.at(&format!("demo/parent@{digest}"))]);
    assert_eq!(removed["references"][0]["removed"], true);
    assert!(yard.digest_of("demo/parent:1").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn registries_that_do_not_delete_are_named_with_a_cure() {
    let yard = Yard::new().await;
    let manifest = br#"{"schemaVersion":2}"#;
    let digest = Digest::of(manifest);
    let pinned = digest.to_string();
    let server = FaultServer::start(move |seen, _| match seen.method.as_str() {
        "DELETE" if seen.path().ends_with("/late") => Reply::status(404),
        "DELETE" => Reply::status(405).body(r#"{"errors":[{"code":"UNSUPPORTED","message":"no deletion"}]}"#),
        _ => Reply::status(200)
            .header("docker-content-digest", &pinned)
            .header("content-type", "application/vnd.oci.image.manifest.v1+json")
            .header("content-length", 19),
    })
    .await;
    let mut said = String::new();
    for name in ["app:1", "app:late", &format!("app@{digest}")] {
        let ran = yard.run(&["delete", "--yes", &format!("{}/demo/{name}", server.domain())]);
        assert_eq!(ran.code, 1);
        said.push_str(&ran.stderr.replace(&server.domain(), "SERVER"));
    }
    insta::assert_snapshot!(said, @"
    error: `SERVER/demo/app:1` stays: the registry does not remove a tag alone
      because: `SERVER` answers 405 to DELETE manifest `SERVER/demo/app:1`, try 1: UNSUPPORTED: no deletion
      hint: `lapstrake delete SERVER/demo/app@sha256:bafebd36189ad3688b7b3915ea55d461e0bfcfbdde11e54b0a123999fb6be50f` removes the manifest with all its tags, if the registry allows that
    error: `SERVER/demo/app:late` stays: the registry does not remove a tag alone
      hint: `lapstrake delete SERVER/demo/app@sha256:bafebd36189ad3688b7b3915ea55d461e0bfcfbdde11e54b0a123999fb6be50f` removes the manifest with all its tags, if the registry allows that
    error: `SERVER/demo/app@sha256:bafebd36189ad3688b7b3915ea55d461e0bfcfbdde11e54b0a123999fb6be50f` stays: the registry does not remove manifests
      because: `SERVER` answers 405 to DELETE manifest `SERVER/demo/app@sha256:bafebd36189ad3688b7b3915ea55d461e0bfcfbdde11e54b0a123999fb6be50f`, try 1: UNSUPPORTED: no deletion
      hint: switch deletion on in the registry (`REGISTRY_STORAGE_DELETE_ENABLED=true` for distribution's), or use its own console or retention rules
    ");
    assert_eq!(server.hits("DELETE", &format!("/v2/demo/app/manifests/{digest}")), 1, "only when it is asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_tags_of_images_that_nobody_names_are_shown_and_then_removed() {
    let yard = Yard::new().await;
    yard.build("store", &[]);
    yard.write("pipeline.py", "print('changed')\n");
    yard.build("store", &[]);
    let old: Vec<String> = yard.json(&["delete", "--key-tags", &yard.at("demo/app")])["idle"]
        .as_array()
        .unwrap()
        .iter()
        .map(|idle| idle["tag"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(old.len(), 1, "the first build's, not the second's");
    let shown = yard.run(&["delete", "--key-tags", &yard.at("demo/app")]);
    let named = |text: &str| text.replace(&old[0], "lapstrake-KEY");
    insta::assert_snapshot!(named(&shown.stderr), @"1 tag would go, 1 tag of images in use kept; `--yes` removes them");
    assert!(shown.stdout.starts_with(&old[0]), "{}", shown.stdout);
    assert!(yard.digest_of(&format!("demo/app:{}", old[0])).await.is_some(), "nothing goes without `--yes`");
    let latest = yard.digest_of("demo/app:latest").await;
    let ran = yard.run(&["delete", "--key-tags", &yard.at("demo/app"), "--yes"]);
    insta::assert_snapshot!(named(&ran.stderr), @"1 tag removed, 1 tag of images in use kept");
    assert!(yard.digest_of(&format!("demo/app:{}", old[0])).await.is_none());
    assert_eq!(yard.digest_of("demo/app:latest").await, latest);
    assert_eq!(yard.build("empty", &[])["reused"], true, "the image in use keeps its key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manifest_that_an_index_in_use_needs_stays_with_its_key_tag() {
    let yard = Yard::new().await;
    let child = yard.client().resolve(&yard.reference("demo/parent:1")).await.unwrap().unwrap();
    yard.push_index("demo/parent:many", &[(child, "amd64")]).await;
    yard.json(&["copy", &yard.at("demo/parent:1"), &yard.at(&format!("demo/parent:{}", key_tag("a")))]);
    yard.json(&["delete", "--yes", &yard.at("demo/parent:1")]);
    let found = yard.json(&["delete", "--key-tags", &yard.at("demo/parent")]);
    assert_eq!((&found["idle"], &found["inUse"]), (&json!([]), &json!(1)));
}
