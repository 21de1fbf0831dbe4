//! Docker's `config.json` and podman's `auth.json`: which credential or helper is meant for a repository.
//!
//! The paths of the files come from the caller; this module looks for none.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig, general_purpose};
use serde::Deserialize;
use tokio::sync::{Mutex, OnceCell};

use super::helper_process::{self, Helpers};
use super::keychain::{Credential, Identity, Keychain, KeychainError, Lookup};
use super::small_file::{self, SmallFileError};

const FILE_CAP: u64 = 4 << 20;
const HUB_KEY: &str = "https://index.docker.io/v1/";
const HUB_NAMES: [&str; 3] = ["index.docker.io", "docker.io", "registry-1.docker.io"];
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
);

/// The credentials of a list of files, asked in their order.
pub struct DockerKeychain {
    files: Vec<PathBuf>,
    helpers: Helpers,
    loaded: OnceCell<Vec<(PathBuf, DockerConfig)>>,
    /// What helpers said, by helper and server, so that each is asked once.
    answers: Mutex<BTreeMap<(String, String), Option<Credential>>>,
}

impl DockerKeychain {
    /// A keychain over `files`, which are read at the first question; those that do not exist are skipped.
    pub fn new(files: Vec<PathBuf>, helpers: Helpers) -> Self {
        Self { files, helpers, loaded: OnceCell::new(), answers: Mutex::default() }
    }

    async fn find(&self, domain: &str, path: &str) -> Result<Option<Identity>, KeychainError> {
        let loaded = self.loaded.get_or_try_init(|| async { load(&self.files) }).await?;
        for (file, config) in loaded {
            for wanted in config.sources(domain, path) {
                let found = match wanted {
                    Source::Helper { name, server } => self.ask(name, &server).await?,
                    Source::Entry { key, entry } => {
                        let broken = |()| KeychainError::Auth { path: file.clone(), key: key.to_owned() };
                        let source = file.display().to_string();
                        entry.credential().map_err(broken)?.map(|credential| Identity::new(credential, source))
                    }
                };
                if found.is_some() {
                    return Ok(found);
                }
            }
        }
        Ok(None)
    }

    async fn ask(&self, name: &str, server: &str) -> Result<Option<Identity>, KeychainError> {
        let broken = |source| KeychainError::Helper { helper: name.into(), server: server.into(), source };
        let key = (name.to_owned(), helper_process::server_url(server).map_err(broken)?);
        // Held while the helper runs: others that need the same answer wait for it.
        let mut answers = self.answers.lock().await;
        let credential = match answers.get(&key) {
            Some(known) => known.clone(),
            None => {
                let answer = helper_process::ask(name, server, &self.helpers).await.map_err(broken)?;
                answers.insert(key, answer.clone());
                answer
            }
        };
        let source = format!("docker-credential-{name}");
        Ok(credential.map(|credential| Identity::new(credential, source)))
    }
}

impl Keychain for DockerKeychain {
    fn identity<'a>(&'a self, domain: &'a str, path: &'a str) -> Lookup<'a> {
        Box::pin(self.find(domain, path))
    }
}

fn load(files: &[PathBuf]) -> Result<Vec<(PathBuf, DockerConfig)>, KeychainError> {
    let mut loaded = Vec::new();
    for path in files {
        if let Some(text) = read(path)? {
            let config = DockerConfig::parse(&text).map_err(|error| malformed(path, &error))?;
            loaded.push((path.clone(), config));
        }
    }
    Ok(loaded)
}

/// Names the place of an error in a file of credentials, without what stands there.
pub(super) fn malformed(path: &Path, error: &serde_json::Error) -> KeychainError {
    KeychainError::Malformed { path: path.to_owned(), line: error.line(), column: error.column() }
}

/// The text of a file of credentials; `None` when there is no such file.
pub(super) fn read(path: &Path) -> Result<Option<String>, KeychainError> {
    small_file::read(path, FILE_CAP).map_err(|error| match error {
        SmallFileError::Unreadable(source) => KeychainError::Unreadable { path: path.to_owned(), source },
        SmallFileError::TooLarge => KeychainError::TooLarge { path: path.to_owned(), cap: FILE_CAP },
    })
}

/// What a configuration says about credentials; all else in it is ignored.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DockerConfig {
    #[serde(default)]
    auths: Option<BTreeMap<String, Option<Entry>>>,
    #[serde(default)]
    cred_helpers: Option<BTreeMap<String, String>>,
    #[serde(default)]
    creds_store: Option<String>,
}

/// One entry below `auths`, by the names of its members: its types are judged when it is asked for.
#[derive(Deserialize)]
#[serde(transparent)]
struct Entry(BTreeMap<String, serde_json::Value>);

/// Where a configuration says that a credential may be.
enum Source<'a> {
    Helper { name: &'a str, server: String },
    Entry { key: &'a str, entry: &'a Entry },
}

impl DockerConfig {
    /// Reads the text of a configuration; an empty one says nothing.
    ///
    /// # Errors
    /// Fails when the text is not JSON or a known field is of another type. The error quotes the text: show its
    /// position alone.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let text = text.trim_start_matches('\u{feff}');
        match text.trim_start().chars().next() {
            None => Ok(Self::default()),
            Some('{') => serde_json::from_str(text),
            // A derived reader would take a list for an object without names.
            Some(_) => serde_json::from_str::<BTreeMap<String, serde_json::Value>>(text).map(|_| Self::default()),
        }
    }

    /// In Docker's order: the registry's own helper, or else the store for all; then the entries of the file, the most
    /// special first.
    fn sources(&self, domain: &str, path: &str) -> Vec<Source<'_>> {
        let helper = self.helper(domain).map(|name| Source::Helper { name, server: key_of(domain).to_owned() });
        helper.into_iter().chain(self.entries(domain, path)).collect()
    }

    /// The name of the helper for the registry `domain`: its own, or else the store for all.
    pub(super) fn helper(&self, domain: &str) -> Option<&str> {
        let own = self.cred_helpers.iter().flatten().find(|(key, _)| is_for(key, domain)).map(|(_, name)| name);
        own.or(self.creds_store.as_ref()).map(String::as_str).filter(|name| !name.is_empty())
    }

    fn entries(&self, domain: &str, path: &str) -> Vec<Source<'_>> {
        let mut places = Vec::new();
        let mut rest = path;
        while !rest.is_empty() {
            places.push(format!("{domain}/{rest}"));
            rest = rest.rsplit_once('/').map_or("", |(front, _)| front);
        }
        places.push(domain.to_owned());
        let mut found = Vec::new();
        for place in places {
            let mut here: Vec<_> = self.auths.iter().flatten().filter(|(key, _)| is_for(key, &place)).collect();
            // The key as `docker login` writes it comes before its older spellings.
            here.sort_by_key(|(key, _)| **key != place && **key != HUB_KEY);
            found.extend(
                here.into_iter().filter_map(|(key, entry)| Some(Source::Entry { key, entry: entry.as_ref()? })),
            );
        }
        found
    }
}

impl Entry {
    /// A member's text; `None` when it is absent or empty.
    fn member(&self, name: &str) -> Result<Option<String>, ()> {
        match self.0.get(name) {
            None | Some(serde_json::Value::Null) => Ok(None),
            Some(serde_json::Value::String(text)) => Ok(Some(text.clone()).filter(|text| !text.is_empty())),
            Some(_) => Err(()),
        }
    }

    fn credential(&self) -> Result<Option<Credential>, ()> {
        if let Some(token) = self.member("identitytoken")? {
            return Ok(Some(Credential::IdentityToken(token)));
        }
        if let Some(token) = self.member("registrytoken")? {
            return Ok(Some(Credential::RegistryToken(token)));
        }
        let (username, password) = match self.member("auth")? {
            Some(auth) => decode(&auth)?,
            None => match (self.member("username")?, self.member("password")?) {
                (Some(username), Some(password)) => (username, password),
                _ => return Ok(None),
            },
        };
        Ok(Some(match username.as_str() {
            "<token>" => Credential::IdentityToken(password),
            _ => Credential::Password { username, password },
        }))
    }
}

fn decode(auth: &str) -> Result<(String, String), ()> {
    let bytes = BASE64.decode(auth.trim()).or_else(|_| general_purpose::URL_SAFE.decode(auth.trim())).map_err(drop)?;
    let text = String::from_utf8(bytes).map_err(drop)?;
    let (username, password) = text.split_once(':').ok_or(())?;
    Ok((username.to_owned(), password.trim_matches('\0').to_owned()))
}

/// The key that Docker uses for the registry `domain`, in files and towards helpers.
pub fn key_of(domain: &str) -> &str {
    if HUB_NAMES.contains(&domain) { HUB_KEY } else { domain }
}

/// Whether `domain` is one of Docker Hub's names.
pub(super) fn is_hub(domain: &str) -> bool {
    HUB_NAMES.contains(&domain)
}

/// Whether a key of the file speaks of `place`, a host or a host with a path.
pub(super) fn is_for(key: &str, place: &str) -> bool {
    let host = hostname(key);
    let after_scheme = key.split_once("://").map_or(key, |(_, rest)| rest);
    let path = after_scheme.split_once('/').map_or("", |(_, path)| path).trim_end_matches('/');
    let (wanted_host, wanted_path) = place.split_once('/').unwrap_or((place, ""));
    let path = if matches!(path, "v1" | "v2") { "" } else { path };
    let same_host = host == wanted_host || (HUB_NAMES.contains(&host.as_str()) && HUB_NAMES.contains(&wanted_host));
    same_host && path == wanted_path
}

/// The `host[:port]` of a key, which may be a URL, as Docker reads it.
pub fn hostname(key: &str) -> String {
    let authority = match key.split_once("://") {
        Some((_, rest)) => rest.split(['/', '?', '#']).next().unwrap_or_default(),
        None => return before_slash(key),
    };
    let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    if authority.is_empty() {
        return before_slash(key);
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            if bare.contains(':') { format!("[{bare}]:{port}") } else { format!("{bare}:{port}") }
        }
        _ => authority.to_owned(),
    }
}

fn before_slash(text: &str) -> String {
    text.split('/').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn find(config: &str, domain: &str, path: &str) -> Result<Option<Identity>, KeychainError> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("config.json");
        std::fs::write(&file, config).unwrap();
        let files = vec![directory.path().join("absent.json"), file];
        DockerKeychain::new(files, Helpers::default()).identity(domain, path).await
    }

    fn password(username: &str, password: &str) -> Credential {
        Credential::Password { username: username.into(), password: password.into() }
    }

    #[tokio::test]
    async fn entries_are_found_in_all_their_shapes() {
        let hub = r#"{"auths": {"https://index.docker.io/v1/": {"auth": "dTpw"}}}"#;
        for (config, domain, path, expected) in [
            ("", "a.test", "x", None),
            ("{}", "a.test", "x", None),
            (r#"{"auths": null, "credsStore": "", "HttpHeaders": {"a": 1}}"#, "a.test", "x", None),
            (r#"{"auths": {"a.test": null}}"#, "a.test", "x", None),
            (hub, "docker.io", "library/python", Some(password("u", "p"))),
            (hub, "a.test", "x", None),
            (r#"{"auths": {"docker.io": {"auth": "dTpw"}}}"#, "docker.io", "library/x", Some(password("u", "p"))),
            (r#"{"auths": {"a.test": {"auth": "dTpwOnE="}}}"#, "a.test", "x", Some(password("u", "p:q"))),
            (r#"{"auths": {"a.test": {"auth": "dTpwOnE"}}}"#, "a.test", "x", Some(password("u", "p:q"))),
            (
                r#"{"auths": {"a.test": {"auth": "dTpw", "identitytoken": "t"}}}"#,
                "a.test",
                "x",
                Some(Credential::IdentityToken("t".into())),
            ),
            (
                r#"{"auths": {"a.test": {"registrytoken": "t"}}}"#,
                "a.test",
                "x",
                Some(Credential::RegistryToken("t".into())),
            ),
            (r#"{"auths": {"a.test": {"username": "u", "password": "p"}}}"#, "a.test", "x", Some(password("u", "p"))),
            (r#"{"auths": {"a.test:5000": {"auth": "dTpw"}}}"#, "a.test", "x", None),
            (
                r#"{"auths": {"a.test/x": {"auth": "dTpw"}, "a.test": {"auth": "djpx"}}}"#,
                "a.test",
                "x/y",
                Some(password("u", "p")),
            ),
            (
                r#"{"auths": {"a.test/x": {"auth": "dTpw"}, "a.test": {"auth": "djpx"}}}"#,
                "a.test",
                "xy",
                Some(password("v", "q")),
            ),
            (r#"{"auths": {"vil.a.test": {"auth": "dTpw"}}}"#, "a.test", "x", None),
        ] {
            let found = find(config, domain, path).await.unwrap();
            assert_eq!(found.map(|identity| identity.credential), expected, "{config}");
        }
    }

    #[tokio::test]
    async fn broken_files_are_errors_that_quote_nothing() {
        for config in [
            "}{",
            "[]",
            r#"{"auths": "hunter2"}"#,
            r#"{"auths": {"a.test": {"auth": 5}}}"#,
            r#"{"auths": {"a.test": ["hunter2"]}}"#,
            r#"{"auths": ["hunter2"]}"#,
            r#"{"auths": {"a.test": {"auth": "hunter2!"}}}"#,
            r#"{"auths": {"a.test": {"auth": "aHVudGVyMg=="}}}"#,
            r#"{"credHelpers": {"a.test": "hunter2-is-not-installed"}}"#,
        ] {
            let error = find(config, "a.test", "x").await.unwrap_err();
            let text = format!("{error} {error:?}");
            let names_helper = matches!(error, KeychainError::Helper { .. });
            assert_eq!(text.contains("hunter2"), names_helper, "{text}");
        }
    }
}
