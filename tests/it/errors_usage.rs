//! What is wrong in the settings and on the command line: exit code 2, before anything is asked of a registry.

use crate::errors::{build_fails, failed, told, yard};
use crate::support::yard::{Ran, Yard};

/// Runs the build with this configuration; it has to fail as a usage error, without one request.
async fn refused(yard: &Yard, settings: &str, flags: &[&str]) -> String {
    yard.write("lapstrake.yaml", settings);
    let ran = yard.run_build("store", &[&["--quiet"], flags].concat());
    assert_eq!(yard.requests(), Vec::<String>::new());
    failed(yard, ran, 2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_key() {
    let yard = yard().await;
    let text = refused(&yard, "settings:\n  docker:\n    requirments: pylock.toml\n", &[]).await;
    insta::assert_snapshot!(text, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_supported_yet() {
    let yard = yard().await;
    let text = refused(&yard, "settings:\n  docker:\n    apt_packages: [git]\n", &[]).await;
    insta::assert_snapshot!(text, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_is_not_set() {
    let yard = yard().await;
    let text = refused(&yard, "settings:\n  docker:\n    environment:\n      KEY: ${NOWHERE}\n", &[]).await;
    insta::assert_snapshot!(text, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_no_yaml() {
    let yard = yard().await;
    let text = refused(&yard, "settings: [\n", &[]).await;
    insta::assert_snapshot!(text, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_not_there() {
    let yard = yard().await;
    let text = build_fails(&yard, &["--config", "nowhere.yaml"], 2).await;
    insta::assert_snapshot!(text, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_a_digest() {
    let yard = yard().await;
    let digest = yard.digest_of("demo/app:latest").await.unwrap();
    yard.requests();
    let text = build_fails(&yard, &["--tag", &format!("{}@{digest}", yard.at("demo/app"))], 2).await;
    insta::assert_snapshot!(text.replace(digest.as_str(), "DIGEST"), @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_target() {
    let yard = yard().await;
    let mut command = yard.command("store");
    let ran: Ran = command.args(["build", "-q", "--parent-image", &yard.at("demo/parent:1")]).output().unwrap().into();
    let text = failed(&yard, ran, 2).await;
    insta::assert_snapshot!(text, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_parent() {
    let yard = yard().await;
    let mut command = yard.command("store");
    let ran: Ran = command.args(["build", "-q", "--tag", &yard.at("demo/app:latest")]).output().unwrap().into();
    let text = failed(&yard, ran, 2).await;
    insta::assert_snapshot!(text, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn skip_build_without_a_parent() {
    let yard = yard().await;
    let text = refused(&yard, "settings:\n  docker:\n    skip_build: true\n", &[]).await;
    insta::assert_snapshot!(text, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_that_is_none() {
    let yard = yard().await;
    let text = refused(&yard, "", &["--parent-image", "Not/A Reference"]).await;
    insta::assert_snapshot!(text, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_none() {
    let yard = yard().await;
    let text = refused(&yard, "", &["--output", "zip:x"]).await;
    insta::assert_snapshot!(text, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_of_the_wrong_form() {
    let yard = yard().await;
    let text = refused(&yard, "", &["--env", "NAME"]).await;
    insta::assert_snapshot!(text, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_is_none() {
    let yard = yard().await;
    let mut command = yard.build_command("store", &["--quiet"]);
    let ran: Ran = command.env("SOURCE_DATE_EPOCH", "yesterday").output().unwrap().into();
    let text = failed(&yard, ran, 2).await;
    insta::assert_snapshot!(text, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_misspelt_flag_gets_a_suggestion() {
    let yard = yard().await;
    let text = build_fails(&yard, &["--platfrom", "linux/amd64"], 2).await;
    assert!(text.contains("unexpected argument '--platfrom'") && text.contains("'--platform'"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_requirements_file_that_is_not_there() {
    let yard = yard().await;
    let text = build_fails(&yard, &["--requirements", "requirements.txt"], 2).await;
    insta::assert_snapshot!(text, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_not_there() {
    let yard = yard().await;
    std::fs::remove_file(yard.project().join("pylock.toml")).unwrap();
    let named = build_fails(&yard, &[], 2).await;
    insta::assert_snapshot!(named, @"");
    let demanded = build_fails(&yard, &["--locked"], 2).await;
    insta::assert_snapshot!(demanded, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_a_merge_left_damaged() {
    let yard = yard().await;
    yard.write("pylock.toml", "lock-version = \"1.0\"\n<<<<<<< HEAD\npackages = []\n");
    let text = build_fails(&yard, &[], 2).await;
    insta::assert_snapshot!(text, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ignore_file_that_is_not_there() {
    let yard = yard().await;
    let settings = "settings:\n  docker:\n    build_config:\n      dockerignore: nowhere\n";
    let text = refused(&yard, settings, &[]).await;
    insta::assert_snapshot!(text, @"");
}

#[tokio::test(flavor = "multi_thread")]
async fn colour_is_only_there_when_asked_for() {
    let yard = yard().await;
    let run = |flags: &[&str], no_color: &str| {
        let mut command = yard.build_command("store", &[&["--output", "zip:x"], flags].concat());
        let ran: Ran = command.env("NO_COLOR", no_color).output().unwrap().into();
        told(&yard, &ran.stderr)
    };
    assert!(!run(&[], "").contains('\x1b'));
    assert!(run(&["--color", "always"], "").contains("\x1b["));
    assert!(!run(&["--color", "never"], "").contains('\x1b'));
}
