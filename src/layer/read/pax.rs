//! The records of a PAX extended header, read as Go's `archive/tar` reads them.
//!
//! Stricter than Go where two readers could see two files: a record that is there twice with two
//! values, a name in a character set of its own, a sparse map.

use super::header::Header;
use super::tar::TarError;

/// The records of one extended header that mean something to a layer's reader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Pax {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<Vec<u8>>,
    uid: Option<Vec<u8>>,
    gid: Option<Vec<u8>>,
    mtime: Option<Vec<u8>>,
    capability: Option<Vec<u8>>,
}

/// The record of a file's capabilities, as Go's `archive/tar` and GNU tar write extended attributes.
pub(in crate::layer) const CAPABILITY: &str = "SCHILY.xattr.security.capability";

impl Pax {
    /// Reads the records of an `x` header.
    pub(super) fn read(mut bytes: &[u8]) -> Result<Self, TarError> {
        let mut pax = Self::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or(TarError::Pax)?;
            bytes = rest;
            pax.take(key, value)?;
        }
        Ok(pax)
    }

    /// Checks the records of a `g` header, which Go passes over: one that would rename, resize or relink what
    /// follows is refused, since other readers obey it.
    pub(super) fn check_global(bytes: &[u8]) -> Result<(), TarError> {
        let global = Self::read(bytes)?;
        if global.path.is_some() || global.link.is_some() || global.size.is_some() {
            return Err(TarError::GlobalPax);
        }
        Ok(())
    }

    fn take(&mut self, key: &[u8], value: &[u8]) -> Result<(), TarError> {
        let charset: [&[u8]; 3] = [b"", b"BINARY", b"ISO-IR 10646 2000 UTF-8"];
        let field = match key {
            b"path" => &mut self.path,
            b"linkpath" => &mut self.link,
            b"size" => &mut self.size,
            b"uid" => &mut self.uid,
            b"gid" => &mut self.gid,
            b"mtime" => &mut self.mtime,
            _ if key == CAPABILITY.as_bytes() => &mut self.capability,
            b"atime" | b"ctime" => return time(value).map(drop),
            b"hdrcharset" if !charset.contains(&value) => return Err(TarError::Charset),
            _ if key.starts_with(b"GNU.sparse.") => return Err(TarError::Sparse),
            _ => return Ok(()),
        };
        if field.as_deref().is_some_and(|before| before != value) {
            return Err(TarError::DuplicateRecord { key: String::from_utf8_lossy(key).into_owned() });
        }
        *field = Some(value.to_vec());
        Ok(())
    }

    /// The file's capabilities (capabilities(7), "File capabilities"), when it has any.
    pub(super) fn take_capability(&mut self) -> Option<Vec<u8>> {
        self.capability.take().filter(|value| !value.is_empty())
    }

    /// Puts the records in the place of the header's fields. An empty value leaves the field as it is, as in Go.
    pub(super) fn apply(self, header: &mut Header) -> Result<(), TarError> {
        let set = |value: Option<Vec<u8>>| value.filter(|value| !value.is_empty());
        if let Some(path) = set(self.path) {
            header.name = path;
        }
        if let Some(link) = set(self.link) {
            header.link = link;
        }
        for (value, field) in [(self.size, &mut header.size), (self.uid, &mut header.uid), (self.gid, &mut header.gid)]
        {
            if let Some(value) = set(value) {
                *field = integer(&value)?;
            }
        }
        if let Some(mtime) = set(self.mtime) {
            header.mtime = time(&mtime)?;
        }
        Ok(())
    }
}

/// The key, value and rest of `length key=value\n`.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(integer(&bytes[..space]).ok()?).ok()?;
    if length < 5 || length > bytes.len() || length <= space + 1 {
        return None;
    }
    let (record, rest) = bytes.split_at(length);
    let record = record[space + 1..].strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&record[..equals], &record[equals + 1..]);
    let is_text = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname");
    let checked = if is_text { value } else { key };
    (!key.is_empty() && !checked.contains(&0)).then_some((key, value, rest))
}

fn integer(text: &[u8]) -> Result<i64, TarError> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(TarError::Pax)
}

/// The whole seconds of `seconds[.fraction]`, rounded down; an empty value is none.
fn time(text: &[u8]) -> Result<i64, TarError> {
    if text.is_empty() {
        return Ok(0);
    }
    let dot = text.iter().position(|byte| *byte == b'.').unwrap_or(text.len());
    let fraction = text.get(dot + 1..).unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(TarError::Pax);
    }
    let seconds = integer(&text[..dot])?;
    let rounds_down = text.starts_with(b"-") && fraction.iter().any(|digit| *digit != b'0');
    Ok(if rounds_down { seconds.saturating_sub(1) } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header { name: b"n".into(), link: b"l".into(), size: 1, mode: 0, uid: 2, gid: 3, mtime: 4, kind: b'0' }
    }

    /// A record with its right length, which counts itself.
    fn record(text: &str) -> Vec<u8> {
        let digits = if text.len() + 4 < 10 { 1 } else { 2 };
        format!("{} {text}\n", text.len() + digits + 2).into_bytes()
    }

    #[test]
    fn records_take_the_place_of_fields_and_empty_ones_do_not() {
        let mut read = header();
        let records = ["path=a/b c", "size=7", "mtime=-1.50", "linkpath=", "uid=99", "atime=", "unknown=x"].map(record);
        Pax::read(&records.concat()).unwrap().apply(&mut read).unwrap();
        let expected = Header { name: b"a/b c".into(), size: 7, uid: 99, mtime: -2, ..header() };
        assert_eq!(read, expected);
    }

    #[test]
    fn malformed_records_are_refused() {
        assert!(Pax::read(b"9 path=a\n").is_ok());
        for bytes in
            [&b"9 path=a"[..], b"8 path=a\n", b"11 path=a\n", b"-9 path=a\n", b" path=a\n", b"9path=a\n\n", b"7 path\n"]
        {
            assert!(Pax::read(bytes).is_err(), "{}", bytes.escape_ascii());
        }
        for text in ["=ab", "pa\0h=a", "path=\0a", "uname=a\0", "atime=1.x", "atime=x"] {
            assert!(Pax::read(&record(text)).is_err(), "{}", text.escape_debug());
        }
        for text in ["size=1x", "uid=", "mtime=1.5.2"] {
            let applied = Pax::read(&record(text)).unwrap().apply(&mut header());
            assert_eq!(applied.is_err(), text != "uid=", "{text}");
        }
    }

    #[test]
    fn records_that_two_readers_could_read_in_two_ways_are_refused() {
        let twice = |second: &str| Pax::read(&[record("path=a"), record(second)].concat());
        assert!(twice("path=a").is_ok());
        assert!(matches!(twice("path=b"), Err(TarError::DuplicateRecord { .. })));
        assert!(matches!(Pax::read(&record("hdrcharset=UTF-16")), Err(TarError::Charset)));
        assert!(matches!(Pax::read(&record("GNU.sparse.major=1")), Err(TarError::Sparse)));
        assert!(Pax::check_global(&record("comment=0123456789abcdef")).is_ok());
        assert!(matches!(Pax::check_global(&record("path=a")), Err(TarError::GlobalPax)));
    }
}
