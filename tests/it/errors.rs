//! Bad input: what failed on what, why, and what to do next; nothing is published and no tag moves.
//!
//! What is wrong in the settings and on the command line is in `errors_usage`.

use std::path::Path;

use serde_json::json;

use crate::support::fault::{FaultServer, Reply};
use crate::support::parents::{gzip, lock_text};
use crate::support::readback::sha256;
use crate::support::wheel_maker::WheelMaker;
use crate::support::yard::{Ran, Yard, changed_config, parent_config, parent_layer};

/// A yard whose target tag stands for something that has to stay.
pub(crate) async fn yard() -> Yard {
    let yard = Yard::new().await;
    yard.push_image("demo/app:latest", &[&parent_layer()], &parent_config()).await;
    yard.requests();
    yard
}

/// stderr with what differs from run to run taken out.
pub(crate) fn told(yard: &Yard, stderr: &str) -> String {
    let folder = yard.path("").display().to_string();
    stderr.replace(&yard.domain(), "HOST").replace(folder.trim_end_matches('/'), "DIR")
}

/// Checks that `ran` failed with `code` and published nothing; gives what it told.
pub(crate) async fn failed(yard: &Yard, ran: Ran, code: i32) -> String {
    let text = told(yard, &ran.stderr);
    assert_eq!((ran.code, ran.stdout.as_str()), (code, ""), "{text}");
    let published: Vec<String> =
        yard.requests().into_iter().filter(|line| line.starts_with("PUT") && line.contains("/manifests/")).collect();
    assert_eq!(published, Vec::<String>::new());
    let image = yard.pull("demo/app:latest").await;
    assert_eq!(image.config_bytes, parent_config(), "the tag moved");
    for word in ["panicked", "Error {", "Some(", "Os {", "kind:"] {
        assert!(!text.contains(word), "debug text in: {text}");
    }
    text
}

/// Runs the build, which has to fail with `code`.
pub(crate) async fn build_fails(yard: &Yard, flags: &[&str], code: i32) -> String {
    let ran = yard.run_build("store", &[&["--quiet"], flags].concat());
    failed(yard, ran, code).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_does_not_exist() {
    let yard = yard().await;
    let text = build_fails(&yard, &["--parent-image", &yard.at("demo/none:1")], 1).await;
    insta::assert_snapshot!(text, @"
    error: parent image `HOST/demo/none:1` does not exist
      hint: see that the name and tag are right, and that the registry lets you pull it
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_index_parent_without_the_platform() {
    let yard = yard().await;
    let arm = changed_config(|config| config["architecture"] = json!("arm64"));
    let arm = yard.push_image("demo/index:arm", &[&parent_layer()], &arm).await;
    yard.push_index("demo/index:1", &[(arm, "arm64")]).await;
    yard.requests();
    let flags = ["--parent-image", &yard.at("demo/index:1"), "--platform", "linux/s390x"];
    let text = build_fails(&yard, &flags, 1).await;
    insta::assert_snapshot!(text, @"
    error: parent image `HOST/demo/index:1` has no image for `linux/s390x`; it has linux/arm64
      hint: choose one of these with `--platform`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_single_parent_of_another_platform() {
    let yard = yard().await;
    let text = build_fails(&yard, &["--platform", "linux/arm64"], 1).await;
    insta::assert_snapshot!(text, @"
    error: parent image `HOST/demo/parent:1` has no image for `linux/arm64`; it has linux/amd64
      hint: choose one of these with `--platform`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_names_no_platform() {
    let yard = yard().await;
    let bare = changed_config(|config| {
        config["architecture"] = json!("");
        config["os"] = json!("");
    });
    yard.push_image("demo/bare:1", &[&parent_layer()], &bare).await;
    yard.requests();
    let text = build_fails(&yard, &["--parent-image", &yard.at("demo/bare:1")], 1).await;
    insta::assert_snapshot!(text, @"
    error: parent image `HOST/demo/bare:1` does not say which platform it is for
      hint: set `os` and `architecture` in its config, as `crane mutate --set-platform linux/amd64` does
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn offline_makes_not_one_connection() {
    let yard = yard().await;
    let proxy = FaultServer::start(|_, _| Reply::status(503)).await;
    let run = |more: &[&str]| -> Ran {
        let flags = [&["--quiet", "--parent-image", "registry.example/base:1"], more].concat();
        let mut command = yard.build_command("store", &flags);
        command.env("HTTPS_PROXY", proxy.url("")).output().unwrap().into()
    };
    let text = failed(&yard, run(&["--offline"]), 1).await;
    insta::assert_snapshot!(text, @"
    error: `registry.example` is needed, and the network is switched off
      hint: run once without `--offline`, so that what is needed is in the store
    ");
    assert_eq!(proxy.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_names_identity_and_scope_and_no_secret() {
    let yard = yard().await;
    let server = FaultServer::start(|_, _| Reply::status(401).header("www-authenticate", "Basic realm=\"r\"")).await;
    let auth = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, "me:canary-secret");
    std::fs::create_dir_all(yard.path("home/.docker")).unwrap();
    let config = json!({"auths": {server.domain(): {"auth": auth}}});
    std::fs::write(yard.path("home/.docker/config.json"), config.to_string()).unwrap();
    let parent = format!("{}/private/base:1", server.domain());
    let text = build_fails(&yard, &["--parent-image", &parent], 1).await.replace(&server.domain(), "PRIVATE");
    insta::assert_snapshot!(text, @"
    error: `PRIVATE` does not accept the identity from `DIR/home/.docker/config.json` for `repository:private/base:pull`
      hint: log in with `lapstrake login PRIVATE`, or configure a credential helper for it
    ");
    assert!(!text.contains("canary") && !text.contains(&auth));
    let known = server.seen().iter().filter(|seen| seen.header("authorization").is_some()).count();
    assert!((1..=2).contains(&known), "{known} tries with the password");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_anonymous_user_that_is_refused_is_told_to_log_in() {
    let yard = yard().await;
    let server = FaultServer::start(|_, _| Reply::status(401).header("www-authenticate", "Basic realm=\"r\"")).await;
    let parent = format!("{}/private/base:1", server.domain());
    let text = build_fails(&yard, &["--parent-image", &parent], 1).await.replace(&server.domain(), "PRIVATE");
    insta::assert_snapshot!(text, @"
    error: `PRIVATE` does not accept an anonymous user for `repository:private/base:pull`
      hint: log in with `lapstrake login PRIVATE`, or configure a credential helper for it
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_host() {
    let yard = yard().await;
    let text = build_fails(&yard, &["--parent-image", "registry.invalid/base:1"], 1).await;
    insta::assert_snapshot!(text, @"
    error: unknown host `registry.invalid`
      because: failed to lookup address information: Name or service not known
      hint: check the spelling of the registry's host, and the network's name server
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_where_nobody_listens() {
    let yard = yard().await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = build_fails(&yard, &["--parent-image", &format!("{free}/base:1")], 1).await;
    insta::assert_snapshot!(text.replace(&free.to_string(), "NOBODY"), @"
    error: `NOBODY` refuses the connection
      because: Connection refused (os error 111)
      hint: check the host and port, and that the registry runs
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_that_is_no_manifest() {
    let yard = yard().await;
    let server = FaultServer::start(|_, _| {
        let body = "<html>captive portal</html>";
        Reply::ok(body).header("content-type", "text/html")
    });
    let server = server.await;
    let parent = format!("{}/base:1", server.domain());
    let text = build_fails(&yard, &["--parent-image", &parent], 1).await.replace(&server.domain(), "PORTAL");
    insta::assert_snapshot!(text, @"
    error: `PORTAL/base:1` is not a usable manifest or index
      because: document is not unambiguous JSON
      because: expected value at line 1 column 1
      hint: see that a registry answers there and no login page; tools would disagree on what this document is
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_whose_bytes_are_not_those_of_its_digest() {
    let yard = yard().await;
    let wanted = sha256(b"the manifest that was promised");
    let server = FaultServer::start(|_, _| {
        Reply::ok(r#"{"schemaVersion":2}"#).header("content-type", "application/vnd.oci.image.manifest.v1+json")
    });
    let server = server.await;
    let parent = format!("{}/base@{wanted}", server.domain());
    let text = build_fails(&yard, &["--parent-image", &parent], 1).await.replace(&server.domain(), "STALE");
    insta::assert_snapshot!(text, @"
    error: `STALE/base@sha256:3ee7c218488ece222c884313d262b93f90ce9fef3d8fabab58e883584805b16b` is not a usable manifest or index
      because: image manifest has digest `sha256:bafebd36189ad3688b7b3915ea55d461e0bfcfbdde11e54b0a123999fb6be50f` where `sha256:3ee7c218488ece222c884313d262b93f90ce9fef3d8fabab58e883584805b16b` was expected
      hint: the registry or a proxy before it altered the document; fetch it again
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_layer_that_is_no_archive() {
    let yard = yard().await;
    yard.push_image(
        "demo/parent:1",
        &[&gzip(&[7; 2048])],
        &changed_config(|config| {
            config["rootfs"]["diff_ids"] = json!([sha256(&[7; 2048])]);
        }),
    )
    .await;
    yard.requests();
    let text = build_fails(&yard, &[], 1).await;
    insta::assert_snapshot!(text, @"
    error: cannot index layer `sha256:072309086a35759479bad32f8345a1b39d2e70a822264c4f24722ce5498de814` of parent image `HOST/demo/parent:1`
      because: the layer's tar is refused
      because: a tar header holds a wrong number
      hint: the parent image is damaged or of a form that no runtime takes; push it again, or use another
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parent_layer_that_unpacks_to_something_else_than_its_config_says() {
    let yard = yard().await;
    let config = changed_config(|config| config["rootfs"]["diff_ids"] = json!([sha256(b"other")]));
    yard.push_image("demo/parent:1", &[&parent_layer()], &config).await;
    yard.requests();
    let text = build_fails(&yard, &[], 1).await;
    insta::assert_snapshot!(text, @"
    error: layer `sha256:50386cdd7ba97bc2b61a14c7faab599eb92899eb4a5c5c1b400ea72fd03a3273` of parent image `HOST/demo/parent:1` unpacks to `sha256:8058113526c33511e38178dc8c8d37aabcf5c44887106ba9e7c265f78f734713`, its config says `sha256:d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa`
      hint: the parent image is damaged or of a form that no runtime takes; push it again, or use another
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_python_in_the_parent() {
    let yard = yard().await;
    let (layer, diff_id) = crate::support::parents::layer(&[("etc/passwd", "zen:x:1000:1000::/:\n")]);
    let config = changed_config(|config| {
        config["rootfs"]["diff_ids"] = json!([diff_id]);
        config["config"]["Env"] = json!(["PATH=/usr/local/bin:/usr/bin"]);
    });
    yard.push_image("demo/parent:1", &[&layer], &config).await;
    yard.requests();
    let text = build_fails(&yard, &[], 1).await;
    insta::assert_snapshot!(text, @"
    error: the image has no `python` or `python3` in `/usr/local/bin`, `/usr/bin`
      hint: choose a parent with Python, such as `python:3.12-slim`, or name its folder as the settings' `python` prefix
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_the_parent_does_not_have() {
    let yard = yard().await;
    let text = build_fails(&yard, &["--user", "zem"], 2).await;
    insta::assert_snapshot!(text, @"
    error: the image has no user `zem`
      hint: the image has the users root, zen; or write a number
    ");
}

/// A lock over one wheel file of this name.
fn foreign_lock(filename: &str) -> String {
    lock_text(&[(filename, WheelMaker::new("x", "1").build().as_slice())])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_package_without_a_wheel_for_the_platform() {
    let yard = yard().await;
    yard.write("pylock.toml", foreign_lock("sail-1.0-cp311-cp311-win_amd64.whl"));
    let text = build_fails(&yard, &[], 1).await;
    insta::assert_snapshot!(text, @"
    error: no wheel of `sail` 1.0 fits: `sail-1.0-cp311-cp311-win_amd64.whl` needs win_amd64, the image has x86_64 with glibc 2.36; tried `cp311-cp311-manylinux_2_36_x86_64`, `cp311-cp311-manylinux_2_35_x86_64`, `cp311-cp311-manylinux_2_34_x86_64`, `cp311-cp311-manylinux_2_33_x86_64`, `cp311-cp311-manylinux_2_32_x86_64`, `cp311-cp311-manylinux_2_31_x86_64` and 908 more
      hint: require another version of `sail`, or a parent image with another Python, C library or platform
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_musl_parent_against_a_glibc_wheel() {
    let yard = yard().await;
    let musl = [("lib/ld-musl-x86_64.so.1", "\x001.2.4\0"), ("usr/lib/.wh.libc.so.6", "")];
    yard.push_parent_with("demo/parent:1", &musl, |_| ()).await;
    yard.requests();
    yard.write("pylock.toml", foreign_lock("sail-1.0-cp311-cp311-manylinux_2_28_x86_64.whl"));
    let text = build_fails(&yard, &[], 1).await;
    insta::assert_snapshot!(text, @"
    error: no wheel of `sail` 1.0 fits: `sail-1.0-cp311-cp311-manylinux_2_28_x86_64.whl` needs manylinux_2_28, the image has musl 1.2; tried `cp311-cp311-musllinux_1_2_x86_64`, `cp311-cp311-musllinux_1_1_x86_64`, `cp311-cp311-musllinux_1_0_x86_64`, `cp311-cp311-linux_x86_64`, `cp311-abi3-musllinux_1_2_x86_64`, `cp311-abi3-musllinux_1_1_x86_64` and 108 more
      hint: require another version of `sail`, or a parent image with another Python, C library or platform
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wheel_with_another_hash_than_the_lock_says() {
    let yard = yard().await;
    let wheel = WheelMaker::new("sail", "1.0").file("sail.py", "a = 1\n");
    yard.lock(&[&wheel]);
    let mut bytes = wheel.build();
    bytes[60] ^= 1;
    yard.write(&format!("wheels/{}", wheel.filename()), bytes);
    let text = build_fails(&yard, &[], 1).await;
    insta::assert_snapshot!(text, @"
    error: `sail-1.0-py3-none-any.whl` of `sail` has the hash `sha256:9482ed66a85fd94f8ca4d5ca75ea4455e2970ae29535dba9e7152f03b226bc1b`, the lock says `sha256:269f5147dbdb124bfd6e6d1985b06ec95279a348d8cf995bac7d45d4d51d3687`
      hint: make the lock again if the index replaced the file; otherwise do not trust this index
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wheel_whose_file_is_missing() {
    let yard = yard().await;
    yard.lock(&[&WheelMaker::new("sail", "1.0")]);
    std::fs::remove_dir_all(yard.project().join("wheels")).unwrap();
    let text = build_fails(&yard, &[], 1).await;
    insta::assert_snapshot!(text, @"
    error: `sail` cannot be read from `DIR/project/wheels/sail-1.0-py3-none-any.whl`
      because: No such file or directory (os error 2)
      hint: put the file where the lock says it is, or make the lock again
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wheel_that_slips() {
    let yard = yard().await;
    yard.lock(&[&WheelMaker::new("sail", "1.0").file("../../etc/cron.d/x", "* * * * *\n")]);
    let text = build_fails(&yard, &[], 1).await;
    insta::assert_snapshot!(text, @"
    error: wheel `sail-1.0-py3-none-any.whl` is refused
      because: member name `../../etc/cron.d/x` is empty, absolute, or holds an empty, `.` or `..` component
      hint: the wheel is malformed or made to deceive; use another build of it
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wheel_that_lies_about_a_file() {
    let yard = yard().await;
    let row = format!("sail.py,sha256={},6", "A".repeat(43));
    let wheel = WheelMaker::new("sail", "1.0").file("sail.py", "a = 1\n").unrecorded().record_row(&row);
    yard.lock(&[&wheel]);
    let text = build_fails(&yard, &[], 1).await;
    insta::assert_snapshot!(text, @"
    error: wheel `sail-1.0-py3-none-any.whl` is refused
      because: file `sail.py` does not have the hash that RECORD gives it
      hint: the wheel is damaged or was changed after it was built; use another build of it
    ");
}

/// The same command with another file as its program.
#[expect(clippy::disallowed_methods, reason = "a test starts the program")]
fn moved(command: &std::process::Command, program: &Path) -> std::process::Command {
    let mut moved = std::process::Command::new(program);
    moved.args(command.get_args()).env_clear();
    moved.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        moved.current_dir(folder);
    }
    moved
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_file_that_cannot_be_read() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt as _;
    let yard = yard().await;
    yard.write("secret.key", "x");
    let is_root = rustix::process::geteuid().is_root();
    let allow = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    allow(&yard.project().join("secret.key"), 0o000);
    allow(&yard.path(""), 0o777);
    let mut command = yard.build_command("store", &["--quiet"]);
    if is_root {
        // Root reads everything: somebody else tries, with a copy of the program where everybody can reach it.
        let program = yard.path("lapstrake");
        std::fs::copy(command.get_program(), &program).unwrap();
        command = moved(&command, &program);
        command.uid(65_534).gid(65_534);
    }
    let ran: Ran = command.output().unwrap().into();
    let text = failed(&yard, ran, 1).await;
    insta::assert_snapshot!(text, @"
    error: `DIR/project/secret.key` cannot be read
      because: Permission denied (os error 13)
      hint: make it readable, or leave it out in `.dockerignore`
    ");
}

#[tokio::test]
async fn a_source_file_that_changes_while_it_is_read() {
    use lapstrake::inputs::ignore::IgnoreRules;
    use lapstrake::inputs::source::{Placement, WalkOptions, walk, write_layer};
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.csv");
    std::fs::write(&file, "1,2,3\n").unwrap();
    let tree = walk(folder.path(), &IgnoreRules::default(), &WalkOptions::default()).unwrap();
    std::fs::write(&file, "4,5,6\n").unwrap();
    let destination = lapstrake::layer::EntryPath::parse("app").unwrap();
    let placement = Placement { destination, uid: 0, gid: 0, parent: &|_| None };
    let mut writer = lapstrake::layer::LayerWriter::new(Vec::new());
    let error = write_layer(&tree, folder.path(), &placement, &mut writer).unwrap_err();
    let shown = format!("{error}\n{}", lapstrake::diagnostic::Diagnose::hint(&error).unwrap());
    insta::assert_snapshot!(shown.replace(&folder.path().display().to_string(), "DIR"), @"
    `DIR/data.csv` changed while it was read
    build again when nothing writes to the sources
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwritable_store_is_done_without() {
    let yard = yard().await;
    let ran: Ran = yard
        .build_command("store", &["--progress", "none"])
        .env("LAPSTRAKE_STORE", "/dev/null/store")
        .output()
        .unwrap()
        .into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    insta::assert_snapshot!(ran.stderr, @"warning: the store `/dev/null/store` cannot be used, and this run goes on without it: cannot create `/dev/null/store`: Not a directory (os error 20)");
    assert_eq!(ran.stdout, format!("{}@{}\n", yard.at("demo/app"), yard.digest_of("demo/app:latest").await.unwrap()));
}

/// A file system of one MiB at `path`, until it is dropped; `None`, aloud, where mounting is not permitted.
struct Small(std::path::PathBuf);

impl Small {
    fn mount(path: &Path) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mounted = tool("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(path.to_owned()));
        }
        println!("skipped: a small file system cannot be mounted here");
        None
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = tool("umount").args(["-l".as_ref(), self.0.as_os_str()]).status();
    }
}

#[expect(clippy::disallowed_methods, reason = "mounting is a tool's work")]
fn tool(name: &str) -> std::process::Command {
    std::process::Command::new(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk() {
    let yard = yard().await;
    let Some(small) = Small::mount(&yard.path("small")) else { return };
    let noise: Vec<u8> = (0..2_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    yard.lock(&[&WheelMaker::new("sail", "1.0").file("sail.bin", noise).stored()]);
    let text = build_fails(&yard, &["--store", &yard.path("small/store").display().to_string()], 1).await;
    insta::assert_snapshot!(text, @"
    error: `sail` cannot be stored
      because: no space left for 2097945 bytes in `DIR/small/store`
      hint: free some space, for instance with `lapstrake cache prune`, or choose another folder; the store's with `--store`
    ");
    let verified: Ran = yard.command("small/store").args(["cache", "verify"]).output().unwrap().into();
    assert_eq!(verified.code, 0, "{}", verified.stderr);
    assert!(verified.stdout.contains("all whole"), "{}", verified.stdout);
    drop(small);
}
