//! Whether the files chosen are those that the requirement lines allow by `--hash`.
//!
//! uv's compile does not look at hashes; here no file is read: the lock's hash is compared, and the fetcher holds it.

use std::collections::BTreeMap;

use super::cache::clean;
use super::error::ResolveError;
use super::request::ResolveRequest;
use super::requirement::{self, Direct};
use super::resolved::Resolved;
use crate::oci::Digest;
use crate::python::marker::MarkerEnvironment;
use crate::python::origin::Origin;

/// Holds every file that `resolved` names against the hashes of the lines that name its package.
///
/// # Errors
/// Fails when a file is not among those that a line allows, and when hashes are required and a package has none.
pub(super) fn check(
    resolved: &Resolved,
    request: &ResolveRequest,
    markers: &MarkerEnvironment,
) -> Result<(), ResolveError> {
    if is_asked(request, "no-verify-hashes") {
        return Ok(());
    }
    let lines = lines(request, markers);
    let required = is_asked(request, "require-hashes");
    for File { name, version, file, sha256 } in files(resolved) {
        let found = sha256.map(Digest::as_str).unwrap_or("none");
        let mut is_held = false;
        for line in lines.get(name).into_iter().flatten() {
            if !line.hashes.iter().any(|hash| hash == found) {
                return Err(ResolveError::Hash {
                    file: file.to_owned(),
                    found: found.to_owned(),
                    line: clean(&line.line),
                    has_sha256: line.hashes.iter().any(|hash| hash.starts_with("sha256:")),
                });
            }
            is_held = true;
        }
        if required && !is_held {
            return Err(ResolveError::NoHash { name: name.to_owned(), version: version.to_owned() });
        }
    }
    Ok(())
}

/// One file that a resolution chose; a folder or a repository has no hash.
struct File<'a> {
    name: &'a str,
    version: &'a str,
    file: &'a str,
    sha256: Option<&'a Digest>,
}

fn files(resolved: &Resolved) -> Vec<File<'_>> {
    let wheels = resolved.lock.packages.iter().map(|wheel| File {
        name: &wheel.name,
        version: &wheel.version,
        file: &wheel.filename,
        sha256: Some(&wheel.sha256),
    });
    let sources = resolved.unbuilt.iter().map(|source| {
        let (file, sha256) = match &source.origin {
            Origin::Archive { filename, sha256, .. } => (filename.as_str(), Some(sha256)),
            other => (other.kind(), None),
        };
        File { name: &source.name, version: &source.version, file, sha256 }
    });
    wheels.chain(sources).collect()
}

/// The lines with hashes that count for the target, by name.
fn lines(request: &ResolveRequest, markers: &MarkerEnvironment) -> BTreeMap<String, Vec<Direct>> {
    let mut found: BTreeMap<String, Vec<Direct>> = BTreeMap::new();
    let all = requirement::direct(&request.requirements).into_iter().chain(requirement::direct(&request.constraints));
    for line in all.filter(|line| !line.hashes.is_empty()) {
        let separator = if line.is_place { " ;" } else { ";" };
        let marker = line.line.split_once(separator).map(|(_, marker)| marker.trim());
        if marker.is_some_and(|marker| markers.holds(marker, &[]) == Some(false)) {
            continue;
        }
        if let Some(name) = line.name.clone() {
            found.entry(name).or_default().push(line);
        }
    }
    found
}

/// Whether a switch is among the installer's arguments or the options of the files.
fn is_asked(request: &ResolveRequest, switch: &str) -> bool {
    let is_switch = |text: &str| text.trim_start_matches('-') == switch;
    request.arguments.iter().any(|(key, value)| is_switch(key) && value.as_deref() != Some("false"))
        || request
            .requirements
            .iter()
            .flat_map(|file| requirement::logical_lines(&file.text))
            .any(|line| line.starts_with('-') && is_switch(&line))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::lock::{Lock, LockedWheel};
    use crate::resolver::request::tests::request;

    fn checked(text: &str, argument: Option<&str>) -> Result<(), String> {
        let wheel = LockedWheel {
            name: "a-b".into(),
            version: "1.0".into(),
            filename: "a_b-1.0-py3-none-any.whl".into(),
            url: "https://files.example/a_b-1.0-py3-none-any.whl".into(),
            sha256: Digest::of(b"right"),
            size: None,
            direct_url: None,
            index: None,
            origin: None,
        };
        let mut asked = request(&text.replace("RIGHT", Digest::of(b"right").as_str()));
        asked.arguments.extend(argument.map(|name| (name.to_owned(), None)));
        let lock = Lock { packages: vec![wheel], removed: Vec::new() };
        let resolved = Resolved { lock, unbuilt: Vec::new() };
        check(&resolved, &asked, &MarkerEnvironment::linux("3.11", "x86_64")).map_err(|error| error.to_string())
    }

    #[test]
    fn files_are_held_against_the_hashes_of_their_lines() {
        for text in [
            "a-b==1.0",
            "A_b==1.0 --hash=sha256:00 --hash=RIGHT",
            "a-b==1.0 --hash sha512:00 \\\n --hash RIGHT",
            "a-b==1.0 --hash=RIGHT\na-b==0.9 ; python_version < '3' --hash=sha256:00",
            "a-b @ https://h.example/a_b-1.0-py3-none-any.whl --hash=RIGHT",
            "c==1 --hash=sha256:00",
            "--require-hashes\na-b==1.0 --hash=RIGHT",
        ] {
            assert_eq!(checked(text, None), Ok(()), "{text}");
        }
        for text in [
            "a-b==1.0 --hash=sha256:00",
            "a-b --hash=sha256:00",
            "a-b==1.0 --hash=RIGHT\na.b --hash=sha256:00",
            "a-b==1.0 ; python_version > '3' --hash=sha256:00",
            "a-b @ https://u:s3cret@h.example/a_b-1.0-py3-none-any.whl --hash=sha256:00",
        ] {
            let error = checked(text, None).unwrap_err();
            assert!(error.starts_with("`a_b-1.0-py3-none-any.whl` has the hash `sha256:"), "{text}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
            assert_eq!(checked(text, Some("no-verify-hashes")), Ok(()));
        }
    }

    #[test]
    fn required_hashes_are_required_of_every_package() {
        let expected = Err("`a-b` 1.0 has no hash among the requirements, and hashes are required".to_owned());
        assert_eq!(checked("--require-hashes\nc==1 --hash=RIGHT", None), expected);
        assert_eq!(checked("c==1 --hash=RIGHT", Some("require-hashes")), expected);
    }
}
