//! RECORD: which files a distribution has, with their hashes and sizes (PEP 376, PEP 427, PEP 627).
//!
//! It does not read the files; whoever streams them asks a [`Checker`].

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::diagnostic::Diagnose;
use crate::oci::{Digest, Digester};

/// One row. The order is that of path, hash, size, as installers sort them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordRow {
    /// The path as written, relative to the folder that holds the `.dist-info` folder, without a leading slash.
    pub path: String,
    /// The hash as written: `algorithm=base64`.
    pub hash: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
}

/// Why a RECORD, or a file that it describes, is refused.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The file is no CSV of three columns.
    #[error("RECORD cannot be read as rows of path, hash and size")]
    Csv(#[source] csv::Error),
    /// A row has not three columns.
    #[error("RECORD has a row of {0} columns instead of 3")]
    Columns(usize),
    /// A row has no path.
    #[error("RECORD has a row without a path")]
    Path,
    /// A size is no number.
    #[error("RECORD gives `{path}` the size `{size}`, which is no number")]
    Size {
        /// The row's path.
        path: String,
        /// The size as written.
        size: String,
    },
    /// A hash is not of the form `algorithm=base64`, or not as long as its algorithm asks.
    #[error("RECORD gives `{path}` the malformed hash `{hash}`")]
    Hash {
        /// The row's path.
        path: String,
        /// The hash as written.
        hash: String,
    },
    /// A hash is of an algorithm that proves nothing, or that is unknown.
    #[error("RECORD gives `{path}` a hash of algorithm `{algorithm}`")]
    Algorithm {
        /// The row's path.
        path: String,
        /// The algorithm as written.
        algorithm: String,
    },
    /// Two rows describe one path differently.
    #[error("RECORD describes `{0}` twice")]
    Contradiction(String),
    /// A file of the archive is not in RECORD, or without a hash.
    #[error("file `{0}` is in the archive, but RECORD has no hash of it")]
    Unlisted(String),
    /// A row's file is not in the archive.
    #[error("RECORD lists `{0}`, which the archive does not hold")]
    Missing(String),
    /// A file does not have the size in its row.
    #[error("file `{path}` has {found} bytes, but RECORD says {expected}")]
    SizeDiffers {
        /// The path.
        path: String,
        /// Bytes in the row.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// A file does not have the hash in its row.
    #[error("file `{0}` does not have the hash that RECORD gives it")]
    HashDiffers(String),
}

impl Diagnose for RecordError {
    fn hint(&self) -> Option<String> {
        Some("the wheel is damaged or was changed after it was built; use another build of it".to_owned())
    }
}

impl RecordRow {
    /// Reads a row of three columns; empty ones mean absence.
    ///
    /// # Errors
    /// Fails when the path is empty or the size is no number. The hash is looked at by [`RecordRow::digest`].
    pub fn parse(path: &str, hash: &str, size: &str) -> Result<Self, RecordError> {
        let path = path.trim_start_matches('/');
        if path.is_empty() {
            return Err(RecordError::Path);
        }
        let number = || size.parse().map_err(|_| RecordError::Size { path: path.to_owned(), size: size.to_owned() });
        Ok(Self {
            path: path.to_owned(),
            hash: (!hash.is_empty()).then(|| hash.to_owned()),
            size: (!size.is_empty()).then(number).transpose()?,
        })
    }

    /// A row for `content`, hashed with SHA-256.
    pub fn of(path: String, content: &[u8]) -> Self {
        Self { path, hash: Some(hash_text(&Digest::of(content))), size: Some(content.len() as u64) }
    }

    /// The hash as a digest; `None` when the row has none.
    ///
    /// # Errors
    /// Fails when the hash is malformed or of another algorithm than SHA-256, SHA-384 and SHA-512.
    pub fn digest(&self) -> Result<Option<Digest>, RecordError> {
        let Some(hash) = &self.hash else { return Ok(None) };
        let malformed = || RecordError::Hash { path: self.path.clone(), hash: hash.clone() };
        let (algorithm, encoded) = hash.split_once('=').ok_or_else(malformed)?;
        if !matches!(algorithm, "sha256" | "sha384" | "sha512") {
            return Err(RecordError::Algorithm { path: self.path.clone(), algorithm: algorithm.to_owned() });
        }
        let raw = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| malformed())?;
        let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
        Digest::parse(&format!("{algorithm}:{hex}")).map(Some).map_err(|_| malformed())
    }

    /// Holds `content` against the hash and the size, as far as the row gives them.
    ///
    /// # Errors
    /// Fails when they differ, or when the hash cannot be used.
    pub fn check(&self, content: &[u8]) -> Result<(), RecordError> {
        self.check_size(content.len() as u64)?;
        match self.digest()? {
            Some(expected) => {
                let mut checker = Checker::new(&expected);
                checker.update(content);
                checker.finish(&self.path)
            }
            None => Ok(()),
        }
    }

    fn check_size(&self, found: u64) -> Result<(), RecordError> {
        match self.size {
            Some(expected) if expected != found => {
                Err(RecordError::SizeDiffers { path: self.path.clone(), expected, found })
            }
            _ => Ok(()),
        }
    }
}

/// A hash in RECORD's form: `algorithm=base64`, URL-safe, without padding.
pub fn hash_text(digest: &Digest) -> String {
    let hex = digest.hex().as_bytes();
    let nibble = |letter: u8| if letter.is_ascii_digit() { letter - b'0' } else { letter - b'a' + 10 };
    let raw: Vec<u8> = hex.chunks_exact(2).map(|pair| nibble(pair[0]) << 4 | nibble(pair[1])).collect();
    format!("{}={}", digest.algorithm().name(), URL_SAFE_NO_PAD.encode(raw))
}

/// Hashes a file as it passes by and compares at its end.
pub struct Checker {
    digester: Digester,
    expected: Digest,
}

impl Checker {
    /// A checker for a file that must have the digest `expected`.
    pub fn new(expected: &Digest) -> Self {
        Self { digester: Digester::new(expected.algorithm()), expected: expected.clone() }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.digester.update(bytes);
    }

    /// The hash itself, for one who hashes the same bytes for another reason.
    pub fn digester(&mut self) -> &mut Digester {
        &mut self.digester
    }

    /// Ends the file, which is `path`.
    ///
    /// # Errors
    /// Fails when the hash differs.
    pub fn finish(self, path: &str) -> Result<(), RecordError> {
        if self.digester.finish() == self.expected { Ok(()) } else { Err(RecordError::HashDiffers(path.to_owned())) }
    }
}

/// Reads the rows of a RECORD file.
///
/// # Errors
/// Fails when it is no CSV of three columns or a row is malformed.
pub fn parse(text: &[u8]) -> Result<Vec<RecordRow>, RecordError> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text);
    let mut rows = Vec::new();
    for row in reader.records() {
        let row = row.map_err(RecordError::Csv)?;
        let column = |at| row.get(at).unwrap_or_default();
        if row.len() != 3 {
            return Err(RecordError::Columns(row.len()));
        }
        rows.push(RecordRow::parse(column(0), column(1), column(2))?);
    }
    Ok(rows)
}

/// Writes rows as installers do: lines end in a newline, and a column is quoted when it must be.
///
/// # Errors
/// Fails never in practice: it writes into memory.
pub fn write(rows: &[RecordRow]) -> Result<Vec<u8>, RecordError> {
    let mut writer = csv::WriterBuilder::new().has_headers(false).from_writer(Vec::new());
    for row in rows {
        let size = row.size.map(|size| size.to_string()).unwrap_or_default();
        writer.write_record([row.path.as_str(), row.hash.as_deref().unwrap_or(""), &size]).map_err(RecordError::Csv)?;
    }
    writer.into_inner().map_err(|error| RecordError::Csv(error.into_error().into()))
}

/// Holds `rows` against the `files` of an archive (path and size), and gives each file's digest.
///
/// RECORD itself and its signatures need no row, since they cannot hold their own hash.
///
/// # Errors
/// Fails unless rows and files are the same set, every file has a usable hash, and the sizes agree.
pub fn complete<'a>(
    rows: &[RecordRow],
    files: impl IntoIterator<Item = (&'a str, u64)>,
    dist_info: &str,
) -> Result<BTreeMap<String, Digest>, RecordError> {
    let mut by_path: BTreeMap<&str, &RecordRow> = BTreeMap::new();
    for row in rows {
        if let Some(earlier) = by_path.insert(&row.path, row)
            && earlier != row
        {
            return Err(RecordError::Contradiction(row.path.clone()));
        }
    }
    let exempt = ["RECORD", "RECORD.jws", "RECORD.p7s"].map(|name| format!("{dist_info}/{name}"));
    let mut digests = BTreeMap::new();
    for (path, size) in files {
        let row = by_path.remove(path);
        if exempt.iter().any(|name| name == path) {
            continue;
        }
        let row = row.ok_or_else(|| RecordError::Unlisted(path.to_owned()))?;
        row.check_size(size)?;
        let digest = row.digest()?.ok_or_else(|| RecordError::Unlisted(path.to_owned()))?;
        digests.insert(path.to_owned(), digest);
    }
    match by_path.into_keys().next() {
        Some(path) => Err(RecordError::Missing(path.to_owned())),
        None => Ok(digests),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(content: &[u8]) -> String {
        hash_text(&Digest::of(content))
    }

    #[test]
    fn rows_survive_reading_and_writing_with_quotes_where_needed() {
        let text = "\"a,b.py\",sha256=x,1\n\"q\"\"q\",,\nsp ace,sha256=y,\n";
        let rows = parse(text.as_bytes()).unwrap();
        assert_eq!(rows[0].path, "a,b.py");
        assert_eq!(rows[1], RecordRow { path: "q\"q".into(), hash: None, size: None });
        assert_eq!(String::from_utf8(write(&rows).unwrap()).unwrap(), text);
        assert_eq!(parse(text.replace('\n', "\r\n").as_bytes()).unwrap(), rows);
    }

    #[test]
    fn record_that_lies_about_the_archive_is_refused() {
        let row = |path: &str, hash: &str, size: &str| RecordRow::parse(path, hash, size).unwrap();
        let good = || vec![row("a", &hash(b"1"), "1"), row("d/RECORD", "", "")];
        let files = [("a", 1), ("d/RECORD", 9)];
        assert_eq!(complete(&good(), files, "d").unwrap().len(), 1);
        let cases = [
            (vec![], "RECORD has no hash"),
            (vec![row("a", "", "")], "RECORD has no hash"),
            (vec![row("a", &hash(b"1"), "2")], "but RECORD says 2"),
            (vec![row("a", "md5=1B2M2Y8AsgTpgAmY7PhCfg", "1")], "algorithm `md5`"),
            (vec![row("a", "sha256=AAAA", "1")], "malformed hash"),
            (vec![row("a", &format!("{}=", hash(b"1")), "1")], "malformed hash"),
            (vec![row("a", &hash(b"1"), "1"), row("b", &hash(b"1"), "1")], "does not hold"),
            (vec![row("a", &hash(b"1"), "1"), row("a", &hash(b"2"), "1")], "twice"),
        ];
        for (rows, message) in cases {
            let error = complete(&rows, files, "d").unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }

    #[test]
    fn content_is_held_against_hash_and_size() {
        let row = RecordRow::of("a".into(), b"abc");
        assert!(row.check(b"abc").is_ok());
        assert!(matches!(row.check(b"abd"), Err(RecordError::HashDiffers(_))));
        assert!(matches!(row.check(b"ab"), Err(RecordError::SizeDiffers { .. })));
    }
}
