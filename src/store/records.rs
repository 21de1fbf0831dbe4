//! Records: small values under a kind and a key.
//!
//! A record's file holds its own checksum and its key; one that does not match is removed and reported
//! as absent. This module does not know what the values mean.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use super::{Store, StoreError, folder};
use crate::oci::Digest;

const MAGIC: &str = "lapstrake-record 1 ";
const CAP: u64 = 256 * 1024 * 1024;

impl Store {
    /// The value under `kind` and `key`; `None` when absent or damaged.
    ///
    /// # Errors
    /// Fails when the file is there and cannot be read, or `kind` is not a word.
    pub fn record(&self, kind: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let path = self.record_path(kind, key)?;
        let found = read_record(&path)?.filter(|(found, _)| found == key);
        if found.is_none() {
            folder::remove(&path)?;
        }
        Ok(found.map(|(_, value)| value))
    }

    /// Whether something is kept under `kind` and `key`. It is not read: what is damaged is found by [`Store::record`].
    ///
    /// # Errors
    /// Fails when `kind` is not a word.
    pub fn has_record(&self, kind: &str, key: &str) -> Result<bool, StoreError> {
        Ok(self.record_path(kind, key)?.is_file())
    }

    /// Puts a value under `kind` and `key`, replacing the one before.
    ///
    /// # Errors
    /// Fails when it cannot be written, or `kind` is not a word.
    pub fn put_record(&self, kind: &str, key: &str, value: &[u8]) -> Result<(), StoreError> {
        let path = self.record_path(kind, key)?;
        let body = [format!("{}\n{key}\n", key.len()).as_bytes(), value].concat();
        let head = format!("{MAGIC}{}\n", Digest::of(&body));
        let need = Some((head.len() + body.len()) as u64);
        let mut file = folder::temporary(&self.inner.temporary_folder())?;
        let written = file.write_all(head.as_bytes()).and_then(|()| file.write_all(&body));
        written.map_err(|error| StoreError::sized("write", &path, need, error))?;
        folder::place_in_store(file, &path, 0o644)
    }

    /// Removes the value under `kind` and `key`, when there is one.
    ///
    /// # Errors
    /// Fails when it cannot be removed, or `kind` is not a word.
    pub fn remove_record(&self, kind: &str, key: &str) -> Result<(), StoreError> {
        folder::remove(&self.record_path(kind, key)?)
    }

    /// All keys and values of a kind, in order of their keys.
    ///
    /// # Errors
    /// Fails when a file is there and cannot be read, or `kind` is not a word.
    pub fn records(&self, kind: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let mut found = Vec::new();
        for shard in folder::names(&self.kind_folder(kind)?)? {
            for path in folder::names(&shard)? {
                found.extend(read_record(&path)?);
            }
        }
        found.sort();
        Ok(found)
    }

    fn kind_folder(&self, kind: &str) -> Result<PathBuf, StoreError> {
        let is_word = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if kind.is_empty() || !kind.bytes().all(is_word) {
            return Err(StoreError::Kind(kind.to_owned()));
        }
        Ok(self.inner.root.join("records").join(kind))
    }

    fn record_path(&self, kind: &str, key: &str) -> Result<PathBuf, StoreError> {
        let name = Digest::of(key.as_bytes());
        Ok(self.kind_folder(kind)?.join(&name.hex()[..2]).join(name.hex()))
    }
}

/// The key and value in a record's file; `None` when there is no whole record. Marks it as used.
fn read_record(path: &Path) -> Result<Option<(String, Vec<u8>)>, StoreError> {
    let Some(file) = folder::open_regular(path)? else { return Ok(None) };
    let mut bytes = Vec::new();
    (&file).take(CAP).read_to_end(&mut bytes).map_err(|error| StoreError::io("read", path, error))?;
    let found = parse(&bytes);
    if found.is_some() {
        folder::touch(&file);
    }
    Ok(found)
}

/// Parses a record's bytes; `None` when they are not whole.
pub(super) fn parse(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let (checksum, body) = split_line(bytes.strip_prefix(MAGIC.as_bytes())?)?;
    if checksum != Digest::of(body).as_str() {
        return None;
    }
    let (key_len, rest) = split_line(body)?;
    let (key, value) = rest.split_at_checked(key_len.parse().ok()?)?;
    Some((String::from_utf8(key.to_vec()).ok()?, value.strip_prefix(b"\n")?.to_vec()))
}

fn split_line(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_with_any_byte_changed_or_missing_is_no_record() {
        let body = b"3\nkey\nvalue";
        let whole = [format!("{MAGIC}{}\n", Digest::of(body)).as_bytes(), body].concat();
        assert_eq!(parse(&whole), Some(("key".to_owned(), b"value".to_vec())));
        for at in 0..whole.len() {
            let mut flipped = whole.clone();
            flipped[at] ^= 1;
            assert_eq!(parse(&flipped), None, "byte {at}");
            assert_eq!(parse(&whole[..at]), None, "cut at {at}");
        }
    }
}
