//! Index passwords from the `keyring` program, when `keyring-provider: subprocess` asks for it, as uv and pip do.
//!
//! The program gets a URL and a user name, never a password.

use std::time::Duration;

use url::Url;

use super::arguments::index_urls;
use super::child::Child;
use super::error::ResolveError;
use super::index::IndexCredentials;
use super::request::ResolveRequest;

/// Adds the passwords of indexes whose URL has a user name alone.
///
/// # Errors
/// Fails when the program was asked for and is not there, or does not answer within 30 s.
pub async fn add_keyring(request: &ResolveRequest, credentials: &mut IndexCredentials) -> Result<(), ResolveError> {
    let argument = request.arguments.get("keyring-provider").and_then(Option::as_deref);
    if argument.or(request.environment.value("UV_KEYRING_PROVIDER")) != Some("subprocess") {
        return Ok(());
    }
    for url in index_urls(request) {
        let Ok(mut url) = Url::parse(&url) else { continue };
        if url.username().is_empty() || url.password().is_some() {
            continue;
        }
        let user = crate::python::lock::percent_decoded(url.username()).unwrap_or_default();
        let _ = url.set_username("");
        for service in [url.as_str(), url.host_str().unwrap_or_default()] {
            if let Some(password) = ask(request, service, &user).await? {
                credentials.add(url.clone(), &user, &password);
                break;
            }
        }
    }
    Ok(())
}

async fn ask(request: &ResolveRequest, service: &str, user: &str) -> Result<Option<String>, ResolveError> {
    let program = request.environment.find_on_path("keyring").ok_or(ResolveError::NoKeyring)?;
    let mut child = Child::new(program, request.environment.clone(), &request.scratch);
    child.arguments = ["get", service, user].map(str::to_owned).into();
    child.timeout = Duration::from_secs(30);
    let outcome = child.run().await?;
    let password = String::from_utf8_lossy(&outcome.stdout).trim_end_matches(['\r', '\n']).to_owned();
    Ok((outcome.status.success() && !password.is_empty()).then_some(password))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::resolver::child::ChildEnvironment;
    use crate::resolver::index_credentials;
    use crate::resolver::request::tests::request;

    #[tokio::test]
    async fn keyring_is_asked_by_url_and_then_by_host() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("keyring");
        let script = "#!/bin/sh\n[ \"$1 $2 $3\" = 'get h.example u' ] && echo s3cret\n";
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let mut request = request("a");
        request.environment = ChildEnvironment::default().with("PATH", folder.path().display().to_string());
        request.arguments.insert("index-url".into(), Some("https://u@h.example/simple".into()));
        let url = Url::parse("https://h.example/files/a.whl").unwrap();
        let mut credentials = index_credentials(&request);
        add_keyring(&request, &mut credentials).await.unwrap();
        assert_eq!(credentials.for_url(&url).unwrap().password(), "", "nobody asked for the keyring");
        request.arguments.insert("keyring-provider".into(), Some("subprocess".into()));
        add_keyring(&request, &mut credentials).await.unwrap();
        assert_eq!(credentials.for_url(&url).unwrap().password(), "s3cret");
        request.environment = ChildEnvironment::default();
        assert!(matches!(add_keyring(&request, &mut credentials).await, Err(ResolveError::NoKeyring)));
    }
}
