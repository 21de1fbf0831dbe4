//! Archives that `ADD` unpacks: told by their content, and unpacked on paper as BuildKit's unpacker does it on disk.
//!
//! Contents stay where they are; a layer names members by their number.

use std::io::{self, BufReader, Read};

use bzip2::read::MultiBzDecoder;
use lzma_rust2::XzReader;

use super::error::CopyError;
use super::place::{Contents, Placer, entry_path, join};
use crate::image::filesystem::{Found, Node, NodeKind, View};
use crate::image::users::Owner;
use crate::inputs::context::ContextTree;
use crate::inputs::ignore::IgnoreRules;
use crate::layer::EntryPath;
use crate::layer::read::{ReadLimits, TarEntry, TarError, TarKind, TarReader, decompress};
use crate::oci::{Compression, Digest};
use crate::plan::files::{CopyArguments, Draft, FileContent, NotNative, PlacedEntry, PlacedKind};

/// Memory that unpacking xz may take, in KiB; `xz -9` needs 64 MiB.
const XZ_MEMORY: u32 = 256 << 10;
/// Buffer of uncompressed bytes.
const BUFFER: usize = 128 << 10;
/// The mode of directories that an archive does not list.
const IMPLIED: u32 = 0o755;

/// Reads an archive's entries.
pub type ArchiveReader = TarReader<BufReader<Box<dyn Read + Send>>>;

/// Reads `file` as an archive, by its first bytes.
///
/// # Errors
/// Fails when the file cannot be read.
pub fn open_archive(mut file: impl Read + Send + 'static) -> io::Result<ArchiveReader> {
    let mut head = Vec::new();
    (&mut file).take(6).read_to_end(&mut head)?;
    let file = io::Cursor::new(head.clone()).chain(file);
    // What an archive unpacks to is bounded by nothing but the disk, as for BuildKit.
    let limits = ReadLimits { unpacked: u64::MAX, ..ReadLimits::default() };
    let plain: Box<dyn Read + Send> = match head.as_slice() {
        [0x1f, 0x8b, 0x08, ..] => Box::new(decompress(file, Compression::Gzip, &limits)?),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(decompress(file, Compression::Zstd, &limits)?),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Box::new(XzReader::new_mem_limit(file, true, XZ_MEMORY)),
        [b'B', b'Z', b'h', ..] => Box::new(MultiBzDecoder::new(file)),
        _ => Box::new(file),
    };
    Ok(TarReader::new(BufReader::with_capacity(BUFFER, plain), &limits))
}

/// Unpacks the file at `path` of the context into the destination; false when it is no archive.
pub(super) fn unpack(
    arguments: &CopyArguments,
    context: &ContextTree,
    path: &EntryPath,
    contents: &mut dyn Contents,
    draft: &mut Draft,
) -> Result<bool, CopyError> {
    let unread =
        |source| crate::inputs::source::WalkError::Unreadable { path: context.root().join(path.to_string()), source };
    let mut archive = open_archive(context.open(path)?).map_err(unread)?;
    let mut next = match archive.next_entry() {
        Ok(Some(entry)) => Some(entry),
        // What has no first entry is copied as it is, and so is what only looks like an archive.
        Ok(None) | Err(TarError::Io(_) | TarError::Checksum | TarError::Number | TarError::Truncated) => {
            return Ok(false);
        }
        Err(error) => return Err(strange(path, &error)),
    };
    let content = contents.content(path, &Node::new(NodeKind::File { size: 0 }, 0, 0, 0))?;
    let FileContent::Context { digest, .. } = content else { return Ok(contents.notes_only()) };
    let (view, exclude) = (View::default(), IgnoreRules::default());
    let bare = CopyArguments { mode: None, is_directory: true, ..arguments.clone() };
    let base = Placer::new(&view, contents, &bare, &exclude, draft).destination()?;
    let mut unpacking = Unpacking { base, owner: arguments.owner, draft, archive: (path.clone(), digest) };
    let mut number = 0;
    while let Some(entry) = next {
        let content = Member { number, archive: &mut archive };
        unpacking.entry(entry, content)?;
        number += 1;
        next = archive.next_entry().map_err(|error| match error {
            TarError::Io(_) | TarError::Truncated | TarError::Checksum | TarError::Number => {
                CopyError::Archive { path: path.to_string(), source: error }
            }
            other => strange(path, &other),
        })?;
    }
    Ok(true)
}

/// An archive that other readers may take; which ones, and how, differs.
fn strange(path: &EntryPath, error: &TarError) -> CopyError {
    NotNative::because(format!("`{path}` is an archive that is not read here: {error}")).into()
}

/// The content of the current entry.
struct Member<'a> {
    number: u64,
    archive: &'a mut ArchiveReader,
}

struct Unpacking<'a> {
    /// Where the archive goes; its own links do not lead out of there.
    base: Vec<u8>,
    owner: Option<Owner>,
    draft: &'a mut Draft,
    /// The archive and its digest.
    archive: (EntryPath, Digest),
}

impl Unpacking<'_> {
    fn entry(&mut self, entry: TarEntry, member: Member<'_>) -> Result<(), CopyError> {
        let name = clean(&entry.path);
        if name.is_empty() {
            return Ok(());
        }
        if name.rsplit(|byte| *byte == b'/').next().is_some_and(|name| name.starts_with(b".wh.")) {
            return Err(NotNative::because(format!("the archive has `{}`", text(&name))).into());
        }
        let real = self.real(&name)?;
        let path = entry_path(&real)?;
        match self.draft.view().find(&real) {
            Found::Unknown => return Err(NotNative::unknown(&real).into()),
            Found::Known(there) if !(there.is_directory() && entry.kind == TarKind::Directory) => {
                self.draft.remove(&path);
            }
            Found::Known(_) | Found::Absent => {}
        }
        let owner = self.owner.unwrap_or(Owner { uid: entry.uid, gid: entry.gid });
        let (kind, kept) = match entry.kind {
            TarKind::Directory => (PlacedKind::Directory, None),
            TarKind::Symlink { target } => {
                self.draft.put(PlacedEntry { path, kind: PlacedKind::Symlink { target }, mode: 0o777, owner }, None);
                return Ok(());
            }
            TarKind::Hardlink { target } => {
                let target = entry_path(&self.real(&clean(&target))?)?;
                return if self.draft.put_name(path, target.clone(), entry.mode, owner) {
                    Ok(())
                } else {
                    Err(NotNative::because(format!("the archive names `/{target}`, which is no file of its own"))
                        .into())
                };
            }
            TarKind::File => {
                let mut bytes = None;
                if View::keeps(&path, entry.size) {
                    let mut content = Vec::new();
                    member
                        .archive
                        .read_to_end(&mut content)
                        .map_err(|error| CopyError::Archive { path: text(&name), source: TarError::Io(error) })?;
                    bytes = Some(content.into());
                }
                (PlacedKind::File { size: entry.size, content: self.content(member.number) }, bytes)
            }
            TarKind::CharDevice | TarKind::BlockDevice | TarKind::Fifo => {
                return Err(
                    NotNative::because(format!("the archive holds the device or pipe `{}`", text(&name))).into()
                );
            }
        };
        self.draft.put(PlacedEntry { path, kind, mode: entry.mode, owner }, kept);
        Ok(())
    }

    fn content(&self, entry: u64) -> FileContent {
        let (archive, digest) = self.archive.clone();
        FileContent::Member { archive, digest, entry }
    }

    /// The real path of a member: links above it are followed as if the destination were the root.
    fn real(&mut self, name: &[u8]) -> Result<Vec<u8>, CopyError> {
        let (parent, file) = match name.iter().rposition(|byte| *byte == b'/') {
            Some(slash) => (&name[..slash], &name[slash + 1..]),
            None => (&[][..], name),
        };
        let mut real = self.base.clone();
        // Each part, and whether a link named it: those are not made when they are missing.
        let mut rest: Vec<(Vec<u8>, bool)> = parts(parent).rev().map(|part| (part.to_vec(), false)).collect();
        let mut links = 0;
        while let Some((part, is_linked)) = rest.pop() {
            if part == b".." {
                if real.len() > self.base.len() {
                    real.truncate(real.iter().rposition(|byte| *byte == b'/').unwrap_or(0));
                }
                continue;
            }
            let at = join(&real, &part);
            match self.draft.view().find(&at) {
                Found::Unknown => return Err(NotNative::unknown(&at).into()),
                Found::Known(Node { kind: NodeKind::Symlink { target }, .. }) if links < 40 => {
                    links += 1;
                    if target.starts_with(b"/") {
                        real.clone_from(&self.base);
                    }
                    rest.extend(parts(target).rev().map(|part| (part.to_vec(), true)));
                }
                Found::Known(node) if !node.is_directory() => return Err(CopyError::DirectoryOverFile(text(&at))),
                Found::Absent if is_linked => return Err(CopyError::DirectoryOverFile(text(&at))),
                Found::Known(_) | Found::Absent => real = at,
            }
        }
        self.draft.make_directories(&real, IMPLIED, Some(Owner::default()))?;
        Ok(join(&real, file))
    }
}

fn parts(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/').filter(|part| !matches!(part, [] | [b'.']))
}

/// The clean path of a member below the destination; `..` stops there.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut clean: Vec<&[u8]> = Vec::new();
    for part in parts(path) {
        if part == b".." {
            clean.pop();
        } else {
            clean.push(part);
        }
    }
    clean.join(&b'/')
}

fn text(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}
