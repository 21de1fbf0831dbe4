//! Writes a layer in one pass: tar to gzip members to a sink, with both digests.
//!
//! Content that is already DEFLATE becomes a gzip member as it is; headers, padding and all other content
//! are collected in a *running member* that is compressed when it is full or when such a member comes
//! between, by `headers` when it is short and holds no content. It does not sort, deduplicate or complete entries: what is appended is what the layer holds.
//!
//! Where members end depends on the entries alone, never on how a reader cuts its bytes.
//!
//! All work is done on the caller's thread. Hashing the tar on a second one was tried: a single layer became at most
//! a tenth faster (the inflater is the longest part), two layers side by side on two cores a tenth slower.
//!
//! Memory: the running member and its compressed form ([`RUNNING`] each), one stream and its inflated bytes
//! ([`WHOLE_DEFLATED`] and [`WHOLE_INFLATED`], only once content of that size came) and the sink's buffer. That is below
//! 7 MiB for a writer, whatever the size of the layer.

use std::io::{self, Read, Write};

use super::error::{Found, LayerError};
use super::gzip::{FOOTER, HEADER, MemberCompressor, footer};
use super::inflate::{Expected, InflateError, Inflater, WHOLE_DEFLATED, WHOLE_INFLATED};
use super::sink::{BlobSink, LARGE};
use super::{Entry, EntryKind, tar};
use crate::oci::media_type::OCI_LAYER_GZIP;
use crate::oci::{Descriptor, DiffId, Digester};

/// Names everything in this module's floor that shapes bytes; part of every layer key.
///
/// It changes with the tar rules, the rules of where members end, the compressor, its version or its level.
pub const LAYER_FORMAT: &str = "tar-1 members-2 headers-1 libdeflate-1.26.1 level-6";

/// Inflated size of a full running member, in bytes.
///
/// At level 6 Python sources come to 20.9 % in members of 128 KiB, 20.6 % in 256 KiB, 20.45 % in 512 KiB and
/// 20.4 % in 1 MiB.
const RUNNING: usize = 512 << 10;

/// Deflated content that inflates to fewer bytes than this joins the running member.
///
/// A member of its own ends the running member, which costs 18 bytes of frame, a start without a dictionary and 5 µs
/// for the compressor's tables; compressing 2 KiB again costs 20 µs and makes the blob smaller (by 0.2 % over 1 KiB).
const SMALL: u64 = 2 << 10;

/// A running member of at most this many bytes that holds headers and padding alone is compressed by `headers`.
///
/// Four of five of a wheel's running members are such, of 800 bytes on average. The compressor's tables alone would
/// cost more than all else that is done for one.
const HEADERS: usize = 4 << 10;

/// Bytes of a large stream that are read at a time.
const CHUNK: u64 = 256 << 10;

/// A layer that was written to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedLayer {
    /// The blob: its digest and size in bytes, as an OCI gzip layer.
    pub descriptor: Descriptor,
    /// The digest of the tar inside.
    pub diff_id: DiffId,
    /// Size of the tar inside, in bytes.
    pub unpacked: u64,
}

/// Writes one layer to `W`.
///
/// After an error the layer is abandoned: every further call fails with [`LayerError::Abandoned`].
pub struct LayerWriter<W: Write> {
    sink: BlobSink<W>,
    compressor: MemberCompressor,
    inflater: Inflater,
    /// The running member, not compressed yet: a buffer of [`RUNNING`] bytes, filled up to `filled`.
    running: Box<[u8]>,
    filled: usize,
    /// Whether the running member holds anything but headers and padding.
    has_content: bool,
    /// Holds a member around deflated content, or a piece of one; grows and never shrinks.
    member: Vec<u8>,
    diff: Digester,
    unpacked: u64,
    abandoned: bool,
}

/// The buffers of a writer, to be used for one layer after the other.
///
/// Getting fresh ones from the system costs as much as hashing their size would.
pub struct LayerBuffers {
    compressor: MemberCompressor,
    inflater: Inflater,
    running: Box<[u8]>,
    member: Vec<u8>,
}

impl Default for LayerBuffers {
    fn default() -> Self {
        Self {
            compressor: MemberCompressor::new(),
            inflater: Inflater::new(),
            running: vec![0; RUNNING].into(),
            member: Vec::new(),
        }
    }
}

impl<W: Write> LayerWriter<W> {
    /// Starts a layer.
    pub fn new(sink: W) -> Self {
        Self::with_buffers(sink, LayerBuffers::default())
    }

    /// Starts a layer with the buffers of another that is finished.
    pub fn with_buffers(sink: W, buffers: LayerBuffers) -> Self {
        let LayerBuffers { compressor, inflater, running, member } = buffers;
        Self {
            sink: BlobSink::new(sink),
            compressor,
            inflater,
            running,
            filled: 0,
            has_content: false,
            member,
            diff: Digester::sha256(),
            unpacked: 0,
            abandoned: false,
        }
    }

    /// Appends an entry without content: a directory, a link or an empty file.
    ///
    /// # Errors
    /// Fails when `entry` is a file that has content, when a link's target cannot exist, or when the sink fails.
    pub fn append(&mut self, entry: &Entry) -> Result<(), LayerError> {
        self.guarded(|writer| match entry.kind {
            EntryKind::File { size: 1.. } => Err(LayerError::Kind { path: entry.path.clone() }),
            _ => writer.put_header(entry),
        })
    }

    /// Appends a file with its content.
    ///
    /// # Errors
    /// Fails when `entry` is no file or not as long as `content`, or when the sink fails.
    pub fn append_bytes(&mut self, entry: &Entry, mut content: &[u8]) -> Result<(), LayerError> {
        self.append_reader(entry, &mut content)
    }

    /// Appends a file whose content is all that `content` gives.
    ///
    /// # Errors
    /// Fails with [`LayerError::ContentChanged`] when the reader gives fewer or more bytes than the entry's size;
    /// when it fails itself; when `entry` is no file; or when the sink fails.
    pub fn append_reader(&mut self, entry: &Entry, content: &mut dyn Read) -> Result<(), LayerError> {
        self.append_capable(entry, None, content)
    }

    /// The same for a file with the extended attribute `security.capability`, whose value that is (capabilities(7)).
    ///
    /// # Errors
    /// As [`LayerWriter::append_reader`].
    pub fn append_capable(
        &mut self,
        entry: &Entry,
        capability: Option<&[u8]>,
        content: &mut dyn Read,
    ) -> Result<(), LayerError> {
        self.guarded(|writer| {
            let size = size_of(entry)?;
            let mut header = Vec::with_capacity(tar::BLOCK);
            tar::push_header_with(entry, capability, &mut header);
            writer.put(&header)?;
            writer.put_content(entry, size, content)?;
            writer.put(tar::padding(size))
        })
    }

    /// Appends a file whose content is `deflated_len` bytes of raw DEFLATE from `deflated`, which become a
    /// gzip member as they are; bytes behind them are not read.
    ///
    /// `record` takes the inflated bytes too, in one pass with the layer's own hash ([`Digester::update_beside`]). It is
    /// of no use when the stream is refused.
    ///
    /// # Errors
    /// Fails with [`LayerError::Inflate`] unless the stream ends exactly at its last byte and inflates to
    /// exactly the entry's size and CRC-32; when the reader fails; when `entry` is no file; or when the sink fails.
    pub fn append_deflated(
        &mut self,
        entry: &Entry,
        deflated: &mut dyn Read,
        deflated_len: u64,
        crc32: u32,
        record: Option<&mut Digester>,
    ) -> Result<(), LayerError> {
        self.guarded(|writer| {
            let expected = Expected { size: size_of(entry)?, crc32 };
            writer.put_header(entry)?;
            if expected.size <= WHOLE_INFLATED && deflated_len <= WHOLE_DEFLATED {
                writer.put_whole(entry, deflated, deflated_len, expected, record)?;
            } else {
                writer.put_stream(entry, deflated, deflated_len, expected, record)?;
            }
            writer.put(tar::padding(expected.size))
        })
    }

    /// Ends the tar and the last member, and flushes the sink.
    ///
    /// # Errors
    /// Fails when an earlier call failed, or when the sink fails.
    pub fn finish(self) -> Result<(FinishedLayer, W), LayerError> {
        self.finish_keeping_buffers().map(|(finished, sink, _)| (finished, sink))
    }

    /// As [`LayerWriter::finish`], and gives the buffers for the next layer.
    ///
    /// # Errors
    /// As [`LayerWriter::finish`].
    pub fn finish_keeping_buffers(mut self) -> Result<(FinishedLayer, W, LayerBuffers), LayerError> {
        self.guarded(|writer| {
            writer.put(&tar::END)?;
            writer.end_running()
        })?;
        let (digest, size, sink) = self.sink.finish().map_err(LayerError::Write)?;
        let finished = FinishedLayer {
            descriptor: Descriptor::new(OCI_LAYER_GZIP, digest, size),
            diff_id: DiffId(self.diff.finish()),
            unpacked: self.unpacked,
        };
        let Self { compressor, inflater, running, member, .. } = self;
        Ok((finished, sink, LayerBuffers { compressor, inflater, running, member }))
    }

    /// Runs one call, and no other after one that failed.
    fn guarded(&mut self, call: impl FnOnce(&mut Self) -> Result<(), LayerError>) -> Result<(), LayerError> {
        if self.abandoned {
            return Err(LayerError::Abandoned);
        }
        let result = call(self);
        self.abandoned = result.is_err();
        result
    }

    fn put_header(&mut self, entry: &Entry) -> Result<(), LayerError> {
        if let EntryKind::Symlink { target } = &entry.kind
            && (target.is_empty() || target.contains(&0))
        {
            return Err(LayerError::LinkTarget { path: entry.path.clone() });
        }
        let mut header = Vec::with_capacity(tar::BLOCK);
        tar::push_header(entry, &mut header);
        self.put(&header)
    }

    /// Adds headers or padding to the running member.
    fn put(&mut self, mut bytes: &[u8]) -> Result<(), LayerError> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(RUNNING - self.filled));
            self.running[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.fill(now.len())?;
            bytes = later;
        }
        Ok(())
    }

    /// Reads exactly `size` bytes into running members.
    fn put_content(&mut self, entry: &Entry, size: u64, content: &mut dyn Read) -> Result<(), LayerError> {
        let unreadable = |source| LayerError::Read { path: entry.path.clone(), source };
        let changed = |found| LayerError::ContentChanged { path: entry.path.clone(), expected: size, found };
        let mut left = size;
        while left > 0 {
            let room = left.min((RUNNING - self.filled) as u64) as usize;
            let read = read_some(content, &mut self.running[self.filled..self.filled + room]).map_err(unreadable)?;
            if read == 0 {
                return Err(changed(Found::Fewer(size - left)));
            }
            left -= read as u64;
            self.has_content = true;
            self.fill(read)?;
        }
        match read_some(content, &mut [0]).map_err(unreadable)? {
            0 => Ok(()),
            _ => Err(changed(Found::More)),
        }
    }

    /// Counts bytes that were placed behind the running member, and ends it when it is full.
    fn fill(&mut self, bytes: usize) -> Result<(), LayerError> {
        self.filled += bytes;
        if self.filled == RUNNING { self.end_running() } else { Ok(()) }
    }

    /// Compresses and writes the running member, if it holds anything.
    fn end_running(&mut self) -> Result<(), LayerError> {
        let running = &self.running[..self.filled];
        if running.is_empty() {
            return Ok(());
        }
        let member = match running.len() {
            ..=HEADERS if !self.has_content => self.compressor.headers(running),
            _ => self.compressor.member(running),
        };
        self.sink.write(member).map_err(LayerError::Write)?;
        let (blob, waiting) = self.sink.waiting();
        self.diff.update_beside(None, running, blob, waiting);
        self.unpacked += running.len() as u64;
        (self.filled, self.has_content) = (0, false);
        Ok(())
    }

    /// Checks and writes deflated content in one piece.
    fn put_whole(
        &mut self,
        entry: &Entry,
        deflated: &mut dyn Read,
        deflated_len: u64,
        expected: Expected,
        record: Option<&mut Digester>,
    ) -> Result<(), LayerError> {
        if expected.size >= SMALL {
            self.end_running()?;
        }
        let stream_end = HEADER.len() + deflated_len as usize;
        let member = sized(&mut self.member, stream_end + FOOTER);
        member[..HEADER.len()].copy_from_slice(&HEADER);
        read_deflated(entry, deflated, &mut member[HEADER.len()..stream_end])?;
        member[stream_end..].copy_from_slice(&footer(expected.crc32, expected.size));
        let inflated = self.inflater.whole(member, expected).map_err(|source| refused(entry, source))?;
        if expected.size < SMALL {
            let mut small = [0; SMALL as usize];
            let small = &mut small[..inflated.len()];
            small.copy_from_slice(inflated);
            if let Some(record) = record {
                record.update(small);
            }
            return self.put_content(entry, expected.size, &mut &*small);
        }
        self.unpacked += expected.size;
        let (blob, waiting) = self.sink.waiting();
        if member.len() <= LARGE {
            self.diff.update_beside(record, inflated, blob, waiting);
            return self.sink.write(member).map_err(LayerError::Write);
        }
        blob.update(waiting);
        self.diff.update_beside(record, inflated, blob, member);
        self.sink.write_hashed(member).map_err(LayerError::Write)
    }

    /// Checks and writes deflated content piece by piece.
    fn put_stream(
        &mut self,
        entry: &Entry,
        deflated: &mut dyn Read,
        deflated_len: u64,
        expected: Expected,
        mut record: Option<&mut Digester>,
    ) -> Result<(), LayerError> {
        self.end_running()?;
        self.sink.write(&HEADER).map_err(LayerError::Write)?;
        let mut stream = self.inflater.stream(expected);
        let mut left = deflated_len;
        while left > 0 {
            let piece = sized(&mut self.member, left.min(CHUNK) as usize);
            read_deflated(entry, deflated, piece)?;
            left -= piece.len() as u64;
            let (blob, waiting) = self.sink.waiting();
            blob.update(waiting);
            let mut ahead = &*piece;
            let mut see = |inflated: &[u8]| {
                let (now, later) = ahead.split_at(ahead.len().min(inflated.len()));
                self.diff.update_beside(record.as_deref_mut(), inflated, blob, now);
                ahead = later;
            };
            stream.feed(piece, &mut see).map_err(|source| refused(entry, source))?;
            blob.update(ahead);
            self.sink.write_hashed(piece).map_err(LayerError::Write)?;
        }
        stream.finish().map_err(|source| refused(entry, source))?;
        self.unpacked += expected.size;
        self.sink.write(&footer(expected.crc32, expected.size)).map_err(LayerError::Write)
    }
}

/// The size of a regular file; other kinds have no content.
fn size_of(entry: &Entry) -> Result<u64, LayerError> {
    match entry.kind {
        EntryKind::File { size } => Ok(size),
        _ => Err(LayerError::Kind { path: entry.path.clone() }),
    }
}

fn refused(entry: &Entry, source: InflateError) -> LayerError {
    LayerError::Inflate { path: entry.path.clone(), source }
}

/// The first `len` bytes of a buffer that grows and never shrinks, so that it is cleared only once.
fn sized(buffer: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    &mut buffer[..len]
}

/// Reads what there is; zero bytes mean the end.
fn read_some(content: &mut dyn Read, to: &mut [u8]) -> io::Result<usize> {
    loop {
        match content.read(to) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Fills `to` with the next bytes of a stream.
fn read_deflated(entry: &Entry, deflated: &mut dyn Read, to: &mut [u8]) -> Result<(), LayerError> {
    deflated.read_exact(to).map_err(|source| match source.kind() {
        io::ErrorKind::UnexpectedEof => refused(entry, InflateError::Truncated),
        _ => LayerError::Read { path: entry.path.clone(), source },
    })
}

#[cfg(test)]
mod tests;
