//! Application default credentials: the file that a variable names, gcloud's own file, the metadata service.
//!
//! The first that is there counts, and it has to work.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::Value;

use super::super::super::keychain::{Credential, Identity, KeychainError};
use super::super::error::CloudError;
use super::super::facts::{Facts, demanded, text};
use super::super::keychain::{broken, ending};
use super::super::web::{Answer, Web, any_address, get};
use super::account;
use super::federation;

/// What Google's tokens live when an answer does not say.
const LIFETIME: u64 = 3600;
/// How long the metadata service may take; that of Kubernetes is slow when a pod has just started.
const PATIENCE: Duration = Duration::from_secs(5);
const METADATA: &str = "GCE_METADATA_HOST";

/// An access token. Cannot be shown.
pub(super) struct Access {
    pub(super) token: String,
    pub(super) seconds: u64,
}

#[derive(Deserialize)]
struct Body {
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Access {
    /// Reads the answer of a token service (RFC 6749, section 5.1).
    pub(super) fn read(answer: Answer) -> Result<Self, CloudError> {
        let host = answer.host.clone();
        let Body { access_token: token, expires_in } = answer.json()?;
        if token.is_empty() {
            return Err(CloudError::Junk { host });
        }
        Ok(Self { token, seconds: expires_in.unwrap_or(LIFETIME) })
    }

    fn identity(self, source: String) -> Identity {
        let credential = Credential::Password { username: "oauth2accesstoken".to_owned(), password: self.token };
        ending(credential, source, self.seconds)
    }
}

/// The identity that this machine offers; `None` when there is no source at all.
pub(crate) async fn identity(facts: &Facts, web: &Web) -> Result<Option<Identity>, KeychainError> {
    if let Some(path) = facts.var("GOOGLE_APPLICATION_CREDENTIALS").map(PathBuf::from) {
        let source = path.display().to_string();
        let found = async { of_file(facts, web, &path, &demanded(&path)?).await };
        return Ok(Some(found.await.map_err(broken(&source))?.identity(source)));
    }
    if let Some(path) = own_file(facts) {
        let source = path.display().to_string();
        if let Some(text) = text(&path).map_err(broken(&source))? {
            let found = of_file(facts, web, &path, &text).await.map_err(broken(&source))?;
            return Ok(Some(found.identity(source)));
        }
    }
    let source = "Google's metadata service";
    let found = of_metadata(facts, web).await.map_err(broken(source))?;
    Ok(found.map(|access| access.identity(source.to_owned())))
}

/// Where `gcloud auth application-default login` writes.
fn own_file(facts: &Facts) -> Option<PathBuf> {
    let folder = facts.path("CLOUDSDK_CONFIG", ".config/gcloud")?;
    Some(folder.join("application_default_credentials.json"))
}

async fn of_file(facts: &Facts, web: &Web, path: &Path, text: &str) -> Result<Access, CloudError> {
    let value: Value = serde_json::from_str(text).map_err(|error| CloudError::Json {
        path: path.to_owned(),
        line: error.line(),
        column: error.column(),
    })?;
    let of = path.display().to_string();
    let (inner, of_inner) = match value["type"].as_str() {
        Some("impersonated_service_account") => (&value["source_credentials"], format!("{of} (source_credentials)")),
        _ => (&value, of.clone()),
    };
    let access = match inner["type"].as_str() {
        Some("service_account") => account::of_service(facts, web, inner, &of_inner).await?,
        Some("authorized_user") => account::of_user(web, inner, &of_inner).await?,
        Some("external_account") => federation::exchange(web, inner, &of_inner).await?,
        Some("external_account_authorized_user" | "gdch_service_account") => {
            return Err(CloudError::Unsupported("this `type` of Google credential".to_owned()));
        }
        _ => return Err(CloudError::Field { of: of_inner, field: "type" }),
    };
    match value["service_account_impersonation_url"].as_str() {
        Some(url) => federation::impersonate(web, url, &access, &of).await,
        None => Ok(access),
    }
}

async fn of_metadata(facts: &Facts, web: &Web) -> Result<Option<Access>, CloudError> {
    if facts.is_set("NO_GCE_CHECK") {
        return Ok(None);
    }
    // The address needs no name server, which a laptop's may be slow to say no.
    let host = facts.var(METADATA).or_else(|| facts.var("GCE_METADATA_IP")).unwrap_or("169.254.169.254");
    let url = format!("http://{host}/computeMetadata/v1/instance/service-accounts/default/token");
    let request = get(any_address(&url, METADATA)?, &[("metadata-flavor", "Google")]);
    let Some(answer) = web.ask_near(request, PATIENCE).await? else { return Ok(None) };
    // Other clouds have a service of their own at that address.
    let is_google = answer.headers.get("metadata-flavor").is_some_and(|flavor| flavor == "Google");
    if !is_google || answer.status == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    Access::read(answer).map(Some)
}

/// A text of a credential file.
pub(super) fn member<'a>(value: &'a Value, field: &'static str, of: &str) -> Result<&'a str, CloudError> {
    let found = value[field].as_str().filter(|text| !text.is_empty());
    found.ok_or_else(|| CloudError::Field { of: of.to_owned(), field })
}
