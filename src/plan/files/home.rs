//! The home folder of a user who is added, with what `/etc/skel` has for it.
//!
//! A home that is there already is left as it is, as the tools leave it.

use crate::image::filesystem::{Found, NodeKind};
use crate::image::users::Owner;

use super::accounts::entry_path;
use super::placed::{FileContent, PlacedEntry, PlacedKind};
use super::stage::{Draft, NotNative, StageFiles};

const SKELETON: &str = "etc/skel";
const ROOT: Owner = Owner { uid: 0, gid: 0 };
const SET_GROUP: u32 = 0o2000;

/// A home folder that is to be made.
pub(super) struct Home {
    /// Where.
    pub(super) path: String,
    /// Its mode.
    pub(super) mode: u32,
    /// Whose it is.
    pub(super) owner: Owner,
    /// Whether the files of `/etc/skel` come into it.
    pub(super) skeleton: bool,
    /// Parts of names of those that do not.
    pub(super) leaves_out: &'static [&'static str],
}

impl Home {
    /// Makes it, with the folders above that are missing.
    pub(super) fn make(&self, draft: &mut Draft, files: &StageFiles) -> Result<(), NotNative> {
        let reached = files.view().reach(&self.path, true).map_err(|error| NotNative::because(error.to_string()))?;
        let real = reached.path.clone();
        match reached.found {
            Found::Unknown if !real.is_empty() => return Err(NotNative::unknown(&real)),
            Found::Absent if !real.is_empty() => {}
            _ => return Ok(()),
        }
        let above = real.iter().rposition(|byte| *byte == b'/').map_or(&b""[..], |slash| &real[..slash]);
        if files.view().directories_above(&real).iter().any(|(_, node)| node.mode & SET_GROUP != 0) {
            return Err(NotNative::because("a folder above its home hands its group on"));
        }
        draft.make_directories(above, 0o755, Some(ROOT))?;
        let at = String::from_utf8_lossy(&real).into_owned();
        let path = entry_path(&at)?;
        draft.put(PlacedEntry { path, kind: PlacedKind::Directory, mode: self.mode, owner: self.owner }, None);
        if self.skeleton { self.fill(draft, files, &at) } else { Ok(()) }
    }

    fn fill(&self, draft: &mut Draft, files: &StageFiles, home: &str) -> Result<(), NotNative> {
        if !files.view().find(SKELETON.as_bytes()).node().is_some_and(|node| node.is_directory()) {
            return Err(NotNative::because("the image has no `/etc/skel`"));
        }
        let mut folders = vec![SKELETON.as_bytes().to_vec()];
        while let Some(folder) = folders.pop() {
            let listing = files.view().list(&folder);
            if !listing.is_complete {
                return Err(NotNative::unknown(&folder));
            }
            for (from, node) in listing.entries {
                let name = from.to_string();
                if self.leaves_out.iter().any(|part| name.contains(part)) {
                    return Err(NotNative::because(format!("`/{from}` may not be meant for a home")));
                }
                let path = entry_path(&format!("{home}{}", &name[SKELETON.len()..]))?;
                let kind = match &node.kind {
                    NodeKind::Directory => {
                        folders.push(from.as_bytes().to_vec());
                        PlacedKind::Directory
                    }
                    NodeKind::Symlink { target } => PlacedKind::Symlink { target: target.clone() },
                    NodeKind::File { size } => match (files.content(from), node.content()) {
                        (Some(content), _) => PlacedKind::File { size: *size, content: content.clone() },
                        (None, Some(kept)) => PlacedKind::File { size: *size, content: FileContent::Text(kept.into()) },
                        (None, None) => {
                            return Err(NotNative::because(format!("the content of `/{from}` is not known")));
                        }
                    },
                    NodeKind::Special => return Err(NotNative::because(format!("`/{from}` is no regular file"))),
                };
                draft.put(PlacedEntry { path, kind, mode: node.mode, owner: self.owner }, None);
            }
        }
        Ok(())
    }
}
