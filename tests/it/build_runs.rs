//! Runs that are disturbed, killed, interrupted or run beside others: one digest, nothing half-written.

use std::io::{BufRead as _, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::index::IndexServer;
use crate::support::parents::lock_text;
use crate::support::wheel_maker::WheelMaker;
use crate::support::yard::{FIXTURES, Ran, Yard, copy_tree};

#[expect(clippy::disallowed_methods, reason = "signals and a shell's umask come from tools of the system")]
fn tool(name: &str) -> Command {
    Command::new(name)
}

fn send(signal: &str, child: &Child) {
    let sent = tool("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Names below a folder, at any depth.
#[expect(clippy::disallowed_methods, reason = "the names are only counted")]
fn files_below(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names = Vec::new();
    for entry in entries.map(Result::unwrap) {
        match entry.file_type().unwrap().is_dir() {
            true => names.extend(files_below(&entry.path())),
            false => names.push(entry.path().display().to_string()),
        }
    }
    names
}

/// A store may hold nothing that is half-written, and all that it holds is whole.
fn is_clean(yard: &Yard, store: &str) {
    let ran: Ran = yard.command(store).args(["cache", "verify", "--format", "json"]).output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let said: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(said["removed"], serde_json::json!([]), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_matter_does_not_change_the_digest() {
    let yard = Yard::new().await;
    let plain = yard.build("store", &[]);
    let other = yard.path("another/checkout of it");
    // Written in another order, at another time, by somebody with another umask.
    for name in ["steps", "."] {
        copy_tree(&Path::new(FIXTURES).join("project").join(name), &other.join(name));
    }
    for file in files_below(&other) {
        let file = std::fs::File::options().write(true).open(file).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + Duration::from_secs(1_234_567)).unwrap();
    }
    let narrow = tool("chmod").args(["-R", "go-rwx"]).arg(&other).status().unwrap();
    assert!(narrow.success());
    let tags = yard.at("demo/app:latest");
    let script = format!(
        "umask 0077; exec \"$0\" build --format json --no-cache --parent-image {} --tag {tags}",
        yard.at("demo/parent:1")
    );
    let disturbed: Ran = tool("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_lapstrake")])
        .env_clear()
        .envs([("TZ", "Pacific/Kiritimati"), ("LANG", "tr_TR.UTF-8"), ("LC_ALL", "C"), ("USER", "nobody")])
        .envs([("HOSTNAME", "elsewhere"), ("TOKIO_WORKER_THREADS", "1"), ("RAYON_NUM_THREADS", "1")])
        .env("HOME", &other)
        .env("LAPSTRAKE_STORE", yard.path("other-store"))
        .current_dir(&other)
        .output()
        .unwrap()
        .into();
    assert_eq!(disturbed.code, 0, "{}", disturbed.stderr);
    let printed: Value = serde_json::from_str(&disturbed.stdout).unwrap();
    assert_eq!(printed["images"][0]["digest"], plain["digest"]);
    assert_eq!(printed["images"][0]["reused"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_builds_at_once_on_one_cold_store_fetch_each_wheel_once() {
    let yard = Yard::new().await;
    let index = IndexServer::start().await;
    let mut text = String::new();
    let names: Vec<String> = (0..12).map(|number| format!("plank{number}")).collect();
    let wheels: Vec<(String, Vec<u8>)> = names
        .iter()
        .map(|name| {
            let wheel = WheelMaker::new(name, "1.0").file(&format!("{name}/__init__.py"), name.repeat(20_000));
            (wheel.filename(), wheel.build())
        })
        .collect();
    for (filename, bytes) in &wheels {
        index.put(&format!("/files/{filename}"), bytes);
    }
    let named: Vec<(&str, &[u8])> = wheels.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    for line in lock_text(&named).lines() {
        match line.strip_prefix("path = \"wheels/") {
            Some(file) => text.push_str(&format!("url = \"{}{file}\n", index.url("/files/"))),
            None => text.push_str(&format!("{line}\n")),
        }
    }
    yard.write("pylock.toml", text);
    let children: Vec<Child> = (0..8).map(|_| yard.build_command("store", &[]).spawn().unwrap()).collect();
    let ran: Vec<Ran> = children.into_iter().map(|child| child.wait_with_output().unwrap().into()).collect();
    for one in &ran {
        assert_eq!(one.code, 0, "{}", one.stderr);
        assert_eq!(one.stdout, ran[0].stdout);
    }
    let mut fetched: Vec<String> = index.seen().into_iter().map(|seen| seen.path).collect();
    fetched.sort();
    let mut expected: Vec<String> = wheels.iter().map(|(name, _)| format!("/files/{name}")).collect();
    expected.sort();
    assert_eq!(fetched, expected, "each wheel once");
    is_clean(&yard, "store");
    println!("8 builds at once: {} wheel downloads for {} wheels", fetched.len(), wheels.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_build_leaves_a_store_that_the_next_build_uses() {
    const ROUNDS: u32 = 20;
    let yard = Yard::new().await;
    let expected = yard.build("expected", &["--no-cache"]);
    let events = yard.run_build("counted", &["--no-cache", "--progress", "json"]).stderr.lines().count() as u32;
    let mut killed = 0;
    for round in 0..ROUNDS {
        let mut child = yard.build_command("store", &["--no-cache", "--progress", "json"]).spawn().unwrap();
        // Time would tell of the machine; after so many events it is somewhere in the middle on any.
        let told = std::io::BufReader::new(child.stderr.take().unwrap());
        told.lines().take((events * round / ROUNDS) as usize).for_each(drop);
        child.kill().unwrap();
        killed += u32::from(child.wait().unwrap().signal() == Some(9));
        let at = yard.digest_of("demo/app:latest").await.unwrap().to_string();
        assert_eq!(at, expected["digest"], "the tag stands for a whole image");
        if round % 5 == 4 {
            is_clean(&yard, "store");
        }
    }
    assert!(killed > ROUNDS / 2, "only {killed} builds were killed before their end");
    let next = yard.build("store", &["--tag", &yard.at("demo/next:1")]);
    assert_eq!(next["digest"], expected["digest"]);
    yard.pull("demo/next:1").await;
    is_clean(&yard, "store");
    assert_eq!(files_below(&yard.path("store/tmp")), Vec::<String>::new());
    println!("kill -9: {killed} of {ROUNDS} builds ended by it, next digest the same");
}

/// A build that waits for a wheel whose server never sends it.
async fn waiting_build(yard: &Yard) -> Child {
    let wheel = WheelMaker::new("never", "1.0");
    let bytes = wheel.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let text = lock_text(&[(&wheel.filename(), &bytes)]).replace("path = \"wheels/", &format!("url = \"{url}"));
    yard.write("pylock.toml", text);
    let child = yard.build_command("store", &[]).spawn().unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    // Lives as long as the test's runtime: accepted, and never answered.
    tokio::spawn(async move {
        std::future::pending::<()>().await;
        drop((stream, listener));
    });
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_end_a_build_at_once_and_leave_nothing() {
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let yard = Yard::new().await;
        let child = waiting_build(&yard).await;
        let started = Instant::now();
        send(signal, &child);
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!(ran.code, code, "{signal}: {}", ran.stderr);
        assert!(started.elapsed() < Duration::from_secs(1), "{signal}: {:?}", started.elapsed());
        assert_eq!(ran.stdout, "");
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        assert_eq!(files_below(&yard.path("store/tmp")), Vec::<String>::new(), "{signal}");
        assert!(yard.digest_of("demo/app:latest").await.is_none());
        is_clean(&yard, "store");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_stdout_is_no_panic() {
    let yard = Yard::new().await;
    let mut command = yard.build_command("store", &[]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(yard.digest_of("demo/app:latest").await.is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_stdout_is_an_error_that_says_so() {
    let yard = Yard::new().await;
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let ran: Ran = yard.build_command("store", &["--quiet"]).stdout(full).output().unwrap().into();
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.stderr, @"
    error: cannot write the result to stdout
      because: No space left on device (os error 28)
      hint: see that stdout is open and its disk has room
    ");
}
