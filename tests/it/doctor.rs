//! `lapstrake doctor`: what it finds, what it tells, and that it leaves nothing behind.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::fault::{FaultServer, Reply};
use crate::support::tls::{Authority, TlsFront};
use crate::support::tunnel::TunnelProxy;
use crate::support::yard::{Ran, Yard};

/// The binary's report with its times as `N ms`, without the parts about the machine and backends.
fn report(yard: &Yard, stdout: &str) -> String {
    let folder = yard.path("").display().to_string();
    let stdout = stdout.replace(&yard.domain(), "HOST").replace(folder.trim_end_matches('/'), "DIR");
    let registries = stdout.splitn(3, "\n\n").nth(2).unwrap_or_default();
    let line = |line: &str| {
        let chars: Vec<char> = line.chars().collect();
        let time: String = chars.get(18..26).unwrap_or_default().iter().collect();
        if !time.ends_with(" ms") {
            return line.to_owned();
        }
        let (head, tail) = (&chars[..18], &chars[26..]);
        format!("{}    N ms{}", String::from_iter(head), String::from_iter(tail))
    };
    registries.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn doctor(yard: &Yard, arguments: &[&str]) -> Ran {
    yard.command("store").arg("doctor").args(arguments).output().unwrap().into()
}

/// The checks of the last subject, as `name: state`.
fn states(ran: &Ran) -> Vec<String> {
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(printed["schemaVersion"], 1);
    let subject = printed["subjects"].as_array().unwrap().last().unwrap().clone();
    let checks = subject["checks"].as_array().unwrap().clone();
    checks
        .iter()
        .map(|check| format!("{}: {}", check["name"].as_str().unwrap(), check["state"].as_str().unwrap()))
        .collect()
}

/// A check of the last subject.
fn check(ran: &Ran, name: &str) -> Value {
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    let subject = printed["subjects"].as_array().unwrap().last().unwrap().clone();
    subject["checks"].as_array().unwrap().iter().find(|check| check["name"] == name).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_and_its_repositories_are_examined_and_left_as_they_were() {
    let yard = Yard::new().await;
    let ran = doctor(&yard, &[&yard.domain(), &yard.at("demo/parent"), &yard.at("demo/new:tag")]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{}", ran.stdout);
    insta::assert_snapshot!(report(&yard, &ran.stdout), @"
    HOST
      ✓ address                 http://HOST, not encrypted
      ✓ name              N ms  127.0.0.1
      ✓ connection        N ms  TCP to 127.0.0.1
      ✓ api               N ms  HTTP/1.1, asks nobody for a login
      ✓ clock                   as the registry's
      ✓ identity                anonymous
      - login                   not tried: the registry asks for none

    HOST/demo/parent
      ✓ address                 http://HOST, not encrypted
      ✓ name              N ms  127.0.0.1
      ✓ connection        N ms  TCP to 127.0.0.1
      ✓ api               N ms  HTTP/1.1, asks nobody for a login
      ✓ clock                   as the registry's
      ✓ identity                anonymous
      - login                   not tried: the registry asks for none
      ✓ pull              N ms  yes
      ✓ push              N ms  yes; the upload session is removed
      ✓ chunks                  no limit is told
      ✓ mount             N ms  yes, of a blob that is there already
      ✓ referrers         N ms  by the API

    HOST/demo/new
      ✓ address                 http://HOST, not encrypted
      ✓ name              N ms  127.0.0.1
      ✓ connection        N ms  TCP to 127.0.0.1
      ✓ api               N ms  HTTP/1.1, asks nobody for a login
      ✓ clock                   as the registry's
      ✓ identity                anonymous
      - login                   not tried: the registry asks for none
      ✓ pull              N ms  there is no such repository yet
      ✓ push              N ms  yes; the upload session is removed
      ✓ chunks                  no limit is told
      - mount                   not tried: the repository has no blob that could be mounted onto itself; push an image first
      - referrers               not tried: the repository cannot be read
    ");
    let asked = yard.requests();
    let count = |start: &str| asked.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!((count("POST"), count("DELETE"), count("PUT"), count("PATCH")), (3, 2, 0, 0), "{asked:?}");
    assert!(yard.digest_of("demo/new:tag").await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_machine_is_described() {
    let yard = Yard::new().await;
    let ran = doctor(&yard, &[]);
    let folder = yard.path("").display().to_string();
    let told = ran.stdout.replace(folder.trim_end_matches('/'), "DIR");
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    for part in [
        "this machine\n",
        "configuration           none; `DIR/home/.config/lapstrake/config.yaml` would be read\n",
        "DIR/store, writable, ",
        "uv                      not on PATH; it is fetched when versions have to be chosen\n",
        "proxies                 none\n",
    ] {
        let part = part.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.split_whitespace().collect::<Vec<_>>().join(" ").contains(&part), "{part} in {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_are_told_with_what_there_is_of_them_and_the_one_that_builds() {
    use std::os::unix::fs::PermissionsExt as _;
    let yard = Yard::new().await;
    std::fs::create_dir(yard.path("bin")).unwrap();
    let program = |name: &str, text: &str| {
        let path = yard.path("bin").join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    let told = |arguments: &[&str], host: &str| -> Ran {
        let mut command = yard.command("store");
        command.env("PATH", yard.path("bin")).env("BUILDKIT_HOST", host).arg("doctor").args(arguments);
        command.output().unwrap().into()
    };
    let backends = |ran: Ran| serde_json::from_str::<Value>(&ran.stdout).unwrap()["backends"].clone();
    let chosen = |backends: &Value| -> Vec<String> {
        let chosen = backends.as_array().unwrap().iter().filter(|one| one["chosen"] == true);
        chosen.map(|one| one["name"].as_str().unwrap().to_owned()).collect()
    };
    let none = told(&[], "");
    assert!(none.stdout.contains("buildah                 `buildah` is not on PATH"), "{}", none.stdout);
    assert!(none.stdout.contains("i chosen                  none\n") && none.code == 0, "{}", none.stdout);

    program("buildah", "echo buildah version 1.28.2 '(image-spec 1.0.2)'");
    program("lapstrake-backend-mine", "echo out of order >&2; exit 1");
    let found = backends(told(&["--format", "json"], ""));
    let at = yard.path("bin/buildah").display().to_string();
    assert_eq!(
        found[1],
        json!({"name": "buildah", "available": true, "chosen": true, "version": "1.28.2", "address": at, "reason": null})
    );
    assert_eq!((&found[5]["name"], &found[5]["reason"]), (&json!("mine"), &json!("out of order")));
    assert_eq!(chosen(&found), ["buildah"]);

    program(
        "buildctl",
        "case $* in *good*debug*) echo BuildKit: github.com/moby/buildkit v0.26.3;; *) echo nobody >&2; exit 1;; esac",
    );
    let good = backends(told(&["--format", "json"], "tcp://good:1"));
    assert_eq!((&good[0]["version"], &good[0]["address"]), (&json!("0.26.3"), &json!("tcp://good:1")));
    assert_eq!(chosen(&good), ["buildkit"]);
    // One that is named and does not answer is no reason to take another.
    let broken = told(&["--format", "json"], "tcp://bad:1");
    assert_eq!(broken.code, 0, "whether a build needs it is not known");
    assert!(chosen(&backends(broken)).is_empty());
    yard.write("lapstrake.yaml", "lapstrake:\n  backend: buildah\n");
    let named = told(&[], "tcp://bad:1").stdout;
    assert!(named.contains("buildah, by the settings") && named.contains("hint: mend it"), "{named}");
    yard.write("lapstrake.yaml", "lapstrake:\n  backend: none\n");
    let off = told(&[], "tcp://good:1").stdout;
    assert!(off.contains("! chosen                  none: the settings say `none`"), "{off}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registries_of_the_project_are_examined_by_default() {
    let yard = Yard::new().await;
    let parent = yard.at("demo/none:1");
    let tag = yard.at("demo/app:latest");
    yard.write(
        "lapstrake.yaml",
        format!("settings:\n  docker:\n    parent_image: {parent}\nlapstrake:\n  tags: ['{tag}']\n"),
    );
    let ran = doctor(&yard, &["--format", "json"]);
    let printed: Value = serde_json::from_str(&ran.stdout).unwrap();
    let subjects: Vec<&str> =
        printed["subjects"].as_array().unwrap().iter().map(|subject| subject["subject"].as_str().unwrap()).collect();
    assert_eq!(subjects, ["this machine", &yard.at("demo/app"), &yard.at("demo/none")]);
    assert_eq!(check(&ran, "pull")["state"], "warning");
    assert_eq!(check(&ran, "push")["state"], "not-tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_login_fails_and_names_the_source_alone() {
    let yard = Yard::new().await;
    let server = FaultServer::start(|_, _| Reply::status(401).header("www-authenticate", "Basic realm=\"r\"")).await;
    let auth = STANDARD.encode("me:canary-secret");
    std::fs::create_dir_all(yard.path("home/.docker")).unwrap();
    let config = json!({"auths": {server.domain(): {"auth": auth}}});
    std::fs::write(yard.path("home/.docker/config.json"), config.to_string()).unwrap();
    let ran = doctor(&yard, &[&server.domain(), "-vv"]);
    assert_eq!(ran.code, 1);
    let all = format!("{}\n{}", report(&yard, &ran.stdout), ran.stderr).replace(&server.domain(), "PRIVATE");
    assert!(!all.contains("canary") && !all.contains(&auth), "{all}");
    insta::assert_snapshot!(all, @"
    PRIVATE
      ✓ address                 http://PRIVATE, not encrypted
      ✓ name              N ms  127.0.0.1
      ✓ connection        N ms  TCP to 127.0.0.1
      ✓ api               N ms  HTTP/1.1, asks who is there
      - clock                   not tried: the registry does not tell its time
      ✓ identity                from `DIR/home/.docker/config.json`
      ✗ login             N ms  `PRIVATE` does not accept the identity from `DIR/home/.docker/config.json` for `login`
                                hint: log in with `lapstrake login PRIVATE`, or configure a credential helper for it
    error: 1 of the checks failed
      hint: each failed check above says what to do
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn strict_registries_are_described_as_they_are() {
    let yard = Yard::new().await;
    let server = FaultServer::start(|seen, _| match (seen.method.as_str(), seen.path()) {
        ("GET", "/v2/") => Reply::ok("{}").header("date", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("GET", "/v2/team/app/tags/list") => Reply::ok(r#"{"name":"team/app","tags":[]}"#),
        ("POST", "/v2/team/app/blobs/uploads/") => Reply::status(202)
            .header("location", "/v2/team/app/blobs/uploads/7")
            .header("oci-chunk-min-length", 5_242_880),
        ("DELETE", _) => Reply::status(405),
        _ => Reply::status(404),
    })
    .await;
    let ran = doctor(&yard, &[&format!("{}/team/app", server.domain())]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    let told = report(&yard, &ran.stdout).replace(&server.domain(), "STRICT");
    let years = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let shown =
            words.iter().map(|word| if word.parse::<u64>().is_ok_and(|n| n > 900_000_000) { "MANY" } else { word });
        shown.collect::<Vec<_>>().join(" ")
    };
    let told = told.lines().map(years).collect::<Vec<_>>().join("\n");
    insta::assert_snapshot!(told, @"
    STRICT/team/app
      ✓ address                 http://STRICT, not encrypted
      ✓ name              N ms  127.0.0.1
      ✓ connection        N ms  TCP to 127.0.0.1
      ✓ api               N ms  HTTP/1.1, asks nobody for a login
      ! clock                   this machine is MANY s ahead of the registry
                                hint: set this machine's clock: certificates, tokens and signatures depend on it
      ✓ identity                anonymous
      - login                   not tried: the registry asks for none
      ✓ pull              N ms  yes
      ✓ push              N ms  yes; the upload session ends by itself
      ✓ chunks                  at least 5242880 bytes
      - mount                   not tried: the repository has no image whose blob could be mounted onto itself; push one first
      ✓ referrers         N ms  by tags, since there is no API
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_not_push_is_told_so_and_it_fails_where_it_is_needed() {
    let yard = Yard::new().await;
    let server = FaultServer::start(|seen, _| match (seen.method.as_str(), seen.path()) {
        ("GET", "/v2/") => Reply::ok("{}"),
        ("POST", _) => Reply::status(403).body(r#"{"errors":[{"code":"DENIED","message":"read only"}]}"#),
        _ => Reply::ok(r#"{"tags":[]}"#),
    })
    .await;
    let at = format!("{}/team/app", server.domain());
    let ran = doctor(&yard, &["--format", "json", &at]);
    assert_eq!((ran.code, check(&ran, "push")["state"].as_str()), (0, Some("note")), "{}", ran.stderr);
    yard.write("lapstrake.yaml", format!("lapstrake:\n  tags: ['{at}:1']\n"));
    let ran = doctor(&yard, &["--format", "json"]);
    assert_eq!((ran.code, check(&ran, "push")["state"].as_str()), (1, Some("failed")), "{}", ran.stderr);
    assert!(check(&ran, "push")["text"].as_str().unwrap().ends_with("DENIED: read only"));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_to_a_registry_can_fail() {
    let yard = Yard::new().await;
    let authority = Authority::new();
    std::fs::write(yard.path("ca.pem"), &authority.pem).unwrap();
    std::fs::write(yard.path("other.pem"), Authority::new().pem).unwrap();
    let front = TlsFront::start(yard.domain(), &authority.issue(&["localhost"]), None).await;
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let run = |domain: &str, ca_file: &str| -> Ran {
        let text = format!("registries:\n  {domain}:\n    insecure: false\n    ca_file: {ca_file}\n");
        std::fs::write(yard.path("config.yaml"), text).unwrap();
        let mut command = yard.command("store");
        command.args(["doctor", "--format", "json", domain]).env("LAPSTRAKE_CONFIG", yard.path("config.yaml"));
        command.output().unwrap().into()
    };
    let ran = run(&front.domain(), "ca.pem");
    assert_eq!((ran.code, check(&ran, "encryption")["text"].as_str()), (0, Some("TLS 1.3")), "{}", ran.stdout);
    let ran = run(&front.domain(), "other.pem");
    assert_eq!(states(&ran), ["address: fine", "name: fine", "connection: fine", "encryption: failed"]);
    assert!(check(&ran, "encryption")["hint"].as_str().unwrap().contains("--ca-file FILE"));
    let ran = run(&gone.to_string(), "ca.pem");
    assert_eq!((ran.code, states(&ran).last().map(String::as_str)), (1, Some("connection: failed")));
    // A label of more than 63 characters is no name that anybody could be asked for.
    let ran = doctor(&yard, &["--format", "json", &format!("{}.example", "x".repeat(64))]);
    assert_eq!((ran.code, states(&ran).last().map(String::as_str)), (1, Some("name: failed")), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_and_mirrors_are_shown_and_tried() {
    let yard = Yard::new().await;
    let authority = Authority::new();
    std::fs::write(yard.path("ca.pem"), &authority.pem).unwrap();
    let front = TlsFront::start(yard.domain(), &authority.issue(&["registry.example"]), None).await;
    let proxy = TunnelProxy::start(&[("registry.example:443", front.address())], None).await;
    let dead = FaultServer::start(|_, _| Reply::status(500)).await;
    let mirrors = format!("[{}/hub, {}]", yard.domain(), dead.domain());
    let text = format!("registries:\n  registry.example:\n    ca_file: ca.pem\n    mirrors: {mirrors}\n");
    std::fs::write(yard.path("config.yaml"), text).unwrap();
    let mut command = yard.command("store");
    command.args(["doctor", "registry.example"]).env("LAPSTRAKE_CONFIG", yard.path("config.yaml"));
    let ran: Ran = command.env("HTTPS_PROXY", format!("http://me:canary@{}", proxy.address())).output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!ran.stdout.contains("canary"));
    let told =
        report(&yard, &ran.stdout).replace(&proxy.address().to_string(), "PROXY").replace(&dead.domain(), "DEAD");
    insta::assert_snapshot!(told, @"
    registry.example
      ✓ address                 https://registry.example
      ✓ proxy                   http://PROXY from HTTPS_PROXY
      ✓ api               N ms  HTTP/1.1, asks nobody for a login
      ✓ encryption              TLS 1.3
      ✓ clock                   as the registry's
      ✓ identity                anonymous
      - login                   not tried: the registry asks for none
      ✓ mirror            N ms  HOST/hub, anonymous
      ! mirror            N ms  DEAD answers `GET /v2/` with 500, as no registry does
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_name_nothing_are_usage_errors() {
    let yard = Yard::new().await;
    let ran = doctor(&yard, &["https://ghcr.io"]);
    assert_eq!(ran.code, 2);
    insta::assert_snapshot!(ran.stderr, @"
    error: `https://ghcr.io` is neither a registry nor a repository
      hint: write `ghcr.io`, `localhost:5000` or `ghcr.io/me/app`
    ");
}
