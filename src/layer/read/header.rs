//! One tar header block, read as Go's `archive/tar` reads it: V7, ustar, GNU and STAR.
//!
//! What extended headers change is the work of `pax` and `tar`.

use super::tar::TarError;

/// Length of every block of a tar.
pub(super) const BLOCK: usize = 512;

/// A header block.
pub(super) type Block = [u8; BLOCK];

/// The fields of a header block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Vec<u8>,
    pub(super) link: Vec<u8>,
    pub(super) size: i64,
    pub(super) mode: i64,
    pub(super) uid: i64,
    pub(super) gid: i64,
    pub(super) mtime: i64,
    pub(super) kind: u8,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    V7,
    Ustar,
    Gnu,
    Star,
}

impl Header {
    /// Reads `block`, whose checksum must be right.
    pub(super) fn read(block: &Block) -> Result<Self, TarError> {
        check(block)?;
        let format = format(block);
        let mut header = Self {
            name: string(&block[..100]).to_vec(),
            mode: number(&block[100..108])?,
            uid: number(&block[108..116])?,
            gid: number(&block[116..124])?,
            size: number(&block[124..136])?,
            mtime: number(&block[136..148])?,
            kind: block[156],
            link: string(&block[157..257]).to_vec(),
        };
        if format != Format::V7 {
            // Devices are not kept, but Go refuses a header in which their numbers are wrong.
            number(&block[329..337])?;
            number(&block[337..345])?;
        }
        let prefix = match format {
            Format::V7 => &[][..],
            Format::Ustar => string(&block[345..500]),
            Format::Gnu => gnu_prefix(block),
            Format::Star => {
                number(&block[476..488])?;
                number(&block[488..500])?;
                string(&block[345..476])
            }
        };
        if !prefix.is_empty() {
            header.name = [prefix, b"/", &header.name].concat();
        }
        Ok(header)
    }
}

/// Go before 1.8 put a ustar prefix into GNU headers, over the fields of two times; where these are
/// no numbers, its reader takes them for that prefix.
fn gnu_prefix(block: &Block) -> &[u8] {
    let is_time = |field: &[u8]| field[0] == 0 || number(field).is_ok();
    let prefix = string(&block[345..500]);
    let is_mangled = !is_time(&block[345..357]) || !is_time(&block[357..369]);
    if is_mangled && prefix.is_ascii() { prefix } else { &[] }
}

fn format(block: &Block) -> Format {
    match (&block[257..263], &block[263..265], &block[508..512]) {
        (b"ustar\0", _, b"tar\0") => Format::Star,
        (b"ustar\0", _, _) => Format::Ustar,
        (b"ustar ", b" \0", _) => Format::Gnu,
        _ => Format::V7,
    }
}

/// The checksum over unsigned bytes (POSIX) or signed ones (Sun's old tar), its own field taken as spaces.
fn check(block: &Block) -> Result<(), TarError> {
    let mut unsigned = 0_i64;
    let mut signed = 0_i64;
    for (at, byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { *byte };
        unsigned += i64::from(byte);
        signed += i64::from(byte.cast_signed());
    }
    let written = octal(&block[148..156])?;
    if written == unsigned || written == signed { Ok(()) } else { Err(TarError::Checksum) }
}

/// The bytes up to the first NUL.
pub(super) fn string(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number in octal, or in base 256 when the first bit is set.
fn number(field: &[u8]) -> Result<i64, TarError> {
    let Some((first, rest)) = field.split_first().filter(|(first, _)| **first & 0x80 != 0) else {
        return octal(field);
    };
    let invert = if first & 0x40 != 0 { 0xff } else { 0 };
    let mut value = u64::from((first ^ invert) & 0x7f);
    for byte in rest {
        if value >> 56 != 0 {
            return Err(TarError::Number);
        }
        value = value << 8 | u64::from(byte ^ invert);
    }
    let value = i64::try_from(value).map_err(|_| TarError::Number)?;
    Ok(if invert == 0 { value } else { !value })
}

fn octal(field: &[u8]) -> Result<i64, TarError> {
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    let Some(start) = field.iter().position(|byte| !is_padding(byte)) else { return Ok(0) };
    let end = field.iter().rposition(|byte| !is_padding(byte)).map_or(start, |last| last + 1);
    let digits = string(&field[start..end]);
    if digits.is_empty() || !digits.iter().all(|byte| (b'0'..=b'7').contains(byte)) {
        return Err(TarError::Number);
    }
    digits
        .iter()
        .try_fold(0_i64, |value, digit| value.checked_mul(8)?.checked_add(i64::from(digit - b'0')))
        .ok_or(TarError::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b" 644 \0\0\0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"12\x003456\0", Some(0o12)),
            (b"0000648\0", None),
            (b"-000644\0", None),
            (b"\x80\0\0\0\0\0\x01\0", Some(256)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\x80\x01\0\0\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number(field).ok(), expected, "{}", field.escape_ascii());
        }
    }
}
