//! A blob as a part of a file, checked while it is read.
//!
//! Where in the file a blob begins is for the readers of layouts and archives to say.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::SinkError;
use crate::oci::{Descriptor, Digest, Digester};

/// Where the bytes of a blob are; can be opened any number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobSlice {
    path: PathBuf,
    offset: u64,
}

impl BlobSlice {
    pub(super) fn new(path: &Path, offset: u64) -> Self {
        Self { path: path.to_owned(), offset }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the blob; reading it ends in an error when the bytes are not what `blob` says.
    ///
    /// # Errors
    /// Fails when the file cannot be opened.
    pub fn open(&self, blob: &Descriptor) -> io::Result<SliceReader> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.offset))?;
        let digester = Some(Digester::new(blob.digest.algorithm()));
        Ok(SliceReader { file: file.take(blob.size), digester, expected: blob.digest.clone(), size: blob.size })
    }
}

/// The bytes of a blob in a file.
pub struct SliceReader {
    file: io::Take<File>,
    digester: Option<Digester>,
    expected: Digest,
    size: u64,
}

impl Read for SliceReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        let read = self.file.read(out)?;
        if let Some(digester) = &mut self.digester {
            digester.update(&out[..read]);
        }
        // With the last bytes and not after them: whoever passes them on never has all of a wrong blob.
        if (read == 0 || self.file.limit() == 0)
            && let Some(digester) = self.digester.take()
        {
            self.end(digester.finish())?;
        }
        Ok(read)
    }
}

impl SliceReader {
    fn end(&self, found: Digest) -> io::Result<()> {
        let expected = self.expected.clone();
        match self.file.limit() {
            0 if found == expected => Ok(()),
            0 => Err(io::Error::new(io::ErrorKind::InvalidData, SinkError::Mismatch { expected, found })),
            left => {
                let error = SinkError::Size { digest: expected, expected: self.size, found: self.size - left };
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_bytes_end_in_an_error_and_never_in_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"..blob..").unwrap();
        for (said, offset, expected) in [
            (Descriptor::of("a/b", b"blob"), 2, "Ok"),
            (Descriptor::of("a/b", b"blot"), 2, "blob has digest"),
            (Descriptor::of("a/b", b"blob......"), 2, "has 6 bytes where 10 were expected"),
        ] {
            let mut bytes = Vec::new();
            let read = BlobSlice::new(&path, offset).open(&said).unwrap().read_to_end(&mut bytes);
            let shown = read.map_or_else(|error| error.to_string(), |_| "Ok".to_owned());
            assert!(shown.contains(expected), "{shown}");
        }
    }
}
