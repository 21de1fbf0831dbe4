//! Writes a source tree as an archive of its own: a `.tar.gz` that is unpacked into an empty folder.
//!
//! Equal trees give equal archives. Nothing is uploaded here.

use std::io::Write;
use std::path::Path;

use super::layer::{SourceLayerError, append_source};
use super::tree::{SourceKind, SourceTree};
use crate::layer::{EntryPath, LayerWriter};

/// The mode of a directory and of an executable file.
const OPEN: u32 = 0o755;
/// The mode of any other file.
const OPEN_FILE: u32 = 0o644;

/// Appends the tree that was walked at `root`, by its own paths, as root's.
///
/// # Errors
/// Fails when a file is not what it was when the tree was walked, when one cannot be read, or when the writer fails.
pub fn write_archive<W: Write>(
    tree: &SourceTree,
    root: &Path,
    writer: &mut LayerWriter<W>,
) -> Result<(), SourceLayerError> {
    for source in tree.entries() {
        let mode = match &source.kind {
            SourceKind::Directory | SourceKind::File { executable: true, .. } => OPEN,
            SourceKind::Symlink { .. } => 0o777,
            SourceKind::File { .. } => OPEN_FILE,
        };
        append_source(source, source.path.clone(), mode, (0, 0), root, writer)?;
    }
    Ok(())
}

impl SourceTree {
    /// The links that lead out of the tree, which unpackers refuse for good reason.
    pub fn outward_links(&self) -> Vec<&EntryPath> {
        let leads_out = |path: &EntryPath, target: &[u8]| {
            let mut depth = path.as_bytes().iter().filter(|byte| **byte == b'/').count();
            target.starts_with(b"/")
                || target.split(|byte| *byte == b'/').any(|part| match part {
                    b".." if depth == 0 => true,
                    b".." => {
                        depth -= 1;
                        false
                    }
                    b"" | b"." => false,
                    _ => {
                        depth += 1;
                        false
                    }
                })
        };
        let out = self
            .entries()
            .iter()
            .filter(|entry| matches!(&entry.kind, SourceKind::Symlink { target } if leads_out(&entry.path, target)));
        out.map(|entry| &entry.path).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::inputs::ignore::IgnoreRules;
    use crate::inputs::source::{WalkOptions, walk};

    fn archive(root: &Path) -> Vec<u8> {
        let tree = walk(root, &IgnoreRules::default(), &WalkOptions::default()).unwrap();
        let mut writer = LayerWriter::new(Vec::new());
        write_archive(&tree, root, &mut writer).unwrap();
        writer.finish().unwrap().1
    }

    #[test]
    fn archives_of_equal_trees_are_equal_and_keep_names_with_spaces() {
        let roots = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        for (root, mode) in roots.iter().zip([0o600, 0o644]) {
            fs::create_dir(root.path().join("a b")).unwrap();
            fs::write(root.path().join("a b/c d.py"), "x").unwrap();
            fs::set_permissions(root.path().join("a b/c d.py"), fs::Permissions::from_mode(mode)).unwrap();
        }
        let [one, other] = roots.map(|root| archive(root.path()));
        assert_eq!(one, other);
        let mut read = tar::Archive::new(flate2::read::MultiGzDecoder::new(&one[..]));
        let names = read.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
        assert_eq!(names.collect::<Vec<_>>(), ["a b/", "a b/c d.py"]);
    }

    #[test]
    fn links_that_lead_out_are_found() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("d")).unwrap();
        let links =
            [("abroad", "/etc"), ("d/in", "../x"), ("d/out", "../../x"), ("self", "./d/../d"), ("up", "d/../..")];
        for (name, target) in links {
            symlink(target, root.path().join(name)).unwrap();
        }
        let tree = walk(root.path(), &IgnoreRules::default(), &WalkOptions::default()).unwrap();
        let found: Vec<String> = tree.outward_links().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["abroad", "d/out", "up"]);
    }
}
