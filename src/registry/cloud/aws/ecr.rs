//! The API of Amazon ECR: a password for the registry, and new repositories.
//!
//! The public registry has an API of its own, in one region.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::super::keychain::{Credential, Identity, KeychainError};
use super::super::error::CloudError;
use super::super::facts::Facts;
use super::super::hosts::Ecr;
use super::super::keychain::{broken, ending};
use super::super::web::{self, Answer, Web, set_headers};
use super::endpoint::endpoint;
use super::role::Sts;
use super::sign::{Keys, Scope, sign};
use super::source;

/// What a password lives when the answer does not say.
const LIFETIME: u64 = 12 * 3600;

/// The private registry's answer has a list, the public one's a single entry.
#[derive(Deserialize)]
#[serde(untagged)]
enum Authorizations {
    Many(Vec<Authorization>),
    One(Authorization),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Authorization {
    authorization_token: String,
    /// Seconds since 1970; some servers write a date instead, which is passed over.
    #[serde(default)]
    expires_at: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Token {
    authorization_data: Authorizations,
}

/// The identity for a registry; `None` when nothing says who we are.
pub(crate) async fn identity(facts: &Facts, web: &Web, ecr: &Ecr) -> Result<Option<Identity>, KeychainError> {
    let Some(keys) = source::find(sts(facts, web, ecr)).await? else { return Ok(None) };
    password(facts, web, ecr, &keys).await.map(Some).map_err(broken(&keys.source))
}

/// Makes a repository; says whether it was not there before.
pub(crate) async fn create_repository(
    facts: &Facts,
    web: &Web,
    ecr: &Ecr,
    domain: &str,
    path: &str,
) -> Result<bool, KeychainError> {
    let nobody = || broken("AWS")(CloudError::NoIdentity(domain.to_owned()));
    let keys = source::find(sts(facts, web, ecr)).await?.ok_or_else(nobody)?;
    let asked = match &ecr.account {
        Some(account) => json!({"registryId": account, "repositoryName": path}),
        // The first part of a public repository's path is its owner's.
        None => json!({"repositoryName": path.split_once('/').map_or(path, |(_, name)| name)}),
    };
    let answer = call(facts, web, ecr, &keys, "CreateRepository", asked).await.map_err(broken(&keys.source))?;
    if answer.status.is_success() {
        return Ok(true);
    }
    match answer.refusal() {
        CloudError::Refused { code: Some("RepositoryAlreadyExistsException"), .. } => Ok(false),
        refusal => Err(broken(&keys.source)(refusal)),
    }
}

fn sts<'a>(facts: &'a Facts, web: &'a Web, ecr: &'a Ecr) -> Sts<'a> {
    Sts { facts, web, region: &ecr.region, host: &ecr.sts }
}

async fn password(facts: &Facts, web: &Web, ecr: &Ecr, keys: &Keys) -> Result<Identity, CloudError> {
    let answer = call(facts, web, ecr, keys, "GetAuthorizationToken", json!({})).await?;
    let host = answer.host.clone();
    let junk = || CloudError::Junk { host: host.clone() };
    let Token { authorization_data } = answer.json()?;
    let found = match authorization_data {
        Authorizations::Many(list) => list.into_iter().next().ok_or_else(junk)?,
        Authorizations::One(one) => one,
    };
    let bytes = STANDARD.decode(found.authorization_token).map_err(|_| junk())?;
    let text = String::from_utf8(bytes).map_err(|_| junk())?;
    let (username, password) = text.split_once(':').ok_or_else(junk)?;
    let credential = Credential::Password { username: username.to_owned(), password: password.to_owned() };
    let until = found.expires_at.as_f64().map_or(LIFETIME, |at| (at as u64).saturating_sub(facts.now()));
    Ok(ending(credential, keys.source.clone(), until))
}

async fn call(
    facts: &Facts,
    web: &Web,
    ecr: &Ecr,
    keys: &Keys,
    operation: &str,
    body: Value,
) -> Result<Answer, CloudError> {
    let (name, service, target) = match ecr.account {
        Some(_) => ("ECR", "ecr", "AmazonEC2ContainerRegistry_V20150921"),
        None => ("ECR_PUBLIC", "ecr-public", "SpencerFrontendService"),
    };
    let url = endpoint(facts, name, &ecr.api)?;
    let mut request = web::post(url, "application/x-amz-json-1.1", body.to_string());
    set_headers(&mut request, &[("x-amz-target", &format!("{target}.{operation}"))]);
    sign(&mut request, keys, &Scope { region: &ecr.region, service, now: facts.now() });
    Ok(web.ask(request).await?)
}
