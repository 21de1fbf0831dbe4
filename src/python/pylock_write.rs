//! Writing `pylock.toml` (PEP 751): for the store, and for projects.
//!
//! What is written is read back by `pylock`; nothing here looks at a file.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use url::Url;

use super::lock::{Lock, LockedWheel, RemovedDistribution};
use super::origin::Origin;

/// What the head of a project's lock says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PylockHead {
    /// Major and minor version of the image's Python.
    pub python: (u32, u32),
    /// The machine in Python's words: `x86_64`, `aarch64`...
    pub machine: String,
    /// The parent whose distributions are not in the lock, by name and digest.
    pub parent: String,
    /// The folder of the lock; files and folders below it are named relative to it.
    pub folder: PathBuf,
}

/// The lock as the store keeps it.
pub(super) fn record(lock: &Lock) -> String {
    let mut text = String::from("lock-version = \"1.0\"\ncreated-by = \"lapstrake\"\n");
    for package in sorted(&lock.packages) {
        write_package(&mut text, package, None);
    }
    let mut removed: Vec<&RemovedDistribution> = lock.removed.iter().collect();
    removed.sort();
    for gone in removed {
        let (name, version) = (quoted(&gone.name), quoted(&gone.version));
        let _ = write!(text, "\n[[tool.lapstrake.removed]]\nname = {name}\nversion = {version}\n");
    }
    text
}

/// The lock as a project keeps it.
pub(super) fn project(lock: &Lock, head: &PylockHead) -> String {
    let (major, minor) = head.python;
    let environment = format!(
        "sys_platform == 'linux' and platform_machine == '{}' and python_version == '{major}.{minor}'",
        head.machine
    );
    let mut text = String::from("lock-version = \"1.0\"\n");
    let _ = writeln!(text, "environments = [{}]", quoted(&environment));
    let _ = writeln!(text, "requires-python = \"=={major}.{minor}.*\"");
    text.push_str("created-by = \"lapstrake\"\n");
    if lock.packages.is_empty() {
        text.push_str("packages = []\n");
    }
    for package in sorted(&lock.packages) {
        write_package(&mut text, package, Some(&head.folder));
    }
    let _ = write!(text, "\n[tool.lapstrake]\nparent = {}\n", quoted(&head.parent));
    text
}

fn sorted(packages: &[LockedWheel]) -> Vec<&LockedWheel> {
    let mut packages: Vec<&LockedWheel> = packages.iter().collect();
    packages.sort_by(|a, b| a.name.cmp(&b.name));
    packages
}

/// One package; `folder` is what paths are made relative to.
fn write_package(text: &mut String, package: &LockedWheel, folder: Option<&Path>) {
    let (name, version) = (quoted(&package.name), quoted(&package.version));
    let _ = write!(text, "\n[[packages]]\nname = {name}\nversion = {version}\n");
    if let Some(index) = &package.index {
        let _ = writeln!(text, "index = {}", quoted(index));
    }
    let file = |url: &str, size: Option<u64>, hex: &str| {
        let size = size.map(|size| format!("size = {size}, ")).unwrap_or_default();
        format!("{}, {size}hashes = {{ sha256 = \"{hex}\" }}", place(url, folder))
    };
    let Some(origin) = &package.origin else {
        let rest = file(&package.url, package.size, package.sha256.hex());
        let _ = match package.direct_url {
            Some(_) => writeln!(text, "archive = {{ {rest} }}"),
            None => writeln!(text, "wheels = [{{ name = {}, {rest} }}]", quoted(&package.filename)),
        };
        return;
    };
    let below = origin.subdirectory().map(|below| format!(", subdirectory = {}", quoted(below))).unwrap_or_default();
    let _ = match origin {
        Origin::Archive { filename, url, sha256, size, is_direct: false, .. } => {
            writeln!(text, "sdist = {{ name = {}, {} }}", quoted(filename), file(url, *size, sha256.hex()))
        }
        Origin::Archive { url, sha256, size, .. } => {
            writeln!(text, "archive = {{ {}{below} }}", file(url, *size, sha256.hex()))
        }
        Origin::Repository { url, revision, commit, .. } => {
            let asked = revision.as_ref().map(|asked| format!("requested-revision = {}, ", quoted(asked)));
            let (url, asked, commit) = (quoted(url), asked.unwrap_or_default(), quoted(commit));
            writeln!(text, "vcs = {{ type = \"git\", url = {url}, {asked}commit-id = {commit}{below} }}")
        }
        Origin::Folder { path, .. } => writeln!(text, "directory = {{ path = {}{below} }}", quoted(path)),
    };
    if let Origin::Folder { content: Some(content), .. } = origin {
        let _ = writeln!(text, "tool.lapstrake.content = \"{content}\"");
    }
    let size = package.size.map(|size| format!("size = {size}, ")).unwrap_or_default();
    let (name, hex) = (quoted(&package.filename), package.sha256.hex());
    let _ = writeln!(text, "tool.lapstrake.built = {{ name = {name}, {size}sha256 = \"{hex}\" }}");
}

/// Where a file is: a URL, or a path for what lies on this machine.
fn place(url: &str, folder: Option<&Path>) -> String {
    let path = folder.and_then(|folder| {
        let path = Url::parse(url).ok().filter(|url| url.scheme() == "file")?.to_file_path().ok()?;
        Some(path.strip_prefix(folder).unwrap_or(&path).to_str()?.to_owned())
    });
    match path {
        Some(path) => format!("path = {}", quoted(&path)),
        None => format!("url = {}", quoted(url)),
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                quoted.push('\\');
                quoted.push(character);
            }
            control if control.is_control() => {
                let _ = write!(quoted, "\\U{:08X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::filesystem::Libc;
    use crate::oci::Digest;
    use crate::python::marker::MarkerEnvironment;
    use crate::python::tags::{CompatibleTags, Interpreter};

    #[test]
    fn a_projects_lock_is_for_one_environment_and_is_read_back() {
        let wheel = |name: &str, url: &str| LockedWheel {
            name: name.into(),
            version: "1.0".into(),
            filename: format!("{name}-1.0-py3-none-any.whl"),
            url: format!("{url}/{name}-1.0-py3-none-any.whl"),
            sha256: Digest::of(name.as_bytes()),
            size: Some(7),
            direct_url: None,
            index: None,
            origin: None,
        };
        let mut indexed = wheel("a", "https://files.example");
        indexed.index = Some("https://index.example/simple".into());
        let lock = Lock { packages: vec![indexed, wheel("b", "file:///project/wheels")], removed: vec![] };
        let head = PylockHead {
            python: (3, 11),
            machine: "x86_64".into(),
            parent: "h.example/p@sha256:00".into(),
            folder: "/project".into(),
        };
        let text = lock.to_pylock(&head);
        let expected = "environments = [\"sys_platform == 'linux' and platform_machine == 'x86_64' and python_version == '3.11'\"]\n\
                        requires-python = \"==3.11.*\"\ncreated-by = \"lapstrake\"\n\n[[packages]]\nname = \"a\"\n";
        assert!(text.contains(expected), "{text}");
        assert!(text.contains("path = \"wheels/b-1.0-py3-none-any.whl\", size = 7, hashes"), "{text}");
        let tags = CompatibleTags::of(&Interpreter {
            implementation: "cp".into(),
            version: (3, 11),
            free_threaded: false,
            libc: Libc::Unknown,
            machine: "x86_64".into(),
        });
        let markers = MarkerEnvironment::linux("3.11", "x86_64");
        assert_eq!(Lock::parse_pylock(&text, &head.folder, &tags, &markers).unwrap(), lock);
        let empty = Lock::default().to_pylock(&head);
        assert_eq!(Lock::parse_pylock(&empty, &head.folder, &tags, &markers).unwrap(), Lock::default());
    }
}
