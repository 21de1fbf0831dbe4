//! The distributions that an image has installed, and the files that each of them owns.
//!
//! Versions are not compared here; the resolver does that.

use crate::diagnostic::Diagnose;
use crate::image::filesystem::Filesystem;
use crate::layer::EntryPath;

/// One installed distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstalledDistribution {
    /// The name, normalised (PEP 503).
    pub name: String,
    /// The version as its metadata has it.
    pub version: String,
    /// The `.dist-info` folder (or `.egg-info` folder or file), as a path of the image.
    pub dist_info: EntryPath,
    /// The header lines of METADATA or PKG-INFO.
    pub metadata: Vec<u8>,
    /// RECORD without hashes and sizes; `None` for eggs and what a package manager installed without one.
    pub record: Option<Vec<u8>>,
    /// The text of INSTALLER: `pip`, `uv`, `conda`, `debian`...
    pub installer: Option<String>,
    /// The text of `direct_url.json` (PEP 610).
    pub direct_url: Option<Vec<u8>>,
    /// Whether REQUESTED is there (PEP 376).
    pub requested: bool,
}

/// Why the files of a distribution cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum InstalledFilesError {
    /// There is no RECORD.
    #[error("the installed `{name}` has no RECORD")]
    NoRecord {
        /// The distribution.
        name: String,
        /// Who installed it, when that is known.
        installer: Option<String>,
    },
    /// RECORD is no CSV.
    #[error("the RECORD of the installed `{name}` is damaged")]
    Csv {
        /// The distribution.
        name: String,
        /// Why.
        #[source]
        source: csv::Error,
    },
    /// RECORD names a path outside the image.
    #[error("the RECORD of the installed `{name}` names `{path}`, which leaves the image")]
    Escape {
        /// The distribution.
        name: String,
        /// The path as it stands there.
        path: String,
    },
}

impl Diagnose for InstalledFilesError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoRecord { name, .. } => Some(format!(
                "the image's package manager installed `{name}`, and only it can remove it; ask for the version that is there, or choose another parent"
            )),
            Self::Csv { .. } | Self::Escape { .. } => {
                Some("the parent image is damaged; reinstall the distribution in it or choose another parent".into())
            }
        }
    }
}

impl InstalledDistribution {
    /// The files that belong to this distribution and exist in `fs`, by RECORD, with the bytecode of
    /// its modules, sorted; a layer that removes it whites out these. Real paths: links of the image followed.
    ///
    /// # Errors
    /// Fails when there is no RECORD, or one that is damaged or leads out of the image.
    pub fn files(&self, fs: &Filesystem) -> Result<Vec<EntryPath>, InstalledFilesError> {
        let no_record = || InstalledFilesError::NoRecord { name: self.name.clone(), installer: self.installer.clone() };
        let record = self.record.as_deref().ok_or_else(no_record)?;
        let site = self.dist_info.parent();
        let site = site.as_ref().map_or(&b""[..], EntryPath::as_bytes);
        let mut files = std::collections::BTreeSet::new();
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(record);
        for row in reader.byte_records() {
            let row = row.map_err(|source| InstalledFilesError::Csv { name: self.name.clone(), source })?;
            let written = row.get(0).unwrap_or_default();
            if written.is_empty() {
                continue;
            }
            let path = self.absolute(site, written)?;
            files.extend(bytecode(fs, &path));
            files.extend(existing(fs, &path));
        }
        Ok(files.into_iter().collect())
    }

    fn absolute(&self, site: &[u8], written: &[u8]) -> Result<Vec<u8>, InstalledFilesError> {
        let mut parts: Vec<&[u8]> = Vec::new();
        if !written.starts_with(b"/") {
            parts.extend(site.split(|byte| *byte == b'/').filter(|part| !part.is_empty()));
        }
        for part in written.split(|byte| *byte == b'/') {
            match part {
                b"" | b"." => {}
                b".." if parts.pop().is_none() => {
                    let path = String::from_utf8_lossy(written).into_owned();
                    return Err(InstalledFilesError::Escape { name: self.name.clone(), path });
                }
                b".." => {}
                part => parts.push(part),
            }
        }
        Ok(parts.join(&b'/'))
    }
}

/// The entry at `path`: links followed in its directories, not in its last part, and no directory.
fn existing(fs: &Filesystem, path: &[u8]) -> Option<EntryPath> {
    let path = EntryPath::parse(path).ok()?;
    let real = match path.parent() {
        Some(parent) => fs.resolve(parent.as_bytes())?.path.join(path.file_name()).ok()?,
        None => path,
    };
    fs.node(&real).is_some_and(|node| !node.is_directory()).then_some(real)
}

/// The compiled files of the module at `path`, whether RECORD names them or not.
fn bytecode(fs: &Filesystem, path: &[u8]) -> Vec<EntryPath> {
    let Some(stem) = path.strip_suffix(b".py") else { return Vec::new() };
    let (folder, name) = match stem.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&stem[..slash], &stem[slash + 1..]),
        None => (&b""[..], stem),
    };
    let cache = [folder, b"/__pycache__"].concat();
    let prefix = [name, b"."].concat();
    fs.children(cache)
        .into_iter()
        .map(|(path, _)| path)
        .filter(|path| path.file_name().starts_with(&prefix) && path.file_name().ends_with(b".pyc"))
        .cloned()
        .collect()
}
