//! The blob's way out: hashes, counts and writes the compressed bytes.
//!
//! It collects small pieces so that neither the hash nor the sink below sees them one by one; it does not
//! retry.

use std::io::{self, Write};

use crate::oci::{Digest, Digester};

/// Bytes that are collected before they are hashed and written.
const BUFFER: usize = 128 << 10;

/// A writer of a blob that knows its digest and size at the end.
pub(super) struct BlobSink<W> {
    inner: W,
    buffer: Vec<u8>,
    digester: Digester,
    size: u64,
}

impl<W: Write> BlobSink<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, buffer: Vec::with_capacity(BUFFER), digester: Digester::sha256(), size: 0 }
    }

    /// Takes the next bytes of the blob; large ones are written from where they lie.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.write_buffer()?;
        }
        if bytes.len() > BUFFER / 2 {
            self.write_buffer()?;
            self.digester.update(bytes);
            self.size += bytes.len() as u64;
            return self.inner.write_all(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the blob and flushes the sink below.
    pub(super) fn finish(mut self) -> io::Result<(Digest, u64, W)> {
        self.write_buffer()?;
        self.inner.flush()?;
        Ok((self.digester.finish(), self.size, self.inner))
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        self.digester.update(&self.buffer);
        self.size += self.buffer.len() as u64;
        self.inner.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }
}
