//! A uv of our own where the machine has none: its wheel, by pinned version and hash, with the program taken out of it.
//!
//! The repository names no index. Where one is given in the settings, the wheel is asked for there; otherwise the host's
//! pip, which knows its index, downloads it. Either way the bytes are those that the hash names. Nothing is installed.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use super::child::{Child, ChildEnvironment};
use super::download::WheelFetcher;
use super::error::ResolveError;
use super::uv::Uv;
use crate::oci::{Digest, Digester};
use crate::python::lock::LockedWheel;
use crate::python::zip::{Archive, Limits, ZipError};
use crate::store::{Store, StoreError};

const VERSION: &str = "0.13.8";
const KIND: &str = "tools";
/// The most that an index page of one project may have, in bytes.
const PAGE_CAP: u64 = 64 << 20;

/// One pinned wheel of uv.
struct Pin {
    machine: &'static str,
    filename: &'static str,
    sha256: &'static str,
    size: u64,
}

const PINS: [Pin; 2] = [
    Pin {
        machine: "x86_64",
        filename: "uv-0.13.8-py3-none-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        sha256: "sha256:e18a57b8b352eb7c8feb317b9f6f533c8f0ad9673fd6cf34bbe3cf1a9f6a8984",
        size: 17_389_450,
    },
    Pin {
        machine: "aarch64",
        filename: "uv-0.13.8-py3-none-manylinux_2_28_aarch64.whl",
        sha256: "sha256:5337c30bb893b4f9ce0ceb921ba2da0d13f649da644f40ad3bef84083bef0203",
        size: 16_808_714,
    },
];

/// Where a uv may come from.
pub struct UvSources<'a> {
    /// A program that the user named; nothing else is tried then.
    pub program: Option<&'a Path>,
    /// Names the folders of programs, and goes to uv and pip.
    pub environment: &'a ChildEnvironment,
    /// Keeps a fetched uv.
    pub store: &'a Store,
    /// Fetches its wheel.
    pub fetcher: &'a WheelFetcher,
    /// Simple indexes (PEP 503, PEP 691) that the settings or the environment name, in order.
    pub indexes: &'a [String],
    /// Refuses the network.
    pub offline: bool,
}

impl Uv {
    /// Finds a uv: the one named, else one on `PATH`, else the store's, else a fetched one.
    ///
    /// # Errors
    /// Fails when none of these is there, saying why none could be fetched.
    pub async fn locate(sources: &UvSources<'_>) -> Result<Self, ResolveError> {
        if let Some(program) = sources.program {
            return Self::at(program, sources.environment).await;
        }
        if let Some(uv) = Self::on_path(sources.environment).await {
            return Ok(uv);
        }
        let none = |source: ResolveError| ResolveError::NoUv { source: Some(Box::new(source)) };
        let pin = pin(std::env::consts::ARCH, std::env::consts::OS).map_err(none)?;
        let program = match kept(sources.store, pin)? {
            Some(program) => program,
            None if sources.offline => return Err(ResolveError::NoUv { source: None }),
            None => fetch(sources, pin).await.map_err(none)?,
        };
        Self::at(&program, sources.environment).await.map_err(none)
    }
}

fn pin(machine: &str, system: &str) -> Result<&'static Pin, ResolveError> {
    let pin = PINS.iter().find(|pin| pin.machine == machine && system == "linux");
    pin.ok_or_else(|| ResolveError::UvMachine { machine: format!("{system} on {machine}") })
}

fn key(pin: &Pin) -> String {
    format!("uv {VERSION} {}", pin.machine)
}

/// The program that the store has, verified and executable.
fn kept(store: &Store, pin: &Pin) -> Result<Option<PathBuf>, ResolveError> {
    let record = store.record(KIND, &key(pin))?;
    let digest = record.and_then(|text| Digest::parse(std::str::from_utf8(&text).ok()?).ok());
    let Some(path) = digest.map(|digest| store.verified(&digest)).transpose()?.flatten() else { return Ok(None) };
    make_executable(&path)?;
    Ok(Some(path))
}

async fn fetch(sources: &UvSources<'_>, pin: &Pin) -> Result<PathBuf, ResolveError> {
    let mut reasons = Vec::new();
    for index in sources.indexes {
        match from_index(sources, pin, index).await {
            Ok(()) => return unpack(sources.store, pin),
            Err(reason) => reasons.push(reason),
        }
    }
    match from_pip(sources, pin).await {
        Ok(()) => unpack(sources.store, pin),
        Err(reason) => {
            reasons.push(reason);
            Err(ResolveError::UvFetch { reason: reasons.join("; ") })
        }
    }
}

fn locked(pin: &Pin, url: &Url) -> Result<LockedWheel, String> {
    Ok(LockedWheel {
        name: "uv".into(),
        version: VERSION.into(),
        filename: pin.filename.into(),
        url: url.to_string(),
        sha256: Digest::parse(pin.sha256).map_err(|error| error.to_string())?,
        size: Some(pin.size),
        direct_url: None,
        index: None,
        origin: None,
    })
}

async fn from_index(sources: &UvSources<'_>, pin: &Pin, index: &str) -> Result<(), String> {
    const ACCEPT: &str = "application/vnd.pypi.simple.v1+json, text/html;q=0.1";
    let page =
        Url::parse(&format!("{}/uv/", index.trim_end_matches('/'))).map_err(|_| "an index is no URL".to_owned())?;
    let (body, base) = sources.fetcher.page(&page, ACCEPT, PAGE_CAP).await.map_err(|error| error.to_string())?;
    let place = find_file(&String::from_utf8_lossy(&body), pin.filename);
    let url = place.and_then(|place| base.join(&place).ok());
    let url = url.ok_or_else(|| format!("the index of `{}` does not have `{}`", host(&base), pin.filename))?;
    sources.fetcher.fetch(&locked(pin, &url)?).await.map_err(|error| error.to_string())
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default()
}

#[derive(Deserialize)]
struct Page {
    files: Vec<PageFile>,
}

#[derive(Deserialize)]
struct PageFile {
    filename: String,
    url: String,
}

/// The link to `filename` on an index page, as JSON (PEP 691) or HTML (PEP 503).
fn find_file(page: &str, filename: &str) -> Option<String> {
    if let Ok(page) = serde_json::from_str::<Page>(page) {
        return page.files.into_iter().find(|file| file.filename == filename).map(|file| file.url);
    }
    let is_it =
        |link: &&str| link.split(['#', '?']).next().is_some_and(|path| path.rsplit('/').next() == Some(filename));
    let links = page.split("href=").skip(1).filter_map(|rest| {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
        rest[1..].split(quote).next()
    });
    links.filter(|link| is_it(link)).map(|link| link.replace("&amp;", "&")).next()
}

/// Lets the host's pip download the wheel, by hash, from the index that it knows.
async fn from_pip(sources: &UvSources<'_>, pin: &Pin) -> Result<(), String> {
    let python = sources.environment.find_on_path("python3").ok_or("there is no pip on this machine")?;
    let folder = sources.store.scratch().map_err(|error| error.to_string())?;
    let requirements = folder.path().join("requirements.txt");
    let line = format!("uv=={VERSION} --hash={}\n", pin.sha256);
    std::fs::write(&requirements, line).map_err(|error| error.to_string())?;
    let mut child = Child::new(python, sources.environment.clone(), folder.path());
    child.timeout = Duration::from_secs(300);
    let arguments = ["-m", "pip", "download", "--quiet", "--no-input", "--no-deps", "--require-hashes"];
    child.arguments = arguments.into_iter().map(str::to_owned).collect();
    child.arguments.extend([
        "--only-binary=:all:".to_owned(),
        "--dest=.".into(),
        "--requirement=requirements.txt".into(),
    ]);
    let outcome = child.run().await.map_err(|error| error.to_string())?;
    if !outcome.status.success() {
        let last = outcome.stderr.lines().rev().find(|line| line.contains("ERROR") || line.contains("No module"));
        return Err(format!("pip says `{}`", last.unwrap_or("nothing").trim()));
    }
    let url = Url::from_file_path(folder.path().join(pin.filename)).map_err(|()| "a path is no URL".to_owned())?;
    sources.fetcher.fetch(&locked(pin, &url)?).await.map_err(|error| error.to_string())
}

/// Takes the program out of the wheel in the store.
fn unpack(store: &Store, pin: &Pin) -> Result<PathBuf, ResolveError> {
    let broken =
        |error: &dyn std::error::Error| ResolveError::UvFetch { reason: format!("its wheel is damaged: {error}") };
    let digest = Digest::parse(pin.sha256).map_err(|error| broken(&error))?;
    let absent = || ResolveError::UvFetch { reason: "its wheel is not in the store".into() };
    let wheel = store.open_blob(&digest)?.ok_or_else(absent)?;
    let archive = Archive::open(wheel.into_file(), &Limits::default()).map_err(|error: ZipError| broken(&error))?;
    let name = format!("uv-{VERSION}.data/scripts/uv");
    let member =
        archive.find(&name).ok_or_else(|| ResolveError::UvFetch { reason: format!("its wheel has no `{name}`") })?;
    let (mut content, mut writer) = (archive.reader(member), store.writer_for(member.size)?);
    let mut digester = Digester::sha256();
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = content.read(&mut buffer).map_err(|error| broken(&error))?;
        if read == 0 {
            break;
        }
        digester.update(&buffer[..read]);
        writer.write_all(&buffer[..read]).map_err(|error| broken(&error))?;
    }
    let program = digester.finish();
    let path = writer.commit(&program)?;
    make_executable(&path)?;
    store.put_record(KIND, &key(pin), program.as_str().as_bytes())?;
    Ok(path)
}

fn make_executable(path: &Path) -> Result<(), StoreError> {
    let made = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755));
    made.map_err(|source| StoreError::Io { verb: "make executable", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_on_json_and_html_pages() {
        let json = r#"{"meta":{},"files":[{"filename":"a.whl","url":"../x/a.whl","hashes":{}}]}"#;
        assert_eq!(find_file(json, "a.whl").as_deref(), Some("../x/a.whl"));
        assert_eq!(find_file(json, "b.whl"), None);
        let html =
            "<a href=\"/x/aa.whl\">a.whl</a>\n<a data-x href='https://h/x/a.whl?t=1&amp;u=2#sha256=00'>a.whl</a>";
        assert_eq!(find_file(html, "a.whl").as_deref(), Some("https://h/x/a.whl?t=1&u=2#sha256=00"));
        assert_eq!(find_file("<html>", "a.whl"), None);
    }

    #[test]
    fn pins_name_their_machine_and_version() {
        for pin in &PINS {
            assert!(pin.filename.starts_with(&format!("uv-{VERSION}-")) && pin.filename.contains(pin.machine));
            assert!(Digest::parse(pin.sha256).is_ok());
        }
        assert!(
            pin("aarch64", "linux").is_ok() && pin("riscv64", "linux").is_err() && pin("aarch64", "macos").is_err()
        );
    }
}
