//! Streaming tar: the entries that Go's `archive/tar` lists, or an error.
//!
//! Refused though Go reads them, because readers differ or runtimes refuse them: sparse files, kinds that no
//! runtime unpacks, content in entries that have none, extended headers that belong to nothing, and
//! anything but zeros after the end.

use std::io::{self, Read};

use super::ReadLimits;
use super::header::{BLOCK, Block, Header, string};
use super::pax::Pax;

/// The largest extended header or long name; Go's and libarchive's limit.
const MAX_SPECIAL: i64 = 1 << 20;

/// What a tar entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TarKind {
    /// A regular file; its content is read from the [`TarReader`].
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink {
        /// Where it points, as written.
        target: Vec<u8>,
    },
    /// Another name of an earlier file.
    Hardlink {
        /// That file, as written.
        target: Vec<u8>,
    },
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
}

/// One entry of a tar, as it stands there: the path is raw bytes and may be absolute or climb.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarEntry {
    /// The path.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: TarKind,
    /// Permission bits with setuid, setgid and sticky: `0o7777` at most.
    pub mode: u32,
    /// Owner.
    pub uid: u64,
    /// Group.
    pub gid: u64,
    /// Number of content bytes; 0 for what is no file.
    pub size: u64,
    /// Seconds since 1970-01-01 UTC, rounded down.
    pub mtime: i64,
    /// The attribute `security.capability`, where there is one.
    pub capability: Option<Vec<u8>>,
}

/// Why a tar is refused.
#[derive(Debug, thiserror::Error)]
pub enum TarError {
    /// The stream under the tar failed.
    #[error("the tar cannot be read")]
    Io(#[source] io::Error),
    /// The stream ends inside a header or content.
    #[error("the tar ends inside an entry")]
    Truncated,
    /// A header's checksum is wrong.
    #[error("a tar header has a wrong checksum")]
    Checksum,
    /// A header's number is none, negative or too large.
    #[error("a tar header holds a wrong number")]
    Number,
    /// An extended header is malformed.
    #[error("a PAX header is malformed")]
    Pax,
    /// A record is there twice with two values.
    #[error("a PAX header has two values of `{key}`")]
    DuplicateRecord {
        /// The record.
        key: String,
    },
    /// A global header would rename or resize what follows; readers disagree on it.
    #[error("a global PAX header sets a path, link or size")]
    GlobalPax,
    /// Names in a character set that is not UTF-8.
    #[error("a PAX header uses an unknown character set")]
    Charset,
    /// A sparse file.
    #[error("the tar holds a sparse file, which container runtimes do not read alike")]
    Sparse,
    /// An extended header is followed by another of its kind, by a global header or by nothing.
    #[error("an extended tar header belongs to no entry")]
    Dangling,
    /// An extended header is too large.
    #[error("an extended tar header is larger than {MAX_SPECIAL} bytes")]
    SpecialTooLarge,
    /// An entry that has no content says that it has some.
    #[error("entry `{path}` of type `{kind}` claims content")]
    ContentOfNoFile {
        /// The entry.
        path: String,
        /// The type flag.
        kind: char,
    },
    /// A regular file is named like a directory.
    #[error("file `{path}` ends in a slash")]
    FileEndsInSlash {
        /// The entry.
        path: String,
    },
    /// A type flag that no container runtime unpacks.
    #[error("entry `{path}` is of the unknown type `{kind}`")]
    UnknownKind {
        /// The entry.
        path: String,
        /// The type flag.
        kind: char,
    },
    /// There is something after the end of the archive.
    #[error("the tar has junk after its end")]
    Junk,
    /// More entries than the limit.
    #[error("the tar has more than {0} entries")]
    TooManyEntries(u64),
}

/// Reads the entries of a tar one after the other; itself the reader of the current entry's content.
pub struct TarReader<R> {
    source: R,
    /// Content bytes of the current entry that have not been read.
    content: u64,
    /// Padding after them.
    padding: u64,
    entries_left: u64,
    limit: u64,
    ended: bool,
}

/// The extended headers that wait for their entry.
#[derive(Default)]
struct Pending {
    pax: Option<Pax>,
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.pax.is_none() && self.name.is_none() && self.link.is_none()
    }
}

impl<R: Read> TarReader<R> {
    /// A reader of the uncompressed tar `source`.
    pub fn new(source: R, limits: &ReadLimits) -> Self {
        Self { source, content: 0, padding: 0, entries_left: limits.entries, limit: limits.entries, ended: false }
    }

    /// Passes over what is left of the current entry and reads the next one; `None` at the end, when `source` has been
    /// read to its own end.
    ///
    /// # Errors
    /// Fails on everything that [`TarError`] names; the reader is of no use after that.
    pub fn next_entry(&mut self) -> Result<Option<TarEntry>, TarError> {
        let mut pending = Pending::default();
        while let Some(block) = self.next_block()? {
            self.entries_left = self.entries_left.checked_sub(1).ok_or(TarError::TooManyEntries(self.limit))?;
            let header = Header::read(&block)?;
            match header.kind {
                b'x' => put_once(&mut pending.pax, Pax::read(&self.special(&header)?)?)?,
                b'L' => put_once(&mut pending.name, string(&self.special(&header)?).to_vec())?,
                b'K' => put_once(&mut pending.link, string(&self.special(&header)?).to_vec())?,
                b'g' if pending.is_empty() => Pax::check_global(&self.special(&header)?)?,
                b'g' => return Err(TarError::Dangling),
                _ => return self.entry(header, pending).map(Some),
            }
        }
        if pending.is_empty() { Ok(None) } else { Err(TarError::Dangling) }
    }

    /// The stream under the tar.
    pub fn into_inner(self) -> R {
        self.source
    }

    fn entry(&mut self, mut header: Header, pending: Pending) -> Result<TarEntry, TarError> {
        let mut capability = None;
        if let Some(mut pax) = pending.pax {
            capability = pax.take_capability();
            pax.apply(&mut header)?;
        }
        let set = |text: Option<Vec<u8>>| text.filter(|text| !text.is_empty());
        if let Some(name) = set(pending.name) {
            header.name = name;
        }
        if let Some(link) = set(pending.link) {
            header.link = link;
        }
        let size = u64::try_from(header.size).map_err(|_| TarError::Number)?;
        let kind = kind_of(&header)?;
        if kind == TarKind::File {
            (self.content, self.padding) = extent(size);
        }
        Ok(TarEntry {
            kind,
            size,
            mode: (u64::try_from(header.mode).map_err(|_| TarError::Number)? & 0o7777) as u32,
            uid: u64::try_from(header.uid).map_err(|_| TarError::Number)?,
            gid: u64::try_from(header.gid).map_err(|_| TarError::Number)?,
            mtime: header.mtime,
            path: header.name,
            capability,
        })
    }

    /// The next header block; `None` at the end. As in Go, the archive may end without zero blocks, or with one.
    fn next_block(&mut self) -> Result<Option<Block>, TarError> {
        if self.ended {
            return Ok(None);
        }
        self.skip_content()?;
        let block = self.block()?;
        if block.is_some_and(|block| block != [0; BLOCK]) {
            return Ok(block);
        }
        self.ended = true;
        let mut rest = [0; 8 << 10];
        loop {
            let read = read_some(&mut self.source, &mut rest)?;
            if rest[..read].iter().any(|byte| *byte != 0) {
                return Err(TarError::Junk);
            }
            if read == 0 {
                return Ok(None);
            }
        }
    }

    fn block(&mut self) -> Result<Option<Block>, TarError> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match read_some(&mut self.source, &mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(TarError::Truncated),
                read => filled += read,
            }
        }
        Ok(Some(block))
    }

    fn skip_content(&mut self) -> Result<(), TarError> {
        io::copy(self, &mut io::sink()).map_err(tar_error)?;
        // As in Go, the last entry's padding may be missing.
        let padding = std::mem::take(&mut self.padding);
        io::copy(&mut (&mut self.source).take(padding), &mut io::sink()).map_err(TarError::Io)?;
        Ok(())
    }

    /// The content of an extended header.
    fn special(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        if header.size > MAX_SPECIAL {
            return Err(TarError::SpecialTooLarge);
        }
        (self.content, self.padding) = extent(u64::try_from(header.size).map_err(|_| TarError::Number)?);
        let mut content = Vec::new();
        self.read_to_end(&mut content).map_err(tar_error)?;
        Ok(content)
    }
}

impl<R: Read> Read for TarReader<R> {
    /// Reads the current entry's content; a stream that ends too early is an error of kind `UnexpectedEof`.
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.content).unwrap_or(usize::MAX).min(out.len());
        if most == 0 {
            return Ok(0);
        }
        let read = self.source.read(&mut out[..most])?;
        if read == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, TarError::Truncated));
        }
        self.content -= read as u64;
        Ok(read)
    }
}

fn put_once<T>(place: &mut Option<T>, value: T) -> Result<(), TarError> {
    if place.is_some() {
        return Err(TarError::Dangling);
    }
    *place = Some(value);
    Ok(())
}

/// The kind of an entry that is no extended header.
fn kind_of(header: &Header) -> Result<TarKind, TarError> {
    let path = || String::from_utf8_lossy(&header.name).into_owned();
    let ends_in_slash = header.name.ends_with(b"/");
    let kind = match header.kind {
        // V7 had no type for directories.
        0 if ends_in_slash => TarKind::Directory,
        b'0' if ends_in_slash => return Err(TarError::FileEndsInSlash { path: path() }),
        0 | b'0' => return Ok(TarKind::File),
        b'1' => TarKind::Hardlink { target: header.link.clone() },
        b'2' => TarKind::Symlink { target: header.link.clone() },
        b'3' => TarKind::CharDevice,
        b'4' => TarKind::BlockDevice,
        b'5' => TarKind::Directory,
        b'6' => TarKind::Fifo,
        b'S' => return Err(TarError::Sparse),
        kind => return Err(TarError::UnknownKind { path: path(), kind: char::from(kind) }),
    };
    if header.size != 0 {
        return Err(TarError::ContentOfNoFile { path: path(), kind: char::from(header.kind) });
    }
    Ok(kind)
}

/// The content's size and the padding to the next block.
fn extent(size: u64) -> (u64, u64) {
    (size, size.wrapping_neg() % BLOCK as u64)
}

fn read_some(source: &mut impl Read, out: &mut [u8]) -> Result<usize, TarError> {
    loop {
        match source.read(out) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map_err(TarError::Io),
        }
    }
}

/// Takes our own error out of the `io::Error` that carried it.
fn tar_error(error: io::Error) -> TarError {
    match error.downcast::<TarError>() {
        Ok(error) => error,
        Err(error) => TarError::Io(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ustar header of `kind`, whose size field says `size`.
    fn header(name: &[u8], kind: u8, size: usize) -> Vec<u8> {
        let mut block = [0; BLOCK];
        block[..name.len()].copy_from_slice(name);
        block[100..107].copy_from_slice(b"0104644");
        block[108..115].copy_from_slice(b"0001750");
        block[116..123].copy_from_slice(b"0000062");
        block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
        block[136..147].copy_from_slice(b"00000000017");
        block[156] = kind;
        block[157..163].copy_from_slice(b"target");
        block[257..265].copy_from_slice(b"ustar\x0000");
        sealed(block)
    }

    fn sealed(mut block: Block) -> Vec<u8> {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        block.to_vec()
    }

    fn entry(name: &str, kind: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = header(name.as_bytes(), kind, content.len());
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        bytes
    }

    fn end() -> Vec<u8> {
        vec![0; 2 * BLOCK]
    }

    /// Each entry as `path=content`.
    fn read(parts: &[Vec<u8>]) -> Result<Vec<String>, TarError> {
        let bytes = parts.concat();
        let mut reader = TarReader::new(&bytes[..], &ReadLimits { entries: 10, ..ReadLimits::default() });
        let mut entries = Vec::new();
        while let Some(entry) = reader.next_entry()? {
            let mut content = String::new();
            reader.read_to_string(&mut content).map_err(tar_error)?;
            entries.push(format!("{}={content}", entry.path.escape_ascii()));
        }
        Ok(entries)
    }

    #[test]
    fn metadata_is_that_of_the_header() {
        let bytes = entry("a", b'2', b"");
        let read = TarReader::new(&bytes[..], &ReadLimits::default()).next_entry().unwrap().unwrap();
        let expected = TarEntry {
            path: b"a".to_vec(),
            kind: TarKind::Symlink { target: b"target".to_vec() },
            mode: 0o4644,
            uid: 1000,
            gid: 50,
            size: 0,
            mtime: 15,
            capability: None,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn extended_headers_belong_to_the_next_entry() {
        let parts = [
            entry("g", b'g', b"13 comment=x\n"),
            entry("x", b'x', b"13 path=long\n\n"),
            entry("a", b'0', b"1"),
            entry("x", b'L', b"longer\0junk"),
            entry("b", b'0', b"22"),
            entry("c", 0, b"333"),
            end(),
        ];
        assert!(matches!(read(&parts), Err(TarError::Pax)), "a byte is left over");
        let mut parts = parts;
        parts[1] = entry("x", b'x', b"13 path=long\n");
        assert_eq!(read(&parts).unwrap(), ["long=1", "longer=22", "c=333"]);
        parts[2] = entry("a", b'5', b"");
        parts[1] = entry("x", b'x', b"10 size=9\n");
        assert!(matches!(read(&parts), Err(TarError::ContentOfNoFile { .. })));
    }

    #[test]
    fn a_size_record_counts_for_the_entry_and_not_for_the_headers_between() {
        let mut hidden = header(b"outer", b'0', 0);
        hidden.extend(entry("inner", b'0', b""));
        let parts = [entry("x", b'x', b"12 size=512\n"), entry("x", b'L', b"name\0"), hidden, end()];
        let read = read(&parts).unwrap();
        assert_eq!(read.len(), 1);
        assert!(read[0].starts_with("name=inner"));
    }

    #[test]
    fn the_end_may_be_missing_but_not_cut() {
        let a = entry("a", b'0', b"1");
        for parts in
            [vec![a.clone(), end()], vec![a.clone()], vec![a.clone(), vec![0; BLOCK]], vec![a.clone(), vec![0; 9999]]]
        {
            assert_eq!(read(&parts).unwrap(), ["a=1"]);
        }
        assert_eq!(read(&[a[..BLOCK + 1].to_vec()]).unwrap(), ["a=1"], "the last padding may be missing");
        assert!(matches!(read(&[a[..BLOCK].to_vec()]), Err(TarError::Truncated)));
        assert!(matches!(read(&[a.clone(), a[..100].to_vec()]), Err(TarError::Truncated)));
        assert!(matches!(read(&[a.clone(), end(), a.clone()]), Err(TarError::Junk)));
        assert!(matches!(read(&[a.clone(), vec![0; BLOCK], a]), Err(TarError::Junk)));
    }

    #[test]
    fn entries_that_readers_or_runtimes_take_differently_are_refused() {
        for kind in [b'1', b'2', b'3', b'4', b'5', b'6'] {
            assert!(read(&[header(b"a", kind, 0), end()]).is_ok());
            assert!(matches!(read(&[entry("a", kind, b"1"), end()]), Err(TarError::ContentOfNoFile { .. })));
        }
        for kind in [b'7', b'A', b'D', b'M', b'N', b'V', b'X'] {
            assert!(matches!(read(&[header(b"a", kind, 0), end()]), Err(TarError::UnknownKind { .. })));
        }
        assert!(matches!(read(&[header(b"a", b'S', 0), end()]), Err(TarError::Sparse)));
        assert!(matches!(read(&[header(b"a/", b'0', 0), end()]), Err(TarError::FileEndsInSlash { .. })));
        assert!(matches!(read(&[entry("x", b'L', b"a\0"), end()]), Err(TarError::Dangling)));
        let twice = [entry("x", b'x', b""), entry("x", b'x', b""), header(b"a", b'0', 0)];
        assert!(matches!(read(&twice), Err(TarError::Dangling)));
        assert!(matches!(read(&[header(b"x", b'L', (1 << 20) + 1)]), Err(TarError::SpecialTooLarge)));
        let many: Vec<_> = (0..11).map(|_| header(b"a", b'5', 0)).collect();
        assert!(matches!(read(&many), Err(TarError::TooManyEntries(10))));
        let mut damaged = header(b"a", b'0', 0);
        damaged[0] = b'b';
        assert!(matches!(read(&[damaged]), Err(TarError::Checksum)));
    }

    #[test]
    fn a_prefix_is_read_where_the_format_has_one() {
        let with = |magic: &[u8; 8], trailer: &[u8; 4]| {
            let mut block: Block = header(b"a", b'0', 0).try_into().unwrap();
            block[257..265].copy_from_slice(magic);
            block[345..348].copy_from_slice(b"dir");
            block[508..].copy_from_slice(trailer);
            read(&[sealed(block)]).unwrap().remove(0)
        };
        assert_eq!(with(b"ustar\x0000", b"\0\0\0\0"), "dir/a=");
        assert_eq!(with(b"ustar\x0000", b"tar\0"), "dir/a=");
        assert_eq!(with(b"ustar  \0", b"\0\0\0\0"), "dir/a=", "Go before 1.8 wrote such headers");
        assert_eq!(with(b"\0\0\0\0\0\0\0\0", b"\0\0\0\0"), "a=");
    }
}
