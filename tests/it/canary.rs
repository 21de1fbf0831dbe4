//! One secret behind every door, and every command run with it: it must come out nowhere.
//!
//! Each door has a wrong-way test of its own elsewhere; here they are all open at once.

use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapstrake::serve::{Running, ServeOptions, Server};
use serde_json::json;

use crate::support::fake_uv::FakeUv;
use crate::support::fault::{FaultServer, Reply, Seen};
use crate::support::wheel_maker::WheelMaker;
use crate::support::yard::{Ran, Yard};

const SECRET: &str = "canary/5f1c+x";

/// The secret as it is, percent-encoded, and in base64 at each of the three places where it may begin.
fn forms() -> Vec<String> {
    let mut forms = vec![SECRET.to_owned(), "canary%2F5f1c%2Bx".to_owned(), "canary%2f5f1c%2bx".to_owned()];
    for before in ["", "a", "ab"] {
        // What surrounds the secret shapes the groups at both ends alone.
        let encoded = STANDARD.encode(format!("{before}{SECRET}"));
        forms.push(encoded[4..encoded.len() - 4].to_owned());
    }
    forms
}

/// Repeats all that it was sent, in a header, a challenge and a body.
fn parrot(seen: &Seen) -> Reply {
    let Some(sent) = seen.header("authorization") else {
        return Reply::status(401).header("www-authenticate", "Basic realm=\"parrot\"");
    };
    let pair = STANDARD.decode(sent.trim_start_matches("Basic ")).unwrap_or_default();
    let pair = String::from_utf8_lossy(&pair).into_owned();
    let message = format!("who is {pair}, or {sent}?");
    let body = json!({"errors": [{"code": "DENIED", "message": message, "detail": {"sent": sent}}]}).to_string();
    Reply::status(403).header("www-authenticate", format!("Basic realm=\"{SECRET}\"")).header("x-sent", sent).body(body)
}

/// The yard's project with the secret behind every door, and a registry that wants it.
struct Doors<'a> {
    yard: &'a Yard,
    uv: FakeUv<'a>,
    guarded: Running,
    parrot: FaultServer,
    seen: String,
    commands: usize,
}

impl<'a> Doors<'a> {
    async fn open(yard: &'a Yard) -> Doors<'a> {
        let users = yard.path("users");
        let hash = bcrypt::hash(SECRET, 4).unwrap().replace("$2b$", "$2y$");
        std::fs::write(&users, format!("ada:{hash}\n")).unwrap();
        let options =
            ServeOptions { passwords: Some(users), durable: false, ..ServeOptions::new(yard.path("guarded")) };
        let guarded = Server::bind(options).await.unwrap().spawn();
        let parrot = FaultServer::start(|seen, _| parrot(seen)).await;
        let uv = FakeUv::new(yard);
        uv.answers(&[&WheelMaker::new("cleat", "1.0").file("cleat.py", "1")], "");
        let auth = STANDARD.encode(format!("ada:{SECRET}"));
        let auths = json!({"auths": {
            guarded.address().to_string(): {"auth": auth},
            parrot.domain(): {"auth": auth},
        }});
        std::fs::create_dir_all(yard.path("home/.docker")).unwrap();
        std::fs::write(yard.path("home/.docker/config.json"), auths.to_string()).unwrap();
        std::fs::write(yard.path("home/.netrc"), format!("machine index.example login u password {SECRET}\n")).unwrap();
        // Beside the sources, which are the user's own to publish.
        let line = "--extra-index-url https://u:canary%2F5f1c%2Bx@index.example/simple\ncleat\n";
        std::fs::write(yard.path("requirements.txt"), line).unwrap();
        Self { yard, uv, guarded, parrot, seen: String::new(), commands: 0 }
    }

    fn guarded(&self, name: &str) -> String {
        format!("{}/{name}", self.guarded.address())
    }

    fn parrot(&self, name: &str) -> String {
        format!("{}/{name}", self.parrot.domain())
    }

    /// Runs a command with every variable set, and keeps what it showed.
    fn run(&mut self, arguments: &[&str], code: i32) -> Ran {
        let mut command = self.yard.command("store");
        command.args(arguments).env("LAPSTRAKE_UV", self.uv.program()).env("PATH", "/usr/bin:/bin");
        command.env("LAPSTRAKE_REGISTRY", self.guarded.address().to_string());
        command.env("LAPSTRAKE_USERNAME", "ada").env("LAPSTRAKE_PASSWORD", SECRET);
        command.env("HTTPS_PROXY", "http://u:canary%2F5f1c%2Bx@127.0.0.1:9");
        command.env("UV_INDEX_URL", "https://u:canary%2F5f1c%2Bx@other.example/simple");
        command.env("GITHUB_TOKEN", SECRET).env("AWS_SECRET_ACCESS_KEY", SECRET).env("AWS_ACCESS_KEY_ID", "AKIA");
        let ran: Ran = command.output().unwrap().into();
        self.seen.push_str(&format!("{arguments:?}\n{}{}", ran.stdout, ran.stderr));
        self.commands += 1;
        assert_eq!(ran.code, code, "{arguments:?}: {}{}", ran.stdout, ran.stderr);
        ran
    }

    fn build(&mut self, word: &str, parent: &str, target: &str, more: &[&str], code: i32) {
        let requirements = self.yard.path("requirements.txt").display().to_string();
        let flags = ["-r", &requirements, "--parent-image", parent, "--tag", target];
        self.run(&[&[word], &flags[..], more].concat(), code);
    }
}

/// All bytes below a folder, what is compressed once more unpacked.
fn contents(folder: &Path, into: &mut Vec<u8>) {
    #[expect(clippy::disallowed_methods, reason = "what a command left on the disk is looked at")]
    let entries = std::fs::read_dir(folder).unwrap();
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents(&path, into);
            continue;
        }
        let bytes = std::fs::read(&path).unwrap();
        into.extend_from_slice(path.to_string_lossy().as_bytes());
        let mut unpacked = Vec::new();
        let _ = flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut unpacked);
        into.extend_from_slice(&bytes);
        into.extend_from_slice(&unpacked);
    }
}

fn holds(bytes: &[u8], form: &str) -> bool {
    bytes.windows(form.len()).any(|window| window == form.as_bytes())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_behind_every_door_comes_out_of_no_command() {
    let yard = Yard::new().await;
    let mut doors = Doors::open(&yard).await;
    let (parent, app, copy) =
        (doors.guarded("demo/parent:1"), doors.guarded("demo/app:1"), doors.guarded("copy/app:1"));
    doors.run(&["copy", &yard.at("demo/parent:1"), &parent], 0);
    doors.build("plan", &parent, &app, &[], 0);
    doors.build("build", &parent, &app, &["-vv", "--progress", "plain"], 0);
    doors.build("build", &parent, &app, &["--format", "json", "--progress", "json"], 0);
    // A Dockerfile's secrets: pip's settings, a variable, and an address that is one itself, which is a backend's.
    let url = "https://u:canary%2F5f1c%2Bx@index.example/simple";
    for (name, mount, text, code) in [
        ("conf", "target=/etc/pip.conf", format!("[global]\nextra-index-url = {url}\n"), 0),
        ("variable", "env=PIP_EXTRA_INDEX_URL", url.to_owned(), 0),
        ("path", "env=PIP_INDEX_URL", "https://index.example/canary%2F5f1c%2Bx/simple".to_owned(), 1),
        ("broken", "target=/root/.pip/pip.conf", format!("{SECRET}\n"), 1),
    ] {
        let file = yard.path(&format!("{name}.Dockerfile"));
        let text_of_file = format!("FROM {parent}\nRUN --mount=type=secret,id=s,{mount} pip install cleat\n");
        std::fs::write(&file, text_of_file).unwrap();
        std::fs::write(yard.path(name), text).unwrap();
        let (file, secret) = (file.display().to_string(), format!("id=s,src={}", yard.path(name).display()));
        for word in ["plan", "build"] {
            doors.run(&[word, "-f", &file, "--secret", &secret, "--tag", &app, "--backend", "none"], code);
        }
    }
    doors.run(&["inspect", "--files", &app], 0);
    doors.run(&["copy", "--referrers", &app, &copy], 0);
    doors.run(&["tags", "--all", &doors.guarded("demo/app")], 0);
    doors.run(&["referrers", &parent], 0);
    doors.run(&["doctor", &doors.guarded("demo/app")], 0);
    doors.run(&["delete", "--yes", &copy], 0);
    let domain = doors.guarded.address().to_string();
    doors.run(&["logout", &domain], 0);
    doors.run(&["cache", "du"], 0);
    doors.run(&["cache", "verify"], 0);

    // The same where the other side repeats what it hears, and with a login that is wrong.
    let (theirs, name) = (doors.parrot("a/b:1"), doors.parrot.domain());
    doors.build("build", &theirs, &app, &[], 1);
    doors.build("build", &parent, &theirs, &[], 1);
    doors.build("plan", &theirs, &app, &["--format", "json"], 1);
    doors.run(&["inspect", &theirs], 1);
    doors.run(&["copy", &theirs, &app], 1);
    doors.run(&["copy", &app, &theirs], 1);
    doors.run(&["tags", &doors.parrot("a/b")], 1);
    doors.run(&["referrers", &theirs], 1);
    doors.run(&["delete", "--yes", &theirs], 1);
    doors.run(&["doctor", &name], 0);
    doors.run(&["doctor", &doors.parrot("a/b")], 0);
    doors.run(&["inspect", "registry.example/a:1"], 1);

    let mut left = doors.seen.clone().into_bytes();
    left.extend(std::fs::read(yard.path("uv/argv")).unwrap());
    for folder in ["store", "guarded", "registry"] {
        contents(&yard.path(folder), &mut left);
    }
    for form in forms() {
        assert!(!holds(&left, &form), "{form} in {}", doors.seen);
    }
    assert!(holds(SECRET.repeat(2).as_bytes(), SECRET), "the search finds what is there");
    println!(
        "row A12: {} commands with 12 doors open, {} bytes of output, argv, store and registries: 0 of {} forms seen",
        doors.commands,
        left.len(),
        forms().len()
    );
}
