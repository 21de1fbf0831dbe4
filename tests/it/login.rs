//! `login` and `logout`: checked before it is kept, kept where Docker keeps it, and never shown.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::cloud::unseen;
use crate::support::fault::{FaultServer, Reply, Seen};
use crate::support::yard::Ran;

const PASSWORD: &str = "canary/pass word+1";

/// A home folder, and the binary in a clean environment.
struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join(".docker/config.json")
    }

    fn configure(&self, config: &Value) {
        std::fs::create_dir_all(self.config().parent().unwrap()).unwrap();
        std::fs::write(self.config(), config.to_string()).unwrap();
    }

    fn configured(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.config()).unwrap()).unwrap()
    }

    /// Installs a credential helper.
    fn helper(&self, name: &str, script: &str) {
        let path = self.folder.path().join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[expect(clippy::disallowed_methods, reason = "the binary itself is what is tested")]
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lapstrake"));
        let path = format!("{}:/usr/bin:/bin", self.folder.path().display());
        command
            .env_clear()
            .env("HOME", self.folder.path())
            .env("PATH", path)
            .env("KEPT", self.folder.path().join("kept"));
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the command with this text as its stdin.
    fn run(&self, arguments: &[&str], input: &str) -> Ran {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        // A command that does not read is no fault.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap().into()
    }

    fn login(&self, registry: &str) -> Ran {
        self.run(&["login", registry, "-u", "me", "--password-stdin"], &format!("{PASSWORD}\n"))
    }
}

fn basic() -> String {
    format!("Basic {}", STANDARD.encode(format!("me:{PASSWORD}")))
}

/// A registry that takes one password by Basic authentication, and repeats what it is told when it refuses.
fn registry(seen: &Seen) -> Reply {
    match seen.header("authorization") {
        Some(header) if header == basic() => Reply::ok("{}"),
        told => {
            let body = json!({"errors": [{"code": "UNAUTHORIZED", "message": format!("{told:?} {PASSWORD}")}]});
            Reply::status(401).header("www-authenticate", "Basic realm=\"r\"").body(body.to_string())
        }
    }
}

fn told(desk: &Desk, server: &FaultServer, ran: &Ran) -> String {
    let folder = desk.folder.path().display().to_string();
    format!("{}{}", ran.stdout, ran.stderr).replace(&server.domain(), "HOST").replace(&folder, "HOME")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_checked_kept_used_and_forgotten() {
    let (desk, server) = (Desk::new(), FaultServer::start(|seen, _| registry(seen)).await);
    desk.configure(&json!({"currentContext": "mine"}));
    let ran = desk.login(&server.domain());
    insta::assert_snapshot!(told(&desk, &server, &ran), @"
    warning: the password is kept unencrypted in `HOME/.docker/config.json`
      hint: a credential helper, named as `credsStore` in that file, keeps it safe
    logged in to HOST; kept by HOME/.docker/config.json
    ");
    assert_eq!(ran.code, 0);
    unseen(PASSWORD, &ran);
    let auth = STANDARD.encode(format!("me:{PASSWORD}"));
    let expected = json!({"auths": {server.domain(): {"auth": auth}}, "currentContext": "mine"});
    assert_eq!(desk.configured(), expected);
    assert_eq!(std::fs::metadata(desk.config()).unwrap().permissions().mode() & 0o777, 0o600);

    let reference = format!("{}/app:1", server.domain());
    desk.run(&["inspect", &reference], "");
    assert_eq!(server.seen().last().unwrap().header("authorization"), Some(basic().as_str()));

    for expected in
        ["logged out of HOST; forgotten by HOME/.docker/config.json\n", "not logged in to HOST; nothing to forget\n"]
    {
        let ran = desk.run(&["logout", &server.domain()], "");
        assert_eq!((ran.code, told(&desk, &server, &ran).as_str()), (0, expected));
    }
    assert_eq!(desk.configured(), json!({"auths": {}, "currentContext": "mine"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_server_checks_a_login_too() {
    let server = FaultServer::start(|seen, _| {
        let host = seen.header("host").unwrap();
        match (seen.path(), seen.header("authorization")) {
            ("/token", Some(header)) if header == basic() => Reply::ok(r#"{"token": "t0k"}"#),
            ("/token", _) => Reply::status(403),
            (_, Some("Bearer t0k")) => Reply::ok("{}"),
            _ => {
                let asks = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
                Reply::status(401).header("www-authenticate", asks)
            }
        }
    });
    let (desk, server) = (Desk::new(), server.await);
    let ran = desk.login(&server.domain());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(server.seen().iter().any(|seen| seen.target == "/token?service=s"));
    let ran = desk.run(&["login", &server.domain(), "-u", "me", "--password-stdin"], "wrong");
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("refuses this user name and password with status 403"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_not_kept_nor_shown() {
    let (desk, server) = (
        Desk::new(),
        FaultServer::start(|_, _| Reply::status(401).header("www-authenticate", "Basic realm=\"r\"").body(PASSWORD))
            .await,
    );
    let ran = desk.login(&server.domain());
    assert_eq!(ran.code, 1);
    unseen(PASSWORD, &ran);
    insta::assert_snapshot!(told(&desk, &server, &ran), @"
    error: `HOST` refuses this user name and password with status 401
      hint: nothing was stored; check both, and whether the registry wants a token where you gave a password
    ");
    println!("row A12: a wrong password that the registry repeats is in no output and in no file");
    assert!(!desk.config().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_is_no_registry_or_not_there_is_named() {
    let (desk, server) = (Desk::new(), FaultServer::start(|_, _| Reply::status(404)).await);
    let ran = desk.login(&server.domain());
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(told(&desk, &server, &ran), @"
    error: `HOST` answers 404 to GET /v2/, as no registry does
      hint: nothing was stored; check the host and port
    ");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = desk.login(&free.to_string());
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(told(&desk, &server, &ran).replace(&free.to_string(), "NOBODY"), @"
    error: `NOBODY` refuses the connection
      because: Connection refused (os error 111)
      hint: check the host and port, and that the registry runs
    ");
    assert!(!desk.config().exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_lets_everybody_in_is_told_of() {
    let (desk, server) = (Desk::new(), FaultServer::start(|_, _| Reply::ok("{}")).await);
    let ran = desk.login(&server.domain());
    assert_eq!(ran.code, 0);
    assert!(ran.stderr.contains("lets everybody in, so the password was not checked"), "{}", ran.stderr);
    let host = server.domain();
    let arguments = ["--format", "json", "login", &host, "-u", "me", "--password-stdin"];
    let ran = desk.run(&arguments, PASSWORD);
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    let expected = json!({"schemaVersion": 1, "registry": host, "checked": false, "keptBy": desk.config()});
    assert_eq!(told, expected);
    let ran = desk.run(&["--format", "json", "logout", &host], "");
    let told: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(told, json!({"schemaVersion": 1, "registry": host, "forgottenBy": [desk.config()]}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_keeps_what_the_file_then_does_not() {
    let (desk, server) = (Desk::new(), FaultServer::start(|seen, _| registry(seen)).await);
    desk.configure(&json!({"credsStore": "safe"}));
    desk.helper("safe", r#"case "$1" in store) cat >"$KEPT";; erase) cat >/dev/null; rm "$KEPT";; esac"#);
    let ran = desk.login(&server.domain());
    assert_eq!(
        (ran.code, ran.stderr.as_str()),
        (0, format!("logged in to {}; kept by docker-credential-safe\n", server.domain()).as_str())
    );
    let kept: Value = serde_json::from_slice(&std::fs::read(desk.folder.path().join("kept")).unwrap()).unwrap();
    assert_eq!(kept, json!({"ServerURL": server.domain(), "Username": "me", "Secret": PASSWORD}));
    assert_eq!(desk.configured(), json!({"credsStore": "safe", "auths": {server.domain(): {}}}));
    let ran = desk.run(&["logout", &server.domain()], "");
    assert!(ran.stderr.contains("forgotten by docker-credential-safe\n"), "{}", ran.stderr);
    assert!(!desk.folder.path().join("kept").exists());
    assert_eq!(desk.configured(), json!({"credsStore": "safe", "auths": {}}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_is_broken_is_named() {
    let (desk, server) = (Desk::new(), FaultServer::start(|seen, _| registry(seen)).await);
    desk.configure(&json!({"credHelpers": {server.domain(): "absent"}, "credsStore": "fails"}));
    let ran = desk.login(&server.domain());
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(told(&desk, &server, &ran), @"
    error: credential helper `docker-credential-absent` gave no answer for `HOST`
      because: no such program
      hint: install `docker-credential-absent` in PATH, or remove it from `credHelpers` or `credsStore`
    ");
    desk.helper("absent", "cat; exit 4");
    let ran = desk.login(&server.domain());
    assert_eq!(ran.code, 1);
    unseen(PASSWORD, &ran);
    assert!(ran.stderr.contains("it ended with exit status: 4"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_said_before_anything_is_asked() {
    let (desk, server) = (Desk::new(), FaultServer::start(|seen, _| registry(seen)).await);
    let host = server.domain();
    for (arguments, input, expected) in [
        (vec!["login", &host], "pw", "stdin is no terminal to ask for a password at"),
        (vec!["login", &host, "--password-stdin"], "pw", "`--password-stdin` needs `--username`"),
        (vec!["login", &host, "-u", "me", "--password-stdin"], "\n", "the password is empty"),
        (
            vec!["login", "ghcr.io/me", "-u", "me", "--password-stdin"],
            "pw",
            "`ghcr.io/me` is not the name of a registry",
        ),
        (vec!["logout", "ghcr.io/me"], "", "`ghcr.io/me` is not the name of a registry"),
    ] {
        let ran = desk.run(&arguments, input);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.starts_with(&format!("error: {expected}")), "{}", ran.stderr);
    }
    assert_eq!(server.seen().len(), 0);
}

/// The other end of a terminal, and a file of it for a child.
fn terminal() -> (std::fs::File, std::fs::File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&keyboard).unwrap();
    unlockpt(&keyboard).unwrap();
    let name = ptsname(&keyboard, Vec::new()).unwrap().into_string().unwrap();
    let screen = std::fs::OpenOptions::new().read(true).write(true).open(name).unwrap();
    (std::fs::File::from(keyboard), screen)
}

fn echoes(screen: &std::fs::File) -> bool {
    rustix::termios::tcgetattr(screen).unwrap().local_modes.contains(rustix::termios::LocalModes::ECHO)
}

/// Reads what the child asks, up to the end of the question.
fn asked(child: &mut Child, question: &str) {
    let stderr = child.stderr.as_mut().unwrap();
    let mut text = String::new();
    while !text.ends_with(question) {
        let mut byte = [0];
        stderr.read_exact(&mut byte).unwrap();
        text.push(char::from(byte[0]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_is_asked_without_showing_the_password() {
    let (desk, server) = (Desk::new(), FaultServer::start(|seen, _| registry(seen)).await);
    let (mut keyboard, screen) = terminal();
    let mut child = desk.command(&["login", &server.domain()]).stdin(screen.try_clone().unwrap()).spawn().unwrap();
    asked(&mut child, "Username: ");
    keyboard.write_all(b"me\n").unwrap();
    asked(&mut child, "Password: ");
    assert!(!echoes(&screen));
    keyboard.write_all(format!("{PASSWORD}\n").as_bytes()).unwrap();
    let ran: Ran = child.wait_with_output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    unseen(PASSWORD, &ran);
    assert!(echoes(&screen));
    let mut shown = [0; 64];
    let count = keyboard.read(&mut shown).unwrap();
    assert_eq!(String::from_utf8_lossy(&shown[..count]), "me\r\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_question_leaves_the_terminal_as_it_was() {
    let (desk, server) = (Desk::new(), FaultServer::start(|seen, _| registry(seen)).await);
    let (_keyboard, screen) = terminal();
    let mut child =
        desk.command(&["login", &server.domain(), "-u", "me"]).stdin(screen.try_clone().unwrap()).spawn().unwrap();
    asked(&mut child, "Password: ");
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let started = Instant::now();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(started.elapsed() < Duration::from_secs(30));
    assert!(echoes(&screen));
}
