//! What stands around a command: shells, exec forms, here-documents, mounts, the network.
//!
//! What commands do stands in `lines`.

use super::*;
use crate::dockerfile::HereDocument;

fn told(result: Result<KnownRun, NotKnown>) -> String {
    result.map_or_else(|error| format!("! {}", error.reason), |known| short(&known))
}

fn run(run: &Run) -> Result<KnownRun, NotKnown> {
    read_run(run, &words(&SH), &variables)
}

#[test]
fn shells_are_known_by_their_names_and_switches() {
    let table: [(&[&str], &str); 13] = [
        (&[], "mkdir a"),
        (&SH, "mkdir a"),
        (&BASH, "mkdir a"),
        (&["/bin/bash", "-euxo", "pipefail", "-c"], "mkdir a"),
        (&["bash", "-ec"], "mkdir a"),
        (&["/bin/ash", "-eo", "pipefail", "-c"], "mkdir a"),
        (&["/bin/bash", "--login", "-c"], "! a login shell reads the image's profile"),
        (&["/bin/bash", "-lc"], "! a login shell reads the image's profile"),
        (&["/bin/zsh", "-c"], "! its shell is `/bin/zsh`"),
        (&["python", "-c"], "! its shell is `python`"),
        (&["conda", "run", "-n", "x", "/bin/bash", "-c"], "! its shell is `conda`"),
        (&["/bin/bash", "-O", "extglob", "-c"], "! its shell is started with `-O`"),
        (&["/bin/bash"], "! its shell is given no `-c`"),
    ];
    for (shell, expected) in table {
        assert_eq!(told(read_with("mkdir a", shell, &[])), expected, "{shell:?}");
    }
}

#[test]
fn a_shell_can_make_a_difference() {
    let table: [(&str, &[&str], &str); 7] = [
        ("set -o pipefail; mkdir a", &BASH, "mkdir a"),
        ("source /v/bin/activate; pip install a", &BASH, "activate /v; Pip Named(\"pip\"): <a> compiles"),
        ("mkdir a$UNSET", &["/bin/sh", "-uc"], "! `$UNSET` is not set, which `set -u` takes for an error"),
        ("mkdir a${UNSET-b}", &["/bin/sh", "-uc"], "mkdir ab"),
        ("set -u; mkdir $UNSET", &SH, "! `$UNSET` is not set, which `set -u` takes for an error"),
        ("set -euo nounset; set +u; mkdir a$UNSET", &SH, "mkdir a"),
        ("mkdir $RANDOM", &BASH, "! `$RANDOM` is not known before it runs"),
    ];
    for (line, shell, expected) in table {
        assert_eq!(told(read_with(line, shell, &[])), expected, "{line}");
    }
    let error = read_with("mkdir a", &BASH, &[("BASH_ENV", "/x")]).unwrap_err();
    assert_eq!(error.reason, "`BASH_ENV` names a script that is run first");
}

#[test]
fn an_exec_form_is_one_command_without_expansion() {
    let table: [(&[&str], &str); 7] = [
        (&["pip", "install", "$VERSION x"], "! `$VERSION x` is no requirement that is understood"),
        (&["pip", "install", "uvicorn[standard]", "a>=2"], "Pip Named(\"pip\"): <uvicorn[standard]> <a>=2> compiles"),
        (&["mkdir", "-p", "a b", "$X", "*"], "mkdir a b $X * -p"),
        (&["/bin/sh", "-c", "mkdir a && mkdir $VERSION"], "mkdir a; mkdir 1.2.3"),
        (&["/bin/bash", "-lc", "mkdir a"], "! it runs `/bin/bash`"),
        (&["cd", "/x"], "! it is no program"),
        (&["make"], "! it runs `make`"),
    ];
    for (exec, expected) in table {
        assert_eq!(told(run(&plain(Command::Exec(words(exec))))), expected, "{exec:?}");
    }
    assert!(run(&plain(Command::Exec(words(&["rm", "-f", "*"])))).unwrap().steps[0].patterns.is_empty());
}

#[test]
fn a_here_document_alone_is_a_script() {
    let table = [
        ("<<EOF", "set -e\nmkdir a\n# b\n\nmkdir b \\\n  c\n", "mkdir a; mkdir b c"),
        ("<<-'EOF'", "mkdir $VERSION\n", "mkdir 1.2.3"),
        ("<<EOF", "#!/bin/bash -e\nmkdir a\n", "mkdir a"),
        ("<<EOF", "#!/usr/bin/env bash\nset -euo pipefail\nmkdir a\n", "mkdir a"),
        ("<<EOF", "#!/usr/bin/env python3\nprint(1)\n", "! it is a script for `/usr/bin/env python3`"),
        ("cat <<EOF > /x", "mkdir a\n", "! it is given a here-document"),
        ("python <<EOF", "print(1)\n", "! it is given a here-document"),
    ];
    for (line, content, expected) in table {
        let document = HereDocument { name: "EOF".into(), content: content.into(), expand: true };
        let with = Run { documents: vec![document], ..plain(Command::Shell(line.into())) };
        assert_eq!(told(run(&with)), expected, "{line} {content}");
    }
}

#[test]
fn mounts_are_told_or_refused() {
    let install = || plain(Command::Shell("pip install -r /r.txt".into()));
    let secret = |target: Option<&str>, id: Option<&str>, env: Option<&str>| Mount {
        id: id.map(str::to_owned),
        env: env.map(str::to_owned),
        ..mount(MountKind::Secret, target)
    };
    let cache = Mounted::Cache { target: "/root/.cache/pip".into() };
    let files = Mounted::Files { target: "/r.txt".into(), source: Some("r.txt".into()), from: None };
    let file = |target: &str, id: &str| Mounted::SecretFile { target: target.into(), id: id.into(), required: false };
    let variable = Mounted::SecretVariable { name: "TOKEN".into(), id: "t".into(), required: false };
    let table = [
        (mount(MountKind::Cache, Some("/root/.cache/pip")), vec![cache]),
        (Mount { source: Some("r.txt".into()), ..mount(MountKind::Bind, Some("/r.txt")) }, vec![files]),
        (secret(Some("/etc/pip.conf"), Some("conf"), None), vec![file("/etc/pip.conf", "conf")]),
        (secret(Some("/root/.netrc"), None, None), vec![file("/root/.netrc", ".netrc")]),
        (secret(None, Some("a/b"), None), vec![file("/run/secrets/b", "a/b")]),
        (secret(None, Some("t"), Some("TOKEN")), vec![variable.clone()]),
        (secret(Some("/t"), Some("t"), Some("TOKEN")), vec![variable, file("/t", "t")]),
    ];
    for (mount, expected) in table {
        let known = run(&Run { mounts: vec![mount], ..install() }).unwrap();
        assert_eq!(known.mounts, expected);
    }
    for (mount, reason) in [
        (mount(MountKind::Tmpfs, None), "a mount has no target"),
        (mount(MountKind::Ssh, None), "it has an SSH agent"),
        (mount(MountKind::Bind, None), "a mount has no target"),
        (secret(None, None, Some("TOKEN")), "a secret has no name"),
    ] {
        assert_eq!(run(&Run { mounts: vec![mount], ..install() }).unwrap_err().reason, reason);
    }
    let harmless = Run { mounts: vec![mount(MountKind::Ssh, None)], ..plain(Command::Shell("mkdir a".into())) };
    assert_eq!(told(run(&harmless)), "mkdir a");
}

#[test]
fn a_secret_that_is_not_told_is_in_no_word() {
    let secret = Mount { id: Some("t".into()), env: Some("TOKEN".into()), ..mount(MountKind::Secret, None) };
    let line = |text: &str| Run { mounts: vec![secret.clone()], ..plain(Command::Shell(text.into())) };
    let with = line("pip install -i https://u:$TOKEN@h.example/s a");
    assert_eq!(told(run(&with)), "! `$TOKEN` is a secret");
    let told_one = |name: &str| if name == "TOKEN" { Some("pw".to_owned()) } else { variables(name) };
    let known = read_run(&with, &words(&SH), &told_one).unwrap();
    assert_eq!(short(&known), "Pip Named(\"pip\"): <a> index-url=https://u:pw@h.example/s compiles");
    assert_eq!(told(run(&line("pip install a"))), "Pip Named(\"pip\"): <a> compiles");
}

#[test]
fn installations_need_a_network_and_a_sandbox() {
    for (text, network, security, expected) in [
        ("pip install a", Some("none"), None, "! it has no network"),
        ("pip install a", Some("host"), Some("sandbox"), "Pip Named(\"pip\"): <a> compiles"),
        ("pip install a", None, Some("insecure"), "! it has more rights than a sandbox"),
        ("uv venv --seed", Some("none"), None, "! it has no network"),
        ("mkdir a", Some("none"), Some("insecure"), "mkdir a"),
    ] {
        let (network, security) = (network.map(str::to_owned), security.map(str::to_owned));
        assert_eq!(told(run(&Run { network, security, ..plain(Command::Shell(text.into())) })), expected, "{text}");
    }
}
