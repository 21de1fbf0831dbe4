//! Authentication: what a request carries to prove who we are, and how that is renewed.
//!
//! Sends nothing to the registry itself; the only requests made here go to token servers that passed the realm check.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use url::Url;

use super::challenge::{self, Challenge};
use super::error::RegistryError;
use super::keychain::{Credential, Identity, Keychain};
use super::origin::{Origin, validate_realm};
use super::retry::RetryPolicy;
use super::token::{self, Token, TokenRequest};
use super::transport::Transport;

/// What a request does to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Pull,
    Push,
    Delete,
}

/// The rights that a request needs; with an empty path, none but to be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rights {
    pub(super) path: String,
    pub(super) action: Action,
    /// The repository that a blob is mounted from; done without when refused.
    pub(super) mount_from: Option<String>,
}

impl Rights {
    pub(super) fn new(path: &str, action: Action) -> Self {
        Self { path: path.to_owned(), action, mount_from: None }
    }

    /// The scope of the target (distribution, "Token Scope").
    pub(super) fn scope(&self) -> String {
        if self.path.is_empty() {
            return "login".to_owned();
        }
        let actions = match self.action {
            Action::Pull => "pull",
            Action::Push => "pull,push",
            Action::Delete => "delete",
        };
        format!("repository:{}:{actions}", self.path)
    }

    fn mount_scope(&self) -> Option<String> {
        self.mount_from.as_ref().map(|path| format!("repository:{path}:pull"))
    }

    fn cover(&self, other: &Self) -> bool {
        // The right to mount may have been refused, so it covers no pull from the source.
        self.path == other.path
            && (self.action == other.action || (self.action == Action::Push && other.action == Action::Pull))
            && (other.mount_from.is_none() || other.mount_from == self.mount_from)
    }
}

/// What a request carries, and what may be said about it.
#[derive(Clone, Default)]
pub(super) struct Authorization {
    pub(super) header: Option<HeaderValue>,
    /// Texts that must not be shown if the registry sends them back.
    pub(super) secrets: Vec<String>,
    /// The source of the identity; `None` for an anonymous request.
    source: Option<String>,
}

impl Authorization {
    /// Who we are, for messages.
    pub(super) fn identity(&self) -> String {
        describe(self.source.as_deref())
    }
}

pub(super) fn describe(source: Option<&str>) -> String {
    source.map_or_else(|| "an anonymous user".to_owned(), |source| format!("the identity from `{source}`"))
}

struct Slot {
    rights: Rights,
    token: tokio::sync::Mutex<Option<Token>>,
}

/// The authentication at one registry.
pub(super) struct Auth {
    domain: String,
    origin: Origin,
    keychain: Arc<dyn Keychain>,
    challenge: Mutex<Option<Challenge>>,
    identities: tokio::sync::Mutex<BTreeMap<String, Option<Identity>>>,
    slots: Mutex<Vec<Arc<Slot>>>,
}

impl Auth {
    pub(super) fn new(domain: &str, origin: Origin, keychain: Arc<dyn Keychain>) -> Self {
        Self {
            domain: domain.to_owned(),
            origin,
            keychain,
            challenge: Mutex::default(),
            identities: tokio::sync::Mutex::default(),
            slots: Mutex::default(),
        }
    }

    /// What a request with these rights carries; nothing as long as the registry has not asked for anything.
    pub(super) async fn authorization(
        &self,
        rights: &Rights,
        transport: &Transport,
        retry: &RetryPolicy,
    ) -> Result<Authorization, RegistryError> {
        let challenge = lock(&self.challenge).clone();
        let Some(challenge) = challenge else { return Ok(Authorization::default()) };
        let identity = self.identity(&rights.path).await?;
        let source = identity.as_ref().map(|identity| identity.source.clone());
        match (challenge, identity.map(|identity| identity.credential)) {
            (_, Some(Credential::RegistryToken(token))) => self.bearer(&token, source),
            (Challenge::Basic, Some(Credential::Password { username, password })) => {
                let pair = STANDARD.encode(format!("{username}:{password}"));
                let header = self.sensitive(format!("Basic {pair}"))?;
                Ok(Authorization { header: Some(header), secrets: vec![pair, password], source })
            }
            (Challenge::Basic, _) => Ok(Authorization { source, ..Authorization::default() }),
            (Challenge::Bearer { realm, service, .. }, credential) => {
                let realm = validate_realm(&realm, &self.origin)
                    .map_err(|source| RegistryError::Realm { host: self.domain.clone(), source })?;
                let request =
                    TokenRequest { realm: &realm, service: service.as_deref(), credential, source: source.clone() };
                let token = self.token(rights, &request, transport, retry).await?;
                self.bearer(&token, source)
            }
        }
    }

    /// Takes note of a refusal (401): afterwards [`Auth::authorization`] gives something newer, if there is anything.
    pub(super) async fn refused(
        &self,
        rights: &Rights,
        carried: &Authorization,
        headers: &HeaderMap,
    ) -> Result<(), RegistryError> {
        let texts = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let asked: Vec<Challenge> = texts.flat_map(challenge::parse).collect();
        let bearer = asked.iter().find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
        match bearer.or(asked.first()) {
            Some(challenge) => *lock(&self.challenge) = Some(challenge.clone()),
            None if asked.is_empty() && lock(&self.challenge).is_some() => {}
            None => return Err(RegistryError::Challenge { host: self.domain.clone() }),
        }
        for slot in self.slots_for(rights) {
            let mut token = slot.token.lock().await;
            // Another task may have renewed it meanwhile: then that one is used.
            if token.as_ref().is_some_and(|token| carried.secrets.contains(&token.value)) {
                *token = None;
            }
        }
        Ok(())
    }

    pub(super) fn unauthorized(&self, rights: &Rights, carried: &Authorization) -> RegistryError {
        RegistryError::Unauthorized { host: self.domain.clone(), identity: carried.identity(), scope: rights.scope() }
    }

    async fn identity(&self, path: &str) -> Result<Option<Identity>, RegistryError> {
        // Held during the lookup: a helper is asked once, however many tasks want to know.
        let mut identities = self.identities.lock().await;
        let is_old = |known: &&Option<Identity>| known.as_ref().is_some_and(Identity::is_old);
        if let Some(known) = identities.get(path).filter(|known| !is_old(known)) {
            return Ok(known.clone());
        }
        let found = self.keychain.identity(&self.domain, path).await;
        let identity = found.map_err(|source| RegistryError::Keychain { host: self.domain.clone(), source })?;
        identities.insert(path.to_owned(), identity.clone());
        Ok(identity)
    }

    async fn token(
        &self,
        rights: &Rights,
        request: &TokenRequest<'_>,
        transport: &Transport,
        retry: &RetryPolicy,
    ) -> Result<String, RegistryError> {
        let slot = self.slot(rights);
        // Held during the fetch: tasks that need the same token wait for it.
        let mut held = slot.token.lock().await;
        if let Some(token) = held.as_ref().filter(|token| token.renew_at > Instant::now()) {
            return Ok(token.value.clone());
        }
        let scope = slot.rights.scope();
        let fetched = match slot.rights.mount_scope() {
            // A token for nothing in particular proves that the login is accepted.
            None if rights.path.is_empty() => token::fetch(request, &[], transport, retry).await?,
            Some(mount) => match token::fetch(request, &[&scope, &mount], transport, retry).await {
                Err(RegistryError::Unauthorized { .. } | RegistryError::Status { status: 400..=499, .. }) => {
                    token::fetch(request, &[&scope], transport, retry).await?
                }
                other => other?,
            },
            None => token::fetch(request, &[&scope], transport, retry).await?,
        };
        let value = fetched.value.clone();
        *held = Some(fetched);
        Ok(value)
    }

    fn slot(&self, rights: &Rights) -> Arc<Slot> {
        let mut slots = lock(&self.slots);
        if let Some(slot) = slots.iter().find(|slot| slot.rights.cover(rights)) {
            return slot.clone();
        }
        let slot = Arc::new(Slot { rights: rights.clone(), token: tokio::sync::Mutex::default() });
        slots.push(slot.clone());
        slot
    }

    fn slots_for(&self, rights: &Rights) -> Vec<Arc<Slot>> {
        lock(&self.slots).iter().filter(|slot| slot.rights.cover(rights)).cloned().collect()
    }

    fn bearer(&self, token: &str, source: Option<String>) -> Result<Authorization, RegistryError> {
        let header = self.sensitive(format!("Bearer {token}"))?;
        Ok(Authorization { header: Some(header), secrets: vec![token.to_owned()], source })
    }

    fn sensitive(&self, text: String) -> Result<HeaderValue, RegistryError> {
        let mut value = HeaderValue::try_from(text).map_err(|_| RegistryError::Token { host: self.domain.clone() })?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// Whether `url` is of the registry itself, where its credentials may go.
pub(super) fn is_own(url: &Url, origin: &Origin) -> bool {
    Origin::of_url(url).as_ref() == Some(origin)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_cover_lesser_ones() {
        let push = Rights::new("a", Action::Push);
        let pull = Rights::new("a", Action::Pull);
        let mount = Rights { mount_from: Some("b".into()), ..push.clone() };
        let source = Rights::new("b", Action::Pull);
        for (holder, wanted, expected) in [
            (&push, &pull, true),
            (&pull, &push, false),
            (&mount, &push, true),
            (&push, &mount, false),
            (&mount, &source, false),
            (&push, &source, false),
            (&push, &Rights::new("a", Action::Delete), false),
        ] {
            assert_eq!(holder.cover(wanted), expected, "{holder:?} {wanted:?}");
        }
    }
}
