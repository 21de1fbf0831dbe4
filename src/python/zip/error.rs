//! Why an archive is refused.
//!
//! The wheel that the archive is stays unnamed here; the error around names it.

use std::io;

use crate::diagnostic::Diagnose;

/// Why a zip archive, or a member's content, is refused.
#[derive(Debug, thiserror::Error)]
pub enum ZipError {
    /// The archive cannot be read.
    #[error("archive cannot be read")]
    Read(#[source] io::Error),
    /// There is no end-of-central-directory record at the end (APPNOTE 4.3.16).
    #[error("archive does not end in a zip directory")]
    NotZip,
    /// The end of the archive can be read in two ways.
    #[error("archive has two readings: {0}")]
    Ambiguous(&'static str),
    /// The zip64 records are malformed or disagree with the others (APPNOTE 4.3.14, 4.3.15).
    #[error("zip64 directory record: {0}")]
    Zip64(&'static str),
    /// The archive is spread over several disks.
    #[error("archive is a part of a split archive")]
    Split,
    /// There are more members than the limit.
    #[error("archive has {entries} members, more than {limit}")]
    TooManyMembers {
        /// How many there are.
        entries: u64,
        /// How many there may be.
        limit: u64,
    },
    /// The central directory is larger than the limit.
    #[error("central directory has {size} bytes, more than {limit}")]
    DirectoryTooLarge {
        /// Bytes there are.
        size: u64,
        /// Bytes there may be.
        limit: u64,
    },
    /// A record of the central directory is malformed.
    #[error("central directory record {index}: {what}")]
    Record {
        /// Which record, from 0.
        index: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// Bytes belong to no member, or to two.
    #[error("member `{name}` begins at byte {found}, but the one before ends at byte {expected}")]
    Gap {
        /// The member.
        name: String,
        /// Where it should begin.
        expected: u64,
        /// Where it begins.
        found: u64,
    },
    /// Bytes between the last member and the central directory.
    #[error("the last member ends at byte {end}, but the central directory begins at byte {directory}")]
    GapBeforeDirectory {
        /// Where the last member ends.
        end: u64,
        /// Where the directory begins.
        directory: u64,
    },
    /// A member's name could leave the target folder or be read in two ways.
    #[error("member name `{}` {what}", name.escape_debug())]
    Name {
        /// The name, with what is no UTF-8 replaced.
        name: String,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Two members have one path, or one is a folder of the other's path though it is a file.
    #[error("members claim path `{0}` twice")]
    Duplicate(String),
    /// A member is encrypted or uses flags that have no place in a wheel.
    #[error("member `{name}` has general purpose flags {flags:#06x}")]
    Flags {
        /// The member.
        name: String,
        /// The flags.
        flags: u16,
    },
    /// A member is neither stored nor deflated.
    #[error("member `{name}` uses compression method {method}")]
    Method {
        /// The member.
        name: String,
        /// The method's number (APPNOTE 4.4.5).
        method: u16,
    },
    /// An extra field is malformed or contradicts the record (APPNOTE 4.5).
    #[error("member `{name}` has a bad extra field: {what}")]
    Extra {
        /// The member.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// The local header and the central directory differ.
    #[error("member `{name}`: local header and central directory differ in {field}")]
    LocalHeader {
        /// The member.
        name: String,
        /// In what they differ.
        field: &'static str,
    },
    /// The data descriptor is malformed or differs from the central directory.
    #[error("member `{0}` has a data descriptor that does not match")]
    Descriptor(String),
    /// A member is a link, a device, or has setuid, setgid or sticky bits.
    #[error("member `{name}` has mode {mode:o}, which is no plain file or folder")]
    Kind {
        /// The member.
        name: String,
        /// The Unix mode.
        mode: u32,
    },
    /// A folder has content.
    #[error("member `{0}` is a folder with content")]
    FolderContent(String),
    /// A member inflates to far more than it holds.
    #[error("member `{name}` inflates from {compressed} to {size} bytes")]
    Bomb {
        /// The member.
        name: String,
        /// Bytes in the archive.
        compressed: u64,
        /// Bytes after inflation.
        size: u64,
    },
    /// A member's content does not have the size or CRC-32 that the directory says, or is no deflate stream.
    #[error("content of member `{name}` is corrupt: {what}")]
    Content {
        /// The member.
        name: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A member that is read into memory is larger than it may be.
    #[error("member `{name}` has {size} bytes, more than {limit}")]
    TooLarge {
        /// The member.
        name: String,
        /// Its size.
        size: u64,
        /// The most it may have.
        limit: u64,
    },
}

impl ZipError {
    /// The error as an I/O error, for readers.
    pub(super) fn into_io(self) -> io::Error {
        match self {
            Self::Read(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        }
    }

    /// The error that [`ZipError::into_io`] wrapped, or a read error.
    pub(super) fn from_io(error: io::Error) -> Self {
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(error) => Self::Read(error),
        }
    }
}

impl Diagnose for ZipError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Read(_) => None,
            Self::NotZip => Some("the file may be truncated; remove it and fetch it again".to_owned()),
            _ => Some("the wheel is malformed or made to deceive; use another build of it".to_owned()),
        }
    }
}
