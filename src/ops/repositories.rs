//! Makes the repositories that a push needs, where a registry does not do so of itself.
//!
//! Pushes nothing.

use std::collections::BTreeSet;

use crate::oci::Reference;
use crate::registry::Clouds;

use super::error::OpsError;

/// Makes the repositories of `targets` that are in Amazon ECR and not there yet, and gives their names; other
/// registries make theirs at the first push.
///
/// # Errors
/// Fails when there is no AWS identity, or it may not do so.
pub async fn create_repositories(clouds: &Clouds, targets: &[Reference]) -> Result<Vec<String>, OpsError> {
    let repositories: BTreeSet<(&str, &str)> = targets.iter().map(|target| (target.domain(), target.path())).collect();
    let mut made = Vec::new();
    for (domain, path) in repositories {
        if clouds.create_repository(domain, path).await? {
            made.push(format!("{domain}/{path}"));
        }
    }
    Ok(made)
}
