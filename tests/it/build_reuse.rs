//! The cost of a build is the size of the change: what is there already is neither read, made nor moved.

use lapstrake::registry::Registry as _;
use serde_json::Value;

use crate::support::parents::SITE;
use crate::support::wheel_maker::WheelMaker;
use crate::support::yard::{Yard, parent_layer};

/// The kinds of the layers with this action.
fn kinds<'a>(built: &'a Value, action: &str) -> Vec<&'a str> {
    let layers = built["layers"].as_array().unwrap().iter().filter(|layer| layer["action"] == action);
    layers.map(|layer| layer["kind"].as_str().unwrap()).collect()
}

fn to(requests: &[String], path: &str) -> Vec<String> {
    requests.iter().filter(|line| line.contains(path)).cloned().collect()
}

/// Removes the wheel files, so that a build that wants one fails.
fn burn_wheels(yard: &Yard) {
    std::fs::remove_dir_all(yard.project().join("wheels")).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_build_is_one_request_to_the_target() {
    let yard = Yard::new().await;
    let first = yard.build("store", &[]);
    yard.requests();
    let second = yard.build("store", &[]);
    let requests = yard.requests();
    assert_eq!(second["reused"], true);
    assert_eq!(second["digest"], first["digest"]);
    assert_eq!(second["bytes"]["uploaded"], 0);
    assert_eq!(to(&requests, "/v2/demo/app/"), ["GET /v2/demo/app/manifests/latest"]);
    assert_eq!(to(&requests, "/v2/demo/parent/"), ["HEAD /v2/demo/parent/manifests/1"]);
    println!("unchanged build: {} requests: {requests:?}", requests.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn unchanged_build_under_another_tag_only_puts_a_manifest() {
    let yard = Yard::new().await;
    let first = yard.build("store", &[]);
    burn_wheels(&yard);
    yard.requests();
    let second = yard.build("empty", &["--tag", &yard.at("demo/app:other")]);
    assert_eq!((&second["reused"], &second["digest"]), (&Value::Bool(true), &first["digest"]));
    let requests = to(&yard.requests(), "/v2/demo/app/");
    let puts: Vec<&String> =
        requests.iter().filter(|line| !line.starts_with("GET") && !line.starts_with("HEAD")).collect();
    assert_eq!(puts, ["PUT /v2/demo/app/manifests/other"], "{requests:?}");
    assert!(requests.iter().any(|line| line.starts_with("GET /v2/demo/app/manifests/lapstrake-")), "{requests:?}");
    assert!(!requests.iter().any(|line| line.contains("/blobs/")), "{requests:?}");
    assert_eq!(yard.digest_of("demo/app:other").await.unwrap().to_string(), first["digest"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn source_edit_makes_one_layer_and_moves_nothing_else() {
    let yard = Yard::new().await;
    yard.build("store", &[]);
    let before = yard.pull("demo/app:latest").await;
    burn_wheels(&yard);
    yard.write("steps/train.py", "RATE = 0.5\n");
    yard.requests();
    let edited = yard.build("store", &[]);
    let requests = yard.requests();
    assert_eq!(kinds(&edited, "build"), ["sources"]);
    assert_eq!(kinds(&edited, "hit"), ["parent", "python", "python"]);
    let after = yard.pull("demo/app:latest").await;
    assert_eq!(after.layer_digests()[..3], before.layer_digests()[..3]);
    assert_ne!(after.layer_digests()[3], before.layer_digests()[3]);
    assert_eq!(after.file("app/steps/train.py").unwrap().text(), "RATE = 0.5\n");
    let uploads = requests.iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(uploads, 3, "the layer, the config, and the record of the build: {requests:?}");
    println!("source edit: {} requests, {} bytes up", requests.len(), edited["bytes"]["uploaded"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn source_edit_on_a_fresh_machine_reads_no_layer_and_no_wheel() {
    let yard = Yard::new().await;
    yard.build("store", &[]);
    burn_wheels(&yard);
    yard.write("steps/train.py", "RATE = 0.5\n");
    yard.requests();
    let edited = yard.build("empty", &[]);
    let requests = yard.requests();
    assert_eq!(kinds(&edited, "build"), ["sources"]);
    let parent = format!("/blobs/{}", crate::support::readback::sha256(&parent_layer()));
    let reads: Vec<&String> =
        requests.iter().filter(|line| line.starts_with("GET") && line.contains(&parent)).collect();
    assert!(reads.is_empty(), "{reads:?}");
    let blobs: Vec<&String> =
        requests.iter().filter(|line| line.starts_with("GET") && line.contains("/blobs/")).collect();
    assert_eq!(blobs.len(), 2, "the parent's config and its index: {blobs:?}");
    println!("source edit, fresh machine: {} requests, bytes {}", requests.len(), edited["bytes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn parents_index_is_pushed_beside_the_image_and_read_by_the_next_machine() {
    let yard = Yard::new().await;
    yard.build("store", &[]);
    let parent = yard.digest_of("demo/parent:1").await.unwrap();
    let tag = format!("demo/app:lapstrake-parent-{}", &parent.hex()[..40]);
    let (bytes, _) = crate::support::readback::document(&yard.at(&tag)).await;
    let note: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(note["subject"]["digest"], parent.to_string());
    let beside = yard.reference("demo/app:latest").repository();
    let referrers = yard.client().referrers(&beside, &parent).await.unwrap();
    assert_eq!(referrers.len(), 1, "it is a referrer of the parent");
    yard.write("pylock.toml", "lock-version = \"1.0\"\n");
    yard.requests();
    yard.build("empty", &[]);
    let requests = yard.requests();
    let index = note["layers"][0]["digest"].as_str().unwrap();
    assert!(requests.contains(&format!("GET /v2/demo/app/blobs/{index}")), "{requests:?}");
    assert!(!requests.iter().any(|line| line.starts_with("GET /v2/demo/parent/blobs/sha256")
        && line.ends_with(&crate::support::readback::sha256(&parent_layer()))));
}

#[tokio::test(flavor = "multi_thread")]
async fn added_small_requirement_makes_only_its_group() {
    let yard = Yard::new().await;
    let names = ["anchor", "ballast", "cleat", "davit", "eyelet", "fender", "gasket", "halyard"];
    let wheels: Vec<WheelMaker> =
        names.iter().map(|name| WheelMaker::new(name, "1.0").file(&format!("{name}.py"), name)).collect();
    yard.lock(&wheels.iter().skip(1).collect::<Vec<_>>());
    yard.build("store", &[]);
    let before = yard.pull("demo/app:latest").await;
    let all: Vec<&WheelMaker> = wheels.iter().collect();
    yard.lock(&all);
    let built = yard.build("store", &[]);
    let after = yard.pull("demo/app:latest").await;
    let python = |image: &crate::support::readback::Image| -> Vec<String> {
        image.of_kind("python").iter().map(|layer| layer.descriptor["digest"].as_str().unwrap().to_owned()).collect()
    };
    let (before, after_layers) = (python(&before), python(&after));
    let new: Vec<&String> = after_layers.iter().filter(|digest| !before.contains(digest)).collect();
    assert_eq!(new.len(), 1, "one group holds the new wheel");
    // The lock is a source file too.
    assert_eq!(kinds(&built, "build"), ["python", "sources"]);
    assert!(after.file(&format!("{SITE}/anchor.py")).is_some());
    assert!(before.len() > 2, "the names are spread over groups");
}

#[tokio::test(flavor = "multi_thread")]
async fn added_large_requirement_makes_only_its_own_layer() {
    let yard = Yard::new().await;
    let noise: Vec<u8> = (0..5_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let large = |name: &str| WheelMaker::new(name, "1.0").file(&format!("{name}.bin"), &noise).stored();
    let (first, second) = (large("hull"), large("mast"));
    let small = WheelMaker::new("cleat", "1.0").file("cleat.py", "");
    yard.lock(&[&first, &small]);
    let before = yard.build("store", &[]);
    assert_eq!(kinds(&before, "build"), ["python", "python", "sources"]);
    yard.lock(&[&first, &second, &small]);
    let built = yard.build("store", &[]);
    assert_eq!(kinds(&built, "build"), ["python", "sources"]);
    let made: Vec<&Value> =
        built["layers"].as_array().unwrap().iter().filter(|layer| layer["action"] == "build").collect();
    assert_eq!(made[0]["title"], "mast 1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn cache_from_another_repository_mounts() {
    let yard = Yard::new().await;
    let first = yard.build("store", &[]);
    burn_wheels(&yard);
    yard.requests();
    let from = yard.at("demo/app:latest");
    let built = yard.build("empty", &["--cache-from", &from, "--tag", &yard.at("team/app:1")]);
    assert_eq!(kinds(&built, "mount"), ["parent", "python", "python", "sources"]);
    assert_eq!(built["digest"], first["digest"]);
    let requests = yard.requests();
    let mounts = requests.iter().filter(|line| line.starts_with("POST") && line.contains("mount=")).count();
    assert!(mounts >= 4, "{requests:?}");
    let sizes: u64 = built["layers"].as_array().unwrap().iter().map(|layer| layer["size"].as_u64().unwrap()).sum();
    assert_eq!(built["bytes"]["mounted"], sizes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cache_image_that_is_not_there_costs_a_warning() {
    let yard = Yard::new().await;
    let ran = yard.run_build("store", &["--cache-from", &yard.at("demo/none:1")]);
    assert_eq!(ran.code, 0);
    assert!(
        ran.stderr.contains(&format!("warning: cache image `{}` does not exist", yard.at("demo/none:1"))),
        "{}",
        ran.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_cache_everything_is_made_anew_with_the_same_digest() {
    let yard = Yard::new().await;
    let first = yard.build("store", &[]);
    let again = yard.build("store", &["--no-cache"]);
    assert_eq!(again["digest"], first["digest"]);
    assert_eq!(again["reused"], false);
    assert_eq!(kinds(&again, "build"), ["python", "python", "sources"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_moved_is_noticed() {
    let yard = Yard::new().await;
    let first = yard.build("store", &[]);
    yard.push_parent_with("demo/parent:1", &[("etc/motd", "hello\n")], |_| ()).await;
    let second = yard.build("store", &[]);
    assert_eq!(second["reused"], false);
    assert_ne!(second["parent"]["digest"], first["parent"]["digest"]);
    assert_eq!(kinds(&second, "build"), Vec::<&str>::new(), "every layer of ours is the same");
    assert!(yard.pull("demo/app:latest").await.file("etc/motd").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_says_what_build_does_and_writes_nothing() {
    let yard = Yard::new().await;
    let plan = |store: &str| -> Value {
        let mut command = yard.command(store);
        command.args(["plan", "--format", "json", "--parent-image", &yard.at("demo/parent:1")]);
        let output = command.args(["--tag", &yard.at("demo/app:latest")]).output().unwrap();
        assert!(output.status.success());
        serde_json::from_slice(&output.stdout).unwrap()
    };
    yard.requests();
    let planned = plan("store");
    let writes: Vec<String> =
        yard.requests().into_iter().filter(|line| !line.starts_with("GET") && !line.starts_with("HEAD")).collect();
    assert_eq!(writes, Vec::<String>::new());
    let built = yard.build("store", &[]);
    let words = |image: &Value| -> Vec<(String, String)> {
        let layers = image["layers"].as_array().unwrap().iter();
        layers.map(|layer| (layer["key"].to_string(), layer["action"].to_string())).collect()
    };
    assert_eq!(words(&planned["images"][0]), words(&built));
    assert_eq!(plan("store")["images"][0]["reused"], true);
}
