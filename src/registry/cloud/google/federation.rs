//! Workload identity federation: a token of another identity provider, exchanged at Google's token service, and
//! service accounts in whose place another identity stands.
//!
//! Runs no program that a credential file names, and signs no request to AWS.

use std::path::Path;

use reqwest::header::AUTHORIZATION;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::error::CloudError;
use super::super::facts::token;
use super::super::web::{Web, address, get, post, post_form, set_headers};
use super::adc::{Access, member};

const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
const TOKEN_URL: &str = "https://sts.googleapis.com/v1/token";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const LIFETIME: u64 = 3600;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Impersonated {
    access_token: String,
}

/// Exchanges the token that the file's `credential_source` leads to (RFC 8693).
pub(super) async fn exchange(web: &Web, value: &Value, of: &str) -> Result<Access, CloudError> {
    let url = address(value["token_url"].as_str().unwrap_or(TOKEN_URL), of)?;
    let subject = subject(web, &value["credential_source"], of).await?;
    let fields = [
        ("grant_type", EXCHANGE),
        ("audience", member(value, "audience", of)?),
        ("scope", SCOPE),
        ("requested_token_type", ACCESS_TOKEN),
        ("subject_token_type", member(value, "subject_token_type", of)?),
        ("subject_token", &subject),
    ];
    Access::read(web.ask(post_form(url, &fields)).await?)
}

/// A token for the service account that `url` names, in whose place `access` may stand.
pub(super) async fn impersonate(web: &Web, url: &str, access: &Access, of: &str) -> Result<Access, CloudError> {
    let body = json!({"scope": [SCOPE], "lifetime": format!("{LIFETIME}s")}).to_string();
    let mut request = post(address(url, of)?, "application/json", body);
    set_headers(&mut request, &[(AUTHORIZATION.as_str(), &format!("Bearer {}", access.token))]);
    let answer = web.ask(request).await?;
    let host = answer.host.clone();
    let Impersonated { access_token: token } = answer.json()?;
    if token.is_empty() { Err(CloudError::Junk { host }) } else { Ok(Access { token, seconds: LIFETIME }) }
}

/// The other provider's token.
async fn subject(web: &Web, source: &Value, of: &str) -> Result<String, CloudError> {
    let text = match (source["file"].as_str(), source["url"].as_str()) {
        (Some(file), _) => token(Path::new(file))?,
        (None, Some(url)) => {
            let mut request = get(address(url, of)?, &[]);
            for (name, value) in source["headers"].as_object().into_iter().flatten() {
                let header = (name.parse::<reqwest::header::HeaderName>(), value.as_str().map(str::parse));
                let (Ok(name), Some(Ok(mut value))) = header else {
                    return Err(CloudError::Field { of: of.to_owned(), field: "headers" });
                };
                reqwest::header::HeaderValue::set_sensitive(&mut value, true);
                request.headers_mut().insert(name, value);
            }
            web.ask(request).await?.text()?
        }
        (None, None) => {
            let what = "a `credential_source` other than `file` and `url`";
            return Err(CloudError::Unsupported(what.to_owned()));
        }
    };
    if source["format"]["type"].as_str() != Some("json") {
        return Ok(text.trim().to_owned());
    }
    let unusable = || CloudError::Field { of: of.to_owned(), field: "subject_token_field_name" };
    let field = source["format"]["subject_token_field_name"].as_str().ok_or_else(unusable)?;
    let value: Value = serde_json::from_str(&text).map_err(|_| unusable())?;
    value[field].as_str().map(str::to_owned).ok_or_else(unusable)
}
