//! Files of a source tree that look like secrets: by their names, and by a look at the beginning of small ones.
//!
//! It guesses, and says what it took a file for; no content is kept or shown.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::source::{SourceKind, SourceTree, WalkError, head};
use crate::layer::EntryPath;

/// How much of a file is looked at, in bytes.
const HEAD: u64 = 8 * 1024;
/// The largest file that is looked into, in bytes: keys and tokens are small.
const LARGEST: u64 = 64 * 1024;
/// Endings of examples, which hold no secret.
const EXAMPLES: [&str; 5] = [".example", ".sample", ".template", ".dist", ".tmpl"];
/// Endings of files that are looked into.
const LOOKED_INTO: [&str; 8] = [".pem", ".key", ".json", ".txt", ".cfg", ".ini", ".conf", ".ppk"];

/// A file that looks like a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspect {
    /// Where, below the source root.
    pub path: EntryPath,
    /// What it was taken for, such as `a private key`.
    pub what: &'static str,
}

/// The files of `tree`, which was walked at `root`, that look like secrets, by path.
///
/// # Errors
/// Fails when a file that is looked into cannot be read.
pub fn suspects(tree: &SourceTree, root: &Path) -> Result<Vec<Suspect>, WalkError> {
    let mut found = Vec::new();
    for entry in tree.entries() {
        let SourceKind::File { size, .. } = entry.kind else { continue };
        let path = String::from_utf8_lossy(entry.path.as_bytes()).to_lowercase();
        let what = match by_name(&path) {
            None if size > 0 && size <= LARGEST && is_looked_into(&path) => {
                let at = root.join(std::ffi::OsStr::from_bytes(entry.path.as_bytes()));
                by_content(&head(&at, HEAD)?)
            }
            what => what,
        };
        found.extend(what.map(|what| Suspect { path: entry.path.clone(), what }));
    }
    Ok(found)
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// What a path in lower case says by itself.
fn by_name(path: &str) -> Option<&'static str> {
    let name = name_of(path);
    if EXAMPLES.iter().any(|ending| name.ends_with(ending)) {
        return None;
    }
    let folder = path.strip_suffix(name).and_then(|folder| folder.trim_end_matches('/').rsplit('/').next());
    match (folder, name) {
        (Some(".aws"), "credentials" | "config") => return Some("AWS credentials"),
        (Some(".docker"), "config.json") => return Some("Docker logins"),
        (Some(".kube"), "config") => return Some("Kubernetes credentials"),
        (Some(".azure"), "accesstokens.json" | "msal_token_cache.json") => return Some("Azure credentials"),
        _ => {}
    }
    match name {
        ".env" | ".envrc" => Some("an environment file"),
        "id_rsa" | "id_dsa" | "id_ecdsa" | "id_ed25519" => Some("a private key of ssh"),
        ".netrc" | "_netrc" | ".git-credentials" | ".pgpass" | ".my.cnf" => Some("passwords"),
        ".pypirc" | ".npmrc" | ".dockercfg" | ".dockerconfigjson" => Some("credentials of a package or image registry"),
        "credentials.json" | "client_secret.json" | "application_default_credentials.json" => Some("credentials"),
        _ if name.starts_with(".env.") => Some("an environment file"),
        _ if name.ends_with(".p12") || name.ends_with(".pfx") || name.ends_with(".jks") || name.ends_with(".kdbx") => {
            Some("a key store")
        }
        _ => None,
    }
}

fn is_looked_into(path: &str) -> bool {
    let name = name_of(path);
    // What CI leaves in a checkout's configuration is a token as often as not.
    !name.contains('.') || LOOKED_INTO.iter().any(|ending| name.ends_with(ending))
}

/// What the beginning of a file says.
fn by_content(head: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(head);
    if text.contains("-----BEGIN ") && text.contains("PRIVATE KEY") || text.starts_with("PuTTY-User-Key-File") {
        return Some("a private key");
    }
    if text.contains("\"private_key\"") && text.contains("\"service_account\"") {
        return Some("the key of a service account");
    }
    let has_userinfo = |line: &str| {
        line.split_once("://").is_some_and(|(_, rest)| {
            rest.split('/').next().is_some_and(|authority| authority.contains(':') && authority.contains('@'))
        })
    };
    if text.contains("[remote ") && text.lines().any(|line| line.contains("extraheader") || has_userinfo(line)) {
        return Some("git's configuration with a login");
    }
    if text.contains("aws_secret_access_key") {
        return Some("AWS credentials");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inputs::ignore::IgnoreRules;
    use crate::inputs::source::{WalkOptions, walk};

    #[test]
    fn names_of_secrets_are_known_and_their_examples_are_not() {
        for path in [
            ".env",
            "a/.env.production",
            "deploy/id_rsa",
            ".netrc",
            ".pypirc",
            "home/.aws/credentials",
            "credentials.json",
            ".docker/config.json",
            "a.p12",
        ] {
            assert!(by_name(path).is_some(), "{path}");
        }
        for path in [".env.example", "env", "aws/config", "config.json", "id_rsa.pub", "credentials.py", ".environment"]
        {
            assert!(by_name(path).is_none(), "{path}");
        }
    }

    #[test]
    fn small_files_are_looked_into() {
        let root = tempfile::tempdir().unwrap();
        let key = "-----BEGIN RSA PRIVATE KEY-----\nabc\n";
        let account = r#"{"type": "service_account", "private_key": "x"}"#;
        for (name, content) in [
            ("server.pem", key.to_owned()),
            ("deploy", key.to_owned()),
            ("sa.json", account.to_owned()),
            ("public.pem", "-----BEGIN CERTIFICATE-----\n".to_owned()),
            ("data.json", "{}".to_owned()),
            ("test_keys.py", key.to_owned()),
            ("large.txt", format!("{key}{}", " ".repeat(70_000))),
            ("config", "[remote \"origin\"]\n\turl = https://ci:t@git.example/a\n".to_owned()),
            ("aws.ini", "[default]\naws_secret_access_key = x\n".to_owned()),
        ] {
            std::fs::write(root.path().join(name), content).unwrap();
        }
        let tree = walk(root.path(), &IgnoreRules::default(), &WalkOptions::default()).unwrap();
        let found: Vec<String> = suspects(&tree, root.path())
            .unwrap()
            .iter()
            .map(|suspect| format!("{}: {}", suspect.path, suspect.what))
            .collect();
        assert_eq!(
            found,
            [
                "aws.ini: AWS credentials",
                "config: git's configuration with a login",
                "deploy: a private key",
                "sa.json: the key of a service account",
                "server.pem: a private key"
            ]
        );
    }
}
