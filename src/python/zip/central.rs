//! Reads the central directory (APPNOTE 4.3.12).
//!
//! Whether the local headers agree is the work of `local`.

use super::archive::{Limits, Member, Method};
use super::end::{u16_at, u32_at};
use super::error::ZipError;
use super::{extra, name};

const RECORD: [u8; 4] = *b"PK\x01\x02";
const RECORD_LEN: usize = 46;
/// Deflate level bits, data descriptor, UTF-8 name: the flags that a wheel may have.
const KNOWN_FLAGS: u16 = 0b0000_1000_0000_1110;
pub(super) const DESCRIPTOR_FLAG: u16 = 1 << 3;
const UTF8_FLAG: u16 = 1 << 11;
const HOST_UNIX: u8 = 3;
const HOST_DARWIN: u8 = 19;

/// One record: the member and what its local header must repeat.
pub(super) struct Record {
    pub(super) member: Member,
    pub(super) name: Vec<u8>,
    pub(super) flags: u16,
    pub(super) header_offset: u64,
}

/// Reads `entries` records, which must fill `bytes` exactly.
pub(super) fn read(bytes: &[u8], entries: u64, limits: &Limits) -> Result<Vec<Record>, ZipError> {
    let mut records = Vec::new();
    let mut rest = bytes;
    for index in 0..entries {
        let bad = |what| ZipError::Record { index, what };
        if rest.len() < RECORD_LEN || rest[..4] != RECORD {
            return Err(bad("it is missing"));
        }
        let lens = [28, 30, 32].map(|at| usize::from(u16_at(rest, at)));
        let total = RECORD_LEN + lens.iter().sum::<usize>();
        if rest.len() < total {
            return Err(bad("it is cut off"));
        }
        let (name, tail) = rest[RECORD_LEN..total].split_at(lens[0]);
        let (extra, comment) = tail.split_at(lens[1]);
        if std::str::from_utf8(comment).is_err() {
            return Err(bad("its comment is no UTF-8"));
        }
        if !matches!(u16_at(rest, 34), 0) {
            return Err(ZipError::Split);
        }
        records.push(record(&rest[..RECORD_LEN], name, extra, limits)?);
        rest = &rest[total..];
    }
    if !rest.is_empty() {
        return Err(ZipError::Ambiguous("the central directory holds more than its records"));
    }
    Ok(records)
}

fn record(fixed: &[u8], raw_name: &[u8], extra: &[u8], limits: &Limits) -> Result<Record, ZipError> {
    let flags = u16_at(fixed, 8);
    let lossy = || String::from_utf8_lossy(raw_name).into_owned();
    if flags & !KNOWN_FLAGS != 0 {
        return Err(ZipError::Flags { name: lossy(), flags });
    }
    let (name, folder) = name::check(raw_name, flags & UTF8_FLAG != 0)?;
    let method = match u16_at(fixed, 10) {
        0 => Method::Stored,
        8 => Method::Deflated,
        method => return Err(ZipError::Method { name: lossy(), method }),
    };
    let wide = extra::widen(raw_name, extra, u32_at(fixed, 24), u32_at(fixed, 20), u32_at(fixed, 42))?;
    let mode = unix_mode(fixed[5], u32_at(fixed, 38), folder).map_err(|mode| ZipError::Kind { name: lossy(), mode })?;
    if folder && wide.size != 0 {
        return Err(ZipError::FolderContent(lossy()));
    }
    if method == Method::Stored && wide.size != wide.compressed {
        return Err(ZipError::Content { name: lossy(), what: "it is stored, but its two sizes differ" });
    }
    if limits.is_bomb(wide.compressed, wide.size) {
        return Err(ZipError::Bomb { name: lossy(), compressed: wide.compressed, size: wide.size });
    }
    let member = Member {
        name,
        folder,
        method,
        crc32: u32_at(fixed, 16),
        compressed: wide.compressed,
        size: wide.size,
        offset: 0,
        mode,
    };
    Ok(Record { member, name: raw_name.to_vec(), flags, header_offset: wide.offset })
}

/// The Unix permissions in the external attributes, where the host system has such; the mode itself when it is that
/// of a link, a device, a folder by mode but not by name, or has more than permissions.
fn unix_mode(host: u8, external: u32, folder: bool) -> Result<Option<u32>, u32> {
    const KIND: u32 = 0o170_000;
    const FOLDER: u32 = 0o040_000;
    const FILE: u32 = 0o100_000;
    let mode = external >> 16;
    let kind_fits = match mode & KIND {
        0 => true,
        FOLDER => folder,
        FILE => !folder,
        _ => false,
    };
    // Folders are made by the writer with its own mode, so that a sticky or setgid folder is no threat but no use either.
    if !kind_fits || (mode & 0o7000 != 0 && !folder) {
        return Err(mode);
    }
    Ok(matches!(host, HOST_UNIX | HOST_DARWIN).then_some(mode & 0o777))
}
