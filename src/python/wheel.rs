//! An opened wheel: a zip archive whose metadata agree with its name and with its RECORD (PEP 427).
//!
//! What installing it means is the work of `install`; contents are checked as they are streamed.

use std::collections::BTreeSet;

use super::filename::{FilenameError, WheelFilename};
use super::record::RecordRow;
use super::zip::{Archive, Limits, ReadAt, ZipError};
use super::{entry_points, metadata, record};
use crate::diagnostic::Diagnose;
use crate::oci::Digest;

/// The most that METADATA, WHEEL, RECORD or entry_points.txt may have, in bytes.
const METADATA_LIMIT: u64 = 64 << 20;

/// A wheel that is refused, and why.
#[derive(Debug, thiserror::Error)]
#[error("wheel `{wheel}` is refused")]
pub struct WheelError {
    /// Its file name.
    pub wheel: String,
    /// Why.
    #[source]
    pub reason: Box<Refusal>,
}

/// Why a wheel is refused.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Its file name does not follow the form.
    #[error(transparent)]
    Filename(#[from] FilenameError),
    /// The archive or a content is malformed.
    #[error(transparent)]
    Zip(#[from] ZipError),
    /// METADATA or WHEEL is malformed, or of another distribution.
    #[error(transparent)]
    Metadata(#[from] metadata::MetadataError),
    /// RECORD is malformed or does not describe the archive.
    #[error(transparent)]
    Record(#[from] record::RecordError),
    /// `entry_points.txt` is malformed.
    #[error(transparent)]
    EntryPoints(#[from] entry_points::EntryPointError),
    /// There is not exactly one `.dist-info` folder.
    #[error("it has {0} `.dist-info` folders instead of one")]
    DistInfo(usize),
    /// A metadata file is missing.
    #[error("it has no `{0}`")]
    MissingFile(String),
    /// A folder of `.data` has no meaning.
    #[error("`{0}` is in none of the folders data, headers, platlib, purelib and scripts")]
    DataFolder(String),
    /// A script lies in a folder below `.data/scripts`.
    #[error("script `{0}` lies in a folder")]
    ScriptFolder(String),
    /// A folder of the install scheme is no absolute, plain path.
    #[error("the interpreter's folder `{0}` is no absolute path in normal form")]
    Scheme(String),
    /// Two files of the wheel cannot both be placed.
    #[error("`{0}` would be both a file and a folder")]
    FileAndFolder(String),
}

impl Diagnose for WheelError {
    fn hint(&self) -> Option<String> {
        match &*self.reason {
            Refusal::Filename(reason) => reason.hint(),
            Refusal::Zip(reason) => reason.hint(),
            Refusal::Metadata(reason) => reason.hint(),
            Refusal::Record(reason) => reason.hint(),
            Refusal::EntryPoints(reason) => reason.hint(),
            Refusal::Scheme(_) => Some("give the interpreter's folders in the `python` settings".to_owned()),
            _ => Some("the wheel is malformed; use another build of it".to_owned()),
        }
    }
}

/// An opened wheel.
#[derive(Debug)]
pub struct Wheel {
    pub(super) archive: Archive,
    pub(super) rows: Vec<RecordRow>,
    /// The digest of each member in RECORD, in the order of the archive's members.
    pub(super) digests: Vec<Option<Digest>>,
    pub(super) entry_points: Option<Vec<u8>>,
    /// Whether the root goes to purelib.
    pub(super) root_is_purelib: bool,
    /// The name of the metadata folder without `.dist-info`.
    pub(super) stem: String,
    file: String,
    filename: WheelFilename,
}

impl Wheel {
    /// Opens the wheel in `source`, which is named `filename`.
    ///
    /// Structure, metadata and the completeness of RECORD are checked; hashes are when contents are streamed.
    ///
    /// # Errors
    /// Fails when the archive is malformed or unsafe, or when its parts disagree.
    pub fn open(source: impl ReadAt + 'static, filename: &str) -> Result<Self, WheelError> {
        Self::read(source, filename)
            .map_err(|reason| WheelError { wheel: filename.to_owned(), reason: Box::new(reason) })
    }

    fn read(source: impl ReadAt + 'static, file: &str) -> Result<Self, Refusal> {
        let filename = WheelFilename::parse(file)?;
        let archive = Archive::open(source, &Limits::default())?;
        let stem = dist_info_stem(&archive)?;
        metadata::check_dist_info(&stem, &filename)?;
        let read = |name: &str| -> Result<Option<Vec<u8>>, Refusal> {
            match archive.find(&format!("{stem}.dist-info/{name}")) {
                Some(member) if !member.folder => Ok(Some(archive.read(member, METADATA_LIMIT)?)),
                _ => Ok(None),
            }
        };
        let need = |name: &str| {
            read(name)
                .and_then(|content| content.ok_or_else(|| Refusal::MissingFile(format!("{stem}.dist-info/{name}"))))
        };
        metadata::check_metadata(&need("METADATA")?, &filename)?;
        let root_is_purelib = metadata::root_is_purelib(&need("WHEEL")?)?;
        let mut rows = record::parse(&need("RECORD")?)?;
        let entry_points = read("entry_points.txt")?;
        let files = archive.members().iter().filter(|member| !member.folder).map(|member| (&*member.name, member.size));
        let mut by_path = record::complete(&rows, files, &format!("{stem}.dist-info"))?;
        // Rows that repeat a path say the same by now; installers keep one.
        let mut seen = BTreeSet::new();
        rows.retain(|row| seen.insert(row.path.clone()));
        let digests = archive.members().iter().map(|member| by_path.remove(&*member.name)).collect();
        Ok(Self { archive, rows, digests, entry_points, root_is_purelib, stem, file: file.to_owned(), filename })
    }

    /// The file name as given.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The file name, taken apart.
    pub fn filename(&self) -> &WheelFilename {
        &self.filename
    }

    /// The bytes of `entry_points.txt`, where there is one.
    pub fn entry_points_text(&self) -> Option<&[u8]> {
        self.entry_points.as_deref()
    }

    /// The archive.
    pub fn archive(&self) -> &Archive {
        &self.archive
    }

    /// The content of METADATA.
    ///
    /// # Errors
    /// Fails when it cannot be read.
    pub fn metadata(&self) -> Result<Vec<u8>, WheelError> {
        let name = format!("{}.dist-info/METADATA", self.stem);
        match self.archive.find(&name) {
            Some(member) => self.archive.read(member, METADATA_LIMIT).map_err(|reason| self.refused(reason)),
            None => Err(self.refused(Refusal::MissingFile(name))),
        }
    }

    /// The error that this wheel is refused for `reason`.
    pub(super) fn refused(&self, reason: impl Into<Refusal>) -> WheelError {
        WheelError { wheel: self.file.clone(), reason: Box::new(reason.into()) }
    }
}

/// The name of the one metadata folder at the top, without `.dist-info`.
fn dist_info_stem(archive: &Archive) -> Result<String, Refusal> {
    let mut stems: Vec<&str> = Vec::new();
    for member in archive.members() {
        let top = member.name.split_once('/').map(|(top, _)| top).or(member.folder.then_some(&*member.name));
        if let Some(stem) = top.and_then(|top| top.strip_suffix(".dist-info"))
            && !stems.contains(&stem)
        {
            stems.push(stem);
        }
    }
    match stems[..] {
        [stem] => Ok(stem.to_owned()),
        _ => Err(Refusal::DistInfo(stems.len())),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::WheelMaker;
    use super::*;
    use std::error::Error;

    fn reason(maker: &WheelMaker, filename: &str) -> String {
        Wheel::open(maker.build(), filename).unwrap_err().source().unwrap().to_string()
    }

    #[test]
    fn wheel_whose_parts_disagree_is_refused() {
        let good = || WheelMaker::new("foo", "1.0").file("foo.py", "x");
        assert!(Wheel::open(good().build(), &good().filename()).is_ok());
        let name = good().filename();
        let cases = [
            (good(), "bar-1.0-py3-none-any.whl", "`foo-1.0.dist-info` is of `foo`"),
            (good(), "foo-1.1-py3-none-any.whl", "has version `1.0`"),
            (good().file("x.dist-info/y", ""), &name, "2 `.dist-info` folders"),
            (good().file("bar.py", "").unrecorded(), &name, "RECORD has no hash"),
            (good().record_row("ghost.py,sha256=x,1"), &name, "does not hold"),
            (good().member("link", "/etc/passwd", 0o120_777), &name, "no plain file"),
            (good().member("suid", "", 0o104_755), &name, "no plain file"),
            (good().file("../up", ""), &name, "component"),
            (good().file("foo.py", "y"), &name, "claim path `foo.py` twice"),
            (good().file("foo.py/x", "y"), &name, "claim path `foo.py` twice"),
        ];
        for (maker, filename, message) in cases {
            let reason = reason(&maker, filename);
            assert!(reason.contains(message), "{reason}");
        }
    }
}
