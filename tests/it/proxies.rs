//! Proxies: which requests go through one, how it knows us, and that nobody else learns how.

use std::collections::BTreeMap;
use std::time::Duration;

use lapstrake::diagnostic::Diagnose;
use lapstrake::oci::Reference;
use lapstrake::registry::{Access, Client, ClientConfig, Proxies, ProxyRule, Registry, RegistryError, RetryPolicy};

use crate::support::fault::{FaultServer, Reply};
use crate::support::tiny_registry::TinyRegistry;
use crate::support::tls::{Authority, TlsFront};
use crate::support::tunnel::TunnelProxy;
use crate::support::yard::{Ran, Yard};

/// `user:canary@5f1c` as a URL writes it, and as the proxy is told.
const LOGIN: &str = "user:canary%405f1c";
const HEADER: &str = "Basic dXNlcjpjYW5hcnlANWYxYw==";
/// The password in every form in which it could leak.
const FORMS: [&str; 4] = ["canary@5f1c", "canary%405f1c", "dXNlcjpjYW5hcnlANWYxYw", "Y2FuYXJ5QDVmMWM"];

fn client(variables: &[(&str, String)], insecure: &[&str]) -> Client {
    let variables: BTreeMap<_, _> = variables.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect();
    Client::new(ClientConfig {
        proxies: Proxies::from_variables(&variables),
        insecure: insecure.iter().map(|host| (*host).to_owned()).collect(),
        retry: RetryPolicy { first_wait: Duration::from_millis(2), ..RetryPolicy::default() },
        patience: Duration::from_secs(5),
        ..ClientConfig::default()
    })
}

async fn failure(client: &Client, name: &str) -> RegistryError {
    client.resolve(&Reference::parse(name).unwrap()).await.unwrap_err()
}

/// All that a user may see of an error.
fn shown(error: &RegistryError) -> String {
    let mut text = format!("{error}\n{error:?}\n{:?}\n", error.hint());
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(&format!("{error} {error:?}\n"));
        cause = error.source();
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_goes_through_the_proxy_and_nobody_sees_its_password() {
    let yard = Yard::new().await;
    let authority = Authority::new();
    std::fs::write(yard.path("ca.pem"), &authority.pem).unwrap();
    let front = TlsFront::start(yard.domain(), &authority.issue(&["registry.example"]), None).await;
    let proxy = TunnelProxy::start(&[("registry.example:443", front.address())], Some(HEADER)).await;
    let run = |variable: &str, login: &str, flags: &[&str]| -> Ran {
        let (parent, tag) = ("registry.example/demo/parent:1", "registry.example/demo/app:proxy");
        let mut command = yard.build_command("store", &[&["--parent-image", parent, "--tag", tag], flags].concat());
        command.arg("--ca-file").arg(yard.path("ca.pem"));
        command.env(variable, format!("http://{login}@{}", proxy.address())).output().unwrap().into()
    };
    let mut seen = String::new();
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
        let ran = run(variable, LOGIN, &["-vv", "--progress", "plain"]);
        assert_eq!(ran.code, 0, "{variable}: {}", ran.stderr);
        seen.push_str(&format!("{}{}", ran.stdout, ran.stderr));
    }
    assert!(yard.digest_of("demo/app:proxy").await.is_some());
    let asked = proxy.asked();
    assert!(asked.iter().all(|asked| asked.target == "registry.example:443" && asked.login.as_deref() == Some(HEADER)));
    let refused = run("HTTPS_PROXY", "user:canary%405f1c-and-wrong", &["-vv", "--progress", "json"]);
    assert_eq!(refused.code, 1);
    seen.push_str(&refused.stderr);
    let broken = run("HTTPS_PROXY", "user:canary@5f1c:x@[/", &["-vv"]);
    assert_eq!(broken.code, 1);
    seen.push_str(&broken.stderr);
    let short = refused.stderr.replace(&proxy.address().to_string(), "PROXY");
    assert!(short.contains("the proxy http://PROXY from HTTPS_PROXY wants another login"), "{short}");
    assert!(broken.stderr.contains("`HTTPS_PROXY` is not the URL of a proxy"), "{}", broken.stderr);
    for form in FORMS {
        assert!(!seen.contains(form), "{form} in {seen}");
    }
    println!(
        "row A12: a proxy's password in {} bytes of output of 6 builds: 0 of {} forms seen, {} tunnels",
        seen.len(),
        FORMS.len(),
        asked.len()
    );
}

#[tokio::test]
async fn failures_of_a_proxy_are_told_from_those_of_the_registry() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = TunnelProxy::start(&[], Some(HEADER)).await;
    let at = |address: std::net::SocketAddr, login: &str| ("HTTPS_PROXY", format!("http://{login}@{address}"));
    let unreachable = failure(&client(&[at(gone, LOGIN)], &[]), "registry.example/a:1").await;
    assert!(matches!(unreachable, RegistryError::Proxy { .. }), "{unreachable:?}");
    let no_way = failure(&client(&[at(proxy.address(), LOGIN)], &[]), "registry.example/a:1").await;
    assert!(matches!(no_way, RegistryError::Proxy { .. }), "{no_way:?}");
    let unknown = failure(&client(&[at(proxy.address(), "user:canary@5f1c")], &[]), "registry.example/a:1").await;
    assert!(matches!(unknown, RegistryError::Proxy { .. }), "an @ in a password need not be encoded: {unknown:?}");
    let stranger = failure(&client(&[at(proxy.address(), "other:canary%405f1c")], &[]), "registry.example/a:1").await;
    assert!(matches!(stranger, RegistryError::ProxyLogin { .. }), "{stranger:?}");
    let socks = [("ALL_PROXY", format!("socks5h://{LOGIN}@{gone}"))];
    let socks = failure(&client(&socks, &[]), "registry.example/a:1").await;
    for error in [unreachable, no_way, unknown, stranger, socks] {
        let text = shown(&error);
        assert!(FORMS.iter().all(|form| !text.contains(form)), "{text}");
        assert!(text.contains("registry.example"), "{text}");
    }
}

#[tokio::test]
async fn plain_http_goes_through_http_proxy_with_its_login_and_loopback_goes_past_it() {
    let registry = TinyRegistry::default();
    let proxy = FaultServer::start(move |seen, _| match seen.target.strip_prefix("http://registry.example") {
        Some(path) if seen.header("proxy-authorization") == Some(HEADER) => {
            registry.reply(&crate::support::fault::Seen { target: path.to_owned(), ..seen.clone() })
        }
        Some(_) => Reply::status(407),
        None => Reply::status(500),
    })
    .await;
    let direct = FaultServer::start(|_, _| Reply::status(404)).await;
    let with = |login: &str| client(&[("http_proxy", format!("{login}@{}", proxy.domain()))], &["registry.example"]);
    let known = with(LOGIN);
    let name = Reference::parse("registry.example/a:1").unwrap();
    assert_eq!(known.resolve(&name).await.unwrap(), None);
    assert_eq!(proxy.seen().len(), 1);
    let own = Reference::parse(&format!("{}/a:1", direct.domain())).unwrap();
    assert_eq!(known.resolve(&own).await.unwrap(), None);
    assert_eq!((proxy.seen().len(), direct.seen().len()), (1, 1), "loopback goes past the proxy");
    assert_eq!(direct.seen()[0].header("proxy-authorization"), None);
    let error = failure(&with("other:canary%405f1c"), "registry.example/a:1").await;
    assert!(matches!(error, RegistryError::ProxyLogin { .. }), "{error:?}");
    assert!(FORMS.iter().all(|form| !shown(&error).contains(form)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_has_a_proxy_of_its_own_or_none() {
    let yard = Yard::new().await;
    let authority = Authority::new();
    std::fs::write(yard.path("ca.pem"), &authority.pem).unwrap();
    let front = TlsFront::start(yard.domain(), &authority.issue(&["registry.example"]), None).await;
    let proxy = TunnelProxy::start(&[("registry.example:443", front.address())], Some(HEADER)).await;
    let other = FaultServer::start(|_, _| Reply::status(502)).await;
    let run = |own: &str| -> Ran {
        let text = format!("registries:\n  registry.example:\n    ca_file: ca.pem\n    proxy: {own}\n");
        std::fs::write(yard.path("config.yaml"), text).unwrap();
        let mut command = yard.command("store");
        command.args(["inspect", "-q", "registry.example/demo/parent:1"]).env("HTTPS_PROXY", other.url(""));
        command.env("LAPSTRAKE_CONFIG", yard.path("config.yaml")).env("PROXY_PASSWORD", "canary%405f1c");
        command.output().unwrap().into()
    };
    let ran = run(&format!("http://user:${{PROXY_PASSWORD}}@{}", proxy.address()));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(!proxy.asked().is_empty());
    assert_eq!(other.seen().len(), 0, "the environment's proxy is not asked");
}

#[test]
fn a_registry_may_be_reached_past_the_proxy_of_all_others() {
    let proxies = BTreeMap::from([("ALL_PROXY".to_owned(), format!("http://{LOGIN}@proxy.example:3128"))]);
    let direct = Access { proxy: Some(ProxyRule::Direct), ..Access::default() };
    let client = Client::new(ClientConfig {
        proxies: Proxies::from_variables(&proxies),
        access: BTreeMap::from([("registry.example".to_owned(), direct)]),
        ..ClientConfig::default()
    });
    assert_eq!(client.way("registry.example:5000").unwrap().proxy, None);
    let others = client.way("other.example").unwrap().proxy;
    assert_eq!(others.as_deref(), Some("http://proxy.example:3128 from ALL_PROXY"));
}
