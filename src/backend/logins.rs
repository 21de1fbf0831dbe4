//! What a backend is lent of our ways to registries: logins, and who speaks plain http.
//!
//! Only those registries are in it that the order needs; the logins are written to one private file and nowhere else.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::error::BackendError;
use crate::oci::{Reference, Repository};
use crate::registry::{Client, Credential, Keychain, config_key};

/// One registry.
#[derive(Clone, Debug, Default)]
pub struct Door {
    /// The proof of who we are; `None` for nobody in particular.
    pub credential: Option<Credential>,
    /// Whether it speaks plain http.
    pub plain_http: bool,
    /// Where it is asked first, as `host[:port][/prefix]`.
    pub mirrors: Vec<String>,
}

/// The registries of one order, by their names in references.
#[derive(Clone, Debug, Default)]
pub struct Logins {
    /// Each registry.
    pub doors: BTreeMap<String, Door>,
    /// PEM texts of certificates to trust beside the platform's.
    pub roots: Vec<Vec<u8>>,
}

impl Logins {
    /// Looks up the registries that `images` come from and `target` is in.
    ///
    /// # Errors
    /// Fails when a source of credentials is broken.
    pub async fn gather(
        images: &[Reference],
        target: &Repository,
        keychain: &dyn Keychain,
        client: &Client,
    ) -> Result<Self, BackendError> {
        let mut found = Self::default();
        // The target last: where both are in one registry, its login is the one that may push.
        for at in images.iter().map(Reference::repository).chain([target.clone()]) {
            let way = client.way(at.registry())?;
            let identity = keychain.identity(at.registry(), at.path()).await?;
            let mirrors = way.mirrors.iter().map(ToString::to_string).collect();
            let credential = identity.map(|identity| identity.credential);
            let door = Door { credential, plain_http: !way.is_secure, mirrors };
            found.doors.insert(at.registry().to_owned(), door);
        }
        Ok(found)
    }

    /// Whether a registry speaks plain http.
    pub fn is_plain(&self, registry: &str) -> bool {
        self.doors.get(registry).is_some_and(|door| door.plain_http)
    }

    /// The registries that speak plain http.
    pub fn plain(&self) -> impl Iterator<Item = &str> {
        self.doors.iter().filter(|(_, door)| door.plain_http).map(|(name, _)| name.as_str())
    }

    /// A Docker `config.json` with just these logins.
    pub(super) fn config_json(&self) -> Map<String, Value> {
        let mut auths = Map::new();
        for (registry, door) in &self.doors {
            let entry = match &door.credential {
                None => continue,
                Some(Credential::Password { username, password }) => {
                    json!({"auth": STANDARD.encode(format!("{username}:{password}"))})
                }
                Some(Credential::IdentityToken(token)) => {
                    json!({"auth": STANDARD.encode("<token>:"), "identitytoken": token})
                }
                Some(Credential::RegistryToken(token)) => json!({"registrytoken": token}),
            };
            auths.insert(config_key(registry).to_owned(), entry);
        }
        Map::from_iter([("auths".to_owned(), Value::Object(auths))])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_written_as_docker_reads_them() {
        let door = |credential: Option<Credential>| Door { credential, ..Door::default() };
        let password = Credential::Password { username: "me".into(), password: "pw".into() };
        let doors = [
            ("docker.io", Some(password)),
            ("a.test", Some(Credential::IdentityToken("t".into()))),
            ("b.test", Some(Credential::RegistryToken("r".into()))),
            ("c.test", None),
        ];
        let doors = doors.map(|(name, credential)| (name.to_owned(), door(credential)));
        let logins = Logins { doors: doors.into_iter().collect(), roots: Vec::new() };
        assert_eq!(
            Value::Object(logins.config_json()),
            json!({"auths": {
                "a.test": {"auth": "PHRva2VuPjo=", "identitytoken": "t"},
                "b.test": {"registrytoken": "r"},
                "https://index.docker.io/v1/": {"auth": "bWU6cHc="},
            }})
        );
        assert!(!format!("{logins:?}").contains("pw"));
    }
}
