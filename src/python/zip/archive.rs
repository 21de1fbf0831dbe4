//! An opened archive: its members, sorted by name, and where their contents are.
//!
//! Opening checks everything but the contents; those are checked as they are read.

use super::content::{MemberReader, Section};
use super::error::ZipError;
use super::read_at::ReadAt;
use super::{central, end, local};

/// How a member's content is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// As it is.
    Stored,
    /// As a raw deflate stream (RFC 1951).
    Deflated,
}

impl Method {
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Stored => 0,
            Self::Deflated => 8,
        }
    }
}

/// One member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its path, relative, with no trailing slash.
    pub name: Box<str>,
    /// Whether it is a folder.
    pub folder: bool,
    /// How the content is held.
    pub method: Method,
    /// CRC-32 of the content.
    pub crc32: u32,
    /// Bytes in the archive.
    pub compressed: u64,
    /// Bytes of the content.
    pub size: u64,
    /// Where the content begins in the archive.
    pub offset: u64,
    /// Unix permissions, where the archive was made on such a system.
    pub mode: Option<u32>,
}

/// What an archive may have at most.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Members.
    pub members: u64,
    /// Bytes of the central directory.
    pub directory: u64,
    /// Inflated bytes, of a member or in all, below which no ratio is asked for.
    pub free: u64,
    /// Inflated bytes for each compressed byte beyond that.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { members: 1_000_000, directory: 256 << 20, free: 64 << 20, ratio: 50 }
    }
}

impl Limits {
    pub(super) fn is_bomb(&self, compressed: u64, size: u64) -> bool {
        size > self.free && size > compressed.saturating_mul(self.ratio)
    }
}

/// A zip archive with one reading.
pub struct Archive {
    source: Box<dyn ReadAt>,
    members: Vec<Member>,
}

impl Archive {
    /// Opens the archive in `source` and checks its structure.
    ///
    /// # Errors
    /// Fails when the archive has no reading, more than one, unsafe members or more than `limits` allow.
    pub fn open(source: impl ReadAt + 'static, limits: &Limits) -> Result<Self, ZipError> {
        let len = source.size().map_err(ZipError::Read)?;
        let directory = end::find(&source, len)?;
        if directory.entries > limits.members {
            return Err(ZipError::TooManyMembers { entries: directory.entries, limit: limits.members });
        }
        if directory.size > limits.directory {
            return Err(ZipError::DirectoryTooLarge { size: directory.size, limit: limits.directory });
        }
        let too_large = |_| ZipError::DirectoryTooLarge { size: directory.size, limit: limits.directory };
        let mut bytes = vec![0; usize::try_from(directory.size).map_err(too_large)?];
        source.read_exact_at(&mut bytes, directory.offset).map_err(ZipError::Read)?;
        let mut records = central::read(&bytes, directory.entries, limits)?;
        drop(bytes);
        local::check(&source, &mut records, directory.offset)?;
        let mut members: Vec<Member> = records.into_iter().map(|record| record.member).collect();
        members.sort_by(|one, other| one.name.cmp(&other.name));
        check_paths(&members)?;
        check_total(&members, limits)?;
        Ok(Self { source: Box::new(source), members })
    }

    /// The members, sorted by name.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The member named `name`, without a trailing slash.
    pub fn find(&self, name: &str) -> Option<&Member> {
        let at = self.members.binary_search_by(|member| (*member.name).cmp(name)).ok()?;
        self.members.get(at)
    }

    /// The bytes of `member` as they are in the archive.
    pub fn raw(&self, member: &Member) -> Section<'_> {
        Section::new(&*self.source, member.offset, member.compressed)
    }

    /// The content of `member`; size and CRC-32 are checked at its end.
    pub fn reader(&self, member: &Member) -> MemberReader<'_> {
        MemberReader::new(self.raw(member), member)
    }

    /// The whole content of `member`, at most `limit` bytes.
    ///
    /// # Errors
    /// Fails when the member is larger, corrupt or cannot be read.
    pub fn read(&self, member: &Member, limit: u64) -> Result<Vec<u8>, ZipError> {
        let too_large = || ZipError::TooLarge { name: member.name.to_string(), size: member.size, limit };
        if member.size > limit {
            return Err(too_large());
        }
        let mut content = Vec::with_capacity(usize::try_from(member.size).map_err(|_| too_large())?);
        std::io::Read::read_to_end(&mut self.reader(member), &mut content).map_err(ZipError::from_io)?;
        Ok(content)
    }

    /// The first `count` bytes of the content of `member`, or all when it has fewer; nothing else is checked.
    ///
    /// # Errors
    /// Fails when they cannot be read or inflated.
    pub fn peek(&self, member: &Member, count: u64) -> Result<Vec<u8>, ZipError> {
        let mut content = Vec::new();
        let mut reader = std::io::Read::take(self.reader(member), count);
        std::io::Read::read_to_end(&mut reader, &mut content).map_err(ZipError::from_io)?;
        Ok(content)
    }
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive").field("members", &self.members.len()).finish_non_exhaustive()
    }
}

/// Refuses two members of one path, and members below a file.
fn check_paths(members: &[Member]) -> Result<(), ZipError> {
    for pair in members.windows(2) {
        if pair[0].name == pair[1].name {
            return Err(ZipError::Duplicate(pair[1].name.to_string()));
        }
    }
    for member in members {
        for (slash, _) in member.name.match_indices('/') {
            let above = &member.name[..slash];
            let found = members.binary_search_by(|other| (*other.name).cmp(above));
            if found.is_ok_and(|at| !members[at].folder) {
                return Err(ZipError::Duplicate(above.to_owned()));
            }
        }
    }
    Ok(())
}

fn check_total(members: &[Member], limits: &Limits) -> Result<(), ZipError> {
    let compressed = members.iter().fold(0_u64, |sum, member| sum.saturating_add(member.compressed));
    let size = members.iter().fold(0_u64, |sum, member| sum.saturating_add(member.size));
    if limits.is_bomb(compressed, size) {
        return Err(ZipError::Bomb { name: "*".to_owned(), compressed, size });
    }
    Ok(())
}
