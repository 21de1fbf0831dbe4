//! What ZenML would do, told by the commands: its Dockerfile, its checksum, and builds taken by either.

use serde_json::{Value, json};

use crate::settings_zenml::golden;
use crate::support::yard::{Ran, Yard};

/// The binary with a ledger of its own and nothing of ours but the parent.
fn run(yard: &Yard, arguments: &[&str]) -> Ran {
    let mut command = yard.command("store");
    command.args(arguments).env("LAPSTRAKE_LEDGER", yard.path("ledger.db"));
    command.output().unwrap().into()
}

fn configure(yard: &Yard, docker: &Value, native: Value) {
    yard.write("lapstrake.yaml", json!({"settings": {"docker": docker}, "lapstrake": native}).to_string());
}

fn dockerfile(yard: &Yard, flags: &[&str]) -> String {
    let ran = run(yard, &[&["plan", "--dockerfile"], flags].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    ran.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_prints_the_dockerfile_that_zenml_would_write_and_asks_nobody() {
    let yard = Yard::new().await;
    let docker = json!({
        "parent_image": "registry.example.com:5000/team/base:1.2",
        "requirements": ["numpy<2"],
        "apt_packages": ["git"],
        "environment": {"B": 1, "A": "it's"},
        "user": "zen",
        "python_package_installer_args": {"index-url": "https://me:secret@index.example/simple"},
    });
    configure(&yard, &docker, json!({"stack": {"requirements": ["zenml==0.98.0"]}}));
    yard.requests();
    insta::assert_snapshot!(dockerfile(&yard, &[]), @r"
    FROM registry.example.com:5000/team/base:1.2
    WORKDIR /app
    ENV A='it's'
    ENV B='1'
    RUN apt-get update && apt-get install -y --no-install-recommends 'git'
    RUN pip install uv
    COPY .zenml_stack_integration_requirements .
    RUN uv pip install --no-cache-dir --index-url=https://me:secret@index.example/simple -r .zenml_stack_integration_requirements
    COPY .zenml_user_requirements .
    RUN uv pip install --no-cache-dir --index-url=https://me:secret@index.example/simple -r .zenml_user_requirements
    ENV ZENML_ENABLE_REPO_INIT_WARNINGS=False
    ENV ZENML_CONFIG_PATH=/app/.zenconfig
    COPY . .
    RUN chmod -R a+rw .
    RUN chown -R zen .
    USER zen
    ");
    let corrected = dockerfile(&yard, &["--corrected"]);
    assert!(corrected.contains("ENV A=\"it's\"\n") && !corrected.contains("secret"), "{corrected}");
    assert_eq!(yard.requests(), Vec::<String>::new());
}

/// One of ZenML's outputs; settings as text, since their order counts.
#[derive(serde::Deserialize)]
struct Golden {
    settings: Box<serde_json::value::RawValue>,
    requirements_files: Vec<(String, String)>,
    dockerfile: String,
}

#[derive(serde::Deserialize)]
struct AllGolden {
    dockerfiles: Vec<Golden>,
}

/// Compares what `plan --dockerfile` says of a case with what ZenML said; `false` where the two cannot be compared.
fn compare(yard: &Yard, case: &Golden) -> bool {
    let text = |name: &str| case.requirements_files.iter().find(|file| file.0 == name).map(|file| file.1.as_str());
    let parsed: Value = serde_json::from_str(case.settings.get()).unwrap();
    let lacks = |setting: &str, file: &str| !parsed[setting].is_null() && text(file).is_none();
    if lacks("required_integrations", ".zenml_integration_requirements")
        || lacks("requirements", ".zenml_user_requirements")
    {
        // The Dockerfile was written for other files than those that these settings lead to.
        return false;
    }
    // Of a file that is named, only what it holds is among the outputs.
    if let (Some(file), Some(text)) = (parsed["requirements"].as_str(), text(".zenml_user_requirements")) {
        yard.write(file.trim_start_matches('/'), text);
    }
    let stack = match text(".zenml_stack_integration_requirements") {
        Some(_) => json!({"requirements": ["zenml==0.98.0"]}),
        None => json!({}),
    };
    let settings = case.settings.get();
    yard.write(
        "lapstrake.yaml",
        format!("{{\"settings\": {{\"docker\": {settings}}}, \"lapstrake\": {{\"stack\": {stack}}}}}"),
    );
    // ZenML's orchestrators give an entrypoint in the shell form, which our settings do not have.
    let expected = case.dockerfile.strip_suffix("\nENTRYPOINT python -m app").unwrap_or(&case.dockerfile);
    assert_eq!(dockerfile(yard, &[]).strip_suffix('\n'), Some(expected), "{settings}");
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dockerfiles_are_those_of_zenml_byte_for_byte() {
    let Some(golden) = golden() else { return };
    let golden: AllGolden = serde_json::from_str(&golden).unwrap();
    let yard = Yard::new().await;
    let compared = golden.dockerfiles.iter().filter(|case| compare(&yard, case)).count();
    assert!(compared + 3 >= golden.dockerfiles.len(), "{compared}");
    println!("{compared} of {} Dockerfiles are ZenML's", golden.dockerfiles.len());
}

/// Puts a Python on `PATH` that only says its version.
fn with_python(yard: &Yard, version: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = yard.path("python");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("python3"), format!("#!/bin/sh\necho {version}\n")).unwrap();
    std::fs::set_permissions(folder.join("python3"), std::fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_parent_zenmls_own_for_the_local_python_is_taken_and_said() {
    let yard = Yard::new().await;
    configure(&yard, &json!({"environment": {"A": "1"}}), json!({}));
    let python = with_python(&yard, "3 12");
    let mut command = yard.command("store");
    let ran: Ran = command.args(["plan", "--dockerfile"]).env("PATH", &python).output().unwrap().into();
    assert!(ran.stdout.starts_with("FROM zenmldocker/zenml:0.98.0-py3.12\n"), "{}", ran.stdout);
    assert!(ran.stderr.contains("`parent_image` is not set"), "{}", ran.stderr);
    configure(&yard, &json!({"environment": {"A": "1"}}), json!({"python": {"version": "3.10"}}));
    assert!(dockerfile(&yard, &[]).starts_with("FROM zenmldocker/zenml:0.98.0-py3.10\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_reach_the_requirements_and_no_output_and_a_missing_one_is_an_error() {
    let yard = Yard::new().await;
    yard.write("token", "s3cret\n");
    let docker = json!({
        "parent_image": yard.at("demo/parent:1"),
        "requirements": "r.txt",
    });
    yard.write("r.txt", "numpy @ https://me:${TOKEN}@files.example/numpy-1-py3-none-any.whl\n");
    configure(&yard, &docker, json!({"secrets": {"TOKEN": {"file": "token"}}}));
    let ran = run(&yard, &["requirements", "--files-only"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("files.example/numpy") && !ran.stdout.contains("s3cret"), "{}", ran.stdout);
    configure(&yard, &docker, json!({"secrets": {"TOKEN": {"env": "NOWHERE"}}}));
    let ran = run(&yard, &["requirements", "--files-only"]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("secret `TOKEN`") && ran.stderr.contains("NOWHERE"), "{}", ran.stderr);
}

fn build(yard: &Yard, flags: &[&str]) -> Value {
    let parent = yard.at("demo/parent:1");
    let tag = yard.at("demo/app:latest");
    let ran = run(yard, &[&["--format", "json", "build", "--parent-image", &parent, "--tag", &tag], flags].concat());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str(&ran.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_is_taken_by_its_name_as_long_as_its_images_are_there() {
    let yard = Yard::new().await;
    let first = build(&yard, &[]);
    yard.write("pipeline.py", "edited = True\n");
    yard.requests();
    let taken = build(&yard, &["--build", &first["build"].as_str().unwrap()[..8]]);
    assert_eq!(
        (&taken["build"], &taken["images"][0]["reference"]),
        (&first["build"], &first["images"][0]["reference"])
    );
    assert!(yard.requests().iter().all(|line| line.starts_with("HEAD")), "one HEAD for each image");
    let digest = first["images"][0]["digest"].as_str().unwrap();
    let gone = yard.at(&format!("demo/app@{digest}"));
    assert_eq!(run(&yard, &["delete", "--yes", &gone]).code, 0);
    let ran = run(&yard, &["build", "--tag", &yard.at("demo/app:2"), "--build", first["build"].as_str().unwrap()]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("is gone"), "{}", ran.stderr);
    let unknown = run(&yard, &["build", "--tag", &yard.at("demo/app:2"), "--build", "ffff"]);
    assert_ne!(unknown.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_zenmls_checksum_a_changed_source_is_the_same_build_and_a_changed_setting_is_not() {
    let yard = Yard::new().await;
    // As with ZenML, an image that holds the code is never the one of another build.
    let docker = json!({"requirements": "pylock.toml", "allow_including_files_in_images": false});
    configure(&yard, &docker, json!({}));
    let first = build(&yard, &["--checksum", "zenml"]);
    yard.write("steps/train.py", "RATE = 9\n");
    let again = build(&yard, &["--checksum", "zenml"]);
    assert_eq!((&again["build"], &again["images"][0]["reused"]), (&first["build"], &json!(true)));
    let other = build(&yard, &["--checksum", "zenml", "--env", "NEW=1"]);
    assert_ne!(other["build"], first["build"]);
    let forced = build(&yard, &["--no-reuse"]);
    assert_ne!(forced["build"], first["build"]);
    let listed = run(&yard, &["--format", "json", "builds", "list"]);
    let listed: Value = serde_json::from_str(&listed.stdout).unwrap();
    let checksums: Vec<&Value> = listed["builds"].as_array().unwrap().iter().map(|build| &build["checksum"]).collect();
    assert_eq!(checksums.len(), 3);
    assert!(checksums.iter().all(|checksum| checksum.as_str().is_some_and(|hex| hex.len() == 32)), "{checksums:?}");
}
