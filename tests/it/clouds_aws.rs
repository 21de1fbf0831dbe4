//! Amazon ECR: identities from every place that AWS's tools know, against services on loopback.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use crate::support::cloud::{Cloud, form};
use crate::support::fault::{FaultServer, Reply, Seen};
use crate::support::tiny_registry::TinyRegistry;
use crate::support::yard::{Ran, Yard};

const HOST: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";

/// The services of AWS: STS gives `ASIAROLE`, instance metadata and containers give `ASIANEAR`, ECR a password.
pub(crate) fn aws(seen: &Seen) -> Reply {
    let near =
        json!({"Code": "Success", "AccessKeyId": "ASIANEAR", "SecretAccessKey": "near", "Token": "near-session"});
    match (seen.method.as_str(), seen.path(), seen.header("x-amz-target")) {
        ("POST", "/", Some(target)) if target.ends_with(".GetAuthorizationToken") => {
            let entry =
                json!({"authorizationToken": STANDARD.encode("AWS:ecr-password"), "expiresAt": 4_000_000_000.5});
            let is_public = target.starts_with("SpencerFrontendService");
            let data = if is_public { entry } else { json!([entry]) };
            Reply::ok(json!({"authorizationData": data}).to_string())
        }
        ("POST", "/", None) => {
            let credentials = "<AccessKeyId>ASIAROLE</AccessKeyId><SecretAccessKey>role</SecretAccessKey>\
                               <SessionToken>role-session</SessionToken>";
            Reply::ok(format!("<R><Credentials>{credentials}</Credentials></R>"))
        }
        ("PUT", "/latest/api/token", _) => Reply::ok("metadata-token"),
        ("GET", "/container", _) if seen.header("authorization") == Some("pod-token") => Reply::ok(near.to_string()),
        ("GET", path, _) if seen.header("x-aws-ec2-metadata-token") == Some("metadata-token") => match path {
            "/latest/meta-data/iam/security-credentials/" => Reply::ok("my-role"),
            "/latest/meta-data/iam/security-credentials/my-role" => Reply::ok(near.to_string()),
            _ => Reply::status(404),
        },
        ("GET", "/federation/credentials", _) if seen.header("x-amz-sso_bearer_token") == Some("sso-token") => {
            let found = json!({"accessKeyId": "ASIASSO", "secretAccessKey": "sso", "sessionToken": "sso-session"});
            Reply::ok(json!({"roleCredentials": found}).to_string())
        }
        _ => Reply::status(400),
    }
}

/// Who signed the last request to ECR.
fn signer(cloud: &Cloud) -> String {
    let asked = cloud.asked();
    let last = asked.iter().rfind(|seen| seen.header("x-amz-target").is_some()).unwrap();
    let text = last.header("authorization").unwrap();
    let id = text.strip_prefix("AWS4-HMAC-SHA256 Credential=").unwrap().split('/').next().unwrap();
    assert!(text.contains("/ecr/aws4_request, SignedHeaders=content-type;host;x-amz-date;"), "{text}");
    format!("{id} {}", last.header("x-amz-security-token").unwrap_or("-"))
}

fn logged_in(cloud: &Cloud, ran: &Ran) {
    assert_eq!(cloud.told(), ["AWS:ecr-password"], "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_of_the_environment_log_in() {
    let cloud = Cloud::start(HOST, aws).await;
    let ran =
        cloud.look(&[("AWS_ACCESS_KEY_ID", "AKIDENV"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_SESSION_TOKEN", "t")]);
    logged_in(&cloud, &ran);
    assert_eq!(signer(&cloud), "AKIDENV t");
    assert_eq!(cloud.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_public_registry_has_an_api_of_its_own() {
    let cloud = Cloud::start("public.ecr.aws", aws).await;
    let ran = cloud.look(&[("AWS_ACCESS_KEY_ID", "AKIDENV"), ("AWS_SECRET_ACCESS_KEY", "s")]);
    logged_in(&cloud, &ran);
    let asked = cloud.asked();
    assert_eq!(asked[0].header("x-amz-target"), Some("SpencerFrontendService.GetAuthorizationToken"));
    assert!(asked[0].header("authorization").unwrap().contains("/us-east-1/ecr-public/aws4_request"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_leads_over_roles_to_its_source() {
    let cloud = Cloud::start(HOST, aws).await;
    cloud.write(
        ".aws/config",
        "[profile top]\nrole_arn = arn:aws:iam::1:role/top\nsource_profile = mid\nexternal_id = x1\n\
         [profile mid]\nrole_arn = arn:aws:iam::1:role/mid\nsource_profile = base\nrole_session_name = me\n",
    );
    cloud.write(".aws/credentials", "[base]\naws_access_key_id = AKIDBASE\naws_secret_access_key = s\n");
    let ran = cloud.look(&[("AWS_PROFILE", "top")]);
    logged_in(&cloud, &ran);
    assert_eq!(signer(&cloud), "ASIAROLE role-session");
    let roles: Vec<String> = cloud.asked()[..2]
        .iter()
        .map(|seen| {
            let fields = form(seen);
            let session = seen.header("x-amz-security-token").unwrap_or("-");
            let id = fields.get("ExternalId").map_or("-", String::as_str);
            format!("{} {} {id} {session}", fields["RoleArn"], fields["RoleSessionName"])
        })
        .collect();
    assert_eq!(roles, ["arn:aws:iam::1:role/mid me - -", "arn:aws:iam::1:role/top lapstrake x1 role-session"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_prints_an_identity() {
    let cloud = Cloud::start(HOST, aws).await;
    let program = cloud.write(
        "tool",
        "#!/bin/sh\necho \"{\\\"Version\\\":1,\\\"AccessKeyId\\\":\\\"$1\\\",\\\"SecretAccessKey\\\":\\\"s\\\"}\"\n",
    );
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    cloud.write(".aws/config", &format!("[default]\ncredential_process = \"{program}\" AKIDTOOL\n"));
    let ran = cloud.look(&[]);
    logged_in(&cloud, &ran);
    assert_eq!(signer(&cloud), "AKIDTOOL -");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_web_identity_becomes_a_role() {
    let cloud = Cloud::start(HOST, aws).await;
    let file = cloud.write("token", "web-token\n");
    let ran = cloud.look(&[("AWS_WEB_IDENTITY_TOKEN_FILE", &file), ("AWS_ROLE_ARN", "arn:aws:iam::1:role/ci")]);
    logged_in(&cloud, &ran);
    assert_eq!(signer(&cloud), "ASIAROLE role-session");
    let asked = &cloud.asked()[0];
    let fields = form(asked);
    assert_eq!(
        (fields["Action"].as_str(), fields["WebIdentityToken"].as_str()),
        ("AssumeRoleWithWebIdentity", "web-token")
    );
    assert_eq!(asked.header("authorization"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_and_machines_have_identities_of_their_own() {
    let cloud = Cloud::start(HOST, aws).await;
    let (url, file) = (cloud.server.url("/container"), cloud.write("pod", "pod-token"));
    let ran =
        cloud.look(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &url), ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", &file)]);
    logged_in(&cloud, &ran);
    assert_eq!(signer(&cloud), "ASIANEAR near-session");

    let cloud = Cloud::start(HOST, aws).await;
    let ran = cloud.look(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &cloud.server.url("/"))]);
    logged_in(&cloud, &ran);
    assert_eq!(signer(&cloud), "ASIANEAR near-session");
    assert_eq!(cloud.server.hits("PUT", "/latest/api/token"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_the_identity_center_gives_a_role() {
    let cloud = Cloud::start(HOST, aws).await;
    cloud.write(
        ".aws/config",
        "[default]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Builder\n\
         [sso-session corp]\nsso_region = eu-west-1\nsso_start_url = https://corp.awsapps.com/start\n",
    );
    // `printf corp | sha1sum`
    let name = ".aws/sso/cache/ee0bfd2552fbd840c02cc48b6e823320543c450f.json";
    cloud.write(name, r#"{"accessToken": "sso-token", "expiresAt": "2099-01-01T00:00:00Z"}"#);
    let ran = cloud.look(&[]);
    logged_in(&cloud, &ran);
    assert_eq!(signer(&cloud), "ASIASSO sso-session");
    std::fs::remove_file(cloud.path(name)).unwrap();
    let ran = cloud.look(&[]);
    assert!(ran.stderr.contains("the session of profile `default` has ended"), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: run `aws sso login --profile default`"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_any_source_the_user_is_anonymous() {
    let cloud = Cloud::start(HOST, aws).await;
    let ran = cloud.look(&[]);
    assert_eq!(ran.code, 1);
    let expected = format!("error: `{HOST}` does not accept an anonymous user for `repository:team/app:pull`");
    assert!(ran.stderr.starts_with(&expected), "{}", ran.stderr);
    assert!(ran.stderr.contains("hint: set AWS_PROFILE, AWS_ACCESS_KEY_ID or another source"), "{}", ran.stderr);
    assert_eq!((cloud.told().len(), cloud.asked().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_metadata_service_that_says_nothing_does_not_hold_up() {
    let cloud = Cloud::start(HOST, |_| Reply::status(200).delay(Duration::from_secs(600))).await;
    let started = Instant::now();
    let ran = cloud.look(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &cloud.server.url(""))]);
    assert!(started.elapsed() < Duration::from_secs(60));
    assert!(ran.stderr.contains("does not accept an anonymous user"), "{}", ran.stderr);
    assert_eq!(cloud.asked().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn other_hosts_never_make_a_cloud_be_asked() {
    for host in ["123456789012.dkr.ecr.eu-central-1.amazonaws.com.evil.test", "evil-azurecr.io", "gcr.io.evil.test"] {
        let cloud = Cloud::start(host, aws).await;
        let near = cloud.server.domain();
        let ran = cloud.look(&[
            ("AWS_ACCESS_KEY_ID", "AKIDENV"),
            ("AWS_SECRET_ACCESS_KEY", "s"),
            ("GCE_METADATA_HOST", &near),
            ("GITHUB_TOKEN", "g"),
            ("AZURE_CLIENT_ID", "c"),
            ("AZURE_TENANT_ID", "t"),
            ("AZURE_CLIENT_SECRET", "s"),
        ]);
        assert!(ran.stderr.contains("does not accept an anonymous user"), "{}", ran.stderr);
        assert_eq!((cloud.told().len(), cloud.asked().len()), (0, 0), "{host}");
    }
}

/// A yard, and a server that is ECR's API and, as a proxy, its registry; `made` says whether the repository is there.
async fn ecr_to_push_to(made: bool) -> (Yard, FaultServer) {
    let (yard, registry) = (Yard::new().await, TinyRegistry::default());
    let made = std::sync::atomic::AtomicBool::new(made);
    let server = FaultServer::start(move |seen, _| {
        let order = std::sync::atomic::Ordering::SeqCst;
        if let Some(target) = seen.target.strip_prefix(&format!("http://{HOST}")) {
            let unknown = json!({"errors": [{"code": "NAME_UNKNOWN", "message": "no such repository"}]});
            let seen = Seen { target: target.to_owned(), ..seen.clone() };
            return if made.load(order) { registry.reply(&seen) } else { Reply::status(404).body(unknown.to_string()) };
        }
        match seen.header("x-amz-target") {
            Some("AmazonEC2ContainerRegistry_V20150921.CreateRepository") => {
                let refusal = json!({"__type": "RepositoryAlreadyExistsException"}).to_string();
                if made.swap(true, order) { Reply::status(400).body(refusal) } else { Reply::ok("{}") }
            }
            _ => aws(seen),
        }
    });
    (yard, server.await)
}

fn push(yard: &Yard, server: &FaultServer, flags: &[&str]) -> Ran {
    let target = format!("{HOST}/team/app:1");
    let flags = [&["--tag", &target, "--insecure-registry", HOST], flags].concat();
    let mut command = yard.build_command("store", &flags);
    command.env("HTTP_PROXY", server.url("")).env("AWS_ENDPOINT_URL", server.url(""));
    command.env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", "s").output().unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_repository_is_named_with_its_cure() {
    let (yard, server) = ecr_to_push_to(false).await;
    let ran = push(&yard, &server, &["--quiet"]);
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.stderr, @"
    error: repository `123456789012.dkr.ecr.eu-central-1.amazonaws.com/team/app` does not exist: NAME_UNKNOWN: no such repository
      hint: pass `--create-repository`, or run `aws ecr create-repository --region eu-central-1 --repository-name team/app`
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repository_is_made_when_asked_for_and_once() {
    let (yard, server) = ecr_to_push_to(false).await;
    let ran = push(&yard, &server, &["--create-repository"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("made the repository {HOST}/team/app")), "{}", ran.stderr);
    let first = server.seen().remove(0);
    assert_eq!(first.header("x-amz-target"), Some("AmazonEC2ContainerRegistry_V20150921.CreateRepository"));
    let body: serde_json::Value = serde_json::from_slice(&first.body).unwrap();
    assert_eq!(body, json!({"registryId": "123456789012", "repositoryName": "team/app"}));
    let again = push(&yard, &server, &["--create-repository"]);
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(!again.stderr.contains("made the repository"), "{}", again.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_makes_the_repository_too() {
    let (yard, server) = ecr_to_push_to(false).await;
    let (source, target) = (yard.at("demo/parent:1"), format!("{HOST}/team/app:1"));
    let copy = |flags: &[&str]| -> Ran {
        let mut command = yard.command("store");
        command.args(["copy", &source, &target, "--insecure-registry", HOST]).args(flags);
        command.env("HTTP_PROXY", server.url("")).env("AWS_ENDPOINT_URL", server.url(""));
        command.env("AWS_ACCESS_KEY_ID", "AKID").env("AWS_SECRET_ACCESS_KEY", "s").output().unwrap().into()
    };
    assert_eq!(copy(&[]).code, 1);
    let ran = copy(&["--create-repository"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stderr.contains(&format!("made the repository {HOST}/team/app")), "{}", ran.stderr);
}
