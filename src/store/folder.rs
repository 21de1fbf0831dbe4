//! Small steps on folders and files that the store and the outputs share.
//!
//! Nothing here knows what the files hold.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, OFlags, Timespec, Timestamps, UTIME_NOW};
use tempfile::NamedTempFile;

use super::StoreError;

/// The names in a folder, sorted; none when the folder is not there.
pub(crate) fn names(folder: &Path) -> Result<Vec<PathBuf>, StoreError> {
    #[expect(clippy::disallowed_methods, reason = "the one listing of the store; sorted below")]
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if is_absent(&error) => return Ok(Vec::new()),
        Err(error) => return Err(StoreError::io("list", folder, error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(|error| StoreError::io("list", folder, error))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Whether an error says that there is nothing at a path.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Makes a folder and those above it.
pub(crate) fn create(folder: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(folder).map_err(|error| StoreError::io("create", folder, error))
}

/// Opens a regular file for reading; `None` when there is none, or something else in its place.
///
/// Links are not followed and pipes do not block.
pub(crate) fn open_regular(path: &Path) -> Result<Option<File>, StoreError> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    match OpenOptions::new().read(true).custom_flags(flags).open(path) {
        Ok(file) => {
            let kind = file.metadata().map_err(|error| StoreError::io("read", path, error))?;
            Ok(kind.is_file().then_some(file))
        }
        Err(error) if is_absent(&error) => Ok(None),
        // A link (ELOOP) or a socket (ENXIO): there, but never an entry.
        Err(_) if fs::symlink_metadata(path).is_ok_and(|found| !found.is_file()) => Ok(None),
        Err(error) => Err(StoreError::io("open", path, error)),
    }
}

/// Removes whatever is at a path; a link is removed, not what it points at.
pub(crate) fn remove(path: &Path) -> Result<(), StoreError> {
    let removed = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if !is_absent(&error) => Err(StoreError::io("remove", path, error)),
        _ => Ok(()),
    }
}

/// A new file in `folder` that vanishes unless it is placed.
pub(crate) fn temporary(folder: &Path) -> Result<NamedTempFile, StoreError> {
    let make = || tempfile::Builder::new().prefix(".part-").tempfile_in(folder);
    let made = match make() {
        Err(error) if is_absent(&error) => {
            create(folder)?;
            make()
        }
        made => made,
    };
    made.map_err(|error| StoreError::io("write in", folder, error))
}

/// Gives a temporary file its place, over whatever file is there; a folder there is an error.
pub(crate) fn place(file: NamedTempFile, path: &Path, bits: u32) -> Result<(), StoreError> {
    put(file, path, bits, false)
}

/// Gives a temporary file its place in the store, whatever is there: nobody else's things are below the store's root.
pub(crate) fn place_in_store(file: NamedTempFile, path: &Path, bits: u32) -> Result<(), StoreError> {
    put(file, path, bits, true)
}

fn put(mut file: NamedTempFile, path: &Path, bits: u32, may_remove: bool) -> Result<(), StoreError> {
    file.as_file().set_permissions(mode(bits)).map_err(|error| StoreError::io("write", path, error))?;
    for _ in 0..2 {
        match file.persist(path) {
            Ok(_) => return Ok(()),
            Err(failed) if is_absent(&failed.error) => {
                create(path.parent().unwrap_or(path))?;
                file = failed.file;
            }
            Err(failed) if may_remove && failed.error.kind() == io::ErrorKind::IsADirectory => {
                remove(path)?;
                file = failed.file;
            }
            Err(failed) => return Err(StoreError::io("write", path, failed.error)),
        }
    }
    Err(StoreError::io("write", path, io::Error::from(io::ErrorKind::NotFound)))
}

/// Replaces a small file so that it survives a power cut, whole or not at all.
pub(crate) fn replace_durably(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let folder = path.parent().unwrap_or(path);
    let mut file = temporary(folder)?;
    let written = file.write_all(bytes).and_then(|()| file.as_file().sync_all());
    written.map_err(|error| StoreError::sized("write", path, Some(bytes.len() as u64), error))?;
    place(file, path, 0o644)?;
    sync(folder)
}

fn mode(mode: u32) -> fs::Permissions {
    <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(mode)
}

/// Makes the names in a folder survive a power cut.
pub(crate) fn sync(folder: &Path) -> Result<(), StoreError> {
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.map_err(|error| StoreError::io("sync", folder, error))
}

/// Marks a file as used now. A store that cannot be written keeps the older mark.
pub(crate) fn touch(file: &File) {
    let _ = rustix::fs::futimens(file, &NOW);
}

/// As [`touch`], by name; a link is marked itself.
pub(crate) fn touch_path(path: &Path) {
    let _ = rustix::fs::utimensat(rustix::fs::CWD, path, &NOW, AtFlags::SYMLINK_NOFOLLOW);
}

const NOW: Timestamps = Timestamps {
    last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
    last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
};
