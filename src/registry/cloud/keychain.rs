//! The clouds as a keychain: for a registry of a cloud, that cloud's own identity.
//!
//! Answers are kept in memory until some time before they end, and nowhere else.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::super::keychain::{Credential, Identity, Keychain, KeychainError, Lookup};
use super::aws;
use super::azure;
use super::error::CloudError;
use super::facts::Facts;
use super::google;
use super::hosts::{CloudHost, cloud_of};
use super::web::Web;

/// How long before its end an identity is looked up anew.
const MARGIN: Duration = Duration::from_secs(300);

/// The clouds' own credentials.
pub struct Clouds {
    pub(super) facts: Facts,
    pub(super) web: Web,
    known: Mutex<BTreeMap<String, Option<Identity>>>,
}

impl Clouds {
    /// The clouds as `facts` tell of them. Nothing is read and nobody is asked before the first question.
    pub fn new(facts: Facts) -> Self {
        Self { web: Web::new(&facts), facts, known: Mutex::default() }
    }

    /// Makes the repository `path` at `domain` if that is Amazon ECR; says whether it was not there before.
    ///
    /// # Errors
    /// Fails when there is no AWS identity, or it may not make repositories.
    pub async fn create_repository(&self, domain: &str, path: &str) -> Result<bool, KeychainError> {
        match cloud_of(domain) {
            Some(CloudHost::Ecr(ecr)) if !self.facts.offline => {
                aws::create_repository(&self.facts, &self.web, &ecr, domain, path).await
            }
            _ => Ok(false),
        }
    }

    async fn find(&self, domain: &str) -> Result<Option<Identity>, KeychainError> {
        let Some(cloud) = cloud_of(domain) else { return Ok(None) };
        if self.facts.offline || self.facts.var("LAPSTRAKE_CLOUD_CREDENTIALS") == Some("off") {
            return Ok(None);
        }
        // Held during the lookup: others that want to know the same wait for it.
        let mut known = self.known.lock().await;
        let is_old = |identity: &&Option<Identity>| identity.as_ref().is_some_and(Identity::is_old);
        if let Some(identity) = known.get(domain).filter(|identity| !is_old(identity)) {
            return Ok(identity.clone());
        }
        let found = match cloud {
            CloudHost::Ecr(ecr) => aws::identity(&self.facts, &self.web, &ecr).await?,
            CloudHost::Google => google::identity(&self.facts, &self.web).await?,
            CloudHost::Azure { authority } => azure::identity(&self.facts, &self.web, domain, authority).await?,
            CloudHost::GitHub => github(&self.facts),
        };
        known.insert(domain.to_owned(), found.clone());
        Ok(found)
    }
}

impl Keychain for Clouds {
    fn identity<'a>(&'a self, domain: &'a str, _path: &'a str) -> Lookup<'a> {
        Box::pin(self.find(domain))
    }
}

/// `GITHUB_TOKEN`; GitHub asks for some user name and looks at the token alone.
fn github(facts: &Facts) -> Option<Identity> {
    let password = facts.var("GITHUB_TOKEN")?.to_owned();
    let username = facts.var("GITHUB_ACTOR").unwrap_or("x-access-token").to_owned();
    Some(Identity::new(Credential::Password { username, password }, "GITHUB_TOKEN"))
}

/// An identity that ends in `seconds`.
pub(crate) fn ending(credential: Credential, source: String, seconds: u64) -> Identity {
    let lifetime = Duration::from_secs(seconds.min(12 * 3600));
    let renew_at = Instant::now() + (lifetime - (lifetime / 4).min(MARGIN));
    Identity { renew_at: Some(renew_at), ..Identity::new(credential, source) }
}

/// Names the source of a credential that is there and cannot be had.
pub(crate) fn broken(found_in: impl Into<String>) -> impl FnOnce(CloudError) -> KeychainError {
    let found_in = found_in.into();
    |source| KeychainError::Cloud { found_in, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn facts(variables: &[(&str, &str)]) -> Facts {
        Facts {
            variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            home: None,
            clock: Arc::new(|| 0),
            insecure: Vec::new(),
            extra_roots: Vec::new(),
            user_agent: "test".into(),
            offline: false,
        }
    }

    #[tokio::test]
    async fn the_token_of_github_is_for_github_alone() {
        let clouds = Clouds::new(facts(&[("GITHUB_TOKEN", "t"), ("GITHUB_ACTOR", "me")]));
        let found = clouds.identity("ghcr.io", "me/app").await.unwrap().unwrap();
        let expected = Credential::Password { username: "me".into(), password: "t".into() };
        assert_eq!((found.credential, found.source.as_str()), (expected, "GITHUB_TOKEN"));
        for domain in ["docker.io", "ghcr.io.evil.test", "localhost:5000", "ghcr.io:5000"] {
            assert_eq!(clouds.identity(domain, "x").await.unwrap(), None, "{domain}");
        }
    }

    #[tokio::test]
    async fn clouds_can_be_switched_off() {
        let clouds = Clouds::new(facts(&[("GITHUB_TOKEN", "t"), ("LAPSTRAKE_CLOUD_CREDENTIALS", "off")]));
        assert_eq!(clouds.identity("ghcr.io", "x").await.unwrap(), None);
        let offline = Clouds::new(Facts { offline: true, ..facts(&[("GITHUB_TOKEN", "t")]) });
        assert_eq!(offline.identity("ghcr.io", "x").await.unwrap(), None);
    }

    #[test]
    fn identities_are_renewed_some_time_before_they_end() {
        let credential = Credential::RegistryToken("t".into());
        for (seconds, expected) in [(43_200, 42_900), (3600, 3300), (100, 75), (0, 0), (u64::MAX, 42_900)] {
            let identity = ending(credential.clone(), "a test".into(), seconds);
            let left = identity.renew_at.unwrap().saturating_duration_since(Instant::now()).as_secs_f64();
            assert!((left - f64::from(expected)).abs() < 5.0, "{seconds}: {left}");
            assert_eq!(identity.is_old(), seconds == 0);
        }
    }
}
