//! Added requirement lines: the versions that the last build chose stand, on this machine and on a fresh one.
//!
//! uv is played by a script that answers from files and notes what it was asked; the real one is run end to end.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::parents::{SITE, lock_text};
use crate::support::wheel_maker::WheelMaker;
use crate::support::yard::Yard;

/// Answers `pip compile` with `answer.toml` and `pip install` with `changes`; notes arguments, requirement lines and the
/// skeleton in `asked`.
const SCRIPT: &str = r#"#!/bin/sh
case "$*" in
  *--version*) echo uv 0.13.8; exit 0 ;;
esac
{
  echo "== $1 $2"
  for word in "$@"; do
    case "$word" in *.txt) [ -f "$word" ] && sed 's/^/line /' "$word" ;; esac
  done
  [ "$2" = install ] && ls skeleton | sed 's/^/has /'
} >> FOLDER/asked
case "$2" in
  compile) cat FOLDER/answer.toml ;;
  install) cat FOLDER/changes >&2 ;;
esac
"#;

struct FakeUv<'a> {
    yard: &'a Yard,
}

impl<'a> FakeUv<'a> {
    fn new(yard: &'a Yard) -> Self {
        std::fs::create_dir_all(yard.path("uv")).unwrap();
        let fake = Self { yard };
        let folder = yard.path("uv");
        std::fs::write(folder.join("uv"), SCRIPT.replace("FOLDER", &folder.display().to_string())).unwrap();
        std::fs::set_permissions(folder.join("uv"), std::fs::Permissions::from_mode(0o755)).unwrap();
        fake.answers(&[], "");
        fake
    }

    /// What the next runs answer.
    fn answers(&self, wheels: &[&WheelMaker], changes: &str) {
        let folder = self.yard.path("uv");
        let made: Vec<(String, Vec<u8>)> = wheels.iter().map(|wheel| (wheel.filename(), wheel.build())).collect();
        std::fs::create_dir_all(folder.join("wheels")).unwrap();
        for (name, bytes) in &made {
            std::fs::write(folder.join("wheels").join(name), bytes).unwrap();
        }
        let named: Vec<(&str, &[u8])> = made.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
        let text = lock_text(&named).replace("path = \"wheels", &format!("path = \"{}/wheels", folder.display()));
        std::fs::write(folder.join("answer.toml"), text).unwrap();
        std::fs::write(folder.join("changes"), changes).unwrap();
    }

    /// What was asked since the last call.
    fn asked(&self) -> String {
        let path = self.yard.path("uv/asked");
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let _ = std::fs::remove_file(path);
        text
    }

    fn build(&self, store: &str, lines: &str, more: &[&str]) -> Value {
        self.yard.write("requirements.txt", lines);
        let uv = self.yard.path("uv/uv");
        let flags = ["--format", "json", "-r", "requirements.txt"];
        let mut command = self.yard.build_command(store, &[&flags, more].concat());
        let output = command.env("LAPSTRAKE_UV", uv).env("PATH", "/usr/bin:/bin").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut printed: Value = serde_json::from_slice(&output.stdout).unwrap();
        printed["images"][0].take()
    }
}

fn wheel(name: &str, version: &str) -> WheelMaker {
    WheelMaker::new(name, version).file(&format!("{name}.py"), version)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_line_is_chosen_on_top_of_what_stands() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    uv.answers(&[&wheel("cleat", "1.0"), &wheel("davit", "1.0")], "");
    uv.build("store", "cleat\n", &[]);
    assert_eq!(uv.asked(), "== pip compile\nline cleat\n");

    // An index would offer `cleat` 2.0 by now; nobody asks for it.
    uv.answers(&[&wheel("eyelet", "1.0")], " + eyelet==1.0\n");
    uv.build("store", "eyelet\ncleat\n", &[]);
    let asked = uv.asked();
    let (install, compile) = asked.split_once("== pip compile\n").unwrap();
    assert!(install.starts_with("== pip install\nline eyelet\n"), "{asked}");
    assert!(install.contains("has cleat-1.0.dist-info\nhas davit-1.0.dist-info\n"), "{asked}");
    assert_eq!(compile, "line eyelet==1.0\n");
    let image = yard.pull("demo/app:latest").await;
    for (name, version) in [("cleat", "1.0"), ("davit", "1.0"), ("eyelet", "1.0")] {
        assert_eq!(image.file(&format!("{SITE}/{name}.py")).unwrap().text(), version);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_added_line_that_names_a_place_is_installed() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    uv.answers(&[&wheel("cleat", "1.0")], "");
    uv.build("store", "--index-url https://index.example/simple\ncleat\n", &[]);
    uv.asked();

    uv.answers(&[&wheel("eyelet", "1.0")], " + eyelet @ https://u:****@files.example/eyelet-1.0-py3-none-any.whl\n");
    let place = "eyelet @ https://u:s3cret@files.example/eyelet-1.0-py3-none-any.whl";
    uv.build("store", &format!("--index-url https://index.example/simple\ncleat\n{place}\n"), &[]);
    let asked = uv.asked();
    let (_, compile) = asked.split_once("== pip compile\n").unwrap();
    assert_eq!(compile, format!("line --index-url https://index.example/simple\nline {place}\n"));
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.file(&format!("{SITE}/eyelet.py")).unwrap().text(), "1.0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fresh_machine_takes_the_choice_from_beside_the_image() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    let kept = [&wheel("cleat", "1.0"), &wheel("davit", "1.0")];
    uv.answers(&kept, "");
    uv.build("first", "cleat\n", &[]);
    uv.asked();
    std::fs::remove_dir_all(yard.path("uv/wheels")).unwrap();
    uv.answers(&[&wheel("eyelet", "1.0")], " + eyelet==1.0\n");
    yard.requests();
    let built = uv.build("second", "cleat\neyelet\n", &[]);
    let requests = yard.requests();
    let read = requests.iter().filter(|line| line.starts_with("GET") && line.contains("lapstrake-choice-")).count();
    assert_eq!(read, 1, "{requests:?}");
    let pushed = requests.iter().filter(|line| line.starts_with("PUT") && line.contains("lapstrake-choice-")).count();
    assert_eq!(pushed, 1, "{requests:?}");
    assert!(uv.asked().contains("has davit-1.0.dist-info"));
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.file(&format!("{SITE}/eyelet.py")).unwrap().text(), "1.0");
    assert_eq!(image.file(&format!("{SITE}/davit.py")).unwrap().text(), "1.0");
    let made = built["layers"].as_array().unwrap().iter().filter(|layer| layer["action"] == "build");
    assert!(made.count() <= 2, "one group and the sources: {built}");
    println!("added line on an empty store: {} requests", requests.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_chosen_anew_when_more_than_added_lines_differs() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    for (at, (lines, flags, changes)) in [
        ("cleat==2.0\n", &[][..], ""),
        ("cleat\neyelet\n", &["--upgrade"][..], ""),
        ("cleat\neyelet\n", &["--no-cache"][..], ""),
        // A version chosen before would have to change.
        ("cleat\neyelet\n", &[][..], " - davit==1.0\n + davit==2.0\n + eyelet==1.0\n"),
    ]
    .into_iter()
    .enumerate()
    {
        let store = format!("store-{at}");
        let tag = yard.at(&format!("demo/app-{at}:latest"));
        let flags = [&["--tag", tag.as_str()], flags].concat();
        uv.answers(&[&wheel("cleat", "1.0"), &wheel("davit", "1.0")], "");
        uv.build(&store, "cleat\n", &flags[..2]);
        uv.asked();
        uv.answers(&[&wheel("cleat", "2.0"), &wheel("davit", "2.0")], changes);
        uv.build(&store, lines, &flags);
        let asked = uv.asked();
        let last = asked.rsplit("== pip ").next().unwrap();
        assert!(last.starts_with("compile\nline cleat"), "{lines:?} {flags:?}: {asked}");
        let image = yard.pull(&format!("demo/app-{at}:latest")).await;
        assert_eq!(image.file(&format!("{SITE}/davit.py")).unwrap().text(), "2.0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_parent_with_the_same_packages_keeps_the_choice() {
    let yard = Yard::new().await;
    let uv = FakeUv::new(&yard);
    uv.answers(&[&wheel("cleat", "1.0")], "");
    uv.build("first", "cleat\n", &[]);
    uv.asked();
    // Security updates of the parent: another digest, the same distributions.
    let config =
        crate::support::yard::changed_config(|config| config["config"]["Labels"] = serde_json::json!({"v": "2"}));
    yard.push_image("demo/parent:2", &[&crate::support::yard::parent_layer()], &config).await;
    uv.build("second", "cleat\n", &["--parent-image", &yard.at("demo/parent:2")]);
    assert_eq!(uv.asked(), "", "nothing is chosen anew");
}
