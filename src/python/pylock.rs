//! Reading `pylock.toml` (PEP 751) and choosing the one wheel a package that fits.
//!
//! Versions are taken as they stand: nothing here resolves.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr as _;

use pep440_rs::Version;
use serde::Deserialize;
use toml::Spanned;
use url::Url;

use super::filename::WheelFilename;
use super::lock::{Lock, LockError, LockedWheel, RemovedDistribution};
use super::marker::MarkerEnvironment;
use super::normalize::normalize_name;
use super::origin::{Origin, Unbuilt};
use super::tags::CompatibleTags;
use crate::oci::Digest;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    lock_version: Spanned<String>,
    #[serde(default)]
    default_groups: Vec<String>,
    #[serde(default)]
    packages: Vec<Package>,
    #[serde(default)]
    tool: DocumentTool,
}

#[derive(Default, Deserialize)]
struct DocumentTool {
    #[serde(default)]
    lapstrake: DocumentNotes,
}

#[derive(Default, Deserialize)]
struct DocumentNotes {
    #[serde(default)]
    removed: Vec<RemovedDistribution>,
}

#[derive(Deserialize)]
struct Package {
    name: Spanned<String>,
    version: Option<String>,
    marker: Option<String>,
    index: Option<String>,
    #[serde(default)]
    wheels: Vec<File>,
    sdist: Option<File>,
    archive: Option<File>,
    vcs: Option<Vcs>,
    directory: Option<Directory>,
    #[serde(default)]
    tool: PackageTool,
}

#[derive(Deserialize)]
struct File {
    name: Option<String>,
    url: Option<String>,
    path: Option<String>,
    size: Option<u64>,
    subdirectory: Option<String>,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Vcs {
    #[serde(rename = "type")]
    kind: String,
    url: Option<String>,
    path: Option<String>,
    requested_revision: Option<String>,
    commit_id: String,
    subdirectory: Option<String>,
}

#[derive(Deserialize)]
struct Directory {
    path: String,
    subdirectory: Option<String>,
}

#[derive(Default, Deserialize)]
struct PackageTool {
    #[serde(default)]
    lapstrake: PackageNotes,
}

/// What our own locks add to a package that was built here.
#[derive(Default, Deserialize)]
struct PackageNotes {
    built: Option<Built>,
    content: Option<Digest>,
}

#[derive(Deserialize)]
struct Built {
    name: String,
    sha256: String,
    size: Option<u64>,
}

/// Reads `text`; `tags` of `None` takes every wheel, `markers` of `None` every package.
pub(super) fn read(
    text: &str,
    folder: &Path,
    tags: Option<&CompatibleTags>,
    markers: Option<&MarkerEnvironment>,
) -> Result<(Lock, Vec<Unbuilt>), LockError> {
    let document: Document = toml::from_str(text).map_err(|error| LockError::Syntax {
        line: error.span().map_or(1, |span| line_of(text, span.start)),
        reason: error.message().trim().replace('\n', ", "),
    })?;
    let version = document.lock_version.get_ref();
    if version != "1" && !version.starts_with("1.") {
        let line = line_of(text, document.lock_version.span().start);
        return Err(LockError::Version { line, version: version.clone() });
    }
    let mut packages = BTreeMap::new();
    let mut unbuilt = BTreeMap::new();
    for package in document.packages {
        let line = line_of(text, package.name.span().start);
        if !wanted(&package, line, markers, &document.default_groups)? {
            continue;
        }
        let name = normalize_name(package.name.get_ref());
        let is_twice = match lock(package, line, folder, tags)? {
            Found::Wheel(wheel) => packages.insert(name.clone(), wheel).is_some() || unbuilt.contains_key(&name),
            Found::Source(source) => unbuilt.insert(name.clone(), source).is_some() || packages.contains_key(&name),
        };
        if is_twice {
            return Err(LockError::Twice { line, name });
        }
    }
    let mut removed = document.tool.lapstrake.removed;
    removed.sort();
    Ok((Lock { packages: packages.into_values().collect(), removed }, unbuilt.into_values().collect()))
}

fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1
}

fn wanted(
    package: &Package,
    line: usize,
    markers: Option<&MarkerEnvironment>,
    groups: &[String],
) -> Result<bool, LockError> {
    let (Some(environment), Some(marker)) = (markers, &package.marker) else { return Ok(true) };
    environment.holds(marker, groups).ok_or_else(|| LockError::Marker { line, marker: marker.clone() })
}

/// What a lock has for a package.
enum Found {
    Wheel(LockedWheel),
    Source(Unbuilt),
}

fn lock(package: Package, line: usize, folder: &Path, tags: Option<&CompatibleTags>) -> Result<Found, LockError> {
    let name = normalize_name(package.name.get_ref());
    let index = package.index.as_deref().and_then(without_userinfo);
    if let Some(origin) = named_place(&package, &name, line, folder)? {
        return source(package, name, index, origin, tags, line);
    }
    if let Some(archive) = package.archive {
        let (filename, url) = place(&archive, &name, line, folder)?;
        own(&filename, &name, package.version.as_deref(), line)?;
        let version = package.version.or_else(|| version_of(&filename)).unwrap_or_default();
        if rank(&filename, tags).is_none() {
            return Err(no_wheel_fits(name, version, &[filename], tags));
        }
        let sha256 = hash(&archive, &filename, line)?;
        let direct_url = Some(format!("{{\"url\":{},\"archive_info\":{{}}}}", serde_json::Value::from(url.as_str())));
        let size = archive.size;
        let origin = None;
        return Ok(Found::Wheel(LockedWheel { name, version, filename, url, sha256, size, direct_url, index, origin }));
    }
    let mut best: Option<(Rank, String, String, &File)> = None;
    let mut offered = Vec::new();
    for file in &package.wheels {
        let (filename, url) = place(file, &name, line, folder)?;
        own(&filename, &name, package.version.as_deref(), line)?;
        if let Some(rank) = rank(&filename, tags)
            && best.as_ref().is_none_or(|(held, held_name, ..)| (&rank, &filename) < (held, held_name))
        {
            best = Some((rank, filename.clone(), url, file));
        }
        offered.push(filename);
    }
    if let Some((_, filename, url, file)) = best {
        let version = package.version.or_else(|| version_of(&filename)).unwrap_or_default();
        let (sha256, size) = (hash(file, &filename, line)?, file.size);
        let (direct_url, origin) = (None, None);
        return Ok(Found::Wheel(LockedWheel { name, version, filename, url, sha256, size, direct_url, index, origin }));
    }
    if let Some(sdist) = &package.sdist {
        let origin = archive_of(sdist, &name, line, folder, false)?;
        return source(package, name, index, origin, tags, line);
    }
    let version = package.version.or_else(|| offered.first().and_then(|file| version_of(file))).unwrap_or_default();
    Err(match offered.is_empty() {
        true => LockError::Place { line, file: name },
        false => no_wheel_fits(name, version, &offered, tags),
    })
}

/// The archive, repository or folder that a package comes from, when it is no wheel.
fn named_place(package: &Package, name: &str, line: usize, folder: &Path) -> Result<Option<Origin>, LockError> {
    if let Some(archive) = &package.archive {
        let origin = archive_of(archive, name, line, folder, true)?;
        return Ok(Some(origin)
            .filter(|origin| !matches!(origin, Origin::Archive { filename, .. } if filename.ends_with(".whl"))));
    }
    if let Some(Vcs { kind, url, path, requested_revision, commit_id, subdirectory }) = &package.vcs {
        let nowhere = || LockError::Place { line, file: name.to_owned() };
        let url = match (url, path) {
            (Some(url), _) => without_userinfo(url).ok_or_else(nowhere)?,
            (None, Some(path)) => Url::from_file_path(lexically_absolute(folder, path)).map_err(|()| nowhere())?.into(),
            (None, None) => return Err(nowhere()),
        };
        if kind != "git" {
            return Err(nowhere());
        }
        let (revision, commit) = (requested_revision.clone(), commit_id.clone());
        return Ok(Some(Origin::Repository { url, revision, commit, subdirectory: subdirectory.clone() }));
    }
    let of_folder = |found: &Directory| Origin::Folder {
        path: found.path.clone(),
        content: package.tool.lapstrake.content.clone(),
        subdirectory: found.subdirectory.clone(),
    };
    Ok(package.directory.as_ref().map(of_folder))
}

fn archive_of(file: &File, name: &str, line: usize, folder: &Path, is_direct: bool) -> Result<Origin, LockError> {
    let (filename, url) = place(file, name, line, folder)?;
    let sha256 = hash(file, &filename, line)?;
    let subdirectory = file.subdirectory.clone();
    Ok(Origin::Archive { filename, url, sha256, size: file.size, subdirectory, is_direct })
}

/// The wheel that was built from `origin` when our own record says which; else the source itself.
fn source(
    package: Package,
    name: String,
    index: Option<String>,
    origin: Origin,
    tags: Option<&CompatibleTags>,
    line: usize,
) -> Result<Found, LockError> {
    let version = package.version.unwrap_or_default();
    let Some(built) = package.tool.lapstrake.built else {
        return Ok(Found::Source(Unbuilt { name, version, origin, index, expected: None }));
    };
    let wrong = || LockError::Hash { line, file: built.name.clone() };
    let sha256 = Digest::parse(&format!("sha256:{}", built.sha256)).map_err(|_| wrong())?;
    // A project's lock may be for a machine that never built it; a record is of the very wheel.
    if tags.is_some() {
        return Ok(Found::Source(Unbuilt { name, version, origin, index, expected: Some(sha256) }));
    }
    Ok(Found::Wheel(LockedWheel {
        name,
        version,
        filename: built.name,
        url: origin.url(),
        sha256,
        size: built.size,
        direct_url: origin.direct_url(),
        index,
        origin: Some(origin),
    }))
}

fn without_userinfo(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok()?;
    let _ = url.set_username("");
    let _ = url.set_password(None);
    Some(url.into())
}

/// The file's name and its URL without userinfo and fragment.
fn place(file: &File, package: &str, line: usize, folder: &Path) -> Result<(String, String), LockError> {
    let nowhere = || LockError::Place { line, file: file.name.clone().unwrap_or_else(|| package.to_owned()) };
    let mut url = match (&file.path, &file.url) {
        (Some(path), _) => Url::from_file_path(lexically_absolute(folder, path)).map_err(|()| nowhere())?,
        (None, Some(url)) => Url::parse(url).map_err(|_| nowhere())?,
        (None, None) => return Err(nowhere()),
    };
    if !matches!(url.scheme(), "https" | "http" | "file") {
        return Err(nowhere());
    }
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_fragment(None);
    let last = url.path_segments().and_then(|mut segments| segments.next_back()).unwrap_or_default().to_owned();
    let filename = match &file.name {
        Some(name) => name.clone(),
        None => percent_decoded(&last).ok_or_else(nowhere)?,
    };
    if filename.is_empty() || filename.contains(['/', '\\', '\0']) {
        return Err(nowhere());
    }
    Ok((filename, url.into()))
}

/// `path` below `folder`, with `.` and `..` taken away without asking the file system.
pub(crate) fn lexically_absolute(folder: &Path, path: impl AsRef<Path>) -> PathBuf {
    let mut absolute = PathBuf::new();
    for component in folder.join(path).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                absolute.pop();
            }
            other => absolute.push(other),
        }
    }
    absolute
}

pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let pair = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

fn hash(file: &File, filename: &str, line: usize) -> Result<Digest, LockError> {
    let wrong = || LockError::Hash { line, file: filename.to_owned() };
    let hex = file.hashes.get("sha256").ok_or_else(wrong)?;
    Digest::parse(&format!("sha256:{}", hex.to_ascii_lowercase())).map_err(|_| wrong())
}

fn version_of(filename: &str) -> Option<String> {
    filename.split('-').nth(1).map(str::to_owned)
}

/// Refuses a wheel whose name says that it is another package, or another version but for its local part.
fn own(filename: &str, name: &str, version: Option<&str>, line: usize) -> Result<(), LockError> {
    let Ok(wheel) = WheelFilename::parse(filename) else { return Ok(()) };
    let public = |version: &str| Version::from_str(version.split('+').next().unwrap_or_default()).ok();
    if wheel.name == name && version.is_none_or(|version| public(version) == public(&wheel.version.to_string())) {
        return Ok(());
    }
    Err(LockError::Foreign {
        line,
        file: filename.to_owned(),
        name: name.to_owned(),
        version: version.unwrap_or_default().to_owned(),
    })
}

/// The wheel's best tag, then its build number, higher first.
type Rank = (usize, Reverse<Option<(u64, String)>>);

fn rank(filename: &str, tags: Option<&CompatibleTags>) -> Option<Rank> {
    let Some(tags) = tags else { return Some((0, Reverse(None))) };
    let wheel = WheelFilename::parse(filename).ok()?;
    Some((tags.fits(&wheel)?, Reverse(wheel.build)))
}

fn no_wheel_fits(name: String, version: String, offered: &[String], tags: Option<&CompatibleTags>) -> LockError {
    const SHOWN: usize = 6;
    let reason = |file: &String| {
        let wheel = WheelFilename::parse(file).ok();
        let reason = wheel.and_then(|wheel| tags?.why_not(&wheel));
        format!("`{file}` {}", reason.as_deref().unwrap_or("has no name that can be read"))
    };
    let obstacles = offered.iter().take(SHOWN).map(reason).collect::<Vec<_>>().join("; ");
    let more = offered.len().saturating_sub(SHOWN);
    let obstacles = if more > 0 { format!("{obstacles}; and {more} more") } else { obstacles };
    let all = tags.map(CompatibleTags::tags).unwrap_or_default();
    let mut tried = all.iter().take(SHOWN).map(|tag| format!("`{tag}`")).collect::<Vec<_>>().join(", ");
    if all.len() > SHOWN {
        tried.push_str(&format!(" and {} more", all.len() - SHOWN));
    }
    LockError::NoWheelFits { name, version, tried, obstacles }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::filesystem::Libc;
    use crate::python::tags::Interpreter;

    const HEAD: &str = "lock-version = \"1.0\"\ncreated-by = \"x\"\n";
    const HEX: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn read_one(package: &str) -> Result<Lock, LockError> {
        let tags = CompatibleTags::of(&Interpreter {
            implementation: "cp".into(),
            version: (3, 11),
            free_threaded: false,
            libc: Libc::Glibc(2, 36),
            machine: "x86_64".into(),
        });
        let markers = MarkerEnvironment::linux("3.11", "x86_64");
        let text = format!("{HEAD}[[packages]]\n{}", package.replace("HEX", HEX));
        read(&text, Path::new("/project"), Some(&tags), Some(&markers)).map(|(lock, _)| lock)
    }

    fn source_of(package: &str) -> Unbuilt {
        let text = format!("{HEAD}[[packages]]\n{}", package.replace("HEX", HEX));
        let tags = CompatibleTags::of(&Interpreter {
            implementation: "cp".into(),
            version: (3, 11),
            free_threaded: false,
            libc: Libc::Unknown,
            machine: "x86_64".into(),
        });
        read(&text, Path::new("/project"), Some(&tags), None).unwrap().1.remove(0)
    }

    #[test]
    fn best_ranked_wheel_is_taken_and_its_place_is_cleaned() {
        let lock = read_one(
            r#"name = "Foo_Bar"
            version = "1"
            wheels = [
              { url = "https://u:p@h.example/foo_bar-1-py3-none-any.whl#x", hashes = { sha256 = "HEX" } },
              { url = "https://u:p@h.example/a%2Bb/foo_bar-1%2Bl-cp311-cp311-manylinux_2_17_x86_64.whl", size = 3, hashes = { sha256 = "HEX" } },
              { url = "https://h.example/foo_bar-1-cp39-cp39-win_amd64.whl", hashes = {} },
            ]"#,
        )
        .unwrap();
        let wheel = &lock.packages[0];
        assert_eq!(wheel.name, "foo-bar");
        assert_eq!(wheel.filename, "foo_bar-1+l-cp311-cp311-manylinux_2_17_x86_64.whl");
        assert_eq!(wheel.url, "https://h.example/a%2Bb/foo_bar-1%2Bl-cp311-cp311-manylinux_2_17_x86_64.whl");
        assert_eq!((wheel.size, &wheel.direct_url), (Some(3), &None));
    }

    #[test]
    fn file_of_another_package_or_version_is_refused() {
        for (name, version, expected) in [("b", "2", false), ("a", "3", false), ("a", "2.0", true), ("A", "2+l", true)]
        {
            let package = format!(
                "name = \"{name}\"\nversion = \"{version}\"\n\
                 wheels = [{{ path = \"a-2-py3-none-any.whl\", hashes = {{ sha256 = \"HEX\" }} }}]"
            );
            match read_one(&package) {
                Ok(_) => assert!(expected, "{name} {version}"),
                Err(error) => {
                    assert!(!expected, "{name} {version}: {error}");
                    let text = format!("lock gives `a-2-py3-none-any.whl` as a file of `{name}` {version}, at line ");
                    assert!(error.to_string().starts_with(&text), "{error}");
                }
            }
        }
    }

    #[test]
    fn relative_paths_start_from_the_folder_of_the_lock() {
        let lock = read_one(
            "name = \"a\"\nwheels = [{ path = \"../w/a-2-py3-none-any.whl\", hashes = { sha256 = \"HEX\" } }]",
        )
        .unwrap();
        assert_eq!(lock.packages[0].url, "file:///w/a-2-py3-none-any.whl");
        assert_eq!(lock.packages[0].version, "2");
        let lock =
            read_one("name = \"a\"\narchive = { path = \"w/a-2-py3-none-any.whl\", hashes = { sha256 = \"HEX\" } }")
                .unwrap();
        let direct = lock.packages[0].direct_url.as_deref();
        assert_eq!(direct, Some(r#"{"url":"file:///project/w/a-2-py3-none-any.whl","archive_info":{}}"#));
    }

    #[test]
    fn packages_whose_marker_does_not_hold_are_left_out() {
        let package = "name = \"a\"\nmarker = \"sys_platform == 'win32'\"\nsdist = { name = \"a.tar.gz\" }";
        assert!(read_one(package).unwrap().packages.is_empty());
        let unknown = "name = \"a\"\nmarker = \"moon == 'full'\"";
        assert!(matches!(read_one(unknown), Err(LockError::Marker { line: 4, .. })));
    }

    #[test]
    fn packages_without_a_fitting_wheel_say_what_was_tried() {
        let error = read_one(
            r#"name = "a"
            version = "1"
            wheels = [
              { url = "https://h.example/a-1-cp39-cp39-win_amd64.whl", hashes = { sha256 = "HEX" } },
              { url = "https://h.example/a-1-cp311-cp311-musllinux_1_2_x86_64.whl", hashes = { sha256 = "HEX" } },
            ]"#,
        )
        .unwrap_err();
        let text = error.to_string();
        let obstacles = "no wheel of `a` 1 fits: `a-1-cp39-cp39-win_amd64.whl` needs ABI cp39, the image has CPython 3.11; \
                         `a-1-cp311-cp311-musllinux_1_2_x86_64.whl` needs musllinux_1_2, the image has glibc 2.36; tried \
                         `cp311-cp311-manylinux_2_36_x86_64`, ";
        assert!(text.starts_with(obstacles), "{text}");
    }

    #[test]
    fn packages_without_a_wheel_are_told_with_their_source() {
        let unfit = source_of(
            r#"name = "a"
            version = "1"
            index = "https://u:p@h.example/simple"
            sdist = { url = "https://u:p@h.example/a-1.tar.gz", size = 3, hashes = { sha256 = "HEX" } }
            wheels = [{ url = "https://h.example/a-1-cp39-cp39-win_amd64.whl", hashes = { sha256 = "HEX" } }]"#,
        );
        assert_eq!((unfit.version.as_str(), unfit.index.as_deref()), ("1", Some("https://h.example/simple")));
        let Origin::Archive { filename, url, size, is_direct, .. } = unfit.origin else { panic!("an archive") };
        assert_eq!((filename.as_str(), url.as_str()), ("a-1.tar.gz", "https://h.example/a-1.tar.gz"));
        assert_eq!((size, is_direct), (Some(3), false));
        for (package, kind) in [
            ("name = \"a\"\ndirectory = { path = \"lib\" }", "folder"),
            ("name = \"a\"\nvcs = { type = \"git\", url = \"https://h.example/x\", commit-id = \"y\" }", "repository"),
            (
                "name = \"a\"\narchive = { url = \"https://h.example/a-1.tar.gz\", hashes = { sha256 = \"HEX\" } }",
                "source distribution",
            ),
        ] {
            assert_eq!(source_of(package).origin.kind(), kind);
        }
        let unhashed = "name = \"a\"\nsdist = { url = \"https://h.example/a.tar.gz\" }";
        assert!(matches!(read_one(unhashed), Err(LockError::Hash { line: 4, .. })));
    }
}
