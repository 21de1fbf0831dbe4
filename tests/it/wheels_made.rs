//! Wheels that nobody offers, pip as the installer, the project's own installation, sources one after the other.
//!
//! uv, pip, git and Python are played by scripts that answer from files and note what they were asked; the real ones are run
//! end to end.

use crate::support::fake_uv::FakeUv;
use crate::support::parents::SITE;
use crate::support::readback::sha256;
use crate::support::wheel_maker::WheelMaker;
use crate::support::yard::{Ran, Yard};

fn wheel(name: &str, version: &str) -> WheelMaker {
    WheelMaker::new(name, version).file(&format!("{name}.py"), version)
}

/// The part of what uv was asked that is about builds.
fn builds(asked: &str) -> Vec<&str> {
    asked.lines().filter(|line| line.starts_with("built ")).collect()
}

/// Runs a build of the settings, and gives what came of it.
fn run(yard: &Yard, uv: &FakeUv<'_>, settings: &str, more: &[&str]) -> Ran {
    yard.write("lapstrake.yaml", settings);
    let mut command = yard.build_command("store", &[&["--config", "lapstrake.yaml"], more].concat());
    command.env("LAPSTRAKE_UV", uv.program()).env("PATH", uv.folder());
    command.output().unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_built_once_for_its_content_and_never_written_to() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    yard.write("lib/pyproject.toml", "[project]\nname = \"thwart\"\n");
    let made = wheel("thwart", "0.1");
    uv.builds(&made);
    uv.answers_made(&made);
    uv.build("store", "./lib\n", &[]);
    let asked = uv.asked();
    assert_eq!(builds(&asked), ["built pyproject.toml"], "{asked}");
    assert!(asked.contains("line thwart @ file:///"), "{asked}");
    assert!(!yard.project().join("lib/build").exists(), "the script writes `build` where it builds");
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.file(&format!("{SITE}/thwart.py")).unwrap().text(), "0.1");
    let dist_info = format!("{SITE}/thwart-0.1.dist-info");
    assert!(
        image.file(&format!("{dist_info}/direct_url.json")).is_none(),
        "a path of this machine means nothing there"
    );

    let again = uv.build("store", "./lib\n", &[]);
    assert_eq!((again["reused"].as_bool(), uv.asked().as_str()), (Some(true), ""));

    yard.write("lib/thwart.py", "changed");
    let made = wheel("thwart", "0.2");
    uv.builds(&made);
    uv.answers_made(&made);
    uv.build("store", "./lib\n", &[]);
    assert_eq!(builds(&uv.asked()), ["built pyproject.toml thwart.py"]);
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.file(&format!("{SITE}/thwart.py")).unwrap().text(), "0.2");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_sdist_is_verified_and_built_where_no_wheel_is() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    let sdist = b"not looked into".to_vec();
    std::fs::write(uv.folder().join("bollard-1.0.tar.gz"), &sdist).unwrap();
    let made = wheel("bollard", "1.0");
    uv.builds(&made);
    uv.answers_sdist("bollard-1.0.tar.gz", &sha256(&sdist));
    uv.build("store", "bollard\n", &[]);
    let asked = uv.asked();
    assert_eq!(builds(&asked), ["built bollard-1.0.tar.gz"], "{asked}");
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.file(&format!("{SITE}/bollard.py")).unwrap().text(), "1.0");

    uv.build("store", "bollard\n# another text\nbollard>=1\n", &[]);
    let asked = uv.asked();
    assert!(builds(&asked).is_empty(), "built once: {asked}");

    uv.answers_sdist("bollard-1.0.tar.gz", &sha256(b"other bytes"));
    let ran = uv.run("fresh", "bollard\n", &["--no-cache"]);
    assert!(ran.code != 0 && ran.stderr.contains("has the hash"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wheel_for_this_machine_alone_asks_for_a_backend() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    yard.write("lib/pyproject.toml", "");
    uv.python("3.11.7", "riscv64");
    uv.builds_named("thwart-0.1-cp311-cp311-linux_riscv64.whl", &wheel("thwart", "0.1").build());
    let ran = uv.run("store", "./lib\n", &[]);
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    let expected = "`./lib` builds a C extension for linux/amd64, which this machine is not";
    assert!(ran.stderr.contains(expected) && ran.stderr.contains("find-links"), "{}", ran.stderr);
    // A pure wheel is for everyone.
    uv.builds(&wheel("thwart", "0.1"));
    uv.answers_made(&wheel("thwart", "0.1"));
    yard.write("lib/thwart.py", "pure");
    uv.build("store", "./lib\n", &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_build_shows_what_the_build_says() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    yard.write("lib/pyproject.toml", "");
    let ran = uv.run("store", "-e ./lib\n", &[]);
    assert!(ran.stderr.contains("`-e ./lib` cannot be built into a wheel"), "{}", ran.stderr);
    assert!(ran.stderr.contains("nothing to build"), "{}", ran.stderr);
    assert!(ran.stderr.contains("is installed as a wheel"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_built_at_its_commit_and_no_secret_is_seen() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    let commit = "0123456789abcdef0123456789abcdef01234567";
    uv.git(commit);
    let made = wheel("fender", "1.0");
    uv.builds(&made);
    uv.answers_made(&made);
    let settings = "settings:\n  docker:\n    requirements: [\"git+https://me:s3cret@h.example/fender.git@v1\"]\n";
    let ran = run(&yard, &uv, settings, &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let asked = uv.asked();
    assert!(asked.contains("git ls-remote --quiet -- https://h.example/fender.git v1"), "{asked}");
    assert_eq!(builds(&asked), ["built fender.txt"], "{asked}");
    let image = yard.pull("demo/app:latest").await;
    let told = image.file(&format!("{SITE}/fender-1.0.dist-info/direct_url.json")).unwrap().text();
    let expected = format!(
        "{{\"url\":\"https://h.example/fender.git\",\"vcs_info\":{{\"vcs\":\"git\",\"commit_id\":\"{commit}\",\"requested_revision\":\"v1\"}}}}"
    );
    assert_eq!(told, expected);
    let seen = format!("{asked}{}{}{told}", ran.stdout, ran.stderr);
    assert!(!seen.contains("s3cret"), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_project_is_installed_as_a_wheel_with_what_it_requires() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    let metadata = "Metadata-Version: 2.1\nName: demo\nVersion: 1.0\nRequires-Dist: cleat>=1\nRequires-Dist: davit; extra == 'x'\n";
    let made = wheel("demo", "1.0");
    let named = format!("{}/METADATA", made.dist_info());
    uv.builds_named(&made.filename(), &made.file(&named, metadata).build());
    uv.answers(&[&wheel("cleat", "1.0")], "");
    let settings = "settings:\n  docker:\n    local_project_install_command: pip install .\n";
    let ran = run(&yard, &uv, settings, &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let asked = uv.asked();
    assert!(asked.contains("line cleat>=1\n") && !asked.contains("davit"), "{asked}");
    assert_eq!(builds(&asked).len(), 1, "{asked}");
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.file(&format!("{SITE}/demo.py")).unwrap().text(), "1.0");
    assert_eq!(image.file(&format!("{SITE}/cleat.py")).unwrap().text(), "1.0");
    let told = image.file(&format!("{SITE}/demo-1.0.dist-info/direct_url.json")).unwrap().text();
    assert_eq!(told, r#"{"url":"file:///app","dir_info":{}}"#);

    let alone = settings.replace("pip install .", "uv pip install --no-deps .");
    assert_eq!(run(&yard, &uv, &alone, &[]).code, 0);
    assert!(!uv.asked().contains("cleat"));
    let other = settings.replace("pip install .", "make install");
    let ran = run(&yard, &uv, &other, &[]);
    assert!(ran.stderr.contains("`make install` needs a backend"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn pip_chooses_by_its_report_and_is_named_as_the_installer() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    uv.pip("23.2.1", &[&wheel("cleat", "1.0"), &wheel("davit", "2.0")]);
    let settings = "settings:\n  docker:\n    python_package_installer: pip\n    requirements: [cleat]\n    \
                    python_package_installer_args: {index-url: \"https://me:s3cret@h.example/simple\", no-deps: null}\n";
    let ran = run(&yard, &uv, settings, &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let asked = uv.asked();
    let pip = asked.lines().find(|line| line.starts_with("pip ")).unwrap();
    for expected in ["install --dry-run", "--only-binary=:all:", "--python-version=3.11", "--abi=cp311", "--no-deps"] {
        assert!(pip.contains(expected), "{expected}: {pip}");
    }
    assert!(!pip.contains("s3cret"), "{pip}");
    assert!(asked.contains("line --index-url https://me:s3cret@h.example/simple\nline cleat\n"), "{asked}");
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.file(&format!("{SITE}/davit.py")).unwrap().text(), "2.0");
    assert_eq!(image.file(&format!("{SITE}/cleat-1.0.dist-info/INSTALLER")).unwrap().text(), "pip\n");

    assert_eq!(run(&yard, &uv, settings, &[]).code, 0);
    assert_eq!(uv.asked(), "", "the same question is not asked again");
    uv.pip("21.0", &[]);
    let ran = run(&yard, &uv, &settings.replace("[cleat]", "[cleat, eyelet]"), &["--upgrade"]);
    assert!(ran.stderr.contains("pip 21.0 is older than 22.2"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn sources_one_after_the_other_see_what_the_ones_before_installed() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    uv.answers(&[&wheel("cleat", "1.0")], " + cleat==1.0\n");
    let settings = "settings:\n  docker:\n    requirements: [cleat]\n\
                    lapstrake:\n  resolution: sequential\n  stack: {requirements: [\"cleat<2\"]}\n";
    let ran = run(&yard, &uv, settings, &[]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let asked = uv.asked();
    let second = asked.split("== pip install\n").nth(1).unwrap_or_default();
    assert!(second.starts_with("line cleat\n") && second.contains("has cleat-1.0.dist-info"), "{asked}");
    assert!(asked.starts_with("== pip compile\nline cleat<2\n"), "{asked}");
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.file(&format!("{SITE}/cleat.py")).unwrap().text(), "1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_was_written_is_what_a_locked_build_installs() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    uv.answers(&[&wheel("cleat", "1.0"), &wheel("davit", "1.0")], "");
    yard.write("requirements.txt", "cleat\n");
    let parent = yard.at("demo/parent:1");
    let mut command = yard.command("store");
    command.args(["requirements", "--write-lock", "--parent-image", &parent, "-r", "requirements.txt"]);
    let ran: Ran = command.env("LAPSTRAKE_UV", uv.program()).env("PATH", uv.folder()).output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let text = std::fs::read_to_string(yard.project().join("pylock.toml")).unwrap();
    for expected in
        ["environments = [", "requires-python = \"==3.11.*\"", "created-by = \"lapstrake\"", "name = \"davit\""]
    {
        assert!(text.contains(expected), "{text}");
    }
    assert!(!yard.project().join(".pylock.toml.new").exists());
    uv.asked();
    yard.build("fresh", &["--locked"]);
    assert_eq!(uv.asked(), "", "a lock needs no resolver");
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.file(&format!("{SITE}/davit.py")).unwrap().text(), "1.0");
}
