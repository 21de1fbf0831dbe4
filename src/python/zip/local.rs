//! Holds the local headers against the central directory (APPNOTE 4.3.7, 4.3.9).
//!
//! Members must tile the archive from its first byte to the directory: no prefix, no gap, no overlap.

use super::central::{DESCRIPTOR_FLAG, Record};
use super::end::{u16_at, u32_at, u64_at};
use super::error::ZipError;
use super::extra;
use super::read_at::ReadAt;

const HEADER: [u8; 4] = *b"PK\x03\x04";
const HEADER_LEN: usize = 30;
const DESCRIPTOR: [u8; 4] = *b"PK\x07\x08";

/// Checks every record of an archive whose directory begins at `directory`, and sets where each content begins.
pub(super) fn check(source: &dyn ReadAt, records: &mut [Record], directory: u64) -> Result<(), ZipError> {
    records.sort_by_key(|record| record.header_offset);
    let ends: Vec<u64> = records.iter().skip(1).map(|next| next.header_offset).chain([directory]).collect();
    let mut buffer = Vec::new();
    let mut expected = 0;
    for (record, end) in records.iter_mut().zip(ends) {
        if record.header_offset != expected {
            let name = String::from(&*record.member.name);
            return Err(ZipError::Gap { name, expected, found: record.header_offset });
        }
        expected = check_one(source, record, end, &mut buffer)?;
    }
    if expected != directory {
        return Err(ZipError::GapBeforeDirectory { end: expected, directory });
    }
    Ok(())
}

/// Checks one member, which may reach to `end` at most, and gives where it ends.
fn check_one(source: &dyn ReadAt, record: &mut Record, end: u64, buffer: &mut Vec<u8>) -> Result<u64, ZipError> {
    let name = || String::from(&*record.member.name);
    let differs = |field| ZipError::LocalHeader { name: name(), field };
    let room = end - record.header_offset;
    let read_len = (HEADER_LEN + record.name.len()) as u64;
    if room < read_len {
        return Err(differs("length"));
    }
    buffer.resize(HEADER_LEN + record.name.len(), 0);
    source.read_exact_at(buffer, record.header_offset).map_err(ZipError::Read)?;
    let extra_len = usize::from(u16_at(buffer, 28));
    if buffer[..4] != HEADER {
        return Err(differs("signature"));
    }
    if usize::from(u16_at(buffer, 26)) != record.name.len() || buffer[HEADER_LEN..] != record.name[..] {
        return Err(differs("name"));
    }
    let content_at = read_len + extra_len as u64;
    let content_end = content_at.checked_add(record.member.compressed).filter(|end| *end <= room);
    let Some(content_end) = content_end else { return Err(differs("length")) };
    let mut extra = vec![0; extra_len];
    source.read_exact_at(&mut extra, record.header_offset + read_len).map_err(ZipError::Read)?;
    let described = agrees(&buffer[..HEADER_LEN], &extra, record)?;
    record.member.offset = record.header_offset + content_at;
    let after = record.header_offset + content_end;
    if described { descriptor(source, record, after, end) } else { Ok(after) }
}

/// Whether the fixed fields agree; true when a data descriptor follows.
fn agrees(header: &[u8], extra: &[u8], record: &Record) -> Result<bool, ZipError> {
    let member = &record.member;
    let differs = |field| ZipError::LocalHeader { name: String::from(&*member.name), field };
    let flags = u16_at(header, 6);
    if flags & !DESCRIPTOR_FLAG != record.flags & !DESCRIPTOR_FLAG
        || flags & DESCRIPTOR_FLAG < record.flags & DESCRIPTOR_FLAG
    {
        return Err(differs("flags"));
    }
    if u16_at(header, 8) != member.method.number() {
        return Err(differs("compression method"));
    }
    let described = flags & DESCRIPTOR_FLAG != 0;
    let local = extra::widen(&record.name, extra, u32_at(header, 22), u32_at(header, 18), 0)?;
    let crc32 = u32_at(header, 14);
    let unset = described && crc32 == 0 && local.size == 0 && local.compressed == 0;
    if !unset && crc32 != member.crc32 {
        return Err(differs("CRC-32"));
    }
    if !unset && (local.size, local.compressed) != (member.size, member.compressed) {
        return Err(differs("sizes"));
    }
    Ok(described)
}

/// Checks the descriptor that fills `at..end`, with or without signature, with sizes of four or eight bytes.
fn descriptor(source: &dyn ReadAt, record: &Record, at: u64, end: u64) -> Result<u64, ZipError> {
    let mismatch = || ZipError::Descriptor(String::from(&*record.member.name));
    let len = end - at;
    if !matches!(len, 12 | 16 | 20 | 24) {
        return Err(mismatch());
    }
    let mut bytes = [0; 24];
    let bytes = &mut bytes[..usize::try_from(len).map_err(|_| mismatch())?];
    source.read_exact_at(bytes, at).map_err(ZipError::Read)?;
    let fields = match len {
        16 | 24 if bytes[..4] == DESCRIPTOR => &bytes[4..],
        12 | 20 => &bytes[..],
        _ => return Err(mismatch()),
    };
    let (compressed, size) = match fields.len() {
        12 => (u64::from(u32_at(fields, 4)), u64::from(u32_at(fields, 8))),
        _ => (u64_at(fields, 4), u64_at(fields, 12)),
    };
    let member = &record.member;
    if (u32_at(fields, 0), compressed, size) == (member.crc32, member.compressed, member.size) {
        Ok(end)
    } else {
        Err(mismatch())
    }
}
