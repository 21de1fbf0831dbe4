//! ZenML's own outputs: checksums of settings, Dockerfiles, tags, what is accepted.
//!
//! The cases here stand alone; the file of all of them is read from the folder that `LAPSTRAKE_ZENML` names.

use lapstrake::dockerfile::{EquivalentImage, Exactness, equivalent};
use lapstrake::plan::{SettingsChecksum, cleaned_tag};
use lapstrake::settings::{Overrides, RunSettings, SettingsError, Substitution};
use serde_json::{Value, json};

const PARENT: &str = "zenmldocker/zenml:0.98.0-py3.11";

fn read(docker: &str) -> Result<RunSettings, SettingsError> {
    let text = format!("settings:\n  docker:\n    {docker}\n");
    let read = RunSettings::parse(&text, "run.yaml", &Overrides::default(), &Substitution::default());
    read.map(|(run, _)| run)
}

fn checksum(docker: &str, entrypoint: Option<&str>, requirements: &[&str]) -> String {
    let document = read(docker).unwrap().documents.pipeline;
    SettingsChecksum { document: &document, entrypoint, requirements, ..SettingsChecksum::default() }.hex()
}

fn dockerfile(docker: &str, files: &[&str], entrypoint: Option<&str>) -> String {
    let settings = read(docker).unwrap().pipeline.docker;
    let named: Value = serde_json::from_str(docker).unwrap();
    let image = EquivalentImage {
        settings: &settings,
        parent: named["parent_image"].as_str().unwrap_or(PARENT),
        requirements_files: files,
        apt_packages: &settings.apt_packages,
        entrypoint,
        includes_files: true,
    };
    equivalent(&image, Exactness::Zenml)
}

#[test]
fn the_document_is_what_pythons_json_prints() {
    let defaults = r#"{"allow_download_from_artifact_store": true, "allow_download_from_code_repository": true, "allow_including_files_in_images": true, "apt_packages": [], "build_config": null, "build_context_root": null, "build_options": {}, "copy_files": true, "copy_global_config": true, "disable_automatic_requirements_detection": true, "dockerfile": null, "dockerignore": null, "environment": {}, "image_tag": null, "install_deployment_requirements": true, "install_stack_requirements": true, "local_project_install_command": null, "parent_image": null, "parent_image_build_config": null, "pyproject_export_command": null, "pyproject_path": null, "python_package_installer": "uv", "python_package_installer_args": {}, "python_package_installer_cache_mount": null, "replicate_local_python_environment": null, "required_hub_plugins": [], "required_integrations": [], "requirements": null, "runtime_environment": {}, "skip_build": false, "source_files": null, "target_repository": null, "user": null}"#;
    assert_eq!(read("{}").unwrap().documents.pipeline, defaults);
    for (docker, expected) in [
        (
            r#"environment: {A: 1, B: 1.50, C: true, D: "é😀\n", E: 12345678901234567890123, F: 1e5, G: 1.0e+20, H: 2024-01-01, I: -0.00001, J: .inf}"#,
            r#""environment": {"A": 1, "B": 1.5, "C": true, "D": "\u00e9\ud83d\ude00\n", "E": 12345678901234567890123, "F": "1e5", "G": 1e+20, "H": "2024-01-01", "I": -1e-05, "J": null}, "#,
        ),
        (
            "build_config: {build_options: {nocache: 'yes', buildargs: {TOKEN: s, N: 1, Z: null}, shmsize: '64', squash: yes, foo: [1, {b: 1.0, a: x}]}}",
            r#""build_config": {"build_options": {"build_args": {"N": 1, "TOKEN": "s", "Z": null}, "cache_from": null, "foo": [1, {"a": "x", "b": 1.0}], "labels": null, "no_cache": true, "pull": null, "rm": null, "shm_size": 64, "squash": true}, "dockerignore": null}, "#,
        ),
        (
            "{copy_files: 0, build_options: {a: [no, Off, 'on']}}",
            r#""build_options": {"a": [false, false, "on"]}, "copy_files": false, "#,
        ),
        ("replicate_local_python_environment: 'Yes'", r#""replicate_local_python_environment": true, "#),
        ("replicate_local_python_environment: uv_freeze", r#""replicate_local_python_environment": "uv_freeze", "#),
        (
            "parent_image_build_config: {dockerignore: d}",
            r#""parent_image_build_config": {"build_options": null, "dockerignore": "d"}, "#,
        ),
        ("user: null", r#""user": null}"#),
    ] {
        let document = read(docker).unwrap().documents.pipeline;
        assert!(document.contains(expected), "{docker}: {document}");
    }
}

#[test]
fn checksums_are_those_of_zenml() {
    for (docker, expected) in [
        ("{}", "aa7654c3193ab17c994258f03388b0b3"),
        ("{prevent_build_reuse: true}", "aa7654c3193ab17c994258f03388b0b3"),
        (
            r#"environment: {A: 1, B: 1.50, C: true, D: "é😀\n", E: 12345678901234567890123, F: 1e5, G: 1.0e+20, H: 2024-01-01, I: -0.00001, J: .inf}"#,
            "9a909b8593486008a030387ccdcab892",
        ),
        (
            "build_config: {build_options: {nocache: 'yes', buildargs: {TOKEN: s, N: 1, Z: null}, shmsize: '64', squash: yes, foo: [1, {b: 1.0, a: x}]}}",
            "d757aa0008bb35004855c20fd3013c04",
        ),
        ("source_files: include", "3ff0637c2b32850ee1834c26c9826f3e"),
        (
            "{prevent_build_reuse: 'yes', python_package_installer_args: {no-deps: null, x: true, a: 1.0}}",
            "80280484d9051c9334451bdb06858067",
        ),
        (
            "{replicate_local_python_environment: uv_freeze, copy_files: 0, build_options: {a: [no, Off, 'on']}}",
            "01823f57dc2c80932e475e68ab55d9ce",
        ),
        (
            "{replicate_local_python_environment: 'Yes', install_stack_requirements: off, required_hub_plugins: [p]}",
            "489ba6d7f83f9f0eb824f9ca18f81949",
        ),
        (
            "{replicate_local_python_environment: [conda, list], requirements: requirements.txt, apt_packages: [b, a], parent_image_build_config: {dockerignore: d}}",
            "ab40491bf1f781c6a6684cbb10aecce7",
        ),
    ] {
        assert_eq!(checksum(docker, None, &[]), expected, "{docker}");
    }
    let docker = "{parent_image: 'python:3.11-slim', python_package_installer_args: {default-timeout: 99, index-url: 'https://idx.example/simple'}, requirements: ['scikit-learn>=1.5'], environment: {EMPTY: '', S: with space}, runtime_environment: {r: 2, Z: z z}, user: '1000:1000'}";
    let found = checksum(docker, Some("python -m app"), &["scikit-learn>=1.5"]);
    assert_eq!(found, "13481b878e231b83b5b698d25a08461d");
}

#[test]
fn the_checksum_of_a_step_is_that_of_its_merged_settings() {
    let text = "settings: {docker: {environment: {a: 1}, user: zen}}\nsteps: {fit: {settings: {docker: {environment: {A: 2}, apt_packages: [git]}}}, load: {}}";
    let run = RunSettings::parse(text, "run.yaml", &Overrides::default(), &Substitution::default()).unwrap().0;
    let whole = read("{environment: {a: 1, A: 2}, user: zen, apt_packages: [git]}");
    assert!(whole.is_err(), "on one level the two names contradict each other");
    assert!(run.documents.steps[0].contains(r#""environment": {"A": 2, "a": 1}"#), "{}", run.documents.steps[0]);
    assert!(run.documents.steps[0].contains(r#""apt_packages": ["git"]"#));
    assert_eq!(run.documents.steps[1], run.documents.pipeline);
}

#[test]
fn dockerfiles_are_those_of_zenml() {
    let docker = r#"{"parent_image": "registry.example.com:5000/team/base:1.2", "python_package_installer_args": {"system": null, "t": true}, "python_package_installer_cache_mount": "type=cache,target=/root/.cache/pip,sharing=locked", "apt_packages": ["libxext6", "ffmpeg"], "environment": {"a_b": "x'y", "N": 1}, "runtime_environment": {"r": 2, "Z": "z z"}, "local_project_install_command": "make install", "user": "1000:1000", "build_config": {"build_options": {"platform": "linux/amd64", "build_args": {"TOKEN": "s", "A": "1"}}}}"#;
    insta::assert_snapshot!(dockerfile(docker, &[".zenml_stack_integration_requirements"], Some("python -m app")), @r"
    FROM registry.example.com:5000/team/base:1.2
    WORKDIR /app
    ARG TOKEN
    ARG A
    ENV A_B='x'y'
    ENV N='1'
    RUN apt-get update && apt-get install -y --no-install-recommends 'libxext6' 'ffmpeg'
    RUN pip install uv
    COPY .zenml_stack_integration_requirements .
    RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked uv pip install --system --t=True -r .zenml_stack_integration_requirements
    ENV ZENML_ENABLE_REPO_INIT_WARNINGS=False
    ENV ZENML_CONFIG_PATH=/app/.zenconfig
    COPY . .
    RUN chmod -R a+rw .
    RUN --mount=type=cache,target=/root/.cache/pip,sharing=locked make install
    RUN chown -R 1000:1000 .
    USER 1000:1000
    ENV R='2'
    ENV Z='z z'
    ENTRYPOINT python -m app
    ");
}

/// ZenML's outputs; `None`, with a line that says so, when no folder is named.
#[expect(clippy::disallowed_methods, reason = "the folder of ZenML's outputs is named by the environment")]
fn golden() -> Option<String> {
    let Ok(folder) = std::env::var("LAPSTRAKE_ZENML") else {
        eprintln!("skipped: LAPSTRAKE_ZENML is not set");
        return None;
    };
    let path = format!("{folder}/golden.json");
    Some(std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}")))
}

/// The settings of each Dockerfile as they are written, since the order of variables counts.
fn written_settings(golden: &str) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Golden {
        dockerfiles: Vec<Case>,
    }
    #[derive(serde::Deserialize)]
    struct Case {
        settings: Box<serde_json::value::RawValue>,
    }
    let golden: Golden = serde_json::from_str(golden).unwrap();
    golden.dockerfiles.iter().map(|case| case.settings.get().replace('\n', " ")).collect()
}

fn cases<'g>(golden: &'g Value, name: &str) -> &'g [Value] {
    let cases = golden[name].as_array().unwrap();
    assert!(!cases.is_empty());
    eprintln!("{name}: {} cases", cases.len());
    cases
}

#[test]
fn every_golden_dockerfile_and_checksum_is_met() {
    let Some(golden_text) = golden() else { return };
    let golden: Value = serde_json::from_str(&golden_text).unwrap();
    let defaults = read("{}").unwrap().documents.pipeline;
    assert_eq!(defaults, golden["meta"]["defaults_json"].as_str().unwrap());
    assert_eq!(checksum("{}", None, &[]), golden["meta"]["defaults_md5"].as_str().unwrap());
    for (case, docker) in cases(&golden, "dockerfiles").iter().zip(written_settings(&golden_text)) {
        let files = case["requirements_files"].as_array().unwrap();
        let column = |n: usize| files.iter().map(|file| file[n].as_str().unwrap()).collect::<Vec<_>>();
        let entrypoint = case["entrypoint"].as_str();
        assert_eq!(dockerfile(&docker, &column(0), entrypoint), case["dockerfile"].as_str().unwrap(), "{docker}");
        let expected = case["settings_checksum_without_parent"].as_str().unwrap();
        assert_eq!(checksum(&docker, entrypoint, &column(1)), expected, "{docker}");
    }
}

#[test]
fn every_golden_tag_and_validation_is_met() {
    let Some(golden) = golden() else { return };
    let golden: Value = serde_json::from_str(&golden).unwrap();
    for case in cases(&golden, "tags") {
        assert_eq!(cleaned_tag(case[0].as_str().unwrap()).ok().as_deref(), case[1].as_str(), "{case}");
    }
    for case in cases(&golden, "validation") {
        let run = read(&case["settings"].to_string());
        assert_eq!(run.is_ok(), case["ok"].as_bool().unwrap(), "{case}");
        let (Ok(run), Some(effective)) = (run, case.get("effective")) else { continue };
        let docker = &run.pipeline.docker;
        let document: Value = serde_json::from_str(&run.documents.pipeline).unwrap();
        let found = json!({
            "prevent_build_reuse": docker.prevent_build_reuse,
            "build_config": document["build_config"],
            "allow_including_files_in_images": docker.allow_including_files_in_images,
            "allow_download_from_code_repository": docker.allow_download_from_code_repository,
            "allow_download_from_artifact_store": docker.allow_download_from_artifact_store,
        });
        assert_eq!(&found, effective, "{case}");
    }
}
