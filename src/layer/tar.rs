//! The tar rules: one [`Entry`] to exactly one sequence of header blocks.
//!
//! POSIX.1-2001 interchange format: a `ustar` header, preceded by a PAX extended header where `ustar`
//! cannot hold a value. It writes neither GNU extensions nor base-256 numbers, names of users, or
//! access times.
//!
//! A name of at most 100 ASCII bytes stands in the `ustar` name field; every other name stands in a PAX
//! `path` (or `linkpath`) record, and the prefix field is never used. PAX values are UTF-8 by
//! definition; where a name is not UTF-8 a `hdrcharset=BINARY` record goes ahead and the exact bytes
//! follow (POSIX.1-2017 `pax`, "pax Extended Header"). GNU tar 1.34, Go 1.26 `archive/tar` and Python 3.11
//! `tarfile` give back the exact bytes of such names, of long ones and of those with newlines, in paths and in
//! link targets; GNU tar warns that it does not know `hdrcharset` and exits with success. The `tar` crate (0.4)
//! does not: it cuts records at newlines.

use super::read::CAPABILITY;
use super::{Entry, EntryKind};

/// Size of a tar block in bytes.
pub(super) const BLOCK: usize = 512;

/// The two zero blocks that end an archive.
pub(crate) const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// The largest value of a 7-digit octal field (mode, uid, gid).
const SMALL_MAX: u64 = 0o777_7777;

/// The largest value of an 11-digit octal field (size, mtime).
const LARGE_MAX: u64 = 0o777_7777_7777;

/// Width of the `name` and `linkname` fields.
const NAME_WIDTH: usize = 100;

/// The name of every PAX header: fixed, so that it says nothing and compresses to nothing.
const PAX_NAME: &[u8] = b"PaxHeaders.0/entry";

/// The zero bytes that follow `size` bytes of content, up to the next block.
pub(crate) fn padding(size: u64) -> &'static [u8] {
    let tail = (size % BLOCK as u64) as usize;
    if tail == 0 { &[] } else { &END[..BLOCK - tail] }
}

/// Appends the header blocks of `entry` to `out`, with a PAX header ahead where one is needed.
///
/// The caller has checked that a symbolic link's target is neither empty nor holds a NUL.
pub(crate) fn push_header(entry: &Entry, out: &mut Vec<u8>) {
    push_header_with(entry, None, out);
}

/// The same for a file with the attribute `security.capability`.
pub(crate) fn push_header_with(entry: &Entry, capability: Option<&[u8]>, out: &mut Vec<u8>) {
    let name = name_of(entry);
    let (typeflag, link, size): (u8, &[u8], u64) = match &entry.kind {
        EntryKind::Directory => (b'5', b"", 0),
        EntryKind::File { size } => (b'0', b"", *size),
        EntryKind::Symlink { target } => (b'2', target, 0),
        EntryKind::Hardlink { target } => (b'1', target.as_bytes(), 0),
    };
    let mut records = pax_records(entry, &name, link, size);
    if let Some(capability) = capability {
        push_record(&mut records, CAPABILITY, capability);
    }
    if !records.is_empty() {
        let fields = Fields { name: PAX_NAME, mode: 0o644, size: records.len() as u64, ..Fields::new(b'x') };
        fields.push(out);
        out.extend_from_slice(&records);
        out.extend_from_slice(padding(records.len() as u64));
    }
    let fields = Fields {
        name: &fallback(&name),
        mode: u64::from(entry.mode & 0o7777),
        uid: fitting(entry.uid, SMALL_MAX),
        gid: fitting(entry.gid, SMALL_MAX),
        size: fitting(size, LARGE_MAX),
        mtime: u64::try_from(entry.mtime).map_or(0, |mtime| fitting(mtime, LARGE_MAX)),
        link: &fallback(link),
        typeflag,
    };
    fields.push(out);
}

/// The path, with the trailing slash that marks a directory.
fn name_of(entry: &Entry) -> Vec<u8> {
    let mut name = entry.path.as_bytes().to_vec();
    if entry.kind == EntryKind::Directory {
        name.push(b'/');
    }
    name
}

/// The value, or zero where a PAX record stands for it.
fn fitting(value: u64, max: u64) -> u64 {
    if value <= max { value } else { 0 }
}

fn fits_name(name: &[u8]) -> bool {
    name.len() <= NAME_WIDTH && name.is_ascii()
}

/// What a reader without PAX sees: the name itself where it fits, else an ASCII shadow of its beginning.
fn fallback(name: &[u8]) -> Vec<u8> {
    if fits_name(name) {
        return name.to_vec();
    }
    let shadow = |b: &u8| if b.is_ascii() { *b } else { b'_' };
    let mut short: Vec<u8> = name.iter().take(NAME_WIDTH).map(shadow).collect();
    if name.ends_with(b"/")
        && let Some(last) = short.last_mut()
    {
        *last = b'/';
    }
    short
}

/// All PAX records that `entry` needs, in a fixed order; empty when it needs none.
fn pax_records(entry: &Entry, name: &[u8], link: &[u8], size: u64) -> Vec<u8> {
    let mut records = Vec::new();
    let names = [("path", name), ("linkpath", link)];
    let long = names.iter().filter(|(_, value)| !fits_name(value));
    if long.clone().any(|(_, value)| std::str::from_utf8(value).is_err()) {
        push_record(&mut records, "hdrcharset", b"BINARY");
    }
    for (key, value) in long {
        push_record(&mut records, key, value);
    }
    for (key, value, max) in [("size", size, LARGE_MAX), ("uid", entry.uid, SMALL_MAX), ("gid", entry.gid, SMALL_MAX)] {
        if value > max {
            push_record(&mut records, key, value.to_string().as_bytes());
        }
    }
    if u64::try_from(entry.mtime).is_ok_and(|mtime| mtime <= LARGE_MAX) {
        return records;
    }
    push_record(&mut records, "mtime", entry.mtime.to_string().as_bytes());
    records
}

/// Appends `LENGTH KEY=VALUE\n`, where LENGTH counts itself.
fn push_record(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length != rest + decimal_digits(length) {
        length = rest + decimal_digits(length);
    }
    out.extend_from_slice(format!("{length} {key}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn decimal_digits(number: usize) -> usize {
    number.to_string().len()
}

/// The values of one `ustar` header, all of which fit their fields.
struct Fields<'a> {
    name: &'a [u8],
    mode: u64,
    uid: u64,
    gid: u64,
    size: u64,
    mtime: u64,
    typeflag: u8,
    link: &'a [u8],
}

impl Fields<'_> {
    fn new(typeflag: u8) -> Self {
        Self { name: b"", mode: 0, uid: 0, gid: 0, size: 0, mtime: 0, typeflag, link: b"" }
    }

    /// Appends the 512 bytes (POSIX.1-2017 `pax`, "ustar Interchange Format").
    fn push(&self, out: &mut Vec<u8>) {
        let mut block = [0u8; BLOCK];
        block[..self.name.len()].copy_from_slice(self.name);
        octal(&mut block[100..107], self.mode);
        octal(&mut block[108..115], self.uid);
        octal(&mut block[116..123], self.gid);
        octal(&mut block[124..135], self.size);
        octal(&mut block[136..147], self.mtime);
        block[148..156].fill(b' ');
        block[156] = self.typeflag;
        block[157..157 + self.link.len()].copy_from_slice(self.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        octal(&mut block[329..336], 0);
        octal(&mut block[337..344], 0);
        let sum: u64 = block.iter().map(|b| u64::from(*b)).sum();
        octal(&mut block[148..154], sum);
        block[154] = 0;
        out.extend_from_slice(&block);
    }
}

/// Fills `field` with the octal digits of `value`, zeros in front.
fn octal(field: &mut [u8], mut value: u64) {
    for digit in field.iter_mut().rev() {
        *digit = b'0' + (value & 7) as u8;
        value >>= 3;
    }
}

#[cfg(test)]
mod tests {
    use super::super::EntryPath;
    use super::*;

    fn entry(path: &[u8], kind: EntryKind) -> Entry {
        Entry { path: EntryPath::parse(path).unwrap(), kind, mode: 0o644, uid: 0, gid: 0, mtime: 0 }
    }

    fn header(entry: &Entry) -> Vec<u8> {
        let mut out = Vec::new();
        push_header(entry, &mut out);
        out
    }

    #[test]
    fn plain_header_has_the_bytes_that_posix_says() {
        let bytes = header(&Entry {
            mode: 0o4755,
            uid: 1000,
            gid: 7,
            mtime: 9,
            ..entry(b"bin/x", EntryKind::File { size: 10 })
        });
        assert_eq!(bytes.len(), BLOCK);
        assert_eq!(&bytes[..6], b"bin/x\0");
        assert_eq!(&bytes[100..148], b"0004755\x000001750\x000000007\x0000000000012\x0000000000011\0");
        assert_eq!(&bytes[156..158], b"0\0");
        assert_eq!(&bytes[257..265], b"ustar\x0000");
        assert!(bytes[265..329].iter().all(|b| *b == 0), "no user or group name");
        assert!(bytes[345..].iter().all(|b| *b == 0), "no prefix");
        let sum: u64 = bytes.iter().map(|b| u64::from(*b)).sum::<u64>()
            - bytes[148..156].iter().map(|b| u64::from(*b)).sum::<u64>()
            + 8 * 32;
        assert_eq!(&bytes[148..156], format!("{sum:06o}\0 ").as_bytes());
    }

    #[test]
    fn values_that_do_not_fit_stand_in_records() {
        let file = |size| EntryKind::File { size };
        let base = entry(b"f", file(0));
        let long = vec![b'n'; 101];
        for (entry, records) in [
            (entry(b"f", file(LARGE_MAX)), ""),
            (entry(b"f", file(10 << 30)), "20 size=10737418240\n"),
            (Entry { uid: SMALL_MAX, ..base.clone() }, ""),
            (Entry { uid: SMALL_MAX + 1, ..base.clone() }, "15 uid=2097152\n"),
            (Entry { gid: SMALL_MAX + 1, ..base.clone() }, "15 gid=2097152\n"),
            (Entry { mtime: -1, ..base.clone() }, "12 mtime=-1\n"),
            (Entry { mtime: 1 << 33, ..base.clone() }, "20 mtime=8589934592\n"),
            (entry(&[b'n'; 100], file(0)), ""),
            (entry(&long, file(0)), &format!("111 path={}\n", "n".repeat(101))),
            (entry(&[b'n'; 100], EntryKind::Directory), &format!("111 path={}/\n", "n".repeat(100))),
            (entry("é".as_bytes(), file(0)), "11 path=é\n"),
            (entry(b"l", EntryKind::Symlink { target: long.clone() }), &format!("115 linkpath={}\n", "n".repeat(101))),
            (entry(b"a\nb", file(0)), ""),
        ] {
            let bytes = header(&entry);
            if records.is_empty() {
                assert_eq!(bytes.len(), BLOCK, "{entry:?}");
            } else {
                assert_eq!(bytes[156], b'x');
                assert_eq!(&bytes[BLOCK..BLOCK + records.len()], records.as_bytes(), "{entry:?}");
                assert_eq!(bytes.len(), 3 * BLOCK);
            }
        }
    }

    #[test]
    fn names_that_are_not_utf8_are_declared_binary() {
        let bytes = header(&entry(b"a\xff", EntryKind::Symlink { target: b"\xfe\n".to_vec() }));
        let records = b"21 hdrcharset=BINARY\n11 path=a\xff\n15 linkpath=\xfe\n\n";
        assert_eq!(&bytes[BLOCK..BLOCK + records.len()], records);
    }

    #[test]
    fn record_length_counts_itself_at_the_carry() {
        for length in 1..2000 {
            let mut out = Vec::new();
            push_record(&mut out, "path", &vec![b'x'; length]);
            let said: usize = std::str::from_utf8(&out).unwrap().split_once(' ').unwrap().0.parse().unwrap();
            assert_eq!(said, out.len());
        }
    }

    #[test]
    fn padding_fills_the_block() {
        for (size, expected) in [(0, 0), (1, 511), (511, 1), (512, 0), (513, 511), (10 << 30, 0)] {
            assert_eq!(padding(size).len(), expected, "{size}");
        }
    }
}
