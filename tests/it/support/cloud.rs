//! A cloud on loopback: its token and metadata services, and its registry behind a proxy.
//!
//! The registry keeps its real name: the binary speaks plain http with it, and its proxy is this server.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::fault::{FaultServer, Reply, Seen};
use super::yard::Ran;

/// One server for everything, and a home folder.
pub(crate) struct Cloud {
    pub(crate) server: FaultServer,
    /// The registry's host.
    pub(crate) host: &'static str,
    folder: tempfile::TempDir,
}

impl Cloud {
    /// Starts a cloud whose registry is `host` and asks for Basic authentication; `services` answers all else.
    pub(crate) async fn start(host: &'static str, services: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Self::asking(host, "Basic realm=\"r\"", services).await
    }

    /// Starts a cloud whose registry asks with `challenge`.
    pub(crate) async fn asking(
        host: &'static str,
        challenge: &'static str,
        services: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let registry = format!("http://{host}/v2/");
        let server = FaultServer::start(move |seen, _| match seen.target.starts_with(&registry) {
            true if seen.header("authorization").is_none() => Reply::status(401).header("www-authenticate", challenge),
            true => Reply::status(404),
            false => services(seen),
        });
        Self { server: server.await, host, folder: tempfile::tempdir().unwrap() }
    }

    /// A path below the home folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file below the home folder and gives its path.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    }

    /// `lapstrake` with these arguments in a clean environment, in which every cloud's metadata service is absent.
    #[expect(clippy::disallowed_methods, reason = "the binary itself is what is tested")]
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lapstrake"));
        // Nobody listens at port 1 of loopback.
        command.env_clear().env("HOME", self.folder.path()).env("HTTP_PROXY", self.server.url(""));
        command.env("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1").env("GCE_METADATA_HOST", "127.0.0.1:1");
        command.env("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:1").env("PATH", "/usr/bin:/bin");
        command.env("AWS_ENDPOINT_URL", self.server.url("/")).env("LAPSTRAKE_STORE", self.path("store"));
        command.args(arguments).stdin(Stdio::null());
        command
    }

    /// Looks for an image at the registry, with these variables and all that can be said being said.
    pub(crate) fn look(&self, variables: &[(&str, &str)]) -> Ran {
        let reference = format!("{}/team/app:1", self.host);
        let mut command = self.command(&["-vv", "inspect", &reference, "--insecure-registry", self.host]);
        command.envs(variables.iter().copied()).output().unwrap().into()
    }

    /// What the registry was told: the credentials of its Basic authentication, or the whole header.
    pub(crate) fn told(&self) -> Vec<String> {
        let at = format!("http://{}/v2/", self.host);
        let seen = self.server.seen().into_iter().filter(|seen| seen.target.starts_with(&at));
        let headers = seen.filter_map(|seen| seen.header("authorization").map(str::to_owned));
        headers.map(|header| header.strip_prefix("Basic ").map_or(header.clone(), decoded)).collect()
    }

    /// The requests to the cloud's services.
    pub(crate) fn asked(&self) -> Vec<Seen> {
        self.server.seen().into_iter().filter(|seen| !seen.target.starts_with("http")).collect()
    }
}

fn decoded(text: &str) -> String {
    String::from_utf8(STANDARD.decode(text).unwrap()).unwrap()
}

/// The fields of a form.
pub(crate) fn form(seen: &Seen) -> std::collections::BTreeMap<String, String> {
    url::form_urlencoded::parse(&seen.body).into_owned().collect()
}

/// Checks that none of the forms in which `secret` could be shown is in what a run left.
pub(crate) fn unseen(secret: &str, ran: &Ran) {
    let percent: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    for form in [secret.to_owned(), STANDARD.encode(secret), percent] {
        let shown = format!("{}{}", ran.stdout, ran.stderr);
        assert!(!shown.contains(form.trim_end_matches('=')), "a secret is shown:\n{shown}");
    }
}
