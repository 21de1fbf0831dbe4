//! The files of an image, read out of its layers one upon the other.
//!
//! Reads with other people's tar and inflate; nothing of lapstrake has a part in it, and nothing is written to the disk.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use flate2::read::MultiGzDecoder;
use sha2::{Digest, Sha256};

use crate::harness::Halt;

/// Bytes below which a program in `bin` may be a script.
const PROGRAM: usize = 1 << 20;
/// Files of which the text is kept: those whose lines an exception may look at.
const KEPT: [&str; 6] = ["RECORD", "INSTALLER", "pyvenv.cfg", "direct_url.json", "shadow", "shadow-"];

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Directory,
    /// Its length, and the SHA-256 of its bytes.
    File(u64, String),
    Link(String),
    /// A device or a pipe.
    Other(u8),
}

/// A path's node, permissions, owner, and what its program may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) node: Node,
    pub(crate) mode: u32,
    pub(crate) owner: (u64, u64),
    /// The attribute `security.capability`; empty without one.
    pub(crate) capability: Vec<u8>,
}

/// All paths of an image, without `/` at the front.
#[derive(Clone, Default)]
pub(crate) struct Merged {
    pub(crate) entries: BTreeMap<String, Entry>,
    texts: BTreeMap<String, String>,
}

/// What one layer says, in its order.
enum Change {
    Put(String, Entry, Option<String>),
    /// A hard link: path, and the path that it shares a file with.
    Same(String, String),
    Remove(String),
    Empty(String),
}

impl Merged {
    /// Lays the layer in this file over what is there.
    pub(crate) fn lay(&mut self, layer: &Path) -> Result<(), Halt> {
        let changes = read(layer).map_err(|error| Halt::Failed(format!("layer {}: {error}", layer.display())))?;
        // What a layer removes is of the layers below it, wherever in the layer that stands.
        for change in &changes {
            match change {
                Change::Remove(path) => self.remove(&self.resolved(path)),
                Change::Empty(path) => self.empty(&self.resolved(path)),
                _ => {}
            }
        }
        let mut shared = Vec::new();
        for change in changes {
            match change {
                Change::Put(path, entry, text) => self.put(&path, entry, text),
                Change::Same(path, of) => shared.push((path, of)),
                _ => {}
            }
        }
        for (path, of) in shared {
            let of = self.resolved(&of);
            let entry = self.entries.get(&of).cloned();
            let entry =
                entry.ok_or_else(|| Halt::Failed(format!("`{path}` is a link to `{of}`, which is not there")))?;
            self.put(&path, entry, self.texts.get(&of).cloned());
        }
        Ok(())
    }

    /// The text of a file of which it is kept.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.texts.get(path).map_or("", String::as_str)
    }

    fn put(&mut self, path: &str, entry: Entry, text: Option<String>) {
        let path = self.resolved(path);
        if path.is_empty() {
            return;
        }
        self.imply(&path);
        let is_folder = |entry: &Entry| entry.node == Node::Directory;
        if !is_folder(&entry) && self.entries.get(&path).is_some_and(is_folder) {
            self.empty(&path);
        }
        self.texts.remove(&path);
        self.texts.extend(text.map(|text| (path.clone(), text)));
        self.entries.insert(path, entry);
    }

    /// Folders that no layer names are root's.
    fn imply(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            let folder = Entry { node: Node::Directory, mode: 0o755, owner: (0, 0), capability: Vec::new() };
            self.entries.entry(path[..at].to_owned()).or_insert(folder);
        }
    }

    fn remove(&mut self, path: &str) {
        self.empty(path);
        self.entries.remove(path);
        self.texts.remove(path);
    }

    fn empty(&mut self, path: &str) {
        let below = format!("{path}/");
        self.entries.retain(|entry, _| !entry.starts_with(&below));
        self.texts.retain(|entry, _| !entry.starts_with(&below));
    }

    /// The path with the links of its folders followed, as an unpacking tool follows them below the root.
    fn resolved(&self, path: &str) -> String {
        let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut done = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(part),
            }
            let Some(Entry { node: Node::Link(target), .. }) = self.entries.get(&done.join("/")) else { continue };
            if todo.is_empty() || links > 40 {
                continue;
            }
            links += 1;
            done.pop();
            if target.starts_with('/') {
                done.clear();
            }
            todo.extend(target.split('/').rev().map(str::to_owned));
        }
        done.join("/")
    }
}

fn read(layer: &Path) -> std::io::Result<Vec<Change>> {
    let mut file = File::open(layer)?;
    let mut magic = [0; 2];
    file.read_exact(&mut magic)?;
    let file = std::io::BufReader::with_capacity(1 << 18, File::open(layer)?);
    let plain: Box<dyn Read> = if magic == [0x1f, 0x8b] { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut archive = tar::Archive::new(plain);
    let mut changes = Vec::new();
    for entry in archive.entries()? {
        changes.extend(change(entry?)?);
    }
    Ok(changes)
}

fn change<R: Read>(mut entry: tar::Entry<'_, R>) -> std::io::Result<Option<Change>> {
    let path = text(&entry.path_bytes());
    let path = path.trim_start_matches("./").trim_matches('/').to_owned();
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
    if name == ".wh..wh..opq" {
        return Ok(Some(Change::Empty(folder.to_owned())));
    }
    if let Some(name) = name.strip_prefix(".wh.") {
        return Ok(Some(Change::Remove(format!("{folder}/{name}").trim_start_matches('/').to_owned())));
    }
    let target = entry.link_name_bytes().map(|bytes| text(&bytes)).unwrap_or_default();
    let header = entry.header();
    let (mode, owner) = (header.mode()? & 0o7777, (header.uid()?, header.gid()?));
    let kind = header.entry_type();
    let capability = capability(&mut entry)?;
    let mut kept = None;
    let node = if kind.is_dir() {
        Node::Directory
    } else if kind.is_symlink() {
        Node::Link(target)
    } else if kind.is_hard_link() {
        return Ok(Some(Change::Same(path, target)));
    } else if kind.is_file() || kind.is_contiguous() {
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        let is_program = path.rsplit('/').nth(1) == Some("bin") && bytes.len() < PROGRAM;
        kept = (is_program || KEPT.contains(&name)).then(|| text(&bytes));
        let digest: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        Node::File(bytes.len() as u64, digest)
    } else if kind.is_pax_global_extensions() {
        return Ok(None);
    } else {
        Node::Other(kind.as_byte())
    };
    // Links have no permissions of their own.
    let mode = if matches!(node, Node::Link(_)) { 0 } else { mode };
    Ok(Some(Change::Put(path, Entry { node, mode, owner, capability }, kept)))
}

/// What the entry's PAX header says of its capabilities.
fn capability<R: Read>(entry: &mut tar::Entry<'_, R>) -> std::io::Result<Vec<u8>> {
    for record in entry.pax_extensions()?.into_iter().flatten() {
        let record = record?;
        if record.key_bytes() == b"SCHILY.xattr.security.capability" {
            return Ok(record.value_bytes().to_vec());
        }
    }
    Ok(Vec::new())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// One place where two images are not the same.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    pub(crate) path: String,
    pub(crate) ours: Option<Entry>,
    pub(crate) theirs: Option<Entry>,
}

impl Difference {
    /// For people: what is otherwise than expected.
    pub(crate) fn shown(&self) -> String {
        let what = match (&self.ours, &self.theirs) {
            (Some(_), None) => "is in ours alone".to_owned(),
            (None, _) => "is not in ours".to_owned(),
            (Some(ours), Some(theirs)) => differing(ours, theirs),
        };
        format!("{}: {what}", self.path)
    }
}

fn differing(ours: &Entry, theirs: &Entry) -> String {
    let mut parts = Vec::new();
    if ours.node != theirs.node {
        match (&ours.node, &theirs.node) {
            (Node::File(..), Node::File(..)) => parts.push("other bytes".to_owned()),
            (ours, theirs) => parts.push(format!("{ours:?} in place of {theirs:?}")),
        }
    }
    if ours.mode != theirs.mode {
        parts.push(format!("mode {:o} in place of {:o}", ours.mode, theirs.mode));
    }
    if ours.owner != theirs.owner {
        parts.push(format!("owner {:?} in place of {:?}", ours.owner, theirs.owner));
    }
    if ours.capability != theirs.capability {
        parts.push(format!("capability {:?} in place of {:?}", ours.capability, theirs.capability));
    }
    parts.join(", ")
}

/// Every path at which two images differ, in the order of the paths.
pub(crate) fn differences(ours: &Merged, theirs: &Merged) -> Vec<Difference> {
    let differ = |path: &String| {
        let (ours, theirs) = (ours.entries.get(path).cloned(), theirs.entries.get(path).cloned());
        (ours != theirs).then(|| Difference { path: path.clone(), ours, theirs })
    };
    let mut all: Vec<Difference> = ours.entries.keys().filter_map(differ).collect();
    let absent = theirs.entries.keys().filter(|path| !ours.entries.contains_key(*path));
    all.extend(absent.filter_map(differ));
    all.sort_by(|one, other| one.path.cmp(&other.path));
    all
}
