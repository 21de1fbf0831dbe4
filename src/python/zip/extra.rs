//! Extra fields of a record (APPNOTE 4.5): zip64 sizes, and the Unicode name that may not contradict.
//!
//! Timestamps and owners, which are the other fields in use, are skipped.

use std::collections::BTreeSet;

use super::end::{u16_at, u32_at, u64_at};
use super::error::ZipError;

const ZIP64: u16 = 0x0001;
const UNICODE_COMMENT: u16 = 0x6375;
const UNICODE_NAME: u16 = 0x7075;
const SENTINEL: u32 = u32::MAX;

/// The sizes and the offset of a record after its zip64 field was applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wide {
    pub(super) size: u64,
    pub(super) compressed: u64,
    pub(super) offset: u64,
}

/// Applies `extra` to the 32-bit values of a record; `offset` is zero for a local header.
pub(super) fn widen(name: &[u8], extra: &[u8], size: u32, compressed: u32, offset: u32) -> Result<Wide, ZipError> {
    let bad = |what| ZipError::Extra { name: String::from_utf8_lossy(name).into_owned(), what };
    let mut wide64 = None;
    let mut seen = BTreeSet::new();
    let mut rest = extra;
    while !rest.is_empty() {
        if rest.len() < 4 || rest.len() < 4 + usize::from(u16_at(rest, 2)) {
            return Err(bad("it is cut off"));
        }
        let (id, len) = (u16_at(rest, 0), usize::from(u16_at(rest, 2)));
        let data = &rest[4..4 + len];
        rest = &rest[4 + len..];
        if !seen.insert(id) {
            return Err(bad("one kind appears twice"));
        }
        match id {
            ZIP64 => wide64 = Some(data),
            UNICODE_NAME if !repeats_name(data, name) => return Err(bad("it gives another name")),
            UNICODE_COMMENT => return Err(bad("it gives a comment")),
            _ => {}
        }
    }
    let wanted = [size, compressed, offset].into_iter().filter(|value| *value == SENTINEL).count();
    match wide64 {
        // Some archivers repeat both sizes here that the record has already, which leaves one reading.
        Some(data) if wanted == 0 && repeats(data, size, compressed) => {}
        Some(data) if wanted == 0 && data.len() == 16 => {
            return Err(bad("the zip64 field contradicts the sizes beside it"));
        }
        Some(data) if data.len() != wanted * 8 => return Err(bad("the zip64 field has the wrong length")),
        None if wanted > 0 => return Err(bad("the zip64 field is missing")),
        _ => {}
    }
    let mut values = wide64.unwrap_or_default().chunks_exact(8).map(|chunk| u64_at(chunk, 0));
    let mut take = |narrow: u32| match narrow {
        SENTINEL => values.next().unwrap_or_default(),
        narrow => u64::from(narrow),
    };
    Ok(Wide { size: take(size), compressed: take(compressed), offset: take(offset) })
}

fn repeats(data: &[u8], size: u32, compressed: u32) -> bool {
    data.len() == 16 && [u64_at(data, 0), u64_at(data, 8)] == [u64::from(size), u64::from(compressed)]
}

/// Info-ZIP Unicode path: version 1, CRC-32 of the plain name, the name.
fn repeats_name(data: &[u8], name: &[u8]) -> bool {
    data.len() >= 5 && data[0] == 1 && u32_at(data, 1) == crc32fast::hash(name) && &data[5..] == name
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A zip64 field of these values.
    fn field(values: &[u64]) -> Vec<u8> {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        [&ZIP64.to_le_bytes()[..], &u16::try_from(bytes.len()).unwrap().to_le_bytes(), &bytes].concat()
    }

    #[test]
    fn a_zip64_field_holds_what_is_missing_or_repeats_both_sizes() {
        let sizes = |extra: &[u8], size, compressed| {
            widen(b"a", extra, size, compressed, 0).ok().map(|wide| (wide.size, wide.compressed))
        };
        for (values, size, compressed, expected) in [
            (&[][..], 9, 5, Some((9, 5))),
            (&[9, 5], SENTINEL, SENTINEL, Some((9, 5))),
            (&[9], SENTINEL, 5, Some((9, 5))),
            (&[9, 5], 9, 5, Some((9, 5))),
            (&[9, 6], 9, 5, None),
            (&[9], 9, 5, None),
            (&[9, 5], SENTINEL, 5, None),
            (&[], SENTINEL, 5, None),
        ] {
            let extra = if values.is_empty() { Vec::new() } else { field(values) };
            assert_eq!(sizes(&extra, size, compressed), expected, "{values:?} beside {size} and {compressed}");
        }
    }
}
