//! Credential helpers: `docker-credential-NAME get|store|erase` and other programs that print a credential, as child
//! processes, bounded in time and output.
//!
//! What such a program prints is never shown: it may be a secret. Secrets go to it by its stdin, never as an argument.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::keychain::Credential;

const OUTPUT_CAP: u64 = 64 * 1024;
const NOT_FOUND: &str = "credentials not found in native keychain";

/// Where helpers are looked for and how long they may take.
#[derive(Clone, Debug)]
pub struct Helpers {
    /// The directories to look in, as `PATH` is written; `None` leaves it to the operating system.
    pub path: Option<OsString>,
    /// The time that a helper has for its answer.
    pub patience: Duration,
}

impl Default for Helpers {
    fn default() -> Self {
        Self { path: None, patience: Duration::from_secs(30) }
    }
}

/// Why a helper gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum HelperError {
    /// The name could lead elsewhere.
    #[error("its name is empty or holds a path separator")]
    Name,
    /// What it should be asked for is no address.
    #[error("`{0}` is not a registry's address")]
    Server(String),
    /// There is no such program.
    #[error("no such program")]
    Missing,
    /// It cannot be started or talked to.
    #[error("it cannot be run")]
    Run(#[source] std::io::Error),
    /// It did not end in time.
    #[error("no answer within {0} s")]
    TimedOut(u64),
    /// It prints without end.
    #[error("it printed more than {OUTPUT_CAP} bytes")]
    Flood,
    /// It failed.
    #[error("it ended with {0}")]
    Failed(std::process::ExitStatus),
    /// Its answer is not the JSON of the helper protocol.
    #[error("its answer is not a JSON object with `Username` and `Secret`")]
    Junk,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

#[derive(Serialize)]
struct Kept<'a> {
    #[serde(rename = "ServerURL")]
    server: &'a str,
    #[serde(rename = "Username")]
    username: &'a str,
    #[serde(rename = "Secret")]
    secret: &'a str,
}

/// Asks the helper `name` for the credential of `server`; `None` when it holds none.
///
/// # Errors
/// Fails when the helper is missing, fails for another reason than an unknown server, takes too long, prints too
/// much, or answers in another form.
pub(super) async fn ask(name: &str, server: &str, helpers: &Helpers) -> Result<Option<Credential>, HelperError> {
    let (status, output) = call(name, "get", server, server.as_bytes(), helpers).await?;
    if !status.success() {
        return if is_unknown(&output) { Ok(None) } else { Err(HelperError::Failed(status)) };
    }
    let Answer { username, secret } = serde_json::from_slice(&output).map_err(|_| HelperError::Junk)?;
    Ok(Some(match username.as_str() {
        "<token>" => Credential::IdentityToken(secret),
        _ => Credential::Password { username, password: secret },
    }))
}

/// Gives the helper `name` a password to keep for `server`.
///
/// # Errors
/// Fails when the helper is missing, fails or takes too long.
pub(super) async fn store(
    name: &str,
    server: &str,
    username: &str,
    secret: &str,
    helpers: &Helpers,
) -> Result<(), HelperError> {
    let kept = serde_json::to_vec(&Kept { server, username, secret }).map_err(|_| HelperError::Junk)?;
    let (status, _) = call(name, "store", server, &kept, helpers).await?;
    if status.success() { Ok(()) } else { Err(HelperError::Failed(status)) }
}

/// Makes the helper `name` forget what it keeps for `server`; says whether it did not say that it keeps nothing.
///
/// # Errors
/// Fails when the helper is missing, fails for another reason than an unknown server, or takes too long.
pub(super) async fn erase(name: &str, server: &str, helpers: &Helpers) -> Result<bool, HelperError> {
    let (status, output) = call(name, "erase", server, server.as_bytes(), helpers).await?;
    match status.success() {
        true => Ok(true),
        false if is_unknown(&output) => Ok(false),
        false => Err(HelperError::Failed(status)),
    }
}

/// What the program `words[0]` prints when it is run with the other words as arguments and `variables` as its whole
/// environment.
///
/// # Errors
/// Fails when the program is missing, fails, takes too long or prints too much.
pub(super) async fn printed_by(
    words: &[String],
    variables: &BTreeMap<String, String>,
    patience: Duration,
) -> Result<Vec<u8>, HelperError> {
    let (program, arguments) = words.split_first().ok_or(HelperError::Missing)?;
    let mut command = command(program);
    command.args(arguments).env_clear().envs(variables);
    let (status, output) = run(command, &[], patience).await?;
    if status.success() { Ok(output) } else { Err(HelperError::Failed(status)) }
}

fn is_unknown(output: &[u8]) -> bool {
    String::from_utf8_lossy(output).trim() == NOT_FOUND
}

async fn call(
    name: &str,
    action: &str,
    server: &str,
    input: &[u8],
    helpers: &Helpers,
) -> Result<(ExitStatus, Vec<u8>), HelperError> {
    if name.is_empty() || name.contains(['/', '\\', '\0']) {
        return Err(HelperError::Name);
    }
    server_url(server)?;
    let mut command = command(&format!("docker-credential-{name}"));
    command.arg(action);
    if let Some(path) = &helpers.path {
        command.env("PATH", path);
    }
    run(command, input, helpers.patience).await
}

/// The address of a registry in the form of the helper protocol: `[scheme:]//host[:port][/path]`, without a query.
///
/// # Errors
/// Fails when there is no host, or the scheme is neither http nor https.
pub fn server_url(server: &str) -> Result<String, HelperError> {
    let refused = || HelperError::Server(server.to_owned());
    let (scheme, rest) = match server.split_once("//") {
        Some((scheme @ ("" | "http:" | "https:"), rest)) => (scheme, rest),
        Some((scheme, _)) if scheme.ends_with(':') => return Err(refused()),
        _ => ("", server),
    };
    let plain = rest.split(['?', '#']).next().unwrap_or_default();
    let host = plain.split('/').next().unwrap_or_default();
    if host.is_empty() || plain.contains(char::is_whitespace) {
        return Err(refused());
    }
    Ok(format!("{scheme}//{plain}"))
}

#[expect(clippy::disallowed_methods, reason = "the one place where credential helpers are started")]
fn command(program: &str) -> Command {
    Command::new(program)
}

async fn run(mut command: Command, input: &[u8], patience: Duration) -> Result<(ExitStatus, Vec<u8>), HelperError> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.kill_on_drop(true).process_group(0);
    let mut child = command.spawn().map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => HelperError::Missing,
        _ => HelperError::Run(error),
    })?;
    let group = child.id();
    let answer = tokio::time::timeout(patience, talk(&mut child, input)).await;
    if !matches!(answer, Ok(Ok(_))) {
        end_group(group);
    }
    answer.map_err(|_| HelperError::TimedOut(patience.as_secs()))?
}

async fn talk(child: &mut Child, input: &[u8]) -> Result<(ExitStatus, Vec<u8>), HelperError> {
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(input).await {
            // A helper may answer, or fail, without having listened.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => return Err(HelperError::Run(error)),
            _ => drop(stdin),
        }
    }
    let mut output = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(OUTPUT_CAP + 1).read_to_end(&mut output).await.map_err(HelperError::Run)?;
    }
    if output.len() as u64 > OUTPUT_CAP {
        return Err(HelperError::Flood);
    }
    let status = child.wait().await.map_err(HelperError::Run)?;
    Ok((status, output))
}

/// Ends a helper with the children that it may have started.
fn end_group(group: Option<u32>) {
    let pid = group.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may be gone already, which is as good.
        let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::time::Instant;

    use super::*;

    fn helper(directory: &Path, name: &str, script: &str) {
        let path = directory.join(format!("docker-credential-{name}"));
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[tokio::test]
    async fn helpers_answer_or_are_named_as_broken() {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path();
        helper(at, "good", r#"read s; echo "{\"ServerURL\":\"$s\",\"Username\":\"$s\",\"Secret\":\"pw\"}""#);
        helper(at, "token", r#"echo '{"Username":"<token>","Secret":"refresh"}'"#);
        helper(at, "none", "echo 'credentials not found in native keychain'; exit 1");
        helper(at, "fails", "echo 'hunter2'; exit 3");
        helper(at, "junk", "echo hunter2");
        helper(at, "flood", "while :; do echo aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; done");
        helper(at, "hangs", "sleep 60");
        let mut path = at.as_os_str().to_owned();
        path.push(":/usr/bin:/bin");
        let helpers = Helpers { path: Some(path), patience: Duration::from_secs(2) };

        let password = Credential::Password { username: "a.test".into(), password: "pw".into() };
        assert_eq!(ask("good", "a.test", &helpers).await.unwrap(), Some(password));
        let token = Credential::IdentityToken("refresh".into());
        assert_eq!(ask("token", "a.test", &helpers).await.unwrap(), Some(token));
        assert_eq!(ask("none", "a.test", &helpers).await.unwrap(), None);
        assert!(matches!(ask("fails", "a.test", &helpers).await, Err(HelperError::Failed(_))));
        assert!(matches!(ask("junk", "a.test", &helpers).await, Err(HelperError::Junk)));
        assert!(matches!(ask("flood", "a.test", &helpers).await, Err(HelperError::Flood)));
        assert!(matches!(ask("absent", "a.test", &helpers).await, Err(HelperError::Missing)));
        assert!(matches!(ask("../good", "a.test", &helpers).await, Err(HelperError::Name)));
        helper(
            at,
            "keeps",
            r#"[ "$1" = store ] && [ "$(cat)" = '{"ServerURL":"a.test","Username":"me","Secret":"pw"}' ]"#,
        );
        store("keeps", "a.test", "me", "pw", &helpers).await.unwrap();
        assert!(matches!(store("keeps", "a.test", "me", "other", &helpers).await, Err(HelperError::Failed(_))));
        helper(at, "erases", r#"[ "$1" = erase ] && [ "$(cat)" = a.test ]"#);
        assert!(erase("erases", "a.test", &helpers).await.unwrap());
        assert!(!erase("none", "a.test", &helpers).await.unwrap());
        assert!(matches!(erase("fails", "a.test", &helpers).await, Err(HelperError::Failed(_))));
        let started = Instant::now();
        assert!(matches!(ask("hangs", "a.test", &helpers).await, Err(HelperError::TimedOut(2))));
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
