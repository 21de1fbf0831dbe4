//! The real parts: which are there, and in what version.
//!
//! Installs nothing; `.ci/run` does.

use std::path::PathBuf;

use crate::harness::Halt;
use crate::process;

/// Each part, how it says its version, and which word of that is shown from.
const PARTS: &[(&str, &[&str])] = &[
    ("docker-registry", &["--version"]),
    ("registry", &["--version"]),
    ("referrers-registry", &[]),
    ("nginx", &["-v"]),
    ("openssl", &["version"]),
    ("mmdebstrap", &["--version"]),
    ("crane", &["version"]),
    ("skopeo", &["--version"]),
    ("umoci", &["--version"]),
    ("dockerd", &["--version"]),
    ("docker", &["--version"]),
    ("runc", &["--version"]),
    ("git", &["--version"]),
    ("buildctl", &["--version"]),
    ("buildkitd", &["--version"]),
    ("buildah", &["--version"]),
    ("podman", &["--version"]),
    ("docker-buildx", &["version"]),
    ("ssh", &["-V"]),
    ("rootlesskit", &["--version"]),
    ("uv", &["--version"]),
    ("python3", &["--version"]),
    ("htpasswd", &[]),
    ("moto_server", &[]),
    ("unshare", &["--version"]),
];

/// The program of this name on the search path.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Ends a case when one of these programs is not installed.
pub(crate) fn need(names: &[&str]) -> Result<(), Halt> {
    match names.iter().find(|name| find(name).is_none()) {
        Some(absent) => Err(Halt::Skipped(format!("`{absent}` is not installed"))),
        None => Ok(()),
    }
}

/// Ends a case when this is not root.
pub(crate) fn need_root() -> Result<(), Halt> {
    if rustix::process::getuid().is_root() { Ok(()) } else { Err(Halt::Skipped("it needs root".to_owned())) }
}

/// A line a part, with its version.
pub(crate) fn parts() -> Vec<String> {
    let version = |(name, arguments): &(&str, &[&str])| {
        let Some(program) = find(name) else { return format!("{name}: not installed") };
        if arguments.is_empty() {
            return format!("{name}: installed");
        }
        let said = process::run(&mut process::command(program, *arguments)).map(|ran| ran.shown()).unwrap_or_default();
        let first = said.lines().next().unwrap_or("no version").trim();
        if first.starts_with(name) { first.to_owned() } else { format!("{name}: {first}") }
    };
    PARTS.iter().map(version).collect()
}
