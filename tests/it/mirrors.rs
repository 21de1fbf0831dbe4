//! Mirrors: tried first for pulls, passed over when they fail, never believed about what is pushed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::TryStreamExt as _;
use lapstrake::event::{Event, Recorded};
use lapstrake::oci::media_type::{OCI_LAYER_GZIP, OCI_MANIFEST};
use lapstrake::oci::{Descriptor, Reference, Repository};
use lapstrake::registry::{
    Access, Client, ClientConfig, Credential, Given, Identity, Mirror, Registry, RegistryError, RetryPolicy,
};
use serde_json::json;

use crate::support::fault::{FaultServer, Reply, Seen};
use crate::support::yard::{Ran, Yard, parent_config, parent_layer};

const BLOB: &[u8] = b"0123456789abcdefghij";

fn client(registry: &FaultServer, mirrors: &[String]) -> (Client, Arc<Recorded>) {
    let reporter = Arc::new(Recorded::default());
    let mirrors = mirrors.iter().map(|text| Mirror::parse(text).unwrap()).collect();
    let credential = Credential::Password { username: "user".into(), password: "canary-5f1c".into() };
    let identity = Identity::new(credential, "a test's flag");
    let client = Client::new(ClientConfig {
        keychain: Arc::new(Given { domain: registry.domain(), identity }),
        access: BTreeMap::from([(registry.domain(), Access { mirrors, ..Access::default() })]),
        reporter: reporter.clone(),
        retry: RetryPolicy { first_wait: Duration::from_millis(2), ..RetryPolicy::default() },
        patience: Duration::from_millis(400),
        ..ClientConfig::default()
    });
    (client, reporter)
}

fn manifest() -> Vec<u8> {
    let config = Descriptor::of("application/vnd.oci.image.config.v1+json", b"{}");
    json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": [blob()]})
        .to_string()
        .into_bytes()
}

fn blob() -> Descriptor {
    Descriptor::of(OCI_LAYER_GZIP, BLOB)
}

/// A registry whose repository `path` has one tag and one blob, and that knows who is there by `Basic`.
fn has(path: &str, login: bool) -> impl Fn(&Seen, usize) -> Reply + Send + Sync + use<> {
    let (tag, blob_path) = (format!("/v2/{path}/manifests/1"), format!("/v2/{path}/blobs/{}", blob().digest));
    let by_digest = format!("/v2/{path}/manifests/{}", Descriptor::of(OCI_MANIFEST, &manifest()).digest);
    move |seen, _| match seen.path() {
        _ if login && seen.header("authorization").is_none() => {
            Reply::status(401).header("www-authenticate", "Basic realm=\"r\"")
        }
        asked if asked == tag || asked == by_digest => {
            let digest = Descriptor::of(OCI_MANIFEST, &manifest()).digest;
            let reply = Reply::ok(manifest()).header("content-type", OCI_MANIFEST);
            let reply = reply.header("docker-content-digest", digest);
            if seen.method == "HEAD" { reply.header("content-length", manifest().len()) } else { reply }
        }
        asked if asked == blob_path => Reply::ok(BLOB),
        _ => Reply::status(404),
    }
}

fn texts(reporter: &Recorded, names: &[(&FaultServer, &str)]) -> Vec<String> {
    let shown = |event: Event| match event {
        Event::Note { text } => Some(text),
        Event::Warning { text } => Some(format!("warning: {text}")),
        _ => None,
    };
    let named = |text: String| names.iter().fold(text, |text, (server, name)| text.replace(&server.domain(), name));
    reporter.events().into_iter().filter_map(shown).map(named).collect()
}

#[tokio::test]
async fn pulls_come_from_the_mirror_below_its_prefix_without_the_registrys_credentials() {
    let registry = FaultServer::start(has("team/app", true)).await;
    let mirror = FaultServer::start(has("hub/team/app", false)).await;
    let (client, reporter) = client(&registry, &[format!("{}/hub", mirror.domain())]);
    let at = Reference::parse(&format!("{}/team/app:1", registry.domain())).unwrap();
    let found = client.resolve(&at).await.unwrap().unwrap();
    let document = client.manifest(&at.clone().with_digest(&found.digest)).await.unwrap().unwrap();
    assert_eq!(*document.digest(), found.digest);
    assert_eq!(client.fetch_blob(&at.repository(), &blob(), 100).await.unwrap(), BLOB);
    let read = client.read_blob(&at.repository(), &blob()).await.unwrap();
    assert_eq!(read.map_ok(|chunk| chunk.to_vec()).try_concat().await.unwrap(), BLOB);
    assert_eq!(registry.seen().len(), 0, "the registry itself is not asked");
    assert!(mirror.seen().iter().all(|seen| seen.header("authorization").is_none()));
    let said = texts(&reporter, &[(&registry, "REGISTRY"), (&mirror, "MIRROR")]);
    assert_eq!(said, ["`REGISTRY/team/app:1` is as mirror `MIRROR/hub` has it"]);
}

#[tokio::test]
async fn a_mirror_that_asks_for_a_login_never_gets_the_registrys() {
    let registry = FaultServer::start(has("team/app", true)).await;
    let mirror = FaultServer::start(has("team/app", true)).await;
    let (client, reporter) = client(&registry, &[mirror.domain()]);
    let at = Reference::parse(&format!("{}/team/app:1", registry.domain())).unwrap();
    assert!(client.resolve(&at).await.unwrap().is_some());
    let secrets = [STANDARD.encode("user:canary-5f1c"), "canary-5f1c".to_owned()];
    for seen in mirror.seen() {
        let all = format!("{seen:?}");
        assert!(secrets.iter().all(|secret| !all.contains(secret)), "{all}");
    }
    assert!(registry.seen().iter().any(|seen| seen.header("authorization").is_some()));
    let said = texts(&reporter, &[(&registry, "REGISTRY"), (&mirror, "MIRROR")]);
    assert_eq!(
        said,
        ["warning: mirror `MIRROR` is passed over: `MIRROR` does not accept an anonymous user for \
          `repository:team/app:pull`"]
    );
}

#[tokio::test]
async fn mirrors_that_lack_or_fail_are_passed_over_in_order_and_a_dead_one_is_asked_once() {
    let registry = FaultServer::start(has("team/app", false)).await;
    let empty = FaultServer::start(|_, _| Reply::status(404)).await;
    let broken = FaultServer::start(|_, _| Reply::status(503)).await;
    let (client, reporter) = client(&registry, &[empty.domain(), broken.domain()]);
    let at = Reference::parse(&format!("{}/team/app:1", registry.domain())).unwrap();
    assert!(client.resolve(&at).await.unwrap().is_some());
    assert_eq!(client.fetch_blob(&at.repository(), &blob(), 100).await.unwrap(), BLOB);
    assert_eq!((empty.seen().len(), broken.seen().len()), (2, 2), "two tries of one request, and no other request");
    let said = texts(&reporter, &[(&registry, "REGISTRY"), (&empty, "EMPTY"), (&broken, "BROKEN")]);
    assert_eq!(
        said,
        [
            "mirror `EMPTY` does not have `REGISTRY/team/app:1`",
            "warning: mirror `BROKEN` is passed over: `BROKEN` answers 503 to HEAD manifest `BROKEN/team/app:1`, try 2",
            &format!("mirror `EMPTY` does not have `REGISTRY/team/app@{}`", blob().digest),
        ]
    );
}

#[tokio::test]
async fn wrong_bytes_of_a_mirror_are_never_taken_and_a_broken_stream_goes_on_at_the_registry() {
    let registry = FaultServer::start(has("team/app", false)).await;
    let liar = FaultServer::start(|_, _| Reply::ok(*b"9876543210abcdefghij")).await;
    let (client_of_liar, _) = client(&registry, &[liar.domain()]);
    let at = Repository::parse(&format!("{}/team/app", registry.domain())).unwrap();
    assert_eq!(client_of_liar.fetch_blob(&at, &blob(), 100).await.unwrap(), BLOB);
    let hung = FaultServer::start(|_, nth| match nth {
        1 => Reply::ok(BLOB).cut_after(7),
        _ => Reply::status(404),
    })
    .await;
    let (client_of_hung, reporter) = client(&registry, &[hung.domain()]);
    let read = client_of_hung.read_blob(&at, &blob()).await.unwrap();
    assert_eq!(read.map_ok(|chunk| chunk.to_vec()).try_concat().await.unwrap(), BLOB);
    assert_eq!(texts(&reporter, &[]).len(), 1);
    // A beginning of wrong bytes, then the registry's right ones: the whole is not what it should be.
    let mixed = FaultServer::start(|_, nth| match nth {
        1 => Reply::ok(*b"9876543210abcdefghij").cut_after(7),
        _ => Reply::status(404),
    })
    .await;
    let (client_of_mixed, _) = client(&registry, &[mixed.domain()]);
    let read = client_of_mixed.read_blob(&at, &blob()).await.unwrap();
    let error = read.map_ok(|chunk| chunk.to_vec()).try_concat().await.unwrap_err();
    assert!(matches!(error, RegistryError::WrongDigest { .. }), "{error:?}");
}

#[tokio::test]
async fn what_is_pushed_to_is_read_from_the_registry_itself() {
    let registry = FaultServer::start(|_, _| Reply::status(404)).await;
    let mirror = FaultServer::start(has("team/app", false)).await;
    let (client, _) = client(&registry, &[mirror.domain()]);
    let at = Reference::parse(&format!("{}/team/app:1", registry.domain())).unwrap();
    client.expect_push(&at.repository());
    assert_eq!(client.resolve(&at).await.unwrap(), None);
    assert_eq!(client.blob_size(&at.repository(), &blob().digest).await.unwrap(), None);
    assert_eq!(mirror.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_takes_its_parent_from_the_mirror_of_the_configuration_or_of_the_flag() {
    let yard = Yard::new().await;
    yard.push_image("hub/library/base:1", &[&parent_layer()], &parent_config()).await;
    let config = format!("registries:\n  docker.io:\n    mirrors: ['{}/hub']\n", yard.domain());
    std::fs::write(yard.path("config.yaml"), config).unwrap();
    let flag = format!("docker.io={}/hub", yard.domain());
    for (store, flags) in [("a", &[][..]), ("b", &["--registry-mirror", &flag])] {
        let mut command = yard.build_command(store, &[&["--parent-image", "base:1"], flags].concat());
        if store == "a" {
            command.env("LAPSTRAKE_CONFIG", yard.path("config.yaml"));
        }
        let ran: Ran = command.output().unwrap().into();
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let said = format!("`docker.io/library/base:1` is as mirror `{}/hub` has it", yard.domain());
        assert!(ran.stderr.contains(&said), "{}", ran.stderr);
    }
    let asked = yard.requests();
    assert!(asked.iter().any(|line| line.starts_with("GET /v2/hub/library/base/blobs/")), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flags_that_name_no_mirror_are_usage_errors() {
    let yard = Yard::new().await;
    for flag in ["docker.io", "=mirror.example", "docker.io=", "docker.io=https://mirror.example", "docker.io=mirror"] {
        let ran = yard.run(&["inspect", &yard.at("demo/parent:1"), "--registry-mirror", flag]);
        let expected = format!(
            "error: `--registry-mirror {flag}` is not of the form REGISTRY=MIRROR\n  hint: write it as in \
             `--registry-mirror docker.io=mirror.example/hub`\n"
        );
        assert_eq!((ran.code, ran.stderr), (2, expected));
    }
    assert_eq!(yard.requests(), Vec::<String>::new());
}
