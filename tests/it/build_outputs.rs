//! Where an image goes and in which form: indexes, parents as they are, folders, archives, and what is printed.

use std::collections::BTreeMap;
use std::io::Read as _;

use serde_json::{Value, json};

use crate::support::readback::{document, sha256};
use crate::support::yard::{Ran, Yard, changed_config, parent_config, parent_layer};

/// Pushes `demo/parent:1` as an index over an amd64 and an arm64 image.
async fn index_parent(yard: &Yard) {
    let arm = changed_config(|config| config["architecture"] = json!("arm64"));
    let children = [
        (yard.push_image("demo/parent:amd64", &[&parent_layer()], &parent_config()).await, "amd64"),
        (yard.push_image("demo/parent:arm64", &[&parent_layer()], &arm).await, "arm64"),
    ];
    yard.push_index("demo/parent:1", &children).await;
}

fn skip_build(yard: &Yard) {
    let parent = yard.at("demo/parent:1");
    yard.write("lapstrake.yaml", format!("settings:\n  docker:\n    parent_image: {parent}\n    skip_build: true\n"));
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_platforms_make_an_index() {
    let yard = Yard::new().await;
    index_parent(&yard).await;
    let platforms = ["--platform", "linux/amd64", "--platform", "linux/arm64"];
    let built = yard.build("store", &platforms);
    assert_eq!(built["platforms"], json!(["linux/amd64", "linux/arm64"]));
    let (bytes, digest) = document(&yard.at("demo/app:latest")).await;
    assert_eq!(built["digest"], digest.as_str());
    let index: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    let mut layers = Vec::new();
    for (entry, architecture) in index["manifests"].as_array().unwrap().iter().zip(["amd64", "arm64"]) {
        assert_eq!(entry["platform"], json!({"architecture": architecture, "os": "linux"}));
        let image = yard.pull(&format!("demo/app@{}", entry["digest"].as_str().unwrap())).await;
        assert_eq!(image.config["architecture"], architecture);
        layers.push(image.layer_digests());
    }
    assert_eq!(layers[0], layers[1], "pure wheels and sources are the same layers on both");
    let all = built["layers"].as_array().unwrap();
    let (first, second) = all.split_at(all.len() / 2);
    assert!(first.iter().any(|layer| layer["action"] == "build"), "{built}");
    assert!(
        second.iter().all(|layer| layer["action"] == "hit"),
        "what one image brings is there for the next: {built}"
    );
    assert_eq!(yard.build("empty", &platforms)["reused"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_index_parent_the_machines_own_platform_is_taken() {
    let yard = Yard::new().await;
    index_parent(&yard).await;
    let built = yard.build("store", &[]);
    let machine = if cfg!(target_arch = "aarch64") { "linux/arm64" } else { "linux/amd64" };
    assert_eq!(built["platforms"], json!([machine]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_parent_decides_the_platform_also_when_the_image_is_reused() {
    let yard = Yard::new().await;
    for architecture in ["amd64", "arm64"] {
        let config = changed_config(|config| config["architecture"] = json!(architecture));
        yard.push_image("demo/parent:1", &[&parent_layer()], &config).await;
        for reused in [false, true] {
            let built = yard.build("store", &[]);
            assert_eq!(built["reused"], reused);
            assert_eq!(built["platforms"], json!([format!("linux/{architecture}")]));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn skip_build_copies_an_image_byte_for_byte() {
    let yard = Yard::new().await;
    skip_build(&yard);
    let built = yard.build("store", &[]);
    let (parent, copy) = (yard.pull("demo/parent:1").await, yard.pull("demo/app:latest").await);
    assert_eq!(copy.manifest_bytes, parent.manifest_bytes);
    assert_eq!(copy.config_bytes, parent.config_bytes);
    assert_eq!(built["digest"], parent.digest.as_str());
    assert_eq!(built["bytes"]["uploaded"], parent.manifest_bytes.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn skip_build_is_planned_as_it_is_built_and_done_once() {
    let yard = Yard::new().await;
    index_parent(&yard).await;
    skip_build(&yard);
    let run = |word: &str| {
        let target = yard.at("other/app:latest");
        let output = yard.command("store").args([word, "--format", "json", "--tag", &target]).output().unwrap();
        let mut printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        printed["images"][0].take()
    };
    let (planned, built) = (run("plan"), run("build"));
    let of_layers = |image: &Value| {
        let layers = image["layers"].as_array().unwrap().iter();
        layers.map(|layer| (layer["digest"].clone(), layer["action"].clone())).collect::<Vec<_>>()
    };
    let layer = json!(sha256(&parent_layer()));
    assert_eq!(of_layers(&planned), [(layer.clone(), json!("mount")), (layer, json!("hit"))], "two platforms share it");
    assert_eq!(of_layers(&planned), of_layers(&built));
    assert_eq!(planned["digest"], built["digest"]);
    assert_eq!(planned["bytes"]["mounted"], parent_layer().len());
    for word in ["plan", "build"] {
        let again = run(word);
        assert_eq!((&again["reused"], &again["digest"]), (&json!(true), &built["digest"]));
    }
    assert_eq!(run("build")["bytes"]["uploaded"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn skip_build_copies_an_index_with_all_its_images() {
    let yard = Yard::new().await;
    index_parent(&yard).await;
    skip_build(&yard);
    let built = yard.build("store", &[]);
    let (bytes, digest) = document(&yard.at("demo/app:latest")).await;
    assert_eq!(bytes, document(&yard.at("demo/parent:1")).await.0);
    assert_eq!(built["digest"], digest.as_str());
    assert_eq!(built["platforms"], json!(["linux/amd64", "linux/arm64"]));
    let index: Value = serde_json::from_slice(&bytes).unwrap();
    for entry in index["manifests"].as_array().unwrap() {
        yard.pull(&format!("demo/app@{}", entry["digest"].as_str().unwrap())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oci_layout_holds_the_same_image_as_the_registry() {
    let yard = Yard::new().await;
    let pushed = yard.build("store", &[]);
    yard.requests();
    let folder = yard.path("layout");
    let built = yard.build("empty", &["--output", &format!("oci:{}", folder.display())]);
    assert_eq!(built["digest"], pushed["digest"]);
    assert_eq!(built["reference"], format!("oci:{}@{}", folder.display(), pushed["digest"].as_str().unwrap()));
    let writes: Vec<String> =
        yard.requests().into_iter().filter(|line| !line.starts_with("GET") && !line.starts_with("HEAD")).collect();
    assert_eq!(writes, Vec::<String>::new());
    let read = |digest: &Value| {
        let bytes = std::fs::read(folder.join("blobs/sha256").join(&digest.as_str().unwrap()[7..])).unwrap();
        assert_eq!(*digest, sha256(&bytes));
        bytes
    };
    let index: Value = serde_json::from_slice(&std::fs::read(folder.join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"][0]["digest"], pushed["digest"]);
    let manifest: Value = serde_json::from_slice(&read(&pushed["digest"])).unwrap();
    read(&manifest["config"]["digest"]);
    for layer in manifest["layers"].as_array().unwrap() {
        read(&layer["digest"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_archive_holds_the_same_config_and_layers() {
    let yard = Yard::new().await;
    let pushed = yard.build("store", &[]);
    let image = yard.pull("demo/app:latest").await;
    let file = yard.path("image.tar");
    let output = format!("docker-archive:{}", file.display());
    let ran: Ran = yard
        .command("empty")
        .args(["build", "--format", "json", "--parent-image", &yard.at("demo/parent:1")])
        .args(["--output", &output, "--tag", "registry.test/app:1"])
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let built: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(built["images"][0]["digest"], pushed["digest"]);
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(std::fs::File::open(&file).unwrap()).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        files.insert(entry.path().unwrap().to_str().unwrap().to_owned(), bytes);
    }
    let list: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    assert_eq!(list[0]["RepoTags"], json!(["registry.test/app:1"]));
    assert_eq!(files[list[0]["Config"].as_str().unwrap()], image.config_bytes);
    let layers: Vec<&Vec<u8>> =
        list[0]["Layers"].as_array().unwrap().iter().map(|name| &files[name.as_str().unwrap()]).collect();
    assert_eq!(layers, image.layers.iter().map(|layer| &layer.blob).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn stdout_of_build_is_one_line_with_the_digest() {
    let yard = Yard::new().await;
    let ran = yard.run_build("store", &[]);
    let digest = yard.digest_of("demo/app:latest").await.unwrap();
    assert_eq!(ran.stdout, format!("{}@{digest}\n", yard.at("demo/app")));
    let quiet = yard.run_build("empty", &["--quiet"]);
    assert_eq!((quiet.stdout, quiet.stderr), (ran.stdout, String::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn json_of_build_and_plan_has_just_the_documented_keys() {
    let yard = Yard::new().await;
    let plan = yard
        .command("store")
        .args(["plan", "--format", "json", "--parent-image", &yard.at("demo/parent:1")])
        .args(["--tag", &yard.at("demo/app:latest")])
        .output()
        .unwrap();
    let planned: Value = serde_json::from_slice(&plan.stdout).unwrap();
    let ran = yard.run_build("store", &["--format", "json"]);
    let built: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(keys(&planned), ["bytes", "images", "schemaVersion"]);
    assert_eq!(keys(&built), ["build", "bytes", "images", "schemaVersion"]);
    for printed in [&planned, &built] {
        assert_eq!(printed["schemaVersion"], 1);
        let image = &printed["images"][0];
        assert_eq!(keys(&image["parent"]), ["digest", "reference"]);
        assert_eq!(keys(&image["bytes"]), ["downloaded", "mounted", "uploaded"]);
        for layer in image["layers"].as_array().unwrap() {
            assert_eq!(keys(layer), ["action", "digest", "key", "kind", "size", "title"]);
            assert!(["hit", "mount", "copy", "build"].contains(&layer["action"].as_str().unwrap()));
        }
    }
    let keys_of_build =
        ["bytes", "digest", "key", "keys", "layers", "parent", "platforms", "reference", "reused", "seconds"];
    assert_eq!(keys(&built["images"][0]), keys_of_build);
    let known_before =
        ["bytes", "key", "keys", "layers", "parent", "platforms", "reference", "reused", "segments", "sources"];
    assert_eq!(keys(&planned["images"][0]), known_before);
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_as_json_is_one_event_a_line_and_tasks_that_start_end() {
    let yard = Yard::new().await;
    let ran = yard.run_build("store", &["--progress", "json"]);
    assert_eq!(ran.code, 0);
    let mut open = BTreeMap::new();
    for line in ran.stderr.lines() {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        match event["event"].as_str().unwrap() {
            "started" => drop(open.insert(event["task"].as_u64().unwrap(), event["work"].clone())),
            "finished" => assert!(open.remove(&event["task"].as_u64().unwrap()).is_some()),
            "advanced" => assert!(open.contains_key(&event["task"].as_u64().unwrap())),
            "note" | "warning" => assert!(event["text"].is_string()),
            other => panic!("{other}"),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}
