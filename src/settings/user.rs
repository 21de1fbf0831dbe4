//! The user's own configuration: how registries are reached from this machine.
//!
//! Says nothing about images; paths in it are taken as they are written, and no file that they name is opened here.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::error::{Place, SettingsError};
use super::field::{Field, Reader};
use super::substitution::Substitution;
use super::yaml;
use crate::oci::Repository;

const KEYS: [&str; 6] = ["ca_file", "client_certificate", "client_key", "insecure", "mirrors", "proxy"];

/// The configuration of one user.
#[derive(Clone, Default)]
pub struct UserConfig {
    /// By `host` or `host:port`.
    pub registries: BTreeMap<String, RegistrySettings>,
}

/// How one registry is reached. Has no `Debug`, since a proxy's URL may hold a password.
#[derive(Clone, Default)]
pub struct RegistrySettings {
    /// `host[:port][/prefix]` each, tried in this order for pulls.
    pub mirrors: Vec<String>,
    /// Plain http, or https even on loopback.
    pub insecure: Option<bool>,
    /// A PEM file of certificates to trust.
    pub ca_file: Option<Placed<PathBuf>>,
    /// A PEM file with our certificate.
    pub client_certificate: Option<Placed<PathBuf>>,
    /// A PEM file with its key, if that is another file.
    pub client_key: Option<Placed<PathBuf>>,
    /// A proxy's URL, or `none`.
    pub proxy: Option<Placed<String>>,
}

/// A value that is looked at once more by whoever uses it, with its place for messages.
#[derive(Clone)]
pub struct Placed<T> {
    /// The value.
    pub value: T,
    /// Where it stands.
    pub at: Place,
    /// The key, as a dotted path.
    pub path: String,
}

impl UserConfig {
    /// Parses the text of a configuration; `file` names it in messages, `substitution` gives `${NAME}` its values.
    ///
    /// # Errors
    /// Fails at the first key that is unknown or has a wrong value, with its place and its path.
    pub fn parse(text: &str, file: &str, substitution: &Substitution) -> Result<Self, SettingsError> {
        let node = yaml::parse(text, file, 0)?;
        let reader = Reader::of(file, substitution);
        let mut config = Self::default();
        for field in Field::root(&reader, &node).fields()? {
            match field.key() {
                "registries" => config.registries = registries(&field)?,
                _ => field.unknown(["registries"])?,
            }
        }
        Ok(config)
    }
}

fn registries(section: &Field<'_>) -> Result<BTreeMap<String, RegistrySettings>, SettingsError> {
    let mut all = BTreeMap::new();
    for field in section.fields()? {
        let key = field.key();
        if !Repository::parse(&format!("{key}/image")).is_ok_and(|repository| repository.registry() == key) {
            let hint = "write `host[:port]`, without `https://`; a host has a dot, a port or is `localhost`";
            return Err(field.wrong_key("is not a registry's host", Some(hint.to_owned())));
        }
        all.insert(key.to_owned(), registry(&field)?);
    }
    Ok(all)
}

fn registry(section: &Field<'_>) -> Result<RegistrySettings, SettingsError> {
    let mut registry = RegistrySettings::default();
    for field in section.fields()?.into_iter().filter(|field| !field.is_null()) {
        match field.key() {
            "mirrors" => registry.mirrors = field.items()?.iter().map(mirror).collect::<Result<_, _>>()?,
            "insecure" => registry.insecure = Some(field.flag()?),
            "ca_file" => registry.ca_file = Some(file(&field)?),
            "client_certificate" => registry.client_certificate = Some(file(&field)?),
            "client_key" => registry.client_key = Some(file(&field)?),
            "proxy" => registry.proxy = Some(field.placed(field.filled_text()?)),
            _ => field.unknown(KEYS)?,
        }
    }
    match section.fields()?.into_iter().find(|field| field.key() == "client_key") {
        Some(key) if registry.client_certificate.is_none() && registry.client_key.is_some() => {
            Err(key.wrong_key("stands without `client_certificate`", Some("name both files".to_owned())))
        }
        _ => Ok(registry),
    }
}

fn file(field: &Field<'_>) -> Result<Placed<PathBuf>, SettingsError> {
    Ok(field.placed(PathBuf::from(field.filled_text()?)))
}

fn mirror(field: &Field<'_>) -> Result<String, SettingsError> {
    let text = field.text()?;
    let place = text.strip_suffix('/').unwrap_or(&text);
    let (registry, _) = place.split_once('/').unwrap_or((place, ""));
    match Repository::parse(&format!("{place}/image")) {
        Ok(repository) if repository.registry() == registry => Ok(place.to_owned()),
        _ => {
            let hint = "write `host[:port][/prefix]`, without `https://`";
            Err(field.invalid("is not a mirror", Some(hint.to_owned())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Diagnose;

    fn parse(text: &str) -> Result<UserConfig, SettingsError> {
        let variables = [("PROXY_PASSWORD".to_owned(), "canary".to_owned())];
        UserConfig::parse(text, "config.yaml", &Substitution::new(variables.into()))
    }

    #[test]
    fn every_key_is_read() {
        let config = parse(
            "registries:\n  docker.io:\n    mirrors: [mirror.test/hub, 'localhost:5000/']\n  corp.test:8443:\n    \
             ca_file: ca.pem\n    client_certificate: ~/me.pem\n    client_key: me.key\n    insecure: no\n    proxy: \
             http://me:${PROXY_PASSWORD}@p.test\n",
        );
        let config = config.unwrap();
        assert_eq!(config.registries["docker.io"].mirrors, ["mirror.test/hub", "localhost:5000"]);
        let corp = &config.registries["corp.test:8443"];
        assert_eq!(corp.insecure, Some(false));
        assert_eq!(corp.ca_file.as_ref().map(|file| file.at.to_string()).as_deref(), Some("config.yaml:5:14"));
        assert_eq!(
            corp.client_key.as_ref().map(|file| file.path.as_str()),
            Some("registries.corp.test:8443.client_key")
        );
        assert_eq!(corp.proxy.as_ref().map(|proxy| proxy.value.as_str()), Some("http://me:canary@p.test"));
        assert!(parse("").unwrap().registries.is_empty());
    }

    #[test]
    fn mistakes_are_named_with_their_place_and_cure() {
        for (text, expected, cure) in [
            ("registry: {}", "config.yaml:1:1: `registry` is not a known setting", "did you mean `registries`?"),
            (
                "registries:\n  a.test:\n    miror: []",
                "config.yaml:3:5: `registries.a.test.miror` is not a known setting",
                "did you mean `mirrors`?",
            ),
            (
                "registries:\n  https://a.test: {}",
                "config.yaml:2:3: `registries.https://a.test` is not a registry's host",
                "write `host[:port]`, without `https://`; a host has a dot, a port or is `localhost`",
            ),
            (
                "registries: {a.test: {mirrors: [mirror]}}",
                "config.yaml:1:33: `registries.a.test.mirrors[0]` is not a mirror",
                "write `host[:port][/prefix]`, without `https://`",
            ),
            (
                "registries: {a.test: {client_key: k}}",
                "config.yaml:1:23: `registries.a.test.client_key` stands without `client_certificate`",
                "name both files",
            ),
            (
                "registries: {a.test: {proxy: 'http://x:${NOWHERE}@p'}}",
                "config.yaml:1:30: variable `NOWHERE` in `registries.a.test.proxy` is not set",
                "set `NOWHERE` in the environment of the build",
            ),
        ] {
            let error = parse(text).err().unwrap();
            assert_eq!((error.to_string().as_str(), error.hint().as_deref()), (expected, Some(cure)), "{text}");
        }
    }
}
