//! Between repositories and registries: what is copied, under how many names, and beside whom.

use serde_json::{Value, json};

use crate::support::yard::{Ran, Yard, parent_layer};

fn actions(built: &Value) -> Vec<&str> {
    built["layers"].as_array().unwrap().iter().map(|layer| layer["action"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_of_another_registry_is_streamed_to_the_target() {
    let (yard, elsewhere) = (Yard::new().await, Yard::new().await);
    let parent = elsewhere.at("demo/parent:1");
    let built = yard.build("store", &["--parent-image", &parent]);
    assert_eq!(actions(&built), ["copy", "build", "build", "build"]);
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.layers[0].blob, parent_layer());
    let writes: Vec<String> =
        elsewhere.requests().into_iter().filter(|line| !line.starts_with("GET") && !line.starts_with("HEAD")).collect();
    assert_eq!(writes, Vec::<String>::new(), "nothing is written where the parent is");
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_of_a_cache_image_in_another_registry_are_streamed() {
    let (yard, elsewhere) = (Yard::new().await, Yard::new().await);
    let parent = elsewhere.at("demo/parent:1");
    let first = elsewhere.build("store", &["--parent-image", &parent]);
    std::fs::remove_dir_all(yard.project().join("wheels")).unwrap();
    let cache = elsewhere.at("demo/app:latest");
    let built = yard.build("store", &["--parent-image", &parent, "--cache-from", &cache]);
    assert_eq!(actions(&built), ["copy"; 4]);
    assert_eq!(built["digest"], first["digest"]);
    yard.pull("demo/app:latest").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_names_of_one_repository_stand_for_the_image() {
    let yard = Yard::new().await;
    let names = ["--tag", &yard.at("demo/app:one"), "--tag", &yard.at("demo/app:two")];
    let built = yard.build("store", &names);
    for name in ["demo/app:one", "demo/app:two"] {
        assert_eq!(built["digest"], yard.pull(name).await.digest.as_str());
    }
    assert_eq!(yard.build("empty", &names)["reused"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_two_repositories_both_hold_the_whole_image() {
    let yard = Yard::new().await;
    let names = ["--tag", &yard.at("demo/app:1"), "--tag", &yard.at("team/mirror:1")];
    for settings in [None, Some("settings: {docker: {parent_image: x, skip_build: true}}\n")] {
        if let Some(settings) = settings {
            yard.write("lapstrake.yaml", settings);
        }
        let built = yard.build("store", &names);
        for name in ["demo/app:1", "team/mirror:1"] {
            assert_eq!(built["digest"], yard.pull(name).await.digest.as_str());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn locked_installs_the_lock_of_the_source_root_and_nothing_else() {
    let yard = Yard::new().await;
    yard.write("lapstrake.yaml", "settings: {docker: {requirements: [never-asked-for]}}\n");
    let built = yard.build("store", &["--locked"]);
    let kinds: Vec<&Value> = built["layers"].as_array().unwrap().iter().map(|layer| &layer["kind"]).collect();
    assert_eq!(json!(kinds), json!(["parent", "python", "python", "sources"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn builds_beside_a_prune_in_a_loop_do_not_fail() {
    let yard = Yard::new().await;
    let expected = yard.build("expected", &[]);
    let (mut rounds, mut children) = (0, Vec::new());
    for round in 0..6 {
        let tag = yard.at(&format!("demo/app{round}:1"));
        children.push(yard.build_command("store", &["--no-cache", "--format", "json", "--tag", &tag]).spawn().unwrap());
    }
    while children.iter_mut().any(|child| child.try_wait().unwrap().is_none()) {
        let pruned: Ran = yard.command("store").args(["cache", "prune", "--all"]).output().unwrap().into();
        assert_eq!(pruned.code, 0, "{}", pruned.stderr);
        rounds += 1;
    }
    for child in children {
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(printed["images"][0]["digest"], expected["digest"]);
    }
    println!("6 builds beside {rounds} prunes");
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_is_a_table_that_people_read() {
    let yard = Yard::new().await;
    let plan = || {
        let mut command = yard.command("store");
        command.args(["plan", "--parent-image", &yard.at("demo/parent:1"), "--tag", &yard.at("demo/app:latest")]);
        let ran: Ran = command.output().unwrap().into();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let project = yard.project().display().to_string();
        ran.stdout.replace(&yard.domain(), "HOST").replace(&project, "PROJECT")
    };
    let first = plan();
    yard.build("store", &[]);
    yard.write("pipeline.py", "print('changed')\n");
    insta::assert_snapshot!(format!("{first}\n{}", plan()), @"
    image   HOST/demo/app:latest
    parent  HOST/demo/parent:1 @ 9a37aa2b6b8d
    why     3 packages for Python 3.11
    code    in the image, from PROJECT
    in      6 files, 1.7 kB: pylock.toml 1.1 kB, lapstrake.yaml 277 B, steps 178 B, pipeline.py 115 B
    out     by .dockerignore: .dockerignore, wheels

           LAYER                              SIZE  FETCH
    MOUNT  1 layer of the parent            8.7 kB
    BUILD  treenail 5.0.0                 ~44.7 kB
    BUILD  keelson 2.1.0, oarlock 0.3.1  ~147.5 kB
    BUILD  sources: 6 files in /app        ~1.7 kB

    linux/amd64: 0 B to fetch, about 193.9 kB to push; 4 layers

    image   HOST/demo/app:latest
    parent  HOST/demo/parent:1 @ 9a37aa2b6b8d
    why     requirements and parent are as they were: the Python layers of the last build stand
    code    in the image, from PROJECT
    in      6 files, 1.6 kB: pylock.toml 1.1 kB, lapstrake.yaml 277 B, steps 178 B, pipeline.py 17 B
    out     by .dockerignore: .dockerignore, wheels

           LAYER                             SIZE  FETCH
    HIT    1 layer of the parent           8.7 kB
    HIT    treenail 5.0.0                 44.8 kB
    HIT    keelson 2.1.0, oarlock 0.3.1  148.5 kB
    BUILD  sources: 6 files in /app       ~1.6 kB

    linux/amd64: 0 B to fetch, about 1.6 kB to push; 4 layers
    ");
}
