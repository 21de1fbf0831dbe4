//! Azure's registries: a token of Microsoft Entra ID, exchanged at the registry for a refresh token.
//!
//! Knows service principals, federated tokens and managed identities; a user's own login is the Azure tools' matter.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::super::keychain::{Credential, Identity, KeychainError};
use super::super::origin::Origin;
use super::error::CloudError;
use super::facts::{Facts, token};
use super::keychain::{broken, ending};
use super::web::{Web, address, any_address, get, post_form};

const REGISTRIES: &str = "https://containerregistry.azure.net";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const METADATA: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
const PATIENCE: Duration = Duration::from_secs(5);
/// What a refresh token is used for when it does not say how long it lives; it lives for three hours.
const LIFETIME: u64 = 3600;

#[derive(Deserialize)]
struct Access {
    access_token: String,
}

#[derive(Deserialize)]
struct Refresh {
    refresh_token: String,
}

/// The identity for the registry `domain`; `None` when nothing says who we are.
pub(crate) async fn identity(
    facts: &Facts,
    web: &Web,
    domain: &str,
    authority: &str,
) -> Result<Option<Identity>, KeychainError> {
    let (source, found) = Asked { facts, web, resource: REGISTRIES }.token(authority).await;
    let Some(access) = found.map_err(broken(source))? else { return Ok(None) };
    exchange(facts, web, domain, &access, source).await.map(Some).map_err(broken(source))
}

/// A question for an access token of Entra ID.
pub(crate) struct Asked<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) web: &'a Web,
    /// What it is for.
    pub(crate) resource: &'a str,
}

impl Asked<'_> {
    /// The name of the source that there is, and its token; `None` when nothing says who we are.
    pub(crate) async fn token(&self, authority: &str) -> (&'static str, Result<Option<String>, CloudError>) {
        let source = source(self.facts);
        let found = match source {
            "AZURE_CLIENT_SECRET" | "AZURE_FEDERATED_TOKEN_FILE" => self.of_principal(authority).await.map(Some),
            "IDENTITY_ENDPOINT" => self.of_app().await.map(Some),
            _ => self.of_machine().await,
        };
        (source, found)
    }

    /// A service principal, by its secret or by another provider's token.
    async fn of_principal(&self, authority: &str) -> Result<String, CloudError> {
        let base = match self.facts.var("AZURE_AUTHORITY_HOST") {
            Some(text) if !text.contains("://") => format!("https://{text}"),
            Some(text) => text.to_owned(),
            None => authority.to_owned(),
        };
        let tenant = self.facts.var("AZURE_TENANT_ID").unwrap_or_default();
        let path = format!("{}/{tenant}/oauth2/v2.0/token", base.trim_end_matches('/'));
        let url = address(&path, "AZURE_AUTHORITY_HOST")?;
        let scope = format!("{}/.default", self.resource);
        let mut fields = vec![("grant_type", "client_credentials"), ("scope", &scope)];
        fields.push(("client_id", self.facts.var("AZURE_CLIENT_ID").unwrap_or_default()));
        let assertion = match self.facts.var("AZURE_FEDERATED_TOKEN_FILE") {
            Some(file) if self.facts.var("AZURE_CLIENT_SECRET").is_none() => Some(token(Path::new(file))?),
            _ => None,
        };
        match &assertion {
            Some(assertion) => fields.extend([("client_assertion_type", ASSERTION), ("client_assertion", assertion)]),
            None => fields.push(("client_secret", self.facts.var("AZURE_CLIENT_SECRET").unwrap_or_default())),
        }
        let access: Access = self.web.ask(post_form(url, &fields)).await?.json()?;
        Ok(access.access_token)
    }

    /// The managed identity of an app in App Service or Container Apps.
    async fn of_app(&self) -> Result<String, CloudError> {
        let mut url = any_address(self.facts.var("IDENTITY_ENDPOINT").unwrap_or_default(), "IDENTITY_ENDPOINT")?;
        self.add_query(&mut url, "2019-08-01");
        let host = url.host_str().unwrap_or_default().to_owned();
        let request = get(url, &[("x-identity-header", self.facts.var("IDENTITY_HEADER").unwrap_or_default())]);
        let answer = self.web.ask_near(request, PATIENCE).await?.ok_or(CloudError::Junk { host })?;
        let access: Access = answer.json()?;
        Ok(access.access_token)
    }

    /// The managed identity of a virtual machine; `None` when this is none, or it has no identity.
    async fn of_machine(&self) -> Result<Option<String>, CloudError> {
        let base = self.facts.var(METADATA).unwrap_or("http://169.254.169.254").trim_end_matches('/');
        let mut url = any_address(&format!("{base}/metadata/identity/oauth2/token"), METADATA)?;
        self.add_query(&mut url, "2018-02-01");
        let Some(answer) = self.web.ask_near(get(url, &[("metadata", "true")]), PATIENCE).await? else {
            return Ok(None);
        };
        // Other clouds have a service of their own at that address, and a machine need not have an identity.
        let is_nobody = answer.status.is_client_error() && self.facts.var("AZURE_CLIENT_ID").is_none();
        let is_elsewhere = answer.status == reqwest::StatusCode::NOT_FOUND;
        if is_nobody || is_elsewhere {
            return Ok(None);
        }
        let access: Access = answer.json()?;
        Ok(Some(access.access_token))
    }

    fn add_query(&self, url: &mut Url, version: &str) {
        let mut query = url.query_pairs_mut();
        query.append_pair("api-version", version).append_pair("resource", self.resource);
        query.extend_pairs(self.facts.var("AZURE_CLIENT_ID").map(|id| ("client_id", id)));
    }
}

/// The source that there is, by the name of the variable that says so.
fn source(facts: &Facts) -> &'static str {
    let is_principal = facts.var("AZURE_TENANT_ID").is_some() && facts.var("AZURE_CLIENT_ID").is_some();
    let stands = |name: &&&str| match **name {
        "IDENTITY_ENDPOINT" => facts.var("IDENTITY_ENDPOINT").and(facts.var("IDENTITY_HEADER")).is_some(),
        name => is_principal && facts.var(name).is_some(),
    };
    let names = ["AZURE_CLIENT_SECRET", "AZURE_FEDERATED_TOKEN_FILE", "IDENTITY_ENDPOINT"];
    names.iter().find(stands).copied().unwrap_or("Azure's instance metadata")
}

/// Exchanges an access token for the registry's own refresh token.
async fn exchange(facts: &Facts, web: &Web, domain: &str, access: &str, source: &str) -> Result<Identity, CloudError> {
    let field = || CloudError::Field { of: domain.to_owned(), field: "address" };
    let origin = Origin::of(domain, &facts.insecure).map_err(|_| field())?;
    let url = origin.url("/oauth2/exchange").map_err(|_| field())?;
    let mut fields = vec![("grant_type", "access_token"), ("service", domain), ("access_token", access)];
    fields.extend(facts.var("AZURE_TENANT_ID").map(|tenant| ("tenant", tenant)));
    let refresh: Refresh = web.ask(post_form(url, &fields)).await?.json()?;
    let left = end_of(&refresh.refresh_token).map_or(LIFETIME, |end| end.saturating_sub(facts.now()));
    Ok(ending(Credential::IdentityToken(refresh.refresh_token), source.to_owned(), left))
}

/// When a token ends by its own words (RFC 7519, `exp`), which nobody has checked.
fn end_of(token: &str) -> Option<u64> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Value>(&claims).ok()?["exp"].as_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_say_when_they_end() {
        let token = |claims: &str| format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims));
        for (token, expected) in [
            (token(r#"{"exp": 1700000000}"#), Some(1_700_000_000)),
            (token(r#"{"exp": "soon"}"#), None),
            (token("junk"), None),
            ("opaque".to_owned(), None),
        ] {
            assert_eq!(end_of(&token), expected);
        }
    }
}
