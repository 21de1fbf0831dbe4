//! Requirements of several sources in a build: resolved together, contradictions named with both sources, locks shown.
//!
//! uv is a script; what the files hold is for `requirements`.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Value, json};

use crate::support::fake_uv::FakeUv;
use crate::support::parents::SITE;
use crate::support::wheel_maker::WheelMaker;
use crate::support::yard::{Ran, Yard};

const SETTINGS: &str = "
settings:
  docker:
    required_integrations: [neptune, s3]
    requirements: requirements.txt
lapstrake:
  stack: {requirements: [boto3, zenml]}
";

fn run(yard: &Yard, command: &str, flags: &[&str]) -> Ran {
    yard.write("run.yaml", SETTINGS);
    let (parent, tag) = (yard.at("demo/parent:1"), yard.at("demo/app:latest"));
    let mut command = {
        let mut started = yard.command("store");
        started.arg(command);
        started
    };
    command.args(["run.yaml", "--parent-image", &parent, "--tag", &tag]).args(flags);
    command.env("LAPSTRAKE_UV", yard.path("uv/uv")).env("PATH", "/usr/bin:/bin").output().unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_sources_are_resolved_together_in_their_order_and_reused_together() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    yard.write("more.txt", "boto3\n");
    yard.write("requirements.txt", "--pre\ncleat\n-r more.txt\n");
    let wheel = WheelMaker::new("cleat", "1.0").file("cleat.py", "1.0");
    uv.answers(&[&wheel], "");
    let build = |yard: &Yard| -> Value {
        let ran = run(yard, "build", &["--format", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    };
    build(&yard);
    let lines = uv.asked().replace("line ", "");
    let expected = "== pip compile\nboto3\nzenml\naws-profile-manager\nboto3\nneptune\ns3fs>2022.3.0,!=2025.3.1\n--pre\ncleat\nboto3\n";
    assert_eq!(lines, expected);
    assert_eq!(yard.pull("demo/app:latest").await.file(&format!("{SITE}/cleat.py")).unwrap().text(), "1.0");
    assert_eq!(build(&yard)["images"][0]["reused"], json!(true));
    yard.write("more.txt", "boto3\ndavit\n");
    assert_eq!(build(&yard)["images"][0]["reused"], json!(false));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contradiction_names_both_sources() {
    let yard = Yard::new().await;
    std::fs::create_dir_all(yard.path("uv")).unwrap();
    let script = "#!/bin/sh\ncase \"$*\" in *--version*) echo uv 0.13.8; exit 0 ;; esac\n\
                  echo 'error: No solution found when resolving dependencies' >&2\n\
                  echo '  cause: Because you require boto3<1 and boto3>=2, your requirements are unsatisfiable.' >&2\nexit 1\n";
    std::fs::write(yard.path("uv/uv"), script).unwrap();
    std::fs::set_permissions(yard.path("uv/uv"), std::fs::Permissions::from_mode(0o755)).unwrap();
    yard.write("requirements.txt", "cleat\nboto3<1\n");
    let ran = run(&yard, "plan", &[]);
    assert_eq!(ran.code, 1);
    for source in
        ["`boto3` in `lapstrake.stack.requirements`", "`boto3` in `integration s3`", "`boto3<1` in `requirements.txt`"]
    {
        assert!(ran.stderr.contains(&format!("required: {source}")), "{source}: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("required: `cleat`"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_installed_is_shown_below_the_files() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    yard.write("requirements.txt", "cleat\n");
    let wheel = WheelMaker::new("cleat", "1.0").file("cleat.py", "1.0");
    uv.answers(&[&wheel], "");
    let ran = run(&yard, "requirements", &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("\n\n# 3. .zenml_user_requirements: requirements.txt\ncleat\n\n"), "{}", ran.stdout);
    let (_, installed) = ran.stdout.split_once("# installed for linux/amd64, Python ").unwrap();
    assert!(installed.contains(": 1 package\ncleat==1.0  cleat-1.0-py3-none-any.whl  "), "{installed}");
    let ran = run(&yard, "requirements", &["--format", "json"]);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    let lock = &printed["images"][0]["locks"][0];
    assert_eq!(lock["platform"], json!("linux/amd64"));
    assert_eq!(lock["packages"][0]["wheel"], json!("cleat-1.0-py3-none-any.whl"));
    assert!(yard.digest_of("demo/app:latest").await.is_none(), "nothing is published");
}
