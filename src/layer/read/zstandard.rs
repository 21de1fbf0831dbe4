//! Streaming Zstandard (RFC 8878): any number of frames, skippable ones passed over, a limit on the window.
//!
//! Dictionaries are not supported: no layer has one.

use std::io::{self, BufRead, BufReader, Read};

use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

/// Input buffer; the window comes on top.
const BUFFER: usize = 64 << 10;

/// Why a Zstandard stream is refused.
#[derive(Debug, thiserror::Error)]
pub enum ZstdError {
    /// A frame is damaged, has a wrong checksum, needs a dictionary or too large a window, or is none.
    #[error("the zstd stream is invalid, or needs more memory than layers are given")]
    Invalid(#[source] io::Error),
    /// The stream ends inside a frame.
    #[error("the zstd stream ends inside a frame")]
    Truncated,
    /// The stream has no byte.
    #[error("the zstd stream holds no frame")]
    Empty,
}

impl From<ZstdError> for io::Error {
    fn from(error: ZstdError) -> Self {
        let kind = match error {
            ZstdError::Truncated => io::ErrorKind::UnexpectedEof,
            ZstdError::Invalid(_) | ZstdError::Empty => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

/// Reads what the frames hold, one after the other.
pub(super) struct Zstd<R> {
    source: BufReader<R>,
    decoder: Decoder<'static>,
    /// Whether the last byte read ended a frame; `None` before the first.
    at_frame_end: Option<bool>,
}

impl<R: Read> Zstd<R> {
    pub(super) fn new(source: R, window_log: u32) -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(zstd::zstd_safe::DParameter::WindowLogMax(window_log))?;
        Ok(Self { source: BufReader::with_capacity(BUFFER, source), decoder, at_frame_end: None })
    }
}

impl<R: Read> Read for Zstd<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            let input = self.source.fill_buf()?;
            let at_end = input.is_empty();
            if at_end && self.at_frame_end != Some(false) {
                return if self.at_frame_end.is_none() { Err(ZstdError::Empty.into()) } else { Ok(0) };
            }
            let mut from = InBuffer::around(input);
            let mut to = OutBuffer::around(out);
            let hint = self.decoder.run(&mut from, &mut to).map_err(ZstdError::Invalid)?;
            let (read, written) = (from.pos(), to.pos());
            self.source.consume(read);
            if read > 0 || written > 0 {
                self.at_frame_end = Some(hint == 0);
            } else if at_end {
                return Err(ZstdError::Truncated.into());
            }
            if written > 0 {
                return Ok(written);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        Zstd::new(bytes, 27)?.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn frames_are_read_one_after_the_other() {
        let long: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc";
        let frame = |content: &[u8]| zstd::bulk::compress(content, 3).unwrap();
        let bytes = [&frame(b"one ")[..], skippable, &frame(b""), &frame(&long), skippable].concat();
        assert_eq!(read(&bytes).unwrap(), [b"one ", &long[..]].concat());
    }

    #[test]
    fn what_is_no_whole_zstd_is_refused() {
        let good = zstd::bulk::compress(&[b'x'; 1000], 3).unwrap();
        for end in 0..good.len() {
            assert!(read(&good[..end]).is_err(), "cut to {end}");
        }
        assert!(read(&[&good[..], b"\0\0\0\0\0"].concat()).is_err());
        assert!(read(&[&good[..], b"\x50\x2a\x4d\x18\x03\0\0\0ab"].concat()).is_err());
    }
}
