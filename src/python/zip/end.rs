//! Finds the end-of-central-directory records (APPNOTE 4.3.14 to 4.3.16).
//!
//! It does not read the directory itself.

use super::error::ZipError;
use super::read_at::ReadAt;

const END: [u8; 4] = *b"PK\x05\x06";
const END_LEN: u64 = 22;
const LOCATOR: [u8; 4] = *b"PK\x06\x07";
const LOCATOR_LEN: u64 = 20;
const END64: [u8; 4] = *b"PK\x06\x06";
const END64_LEN: u64 = 56;
const MAX_COMMENT: u64 = 0xffff;

/// Where the central directory is.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Directory {
    /// First byte.
    pub(super) offset: u64,
    /// Bytes.
    pub(super) size: u64,
    /// Number of records.
    pub(super) entries: u64,
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_at(bytes, at)) | u64::from(u32_at(bytes, at + 4)) << 32
}

/// Finds the directory of an archive of `len` bytes.
///
/// The record nearest to the end must be the one: its comment reaches exactly to the end, and nothing lies between
/// it and the directory but the zip64 records.
pub(super) fn find(source: &dyn ReadAt, len: u64) -> Result<Directory, ZipError> {
    let tail_len = len.min(END_LEN + MAX_COMMENT + LOCATOR_LEN + END64_LEN);
    let tail_start = len - tail_len;
    let mut tail = vec![0; usize::try_from(tail_len).map_err(|_| ZipError::NotZip)?];
    source.read_exact_at(&mut tail, tail_start).map_err(ZipError::Read)?;
    let at = tail.windows(4).rposition(|window| window == END).ok_or(ZipError::NotZip)?;
    let record = &tail[at..];
    if (record.len() as u64) < END_LEN {
        return Err(ZipError::NotZip);
    }
    if record.len() as u64 != END_LEN + u64::from(u16_at(record, 20)) {
        return Err(ZipError::Ambiguous("the comment does not end where the archive ends"));
    }
    if u16_at(record, 4) != 0 || u16_at(record, 6) != 0 || u16_at(record, 8) != u16_at(record, 10) {
        return Err(ZipError::Split);
    }
    let end_at = tail_start + at as u64;
    let has_locator = at >= 20 && tail[at - 20..at - 16] == LOCATOR;
    let (directory, directory_end) = if has_locator {
        zip64(&tail[..at], tail_start, record)?
    } else {
        if u16_at(record, 10) == u16::MAX || u32_at(record, 12) == u32::MAX || u32_at(record, 16) == u32::MAX {
            return Err(ZipError::Zip64("the locator is missing"));
        }
        (narrow(record), end_at)
    };
    if directory.offset.checked_add(directory.size) != Some(directory_end) {
        return Err(ZipError::Ambiguous("the central directory does not end where its end record begins"));
    }
    Ok(directory)
}

fn narrow(record: &[u8]) -> Directory {
    Directory {
        entries: u64::from(u16_at(record, 10)),
        size: u64::from(u32_at(record, 12)),
        offset: u64::from(u32_at(record, 16)),
    }
}

/// Reads the zip64 records at the end of `before`, which begins at `start`; `record` is the plain end record.
fn zip64(before: &[u8], start: u64, record: &[u8]) -> Result<(Directory, u64), ZipError> {
    let locator_at = before.len() - 20;
    let locator = &before[locator_at..];
    if u32_at(locator, 4) != 0 || u32_at(locator, 16) != 1 {
        return Err(ZipError::Split);
    }
    let at = locator_at.checked_sub(56).ok_or(ZipError::Zip64("the record is missing"))?;
    let wide = &before[at..locator_at];
    let wide_at = start + at as u64;
    if u64_at(locator, 8) != wide_at || wide[..4] != END64 {
        return Err(ZipError::Zip64("the locator does not point to the record before it"));
    }
    if u64_at(wide, 4) != END64_LEN - 12 {
        return Err(ZipError::Zip64("the record carries extensible data"));
    }
    if u32_at(wide, 16) != 0 || u32_at(wide, 20) != 0 || u64_at(wide, 24) != u64_at(wide, 32) {
        return Err(ZipError::Split);
    }
    let directory = Directory { entries: u64_at(wide, 32), size: u64_at(wide, 40), offset: u64_at(wide, 48) };
    let plain = narrow(record);
    let agrees = |narrow: u64, sentinel: u64, wide: u64| narrow == sentinel || narrow == wide;
    if !agrees(plain.entries, 0xffff, directory.entries)
        || !agrees(plain.size, 0xffff_ffff, directory.size)
        || !agrees(plain.offset, 0xffff_ffff, directory.offset)
    {
        return Err(ZipError::Zip64("the record and the plain one differ"));
    }
    Ok((directory, wide_at))
}
