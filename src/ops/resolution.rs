//! Asks the resolver, unless the answer to the same question is in the store.
//!
//! Credentials of indexes go to the resolver and nowhere else; no key and no record holds one.

use std::collections::BTreeMap;

use crate::inputs::requirements::RequirementSet;
use crate::oci::Platform;
use crate::plan::ResolutionKey;
use crate::python::environment::{Libc, PythonEnvironment};
use crate::python::lock::{Lock, WheelFit};
use crate::resolver::WheelFetcher;
use crate::resolver::request::{ParentDistribution, PythonTarget, RequirementText, ResolveRequest, TargetLibc};

use super::error::OpsError;
use super::means::Means;
use super::request::BuildRequest;

const RESOLUTIONS: &str = "resolutions";

/// The machine's name as Python has it.
pub fn machine(platform: &Platform) -> &str {
    match platform.architecture.as_str() {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}

/// The installer's arguments without what may hold a secret, for keys.
pub fn public_arguments(arguments: &BTreeMap<String, Option<String>>) -> Vec<(String, String)> {
    let public = |value: &str| match url::Url::parse(value) {
        Ok(mut url) if url.has_host() => {
            let _ = url.set_username("");
            let _ = url.set_password(None);
            url.to_string()
        }
        _ => value.to_owned(),
    };
    let words = |value: &String| value.split(' ').map(public).collect::<Vec<_>>().join(" ");
    arguments.iter().map(|(name, value)| (name.clone(), value.as_ref().map(words).unwrap_or_default())).collect()
}

/// The lock for `set`: from the store when it holds one under `key`, else from the resolver.
///
/// # Errors
/// Fails when the resolver finds no answer, and shows its explanation.
pub async fn resolve(
    means: &Means,
    request: &BuildRequest,
    set: &RequirementSet,
    python: &PythonEnvironment,
    platform: &Platform,
    key: &ResolutionKey,
    fit: WheelFit<'_>,
) -> Result<Lock, OpsError> {
    if !request.upgrade && !request.no_cache {
        let stored = means.store.record(RESOLUTIONS, key.0.as_str())?;
        if let Some(lock) = stored.and_then(|bytes| Lock::from_bytes(&bytes).ok()) {
            return Ok(lock);
        }
    }
    let asked = question(means, request, set, python, platform);
    let lock = means.resolver.resolve(&asked, fit).await?;
    means.store.put_record(RESOLUTIONS, key.0.as_str(), &lock.to_bytes())?;
    Ok(lock)
}

fn question(
    means: &Means,
    request: &BuildRequest,
    set: &RequirementSet,
    python: &PythonEnvironment,
    platform: &Platform,
) -> ResolveRequest {
    let text = |name: &str, text: String| RequirementText { name: name.into(), text, folder: request.folder.clone() };
    let constraints = set.constraints_text();
    let installed = python.installed.iter().map(|dist| ParentDistribution {
        name: dist.name.clone(),
        version: dist.version.clone(),
        dist_info: String::from_utf8_lossy(dist.dist_info.file_name()).into_owned(),
        metadata: dist.metadata.clone(),
        installer: dist.installer.clone(),
    });
    ResolveRequest {
        requirements: vec![text("requirements", set.to_text())],
        constraints: if constraints.is_empty() { Vec::new() } else { vec![text("constraints", constraints)] },
        target: PythonTarget {
            version: format!("{}.{}", python.version.0, python.version.1),
            platform: platform.clone(),
            libc: match python.libc {
                Libc::Glibc(major, minor) => TargetLibc::Glibc(major, minor),
                Libc::Musl(major, minor) => TargetLibc::Musl(major, minor),
                // An image that shows no C library gets the wheels that the oldest supported systems take.
                Libc::Unknown => TargetLibc::Glibc(2, 17),
            },
        },
        installed: installed.collect(),
        arguments: request.settings.docker.python_package_installer_args.clone(),
        folder: request.folder.clone(),
        scratch: means.store.root().join("tmp"),
        environment: means.resolver.environment().clone(),
        offline: means.resolver.is_offline(),
        upgrade: request.upgrade,
    }
}

/// A fetcher of wheels with the credentials of the indexes in the settings and the netrc file.
pub fn fetcher(means: &Means, request: &BuildRequest) -> WheelFetcher {
    let arguments = &request.settings.docker.python_package_installer_args;
    let credentials = means.resolver.credentials(arguments);
    means.resolver.fetcher(&means.store, credentials, &means.reporter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_arguments_hold_no_userinfo() {
        let arguments = BTreeMap::from([
            ("index-url".to_owned(), Some("https://me:secret@index.example/simple".to_owned())),
            ("pre".to_owned(), None),
        ]);
        let public = public_arguments(&arguments);
        assert_eq!(public[0].1, "https://index.example/simple");
        assert_eq!(public[1], ("pre".to_owned(), String::new()));
    }
}
