//! What a resolution is asked for.
//!
//! Nothing here reads a file or starts a child.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::child::ChildEnvironment;
use super::place::MadeWheel;
use crate::image::filesystem::Libc;
use crate::oci::{Digest, Platform};
use crate::settings::Installer;

/// The text of one requirements file, without nested `-r` and `-c` lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequirementText {
    /// What a person knows it by: a path, or the name of a setting.
    pub name: String,
    /// The lines.
    pub text: String,
    /// The folder that relative paths in it start from.
    pub folder: PathBuf,
}

/// The interpreter that the wheels are for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonTarget {
    /// Its version: `3.11` or, where known, `3.11.7`.
    pub version: String,
    /// Its platform.
    pub platform: Platform,
    /// Its C library.
    pub libc: Libc,
}

/// A distribution that the parent image has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentDistribution {
    /// The normalised name.
    pub name: String,
    /// The version.
    pub version: String,
    /// The bytes of `METADATA`.
    pub metadata: Vec<u8>,
    /// The text of `INSTALLER`, where there is one.
    pub installer: Option<String>,
}

/// `python_package_installer_args`: a map whose `None` stands for a bare `--key`.
pub type InstallerArguments = BTreeMap<String, Option<String>>;

/// One question to the resolver.
#[derive(Clone, Debug)]
pub struct ResolveRequest {
    /// Requirements, in the order of their sources.
    pub requirements: Vec<RequirementText>,
    /// Constraints.
    pub constraints: Vec<RequirementText>,
    /// What the wheels are for.
    pub target: PythonTarget,
    /// What the parent has already.
    pub installed: Vec<ParentDistribution>,
    /// Who resolves.
    pub installer: Installer,
    /// The digests of folders and files of this machine that requirements name, by absolute path, as far as they are known.
    pub contents: BTreeMap<PathBuf, Digest>,
    /// Wheels that were made for lines that name a place.
    pub made: Vec<MadeWheel>,
    /// The installer's arguments.
    pub arguments: InstallerArguments,
    /// The folder that relative paths in `arguments` start from.
    pub folder: PathBuf,
    /// Where temporary folders may be made.
    pub scratch: PathBuf,
    /// The environment that uv gets.
    pub environment: ChildEnvironment,
    /// Refuses the network.
    pub offline: bool,
    /// Forgets what was resolved before.
    pub upgrade: bool,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::resolver) fn request(text: &str) -> ResolveRequest {
        ResolveRequest {
            requirements: vec![RequirementText { name: "r.txt".into(), text: text.into(), folder: "/project".into() }],
            constraints: vec![],
            target: PythonTarget {
                version: "3.11".into(),
                platform: Platform::new("linux", "amd64"),
                libc: Libc::Glibc(2, 36),
            },
            installed: vec![],
            installer: Installer::Uv,
            contents: BTreeMap::new(),
            made: vec![],
            arguments: InstallerArguments::new(),
            folder: "/project".into(),
            scratch: std::env::temp_dir(),
            environment: ChildEnvironment::default(),
            offline: false,
            upgrade: false,
        }
    }
}
