//! Registries of several makers, each in a folder of its own and on a port that it keeps when it is started again.
//!
//! Knows how they are configured, ended and watched; what is pushed to them is the cases' business.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::process::Signal;

use crate::authority::Pair;
use crate::harness::Halt;
use crate::servers::{Serving, answers, free_port};
use crate::tools;

/// Who made a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Maker {
    /// Debian's docker-registry: distribution 2.
    Debian,
    /// distribution 3.
    Distribution,
    /// go-containerregistry's, with the referrers API. Its manifests are in memory, and it asks nobody who he is.
    Google,
}

impl Maker {
    /// The makers whose registry keeps everything on the disk and can be locked.
    pub(crate) const DISTRIBUTION: [Self; 2] = [Self::Debian, Self::Distribution];
    pub(crate) const ALL: [Self; 3] = [Self::Debian, Self::Distribution, Self::Google];

    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Debian => "docker-registry",
            Self::Distribution => "registry",
            Self::Google => "referrers-registry",
        }
    }

    /// For people, and for folders.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Debian => "docker-registry",
            Self::Distribution => "distribution-3",
            Self::Google => "go-containerregistry",
        }
    }

    /// Whether the server lists referrers when asked.
    pub(crate) const fn has_referrers(self) -> bool {
        matches!(self, Self::Google)
    }

    /// The makers of `wanted` whose program is here, and a line for each that is not.
    pub(crate) fn here(wanted: &[Self]) -> Result<(Vec<Self>, Vec<String>), Halt> {
        let (here, absent): (Vec<_>, Vec<_>) =
            wanted.iter().partition::<Vec<_>, _>(|maker| tools::find(maker.program()).is_some());
        if here.is_empty() {
            return tools::need(&wanted.iter().map(|maker| maker.program()).collect::<Vec<_>>())
                .map(|()| (here, vec![]));
        }
        let line = |maker: &Self| format!("left out: {}: `{}` is not installed", maker.name(), maker.program());
        Ok((here, absent.iter().map(line).collect()))
    }
}

/// A token server that a registry trusts.
pub(crate) struct Realm<'a> {
    /// The URL of the token server.
    pub(crate) url: &'a str,
    /// Who signs.
    pub(crate) issuer: &'a str,
    /// The certificate of the key that signs.
    pub(crate) certificate: &'a Path,
}

/// What stands between a registry and its callers.
#[derive(Default)]
pub(crate) struct Door<'a> {
    /// The file of the users who are let in.
    pub(crate) htpasswd: Option<&'a Path>,
    /// The server's certificate with its key.
    pub(crate) tls: Option<&'a Pair>,
    /// Who signs the certificates of callers, who must have one.
    pub(crate) callers: Option<&'a Path>,
    pub(crate) realm: Option<Realm<'a>>,
}

/// The name under which registries know themselves to a token server.
pub(crate) const SERVICE: &str = "e2e-registry";

/// A registry that runs.
pub(crate) struct Registry {
    serving: Option<Serving>,
    maker: Maker,
    folder: PathBuf,
    /// `127.0.0.1:PORT`.
    pub(crate) address: String,
}

impl Registry {
    /// Starts one that serves from `folder`.
    pub(crate) fn start(maker: Maker, folder: &Path, door: &Door<'_>) -> Result<Self, Halt> {
        tools::need(&[maker.program()])?;
        std::fs::create_dir_all(folder)?;
        let address = format!("127.0.0.1:{}", free_port()?);
        std::fs::write(folder.join("config.yml"), configuration(folder, &address, door))?;
        let mut registry = Self { serving: None, maker, folder: folder.to_owned(), address };
        registry.restart()?;
        Ok(registry)
    }

    /// Starts it again, with what it has on the disk, where it was.
    pub(crate) fn restart(&mut self) -> Result<(), Halt> {
        self.serving = None;
        let below = |name: &str| self.folder.join(name);
        let (configuration, data) = (below("config.yml").display().to_string(), below("data").display().to_string());
        let arguments = match self.maker {
            Maker::Debian | Maker::Distribution => vec!["serve", &configuration],
            Maker::Google => vec!["-address", &self.address, "-disk", &data],
        };
        std::fs::create_dir_all(&data)?;
        // What was asked goes to stdout or, with go-containerregistry, to stderr; it is counted.
        let requests = below("requests");
        let (log, stdout) = match self.maker {
            Maker::Google => (requests, Stdio::null()),
            _ => (below("log"), File::options().create(true).append(true).open(requests)?.into()),
        };
        let mut serving = Serving::start(self.maker.program(), &arguments, &log, stdout)?;
        let address = &self.address;
        serving
            .wait(|| answers(address))
            .map_err(|log| Halt::Failed(format!("{} did not start\n{log}", self.maker.program())))?;
        self.serving = Some(serving);
        Ok(())
    }

    /// Ends it as a power cut does.
    pub(crate) fn kill(&mut self) -> Result<(), Halt> {
        let killed = self.signal(Signal::KILL);
        self.serving = None;
        killed
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Halt> {
        match &self.serving {
            Some(serving) => serving.signal(signal),
            None => Err(Halt::Failed("the registry does not run".to_owned())),
        }
    }

    /// Where a maker that keeps everything on the disk has a blob.
    pub(crate) fn blob(&self, digest: &str) -> PathBuf {
        let hex = digest.trim_start_matches("sha256:");
        self.folder.join("data/docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex).join("data")
    }

    /// What was asked until now, a line a request: `METHOD PATH STATUS`.
    pub(crate) fn requests(&self) -> Vec<String> {
        let log = std::fs::read(self.folder.join("requests")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let read = if self.maker == Maker::Google { plain_request } else { combined_request };
        log.lines().filter_map(read).collect()
    }
}

/// The configuration of distribution, 2 and 3.
fn configuration(folder: &Path, address: &str, door: &Door<'_>) -> String {
    let mut text = format!(
        "version: 0.1\nlog:\n  level: warn\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: {address}\n",
        folder.join("data").display()
    );
    if let Some(pair) = door.tls {
        let (certificate, key) = (pair.certificate.display(), pair.key.display());
        text.push_str(&format!("  tls:\n    certificate: {certificate}\n    key: {key}\n"));
    }
    if let Some(authority) = door.callers {
        text.push_str(&format!("    clientcas:\n      - {}\n", authority.display()));
    }
    if let Some(file) = door.htpasswd {
        text.push_str(&format!("auth:\n  htpasswd:\n    realm: e2e\n    path: {}\n", file.display()));
    }
    if let Some(realm) = &door.realm {
        let (url, issuer, certificate) = (realm.url, realm.issuer, realm.certificate.display());
        text.push_str(&format!(
            "auth:\n  token:\n    realm: {url}\n    service: {SERVICE}\n    issuer: {issuer}\n    rootcertbundle: {certificate}\n"
        ));
    }
    text
}

/// A request in a line of the combined log format.
pub(crate) fn combined_request(line: &str) -> Option<String> {
    let mut quoted = line.split('"');
    let (asked, answered) = (quoted.nth(1)?, quoted.next()?);
    let mut words = asked.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    Some(format!("{method} {path} {}", answered.split_whitespace().next()?))
}

/// A request in a line of go-containerregistry's log: `DATE TIME METHOD PATH`, and the status of a refusal.
fn plain_request(line: &str) -> Option<String> {
    let mut words = line.split(' ').skip(2);
    let (method, path) = (words.next()?, words.next().filter(|path| path.starts_with('/'))?);
    Some(format!("{method} {path} {}", words.next().unwrap_or("2xx")))
}

/// How many requests of each method there are.
pub(crate) fn methods(requests: &[String]) -> String {
    let count = |method: &str| {
        let asked = requests.iter().filter(|request| request.split(' ').next() == Some(method));
        Some(asked.count()).filter(|count| *count > 0).map(|count| format!("{count} {method}"))
    };
    let counts: Vec<_> = ["HEAD", "GET", "POST", "PATCH", "PUT"].into_iter().filter_map(count).collect();
    format!("{} requests: {}", requests.len(), counts.join(", "))
}
