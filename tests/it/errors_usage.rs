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
    insta::assert_snapshot!(text, @"
    error: lapstrake.yaml:3:5: `settings.docker.requirments` is not a known setting
      hint: did you mean `requirements`?
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_is_not_set() {
    let yard = yard().await;
    let text = refused(&yard, "settings:\n  docker:\n    environment:\n      KEY: ${NOWHERE}\n", &[]).await;
    insta::assert_snapshot!(text, @"
    error: lapstrake.yaml:4:12: variable `NOWHERE` in `settings.docker.environment.KEY` is not set
      hint: set `NOWHERE` in the environment of the build
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_no_yaml() {
    let yard = yard().await;
    let text = refused(&yard, "settings: [\n", &[]).await;
    insta::assert_snapshot!(text, @"
    error: lapstrake.yaml:2:1: file is not valid YAML: while parsing a node, did not find expected node content
      hint: look at the indentation, quotes and brackets around that line
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_that_is_not_there() {
    let yard = yard().await;
    let text = build_fails(&yard, &["--config", "nowhere.yaml"], 2).await;
    insta::assert_snapshot!(text, @"
    error: cannot read the configuration `nowhere.yaml`: No such file or directory (os error 2)
      hint: see that the file is there, or pass `--config FILE`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_a_digest() {
    let yard = yard().await;
    let digest = yard.digest_of("demo/app:latest").await.unwrap();
    yard.requests();
    let text = build_fails(&yard, &["--tag", &format!("{}@{digest}", yard.at("demo/app"))], 2).await;
    insta::assert_snapshot!(text.replace(digest.as_str(), "DIGEST"), @"
    error: target `HOST/demo/app@DIGEST` is a digest, and a digest cannot be chosen
      hint: name a tag, as in `registry/name:tag`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_target() {
    let yard = yard().await;
    let mut command = yard.command("store");
    let ran: Ran = command.args(["build", "-q", "--parent-image", &yard.at("demo/parent:1")]).output().unwrap().into();
    let text = failed(&yard, ran, 2).await;
    insta::assert_snapshot!(text, @"
    error: nothing says where the image goes
      hint: pass `--tag REGISTRY/NAME:TAG`, or `--registry URI`, or `--output oci:DIR`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_parent() {
    let yard = yard().await;
    let mut command = yard.command("store");
    let ran: Ran = command.args(["build", "-q", "--tag", &yard.at("demo/app:latest")]).output().unwrap().into();
    let text = failed(&yard, ran, 2).await;
    insta::assert_snapshot!(text, @"
    error: `settings.docker.parent_image` is not set
      hint: name one, as in `parent_image: python:3.12-slim`, or pass `--parent-image`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn skip_build_without_a_parent() {
    let yard = yard().await;
    yard.write("lapstrake.yaml", "settings:\n  docker:\n    skip_build: true\n");
    let ran: Ran = yard.command("store").args(["build", "--quiet"]).output().unwrap().into();
    assert_eq!(yard.requests(), Vec::<String>::new());
    let text = failed(&yard, ran, 2).await;
    insta::assert_snapshot!(text, @"
    error: lapstrake.yaml:3:5: `settings.docker` has `skip_build` without `parent_image`
      hint: name the `parent_image`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reference_that_is_none() {
    let yard = yard().await;
    let text = refused(&yard, "", &["--parent-image", "Not/A Reference"]).await;
    insta::assert_snapshot!(text, @"
    error: --parent-image: `settings.docker.parent_image` is not valid: repository of `Not/A Reference` is not in lower case
      hint: write `not/a reference`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_none() {
    let yard = yard().await;
    let text = refused(&yard, "", &["--output", "zip:x"]).await;
    insta::assert_snapshot!(text, @"
    error: output `zip:x` is not one that there is
      hint: write `registry`, `oci:DIR` or `docker-archive:FILE`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_variable_of_the_wrong_form() {
    let yard = yard().await;
    let text = refused(&yard, "", &["--env", "NAME"]).await;
    insta::assert_snapshot!(text, @"
    error: `--env NAME` is not of the form NAME=VALUE
      hint: write `--env NAME=VALUE`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_time_that_is_none() {
    let yard = yard().await;
    let mut command = yard.build_command("store", &["--quiet"]);
    let ran: Ran = command.env("SOURCE_DATE_EPOCH", "yesterday").output().unwrap().into();
    let text = failed(&yard, ran, 2).await;
    insta::assert_snapshot!(text, @"
    error: `SOURCE_DATE_EPOCH` is `yesterday`, which is no number of seconds
      hint: set it to seconds since 1970, or unset it
    ");
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
    insta::assert_snapshot!(text, @"
    error: requirement file `requirements.txt` cannot be read
      because: No such file or directory (os error 2)
      hint: give the path of a requirement file; a relative one starts from the configuration's folder
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_not_there() {
    let yard = yard().await;
    std::fs::remove_file(yard.project().join("pylock.toml")).unwrap();
    let named = build_fails(&yard, &[], 2).await;
    insta::assert_snapshot!(named, @"
    error: cannot read `DIR/project/pylock.toml`
      because: No such file or directory (os error 2)
      hint: see that the file is there and can be read
    ");
    let demanded = build_fails(&yard, &["--locked"], 2).await;
    insta::assert_snapshot!(demanded, @"
    error: `--locked` needs `DIR/project/pylock.toml`, which is not there
      hint: make one with `lapstrake requirements --write-lock`, or leave `--locked` away
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_a_merge_left_damaged() {
    let yard = yard().await;
    yard.write("pylock.toml", "lock-version = \"1.0\"\n<<<<<<< HEAD\npackages = []\n");
    let text = build_fails(&yard, &[], 2).await;
    insta::assert_snapshot!(text, @"
    error: lock file `DIR/project/pylock.toml` cannot be used
      because: lock is damaged at line 2: key with no value, expected `=`
      hint: make the lock again, or take out what a merge left in it
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ignore_file_that_is_not_there() {
    let yard = yard().await;
    let settings = "settings:\n  docker:\n    build_config:\n      dockerignore: nowhere\n";
    yard.write("lapstrake.yaml", settings);
    let text = build_fails(&yard, &[], 2).await;
    insta::assert_snapshot!(text, @"
    error: cannot read `DIR/project/nowhere`
      because: No such file or directory (os error 2)
      hint: see that the file is there and can be read
    ");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_in_another_encoding() {
    let yard = yard().await;
    std::fs::write(yard.project().join("latin.yaml"), b"settings: {docker: {user: \xe9}}\n").unwrap();
    let text = build_fails(&yard, &["--config", "latin.yaml"], 2).await;
    insta::assert_snapshot!(text, @"
    error: cannot read the configuration `latin.yaml`: stream did not contain valid UTF-8
      hint: save it as UTF-8
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_date_that_no_calendar_has() {
    let yard = yard().await;
    for text in ["soon", "-1", "253402300800"] {
        let output = yard.build_command("store", &[]).env("SOURCE_DATE_EPOCH", text).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("`SOURCE_DATE_EPOCH` is `{text}`")), "{said}");
        assert!(said.contains("hint: set it to seconds since 1970"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_to_inspect_that_does_not_exist() {
    let yard = yard().await;
    let output = yard.command("store").args(["inspect", &yard.at("demo/none:1")]).output().unwrap();
    insta::assert_snapshot!(failed(&yard, output.into(), 1).await, @"
    error: image `HOST/demo/none:1` does not exist
      hint: see that the name and tag are right, and that the registry lets you pull it
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_variable_is_as_if_it_were_not_set() {
    let yard = yard().await;
    let mut command = yard.command("store");
    command.args(["cache", "du"]).env("LAPSTRAKE_STORE", "").env("XDG_CACHE_HOME", yard.path("caches"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
