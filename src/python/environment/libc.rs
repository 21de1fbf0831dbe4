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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::filesystem::LayerIndex;
    use crate::layer::read::ReadLimits;
    use crate::oci::Compression;

    fn image(files: &[(&str, &String)]) -> Filesystem {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            builder.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        let tar = builder.into_inner().unwrap();
        let (index, ..) = LayerIndex::read(&tar[..], Compression::None, &ReadLimits::default()).unwrap();
        Filesystem::merge([index]).unwrap()
    }

    #[test]
    fn the_systems_own_library_goes_before_others() {
        let glibc = |minor: u32| format!("GNU C Library (x) stable release version 2.{minor}.\n");
        let (old, new, musl) = (glibc(17), glibc(36), "\x001.2.4\0".to_owned());
        for (files, expected) in [
            (
                &[("usr/lib/x86_64-linux-gnu/libc.so.6", &new), ("lib/ld-musl-x86_64.so.1", &musl)][..],
                Libc::Glibc(2, 36),
            ),
            (
                &[("usr/lib64/libc.so.6", &new), ("opt/conda/x86_64-conda-linux-gnu/sysroot/lib64/libc.so.6", &old)],
                Libc::Glibc(2, 36),
            ),
            (&[("usr/glibc-compat/lib/libc.so.6", &new), ("lib/ld-musl-aarch64.so.1", &musl)], Libc::Musl(1, 2)),
            (&[("nix/store/x/lib/libc.so.6", &new)], Libc::Glibc(2, 36)),
            (&[("lib/libz.so", &new)], Libc::Unknown),
        ] {
            assert_eq!(libc(&image(files)), expected, "{files:?}");
        }
    }
}
