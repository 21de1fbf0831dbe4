//! Logs in to registries, and out of them.
//!
//! Asks nobody for a password; the caller has it.

use crate::registry::{Checked, Client, Keeper, LoginStore, registry_name};

use super::error::OpsError;

/// A user name and password for a registry.
pub struct LoginRequest {
    /// The registry, by any of its names.
    pub registry: String,
    /// The user name.
    pub username: String,
    /// The password, or a token in its place.
    pub password: String,
}

/// A login that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// The registry as references name it.
    pub registry: String,
    /// What the registry made of it.
    pub checked: Checked,
    /// Who keeps it.
    pub keeper: Keeper,
}

/// Keeps a login that the registry takes.
///
/// # Errors
/// Fails when the registry refuses it or cannot be asked, and nothing is kept then; or when it cannot be kept.
pub async fn login(client: &Client, store: &LoginStore, request: &LoginRequest) -> Result<LoggedIn, OpsError> {
    let registry = registry_name(&request.registry)?;
    let checked = client.check_login(&registry, &request.username, &request.password).await?;
    let keeper = store.keep(&registry, &request.username, &request.password).await?;
    Ok(LoggedIn { registry, checked, keeper })
}

/// Forgets the login for a registry; gives the registry as references name it, and who had one.
///
/// # Errors
/// Fails when `registry` names none, or what keeps logins cannot be changed.
pub async fn logout(store: &LoginStore, registry: &str) -> Result<(String, Vec<Keeper>), OpsError> {
    let registry = registry_name(registry)?;
    let forgot = store.forget(&registry).await?;
    Ok((registry, forgot))
}
