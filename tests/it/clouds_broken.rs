//! Sources of the clouds' credentials that are there and broken: each is named, none is passed over, and no secret is
//! shown, whatever a server repeats.

use serde_json::json;

use crate::clouds_google_azure::service_account;
use crate::support::cloud::{Cloud, unseen};
use crate::support::fault::{Reply, Seen};
use crate::support::yard::Ran;

const ECR: &str = "123456789012.dkr.ecr.eu-central-1.amazonaws.com";
const GOOGLE: &str = "europe-west4-docker.pkg.dev";
const AZURE: &str = "mine.azurecr.io";
const CANARY: &str = "canary/7+c3==";

/// A server that knows every secret that it was told, and repeats them all in its refusal; metadata services give one.
fn parrot(seen: &Seen) -> Reply {
    let percent: String = url::form_urlencoded::byte_serialize(CANARY.as_bytes()).collect();
    let base64 = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, CANARY);
    let headers = format!("{:?}", seen.headers);
    let told = [CANARY, &percent, &base64, &seen.target, &String::from_utf8_lossy(&seen.body), &headers].join(" ");
    let body = json!({
        "error": CANARY, "error_description": told, "__type": CANARY, "message": percent, "code": base64,
        "errors": [{"code": CANARY, "message": told}],
    });
    let near = json!({"AccessKeyId": "AKID", "SecretAccessKey": CANARY, "Token": CANARY});
    match seen.path() {
        "/near" => Reply::ok(near.to_string()),
        "/latest/api/token" => Reply::ok(CANARY),
        "/junk" => Reply::ok(CANARY),
        "/empty" => Reply::ok("{}"),
        "/app/token" | "/tenant/oauth2/v2.0/token" => Reply::ok(json!({"access_token": CANARY}).to_string()),
        _ => Reply::status(403).body(body.to_string()).header("x-amzn-errortype", CANARY),
    }
}

/// One broken source: the registry, the variables, and what the error has to name.
struct Door {
    host: &'static str,
    variables: Vec<(&'static str, String)>,
    named: &'static str,
}

fn door(host: &'static str, named: &'static str, variables: &[(&'static str, &str)]) -> Door {
    let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Door { host, variables, named }
}

fn doors_of_aws(cloud: &Cloud) -> Vec<Door> {
    let keys = [("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", CANARY), ("AWS_SESSION_TOKEN", CANARY)];
    let token = cloud.write("web-token", CANARY);
    let role = "arn:aws:iam::1:role/x";
    cloud.write(
        ".aws/config",
        &format!(
            "[profile role]\nrole_arn = {role}\nsource_profile = keys\n[profile mfa]\nrole_arn = {role}\nmfa_serial = x\n\
             [profile a]\nrole_arn = {role}\nsource_profile = b\n[profile b]\nrole_arn = {role}\nsource_profile = a\n\
             [profile tool]\ncredential_process = sh -c 'echo {CANARY}'\n\
             [profile fails]\ncredential_process = sh -c 'echo {CANARY}; exit 3'\n\
             [profile gone]\ncredential_process = /no/such/tool {CANARY}\n\
             [profile keys]\naws_access_key_id = AKID\naws_secret_access_key = {CANARY}\n\
             [profile half]\naws_secret_access_key = {CANARY}\n"
        ),
    );
    let profile = |named, name| door(ECR, named, &[("AWS_PROFILE", name)]);
    vec![
        door(ECR, "`AWS_ACCESS_KEY_ID`", &keys),
        door("public.ecr.aws", "`AWS_ACCESS_KEY_ID`", &keys),
        door(ECR, "`AWS_SECRET_ACCESS_KEY`", &keys[..1]),
        door(ECR, "`AWS_WEB_IDENTITY_TOKEN_FILE`", &[("AWS_WEB_IDENTITY_TOKEN_FILE", &token), ("AWS_ROLE_ARN", role)]),
        door(ECR, "`AWS_ROLE_ARN`", &[("AWS_WEB_IDENTITY_TOKEN_FILE", &token)]),
        door(
            ECR,
            "`AWS_CONTAINER_CREDENTIALS_FULL_URI`",
            &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", &cloud.server.url("/near"))],
        ),
        door(
            ECR,
            "neither https nor on this machine",
            &[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://10.0.0.1/near")],
        ),
        door(ECR, "`AWS instance metadata`", &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &cloud.server.url(""))]),
        door(
            ECR,
            "neither https nor on this machine",
            &[keys[0], keys[1], ("AWS_ENDPOINT_URL_ECR", "http://ecr.test/")],
        ),
        profile("`AWS profile keys`", "keys"),
        profile("`AWS profile role`", "role"),
        profile("`mfa_serial` of AWS profile mfa is not supported", "mfa"),
        profile("refers to itself", "a"),
        profile("`AWS profile tool`", "tool"),
        profile("`AWS profile fails`", "fails"),
        profile("`AWS profile gone`", "gone"),
        profile("`AWS profile half` has no usable `aws_access_key_id`", "half"),
        profile("there is no profile `absent`", "absent"),
    ]
}

fn doors_of_others(cloud: &Cloud) -> Vec<Door> {
    let google = |named, file: &str| door(GOOGLE, named, &[("GOOGLE_APPLICATION_CREDENTIALS", file)]);
    let mut account = service_account(cloud);
    account["private_key_id"] = json!(CANARY);
    let refused = cloud.write("refused.json", &account.to_string());
    account["token_uri"] = json!(cloud.server.url("/junk"));
    let junk = cloud.write("junk.json", &account.to_string());
    account["private_key"] = json!(CANARY);
    let key = cloud.write("key.json", &account.to_string());
    let plain = cloud.write(
        "plain.json",
        &json!({"type": "authorized_user", "client_secret": CANARY, "token_uri": "http://t.test/"}).to_string(),
    );
    let text = cloud.write("text.json", &format!("{{\"private_key\": {CANARY}"));
    let other = cloud.write("other.json", &json!({"type": CANARY}).to_string());
    let external = json!({
        "type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": cloud.server.url("/sts"),
        "credential_source": {"url": cloud.server.url("/subject"), "headers": {"authorization": CANARY}},
    });
    let external = cloud.write("external.json", &external.to_string());
    let authority = cloud.server.url("/");
    let principal = [("AZURE_TENANT_ID", "tenant"), ("AZURE_CLIENT_ID", "app"), ("AZURE_AUTHORITY_HOST", &authority)];
    let elsewhere = [("AZURE_TENANT_ID", "nobody"), principal[1], principal[2]];
    let [secret, app] = [("AZURE_CLIENT_SECRET", CANARY), ("IDENTITY_HEADER", CANARY)];
    vec![
        google("refused.json", &refused),
        google("junk.json", &junk),
        google("no usable `private_key`", &key),
        google("neither https nor on this machine", &plain),
        google("wrong JSON at line 1", &text),
        google("no usable `type`", &other),
        google("external.json", &external),
        google("absent.json", "/absent.json"),
        door(AZURE, "`AZURE_CLIENT_SECRET`", &[&principal[..], &[secret]].concat()),
        door(AZURE, "`AZURE_CLIENT_SECRET`", &[&elsewhere[..], &[secret]].concat()),
        door(
            AZURE,
            "`AZURE_FEDERATED_TOKEN_FILE`",
            &[&elsewhere[..], &[("AZURE_FEDERATED_TOKEN_FILE", &key)]].concat(),
        ),
        door(AZURE, "`IDENTITY_ENDPOINT`", &[("IDENTITY_ENDPOINT", &cloud.server.url("/app/token")), app]),
        door(AZURE, "`IDENTITY_ENDPOINT`", &[("IDENTITY_ENDPOINT", &cloud.server.url("/empty")), app]),
        door("ghcr.io", "`GITHUB_TOKEN`", &[("GITHUB_TOKEN", CANARY)]),
    ]
}

fn tried(cloud: &Cloud, door: &Door) -> Ran {
    let reference = format!("{}/team/app:1", door.host);
    let mut command = cloud.command(&["-vv", "inspect", &reference, "--insecure-registry", door.host]);
    command.envs(door.variables.iter().map(|(name, value)| (name, value))).output().unwrap().into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_source_is_named_and_nothing_is_shown_of_it() {
    // The registry of this cloud has no name of its own: whatever comes over the proxy is refused with the secret.
    let cloud = Cloud::start("unused.test", |seen| match seen.target.contains("/v2/") {
        true if seen.header("authorization").is_none() => {
            Reply::status(401).header("www-authenticate", "Basic realm=\"r\"")
        }
        _ => parrot(seen),
    });
    let cloud = cloud.await;
    let doors: Vec<Door> = doors_of_aws(&cloud).into_iter().chain(doors_of_others(&cloud)).collect();
    for door in &doors {
        let ran = tried(&cloud, door);
        assert_eq!(ran.code, 1, "{}", ran.stderr);
        assert!(ran.stderr.contains(door.named), "`{}` is not named:\n{}", door.named, ran.stderr);
        assert!(!ran.stderr.contains("anonymous"), "{}", ran.stderr);
        assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
        unseen(CANARY, &ran);
    }
    assert!(doors.len() >= 30);
    println!("row A12: {} doors of the clouds, a secret repeated by every server, shown by none", doors.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_the_cloud_is_told_with_its_code() {
    let cloud = Cloud::start(ECR, |_| {
        let message = format!("User {CANARY} is not authorized");
        Reply::status(400).body(json!({"__type": "AccessDeniedException", "Message": message}).to_string())
    });
    let cloud = cloud.await;
    let ran = cloud.look(&[("AWS_ACCESS_KEY_ID", "AKID"), ("AWS_SECRET_ACCESS_KEY", CANARY)]);
    unseen(CANARY, &ran);
    insta::assert_snapshot!(ran.stderr.replace(&cloud.server.domain(), "API"), @"
    error: cannot find out who we are to `123456789012.dkr.ecr.eu-central-1.amazonaws.com`
      because: the credential from `AWS_ACCESS_KEY_ID` cannot be had
      because: `API` answers 400 (AccessDeniedException)
      hint: ask who runs the account for the right; LAPSTRAKE_CLOUD_CREDENTIALS=off does without this credential
    ");
}
