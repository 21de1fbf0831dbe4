//! Code in artifact stores, and files that look like secrets.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::fake_git::FakeGit;
use crate::support::fault::{FaultServer, Reply, Seen};
use crate::support::readback::sha256;
use crate::support::yard::{Ran, Yard};

fn configure(yard: &Yard, native: &str) {
    yard.write("lapstrake.yaml", format!("lapstrake: {{{native}}}\n"));
}

fn names(archive: &[u8]) -> Vec<String> {
    let mut read = tar::Archive::new(flate2::read::MultiGzDecoder::new(archive));
    read.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string()).collect()
}

/// The only archive in the folder `artifacts`.
fn archive(yard: &Yard, printed: &Value) -> Vec<u8> {
    let uri = printed["archive"]["uri"].as_str().unwrap();
    assert!(uri.starts_with(&format!("{}/", yard.path("artifacts/code_uploads").display())), "{uri}");
    let bytes = std::fs::read(uri).unwrap();
    let digest = sha256(&bytes);
    assert_eq!(printed["archive"]["digest"], digest);
    assert!(uri.ends_with(&format!("/{}.tar.gz", digest.strip_prefix("sha256:").unwrap())), "{uri}");
    bytes
}

fn plan(yard: &Yard, path: &str) -> Value {
    let mut child = yard.command("store");
    child.args(["plan", "--parent-image", &yard.at("demo/parent:1"), "--tag", &yard.at("demo/app:latest")]);
    let ran: Ran = child.args(["--format", "json"]).env("PATH", path).output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    serde_json::from_str::<Value>(&ran.stdout).unwrap()["images"][0]["sources"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_is_uploaded_once_and_named_by_its_digest() {
    let yard = Yard::new().await;
    configure(&yard, "artifact_store: ../artifacts");
    yard.write("notes and more.txt", "kept");
    let planned = plan(&yard, "/nowhere");
    assert_eq!((&planned["delivery"], &planned["archive"]["isThere"]), (&json!("archive"), &json!(false)));
    assert!(!yard.path("artifacts").exists(), "a plan writes nothing");

    let ran = yard.run_build("store", &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("uploaded the code"), "{}", ran.stderr);
    let bytes = archive(&yard, &planned);
    let names = names(&bytes);
    assert!(
        names.contains(&"notes and more.txt".to_owned()) && names.contains(&"steps/train.py".to_owned()),
        "{names:?}"
    );
    assert!(!names.iter().any(|name| name.starts_with("wheels") || name == ".dockerignore"), "{names:?}");
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.of_kind("sources")[0].files.keys().collect::<Vec<_>>(), ["app"]);
    let annotations = &image.manifest["annotations"];
    assert_eq!(annotations["dev.lapstrake.code.archive"], planned["archive"]["uri"]);
    assert_eq!(annotations["dev.lapstrake.code.digest"], planned["archive"]["digest"]);
    let variable = format!("LAPSTRAKE_CODE_ARCHIVE={}", planned["archive"]["uri"].as_str().unwrap());
    assert!(image.config["config"]["Env"].as_array().unwrap().contains(&json!(variable)));

    let again = yard.run_build("other-store", &[]);
    assert!(!again.stderr.contains("uploaded"), "it is there: {}", again.stderr);
    assert_eq!(plan(&yard, "/nowhere")["archive"]["isThere"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_that_was_lost_is_uploaded_again_for_an_image_that_is_reused() {
    let yard = Yard::new().await;
    configure(&yard, "artifact_store: ../artifacts");
    assert_eq!(yard.build("store", &[])["reused"], false);
    let planned = plan(&yard, "/nowhere");
    std::fs::remove_dir_all(yard.path("artifacts")).unwrap();
    assert_eq!(yard.build("store", &[])["reused"], true);
    archive(&yard, &planned);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_holds_what_git_knows_and_nothing_of_zenmls() {
    let yard = Yard::new().await;
    let git = FakeGit::new(&yard);
    configure(&yard, "artifact_store: ../artifacts");
    yard.write("new file.py", "new");
    yard.write(".zen/config.yaml", "active: x");
    std::os::unix::fs::symlink("/etc/hosts", yard.project().join("abroad")).unwrap();
    git.answers("cached", "pipeline.py\0steps/train.py\0gone.py\0.zen/config.yaml\0abroad\0");
    git.answers("others", "new file.py\0vendored/\0");
    git.answers("ignored", "wheels/\0");
    let planned = plan(&yard, &git.path());
    assert_eq!((&planned["chosenBy"], &planned["out"]), (&json!("git"), &json!(["wheels"])));
    let ran: Ran = yard.build_command("store", &[]).env("PATH", git.path()).output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for warning in ["`vendored` is a repository of its own", "`abroad` leads out of the sources"] {
        assert!(ran.stderr.contains(warning), "{warning}: {}", ran.stderr);
    }
    assert_eq!(names(&archive(&yard, &planned)), ["new file.py", "pipeline.py", "steps/", "steps/train.py"]);
    git.answers("refusal", "fatal: broken\n");
    let refused: Ran = yard.build_command("store", &[]).env("PATH", git.path()).output().unwrap().into();
    assert!(refused.stderr.contains("git does not say which files"), "{}", refused.stderr);
}

/// An S3 that remembers what was put, and asks for a signature of `AKIDTEST`.
fn s3(seen: &Seen, kept: &Mutex<Vec<(String, u64)>>) -> Reply {
    let mut kept = kept.lock().unwrap();
    let is_signed = seen.header("authorization").is_some_and(|text| text.contains("Credential=AKIDTEST/"));
    if !is_signed {
        return Reply::status(403).body("<Error><Code>AccessDenied</Code><Message>canary/5f1c</Message></Error>");
    }
    let length = || seen.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    match seen.method.as_str() {
        "PUT" => {
            kept.push((seen.path().to_owned(), length()));
            Reply::status(200).header("etag", "\"x\"")
        }
        "HEAD" => match kept.iter().find(|(path, _)| path == seen.path()) {
            Some((_, size)) => Reply::status(200)
                .header("content-length", size.to_string())
                .header("etag", "\"x\"")
                .header("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT"),
            None => Reply::status(404),
        },
        _ => Reply::status(400),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_takes_an_archive_once_signed_by_the_identity_of_the_environment() {
    let yard = Yard::new().await;
    let kept: Arc<Mutex<Vec<(String, u64)>>> = Arc::default();
    let bucket = Arc::clone(&kept);
    let server = FaultServer::start(move |seen, _| s3(seen, &bucket)).await;
    configure(&yard, "artifact_store: 's3://bucket/team'");
    let build = |id: &str| {
        let mut child = yard.build_command("store", &["-vv"]);
        child.env("AWS_ENDPOINT_URL_S3", server.url("")).env("AWS_SECRET_ACCESS_KEY", "canary/5f1c");
        let ran: Ran = child.env("AWS_ACCESS_KEY_ID", id).output().unwrap().into();
        assert!(!ran.stderr.contains("canary/5f1c"), "{}", ran.stderr);
        ran
    };
    for _ in 0..2 {
        let ran = build("AKIDTEST");
        assert_eq!(ran.code, 0, "{}", ran.stderr);
    }
    let put = kept.lock().unwrap().clone();
    let [(path, size)] = &put[..] else { panic!("one upload: {put:?}") };
    assert!(path.starts_with("/bucket/team/code_uploads/") && path.ends_with(".tar.gz") && *size > 500, "{put:?}");
    let refused = build("AKIDOTHER");
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("artifact store `s3://bucket/team`"), "{}", refused.stderr);
    let offline: Ran = yard.build_command("store", &["--offline"]).output().unwrap().into();
    assert!(offline.code != 0, "{}", offline.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_look_like_secrets_are_named_in_plan_and_build() {
    let yard = Yard::new().await;
    yard.write(".env", "TOKEN=x");
    yard.write("keys/deploy", "-----BEGIN OPENSSH PRIVATE KEY-----\n");
    let planned = plan(&yard, "/nowhere");
    let expected = json!([
        {"path": ".env", "what": "an environment file"},
        {"path": "keys/deploy", "what": "a private key"},
    ]);
    assert_eq!(planned["secrets"], expected);
    let ran = yard.run_build("store", &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for warning in ["`.env` looks like an environment file", "`keys/deploy` looks like a private key"] {
        assert!(ran.stderr.contains(warning), "{warning}: {}", ran.stderr);
    }
    let strict = yard.run_build("store", &["--strict"]);
    assert_eq!(strict.code, 2, "{}", strict.stderr);
    assert!(strict.stderr.contains("delivered with the code: `.env`, `keys/deploy`"), "{}", strict.stderr);
}
