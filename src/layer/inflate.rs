//! Inflates raw DEFLATE streams (RFC 1951) that come with a size and a CRC-32, and believes neither.
//!
//! A stream is good when it ends exactly at its last byte, inflates to exactly the size and has the
//! CRC-32. It holds no more than [`WHOLE_INFLATED`] bytes at a time, whatever a stream claims or
//! does. It does not decide where the bytes go.

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::Decompressor;

use super::gzip::{FOOTER, HEADER};

/// The most bytes that a stream may have which is inflated in one piece, by libdeflate.
///
/// Others go through zlib-rs, which takes half as long again but needs a window only.
pub(super) const WHOLE_DEFLATED: u64 = 1 << 20;

/// The most bytes that such a stream may come to. Twice as much would be a little faster, since a tenth of what wheels
/// hold are files of 2 to 4 MiB, but each layer in the making would hold that much.
pub(super) const WHOLE_INFLATED: u64 = 2 << 20;

/// Bytes of output buffer of the streaming inflater.
const CHUNK: usize = 256 << 10;

/// Why a deflate stream is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InflateError {
    /// The bytes are not DEFLATE.
    #[error("its compressed bytes are damaged")]
    Corrupt,
    /// The stream is not over at its last byte.
    #[error("its compressed bytes end too early")]
    Truncated,
    /// The stream is over before its last byte.
    #[error("its compressed bytes are followed by others")]
    Trailing,
    /// The stream inflates to fewer bytes than the entry has.
    #[error("it inflates to `{found}` bytes instead of `{expected}`")]
    Short {
        /// The entry's size.
        expected: u64,
        /// Number of bytes inflated.
        found: u64,
    },
    /// The stream inflates to more bytes than the entry has; found out at the first byte too many.
    #[error("it inflates to more than `{expected}` bytes")]
    Long {
        /// The entry's size.
        expected: u64,
    },
    /// The inflated bytes have another CRC-32.
    #[error("its CRC-32 is `{found:08x}` instead of `{expected:08x}`")]
    Crc {
        /// What the archive says.
        expected: u32,
        /// What the bytes have.
        found: u32,
    },
}

/// What a stream must inflate to.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    pub(super) size: u64,
    pub(super) crc32: u32,
}

/// Inflaters with their buffers, kept from one stream to the next.
pub(super) struct Inflater {
    whole: Decompressor,
    streaming: Decompress,
    out: Vec<u8>,
}

impl Inflater {
    /// Inflaters without a buffer yet; it grows to [`WHOLE_INFLATED`] at most.
    pub(super) fn new() -> Self {
        Self { whole: Decompressor::new(), streaming: Decompress::new(false), out: Vec::new() }
    }

    /// Inflates `member`, a whole gzip member made of [`HEADER`], the stream and its footer.
    ///
    /// libdeflate checks CRC-32 and size, but at the place where the stream ended, and it does not say
    /// where that was. The stream ended at its last byte for certain when the footer's bytes occur in the
    /// member only once; else, and to name what is wrong, the slow way decides.
    pub(super) fn whole(&mut self, member: &[u8], expected: Expected) -> Result<&[u8], InflateError> {
        let size = expected.size as usize;
        if self.out.len() < size {
            self.out.resize(size, 0);
        }
        let inflated = self.whole.gzip_decompress(member, &mut self.out[..size]);
        let (body, footer) = member[HEADER.len()..].split_at(member.len() - HEADER.len() - FOOTER);
        let first_end = memchr::memmem::find(&member[HEADER.len()..], footer);
        if inflated != Ok(size) || first_end != Some(body.len()) {
            let mut inflated = Vec::with_capacity(size);
            let mut stream = self.stream(expected);
            stream.feed(body, &mut |bytes| inflated.extend_from_slice(bytes))?;
            stream.finish()?;
            self.out[..size].copy_from_slice(&inflated);
        }
        Ok(&self.out[..size])
    }

    /// Starts to inflate a stream piece by piece.
    pub(super) fn stream(&mut self, expected: Expected) -> InflateStream<'_> {
        if self.out.len() < CHUNK {
            self.out.resize(CHUNK, 0);
        }
        self.streaming.reset(false);
        InflateStream {
            state: &mut self.streaming,
            out: &mut self.out[..CHUNK],
            crc: crc32fast::Hasher::new(),
            expected,
            ended: false,
        }
    }
}

/// A stream being inflated; only [`InflateStream::finish`] says whether it was good.
pub(super) struct InflateStream<'a> {
    state: &'a mut Decompress,
    out: &'a mut [u8],
    crc: crc32fast::Hasher,
    expected: Expected,
    ended: bool,
}

impl InflateStream<'_> {
    /// Inflates the next bytes of the stream and hands on what comes out, never more than the expected size.
    pub(super) fn feed(&mut self, mut input: &[u8], inflated: &mut dyn FnMut(&[u8])) -> Result<(), InflateError> {
        loop {
            if self.ended {
                return if input.is_empty() { Ok(()) } else { Err(InflateError::Trailing) };
            }
            let (consumed, produced) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(input, self.out, FlushDecompress::None);
            input = &input[(self.state.total_in() - consumed) as usize..];
            let made = &self.out[..(self.state.total_out() - produced) as usize];
            if self.state.total_out() > self.expected.size {
                return Err(InflateError::Long { expected: self.expected.size });
            }
            self.crc.update(made);
            inflated(made);
            match status {
                Ok(Status::StreamEnd) => self.ended = true,
                Ok(_) if made.len() < self.out.len() && input.is_empty() => return Ok(()),
                Ok(_) if made.is_empty() => return Err(InflateError::Corrupt),
                Ok(_) => {}
                Err(_) => return Err(InflateError::Corrupt),
            }
        }
    }

    /// Ends the stream.
    pub(super) fn finish(self) -> Result<(), InflateError> {
        let Expected { size, crc32 } = self.expected;
        if !self.ended {
            return Err(InflateError::Truncated);
        }
        if self.state.total_out() != size {
            return Err(InflateError::Short { expected: size, found: self.state.total_out() });
        }
        let found = self.crc.finalize();
        if found != crc32 {
            return Err(InflateError::Crc { expected: crc32, found });
        }
        Ok(())
    }
}
