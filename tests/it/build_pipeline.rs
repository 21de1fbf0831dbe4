//! A pipeline and its steps: which images there are, their names, and that they share their work.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use crate::support::yard::{FIXTURES, Ran, Yard};

/// The demo's settings for a pipeline `voyage`, with these steps.
fn configure(yard: &Yard, steps: &str) {
    let text = std::fs::read_to_string(Path::new(FIXTURES).join("project/lapstrake.yaml")).unwrap();
    let parent = yard.at("demo/parent:1");
    let text = text.replace("  docker:\n", &format!("  docker:\n    parent_image: {parent}\n"));
    yard.write("lapstrake.yaml", format!("name: voyage\n{text}  registry: {}\nsteps:\n{steps}", yard.domain()));
}

/// A step whose `docker` section is `fields`.
fn step(name: &str, fields: &str) -> String {
    format!("  {name}:\n    settings:\n      docker: {{{fields}}}\n")
}

fn build(yard: &Yard, store: &str, more: &[&str]) -> Ran {
    yard.command(store).args(["build", "--format", "json"]).args(more).output().unwrap().into()
}

/// The images of a build that has to succeed, by the first of their keys.
fn images(ran: &Ran) -> BTreeMap<String, Value> {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let built: Value = serde_json::from_str(&ran.stdout).unwrap();
    let images = built["images"].as_array().unwrap().iter();
    images.map(|image| (image["key"].as_str().unwrap().to_owned(), image.clone())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_whose_settings_differ_have_images_of_their_own() {
    let yard = Yard::new().await;
    let steps = [
        step("load", ""),
        step("train", "environment: {RATE: 2}"),
        step("test", "environment: {RATE: 3}"),
        step("tune", "environment: {RATE: 2}, prevent_build_reuse: true"),
    ];
    configure(&yard, &steps.concat());
    let images = images(&build(&yard, "store", &[]));
    let keys: Vec<&str> = images.keys().map(String::as_str).collect();
    assert_eq!(keys, ["orchestrator", "test.orchestrator", "train.orchestrator"]);
    assert_eq!(images["train.orchestrator"]["keys"], serde_json::json!(["train.orchestrator", "tune.orchestrator"]));
    for (tag, key) in [("voyage-orchestrator", "orchestrator"), ("voyage-train-orchestrator", "train.orchestrator")] {
        let digest = yard.digest_of(&format!("zenml:{tag}")).await.unwrap().to_string();
        assert_eq!(images[key]["digest"], digest, "{tag}");
    }
    let train = yard.pull("zenml:voyage-train-orchestrator").await;
    let variables = train.config["config"]["Env"].as_array().unwrap();
    for variable in ["GREETING=ahoy", "RATE=2"] {
        assert!(variables.iter().any(|line| line == variable), "{variable}: a step adds to what the pipeline has");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_images_of_a_pipeline_share_is_found_out_made_and_moved_once() {
    let yard = Yard::new().await;
    let steps: String = (0..20).map(|n| step(&format!("step{n}"), &format!("environment: {{N: {n}}}"))).collect();
    configure(&yard, &steps);
    yard.requests();
    let images = images(&build(&yard, "store", &[]));
    assert_eq!(images.len(), 21);
    let requests = yard.requests();
    let count = |what: &dyn Fn(&str) -> bool| requests.iter().filter(|line| what(line)).count();
    assert_eq!(count(&|line| line == "HEAD /v2/demo/parent/manifests/1"), 1);
    assert_eq!(count(&|line| line.starts_with("GET /v2/demo/parent/blobs/")), 2, "config and layer of the parent");
    assert_eq!(count(&|line| line.contains("manifests/lapstrake-parent-") && line.starts_with("PUT")), 1);
    assert_eq!(count(&|line| line.contains("manifests/lapstrake-python-") && line.starts_with("PUT")), 1);
    let layers: BTreeMap<&str, u32> = images.values().flat_map(|image| image["layers"].as_array().unwrap()).fold(
        BTreeMap::new(),
        |mut layers, layer| {
            *layers.entry(layer["digest"].as_str().unwrap()).or_default() += 1;
            layers
        },
    );
    assert!(layers.values().all(|images| *images == 21), "{layers:?}");
    let brought = count(&|line| line.starts_with("PUT /v2/zenml/blobs/") || line.contains("blobs/uploads/?digest="));
    println!("21 images: {} requests, {brought} blobs brought, {} layers", requests.len(), layers.len());
    let again = build(&yard, "store", &[]);
    let reused = yard.requests();
    assert!(self::images(&again).values().all(|image| image["reused"] == true));
    assert_eq!(
        reused.iter().filter(|line| line.contains("/v2/zenml/")).count(),
        21,
        "one request an image: {reused:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_cannot_be_planned_leaves_every_tag_where_it_was() {
    let yard = Yard::new().await;
    configure(&yard, &[step("good", "environment: {A: 1}"), step("bad", "requirements: absent.txt")].concat());
    let ran = build(&yard, "store", &[]);
    assert_ne!(ran.code, 0);
    assert!(ran.stderr.contains("absent.txt"), "{}", ran.stderr);
    assert!(!yard.requests().iter().any(|line| line.starts_with("PUT")));
}

#[tokio::test(flavor = "multi_thread")]
async fn preventing_reuse_in_one_step_makes_all_images_again_from_the_same_layers() {
    let yard = Yard::new().await;
    configure(&yard, &step("train", "environment: {RATE: 2}"));
    build(&yard, "store", &[]);
    // The configuration is among the sources: what it says is in the image.
    configure(&yard, &step("train", "environment: {RATE: 2}, prevent_build_reuse: true"));
    let first = images(&build(&yard, "store", &[]));
    for more in [&[][..], &["--no-reuse"]] {
        let again = images(&build(&yard, "store", more));
        for (key, image) in &first {
            assert_eq!(
                (&again[key]["digest"], &again[key]["reused"]),
                (&image["digest"], &Value::Bool(false)),
                "{key}"
            );
            assert_eq!(again[key]["bytes"]["downloaded"].as_u64().unwrap() / 10_000, 0, "{:?}", again[key]["bytes"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_skipped_build_publishes_nothing_and_names_the_parent() {
    let yard = Yard::new().await;
    let parent = yard.at("demo/parent:1");
    let settings = format!("settings:\n  docker: {{parent_image: \"{parent}\", skip_build: true}}\n");
    yard.write("lapstrake.yaml", format!("{settings}lapstrake: {{registry: \"{}\"}}\n", yard.domain()));
    let ran = yard.run(&["build"]);
    let digest = yard.digest_of("demo/parent:1").await.unwrap();
    assert_eq!((ran.code, ran.stdout), (0, format!("HOST/demo/parent@{digest}\n")), "{}", ran.stderr);
    assert!(!yard.requests().iter().any(|line| line.starts_with("PUT") || line.starts_with("POST")));
    let plan = yard.run(&["plan"]);
    assert!(plan.stdout.contains("PARENT  sha256:") && plan.stdout.contains("`skip_build` is set"), "{}", plan.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn several_images_do_not_fit_into_a_docker_archive() {
    let yard = Yard::new().await;
    configure(&yard, &step("train", "environment: {RATE: 2}"));
    let ran = yard.run(&["build", "--output", "docker-archive:out.tar"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("cannot take 2 images"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layout_takes_all_images_by_their_names() {
    let yard = Yard::new().await;
    let steps: String = (0..4).map(|n| step(&format!("step{n}"), &format!("environment: {{N: {n}}}"))).collect();
    configure(&yard, &steps);
    let ran = yard.run(&["build", "--output", "oci:out"]);
    assert_eq!((ran.code, ran.stdout.lines().count()), (0, 5), "{}", ran.stderr);
    let index = std::fs::read(yard.project().join("out/index.json")).unwrap();
    let index: Value = serde_json::from_slice(&index).unwrap();
    let name =
        |manifest: &Value| manifest["annotations"]["org.opencontainers.image.ref.name"].as_str().map(str::to_owned);
    let names: Vec<String> = index["manifests"].as_array().unwrap().iter().filter_map(name).collect();
    assert_eq!(names.len(), 5, "{names:?}");
    assert!(names.contains(&"voyage-step3-orchestrator".to_owned()), "{names:?}");
}
