//! `lapstrake requirements --files-only`: all sources of requirements, in ZenML's order, with its names and texts.
//!
//! pip, uv and poetry are scripts of a line or two; what is installed in the end is for `requirements_built`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::fake_uv::FakeUv;
use crate::support::yard::{Ran, Yard};

fn script(path: &Path, text: &str) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn tool(yard: &Yard, name: &str, text: &str) {
    script(&yard.path("tools").join(name), text);
}

/// Runs with the yard's tools alone on `PATH`, without network, and with the fake uv when it was made.
fn run(yard: &Yard, settings: &str, flags: &[&str]) -> Ran {
    yard.write("run.yaml", settings);
    let mut command = yard.command("store");
    command.args(["requirements", "--files-only", "--offline"]).args(flags).arg("run.yaml");
    command.env("PATH", yard.path("tools"));
    if yard.path("uv/uv").is_file() {
        command.env("LAPSTRAKE_UV", yard.path("uv/uv"));
    }
    command.output().unwrap().into()
}

/// What the settings come to, as JSON, and the lines on stderr.
fn shown(yard: &Yard, settings: &str) -> (Value, String) {
    let ran = run(yard, settings, &["--format", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let mut printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    (printed["images"][0].take(), ran.stderr)
}

fn files(image: &Value) -> Vec<(String, String)> {
    let text = |file: &Value, key: &str| file[key].as_str().unwrap().to_owned();
    image["files"].as_array().unwrap().iter().map(|file| (text(file, "name"), text(file, "text"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sources_come_in_order_with_zenmls_names_and_texts() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    std::fs::write(yard.path("uv/export"), "# by uv\nrich==13.0\n").unwrap();
    tool(&yard, "pip", "echo numpy==1.26.4; echo pandas==2.2.0");
    yard.write("pyproject.toml", "[project]\nname = \"demo\"\n");
    let (image, _) = shown(
        &yard,
        r#"
settings:
  docker:
    replicate_local_python_environment: true
    required_integrations: [wandb, s3, deepchecks, evidently, s3]
    apt_packages: [git]
    pyproject_path: pyproject.toml
    requirements: ["scikit-learn>=1.5", "x ; python_version<'3.12'", "requests[socks]"]
lapstrake:
  stack:
    components:
      orchestrator: vm_aws
      artifact_store: s3
      experiment_tracker: {flavor: neptune, requirements: [b-own, a-own], apt_packages: [own-tool]}
    requirements: ["zenml==0.98.0"]
    apt_packages: [stack-tool]
"#,
    );
    let integrations = "Pillow>=9.1.0\naws-profile-manager\nboto3\ndeepchecks[vision]~=0.18.0\nevidently>=0.5.0,<1.0\n\
        ipython<9.0.0\nopencv-python-headless==4.5.5.64\nopencv-python==4.5.5.64\npandas<2.2.0\npandas>=2.0.0\n\
        s3fs>2022.3.0,!=2025.3.1\ntenacity!=8.4.0\ntorchvision>=0.14.0\nwandb>=0.12.12,<1.0.0\nweave>=0.51.33,<1.0.0";
    let expected = [
        (".zenml_local_requirements", "numpy==1.26.4\npandas==2.2.0\n"),
        (
            ".zenml_stack_integration_requirements",
            "aws-profile-manager\nboto3\nneptune\ns3fs>2022.3.0,!=2025.3.1\nskypilot[aws]>=0.11.0,<0.12.0\nzenml==0.98.0",
        ),
        (".zenml_experiment_tracker_requirements", "a-own\nb-own"),
        (".zenml_integration_requirements", integrations),
        (".zenml_pyproject_requirements", "# by uv\nrich==13.0\n"),
        (".zenml_user_requirements", "scikit-learn>=1.5\nx ; python_version<'3.12'\nrequests[socks]"),
    ];
    let expected = expected.map(|(name, text)| (name.to_owned(), text.to_owned()));
    assert_eq!(files(&image), expected);
    let apt = json!(["git", "own-tool", "openssh-client", "rsync", "stack-tool", "ffmpeg", "libsm6", "libxext6"]);
    assert_eq!(image["aptPackages"], apt);
    assert_eq!(image["files"][4]["requirements"], json!(["rich==13.0"]));
    assert_eq!(uv.asked(), "", "nothing is resolved");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_is_left_out_when_its_requirements_are_not_wanted() {
    let yard = Yard::new().await;
    let settings = "settings: {docker: {install_stack_requirements: false, requirements: [numpy]}}\n\
                    lapstrake: {stack: {components: {artifact_store: s3, orchestrator: {requirements: [own]}}, \
                    requirements: [zenml], apt_packages: [git]}}";
    let (image, _) = shown(&yard, settings);
    assert_eq!(files(&image), [(".zenml_user_requirements".to_owned(), "numpy".to_owned())]);
    assert_eq!(image["aptPackages"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn text_output_is_the_files_with_where_they_come_from_and_no_credentials() {
    let yard = Yard::new().await;
    yard.write("requirements.txt", "--index-url https://me:s3cret@index.example/simple\nnumpy\n");
    let settings = "settings: {docker: {requirements: requirements.txt, required_integrations: [neptune]}}";
    let ran = run(&yard, settings, &[]);
    insta::assert_snapshot!(ran.stdout, @r"
    # 1. .zenml_integration_requirements: settings.docker.required_integrations: neptune
    neptune

    # 2. .zenml_user_requirements: requirements.txt
    --index-url https://index.example/simple
    numpy
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_found_only_when_asked_for_and_when_no_setting_says_what_to_install() {
    let yard = Yard::new().await;
    FakeUv::new(&yard);
    std::fs::write(yard.path("uv/export"), "rich\n").unwrap();
    yard.write("pyproject.toml", "");
    let detect = "settings: {docker: {disable_automatic_requirements_detection: false}}";
    let (image, _) = shown(&yard, detect);
    assert_eq!(files(&image), [(".zenml_pyproject_requirements".to_owned(), "rich\n".to_owned())]);

    yard.write("requirements.txt", "numpy # why\n");
    let (image, _) = shown(&yard, detect);
    assert_eq!(files(&image), [(".zenml_user_requirements".to_owned(), "numpy # why\n".to_owned())]);
    let named = "settings: {docker: {disable_automatic_requirements_detection: false, requirements: [torch]}}";
    let (image, errors) = shown(&yard, named);
    assert_eq!(files(&image), [(".zenml_user_requirements".to_owned(), "torch".to_owned())]);
    assert!(!errors.contains("warning"), "{errors}");

    let (image, errors) = shown(&yard, "settings: {docker: {requirements: []}}");
    assert!(files(&image).is_empty());
    assert!(errors.contains("`requirements.txt` is in the source root and is not installed"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_local_environment_is_listed_by_what_it_has() {
    let yard = Yard::new().await;
    let local = |way: &str| {
        let settings = format!("settings: {{docker: {{replicate_local_python_environment: {way}}}}}");
        files(&shown(&yard, &settings).0).remove(0).1
    };
    FakeUv::new(&yard);
    std::fs::write(yard.path("uv/freeze"), "of-uv==1\n").unwrap();
    tool(&yard, "pip", "echo \"on-path==1\"");
    tool(&yard, "poetry", "echo \"$*\"");
    assert_eq!(local("true"), "on-path==1\n");
    assert_eq!(local("uv_freeze"), "# of \nof-uv==1\n");
    assert_eq!(local("[echo, a==1, '|', while, read, x;, do, echo, $x;, done]"), "a==1\n", "a line for the shell");

    // An environment beside the sources comes before what is on PATH; without a pip of its own uv lists it.
    script(&yard.project().join(".venv/bin/python"), "");
    let venv = yard.project().join(".venv").display().to_string();
    assert_eq!(local("true"), format!("# of {venv}\nof-uv==1\n"));
    script(&yard.project().join(".venv/bin/pip"), "echo in-venv==1");
    assert_eq!(local("true"), "in-venv==1\n");
    assert_eq!(local("pip_freeze"), "in-venv==1\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_project_itself_is_left_out_of_its_environment_when_it_is_editable() {
    let yard = Yard::new().await;
    yard.write("pyproject.toml", "[project]\nname = \"Demo.App\"\n");
    let project = yard.project().display().to_string();
    let lines = [
        "-e git+https://git.example/me/demo.git@0123#egg=demo_app".to_owned(),
        "# Editable install with no version control".to_owned(),
        format!("-e {project}"),
        format!("-e file://{project}"),
        "-e /elsewhere".to_owned(),
        "numpy==1.26.4".to_owned(),
    ];
    tool(&yard, "pip", &format!("printf '%s\\n' {}", lines.clone().map(|line| format!("'{line}'")).join(" ")));
    let (image, errors) = shown(&yard, "settings: {docker: {replicate_local_python_environment: true}}");
    assert_eq!(image["files"][0]["text"], json!(lines.join("\n") + "\n"), "the text is ZenML's");
    assert_eq!(image["files"][0]["requirements"], json!(["-e /elsewhere", "numpy==1.26.4"]));
    assert_eq!(errors.matches("lists this project itself").count(), 1, "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_project_is_exported_by_uv_else_by_poetry_else_by_its_own_command() {
    let yard = Yard::new().await;
    FakeUv::new(&yard);
    yard.write("a b/pyproject.toml", "");
    let folder = yard.project().join("a b").display().to_string();
    let at = |more: &str| format!("settings: {{docker: {{pyproject_path: a b{more}}}}}");
    tool(&yard, "poetry", "printf '# %s\\n' \"$@\"");
    let (image, _) = shown(&yard, &at("/pyproject.toml"));
    let expected = format!("# export\n# --format=requirements.txt\n# --directory={folder}\n# --without-hashes\n");
    assert_eq!(image["files"][0]["text"], json!(expected));

    tool(&yard, "poetry", "echo poetry is not for me >&2; exit 4");
    let ran = run(&yard, &at(""), &[]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    for words in ["`uv export --format=requirements-txt", "exit status 1", "exit status 4", "poetry is not for me"] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    assert!(ran.stderr.contains("pyproject_export_command"), "{}", ran.stderr);

    let own =
        at(", pyproject_export_command: [\"echo '# in'\", '{directory}']").replace("echo '# in'", "echo a; echo '#'");
    let (image, _) = shown(&yard, &own);
    assert_eq!(image["files"][0]["text"], json!(format!("a\n# {folder}\n")));
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_say_which_command_failed_and_what_to_do() {
    let yard = Yard::new().await;
    let local = |way: &str| format!("settings: {{docker: {{replicate_local_python_environment: {way}}}}}");
    let ran = run(&yard, &local("true"), &[]);
    assert!(ran.code == 1 && ran.stderr.contains("needs `pip` or `uv`, which are not on PATH"), "{}", ran.stderr);
    tool(&yard, "pip", "echo https://me:s3cret@index.example is broken >&2; exit 7");
    let ran = run(&yard, &local("true"), &[]);
    assert!(ran.stderr.contains("`pip freeze` failed with exit status 7"), "{}", ran.stderr);
    assert!(ran.stderr.contains("https://index.example is broken") && !ran.stderr.contains("s3cret"), "{}", ran.stderr);
    let ran = run(&yard, &local("poetry_export"), &[]);
    assert!(ran.stderr.contains("needs `poetry`, which is not on PATH"), "{}", ran.stderr);
    let ran = run(&yard, "settings: {docker: {pyproject_path: nowhere.toml}}", &[]);
    assert!(ran.code == 2 && ran.stderr.contains("there is no such file"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployers_image_has_what_the_server_needs() {
    let yard = Yard::new().await;
    let settings = "settings: {docker: {requirements: [numpy]}}\nlapstrake: {stack: {components: {deployer: docker}}}";
    let ran = run(&yard, settings, &["--format", "json"]);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    let user = (".zenml_user_requirements".to_owned(), "numpy".to_owned());
    assert_eq!(files(&printed["images"][0]), [user.clone()]);
    let server = "Jinja2\nasgiref~=3.10.0\nfastapi\nsecure~=1.0.1\nuvicorn";
    assert_eq!(printed["images"][1]["keys"], json!(["deployer"]));
    let deployment = (".zenml_deployment_requirements".to_owned(), server.to_owned());
    assert_eq!(files(&printed["images"][1]), [deployment, user]);
    let without = settings.replace("[numpy]", "[numpy], install_deployment_requirements: false");
    let ran = run(&yard, &without, &["--format", "json"]);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed["images"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_says_everything_and_what_stands_beside_it_is_told() {
    let yard = Yard::new().await;
    let settings = "settings: {docker: {requirements: pylock.toml, required_integrations: [s3]}}";
    let (image, errors) = shown(&yard, settings);
    assert_eq!(files(&image), [("pylock.toml".to_owned(), String::new())]);
    assert!(errors.contains("what `settings.docker.required_integrations` would install beside it is not"), "{errors}");
}

#[tokio::test(flavor = "multi_thread")]
async fn misspelt_integrations_components_and_flavors_are_told() {
    let yard = Yard::new().await;
    let ran = run(&yard, "settings: {docker: {required_integrations: [sklern]}}", &[]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains("`sklern` is no integration of ZenML"), "{}", ran.stderr);
    assert!(ran.stderr.contains("did you mean `sklearn`?"), "{}", ran.stderr);
    let stack = |components: &str| format!("lapstrake: {{stack: {{components: {{{components}}}}}}}");
    let ran = run(&yard, &stack("orchestrater: local"), &[]);
    assert!(ran.code == 2 && ran.stderr.contains("did you mean `orchestrator`?"), "{}", ran.stderr);
    let ran = run(&yard, &stack("orchestrator: kubernets, artifact_store: local"), &[]);
    assert_eq!(ran.code, 0, "a flavor may be the user's own");
    assert!(ran.stderr.contains("did you mean `kubernetes`?"), "{}", ran.stderr);
    let ran = run(&yard, &stack("orchestrator: {flavour: local}"), &[]);
    assert!(ran.code == 2 && ran.stderr.contains("did you mean `flavor`?"), "{}", ran.stderr);
}
