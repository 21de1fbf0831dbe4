//! Identities of AWS IAM Identity Center, out of the session that `aws sso login` left.
//!
//! Begins and renews no session.

use ring::digest;
use serde::Deserialize;

use super::super::error::CloudError;
use super::super::facts::{Facts, text};
use super::super::web::{Web, get};
use super::endpoint::endpoint;
use super::profiles::{Profile, Profiles};
use super::sign::{Keys, hex};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Session {
    access_token: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    role_credentials: RoleCredentials,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RoleCredentials {
    access_key_id: String,
    secret_access_key: String,
    session_token: String,
}

/// Whether a profile says that its identity comes from a session.
pub(crate) fn is_meant(profile: &Profile) -> bool {
    profile.contains_key("sso_session") || profile.contains_key("sso_start_url")
}

/// The identity of the profile `name`.
pub(crate) async fn keys(
    facts: &Facts,
    web: &Web,
    profiles: &Profiles,
    name: &str,
    profile: &Profile,
) -> Result<Keys, CloudError> {
    let lacks = |field| CloudError::Field { of: format!("AWS profile {name}"), field };
    let session = profile.get("sso_session");
    let shared = match session {
        Some(session) => profiles.session(session).ok_or_else(|| lacks("sso_session"))?,
        None => profile,
    };
    let setting = |field: &'static str| profile.get(field).or_else(|| shared.get(field)).ok_or_else(|| lacks(field));
    let (account, role, region) = (setting("sso_account_id")?, setting("sso_role_name")?, setting("sso_region")?);
    // The AWS tools name the file so.
    let named_after = session.map_or_else(|| setting("sso_start_url"), Ok)?;
    let file = hex(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, named_after.as_bytes()).as_ref());
    let home = facts.home.as_ref().ok_or_else(|| lacks("session, since there is no home folder"))?;
    let path = home.join(".aws/sso/cache").join(format!("{file}.json"));
    let ended = || CloudError::SessionEnded(name.to_owned());
    let text = text(&path)?.ok_or_else(ended)?;
    let Session { access_token } = serde_json::from_str(&text).map_err(|error| CloudError::Json {
        path: path.clone(),
        line: error.line(),
        column: error.column(),
    })?;
    let mut url = endpoint(facts, "SSO", &format!("portal.sso.{region}.amazonaws.com"))?;
    url.set_path("/federation/credentials");
    url.query_pairs_mut().append_pair("role_name", role).append_pair("account_id", account);
    let answer = web.ask(get(url, &[("x-amz-sso_bearer_token", &access_token)])).await?;
    if answer.status == reqwest::StatusCode::UNAUTHORIZED {
        return Err(ended());
    }
    let Answer { role_credentials: found } = answer.json()?;
    Ok(Keys {
        id: found.access_key_id,
        secret: found.secret_access_key,
        session: Some(found.session_token),
        source: format!("AWS profile {name}"),
    })
}
