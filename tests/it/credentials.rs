//! Where a credential is looked for, in which order, and to whom it goes.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapstrake::diagnostic::Diagnose as _;
use lapstrake::oci::Reference;
use lapstrake::registry::{
    Client, ClientConfig, Clouds, Credential, DockerKeychain, Facts, Helpers, Identity, Keychain, KeychainError,
    Lookup, Registry as _,
};
use serde_json::json;

use crate::support::cloud::{Cloud, unseen};
use crate::support::fault::{FaultServer, Reply, Seen};
use crate::support::yard::Yard;

const CANARY: &str = "canary-41f0";

fn helper(folder: &Path, name: &str, script: &str) {
    let path = folder.join(format!("docker-credential-{name}"));
    std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[tokio::test]
async fn a_helper_that_is_missing_hangs_talks_junk_or_without_end_is_named_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    helper(at, "hangs", "echo canary-41f0; exec sleep 600");
    helper(at, "junk", "echo canary-41f0");
    helper(at, "huge", "while :; do echo canary-41f0canary-41f0canary-41f0canary-41f0; done");
    helper(at, "fails", "echo canary-41f0 >&2; echo canary-41f0; exit 3");
    helper(at, "half", r#"echo '{"Username": "canary-41f0"}'"#);
    let path = Some(format!("{}:/usr/bin:/bin", at.display()).into());
    let helpers = Helpers { path, patience: Duration::from_secs(2) };
    let mut count = 0;
    for name in ["missing", "hangs", "junk", "huge", "fails", "half"] {
        let file = at.join("config.json");
        // An entry that would answer must not stand in for a broken helper.
        let config = json!({"credHelpers": {"a.test": name}, "auths": {"a.test": {"auth": "dTpw"}}});
        std::fs::write(&file, config.to_string()).unwrap();
        let started = Instant::now();
        let error = DockerKeychain::new(vec![file], helpers.clone()).identity("a.test", "x").await.unwrap_err();
        assert!(started.elapsed() < Duration::from_secs(30), "{name}");
        assert!(matches!(&error, KeychainError::Helper { helper, .. } if helper == name), "{error:?}");
        let shown = format!("{error} {error:?} {}", error.hint().unwrap());
        assert!(!shown.contains(CANARY), "{shown}");
        count += 1;
    }
    println!("row A10: {count} broken helpers, each named, none passed over, none shown");
}

#[tokio::test]
async fn a_configuration_is_read_in_all_its_shapes() {
    let folder = tempfile::tempdir().unwrap();
    let (docker, podman) = (folder.path().join("config.json"), folder.path().join("auth.json"));
    let entry = |text: &str| json!({"auth": STANDARD.encode(text)});
    let mut count = 0;
    for (docker_text, podman_text, place, expected) in [
        (String::new(), String::new(), "a.test/x", Ok(None)),
        ("\u{feff}{}".to_owned(), "{}".to_owned(), "a.test/x", Ok(None)),
        (json!({"auths": {"a.test": entry("u:p")}}).to_string(), String::new(), "a.test/x", Ok(Some("u"))),
        (json!({"auths": {"https://a.test/v1/": entry("u:p")}}).to_string(), String::new(), "a.test/x", Ok(Some("u"))),
        (
            json!({"auths": {"a.test": {}}}).to_string(),
            json!({"auths": {"a.test": entry("v:p")}}).to_string(),
            "a.test/x",
            Ok(Some("v")),
        ),
        (
            json!({"auths": {"a.test": entry("u:p")}}).to_string(),
            json!({"auths": {"a.test/team": entry("v:p")}}).to_string(),
            "a.test/team/x",
            Ok(Some("u")),
        ),
        (
            String::new(),
            json!({"auths": {"a.test": entry("h:p"), "a.test/team": entry("t:p"), "a.test/team/app": entry("r:p")}})
                .to_string(),
            "a.test/team/app/x",
            Ok(Some("r")),
        ),
        (
            String::new(),
            json!({"auths": {"a.test": entry("h:p"), "a.test/team": entry("t:p")}}).to_string(),
            "a.test/team2",
            Ok(Some("h")),
        ),
        (
            json!({"auths": {"index.docker.io": entry("u:p")}}).to_string(),
            String::new(),
            "docker.io/library/x",
            Ok(Some("u")),
        ),
        (json!({"auths": {"a.test:5000": entry("u:p")}}).to_string(), String::new(), "a.test/x", Ok(None)),
        ("{".to_owned(), String::new(), "a.test/x", Err(())),
        ("[]".to_owned(), String::new(), "a.test/x", Err(())),
        (json!({"auths": {"a.test": {"auth": CANARY}}}).to_string(), String::new(), "a.test/x", Err(())),
        (json!({"auths": {"a.test": {"auth": 5}}}).to_string(), String::new(), "a.test/x", Err(())),
        (json!({"credsStore": ["x"]}).to_string(), String::new(), "a.test/x", Err(())),
        ("{}".to_owned(), format!("{{\"auths\": {CANARY}}}"), "a.test/x", Err(())),
    ] {
        std::fs::write(&docker, &docker_text).unwrap();
        std::fs::write(&podman, &podman_text).unwrap();
        let (domain, path) = place.split_once('/').unwrap();
        let keychain = DockerKeychain::new(vec![docker.clone(), podman.clone()], Helpers::default());
        let found = keychain.identity(domain, path).await;
        assert!(!format!("{found:?}").contains(CANARY), "{found:?}");
        let user = found.map_err(drop).map(|found| match found?.credential {
            Credential::Password { username, .. } => Some(username),
            _ => None,
        });
        let user = user.as_ref().map(Option::as_deref);
        assert_eq!(user, expected.as_ref().map(|user| *user), "{docker_text} {podman_text}");
        count += 1;
    }
    println!("row A11: {count} shapes of config.json and auth.json, read or refused as documented");
}

fn asks(seen: &Seen) -> Reply {
    match seen.header("authorization") {
        None => Reply::status(401).header("www-authenticate", "Basic realm=\"r\""),
        Some(_) => Reply::status(404),
    }
}

fn told(server: &FaultServer) -> usize {
    server.seen().iter().filter(|seen| seen.header("authorization").is_some()).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environments_password_goes_to_one_registry() {
    let yard = Yard::new().await;
    for named in [true, false] {
        let (parent, target) =
            (FaultServer::start(|seen, _| asks(seen)).await, FaultServer::start(|seen, _| asks(seen)).await);
        let references = [format!("{}/base:1", parent.domain()), format!("{}/app:1", target.domain())];
        let mut command = yard.build_command("store", &["--parent-image", &references[0], "--tag", &references[1]]);
        command.env("LAPSTRAKE_USERNAME", "me").env("LAPSTRAKE_PASSWORD", CANARY);
        if named {
            command.env("LAPSTRAKE_REGISTRY", parent.domain());
        }
        let ran = command.output().unwrap().into();
        unseen(CANARY, &ran);
        assert_eq!((told(&parent) > 0, told(&target) > 0), (named, !named), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_credential_in_the_environment_is_warned_of() {
    let yard = Yard::new().await;
    let mut command = yard.command("store");
    command.args(["inspect", &yard.at("demo/parent:1")]).env("LAPSTRAKE_USERNAME", "me");
    let ran: crate::support::yard::Ran = command.output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains("only one of `LAPSTRAKE_USERNAME` and `LAPSTRAKE_PASSWORD` is set"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_comes_before_the_clouds_own_credentials() {
    let cloud = Cloud::start("ghcr.io", |_| Reply::status(404)).await;
    cloud
        .write(".docker/config.json", &json!({"auths": {"ghcr.io": {"auth": STANDARD.encode("me:file")}}}).to_string());
    cloud.look(&[("GITHUB_TOKEN", "token")]);
    assert_eq!(cloud.told(), ["me:file"]);
    cloud.look(&[("GITHUB_TOKEN", "token"), ("LAPSTRAKE_USERNAME", "me"), ("LAPSTRAKE_PASSWORD", "environment")]);
    assert_eq!(cloud.told().last().map(String::as_str), Some("me:environment"));
}

fn facts(variables: &[(&str, &str)]) -> Facts {
    Facts {
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        home: None,
        clock: Arc::new(|| 1_700_000_000),
        insecure: Vec::new(),
        extra_roots: Vec::new(),
        user_agent: "test".into(),
        offline: false,
    }
}

/// A metadata service of Google's whose tokens live for `seconds` and are numbered.
async fn numbered_tokens(seconds: u64) -> FaultServer {
    let script = move |_: &Seen, nth: usize| {
        let body = json!({"access_token": format!("token-{nth}"), "expires_in": seconds});
        Reply::ok(body.to_string()).header("metadata-flavor", "Google")
    };
    FaultServer::start(script).await
}

#[tokio::test]
async fn a_clouds_token_is_kept_until_shortly_before_its_end() {
    for (seconds, expected) in [(3600, 1), (0, 3)] {
        let server = numbered_tokens(seconds).await;
        let clouds = Clouds::new(facts(&[("GCE_METADATA_HOST", &server.domain())]));
        for _ in 0..3 {
            assert!(clouds.identity("gcr.io", "x").await.unwrap().is_some());
        }
        assert_eq!(server.seen().len(), expected);
    }
}

/// A keychain whose identities end at once, and are numbered.
#[derive(Default)]
struct Fleeting(AtomicUsize);

impl Keychain for Fleeting {
    fn identity<'a>(&'a self, _domain: &'a str, _path: &'a str) -> Lookup<'a> {
        let password = format!("p{}", self.0.fetch_add(1, Ordering::SeqCst));
        let credential = Credential::Password { username: "me".into(), password };
        let renew_at = Some(Instant::now());
        Box::pin(std::future::ready(Ok(Some(Identity { renew_at, ..Identity::new(credential, "a test") }))))
    }
}

#[tokio::test]
async fn an_identity_that_ended_is_looked_up_anew_in_mid_run() {
    let server = FaultServer::start(|seen, _| asks(seen)).await;
    let client = Client::new(ClientConfig { keychain: Arc::new(Fleeting::default()), ..ClientConfig::default() });
    let reference = Reference::parse(&format!("{}/app:1", server.domain())).unwrap();
    for _ in 0..2 {
        assert_eq!(client.resolve(&reference).await.unwrap(), None);
    }
    let seen = server.seen();
    let told: BTreeSet<&str> = seen.iter().filter_map(|seen| seen.header("authorization")).collect();
    assert_eq!(told.len(), 2, "{told:?}");
}
