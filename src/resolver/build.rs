//! Wheels made on this machine by `uv build`, when what comes out is usable in the image.
//!
//! A wheel is made once for the same inputs and kept in the store. A wheel for another platform than the image's is an
//! error here: such ones take a backend (docs/adr/0015).

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::Duration;

use pep440_rs::Version;
use serde::{Deserialize, Serialize};
use serde_json::json;
use url::Url;

use super::arguments::{UvArguments, index_credentials};
use super::child::{Child, ChildEnvironment};
use super::download::WheelFetcher;
use super::error::ResolveError;
use super::git::Git;
use super::host_python::HostPython;
use super::place::PlaceTarget;
use super::request::ResolveRequest;
use super::scratch::Scratch;
use super::target_fit::obstacle;
use super::uv::Uv;
use crate::event::{Reporter, Task, Work};
use crate::oci::{Digest, Digester};
use crate::python::filename::WheelFilename;
use crate::python::lock::LockedWheel;
use crate::python::origin::{Origin, Unbuilt};
use crate::python::tags::CompatibleTags;
use crate::store::{Claim, Store};

const KIND: &str = "built-wheels";
/// Changes when the same inputs may make another wheel.
const FORMAT: u32 = 1;
/// The earliest time that a zip can hold: 1 January 1980, in seconds since 1970.
const EPOCH: &str = "315532800";
/// Lines of a failed build that are shown.
const SHOWN: usize = 40;
/// Options of `uv pip` that `uv build` has too.
const SHARED: [&str; 7] = [
    "--build-constraint",
    "--config-setting",
    "--config-settings",
    "--exclude-newer",
    "--index-strategy",
    "--keyring-provider",
    "--no-build-isolation",
];

/// A wheel that is wanted.
#[derive(Clone, Debug)]
pub struct WantedWheel {
    /// The requirement as messages show it; without credentials.
    pub shown: String,
    /// The normalised name, when it is known beforehand.
    pub name: Option<String>,
    /// The version; empty when it is not known beforehand.
    pub version: String,
    /// The index that offers the source.
    pub index: Option<String>,
    /// What it is built from.
    pub origin: Origin,
}

impl From<Unbuilt> for WantedWheel {
    fn from(Unbuilt { name, version, origin, index, .. }: Unbuilt) -> Self {
        let shown = if version.is_empty() { name.clone() } else { format!("{name}=={version}") };
        Self { shown, name: Some(name), version, index, origin }
    }
}

/// Makes wheels for one image.
pub struct WheelBuilder<'a> {
    uv: &'a Uv,
    python: HostPython,
    request: &'a ResolveRequest,
    tags: &'a CompatibleTags,
    store: &'a Store,
    fetcher: &'a WheelFetcher,
    reporter: &'a Arc<dyn Reporter>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    name: String,
    version: String,
    filename: String,
    sha256: Digest,
    size: u64,
}

impl<'a> WheelBuilder<'a> {
    /// A builder for the Python that `request` is for.
    ///
    /// # Errors
    /// Fails when this machine has no Python.
    pub(super) async fn new(
        uv: &'a Uv,
        request: &'a ResolveRequest,
        tags: &'a CompatibleTags,
        store: &'a Store,
        fetcher: &'a WheelFetcher,
        reporter: &'a Arc<dyn Reporter>,
    ) -> Result<Self, ResolveError> {
        let found = HostPython::find(&request.target.version, uv, &request.environment, &request.scratch).await;
        let python = found.ok_or(ResolveError::NoPython)?;
        Ok(Self { uv, python, request, tags, store, fetcher, reporter })
    }

    /// The wheel that was built from the same before, when the store still has it.
    ///
    /// # Errors
    /// Fails when the store cannot be read.
    pub fn remembered(&self, wanted: &WantedWheel) -> Result<Option<LockedWheel>, ResolveError> {
        let Some(key) = self.key(&wanted.origin) else { return Ok(None) };
        let Some(bytes) = self.store.record(KIND, &key)? else { return Ok(None) };
        let Some(record) = serde_json::from_slice::<Record>(&bytes).ok() else { return Ok(None) };
        if self.store.verified(&record.sha256)?.is_none() {
            return Ok(None);
        }
        self.usable(wanted, record).map(Some)
    }

    /// Builds the wheel from its source; `files` is a folder that may be written to, for what comes from a folder.
    ///
    /// # Errors
    /// Fails when the source cannot be had, when it does not build, or when the wheel is of no use in the image.
    pub async fn build(&self, wanted: &WantedWheel, files: Option<&Path>) -> Result<LockedWheel, ResolveError> {
        let _claim = match self.key(&wanted.origin) {
            Some(key) => Some(self.claim(&key).await?),
            None => None,
        };
        if let Some(wheel) = self.remembered(wanted)? {
            return Ok(wheel);
        }
        let _task = Task::start(self.reporter, Work::Wheel, &wanted.shown, None);
        let arguments = UvArguments::of(self.request)?;
        let scratch = Scratch::empty(self.request, &arguments)?;
        let source = self.source(wanted, files, scratch.folder()).await?;
        let made = scratch.folder().join("made");
        let mut child = Child::new(self.uv.program(), self.environment(&scratch, &arguments), scratch.folder());
        child.arguments = self.arguments(&arguments, &source, &made);
        child.timeout = Duration::from_secs(3600);
        let outcome = child.run().await?;
        if !outcome.status.success() {
            let text = index_credentials(self.request).redact(&outcome.stderr);
            let explanation = last_lines(&text.replace(&scratch.folder().display().to_string(), "."));
            return Err(ResolveError::Build { requirement: wanted.shown.clone(), explanation });
        }
        let record = self.keep(wanted, &made).await?;
        if let Some(key) = self.key(&wanted.origin) {
            self.store.put_record(KIND, &key, &serde_json::to_vec(&record).unwrap_or_default())?;
        }
        self.usable(wanted, record)
    }

    /// What a repository's revision stands for now, as an origin; it is not fetched when the remote tells.
    ///
    /// # Errors
    /// Fails when git is missing or the repository does not answer.
    pub async fn repository(&self, target: &PlaceTarget) -> Result<Option<Origin>, ResolveError> {
        let PlaceTarget::Repository { url, revision, subdirectory } = target else { return Ok(None) };
        let git = self.git(url, revision.as_deref());
        let folder = self.store.scratch()?;
        let commit = match git.commit(folder.path()).await? {
            Some(commit) => commit,
            None => git.checkout(None, folder.path()).await?,
        };
        let (url, revision, subdirectory) = (git.public_url(), revision.clone(), subdirectory.clone());
        Ok(Some(Origin::Repository { url, revision, commit, subdirectory }))
    }

    fn git<'b>(&'b self, url: &'b Url, revision: Option<&'b str>) -> Git<'b> {
        Git { url, revision, environment: &self.request.environment, offline: self.request.offline }
    }

    /// Inputs of the build: the source, the tools, and what they are told.
    fn key(&self, origin: &Origin) -> Option<String> {
        let told: Vec<_> = self.request.arguments.iter().filter(|(key, _)| key.contains("config-setting")).collect();
        let key = json!({
            "format": FORMAT,
            "source": origin.identity()?,
            "uv": self.uv.version(),
            "python": self.python.version,
            "machine": self.python.machine,
            "libc": self.python.libc.to_string(),
            "told": told,
        });
        Some(key.to_string())
    }

    async fn claim(&self, key: &str) -> Result<Claim, ResolveError> {
        let (store, key) = (self.store.clone(), format!("built {key}"));
        let claimed = tokio::task::spawn_blocking(move || store.claim(&key)).await;
        Ok(claimed.map_err(|_| ResolveError::GivenUp)??)
    }

    /// Brings the source below `folder` and gives the path that `uv build` is told.
    async fn source(&self, wanted: &WantedWheel, files: Option<&Path>, folder: &Path) -> Result<PathBuf, ResolveError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| ResolveError::Scratch { path, source }
        };
        let root = match &wanted.origin {
            Origin::Archive { filename, url, sha256, size, .. } => {
                let file = LockedWheel {
                    name: wanted.name.clone().unwrap_or_else(|| filename.clone()),
                    version: wanted.version.clone(),
                    filename: filename.clone(),
                    url: url.clone(),
                    sha256: sha256.clone(),
                    size: *size,
                    direct_url: None,
                    index: None,
                    origin: None,
                };
                self.fetcher.fetch(&file).await?;
                let path = folder.join(filename);
                std::os::unix::fs::symlink(self.store.path(sha256), &path).map_err(failed(&path))?;
                path
            }
            Origin::Repository { url, commit, .. } => {
                let path = folder.join("source");
                std::fs::create_dir(&path).map_err(failed(&path))?;
                let url = self.repository_url(url)?;
                self.git(&url, None).checkout(Some(commit), &path).await?;
                path
            }
            Origin::Folder { path, .. } => files.map(Path::to_owned).unwrap_or_else(|| path.into()),
        };
        Ok(match wanted.origin.subdirectory() {
            Some(below) if root.is_dir() => root.join(below),
            _ => root,
        })
    }

    /// The URL of a repository with the credentials that the requirements give for it.
    fn repository_url(&self, public: &str) -> Result<Url, ResolveError> {
        let of_line =
            super::place::places(&self.request.requirements).into_iter().find_map(|place| match place.target {
                PlaceTarget::Repository { url, .. } if self.git(&url, None).public_url() == public => Some(url),
                _ => None,
            });
        let parsed = || {
            Url::parse(public)
                .map_err(|_| ResolveError::Git { url: public.to_owned(), explanation: "it is no URL".to_owned() })
        };
        of_line.map_or_else(parsed, Ok)
    }

    fn environment(&self, scratch: &Scratch, arguments: &UvArguments) -> ChildEnvironment {
        let environment = scratch.environment(&self.request.environment, arguments);
        let fixed = [("SOURCE_DATE_EPOCH", EPOCH), ("PYTHONHASHSEED", "0"), ("TZ", "UTC"), ("LC_ALL", "C.UTF-8")];
        fixed.into_iter().fold(environment, |environment, (name, value)| environment.with(name, value))
    }

    fn arguments(&self, arguments: &UvArguments, source: &Path, made: &Path) -> Vec<String> {
        let mut all = ["build", "--wheel", "--no-create-gitignore", "--out-dir"].map(str::to_owned).to_vec();
        all.push(made.display().to_string());
        all.extend(["--python".to_owned(), self.python.path.display().to_string()]);
        let mut given = arguments.both.iter().peekable();
        while let Some(argument) = given.next() {
            let option = argument.split('=').next().unwrap_or_default();
            if SHARED.contains(&option) {
                all.push(argument.clone());
                // The value of an option that was given as two words.
                all.extend(given.next_if(|next| !argument.contains('=') && !next.starts_with("--")).cloned());
            }
        }
        if self.request.offline {
            all.push("--offline".into());
        }
        all.push(source.display().to_string());
        all
    }

    /// Puts the one wheel in `made` into the store.
    async fn keep(&self, wanted: &WantedWheel, made: &Path) -> Result<Record, ResolveError> {
        let unusable = |explanation: &str| ResolveError::Build {
            requirement: wanted.shown.clone(),
            explanation: explanation.to_owned(),
        };
        let filename = only_wheel(made).ok_or_else(|| unusable("the build left no wheel"))?;
        let parsed = WheelFilename::parse(&filename).map_err(|error| unusable(&error.to_string()))?;
        if wanted.name.as_ref().is_some_and(|name| *name != parsed.name) {
            return Err(unusable(&format!("the build made `{filename}`")));
        }
        if Version::from_str(&wanted.version).is_ok_and(|version| version != parsed.version) {
            return Err(unusable(&format!("the build made `{filename}`, not version {}", wanted.version)));
        }
        let (store, path) = (self.store.clone(), made.join(&filename));
        let stored = tokio::task::spawn_blocking(move || put(&store, &path)).await;
        let (sha256, size) = stored.map_err(|_| ResolveError::GivenUp)??;
        Ok(Record { name: parsed.name, version: parsed.version.to_string(), filename, sha256, size })
    }

    /// The wheel as it goes into a lock, when the image can use it.
    fn usable(&self, wanted: &WantedWheel, record: Record) -> Result<LockedWheel, ResolveError> {
        let Record { name, version, filename, sha256, size } = record;
        if let Ok(parsed) = WheelFilename::parse(&filename)
            && let Some(reason) = obstacle(&parsed, self.tags, &self.request.target, &self.python)
        {
            return Err(ResolveError::NotForTarget { requirement: wanted.shown.clone(), reason });
        }
        Ok(LockedWheel {
            name,
            version,
            filename,
            url: wanted.origin.url(),
            sha256,
            size: Some(size),
            direct_url: wanted.origin.direct_url(),
            index: wanted.index.clone(),
            origin: Some(wanted.origin.clone()),
        })
    }
}

/// The name of the wheel in a folder that holds one.
#[expect(clippy::disallowed_methods, reason = "one file is expected, and the names are sorted")]
fn only_wheel(folder: &Path) -> Option<String> {
    let names = std::fs::read_dir(folder).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut wheels: Vec<String> = names.filter(|name| name.ends_with(".whl")).collect();
    wheels.sort();
    wheels.into_iter().next()
}

fn put(store: &Store, path: &Path) -> Result<(Digest, u64), ResolveError> {
    let failed = |source| ResolveError::Scratch { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let (mut writer, mut digester) = (store.writer()?, Digester::sha256());
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer).map_err(failed)?;
        if read == 0 {
            break;
        }
        digester.update(&buffer[..read]);
        writer.write_all(&buffer[..read]).map_err(failed)?;
    }
    let (digest, size) = (digester.finish(), writer.written());
    writer.commit(&digest)?;
    Ok((digest, size))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.trim().lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}
