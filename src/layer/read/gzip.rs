//! Streaming gzip (RFC 1952): any number of members, every field of header and trailer checked.
//!
//! As Go's `compress/gzip`, bytes after the last member that are no member are an error, zeros too. Unlike it,
//! no member at all is an error, and so are reserved flag bits (RFC 1952, section 2.3.1.2).

use std::io::{self, BufRead, BufReader, Read};

use flate2::{Decompress, FlushDecompress, Status};

/// Input buffer; the whole state is this, the window of 32 KiB and the caller's buffer.
const BUFFER: usize = 64 << 10;
/// The longest name or comment; Go's limit.
const MAX_TEXT: usize = 512;

const FHCRC: u8 = 1 << 1;
const FEXTRA: u8 = 1 << 2;
const FNAME: u8 = 1 << 3;
const FCOMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// Why a gzip stream is refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GzipError {
    /// The first bytes are not gzip's, or there are none.
    #[error("the stream does not begin with a gzip member")]
    Magic,
    /// Bytes after the last member are no member.
    #[error("the gzip stream has junk after its last member")]
    Junk,
    /// A method or flag that RFC 1952 does not know.
    #[error("a gzip member uses an unknown method or reserved flags")]
    Unknown,
    /// A name or comment without end.
    #[error("a gzip member's name or comment is longer than {MAX_TEXT} bytes")]
    Text,
    /// The header's own checksum is wrong.
    #[error("a gzip member's header has a wrong checksum")]
    HeaderChecksum,
    /// The deflate data is wrong.
    #[error("a gzip member holds invalid deflate data")]
    Deflate,
    /// CRC-32 or length in the trailer are wrong.
    #[error("a gzip member's content does not have the checksum and length in its trailer")]
    Trailer,
    /// The stream ends inside a member.
    #[error("the gzip stream ends inside a member")]
    Truncated,
}

impl From<GzipError> for io::Error {
    fn from(error: GzipError) -> Self {
        let kind = match error {
            GzipError::Truncated => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        Self::new(kind, error)
    }
}

enum State {
    Start,
    Body,
    End,
}

/// Reads what the members hold, one after the other.
pub(super) struct Gzip<R> {
    source: BufReader<R>,
    inflate: Decompress,
    crc: crc32fast::Hasher,
    size: u32,
    state: State,
    members: u64,
}

impl<R: Read> Gzip<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source: BufReader::with_capacity(BUFFER, source),
            inflate: Decompress::new(false),
            crc: crc32fast::Hasher::new(),
            size: 0,
            state: State::Start,
            members: 0,
        }
    }

    /// Reads the next member's header; `false` at the end of the stream.
    fn header(&mut self) -> io::Result<bool> {
        if self.source.fill_buf()?.is_empty() {
            return if self.members == 0 { Err(GzipError::Magic.into()) } else { Ok(false) };
        }
        let mut header = HeaderReader { source: &mut self.source, crc: crc32fast::Hasher::new() };
        let magic = if self.members == 0 { GzipError::Magic } else { GzipError::Junk };
        let [id1, id2, method, flags, ..] = header.array::<10>()?;
        if [id1, id2] != [0x1f, 0x8b] {
            return Err(magic.into());
        }
        if method != 8 || flags & RESERVED != 0 {
            return Err(GzipError::Unknown.into());
        }
        if flags & FEXTRA != 0 {
            for _ in 0..u16::from_le_bytes(header.array()?) {
                header.array::<1>()?;
            }
        }
        for text in [FNAME, FCOMMENT] {
            if flags & text != 0 {
                header.text()?;
            }
        }
        if flags & FHCRC != 0 {
            let expected = header.crc.clone().finalize() & 0xffff;
            if u32::from(u16::from_le_bytes(header.array()?)) != expected {
                return Err(GzipError::HeaderChecksum.into());
            }
        }
        self.members += 1;
        self.inflate.reset(false);
        self.crc.reset();
        self.size = 0;
        Ok(true)
    }

    /// Inflates into `out`; `None` when the deflate stream has ended without a byte more.
    fn inflate(&mut self, out: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let input = self.source.fill_buf()?;
            let at_end = input.is_empty();
            let (read, written) = (self.inflate.total_in(), self.inflate.total_out());
            let status = self.inflate.decompress(input, out, FlushDecompress::None).map_err(|_| GzipError::Deflate)?;
            let read = (self.inflate.total_in() - read) as usize;
            let written = (self.inflate.total_out() - written) as usize;
            self.source.consume(read);
            if written > 0 {
                self.crc.update(&out[..written]);
                self.size = self.size.wrapping_add(written as u32);
                return Ok(Some(written));
            }
            match status {
                Status::StreamEnd => return Ok(None),
                _ if at_end => return Err(GzipError::Truncated.into()),
                Status::Ok => {}
                Status::BufError if read == 0 => return Err(GzipError::Deflate.into()),
                Status::BufError => {}
            }
        }
    }

    fn trailer(&mut self) -> io::Result<()> {
        let mut trailer = HeaderReader { source: &mut self.source, crc: crc32fast::Hasher::new() };
        let (crc, size) = (u32::from_le_bytes(trailer.array()?), u32::from_le_bytes(trailer.array()?));
        if crc != self.crc.clone().finalize() || size != self.size {
            return Err(GzipError::Trailer.into());
        }
        Ok(())
    }
}

impl<R: Read> Read for Gzip<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state {
                State::Start => self.state = if self.header()? { State::Body } else { State::End },
                State::Body => match self.inflate(out)? {
                    Some(written) => return Ok(written),
                    None => {
                        self.trailer()?;
                        self.state = State::Start;
                    }
                },
                State::End => return Ok(0),
            }
        }
    }
}

struct HeaderReader<'a, R> {
    source: &'a mut BufReader<R>,
    crc: crc32fast::Hasher,
}

impl<R: Read> HeaderReader<'_, R> {
    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => GzipError::Truncated.into(),
            _ => error,
        })?;
        self.crc.update(&bytes);
        Ok(bytes)
    }

    fn text(&mut self) -> io::Result<()> {
        for _ in 0..MAX_TEXT {
            if self.array::<1>()? == [0] {
                return Ok(());
            }
        }
        Err(GzipError::Text.into())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn member(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// A member with all optional fields, and the right header checksum.
    fn adorned(content: &[u8]) -> Vec<u8> {
        let plain = member(content);
        let mut bytes = plain[..10].to_vec();
        bytes[3] = FHCRC | FEXTRA | FNAME | FCOMMENT;
        bytes.extend_from_slice(b"\x03\0abcname\0comment\0");
        let crc = crc32fast::hash(&bytes) as u16;
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes.extend_from_slice(&plain[10..]);
        bytes
    }

    /// Hands out one byte at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let some = out.len().min(1);
            self.0.read(&mut out[..some])
        }
    }

    fn read(bytes: &[u8]) -> Result<Vec<u8>, GzipError> {
        let mut content = Vec::new();
        let whole = Gzip::new(bytes).read_to_end(&mut content).map(|_| content.clone());
        let mut dripped = Vec::new();
        let drip = Gzip::new(Drip(bytes)).read_to_end(&mut dripped).map(|_| dripped.clone());
        match (whole, drip) {
            (Ok(whole), Ok(drip)) => {
                assert_eq!(whole, drip);
                Ok(whole)
            }
            (Err(whole), Err(drip)) => {
                assert_eq!(whole.to_string(), drip.to_string());
                Err(whole.into_inner().unwrap().downcast::<GzipError>().map(|error| *error).unwrap())
            }
            (whole, drip) => panic!("{whole:?} at once, {drip:?} by the byte"),
        }
    }

    #[test]
    fn members_are_read_one_after_the_other() {
        let long: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let bytes = [member(b"one "), adorned(b"two "), member(b""), member(&long)].concat();
        assert_eq!(read(&bytes).unwrap(), [b"one two ", &long[..]].concat());
    }

    #[test]
    fn what_is_no_whole_gzip_is_refused() {
        let good = adorned(b"content of the member");
        for end in 1..good.len() {
            assert_eq!(read(&good[..end]), Err(GzipError::Truncated), "cut to {end}");
        }
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            read(&bytes)
        };
        assert_eq!(read(b""), Err(GzipError::Magic));
        assert_eq!(read(b"not a gzip stream"), Err(GzipError::Magic));
        assert_eq!(with(2, 7), Err(GzipError::Unknown));
        assert_eq!(with(3, good[3] | 0x20), Err(GzipError::Unknown));
        assert_eq!(with(14, b'x'), Err(GzipError::HeaderChecksum));
        assert_eq!(with(good.len() - 1, 1), Err(GzipError::Trailer));
        assert_eq!(with(good.len() - 8, good[good.len() - 8] ^ 1), Err(GzipError::Trailer));
        assert_eq!(read(&[&good[..], &[0; 512]].concat()), Err(GzipError::Junk));
        assert_eq!(read(&[&good[..], b"\0"].concat()), Err(GzipError::Truncated));
        let mut endless = member(b"")[..10].to_vec();
        endless[3] = FNAME;
        endless.extend_from_slice(&[b'x'; 600]);
        assert_eq!(read(&endless), Err(GzipError::Text));
    }
}
