//! The C library that an image's Python uses.
//!
//! The index has read the versions; here is only the choice between several.

use super::Libc;
use crate::image::filesystem::Filesystem;
use crate::layer::EntryPath;

/// The C library of the image. Those in the system's folders go before those in sysroots and compatibility
/// packages, and glibc before musl, which Debian has as a package.
pub(super) fn libc(fs: &Filesystem) -> Libc {
    let found = fs.iter().filter_map(|(path, node)| Some((path, node.libc()?)));
    let rank = |(path, libc): &(&EntryPath, Libc)| (!is_system(path), matches!(libc, Libc::Musl(..)));
    found.min_by_key(rank).map_or(Libc::Unknown, |(_, libc)| libc)
}

/// Whether `path` lies in `/lib`, `/lib64`, their likes in `/usr`, or a multiarch folder of these.
fn is_system(path: &EntryPath) -> bool {
    let Some(folder) = path.parent() else { return false };
    let folder = folder.as_bytes().strip_prefix(b"usr/").unwrap_or(folder.as_bytes());
    let (top, multiarch) = match folder.iter().position(|byte| *byte == b'/') {
        Some(slash) => (&folder[..slash], &folder[slash + 1..]),
        None => (folder, &[][..]),
    };
    matches!(top, b"lib" | b"lib64") && !multiarch.contains(&b'/')
}
