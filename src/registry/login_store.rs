//! Keeps logins where Docker keeps them: with the credential helper that `config.json` names, else in that file.
//!
//! Does not judge a login; and of the file it changes the one entry alone, every other byte of a value stays.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::docker_config::{DockerConfig, is_for, key_of, malformed, read};
use super::helper_process::{self, Helpers};
use super::keychain::KeychainError;

/// How many links from one file to the next are followed.
const LINK_LIMIT: usize = 16;

/// Where a login is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeper {
    /// A credential helper, by its name without `docker-credential-`.
    Helper(String),
    /// A file, which holds the password in base64: unencrypted.
    File(PathBuf),
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Helper(name) => write!(f, "docker-credential-{name}"),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// The logins of one `config.json`.
#[derive(Clone, Debug)]
pub struct LoginStore {
    path: PathBuf,
    helpers: Helpers,
}

impl LoginStore {
    /// The logins of the file at `path`, which need not exist yet.
    pub fn new(path: PathBuf, helpers: Helpers) -> Self {
        Self { path, helpers }
    }

    /// Keeps a login for the registry `domain`, in the place of an earlier one.
    ///
    /// # Errors
    /// Fails when the helper is broken, or the file cannot be read, understood or written; it then stays as it was.
    pub async fn keep(&self, domain: &str, username: &str, password: &str) -> Result<Keeper, KeychainError> {
        let (mut file, config) = self.load()?;
        let key = key_of(domain);
        let (keeper, entry) = match config.helper(domain) {
            Some(name) => {
                let broken = |source| KeychainError::Helper { helper: name.into(), server: key.into(), source };
                helper_process::store(name, key, username, password, &self.helpers).await.map_err(broken)?;
                // The empty entry tells Docker that the helper holds something.
                (Keeper::Helper(name.to_owned()), serde_json::json!({}))
            }
            None => {
                let auth = STANDARD.encode(format!("{username}:{password}"));
                (Keeper::File(self.path.clone()), serde_json::json!({"auth": auth}))
            }
        };
        file.set(key, &entry, &self.path)?;
        self.write(&file.to_text())?;
        Ok(keeper)
    }

    /// Forgets the login for the registry `domain`; says who had one.
    ///
    /// # Errors
    /// Fails as [`LoginStore::keep`] does.
    pub async fn forget(&self, domain: &str) -> Result<Vec<Keeper>, KeychainError> {
        let (mut file, config) = self.load()?;
        let key = key_of(domain);
        let mut forgot = Vec::new();
        if let Some(name) = config.helper(domain) {
            let broken = |source| KeychainError::Helper { helper: name.into(), server: key.into(), source };
            if helper_process::erase(name, key, &self.helpers).await.map_err(broken)? {
                forgot.push(Keeper::Helper(name.to_owned()));
            }
        }
        let removed = file.remove(domain);
        if removed.iter().any(|entry| entry.get().trim() != "{}") {
            forgot.push(Keeper::File(self.path.clone()));
        }
        if !removed.is_empty() {
            self.write(&file.to_text())?;
        }
        Ok(forgot)
    }

    fn load(&self) -> Result<(ConfigFile, DockerConfig), KeychainError> {
        let text = read(&self.path)?.unwrap_or_default();
        let text = text.trim_start_matches('\u{feff}');
        let config = DockerConfig::parse(text).map_err(|error| malformed(&self.path, &error))?;
        let file = ConfigFile::parse(text).map_err(|error| malformed(&self.path, &error))?;
        Ok((file, config))
    }

    /// Replaces the file, or what it links to, in one step; readable by its owner alone.
    fn write(&self, text: &str) -> Result<(), KeychainError> {
        let broken = |source| KeychainError::Unwritable { path: self.path.clone(), source };
        let target = linked(&self.path).map_err(broken)?;
        let folder = target.parent().unwrap_or(Path::new("."));
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(broken)?;
        // Such files have mode 0600 from the beginning.
        let mut file = tempfile::Builder::new().prefix(".config.json").tempfile_in(folder).map_err(broken)?;
        file.write_all(text.as_bytes()).and_then(|()| file.as_file().sync_all()).map_err(broken)?;
        file.persist(&target).map_err(|error| broken(error.error))?;
        Ok(())
    }
}

/// Where `path` leads to over its links, the last of which may lead to nothing.
fn linked(path: &Path) -> std::io::Result<PathBuf> {
    let mut at = path.to_owned();
    for _ in 0..LINK_LIMIT {
        match std::fs::read_link(&at) {
            Ok(target) => at = at.parent().unwrap_or(Path::new("")).join(target),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => return Err(error),
            // It is no link, or not there yet.
            Err(_) => return Ok(at),
        }
    }
    Err(std::io::Error::other("too many links from one to the next"))
}

/// The members of a JSON object in their order, each with the text of its value.
#[derive(Default)]
struct Members(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

impl Members {
    /// As text, indented with tabs as Docker does, `depth` levels deep.
    fn to_text(&self, depth: usize) -> String {
        if self.0.is_empty() {
            return "{}".to_owned();
        }
        let tabs = "\t".repeat(depth);
        let line = |(name, value): &(String, Box<RawValue>)| {
            format!("\n{tabs}\t{}: {}", serde_json::Value::from(name.as_str()), value.get())
        };
        let lines: Vec<String> = self.0.iter().map(line).collect();
        format!("{{{}\n{tabs}}}", lines.join(","))
    }
}

/// A `config.json`, of which only `auths` is looked into.
struct ConfigFile {
    members: Members,
    auths: Members,
}

impl ConfigFile {
    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        if text.trim().is_empty() {
            return Ok(Self { members: Members::default(), auths: Members::default() });
        }
        let members: Members = serde_json::from_str(text)?;
        let auths = members.0.iter().rfind(|(name, _)| name == "auths");
        let auths: Option<Members> = auths.map(|(_, value)| serde_json::from_str(value.get())).transpose()?.flatten();
        Ok(Self { members, auths: auths.unwrap_or_default() })
    }

    fn set(&mut self, key: &str, entry: &serde_json::Value, path: &Path) -> Result<(), KeychainError> {
        let raw = serde_json::value::to_raw_value(entry).map_err(|error| malformed(path, &error))?;
        match self.auths.0.iter_mut().find(|(name, _)| name == key) {
            Some((_, value)) => *value = raw,
            None => self.auths.0.push((key.to_owned(), raw)),
        }
        Ok(())
    }

    /// Takes out the entries for `domain` under all its spellings.
    fn remove(&mut self, domain: &str) -> Vec<Box<RawValue>> {
        let entries = std::mem::take(&mut self.auths.0);
        let (removed, kept): (Vec<_>, Vec<_>) = entries.into_iter().partition(|(key, _)| is_for(key, domain));
        self.auths.0 = kept;
        removed.into_iter().map(|(_, value)| value).collect()
    }

    fn to_text(&self) -> String {
        let auths = self.auths.to_text(1);
        let mut lines: Vec<String> = Vec::new();
        let mut written = false;
        for (name, value) in &self.members.0 {
            let is_auths = name == "auths";
            if is_auths && written {
                continue;
            }
            written |= is_auths;
            let value = if is_auths { auths.as_str() } else { value.get() };
            lines.push(format!("\n\t{}: {value}", serde_json::Value::from(name.as_str())));
        }
        if !written {
            lines.insert(0, format!("\n\t\"auths\": {auths}"));
        }
        format!("{{{}\n}}\n", lines.join(","))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn store(path: PathBuf) -> LoginStore {
        LoginStore::new(path, Helpers::default())
    }

    #[tokio::test]
    async fn the_file_keeps_all_else_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let before = concat!(
            "{\n  \"HttpHeaders\": {\"B\": 1.50,   \"A\": 12345678901234567890123},\n",
            "  \"auths\": {\"b.test\": {\"auth\": \"eHg=\", \"email\": \"e\"}, \"a.test\": {}},\n  \"zzz\": [ 1,2 ]\n}"
        );
        std::fs::write(&path, before).unwrap();
        let kept = store(path.clone()).keep("a.test", "me", "pw").await.unwrap();
        assert_eq!(kept, Keeper::File(path.clone()));
        let expected = concat!(
            "{\n\t\"HttpHeaders\": {\"B\": 1.50,   \"A\": 12345678901234567890123},\n",
            "\t\"auths\": {\n\t\t\"b.test\": {\"auth\": \"eHg=\", \"email\": \"e\"},\n",
            "\t\t\"a.test\": {\"auth\":\"bWU6cHc=\"}\n\t},\n\t\"zzz\": [ 1,2 ]\n}\n"
        );
        assert_eq!(std::fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(store(path.clone()).forget("a.test").await.unwrap(), [Keeper::File(path.clone())]);
        assert_eq!(store(path.clone()).forget("a.test").await.unwrap(), []);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("a.test"));
    }

    #[tokio::test]
    async fn a_new_file_is_made_and_the_names_of_docker_hub_are_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/folder/config.json");
        store(path.clone()).keep("docker.io", "me", "p:w").await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let expected = "{\n\t\"auths\": {\n\t\t\"https://index.docker.io/v1/\": {\"auth\":\"bWU6cDp3\"}\n\t}\n}\n";
        assert_eq!(text, expected);
        let folder = std::fs::metadata(path.parent().unwrap()).unwrap();
        assert_eq!(folder.permissions().mode() & 0o777, 0o700);
        std::fs::write(&path, r#"{"auths": {"docker.io": {"auth": "dTpw"}, "https://index.docker.io/v1/": {}}}"#)
            .unwrap();
        assert_eq!(store(path.clone()).forget("docker.io").await.unwrap().len(), 1);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\n\t\"auths\": {}\n}\n");
    }

    #[tokio::test]
    async fn links_stay_links() {
        let directory = tempfile::tempdir().unwrap();
        let (link, target) = (directory.path().join("config.json"), directory.path().join("elsewhere.json"));
        symlink("elsewhere.json", &link).unwrap();
        store(link.clone()).keep("a.test", "me", "pw").await.unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(std::fs::read_to_string(&target).unwrap().contains("a.test"));
        let (one, other) = (directory.path().join("one"), directory.path().join("other"));
        symlink(&other, &one).unwrap();
        symlink(&one, &other).unwrap();
        assert!(store(one).keep("a.test", "me", "pw").await.is_err());
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_understood_stays_as_it_was() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        for text in ["}{", "[]", r#"{"auths": ["hunter2"]}"#, r#"{"auths": "hunter2"}"#] {
            std::fs::write(&path, text).unwrap();
            let error = store(path.clone()).keep("a.test", "me", "pw").await.unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
