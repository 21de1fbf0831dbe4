//! Which C library a shared object is, read from the version text inside it.
//!
//! Nothing is executed: an image of another architecture is read as well as one of ours.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The C library of an image; decides between manylinux and musllinux wheels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Libc {
    /// GNU C library, major and minor.
    Glibc(u32, u32),
    /// musl, major and minor.
    Musl(u32, u32),
    /// None was found.
    Unknown,
}

impl fmt::Display for Libc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Glibc(major, minor) => write!(f, "glibc {major}.{minor}"),
            Self::Musl(major, minor) => write!(f, "musl {major}.{minor}"),
            Self::Unknown => f.write_str("an unknown libc"),
        }
    }
}

/// Which family a file's name belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Glibc,
    Musl,
}

/// Looks for the version in a C library that passes by in pieces of any size.
pub(super) struct LibcScan {
    family: Family,
    found: Option<Libc>,
    /// The end of the last piece, for texts that lie across two.
    tail: Vec<u8>,
}

/// No text that is looked for is longer than this.
const OVERLAP: usize = 256;

impl LibcScan {
    /// A scan for the file called `name`, when that is a C library's name.
    pub(super) fn for_file(name: &[u8]) -> Option<Self> {
        let old_glibc = name.starts_with(b"libc-2.") && name.ends_with(b".so");
        let family = if name == b"libc.so.6" || old_glibc {
            Family::Glibc
        } else if name.starts_with(b"ld-musl-") && name.ends_with(b".so.1") {
            Family::Musl
        } else {
            return None;
        };
        Some(Self { family, found: None, tail: Vec::new() })
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if self.found.is_some() {
            return;
        }
        self.tail.extend_from_slice(bytes);
        self.found = match self.family {
            Family::Glibc => find_glibc(&self.tail),
            Family::Musl => find_musl(&self.tail),
        };
        let drop = self.tail.len().saturating_sub(OVERLAP);
        self.tail.drain(..drop);
    }

    /// The result. A musl loader that hides its version counts as 1.1, the oldest that wheels are tagged for.
    pub(super) fn finish(self) -> Option<Libc> {
        match self.family {
            Family::Glibc => self.found,
            Family::Musl => self.found.or(Some(Libc::Musl(1, 1))),
        }
    }
}

/// `GNU C Library (Debian GLIBC 2.36-9) stable release version 2.36.`
fn find_glibc(bytes: &[u8]) -> Option<Libc> {
    let banner = b"GNU C Library ";
    let start = find(bytes, banner)?;
    let line = &bytes[start..];
    let marker = b" release version ";
    let version = &line[find(line, marker)? + marker.len()..];
    let (major, rest) = number(version)?;
    let (minor, rest) = number(rest.strip_prefix(b".")?)?;
    // The number must have ended, or it could go on in the next piece.
    (!rest.is_empty()).then_some(Libc::Glibc(major, minor))
}

/// `1.2.4` as a string of its own, between two NULs.
fn find_musl(bytes: &[u8]) -> Option<Libc> {
    let mut from = 0;
    while let Some(at) = find(&bytes[from..], b"\x001.") {
        from += at + 1;
        if let Some(found) = musl_version(&bytes[from..]) {
            return Some(found);
        }
    }
    None
}

fn musl_version(text: &[u8]) -> Option<Libc> {
    let (major, rest) = number(text)?;
    let (minor, rest) = number(rest.strip_prefix(b".")?)?;
    let (_, rest) = number(rest.strip_prefix(b".")?)?;
    rest.starts_with(b"\0").then_some(Libc::Musl(major, minor))
}

/// A decimal number of at most four digits, and what follows.
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(bytes.get(..digits)?).ok()?;
    (digits <= 4).then_some(())?;
    Some((text.parse().ok()?, &bytes[digits..]))
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let (first, rest) = text.split_first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| byte == first) {
        if bytes[from + at + 1..].starts_with(rest) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(name: &str, content: &[u8], piece: usize) -> Option<Libc> {
        let mut scan = LibcScan::for_file(name.as_bytes())?;
        for piece in content.chunks(piece) {
            scan.update(piece);
        }
        scan.finish()
    }

    #[test]
    fn version_is_found_wherever_the_pieces_end() {
        let mut glibc = vec![7; 700];
        glibc.extend_from_slice(
            b"\0GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\nCopyright",
        );
        let mut musl = vec![7; 700];
        musl.extend_from_slice(b"1.2\x001.5\x001.22.333.4\0\x001.2.4\0x");
        for piece in 1..90 {
            assert_eq!(scan("libc.so.6", &glibc, piece), Some(Libc::Glibc(2, 36)), "{piece}");
            assert_eq!(scan("ld-musl-x86_64.so.1", &musl, piece), Some(Libc::Musl(1, 2)), "{piece}");
        }
        assert_eq!(scan("libc-2.31.so", &glibc, 4096), Some(Libc::Glibc(2, 36)));
    }

    #[test]
    fn other_files_and_other_contents_are_no_libc() {
        for name in ["libc.so", "libm.so.6", "ld-linux-x86-64.so.2", "libc-3.so"] {
            assert_eq!(scan(name, b"GNU C Library x release version 2.36.\n", 4096), None, "{name}");
        }
        assert_eq!(scan("libc.so.6", b"nothing to see", 4096), None);
        assert_eq!(scan("ld-musl-aarch64.so.1", b"nothing to see", 4096), Some(Libc::Musl(1, 1)));
    }
}
