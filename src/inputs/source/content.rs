//! Opens and hashes the files of a tree.
//!
//! Links are not followed and nothing but a regular file is read, whatever took its place since the walk.

use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::error::WalkError;
use crate::oci::{Digest, Digester};

/// Bytes read at once; one such buffer a thread.
pub(super) const BUFFER: usize = 128 * 1024;

/// Opens the regular file at `path`; anything else there means that it changed since it was listed.
pub(in crate::inputs) fn open(path: &Path) -> Result<File, WalkError> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path);
    let changed = || WalkError::SourceChanged { path: path.into() };
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(code) if code == Errno::LOOP.raw_os_error() => changed(),
        _ => WalkError::at(path, error),
    })?;
    let is_file = file.metadata().map_err(|source| WalkError::at(path, source))?.is_file();
    if is_file { Ok(file) } else { Err(changed()) }
}

/// The first bytes of the regular file at `path`, `cap` at most.
pub(in crate::inputs) fn head(path: &Path, cap: u64) -> Result<Vec<u8>, WalkError> {
    let mut bytes = Vec::new();
    open(path)?.take(cap).read_to_end(&mut bytes).map_err(|source| WalkError::at(path, source))?;
    Ok(bytes)
}

/// The SHA-256 of the `size` bytes at `path`.
pub(super) fn hash(path: &Path, size: u64, buffer: &mut [u8]) -> Result<Digest, WalkError> {
    let mut file = open(path)?;
    let mut digester = Digester::sha256();
    let mut seen = 0;
    loop {
        let count = match file.read(buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(source) => return Err(WalkError::at(path, source)),
        };
        digester.update(&buffer[..count]);
        seen += count as u64;
        if seen > size {
            break;
        }
    }
    if seen == size { Ok(digester.finish()) } else { Err(WalkError::SourceChanged { path: path.into() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_opened_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("n".repeat(300));
        let error = hash(&path, 0, &mut [0; 16]).unwrap_err();
        assert!(matches!(&error, WalkError::Unreadable { path: named, .. } if *named == path), "{error:?}");
    }

    #[test]
    fn only_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
        for path in [pipe.as_path(), folder.path()] {
            assert!(matches!(open(path), Err(WalkError::SourceChanged { .. })), "{path:?}");
        }
    }
}
