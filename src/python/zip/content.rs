//! Reads the content of a member.
//!
//! A stream that does not end exactly at the member's size, or has another CRC-32, is an error at its end; until
//! then its bytes are not to be trusted.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};

use super::archive::{Member, Method};
use super::error::ZipError;
use super::read_at::ReadAt;

const INPUT: usize = 32 << 10;

/// A range of an archive, read from its start.
pub struct Section<'a> {
    source: &'a dyn ReadAt,
    at: u64,
    left: u64,
}

impl<'a> Section<'a> {
    pub(super) fn new(source: &'a dyn ReadAt, at: u64, left: u64) -> Self {
        Self { source, at, left }
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let want = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        let count = self.source.read_at(&mut buffer[..want], self.at)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += count as u64;
        self.left -= count as u64;
        Ok(count)
    }
}

/// Reads the content of one member, inflated.
pub struct MemberReader<'a> {
    raw: Section<'a>,
    inflate: Option<Inflate>,
    name: Box<str>,
    size: u64,
    crc32: u32,
    hasher: crc32fast::Hasher,
    produced: u64,
    ended: bool,
}

struct Inflate {
    state: Decompress,
    input: Vec<u8>,
    at: usize,
}

impl<'a> MemberReader<'a> {
    pub(super) fn new(raw: Section<'a>, member: &Member) -> Self {
        let inflate = (member.method == Method::Deflated).then(|| Inflate {
            state: Decompress::new(false),
            input: Vec::with_capacity(INPUT),
            at: 0,
        });
        Self {
            raw,
            inflate,
            name: member.name.clone(),
            size: member.size,
            crc32: member.crc32,
            hasher: crc32fast::Hasher::new(),
            produced: 0,
            ended: false,
        }
    }

    fn corrupt(&self, what: &'static str) -> io::Error {
        ZipError::Content { name: self.name.to_string(), what }.into_io()
    }

    /// Inflates into `buffer`; zero when the stream has ended.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(inflate) = &mut self.inflate else { return self.raw.read(buffer) };
        loop {
            if inflate.at == inflate.input.len() {
                inflate.input.resize(INPUT, 0);
                let count = self.raw.read(&mut inflate.input)?;
                inflate.input.truncate(count);
                inflate.at = 0;
            }
            let (before_in, before_out) = (inflate.state.total_in(), inflate.state.total_out());
            let status = inflate.state.decompress(&inflate.input[inflate.at..], buffer, FlushDecompress::None);
            let consumed = inflate.state.total_in() - before_in;
            let produced = inflate.state.total_out() - before_out;
            inflate.at += usize::try_from(consumed).unwrap_or(usize::MAX);
            match status {
                Ok(Status::StreamEnd) if produced == 0 => {
                    let trailing = inflate.at < inflate.input.len() || self.raw.left > 0;
                    return if trailing { Err(self.corrupt("bytes follow the deflate stream")) } else { Ok(0) };
                }
                Ok(_) if produced > 0 => return Ok(usize::try_from(produced).unwrap_or(usize::MAX)),
                Ok(_) if consumed == 0 && inflate.at == inflate.input.len() && self.raw.left == 0 => {
                    return Err(self.corrupt("the deflate stream is cut off"));
                }
                Ok(_) => {}
                Err(_) => return Err(self.corrupt("it is no deflate stream")),
            }
        }
    }
}

impl Read for MemberReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended || buffer.is_empty() {
            return Ok(0);
        }
        let count = self.fill(buffer)?;
        self.produced += count as u64;
        if self.produced > self.size {
            return Err(self.corrupt("it is longer than its size"));
        }
        self.hasher.update(&buffer[..count]);
        if count == 0 {
            self.ended = true;
            if self.produced != self.size {
                return Err(self.corrupt("it is shorter than its size"));
            }
            if std::mem::take(&mut self.hasher).finalize() != self.crc32 {
                return Err(self.corrupt("its CRC-32 differs"));
            }
        }
        Ok(count)
    }
}
