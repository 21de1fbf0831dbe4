//! Builds that need a backend: what it makes stands below or between layers of ours, and is made once.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::sample_backend;
use crate::support::yard::{Ran, Yard};

/// Puts the sample backend into the yard's folder `bin`; `false` where there is no Python to run it.
fn with_sample(yard: &Yard) -> bool {
    let Some(script) = sample_backend::script() else { return false };
    let path = yard.path("bin").join(sample_backend::NAME);
    std::fs::create_dir_all(yard.path("bin")).unwrap();
    std::fs::write(&path, script).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    true
}

fn run(yard: &Yard, store: &str, arguments: &[&str]) -> Ran {
    let tag = yard.at("demo/app:latest");
    let mut command = yard.command(store);
    command.args(["--format", "json"]).args(arguments).args(["--tag", &tag]).env("PATH", yard.path("bin"));
    command.output().unwrap().into()
}

fn done(ran: Ran) -> Value {
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str::<Value>(&ran.stdout).unwrap()["images"][0].clone()
}

fn configure(yard: &Yard, docker: &Value) {
    let mut docker = docker.clone();
    if docker["dockerfile"].is_null() {
        docker["parent_image"] = json!(yard.at("demo/parent:1"));
    }
    yard.write("lapstrake.yaml", json!({"settings": {"docker": docker}}).to_string());
}

/// The commands that the sample backend was to run, by what it left in the image.
fn commands(image: &crate::support::readback::Image) -> Vec<String> {
    let history = image.config["history"].as_array().unwrap().iter();
    let lines = history.filter_map(|entry| entry["created_by"].as_str());
    lines.filter(|line| line.contains("RUN")).map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn apt_packages_are_installed_below_our_layers_and_not_again_for_an_edit() {
    let yard = Yard::new().await;
    if !with_sample(&yard) {
        return;
    }
    configure(&yard, &json!({"apt_packages": ["git", "curl", "git"], "requirements": "pylock.toml"}));
    let plan = done(run(&yard, "store", &["plan"]));
    assert_eq!(plan["segments"][0]["backend"], "sample");
    done(run(&yard, "store", &["build"]));
    let image = yard.pull("demo/app:latest").await;
    let ran = commands(&image);
    assert!(ran.len() == 1 && ran[0].contains("'curl' 'git'") && ran[0].contains("--no-install-recommends"), "{ran:?}");
    yard.write("steps/train.py", "RATE = 3\n");
    std::fs::remove_dir_all(yard.path("bin")).unwrap();
    let again = run(&yard, "other-machine", &["plan"]);
    assert_eq!(done(again)["segments"][0]["backend"], Value::Null, "the target repository remembers it");
    done(run(&yard, "other-machine", &["build"]));
    let edited = yard.pull("demo/app:latest").await;
    assert_eq!(edited.layer_digests()[..2], image.layer_digests()[..2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dockerfile_is_built_first_and_is_the_parent() {
    let yard = Yard::new().await;
    if !with_sample(&yard) {
        return;
    }
    let parent = yard.at("demo/parent:1");
    yard.write("Dockerfile", format!("FROM {parent}\nRUN make world\n"));
    configure(&yard, &json!({"dockerfile": "Dockerfile", "requirements": "pylock.toml"}));
    let plan = run(&yard, "store", &["plan"]);
    let planned = done(plan);
    assert_eq!((&planned["segments"][0]["backend"], &planned["layers"]), (&json!("sample"), &json!([])));
    done(run(&yard, "store", &["build"]));
    let image = yard.pull("demo/app:latest").await;
    assert!(commands(&image)[0].contains("make world"));
    assert!(image.file("app/pipeline.py").is_some(), "our layers stand on it");
    let reused = done(run(&yard, "store", &["build"]));
    assert_eq!(reused["reused"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_dockerfile_of_the_settings_a_backend_gets_just_the_lines_that_need_one_and_no_edit_runs_them_again() {
    let yard = Yard::new().await;
    if !with_sample(&yard) {
        return;
    }
    let parent = yard.at("demo/parent:1");
    yard.write(
        "Dockerfile",
        format!(
            "FROM {parent}\nARG WHAT\nRUN make $WHAT\nWORKDIR /srv\nCOPY tools.txt ./\nRUN make again\n\
             COPY app.py /opt/\nENV LAST=1\n"
        ),
    );
    yard.write("tools.txt", "spanner\n");
    yard.write("app.py", "RATE = 1\n");
    let options = json!({"buildargs": {"WHAT": "world"}, "labels": {"ship": "Vasa"}});
    configure(
        &yard,
        &json!({
            "dockerfile": "Dockerfile", "build_context_root": ".", "requirements": "pylock.toml",
            "parent_image_build_config": {"build_options": options},
        }),
    );
    let how = |plan: &Value| -> Vec<String> {
        let steps = plan["instructions"].as_array().unwrap().iter();
        steps.map(|step| step["how"].as_str().unwrap().to_owned()).collect()
    };
    let plan = done(run(&yard, "store", &["plan"]));
    assert_eq!(how(&plan), ["native", "backend", "native", "native", "backend", "native", "native"], "{plan}");
    done(run(&yard, "store", &["build"]));
    let image = yard.pull("demo/app:latest").await;
    let ran = commands(&image);
    assert!(ran.len() == 2 && ran[0].contains("make world") && ran[1].contains("make again"), "{ran:?}");
    assert_eq!(
        (image.file("opt/app.py").unwrap().text(), image.file("srv/tools.txt").unwrap().text()),
        ("RATE = 1\n", "spanner\n")
    );
    assert!(image.file("app/pipeline.py").is_some(), "our layers stand on it");
    assert_eq!(image.config["config"]["Labels"]["ship"], "Vasa");

    // An edit costs the layers that it is in: no backend is there to ask, on a machine that has nothing.
    std::fs::rename(yard.path("bin"), yard.path("away")).unwrap();
    yard.write("app.py", "RATE = 2\n");
    yard.write("steps/train.py", "RATE = 3\n");
    done(run(&yard, "other-machine", &["build"]));
    let edited = yard.pull("demo/app:latest").await;
    assert_eq!(edited.file("opt/app.py").unwrap().text(), "RATE = 2\n");
    let kept = edited.layer_digests().iter().filter(|layer| image.layer_digests().contains(layer)).count();
    assert_eq!((edited.layers.len(), kept), (image.layers.len(), image.layers.len() - 2), "one a file");

    // What stands before a command is the command's.
    yard.write("tools.txt", "hammer\n");
    let refused = run(&yard, "other-machine", &["build"]);
    assert!(refused.code == 1 && refused.stderr.contains("`RUN make again` needs a backend"), "{}", refused.stderr);
    std::fs::rename(yard.path("away"), yard.path("bin")).unwrap();
    assert_eq!(how(&done(run(&yard, "other-machine", &["plan"])))[1], "reused");
    done(run(&yard, "other-machine", &["build"]));
    let last = yard.pull("demo/app:latest").await;
    assert_eq!(last.layer_digests()[..2], image.layer_digests()[..2], "the first command is not run again");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_backend_a_segment_that_the_target_lacks_is_told_of_before_any_layer_is_fetched() {
    let yard = Yard::new().await;
    if !with_sample(&yard) {
        return;
    }
    let parent = yard.at("demo/parent:1");
    let origin = yard.at("demo/origin:1");
    yard.push_parent_with("demo/origin:1", &[("etc/motto", "fair winds\n")], |_| {}).await;
    yard.write(
        "Dockerfile",
        format!(
            "FROM {parent} AS tools\nCOPY tools.txt /srv/\nFROM {parent}\nRUN make first\n\
             COPY --from={origin} /etc/motto /etc/motto\nCOPY --from=tools /srv /srv\nRUN make second\nCOPY app.py /\n\
             FROM {parent} AS other\nCOPY app.py /\nRUN make third\n"
        ),
    );
    yard.write("tools.txt", "spanner\n");
    yard.write("app.py", "RATE = 1\n");
    let file = ["build", "-f", "Dockerfile", "--target"];
    done(run(&yard, "store", &[&file[..], &["1"]].concat()));
    std::fs::rename(yard.path("bin"), yard.path("away")).unwrap();
    std::fs::create_dir(yard.path("bin")).unwrap();
    // Of a plan that fails nothing is left in the store but documents and indexes.
    let refused = |store: &str, target: &str, told: &str| {
        yard.requests();
        let ran = run(&yard, store, &[&file[..], &[target]].concat());
        assert!(ran.code == 1 && ran.stderr.contains(told), "{}", ran.stderr);
        yard.requests()
    };
    let layers: Vec<String> = [yard.pull("demo/parent:1").await, yard.pull("demo/origin:1").await]
        .iter()
        .flat_map(|image| image.layer_digests().into_iter().map(|digest| digest.to_string()).collect::<Vec<_>>())
        .collect();
    let fetched = |requests: &[String]| {
        requests.iter().any(|line| line.starts_with("GET") && layers.iter().any(|layer| line.contains(layer.as_str())))
    };
    yard.write("app.py", "RATE = 2\n");
    yard.requests();
    done(run(&yard, "second", &[&file[..], &["1"]].concat()));
    assert!(!fetched(&yard.requests()), "what is in the images is found beside the target");
    yard.write("tools.txt", "hammer\n");
    assert!(!fetched(&refused("third", "1", "Dockerfile:7: `RUN make second` needs a backend")));
    assert!(!fetched(&refused("fourth", "other", "Dockerfile:11: `RUN make third` needs a backend")));
    yard.write("tools.txt", "spanner\n");
    let text = std::fs::read_to_string(yard.project().join("Dockerfile")).unwrap();
    yard.write("Dockerfile", text.replace("make first", "make zeroth"));
    assert!(!fetched(&refused("fifth", "1", "Dockerfile:4: `RUN make zeroth` needs a backend")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stage_made_upon_a_segment_is_copied_on_a_fresh_machine_without_the_segments_layers() {
    let yard = Yard::new().await;
    if !with_sample(&yard) {
        return;
    }
    let parent = yard.at("demo/parent:1");
    yard.write(
        "Dockerfile",
        format!(
            "FROM {parent} AS builder\nRUN make tool\nCOPY app.py /srv/app.py\nFROM {parent}\n\
             COPY --from=builder /srv /srv\n"
        ),
    );
    yard.write("app.py", "RATE = 1\n");
    done(run(&yard, "store", &["build", "-f", "Dockerfile"]));
    yard.write("app.py", "RATE = 2\n");
    let plan = done(run(&yard, "store", &["plan", "-f", "Dockerfile"]));
    let segment = plan["segments"][0]["reference"].as_str().unwrap().replace(&yard.at(""), "");
    std::fs::remove_dir_all(yard.path("bin")).unwrap();
    yard.requests();
    done(run(&yard, "other-machine", &["build", "-f", "Dockerfile"]));
    let requests = yard.requests();
    let layers = [yard.pull("demo/parent:1").await, yard.pull(&segment).await].map(|image| image.layer_digests());
    let is_fetched = |digest: &String| requests.iter().any(|line| line.starts_with("GET") && line.contains(digest));
    assert!(!layers.concat().iter().any(is_fetched), "{requests:?}");
    assert_eq!(yard.pull("demo/app:latest").await.file("srv/app.py").unwrap().text(), "RATE = 2\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_installs_the_project_runs_upon_the_sources_and_below_what_comes_last() {
    let yard = Yard::new().await;
    if !with_sample(&yard) {
        return;
    }
    let docker = json!({
        "requirements": "pylock.toml",
        "local_project_install_command": "make install",
        "user": "1000",
        "runtime_environment": {"LAST": "1"},
    });
    configure(&yard, &docker);
    let plan = done(run(&yard, "store", &["plan"]));
    assert_eq!(plan["segments"][0]["title"], "local project `make install`");
    done(run(&yard, "store", &["build"]));
    let image = yard.pull("demo/app:latest").await;
    let ran = commands(&image);
    assert!(ran.len() == 2 && ran[0].contains("make install") && ran[1].contains("chown -R 1000 ."), "{ran:?}");
    assert!(image.file("app/pipeline.py").is_some());
    assert_eq!(image.config["config"]["User"], "1000");
    let variables = image.config["config"]["Env"].as_array().unwrap();
    assert_eq!(variables.last().unwrap(), "LAST=1");
    std::fs::remove_dir_all(yard.path("bin")).unwrap();
    let again = done(run(&yard, "other-machine", &["build"]));
    assert_eq!(again["reused"], true, "all of it is found again, without a backend");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_backend_the_error_says_what_needs_one_and_nothing_is_moved() {
    let yard = Yard::new().await;
    std::fs::create_dir_all(yard.path("bin")).unwrap();
    for (docker, instruction) in [
        (json!({"apt_packages": ["git"]}), "`apt_packages` needs a backend"),
        (json!({"local_project_install_command": "make install"}), "`make install` needs a backend"),
    ] {
        configure(&yard, &docker);
        yard.requests();
        for command in ["plan", "build"] {
            let ran = run(&yard, "store", &[command]);
            assert_ne!(ran.code, 0);
            assert!(ran.stderr.contains(instruction) && ran.stderr.contains("hint:"), "{}", ran.stderr);
        }
        assert!(!yard.requests().iter().any(|line| line.starts_with("PUT") && line.contains("manifests/latest")));
    }
}
