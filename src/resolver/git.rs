//! Commits of git repositories, fetched by the host's git.
//!
//! Credentials go by the environment, never among the arguments, and are in no message.

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use url::Url;

use super::child::{Child, ChildEnvironment, Outcome};
use super::error::ResolveError;
use super::index::IndexCredentials;
use crate::python::lock::percent_decoded;

/// A repository that a requirement names.
pub(super) struct Git<'a> {
    /// Its URL, credentials and all.
    pub(super) url: &'a Url,
    /// The branch, tag or commit; the default branch without one.
    pub(super) revision: Option<&'a str>,
    /// The environment that git gets.
    pub(super) environment: &'a ChildEnvironment,
    /// Refuses the network.
    pub(super) offline: bool,
}

impl Git<'_> {
    /// The URL without credentials.
    pub(super) fn public_url(&self) -> String {
        let mut url = self.url.clone();
        let _ = url.set_password(None);
        // A login of ssh is no secret, and the address does not do without it.
        if url.scheme() != "ssh" {
            let _ = url.set_username("");
        }
        url.into()
    }

    /// The commit that the revision stands for now; `None` when only a fetch can tell.
    ///
    /// # Errors
    /// Fails when git is missing, the network is refused, or the repository does not answer.
    pub(super) async fn commit(&self, folder: &Path) -> Result<Option<String>, ResolveError> {
        if let Some(revision) = self.revision.filter(|revision| is_commit(revision)) {
            return Ok(Some(revision.to_owned()));
        }
        let wanted = self.revision.unwrap_or("HEAD");
        let tag = format!("refs/tags/{wanted}");
        let (peeled, branch) = (format!("{tag}^{{}}"), format!("refs/heads/{wanted}"));
        let url = self.public_url();
        let outcome = self.run(folder, &["ls-remote", "--quiet", "--", &url, wanted, &tag, &peeled, &branch]).await?;
        let listed = String::from_utf8_lossy(&outcome.stdout).into_owned();
        let find = |name: &str| {
            let line = listed.lines().find(|line| line.split_whitespace().nth(1) == Some(name))?;
            Some(line.split_whitespace().next()?.to_owned())
        };
        Ok([peeled.as_str(), &tag, &branch, wanted].into_iter().find_map(find).filter(|commit| is_commit(commit)))
    }

    /// Checks `commit`, or else the revision, out into the empty `folder`, submodules too, and gives the commit.
    ///
    /// # Errors
    /// As [`Git::commit`], and when there is no such revision.
    pub(super) async fn checkout(&self, commit: Option<&str>, folder: &Path) -> Result<String, ResolveError> {
        let url = self.public_url();
        self.run(folder, &["init", "--quiet", "."]).await?;
        self.run(folder, &["remote", "add", "origin", "--", &url]).await?;
        // Whole history and tags: build backends read versions from them.
        let all = ["fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"];
        self.run(folder, &all).await?;
        let wanted = match (commit, self.revision) {
            (Some(commit), _) => commit.to_owned(),
            (None, Some(revision)) => {
                let spelt = format!("{revision}^{{commit}}");
                let outcome = self.run(folder, &["rev-parse", "--verify", "--end-of-options", &spelt]).await?;
                // An older git repeats the option first.
                String::from_utf8_lossy(&outcome.stdout).lines().last().unwrap_or_default().trim().to_owned()
            }
            (None, None) => "origin/HEAD".to_owned(),
        };
        if self.run(folder, &["checkout", "--quiet", "--detach", &wanted]).await.is_err() {
            // No branch leads to it, as with a commit of a pull request: servers give such ones by name.
            self.run(folder, &["fetch", "--quiet", "origin", &wanted]).await?;
            self.run(folder, &["checkout", "--quiet", "--detach", &wanted]).await?;
        }
        self.run(folder, &["submodule", "--quiet", "update", "--init", "--recursive"]).await?;
        let outcome = self.run(folder, &["rev-parse", "HEAD"]).await?;
        Ok(String::from_utf8_lossy(&outcome.stdout).trim().to_owned())
    }

    async fn run(&self, folder: &Path, arguments: &[&str]) -> Result<Outcome, ResolveError> {
        let url = self.public_url();
        if self.revision.is_some_and(|revision| revision.starts_with('-')) {
            return Err(self.failed("a revision does not begin with `-`"));
        }
        if self.offline && self.url.scheme() != "file" {
            return Err(self.failed("the network is switched off by `--offline`"));
        }
        let program = self.environment.find_on_path("git").ok_or(ResolveError::NoGit { url })?;
        let mut child = Child::new(program, self.environment(), folder);
        child.arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        child.timeout = Duration::from_secs(1800);
        let outcome = child.run().await?;
        match outcome.status.success() {
            true => Ok(outcome),
            false => Err(self.failed(outcome.stderr.trim())),
        }
    }

    fn failed(&self, explanation: &str) -> ResolveError {
        let mut secrets = IndexCredentials::default();
        secrets.add_url(self.url.as_str());
        ResolveError::Git { url: self.public_url(), explanation: secrets.redact(explanation) }
    }

    /// The environment without what would lead git elsewhere, and with the credentials of the URL as a header.
    fn environment(&self) -> ChildEnvironment {
        let mut environment = self.environment.clone();
        for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE"] {
            environment = environment.without(name);
        }
        let environment = environment.with("GIT_TERMINAL_PROMPT", "0").with("LC_ALL", "C");
        let has_header = matches!(self.url.scheme(), "http" | "https");
        if !has_header || (self.url.username().is_empty() && self.url.password().is_none()) {
            return environment;
        }
        let part = |text: &str| percent_decoded(text).unwrap_or_else(|| text.to_owned());
        let (user, password) = (part(self.url.username()), part(self.url.password().unwrap_or_default()));
        let header = format!("Authorization: Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let origin = self.url.origin().ascii_serialization();
        let count: usize = environment.value("GIT_CONFIG_COUNT").and_then(|count| count.parse().ok()).unwrap_or(0);
        environment
            .with(&format!("GIT_CONFIG_KEY_{count}"), format!("http.{origin}/.extraHeader"))
            .with(&format!("GIT_CONFIG_VALUE_{count}"), header)
            .with("GIT_CONFIG_COUNT", (count + 1).to_string())
    }
}

/// Whether `text` is the whole name of a commit.
fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_by_the_environment_and_are_in_no_url() {
        let url = Url::parse("https://me:s3cr%40t@h.example/x.git").unwrap();
        let environment = ChildEnvironment::default().with("GIT_DIR", "/elsewhere");
        let git = Git { url: &url, revision: None, environment: &environment, offline: false };
        assert_eq!(git.public_url(), "https://h.example/x.git");
        let given = git.environment();
        assert_eq!(given.value("GIT_CONFIG_KEY_0"), Some("http.https://h.example/.extraHeader"));
        assert_eq!(given.value("GIT_CONFIG_VALUE_0"), Some("Authorization: Basic bWU6czNjckB0"));
        assert_eq!((given.value("GIT_CONFIG_COUNT"), given.value("GIT_DIR")), (Some("1"), None));
        let text = git.failed("fatal: could not read https://me:s3cr%40t@h.example").to_string();
        assert!(!text.contains("s3cr"), "{text}");
        let ssh = Url::parse("ssh://git@h.example/x.git").unwrap();
        let git = Git { url: &ssh, revision: None, environment: &environment, offline: true };
        assert_eq!(git.public_url(), "ssh://git@h.example/x.git");
        assert!(git.environment().value("GIT_CONFIG_COUNT").is_none());
    }
}
