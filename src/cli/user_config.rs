//! The user's configuration: found, read, and its files with it.
//!
//! Relative paths start from the configuration's folder, `~` is the home folder. What stands in it is the library's.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lapstrake::diagnostic::Diagnose;
use lapstrake::registry::{
    Access, ClientIdentity, Mirror, PemError, Proxy, ProxyRule, check_certificates, check_roots,
};
use lapstrake::settings::{Placed, RegistrySettings, Substitution, UserConfig};

use super::environment::Environment;
use super::exit::{self, UsageError};

type Failure = Box<dyn Diagnose + Send>;

/// The variable that names another configuration.
const VARIABLE: &str = "LAPSTRAKE_CONFIG";

/// The configuration, ready for use.
#[derive(Default)]
pub(crate) struct Configured {
    /// The file; `None` when there is none.
    pub(crate) file: Option<PathBuf>,
    /// By registry.
    pub(crate) access: BTreeMap<String, Access>,
}

/// Reads the configuration; without one there is nothing configured, unless `LAPSTRAKE_CONFIG` names it.
pub(crate) fn read(environment: &Environment) -> Result<Configured, Failure> {
    let named = environment.var(VARIABLE).map(PathBuf::from);
    let Some(file) = named.clone().or_else(|| environment.default_config()) else { return Ok(Configured::default()) };
    let text = match std::fs::read_to_string(&file) {
        Ok(text) => text,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Configured::default());
        }
        Err(error) => {
            let what = format!("cannot read the user configuration `{}`: {error}", file.display());
            let hint = format!("see that the file is there and can be read; `{VARIABLE}` names another one");
            return Err(exit::fail(UsageError::new(what, hint)));
        }
    };
    let substitution = Substitution::new(environment.variables().clone());
    let config = UserConfig::parse(&text, &file.display().to_string(), &substitution).map_err(exit::fail)?;
    let paths = Paths { folder: file.parent().unwrap_or(Path::new("")).to_path_buf(), home: environment.home() };
    let access = config.registries.iter().map(|(key, settings)| Ok((key.clone(), access(settings, &paths)?)));
    let access = access.collect::<Result<_, Failure>>()?;
    Ok(Configured { file: Some(file), access })
}

/// Puts the mirrors of flags (`REGISTRY=MIRROR`) before those of the configuration.
pub(crate) fn add_mirrors(flags: &[String], access: &mut BTreeMap<String, Access>) -> Result<(), Failure> {
    for flag in flags.iter().rev() {
        let parsed = flag.split_once('=').and_then(|(registry, mirror)| Some((registry, Mirror::parse(mirror).ok()?)));
        let Some((registry, mirror)) = parsed.filter(|(registry, _)| !registry.is_empty()) else {
            let what = format!("`--registry-mirror {flag}` is not of the form REGISTRY=MIRROR");
            let hint = "write it as in `--registry-mirror docker.io=mirror.example/hub`";
            return Err(exit::fail(UsageError::new(what, hint)));
        };
        access.entry(registry.to_owned()).or_default().mirrors.insert(0, mirror);
    }
    Ok(())
}

struct Paths {
    folder: PathBuf,
    home: Option<PathBuf>,
}

impl Paths {
    fn absolute(&self, path: &Path) -> PathBuf {
        match (path.strip_prefix("~"), &self.home) {
            (Ok(below), Some(home)) => home.join(below),
            _ => self.folder.join(path),
        }
    }
}

fn access(settings: &RegistrySettings, paths: &Paths) -> Result<Access, Failure> {
    let mirrors = settings.mirrors.iter().map(|text| Mirror::parse(text).map_err(exit::fail));
    let mut access = Access {
        mirrors: mirrors.collect::<Result<_, _>>()?,
        plain_http: settings.insecure,
        proxy: settings.proxy.as_ref().map(proxy).transpose()?,
        ..Access::default()
    };
    if let Some(file) = &settings.ca_file {
        access.roots.push(placed_pem(file, paths, |text| check_roots(text).map(|()| text.to_vec()))?);
    }
    if let Some(certificate) = &settings.client_certificate {
        // One file may hold both.
        let key = settings.client_key.as_ref().unwrap_or(certificate);
        let chain = placed_pem(certificate, paths, |text| check_certificates(text).map(|()| text.to_vec()))?;
        access.identity = Some(placed_pem(key, paths, |text| ClientIdentity::from_pem(&chain, text))?);
    }
    Ok(access)
}

fn proxy(setting: &Placed<String>) -> Result<ProxyRule, Failure> {
    if setting.value == "none" {
        return Ok(ProxyRule::Direct);
    }
    Proxy::parse(&setting.value, &setting.path).map(ProxyRule::Through).map_err(|error| {
        let hint = error.hint().unwrap_or_default();
        exit::fail(UsageError::new(format!("{}: {error}", setting.at), format!("{hint}; or `none`")))
    })
}

fn placed_pem<T>(
    setting: &Placed<PathBuf>,
    paths: &Paths,
    parse: impl FnOnce(&[u8]) -> Result<T, PemError>,
) -> Result<T, Failure> {
    let key = format!("{}: `{}`", setting.at, setting.path);
    pem(&paths.absolute(&setting.value), &key, parse)
}

/// Reads a PEM file that `key` names.
pub(crate) fn pem<T>(file: &Path, key: &str, parse: impl FnOnce(&[u8]) -> Result<T, PemError>) -> Result<T, Failure> {
    let usage = |what: String, hint: &str| exit::fail(UsageError::new(what, hint));
    let text = std::fs::read(file).map_err(|error| {
        let what = format!("{key} names `{}`, which cannot be read: {error}", file.display());
        usage(what, "see that the file is there and can be read")
    })?;
    parse(&text).map_err(|error| {
        let causes: String = exit::causes(&error, false).into_iter().map(|cause| format!(": {cause}")).collect();
        let what = format!("{key} names `{}`, which {error}{causes}", file.display());
        usage(what, error.cure())
    })
}
