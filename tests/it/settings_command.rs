//! `lapstrake settings`: what a person and a script see.

use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::yard::Ran;

const CONFIG: &str = "name: train
settings:
  docker:
    parent_image: python:3.12-slim
    requirements: [numpy, pandas, scikit-learn, a-package-with-a-long-name, another-package]
    environment: {MODE: fast, API_KEY: s3cret, N: 1}
    user: ${WHO}
steps:
  load: {}
  fit: {settings: {docker: {apt_packages: [git], environment: {MODE: slow}}}}
lapstrake:
  registry: r.test/team
  layers: {budget: 12}
";

fn project() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("lapstrake.yaml"), CONFIG).unwrap();
    folder
}

#[expect(clippy::disallowed_methods, reason = "the binary itself is what is tested")]
fn run(folder: &TempDir, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lapstrake"));
    command.env_clear().env("WHO", "zen").current_dir(folder.path()).stdin(Stdio::null());
    command.arg("settings").args(arguments).output().unwrap().into()
}

#[test]
fn the_text_says_what_counts_and_where_it_comes_from() {
    let ran =
        run(&project(), &["--set", "lapstrake.layers.budget=9", "--env", "mode=x", "--parent-image", "python:3.13"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    insta::assert_snapshot!(ran.stdout, @r#"
    name: train
    settings:
      docker:
        parent_image: python:3.13  # --parent-image
        requirements:              # lapstrake.yaml:5:19
        - numpy
        - pandas
        - scikit-learn
        - a-package-with-a-long-name
        - another-package
        environment:
          API_KEY: "***"           # lapstrake.yaml:6:40
          "N": 1                   # lapstrake.yaml:6:51
          mode: x                  # --env mode
        user: zen                  # lapstrake.yaml:7:11
    lapstrake:
      registry: r.test/team        # lapstrake.yaml:12:13
      layers:
        budget: 9                  # --set lapstrake.layers.budget
    steps:
      load: {}                     # as the pipeline
      fit:
        settings:
          docker:
            apt_packages: [git]    # lapstrake.yaml:10:43
            environment:
              MODE: slow           # lapstrake.yaml:10:70
    "#);
    insta::assert_snapshot!(ran.stderr, @"warning: lapstrake.yaml:6:31: `settings.docker.environment.API_KEY` looks like a secret, and everybody who pulls the image could read it; name it under `lapstrake.secrets`, or set it when the container starts");
}

#[test]
fn defaults_are_shown_when_they_are_asked_for() {
    let ran = run(&project(), &["--all"]);
    for line in ["    skip_build: false", "    image_tag: null", "  resolution: joint"] {
        let found = ran.stdout.lines().find(|found| found.starts_with(line));
        assert!(found.is_some_and(|found| found.ends_with("# default")), "{line}: {}", ran.stdout);
    }
}

#[test]
fn the_json_has_every_value_of_every_step() {
    let ran = run(&project(), &["--format", "json", "--user", "me"]);
    let shown: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&shown["schemaVersion"], &shown["pipeline"]["name"]), (&1.into(), &"train".into()));
    let value = |values: &Value, path: &str| {
        values.as_array().unwrap().iter().find(|value| value["path"] == path).unwrap().to_string()
    };
    let pipeline = &shown["pipeline"]["values"];
    assert_eq!(
        value(pipeline, "settings.docker.user"),
        r#"{"origin":{"kind":"flag","name":"--user"},"path":"settings.docker.user","value":"me"}"#
    );
    assert_eq!(
        value(pipeline, "settings.docker.environment.N"),
        r#"{"origin":{"column":51,"file":"lapstrake.yaml","kind":"file","line":6},"path":"settings.docker.environment.N","value":1}"#
    );
    assert_eq!(
        value(&shown["steps"][1]["values"], "settings.docker.environment.MODE"),
        r#"{"differs":true,"origin":{"column":70,"file":"lapstrake.yaml","kind":"file","line":10},"path":"settings.docker.environment.MODE","value":"slow"}"#
    );
    assert!(value(&shown["steps"][0]["values"], "settings.docker.user").contains(r#""differs":false"#));
    assert!(!ran.stdout.contains("s3cret"));
}

#[test]
fn without_a_configuration_there_are_defaults_and_flags() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(run(&folder, &[]).stdout, "{}  # every setting has its default\n");
    let ran = run(&folder, &["--set", "docker.user=zen"]);
    insta::assert_snapshot!(ran.stdout, @r"
    settings:
      docker:
        user: zen  # --set docker.user
    ");
    assert_eq!(run(&folder, &["absent.yaml"]).code, 2);
}

#[test]
fn strict_and_lenient_say_how_the_file_is_read() {
    let folder = project();
    let ran = run(&folder, &["--strict"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
    insta::assert_snapshot!(ran.stderr, @r"
    error: lapstrake.yaml:6:31: `settings.docker.environment.API_KEY` looks like a secret, and everybody who pulls the image could read it
      hint: name it under `lapstrake.secrets`, or set it when the container starts
    ");
    std::fs::write(folder.path().join("lapstrake.yaml"), "settings: {docker: {usr: a}}\n").unwrap();
    assert_eq!(run(&folder, &[]).code, 2);
    let ran = run(&folder, &["--lenient"]);
    assert_eq!(ran.code, 0);
    insta::assert_snapshot!(ran.stderr, @"warning: lapstrake.yaml:1:21: `settings.docker.usr` is not a known setting, and is passed over");
}

#[test]
fn the_schema_is_printed_without_a_configuration() {
    let ran = run(&tempfile::tempdir().unwrap(), &["--schema"]);
    let schema: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}
