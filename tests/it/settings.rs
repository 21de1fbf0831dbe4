//! Settings: what a file means, and what is said about a wrong one.

use std::path::PathBuf;

use lapstrake::diagnostic::{Class, Diagnose};
use lapstrake::oci::{Platform, Reference};
use lapstrake::settings::{
    BuildConfig, Installer, LocalEnvironment, Requirements, Resolution, SecretSource, Settings, SettingsError,
    Substitution, Warning,
};

fn parse(text: &str) -> Result<(Settings, Vec<Warning>), SettingsError> {
    let variables = [("TEAM", "vision"), ("TOKEN", "s3cret/")];
    let variables = variables.map(|(key, value)| (key.to_owned(), value.to_owned()));
    Settings::parse(text, "run.yaml", &Substitution::new(variables.into()))
}

/// Settings of one field of `settings.docker`, written from column 5 of line 3 on.
fn docker(field: &str) -> Result<(Settings, Vec<Warning>), SettingsError> {
    parse(&format!("settings:\n  docker:\n    {field}\n"))
}

/// The message of a refusal and its hint.
fn refusal(result: Result<(Settings, Vec<Warning>), SettingsError>) -> String {
    let error = result.unwrap_err();
    assert_eq!(error.class(), Class::Usage);
    format!("{error}\nhint: {}", error.hint().unwrap_or_else(|| "none".to_owned()))
}

fn warnings(result: Result<(Settings, Vec<Warning>), SettingsError>) -> String {
    result.unwrap().1.iter().map(Warning::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_whole_run_configuration_is_read() {
    let text = r#"
enable_cache: true
parameters: {epochs: 3}
model: {name: m, version: 1}
settings:
  resources: {cpu_count: 2}
  orchestrator.kubernetes: {pod_settings: {}}
  docker:
    parent_image: registry.example:5000/${TEAM}/base:1.2
    requirements: ["numpy==2.1.0", "torch ; python_version > '3.9'"]
    environment: {PYTHONUNBUFFERED: 1, a_b: "x'y", Q: "\"dq\" $HOME", EMPTY: ""}
    runtime_environment: {r: 2, Z: z z}
    user: "1000:1000"
    image_tag: v1
    target_repository: team/train
    python_package_installer: uv
    python_package_installer_args: {no-deps: null, index-strategy: unsafe-best-match}
    build_config: {dockerignore: .dockerignore, build_options: {labels: {a: b}, platform: linux/amd64}}
    disable_automatic_requirements_detection: yes
    install_stack_requirements: false
    apt_packages: []
    prevent_build_reuse: false
lapstrake:
  source_root: src
  entrypoint: [python, -m, app]
  working_dir: /app
  tags: [registry.example/app:1]
  registry: registry.example/team/
  platforms: [linux/amd64, linux/arm64]
  insecure_registries: ["127.0.0.1:5000"]
  labels: {owner: me}
  python: {version: 3.10, prefix: /usr/local}
  layers: {budget: 12}
steps:
  train: {settings: {resources: {gpu_count: 1}}, parameters: {x: 1}}
"#;
    let (settings, warnings) = parse(text).unwrap();
    assert_eq!(warnings, []);
    let docker = settings.docker;
    assert_eq!(docker.parent_image, Some(Reference::parse("registry.example:5000/vision/base:1.2").unwrap()));
    let lines = vec!["numpy==2.1.0".to_owned(), "torch ; python_version > '3.9'".to_owned()];
    assert_eq!(docker.requirements, Some(Requirements::Lines(lines)));
    fn pairs(map: impl IntoIterator<Item = (String, String)>) -> Vec<(String, String)> {
        map.into_iter().collect()
    }
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let environment = [pair("PYTHONUNBUFFERED", "1"), pair("A_B", "x'y"), pair("Q", "\"dq\" $HOME"), pair("EMPTY", "")];
    assert_eq!(pairs(docker.environment), environment);
    assert_eq!(pairs(docker.runtime_environment), [pair("R", "2"), pair("Z", "z z")]);
    assert_eq!((docker.user.as_deref(), docker.image_tag.as_deref()), (Some("1000:1000"), Some("v1")));
    assert_eq!(docker.target_repository.as_deref(), Some("team/train"));
    let args: Vec<_> = docker.python_package_installer_args.into_iter().collect();
    let strategy = Some("unsafe-best-match".to_owned());
    assert_eq!(args, [("no-deps".to_owned(), None), ("index-strategy".to_owned(), strategy)]);
    assert_eq!(docker.build_config.dockerignore, Some(PathBuf::from(".dockerignore")));
    assert_eq!(docker.build_config.platform, Some(Platform::new("linux", "amd64")));
    assert!(!docker.install_stack_requirements && docker.allow_including_files_in_images && !docker.skip_build);
    let native = settings.lapstrake;
    assert_eq!(native.entrypoint, Some(vec!["python".to_owned(), "-m".to_owned(), "app".to_owned()]));
    assert_eq!(native.registry.as_deref(), Some("registry.example/team"));
    assert_eq!(native.python.version, Some((3, 10)));
    assert_eq!((native.layers.budget, native.platforms.len(), native.tags.len()), (Some(12), 2, 1));
}

#[test]
fn an_empty_file_means_the_defaults() {
    for text in ["", "# nothing\n", "settings:\nlapstrake:\n", "settings: {docker: {}}"] {
        assert_eq!(parse(text).unwrap(), (Settings::default(), vec![]), "{text}");
    }
}

#[test]
fn a_text_under_requirements_is_a_path() {
    let (settings, _) = docker("requirements: numpy").unwrap();
    assert_eq!(settings.docker.requirements, Some(Requirements::File(PathBuf::from("numpy"))));
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    insta::assert_snapshot!(refusal(docker("requirement: [a]")), @r"
    run.yaml:3:5: `settings.docker.requirement` is not a known setting
    hint: did you mean `requirements`?
    ");
    insta::assert_snapshot!(refusal(docker("entrypoint: [a]")), @r"
    run.yaml:3:5: `settings.docker.entrypoint` is not a known setting
    hint: settings of Lapstrake's own stand under `lapstrake`, at the top of the file
    ");
    insta::assert_snapshot!(refusal(parse("setings: {}\n")), @r"
    run.yaml:1:1: `setings` is not a known setting
    hint: did you mean `settings`?
    ");
    insta::assert_snapshot!(refusal(parse("settings:\n  dokcer: {}\n")), @r"
    run.yaml:2:3: `settings.dokcer` is not a known setting
    hint: did you mean `docker`?
    ");
    insta::assert_snapshot!(refusal(parse("lapstrake: {platform: []}\n")), @r"
    run.yaml:1:13: `lapstrake.platform` is not a known setting
    hint: did you mean `platforms`?
    ");
}

#[test]
fn every_field_of_zenml_is_read() {
    let docker = |text: &str| docker(text).unwrap().0.docker;
    let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(docker("dockerfile: D").dockerfile, Some(PathBuf::from("D")));
    assert_eq!(docker("build_context_root: .").build_context_root, Some(PathBuf::from(".")));
    let config = BuildConfig { dockerignore: Some(PathBuf::from("d")), ..BuildConfig::default() };
    assert_eq!(docker("parent_image_build_config: {dockerignore: d}").parent_image_build_config, config);
    assert!(docker("prevent_build_reuse: 'YES'").prevent_build_reuse);
    assert_eq!(docker("python_package_installer: pip").python_package_installer, Installer::Pip);
    let mount = docker("python_package_installer_cache_mount: type=cache").python_package_installer_cache_mount;
    assert_eq!(mount.as_deref(), Some("type=cache"));
    assert_eq!(docker("pyproject_path: p").pyproject_path, Some(PathBuf::from("p")));
    assert_eq!(docker("pyproject_export_command: [uv, export]").pyproject_export_command, Some(words("uv export")));
    assert_eq!(docker("required_integrations: [mlflow]").required_integrations, words("mlflow"));
    assert_eq!(docker("apt_packages: [git, curl]").apt_packages, words("git curl"));
    assert_eq!(docker("local_project_install_command: make").local_project_install_command.as_deref(), Some("make"));
    assert!(!docker("disable_automatic_requirements_detection: false").disable_automatic_requirements_detection);
    for (value, expected) in [
        ("true", Some(LocalEnvironment::Freeze)),
        ("'yes'", Some(LocalEnvironment::Freeze)),
        ("false", None),
        ("[]", None),
        ("pip_freeze", Some(LocalEnvironment::PipFreeze)),
        ("uv_freeze", Some(LocalEnvironment::UvFreeze)),
        ("poetry_export", Some(LocalEnvironment::PoetryExport)),
        ("[conda, list]", Some(LocalEnvironment::Command(words("conda list")))),
    ] {
        let found = docker(&format!("replicate_local_python_environment: {value}"));
        assert_eq!(found.replicate_local_python_environment, expected, "{value}");
    }
}

#[test]
fn options_of_a_build_are_read_in_both_spellings() {
    for text in [
        "{no_cache: true, build_args: {B: 1, A: x, C: null}, cache_from: [r.test/a], shm_size: 64, pull: 'no', foo: [1, {a: b}]}",
        "{nocache: true, buildargs: {B: 1, A: x, C: null}, cachefrom: [r.test/a], shmsize: 64, pull: false, foo: [1, {a: b}]}",
    ] {
        let config = docker(&format!("build_config: {{build_options: {text}}}")).unwrap().0.docker.build_config;
        assert!(config.no_cache);
        let args: Vec<_> = config.build_args.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        assert_eq!(args, [("B", Some("1")), ("A", Some("x")), ("C", None)]);
        assert_eq!(config.cache_from, [Reference::parse("r.test/a").unwrap()]);
        let options = serde_json::json!({"foo": [1, {"a": "b"}], "pull": false, "shm_size": 64});
        assert_eq!(serde_json::to_value(&config.engine_options).unwrap(), options);
    }
    insta::assert_snapshot!(warnings(docker("build_config: {build_options: {no_cache: true, nocache: false}}")), @"run.yaml:3:52: `nocache` is passed over: `no_cache` is the same option, and stands beside it");
}

#[test]
fn every_key_of_our_own_is_read() {
    let text = "
lapstrake:
  stack:
    name: prod
    components: {orchestrator: kubernetes, artifact_store: {flavor: s3, requirements: [s3fs], apt_packages: [curl]}}
    requirements: [boto3]
    apt_packages: [git]
  resolution: sequential
  artifact_store: s3://bucket/prefix
  secrets: {index: {env: TOKEN}, key: {file: k.txt}, vault: {command: [vault, read]}}
  backend: buildkit
";
    let native = parse(text).unwrap().0.lapstrake;
    assert_eq!(native.stack.components["orchestrator"].flavor.as_deref(), Some("kubernetes"));
    let store = &native.stack.components["artifact_store"];
    assert_eq!((store.flavor.as_deref(), store.requirements.len(), store.apt_packages.len()), (Some("s3"), 1, 1));
    assert_eq!((native.stack.requirements.len(), native.stack.apt_packages.len()), (1, 1));
    assert_eq!(native.resolution, Resolution::Sequential);
    assert_eq!(native.artifact_store.as_deref(), Some("s3://bucket/prefix"));
    assert_eq!(native.secrets["index"], SecretSource::Environment("TOKEN".to_owned()));
    assert_eq!(native.secrets["key"], SecretSource::File(PathBuf::from("k.txt")));
    assert_eq!(native.secrets["vault"], SecretSource::Command(vec!["vault".to_owned(), "read".to_owned()]));
    assert_eq!(native.backend.as_deref(), Some("buildkit"));
    insta::assert_snapshot!(refusal(parse("lapstrake: {secrets: {token: hunter2}}")), @r"
    run.yaml:1:30: `lapstrake.secrets.token` does not say where the secret comes from
    hint: write `{env: NAME}`, `{file: PATH}` or `{command: [PROGRAM, ARGUMENT]}`
    ");
    insta::assert_snapshot!(refusal(parse("lapstrake: {secrets: {token: {env: A, file: b}}}")), @r"
    run.yaml:1:30: `lapstrake.secrets.token` must name one source of the secret
    hint: write `{env: NAME}`, `{file: PATH}` or `{command: [PROGRAM, ARGUMENT]}`
    ");
    insta::assert_snapshot!(refusal(parse("lapstrake: {artifact_store: 'ftp://x'}")), @r"
    run.yaml:1:29: `lapstrake.artifact_store` is not an artifact store
    hint: write a folder, `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or `az://CONTAINER/PREFIX`
    ");
}

#[test]
fn wrong_values_are_refused_with_their_place() {
    insta::assert_snapshot!(refusal(docker("requirements: 5")), @r"
    run.yaml:3:19: `settings.docker.requirements` must be a text, not a number
    hint: write it in quotes
    ");
    insta::assert_snapshot!(refusal(docker("requirements: [a, {b: c}]")), @r"
    run.yaml:3:23: `settings.docker.requirements[1]` must be a text, not a mapping
    hint: none
    ");
    insta::assert_snapshot!(refusal(docker("parent_image: https://registry.example/a")), @r"
    run.yaml:3:19: `settings.docker.parent_image` is not valid: `https://registry.example/a` is not an image reference
    hint: write `[registry/]repository[:tag][@sha256:hex]`, without `https://`
    ");
    insta::assert_snapshot!(refusal(docker("skip_build: true")), @r"
    run.yaml:3:5: `settings.docker` has `skip_build` without `parent_image`
    hint: name the `parent_image`
    ");
    insta::assert_snapshot!(refusal(docker("environment: {A: 1, a: 2}")), @r"
    run.yaml:3:28: `settings.docker.environment.a` sets `A` a second time: names are put into upper case
    hint: keep one of the two
    ");
    insta::assert_snapshot!(refusal(docker("environment: {MODE: 0755}")), @r"
    run.yaml:3:25: `settings.docker.environment.MODE` is written `0755`, a number that versions of YAML read differently
    hint: write it in quotes
    ");
    insta::assert_snapshot!(refusal(docker("environment: {MODE: on}")), @r"
    run.yaml:3:25: `settings.docker.environment.MODE` is written `on`, which is no text for YAML 1.1, which ZenML reads
    hint: write it in quotes
    ");
    insta::assert_snapshot!(refusal(docker("{allow_including_files_in_images: false, local_project_install_command: make}")), @r"
    run.yaml:3:77: `settings.docker.local_project_install_command` installs files that `allow_including_files_in_images: false` keeps out of the image
    hint: allow the files, or take the command out
    ");
    insta::assert_snapshot!(refusal(docker("pip_freeze: true")), @r"
    run.yaml:3:5: `settings.docker.pip_freeze` is no setting but a value of one
    hint: write `replicate_local_python_environment: pip_freeze`
    ");
    insta::assert_snapshot!(refusal(docker("python_package_installer: conda")), @r"
    run.yaml:3:31: `settings.docker.python_package_installer` must be `uv` or `pip`
    hint: none
    ");
    insta::assert_snapshot!(refusal(docker("target_repository: a/b:c")), @r"
    run.yaml:3:24: `settings.docker.target_repository` is not a path in a registry
    hint: write lower-case parts joined by `/`, without registry and tag
    ");
    insta::assert_snapshot!(refusal(parse("lapstrake: {working_dir: app}")), @r"
    run.yaml:1:26: `lapstrake.working_dir` must be an absolute path
    hint: none
    ");
    insta::assert_snapshot!(refusal(parse("lapstrake: {platforms: [linux]}")), @r"
    run.yaml:1:25: `lapstrake.platforms[0]` is not valid: platform `linux` is not of the form `os/architecture[/variant]`
    hint: write `linux/amd64`
    ");
    insta::assert_snapshot!(refusal(parse("lapstrake: {registry: 'https://r.example'}")), @r"
    run.yaml:1:23: `lapstrake.registry` is not a registry
    hint: write `host[:port][/path]`, without `https://`
    ");
}

#[test]
fn what_is_no_plain_yaml_is_refused_with_its_place() {
    insta::assert_snapshot!(refusal(parse("settings:\n  docker: [\n")), @r"
    run.yaml:3:1: file is not valid YAML: while parsing a node, did not find expected node content
    hint: look at the indentation, quotes and brackets around that line
    ");
    insta::assert_snapshot!(refusal(parse("lapstrake: {}\n'lapstrake': {}\n")), @r"
    run.yaml:2:1: file is not valid YAML: duplicated key in mapping
    hint: keep one of the two
    ");
    insta::assert_snapshot!(refusal(parse("name: a\n---\nname: b\n")), @r"
    run.yaml:3:1: file holds more than one YAML document
    hint: put each configuration into a file of its own
    ");
    insta::assert_snapshot!(refusal(parse("lapstrake: !x {cmd: [a]}\n")), @r"
    run.yaml:1:12: `lapstrake` has a YAML tag, which is not supported
    hint: none
    ");
    insta::assert_snapshot!(refusal(parse("lapstrake: []\n")), @r"
    run.yaml:1:12: `lapstrake` must be a mapping, not a list
    hint: write keys and values below it, as in `parent_image: python:3.12-slim`
    ");
    insta::assert_snapshot!(refusal(parse("[a]\n")), @r"
    run.yaml:1:1: file must be a mapping, not a list
    hint: write keys and values below it, as in `parent_image: python:3.12-slim`
    ");
    insta::assert_snapshot!(refusal(parse("settings:\n\tdocker: {}\n")), @r"
    run.yaml:2:2: file is not valid YAML: tabs disallowed within this context (block indentation)
    hint: indent with spaces
    ");
}

#[test]
fn variables_are_replaced_and_their_values_stay_out_of_messages() {
    let (settings, _) = docker("environment: {A: 'x-${TEAM}-$TEAM'}").unwrap();
    assert_eq!(settings.docker.environment["A"], "x-vision-$TEAM");
    insta::assert_snapshot!(refusal(docker("user: '${NOBODY}'")), @r"
    run.yaml:3:11: variable `NOBODY` in `settings.docker.user` is not set
    hint: set `NOBODY` in the environment of the build
    ");
    insta::assert_snapshot!(refusal(docker("parent_image: 'https://${TOKEN}'")), @r"
    run.yaml:3:19: `settings.docker.parent_image` is not valid once its variables are replaced
    hint: none
    ");
}

#[test]
fn deprecated_fields_warn_once_each() {
    insta::assert_snapshot!(warnings(docker("{dockerignore: d, copy_files: true, source_files: include}")), @r"
    run.yaml:3:6: `dockerignore` is deprecated; write it under `build_config`
    run.yaml:3:23: `copy_files` is deprecated and has no effect
    run.yaml:3:41: `source_files` is deprecated; use `allow_including_files_in_images` and `allow_download_from_code_repository`
    ");
    for (text, expected) in [
        ("ignore", (false, false)),
        ("include", (true, false)),
        ("download", (false, true)),
        ("download_or_include", (true, true)),
    ] {
        let docker = docker(&format!("source_files: {text}")).unwrap().0.docker;
        assert!(!docker.allow_download_from_artifact_store);
        let flags = (docker.allow_including_files_in_images, docker.allow_download_from_code_repository);
        assert_eq!(flags, expected, "{text}");
    }
    assert!(refusal(docker("source_files: bad")).contains("must be `include`"));
    let old = docker("{dockerignore: old, build_config: {dockerignore: new}}").unwrap().0.docker;
    assert_eq!(old.build_config.dockerignore, Some(PathBuf::from("new")));
}

#[test]
fn scalars_become_the_texts_that_python_prints() {
    let result = docker("environment: {I: 7, F: 1.10, G: 2.5, T: true, N: -1, V: 1.0e+16, W: 1e16}");
    insta::assert_snapshot!(warnings(result), @r"
    run.yaml:3:25: `settings.docker.environment.F`: number `1.10` becomes `1.1`; quotes would keep it
    run.yaml:3:42: `settings.docker.environment.T`: a truth value becomes `True`, as in Python; write a text in quotes
    run.yaml:3:58: `settings.docker.environment.V`: number `1.0e+16` becomes `1e+16`; quotes would keep it
    ");
    let settings = docker("environment: {I: 7, F: 1.10, G: 2.5, T: true, N: -1, V: 1.0e+16, W: 1e16}").unwrap().0;
    let values: Vec<_> = settings.docker.environment.values().map(String::as_str).collect();
    assert_eq!(values, ["7", "1.1", "2.5", "True", "-1", "1e+16", "1e16"]);
}

#[test]
fn anchors_and_merge_keys_are_followed() {
    let text = "
lapstrake:
  labels: &labels {a: b}
settings:
  docker:
    build_config:
      build_options:
        labels: {<<: *labels, c: d}
";
    let labels: Vec<_> = parse(text).unwrap().0.docker.build_config.labels.into_iter().collect();
    assert_eq!(labels, [("a".to_owned(), "b".to_owned()), ("c".to_owned(), "d".to_owned())]);
}
