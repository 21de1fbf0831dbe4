//! The clouds' identities for their object stores, found as those for registries are.
//!
//! Stores nothing in them, and caches nothing: an upload takes one identity.

use super::super::keychain::{Credential, KeychainError};
use super::aws::{Keys, Sts, find};
use super::azure;
use super::facts::Facts;
use super::google;
use super::keychain::{Clouds, broken};

const AZURE_STORAGE: &str = "https://storage.azure.com";
const AZURE_AUTHORITY: &str = "https://login.microsoftonline.com";

impl Clouds {
    /// What the machine told the clouds' tools.
    pub(crate) fn facts(&self) -> &Facts {
        &self.facts
    }

    /// The AWS identity for a service in `region`; `None` when there is no source at all.
    ///
    /// # Errors
    /// Fails when the first source that is there does not work.
    pub(crate) async fn aws_keys(&self, region: &str) -> Result<Option<Keys>, KeychainError> {
        let ending = if region.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
        let host = format!("sts.{region}.{ending}");
        find(Sts { facts: &self.facts, web: &self.web, region, host: &host }).await
    }

    /// An access token of Google's application default credentials; `None` when there is no source at all.
    ///
    /// # Errors
    /// Fails when the first source that is there does not work.
    pub(crate) async fn google_token(&self) -> Result<Option<String>, KeychainError> {
        let identity = google::identity(&self.facts, &self.web).await?;
        Ok(identity.and_then(|identity| match identity.credential {
            Credential::Password { password, .. } => Some(password),
            _ => None,
        }))
    }

    /// An access token for Azure's storage; `None` when nothing says who we are.
    ///
    /// # Errors
    /// Fails when the source that is there does not work.
    pub(crate) async fn azure_storage_token(&self) -> Result<Option<String>, KeychainError> {
        let asked = azure::Asked { facts: &self.facts, web: &self.web, resource: AZURE_STORAGE };
        let (source, found) = asked.token(AZURE_AUTHORITY).await;
        found.map_err(broken(source))
    }
}
