//! Added requirement lines: the versions that the last build chose stand, on this machine and on a fresh one.
//!
//! uv is played by a script that answers from files and notes what it was asked; the real one is run end to end.

use crate::support::fake_uv::FakeUv;
use crate::support::parents::SITE;
use crate::support::wheel_maker::WheelMaker;
use crate::support::yard::Yard;

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
