//! Credentials, realms and upload locations against the tables of other implementations.

use lapstrake::registry::{
    Credential, DockerKeychain, Helpers, Keychain, Origin, hostname, server_url, validate_realm,
    validate_upload_location,
};
use serde_json::Value;

use crate::support::vectors::{cases, text};

#[test]
fn realm_and_location_vectors_agree() {
    let cases = cases("ssrf_realm_location").unwrap_or_default();
    for case in &cases {
        let host = text(case, "registryHost").filter(|host| !host.is_empty()).unwrap_or("registry.test");
        let (place, refused) = match text(case, "kind").unwrap() {
            "realm" => {
                let realm = text(case, "realm").unwrap();
                (realm, validate_realm(realm, &origin(host, case["insecure"] == true)).is_err())
            }
            "upload_location" => {
                let location = text(case, "location").unwrap();
                let origin = Origin::of(host, &[]).unwrap();
                let base = origin.url("/v2/foo/bar/blobs/uploads/").unwrap();
                (location, validate_upload_location(location, &base, &origin).is_err())
            }
            kind => panic!("unknown kind {kind}"),
        };
        assert_eq!(refused, case["reject"] == true, "{place} from {host}");
    }
    eprintln!("ssrf_realm_location: {} cases", cases.len());
}

/// The origin of a registry whose scheme is given, whatever its host.
fn origin(host: &str, insecure: bool) -> Origin {
    let scheme = if insecure { "http" } else { "https" };
    Origin::of_url(&url::Url::parse(&format!("{scheme}://{host}")).unwrap()).unwrap()
}

#[tokio::test]
async fn docker_config_vectors_agree() {
    let cases = cases("docker_config_auth").unwrap_or_default();
    for case in &cases {
        match text(case, "kind") {
            Some("ConvertToHostname") => {
                assert_eq!(hostname(text(case, "input").unwrap()), text(case, "expected").unwrap());
            }
            Some("helper_url") => {
                let found = server_url(text(case, "url").unwrap()).ok();
                assert_eq!(found.as_deref(), text(case, "expected"), "{case}");
            }
            Some(kind) => panic!("unknown kind {kind}"),
            None => credential_is_found(case).await,
        }
    }
    eprintln!("docker_config_auth: {} cases", cases.len());
}

async fn credential_is_found(case: &Value) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    std::fs::write(&file, text(case, "config").unwrap()).unwrap();
    let keychain = DockerKeychain::new(vec![file], Helpers::default());
    let target = text(case, "target").unwrap();
    let (domain, path) = target.split_once('/').unwrap_or((target, "some/repository"));
    let found = keychain.identity(domain, path).await;
    if case["error"] == true {
        assert!(found.is_err(), "{case}");
        return;
    }
    let expected = text(case, "username").map(|username| Credential::Password {
        username: username.to_owned(),
        password: text(case, "password").unwrap().to_owned(),
    });
    assert_eq!(found.unwrap().map(|identity| identity.credential), expected, "{case}");
}
