//! What a wheel was built from, when nobody offers it as a wheel.
//!
//! Says what it is; bringing its files and building them is the resolver's work.

use serde_json::json;

use crate::oci::Digest;

/// What a wheel is built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A source distribution, or another archive of sources.
    Archive {
        /// The file's name.
        filename: String,
        /// Where it is, without userinfo.
        url: String,
        /// Its SHA-256.
        sha256: Digest,
        /// Its bytes, when somebody told.
        size: Option<u64>,
        /// The project's folder in it.
        subdirectory: Option<String>,
        /// Whether a requirement names it, and not an index.
        is_direct: bool,
    },
    /// A commit in a git repository.
    Repository {
        /// Where it is, without userinfo.
        url: String,
        /// The branch, tag or commit that was asked for.
        revision: Option<String>,
        /// The commit, in full.
        commit: String,
        /// The project's folder in it.
        subdirectory: Option<String>,
    },
    /// A folder of this machine.
    Folder {
        /// Its path; a relative one starts from the configuration's folder.
        path: String,
        /// The digest of its files; `None` while nobody looked.
        content: Option<Digest>,
        /// The project's folder in it.
        subdirectory: Option<String>,
    },
}

/// A package of a lock that has no wheel yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unbuilt {
    /// The normalised name.
    pub name: String,
    /// The version; empty when the lock does not tell.
    pub version: String,
    /// What it is built from.
    pub origin: Origin,
    /// The index that offers it.
    pub index: Option<String>,
    /// The SHA-256 of the wheel that was built when the lock was made.
    pub expected: Option<Digest>,
}

impl Origin {
    /// What it is, in a word or two.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Archive { .. } => "source distribution",
            Self::Repository { .. } => "repository",
            Self::Folder { .. } => "folder",
        }
    }

    /// The project's folder in it.
    pub fn subdirectory(&self) -> Option<&str> {
        match self {
            Self::Archive { subdirectory, .. }
            | Self::Repository { subdirectory, .. }
            | Self::Folder { subdirectory, .. } => subdirectory.as_deref(),
        }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        match self {
            Self::Archive { url, .. } => url.clone(),
            Self::Repository { url, .. } => format!("git+{url}"),
            Self::Folder { path, .. } => path.clone(),
        }
    }

    /// The inputs, for a key; `None` for a folder that nobody looked at.
    pub fn identity(&self) -> Option<String> {
        let place = self.subdirectory().unwrap_or_default();
        Some(match self {
            Self::Archive { sha256, .. } => format!("archive {sha256} {place}"),
            // The URL counts: submodules may be named relative to it.
            Self::Repository { url, commit, .. } => format!("git {url} {commit} {place}"),
            Self::Folder { content, .. } => format!("folder {} {place}", content.as_ref()?),
        })
    }

    /// The text of `direct_url.json` (PEP 610), members in the order in which uv writes them.
    ///
    /// A folder gets none: its path means nothing in the image, and would make the digest depend on it.
    pub fn direct_url(&self) -> Option<String> {
        let mut members = match self {
            Self::Archive { is_direct: false, .. } | Self::Folder { .. } => return None,
            Self::Archive { url, .. } => {
                vec![("url", json!(url)), ("archive_info", json!({}))]
            }
            Self::Repository { url, revision, commit, .. } => {
                let mut info = vec![("vcs", json!("git")), ("commit_id", json!(commit))];
                info.extend(revision.as_ref().map(|revision| ("requested_revision", json!(revision))));
                return Some(object(&[("url", json!(url).to_string()), ("vcs_info", members_of(&info))], self));
            }
        };
        let written: Vec<(&str, String)> = members.drain(..).map(|(key, value)| (key, value.to_string())).collect();
        Some(object(&written, self))
    }
}

fn members_of(members: &[(&str, serde_json::Value)]) -> String {
    let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

fn object(members: &[(&str, String)], origin: &Origin) -> String {
    let mut written: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\":{value}")).collect();
    written.extend(origin.subdirectory().map(|folder| format!("\"subdirectory\":{}", json!(folder))));
    format!("{{{}}}", written.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn direct_url_says_where_a_commit_is_and_nothing_of_folders() {
        let mut origin = Origin::Repository {
            url: "https://h.example/x.git".into(),
            revision: None,
            commit: "dc466a".into(),
            subdirectory: None,
        };
        let plain = r#"{"url":"https://h.example/x.git","vcs_info":{"vcs":"git","commit_id":"dc466a"}}"#;
        assert_eq!(origin.direct_url().as_deref(), Some(plain));
        if let Origin::Repository { revision, subdirectory, .. } = &mut origin {
            (*revision, *subdirectory) = (Some("v1".into()), Some("py".into()));
        }
        let whole = origin.direct_url().unwrap();
        assert!(whole.ends_with(r#""commit_id":"dc466a","requested_revision":"v1"},"subdirectory":"py"}"#), "{whole}");
        let folder = Origin::Folder { path: "lib".into(), content: None, subdirectory: None };
        assert_eq!((folder.direct_url(), folder.identity()), (None, None));
    }
}
