//! Small files of credentials, read whole and no further than their cap.
//!
//! What is in them is the callers' business, as is the error that a user sees.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::Path;

/// Why a small file cannot be read.
pub(super) enum SmallFileError {
    Unreadable(io::Error),
    /// It has more bytes than the cap.
    TooLarge,
}

/// The text of the file at `path`, at most `cap` bytes; `None` when it is not there.
pub(super) fn read(path: &Path, cap: u64) -> Result<Option<String>, SmallFileError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(SmallFileError::Unreadable(error)),
    };
    let mut text = String::new();
    file.take(cap + 1).read_to_string(&mut text).map_err(SmallFileError::Unreadable)?;
    if text.len() as u64 > cap { Err(SmallFileError::TooLarge) } else { Ok(Some(text)) }
}
