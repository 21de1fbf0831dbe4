//! The blob's way out: hashes, counts and writes the compressed bytes.
//!
//! It collects small pieces so that neither the hash nor the sink below sees them one by one, and lets who hashes
//! something else take the blob's bytes along, in one pass. It does not retry.

use std::io::{self, Write};

use crate::oci::{Digest, Digester};

/// Bytes that are collected before they are written.
const BUFFER: usize = 128 << 10;

/// More bytes than this are better written from where they lie.
pub(super) const LARGE: usize = BUFFER / 2;

/// A writer of a blob that knows its digest and size at the end.
pub(super) struct BlobSink<W> {
    inner: W,
    buffer: Vec<u8>,
    /// How much of the buffer is hashed already.
    hashed: usize,
    digester: Digester,
    size: u64,
}

impl<W: Write> BlobSink<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, buffer: Vec::with_capacity(BUFFER), hashed: 0, digester: Digester::sha256(), size: 0 }
    }

    /// Takes the next bytes of the blob.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.buffer.len() + bytes.len() > BUFFER {
            self.write_buffer()?;
        }
        if bytes.len() > LARGE {
            let (blob, waiting) = self.waiting();
            blob.update(waiting);
            blob.update(bytes);
            return self.write_hashed(bytes);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The blob's hash and the bytes that wait for it, which the caller must let it take.
    pub(super) fn waiting(&mut self) -> (&mut Digester, &[u8]) {
        let hashed = std::mem::replace(&mut self.hashed, self.buffer.len());
        (&mut self.digester, &self.buffer[hashed..])
    }

    /// Takes the next bytes of the blob, which its hash has taken after those of [`BlobSink::waiting`].
    pub(super) fn write_hashed(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_buffer()?;
        self.size += bytes.len() as u64;
        self.inner.write_all(bytes)
    }

    /// Ends the blob and flushes the sink below.
    pub(super) fn finish(mut self) -> io::Result<(Digest, u64, W)> {
        self.write_buffer()?;
        self.inner.flush()?;
        Ok((self.digester.finish(), self.size, self.inner))
    }

    fn write_buffer(&mut self) -> io::Result<()> {
        let (blob, waiting) = self.waiting();
        blob.update(waiting);
        self.size += self.buffer.len() as u64;
        self.inner.write_all(&self.buffer)?;
        self.buffer.clear();
        self.hashed = 0;
        Ok(())
    }
}
