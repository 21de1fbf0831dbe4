//! Google's and Azure's registries, and GitHub's: identities from every place that their tools know, against services on
//! loopback.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::support::cloud::{Cloud, form};
use crate::support::fault::{Reply, Seen};
use crate::support::yard::Ran;

const GOOGLE: &str = "europe-west4-docker.pkg.dev";
const AZURE: &str = "mine.azurecr.io";
const AZURE_ASKS: &str = "Bearer realm=\"http://mine.azurecr.io/oauth2/token\",service=\"mine.azurecr.io\"";
const KEY: &str = include_str!("support/test_only_key.pem");
const DEFAULT_FILE: &str = ".config/gcloud/application_default_credentials.json";

/// Google's services: each gives a token of its own name.
pub(crate) fn google(seen: &Seen) -> Reply {
    let flavor = seen.header("metadata-flavor") == Some("Google");
    match seen.path() {
        "/token" => Reply::ok(r#"{"access_token": "direct", "expires_in": 3599}"#),
        "/sts" => Reply::ok(r#"{"access_token": "federated"}"#),
        "/subject" if seen.header("authorization") == Some("Bearer oidc") => Reply::ok(r#"{"value": "subject-token"}"#),
        "/impersonate" => {
            let bearer = seen.header("authorization").unwrap_or_default().replace("Bearer ", "");
            Reply::ok(json!({"accessToken": format!("as-other-by-{bearer}")}).to_string())
        }
        "/computeMetadata/v1/instance/service-accounts/default/token" if flavor => {
            Reply::ok(r#"{"access_token": "near", "expires_in": 1000}"#).header("metadata-flavor", "Google")
        }
        _ => Reply::status(404),
    }
}

/// The file of a service account whose tokens come from `cloud`.
pub(crate) fn service_account(cloud: &Cloud) -> Value {
    json!({
        "type": "service_account", "client_email": "ci@p.iam.gserviceaccount.com", "private_key_id": "k1",
        "private_key": KEY, "token_uri": cloud.server.url("/token"),
    })
}

fn logged_in(cloud: &Cloud, ran: &Ran, token: &str) {
    assert_eq!(cloud.told(), [format!("oauth2accesstoken:{token}")], "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_signs_for_a_token() {
    let cloud = Cloud::start(GOOGLE, google).await;
    let file = cloud.write("key.json", &service_account(&cloud).to_string());
    let ran = cloud.look(&[("GOOGLE_APPLICATION_CREDENTIALS", &file)]);
    logged_in(&cloud, &ran, "direct");
    let asked = &cloud.asked()[0];
    let assertion = form(asked)["assertion"].clone();
    let (unsigned, signature) = assertion.rsplit_once('.').unwrap();
    let (header, claims) = unsigned.split_once('.').unwrap();
    let read = |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    assert_eq!(read(header), json!({"alg": "RS256", "typ": "JWT", "kid": "k1"}));
    let claims = read(claims);
    assert_eq!(
        (&claims["iss"], &claims["aud"]),
        (&json!("ci@p.iam.gserviceaccount.com"), &json!(cloud.server.url("/token")))
    );
    assert_eq!(claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap(), 3600);
    let key = PrivatePkcs8KeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
    let pair = ring::signature::RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let public = ring::signature::UnparsedPublicKey::new(&ring::signature::RSA_PKCS1_2048_8192_SHA256, pair.public());
    public.verify(unsigned.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_gcloud_keeps_of_a_user_gives_a_token() {
    let cloud = Cloud::start("eu.gcr.io", google).await;
    let user = json!({
        "type": "authorized_user", "client_id": "c", "client_secret": "s", "refresh_token": "r",
        "token_uri": cloud.server.url("/token"),
    });
    cloud.write(DEFAULT_FILE, &user.to_string());
    let ran = cloud.look(&[]);
    logged_in(&cloud, &ran, "direct");
    let fields = form(&cloud.asked()[0]);
    assert_eq!((fields["grant_type"].as_str(), fields["refresh_token"].as_str()), ("refresh_token", "r"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_of_googles_gives_a_token_and_no_other_machine_is_believed() {
    let cloud = Cloud::start("gcr.io", google).await;
    let ran = cloud.look(&[("GCE_METADATA_HOST", &cloud.server.domain())]);
    logged_in(&cloud, &ran, "near");

    let other = Cloud::start("gcr.io", |_| Reply::ok(r#"{"access_token": "of another cloud"}"#)).await;
    let ran = other.look(&[("GCE_METADATA_HOST", &other.server.domain())]);
    assert!(ran.stderr.contains("does not accept an anonymous user"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn federation_exchanges_another_providers_token() {
    let cloud = Cloud::start(GOOGLE, google).await;
    let source = json!({
        "url": cloud.server.url("/subject"), "headers": {"Authorization": "Bearer oidc"},
        "format": {"type": "json", "subject_token_field_name": "value"},
    });
    let mut external = json!({
        "type": "external_account", "audience": "//iam.googleapis.com/x", "token_url": cloud.server.url("/sts"),
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "credential_source": source,
    });
    let file = cloud.write("external.json", &external.to_string());
    let ran = cloud.look(&[("GOOGLE_APPLICATION_CREDENTIALS", &file)]);
    logged_in(&cloud, &ran, "federated");
    let fields = form(&cloud.asked()[1]);
    assert_eq!(
        (fields["subject_token"].as_str(), fields["audience"].as_str()),
        ("subject-token", "//iam.googleapis.com/x")
    );

    let cloud = Cloud::start(GOOGLE, google).await;
    external["credential_source"] = json!({"file": cloud.write("token", "file-token\n")});
    external["token_url"] = json!(cloud.server.url("/sts"));
    external["service_account_impersonation_url"] = json!(cloud.server.url("/impersonate"));
    let file = cloud.write("external.json", &external.to_string());
    let ran = cloud.look(&[("GOOGLE_APPLICATION_CREDENTIALS", &file)]);
    logged_in(&cloud, &ran, "as-other-by-federated");
    assert_eq!(form(&cloud.asked()[0])["subject_token"], "file-token");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_stands_in_the_place_of_another() {
    let cloud = Cloud::start(GOOGLE, google).await;
    let value = json!({
        "type": "impersonated_service_account", "source_credentials": service_account(&cloud),
        "service_account_impersonation_url": cloud.server.url("/impersonate"),
    });
    cloud.write(DEFAULT_FILE, &value.to_string());
    let ran = cloud.look(&[]);
    logged_in(&cloud, &ran, "as-other-by-direct");
}

/// Azure's services, and the registry's own exchange of tokens.
pub(crate) fn azure(seen: &Seen) -> Reply {
    let fields = form(seen);
    let field = |name: &str| fields.get(name).map_or("", String::as_str);
    let is_near = seen.header("metadata") == Some("true") || seen.header("x-identity-header") == Some("id-header");
    match seen.path() {
        "/tenant/oauth2/v2.0/token" => Reply::ok(r#"{"access_token": "entra", "expires_in": 3599}"#),
        "/metadata/identity/oauth2/token" | "/app/token" if is_near => Reply::ok(r#"{"access_token": "managed"}"#),
        "http://mine.azurecr.io/oauth2/exchange" => {
            Reply::ok(json!({"refresh_token": format!("refresh-of-{}", field("access_token"))}).to_string())
        }
        "http://mine.azurecr.io/oauth2/token" => {
            Reply::ok(json!({"access_token": format!("access-by-{}", field("refresh_token"))}).to_string())
        }
        _ => Reply::status(404),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_principal_logs_in_by_secret_or_by_another_providers_token() {
    for is_federated in [false, true] {
        let cloud = Cloud::asking(AZURE, AZURE_ASKS, azure).await;
        let file = cloud.write("token", "oidc-token");
        let authority = cloud.server.url("/");
        let mut variables =
            vec![("AZURE_TENANT_ID", "tenant"), ("AZURE_CLIENT_ID", "app"), ("AZURE_AUTHORITY_HOST", &authority)];
        variables.push(match is_federated {
            true => ("AZURE_FEDERATED_TOKEN_FILE", &file),
            false => ("AZURE_CLIENT_SECRET", "secret"),
        });
        let ran = cloud.look(&variables);
        assert_eq!(cloud.told(), ["Bearer access-by-refresh-of-entra"], "{}", ran.stderr);
        let fields = form(&cloud.asked()[0]);
        assert_eq!(fields["scope"], "https://containerregistry.azure.net/.default");
        let proof = if is_federated { ("client_assertion", "oidc-token") } else { ("client_secret", "secret") };
        assert_eq!(fields[proof.0], proof.1);
        let exchange = cloud.server.seen().into_iter().find(|seen| seen.path().ends_with("/oauth2/exchange"));
        let fields = form(&exchange.unwrap());
        assert_eq!((fields["service"].as_str(), fields["tenant"].as_str()), (AZURE, "tenant"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn managed_identities_of_apps_and_machines_log_in() {
    let cloud = Cloud::asking(AZURE, AZURE_ASKS, azure).await;
    let ran = cloud.look(&[("IDENTITY_ENDPOINT", &cloud.server.url("/app/token")), ("IDENTITY_HEADER", "id-header")]);
    assert_eq!(cloud.told(), ["Bearer access-by-refresh-of-managed"], "{}", ran.stderr);

    let cloud = Cloud::asking(AZURE, AZURE_ASKS, azure).await;
    let ran = cloud.look(&[("AZURE_POD_IDENTITY_AUTHORITY_HOST", &cloud.server.url("/")), ("AZURE_CLIENT_ID", "mine")]);
    assert_eq!(cloud.told(), ["Bearer access-by-refresh-of-managed"], "{}", ran.stderr);
    assert!(cloud.asked()[0].target.contains("client_id=mine"), "{}", cloud.asked()[0].target);
}

#[tokio::test(flavor = "multi_thread")]
async fn githubs_token_is_for_githubs_registry() {
    let cloud = Cloud::start("ghcr.io", |_| Reply::status(404)).await;
    cloud.look(&[("GITHUB_TOKEN", "gh-token"), ("GITHUB_ACTOR", "me")]);
    assert_eq!(cloud.told(), ["me:gh-token"]);
    let cloud = Cloud::start("mirror.test", |_| Reply::status(404)).await;
    cloud.look(&[("GITHUB_TOKEN", "gh-token"), ("GITHUB_ACTOR", "me")]);
    assert_eq!(cloud.told(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_source_the_user_is_anonymous() {
    for (host, asks) in [(GOOGLE, "Basic realm=\"r\""), (AZURE, "Basic realm=\"r\""), ("ghcr.io", "Basic realm=\"r\"")]
    {
        let cloud = Cloud::asking(host, asks, |_| Reply::status(500)).await;
        let ran = cloud.look(&[]);
        assert!(ran.stderr.contains("does not accept an anonymous user"), "{}", ran.stderr);
        assert_eq!((cloud.told().len(), cloud.asked().len()), (0, 0));
    }
}
