//! The distributions that an image has installed, and the files that each of them owns.
//!
//! Versions are not compared here; the resolver does that.

use std::collections::{BTreeMap, BTreeSet};

use crate::diagnostic::Diagnose;
use crate::image::filesystem::{Filesystem, Node};
use crate::layer::EntryPath;
use crate::python::normalize_name;

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

/// The distributions in `sites`, folders of `sys.path` in its order: the first of a name wins. Sorted by name.
pub(super) fn installed(fs: &Filesystem, sites: &[String]) -> Vec<InstalledDistribution> {
    let mut found = BTreeMap::new();
    for site in sites {
        for (path, node) in fs.children(site) {
            if let Some(distribution) = read(fs, path, node) {
                found.entry(distribution.name.clone()).or_insert(distribution);
            }
        }
    }
    found.into_values().collect()
}

fn read(fs: &Filesystem, path: &EntryPath, node: &Node) -> Option<InstalledDistribution> {
    let folder = std::str::from_utf8(path.file_name()).ok()?;
    // pip renames what it is about to remove so; it is no distribution any more.
    if folder.starts_with('~') {
        return None;
    }
    let inside = |name: &str| fs.content(format!("{path}/{name}"));
    let (stem, metadata) = match folder.strip_suffix(".dist-info") {
        Some(stem) if node.is_directory() => (stem, inside("METADATA")),
        _ => (folder.strip_suffix(".egg-info")?, node.content().or_else(|| inside("PKG-INFO"))),
    };
    let metadata = metadata.unwrap_or_default();
    let mut parts = stem.splitn(3, '-');
    let (name, version) = (parts.next(), parts.next());
    let name = header(metadata, "name").or_else(|| name.map(str::to_owned)).filter(|name| !name.is_empty())?;
    let version = header(metadata, "version").or_else(|| version.map(str::to_owned))?;
    Some(InstalledDistribution {
        name: normalize_name(&name),
        version,
        dist_info: path.clone(),
        metadata: metadata.to_vec(),
        record: inside("RECORD").map(<[u8]>::to_vec),
        installer: inside("INSTALLER").map(|text| String::from_utf8_lossy(text).trim().to_owned()),
        direct_url: inside("direct_url.json").map(<[u8]>::to_vec),
        requested: fs.resolve(format!("{path}/REQUESTED")).is_some(),
    })
}

/// The first value of a header field; `key` in lower case.
fn header(metadata: &[u8], key: &str) -> Option<String> {
    let text = String::from_utf8_lossy(metadata);
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(name, _)| name.eq_ignore_ascii_case(key))?;
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
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
        let mut files = BTreeSet::new();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::filesystem::{Change, LayerIndex, NodeKind};

    const SITE: &str = "usr/lib/python3/site-packages";

    fn image(files: &[(&str, &str)]) -> Filesystem {
        let link = Node::new(NodeKind::Symlink { target: b"usr/lib".to_vec() }, 0o777, 0, 0);
        let mut changes = vec![(EntryPath::parse("lib").unwrap(), Change::Put(link))];
        for (path, text) in files {
            let file = Node::new(NodeKind::File { size: text.len() as u64 }, 0o644, 0, 0);
            changes.push((EntryPath::parse(path).unwrap(), Change::Put(file.with_content(text.as_bytes()))));
        }
        Filesystem::merge([LayerIndex::new(changes)]).unwrap()
    }

    fn with_record(record: &str) -> (Filesystem, InstalledDistribution) {
        let at = |below: &str| format!("{SITE}/{below}");
        let fs = image(&[
            ("usr/bin/foo", ""),
            ("srv/absolute", ""),
            (&at("foo/__init__.py"), ""),
            (&at("foo/__pycache__/__init__.cpython-311.pyc"), ""),
            (&at("foo/__pycache__/__init__.cpython-311.opt-1.pyc"), ""),
            (&at("foo/__pycache__/other.cpython-311.pyc"), ""),
            (&at("foo.dist-info/METADATA"), "Name: Foo_._Bar\nVersion: 1.0\n"),
            (&at("foo.dist-info/INSTALLER"), "uv\n"),
            (&at("foo.dist-info/REQUESTED"), ""),
            (&at("foo.dist-info/RECORD"), record),
        ]);
        let distribution = installed(&fs, &["/lib/python3/site-packages".into()]).remove(0);
        (fs, distribution)
    }

    #[test]
    fn files_are_those_of_the_record_and_their_bytecode() {
        let record =
            "foo/__init__.py,,\n../../../bin/foo,,\n/srv/absolute,,\nfoo/gone.py,,\nfoo,,\nfoo.dist-info/RECORD,,\n";
        let (fs, distribution) = with_record(record);
        assert_eq!((&distribution.name[..], &distribution.version[..]), ("foo-bar", "1.0"));
        assert_eq!((distribution.installer.as_deref(), distribution.requested), (Some("uv"), true));
        let files: Vec<String> = distribution.files(&fs).unwrap().iter().map(ToString::to_string).collect();
        let expected = [
            "srv/absolute",
            "usr/bin/foo",
            "usr/lib/python3/site-packages/foo.dist-info/RECORD",
            "usr/lib/python3/site-packages/foo/__init__.py",
            "usr/lib/python3/site-packages/foo/__pycache__/__init__.cpython-311.opt-1.pyc",
            "usr/lib/python3/site-packages/foo/__pycache__/__init__.cpython-311.pyc",
        ];
        assert_eq!(files, expected);
    }

    #[test]
    fn a_record_that_leaves_the_image_is_refused() {
        let (fs, distribution) = with_record("../../../../../etc/passwd,,\n");
        assert!(matches!(distribution.files(&fs), Err(InstalledFilesError::Escape { .. })));
        let egg = InstalledDistribution { record: None, ..distribution };
        let error = egg.files(&fs).unwrap_err();
        assert!(error.hint().unwrap().contains("package manager"));
    }

    #[test]
    fn what_is_half_removed_or_nameless_is_not_installed() {
        let fs = image(&[
            ("s/~umpy-1.0.dist-info/METADATA", "Name: numpy\nVersion: 1.0\n"),
            ("s/a_b-2.0.dist-info/INSTALLER", "conda"),
            ("s/c-3.0-py3.11.egg-info/PKG-INFO", "Metadata-Version: 1.0\n"),
            ("s/d.dist-info/INSTALLER", ""),
            ("s/e-1.dist-info", ""),
        ]);
        let found: Vec<_> = installed(&fs, &["/s".into()]).into_iter().map(|one| (one.name, one.version)).collect();
        assert_eq!(found, [("a-b".to_owned(), "2.0".to_owned()), ("c".into(), "3.0".into())]);
    }
}
