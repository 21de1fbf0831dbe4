//! The first build: everything is made and pushed, and the image holds what it should.

use serde_json::{Value, json};

use crate::support::parents::SITE;
use crate::support::readback::{Image, sha256};
use crate::support::wheel_maker::WheelMaker;
use crate::support::yard::{FIXTURES, Yard, changed_config, parent_layer};

/// Builds the demo's project and pulls the result.
async fn demo(yard: &Yard, flags: &[&str]) -> Image {
    let built = yard.build("store", flags);
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(built["digest"], image.digest.as_str());
    image
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{FIXTURES}/project/{name}")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn first_build_makes_and_pushes_everything() {
    let yard = Yard::new().await;
    let built = yard.build("store", &[]);
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(built["digest"], image.digest.as_str());
    assert_eq!(built["reference"], format!("{}@{}", yard.at("demo/app"), image.digest));
    assert_eq!(built["reused"], false);
    assert_eq!(built["platforms"], json!(["linux/amd64"]));
    let layers: Vec<(&str, &str)> = built["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| (layer["kind"].as_str().unwrap(), layer["action"].as_str().unwrap()))
        .collect();
    assert_eq!(layers, [("parent", "mount"), ("python", "build"), ("python", "build"), ("sources", "build")]);
    let digests: Vec<Value> = image.layer_digests().into_iter().map(Value::from).collect();
    let told: Vec<Value> = built["layers"].as_array().unwrap().iter().map(|layer| layer["digest"].clone()).collect();
    assert_eq!(told, digests);
    assert_eq!(image.layers[0].blob, parent_layer());
    assert_eq!(built["bytes"]["mounted"], parent_layer().len());
    assert!(built["bytes"]["uploaded"].as_u64().unwrap() > 150_000, "{built}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wheels_are_installed_as_an_installer_leaves_them() {
    let yard = Yard::new().await;
    let image = demo(&yard, &[]).await;
    let record = image.file(&format!("{SITE}/oarlock-0.3.1.dist-info/RECORD")).unwrap().text().to_owned();
    let rows: Vec<&str> = record.lines().collect();
    let script = image.file("usr/local/bin/oarlock").unwrap();
    assert_eq!((script.mode, script.uid, script.gid), (0o755, 0, 0));
    assert_eq!(script.text().lines().next().unwrap(), "#!/usr/local/bin/python");
    assert!(script.text().contains("from oarlock.main import run"), "{}", script.text());
    assert!(rows.iter().any(|row| row.starts_with("../../../bin/oarlock,sha256=")), "{record}");
    for name in ["INSTALLER", "REQUESTED"] {
        assert!(rows.iter().any(|row| row.contains(&format!(".dist-info/{name},"))), "{record}");
    }
    assert_eq!(image.file(&format!("{SITE}/oarlock-0.3.1.dist-info/INSTALLER")).unwrap().text(), "uv");
    for row in rows.iter().filter(|row| row.contains("sha256=")) {
        let mut cells = row.split(',');
        let path = cells.next().unwrap();
        let path = path.strip_prefix("../../../").map_or(format!("{SITE}/{path}"), |up| format!("usr/local/{up}"));
        let file = image.file(&path).unwrap_or_else(|| panic!("`{path}` of RECORD is not in the image"));
        assert_eq!(cells.nth(1), Some(file.content.len().to_string().as_str()), "{row}");
    }
    // The parent has it in this version.
    assert!(image.file(&format!("{SITE}/rowlock/__init__.py")).is_none());
    assert!(image.file(&format!("{SITE}/keelson/part_23.py")).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_have_the_users_owner_and_the_modes_of_a_shared_folder() {
    let yard = Yard::new().await;
    yard.write("run.sh", "#!/bin/sh\n");
    let script = yard.project().join("run.sh");
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    std::os::unix::fs::symlink("pipeline.py", yard.project().join("main.py")).unwrap();
    let image = demo(&yard, &[]).await;
    let [sources] = image.of_kind("sources")[..] else { panic!("one source layer") };
    let app = &sources.files["app"];
    assert_eq!((app.kind, app.mode, app.uid, app.gid), (tar::EntryType::Directory, 0o777, 1000, 0));
    let pipeline = &sources.files["app/pipeline.py"];
    assert_eq!((pipeline.mode, pipeline.uid, pipeline.gid), (0o666, 1000, 0));
    assert_eq!(pipeline.content, fixture("pipeline.py"));
    assert_eq!(sources.files["app/run.sh"].mode, 0o777);
    assert_eq!(sources.files["app/steps"].kind, tar::EntryType::Directory);
    let link = &sources.files["app/main.py"];
    assert_eq!((link.kind, link.text()), (tar::EntryType::Symlink, "pipeline.py"));
    assert!(!sources.files.keys().any(|path| path.contains("wheels")), "the ignore file names them");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_layer_brings_its_parent_directories_as_the_parent_has_them() {
    let yard = Yard::new().await;
    let image = demo(&yard, &[]).await;
    for layer in image.of_kind("python") {
        for path in ["usr", "usr/local", "usr/local/lib", "usr/local/lib/python3.11", SITE] {
            let directory = &layer.files[path];
            assert_eq!((directory.kind, directory.mode), (tar::EntryType::Directory, 0o755), "{path}");
            assert_eq!((directory.uid, directory.gid), (0, 0), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn config_has_what_the_settings_ask_for_and_what_the_parent_had() {
    let yard = Yard::new().await;
    let image = demo(&yard, &["--env", "depth=12"]).await;
    let config = &image.config["config"];
    assert_eq!(
        config["Env"],
        json!([
            "PATH=/usr/local/bin:/usr/bin:/bin",
            "PYTHON_VERSION=3.11.9",
            "GREETING=ahoy",
            "DEPTH=12",
            "ZENML_ENABLE_REPO_INIT_WARNINGS=False",
            "ZENML_CONFIG_PATH=/app/.zenconfig",
        ])
    );
    assert_eq!(config["User"], "zen");
    assert_eq!(config["WorkingDir"], "/app");
    assert_eq!(config["Entrypoint"], json!(["python3", "pipeline.py"]));
    assert!(config["Cmd"].is_null(), "a new entrypoint forgets the parent's command");
    assert_eq!(image.config["created"], "2024-01-01T00:00:00Z");
    let annotations = &image.manifest["annotations"];
    assert_eq!(annotations["org.opencontainers.image.base.name"], yard.at("demo/parent:1"));
    let parent = yard.digest_of("demo/parent:1").await.unwrap().to_string();
    assert_eq!(annotations["org.opencontainers.image.base.digest"], parent);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_says_what_each_layer_is() {
    let yard = Yard::new().await;
    let image = demo(&yard, &[]).await;
    let history = image.config["history"].as_array().unwrap();
    assert_eq!(history[0]["created_by"], "fixtures/demo/make.py");
    let layers: Vec<&str> = history
        .iter()
        .skip(1)
        .filter(|entry| entry["empty_layer"] != true)
        .map(|entry| entry["created_by"].as_str().unwrap())
        .collect();
    assert_eq!(layers.len(), 3);
    for (line, title) in
        layers.iter().zip(["treenail 5.0.0", "keelson 2.1.0, oarlock 0.3.1", "sources: 6 files in /app"])
    {
        assert!(line.contains(title), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_of_both_sections_come_beside_the_parents() {
    let yard = Yard::new().await;
    let config = changed_config(|config| config["config"]["Labels"] = json!({"a": "parent", "b": "parent"}));
    yard.push_image("demo/labelled:1", &[&parent_layer()], &config).await;
    yard.write(
        "lapstrake.yaml",
        "settings:\n  docker:\n    build_config:\n      build_options: {labels: {b: docker}}\nlapstrake:\n  labels: {c: own}\n",
    );
    let image = demo(&yard, &["--parent-image", &yard.at("demo/labelled:1")]).await;
    assert_eq!(image.config["config"]["Labels"], json!({"a": "parent", "b": "docker", "c": "own"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn source_date_epoch_is_the_time_of_the_image() {
    let yard = Yard::new().await;
    let ran = yard.build_command("store", &[]).env("SOURCE_DATE_EPOCH", "1700000000").output().unwrap();
    assert!(ran.status.success());
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.config["created"], "2023-11-14T22:13:20Z");
    let history = image.config["history"].as_array().unwrap();
    assert_eq!(history.last().unwrap()["created"], "2023-11-14T22:13:20Z");
    assert_eq!(history[0]["created"], "2024-01-01T00:00:00Z");
    assert_eq!(image.manifest["annotations"]["org.opencontainers.image.created"], "2023-11-14T22:13:20Z");
    for layer in image.layers.iter().skip(1) {
        assert!(layer.files.values().all(|file| file.mtime == 315_532_800), "no clock reaches a layer");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replaced_distribution_is_whited_out_and_a_satisfied_one_is_kept() {
    let yard = Yard::new().await;
    let old = format!("{SITE}/keel-1.0.dist-info");
    let kept = format!("{SITE}/stem-1.0.dist-info");
    let files = [
        (format!("{SITE}/keel/__init__.py"), "old = 1\n".to_owned()),
        (format!("{SITE}/keel/gone.py"), "gone = 1\n".to_owned()),
        (format!("{SITE}/stem/__init__.py"), String::new()),
        (format!("{old}/METADATA"), "Metadata-Version: 2.1\nName: keel\nVersion: 1.0\n".into()),
        (
            format!("{old}/RECORD"),
            "keel/__init__.py,,\nkeel/gone.py,,\nkeel-1.0.dist-info/METADATA,,\nkeel-1.0.dist-info/RECORD,,\n".into(),
        ),
        (format!("{kept}/METADATA"), "Metadata-Version: 2.1\nName: stem\nVersion: 1.0\n".into()),
        (
            format!("{kept}/RECORD"),
            "stem/__init__.py,,\nstem-1.0.dist-info/METADATA,,\nstem-1.0.dist-info/RECORD,,\n".into(),
        ),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    yard.push_parent_with("demo/parent:1", &files, |_| ()).await;
    let keel = WheelMaker::new("keel", "2.0").file("keel/__init__.py", "new = 2\n");
    let stem = WheelMaker::new("stem", "1.0").file("stem/__init__.py", "");
    yard.lock(&[&keel, &stem]);
    let image = demo(&yard, &[]).await;
    let [removals] = image.of_kind("removals")[..] else { panic!("one layer of whiteouts") };
    let whiteouts: Vec<&String> = removals.files.keys().filter(|path| path.contains(".wh.")).collect();
    assert_eq!(whiteouts, [&format!("{SITE}/.wh.keel"), &format!("{SITE}/.wh.keel-1.0.dist-info")]);
    let [python] = image.of_kind("python")[..] else { panic!("one layer of wheels") };
    assert_eq!(python.files[&format!("{SITE}/keel/__init__.py")].text(), "new = 2\n");
    assert!(!python.files.keys().any(|path| path.contains("stem")), "the parent satisfies it");
    let kinds: Vec<&str> = image.layers.iter().map(|layer| layer.annotation("dev.lapstrake.layer.kind")).collect();
    assert_eq!(kinds, ["", "", "removals", "python", "sources"], "what goes is below what comes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_family_parent_goes_into_an_oci_manifest() {
    let yard = Yard::new().await;
    let types = [
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ];
    let config = crate::support::yard::parent_config();
    yard.push_image_as("demo/parent:1", &[&parent_layer()], &config, types).await;
    let image = demo(&yard, &[]).await;
    assert_eq!(image.manifest["mediaType"], "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(image.manifest["config"]["mediaType"], "application/vnd.oci.image.config.v1+json");
    let types: Vec<&str> = image.layers.iter().map(|layer| layer.descriptor["mediaType"].as_str().unwrap()).collect();
    assert_eq!(types, ["application/vnd.oci.image.layer.v1.tar+gzip"; 4]);
    assert_eq!(image.layers[0].descriptor["digest"], sha256(&parent_layer()));
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_of_the_parents_config_that_nobody_knows_survive() {
    let yard = Yard::new().await;
    let config = changed_config(|config| {
        config["config"]["Healthcheck"] = json!({"Test": ["CMD", "true"], "Interval": 30_000_000_000_u64});
        config["config"]["OnBuild"] = json!(["RUN echo"]);
        config["config"]["Volumes"] = json!({"/data": {}});
        config["moby.future"] = json!({"deep": [1, {"x": null}]});
        config["author"] = json!("somebody");
    });
    yard.push_image("demo/parent:1", &[&parent_layer()], &config).await;
    let image = demo(&yard, &[]).await;
    let parent: Value = serde_json::from_slice(&config).unwrap();
    for name in ["moby.future", "author", "os", "architecture"] {
        assert_eq!(image.config[name], parent[name], "{name}");
    }
    for name in ["Healthcheck", "OnBuild", "Volumes"] {
        assert_eq!(image.config["config"][name], parent["config"][name], "{name}");
    }
}
