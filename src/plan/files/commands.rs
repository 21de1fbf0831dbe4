//! Small commands on the files of a stage: making directories, modes, owners, links, removal.
//!
//! What cannot be told from the plan, or would need the content of a file of the parent, is not native; nothing is
//! guessed.

use crate::image::filesystem::{Found, Node, NodeKind, Reached};
use crate::image::mode::ModeChange;
use crate::image::users::Owner;
use crate::layer::EntryPath;

use super::placed::{FileContent, PlacedEntry, PlacedKind};
use super::stage::{Draft, NotNative, Placed, StageFiles};

/// The mode of a directory that a command makes.
const DIRECTORY: u32 = 0o755;
/// The mode of a file that a command makes.
const FILE: u32 = 0o644;
const SET_USER: u32 = 0o4000;
const SET_GROUP: u32 = 0o2000;
const GROUP_EXECUTES: u32 = 0o010;

/// The owner that chown(1) sets; what is `None` stays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewOwner {
    /// User ID.
    pub uid: Option<u64>,
    /// Group ID.
    pub gid: Option<u64>,
}

/// How `ln -s` is asked to make a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkOptions {
    /// `-f`: what is there is replaced.
    pub force: bool,
    /// `-n` or `-T`: a link to a directory is not followed.
    pub no_dereference: bool,
}

/// How `rm` is asked to remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveOptions {
    /// `-r`: directories too.
    pub recursive: bool,
    /// `-f`: what is missing is no error.
    pub force: bool,
}

impl StageFiles {
    /// Makes the folder of `WORKDIR`, with those above that are missing: mode 0755, of `owner`.
    ///
    /// # Errors
    /// Fails when something on the way is no directory, or unknown.
    pub fn working_directory(&self, path: &str, owner: Option<Owner>) -> Result<Placed, NotNative> {
        let mut draft = Draft::on(self);
        let real = reach(&draft, path, true)?.path;
        draft.make_directories(&real, DIRECTORY, owner)?;
        Ok(draft.finish())
    }

    /// `mkdir`, of which `parents` is `-p` and `mode` the argument of `-m`, as `owner`.
    ///
    /// # Errors
    /// Fails when something on the way is no directory, is missing without `parents`, or unknown, and when the directory
    /// exists without `parents`.
    pub fn make_directory(
        &self,
        path: &str,
        parents: bool,
        mode: Option<u32>,
        owner: Owner,
    ) -> Result<Placed, NotNative> {
        let mut draft = Draft::on(self);
        let reached = reach(&draft, path, true)?;
        let exists = reached.path.is_empty() || reached.found != Found::Absent;
        if reached.is_directory() && parents {
            return Ok(draft.finish());
        }
        if exists {
            return Err(NotNative::because(format!("`{path}` exists")));
        }
        let real = reached.path;
        if !parents {
            parent_exists(&draft, &real)?;
        }
        let ends = real.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([real.len()]);
        for end in ends.filter(|end| *end > 0).collect::<Vec<_>>() {
            if draft.view().find(&real[..end]) == Found::Absent {
                let above = draft.view().directories_above(&real[..end]).last().map(|(_, node)| (node.mode, node.gid));
                let handed = above.filter(|(mode, _)| mode & SET_GROUP != 0);
                let owner = Owner { gid: handed.map_or(owner.gid, |(_, gid)| gid), ..owner };
                let bits = mode.filter(|_| end == real.len()).unwrap_or(DIRECTORY);
                let mode = bits | handed.map_or(0, |_| SET_GROUP);
                draft.put(
                    PlacedEntry { path: entry_path(&real[..end])?, kind: PlacedKind::Directory, mode, owner },
                    None,
                );
            } else {
                draft.make_directories(&real[..end], DIRECTORY, None)?;
            }
        }
        Ok(draft.finish())
    }

    /// `chmod`, of which `recursive` is `-R`.
    ///
    /// # Errors
    /// Fails when the path is missing or unknown, or a file's content is not this plan's to place again.
    pub fn change_mode(&self, path: &str, change: &ModeChange, recursive: bool) -> Result<Placed, NotNative> {
        self.change(path, recursive, true, |node| {
            let mode = match node.kind {
                NodeKind::Symlink { .. } => node.mode,
                _ => change.apply(node.mode, node.is_directory()),
            };
            (mode, Owner { uid: node.uid, gid: node.gid })
        })
    }

    /// `chown`, of which `recursive` is `-R`, which then changes links themselves.
    ///
    /// # Errors
    /// As [`StageFiles::change_mode`].
    pub fn change_owner(&self, path: &str, owner: NewOwner, recursive: bool) -> Result<Placed, NotNative> {
        self.change(path, recursive, !recursive, |node| {
            let mut mode = node.mode;
            // Linux takes these bits from a file whose owner changes, whoever changes it.
            if node.is_file() {
                mode &= !SET_USER;
                if mode & GROUP_EXECUTES != 0 {
                    mode &= !SET_GROUP;
                }
            }
            (mode, Owner { uid: owner.uid.unwrap_or(node.uid), gid: owner.gid.unwrap_or(node.gid) })
        })
    }

    fn change(
        &self,
        path: &str,
        recursive: bool,
        follow: bool,
        metadata: impl Fn(&Node) -> (u32, Owner),
    ) -> Result<Placed, NotNative> {
        let mut draft = Draft::on(self);
        let reached = reach(&draft, path, follow)?;
        if reached.path.is_empty() {
            return Err(NotNative::because("it changes the root directory"));
        }
        let mut pending = vec![(entry_path(&reached.path)?, existing(&reached, path)?.clone())];
        while let Some((at, node)) = pending.pop() {
            if recursive && node.is_directory() {
                let listing = self.view().list(at.as_bytes());
                if !listing.is_complete {
                    return Err(NotNative::unknown(at.as_bytes()));
                }
                pending.extend(listing.entries.into_iter().map(|(path, node)| (path.clone(), node.clone())));
            }
            let (mode, owner) = metadata(&node);
            if (mode, owner) != (node.mode, Owner { uid: node.uid, gid: node.gid }) {
                let kept = node.content().map(Into::into);
                draft.put(PlacedEntry { kind: self.again(&at, &node)?, path: at, mode, owner }, kept);
            }
        }
        Ok(draft.finish())
    }

    /// The entry that is there, to be placed once more with other metadata.
    fn again(&self, path: &EntryPath, node: &Node) -> Result<PlacedKind, NotNative> {
        match &node.kind {
            NodeKind::Directory => Ok(PlacedKind::Directory),
            NodeKind::Symlink { target } => Ok(PlacedKind::Symlink { target: target.clone() }),
            NodeKind::Special => Err(NotNative::because(format!("`/{path}` is no regular file"))),
            NodeKind::File { .. } => match self.held(path) {
                Some(held) if held.is_shared => Err(NotNative::because(format!("`/{path}` has other names"))),
                Some(held) => Ok(PlacedKind::File { size: held.size, content: held.content.clone() }),
                None => Err(NotNative::because(format!("the content of `/{path}` is not of this build's own files"))),
            },
        }
    }

    /// `ln -s TARGET PATH`, as `owner`.
    ///
    /// # Errors
    /// Fails when something is there that is not to be replaced, a directory above is missing, or either is unknown.
    pub fn link(&self, target: &str, path: &str, options: LinkOptions, owner: Owner) -> Result<Placed, NotNative> {
        let mut draft = Draft::on(self);
        let asked = reach(&draft, path, !options.no_dereference)?;
        if asked.found == Found::Unknown && !asked.path.is_empty() {
            return Err(NotNative::unknown(&asked.path));
        }
        let real = if asked.is_directory() {
            let name = target.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
            let below = format!("{}/{name}", String::from_utf8_lossy(&asked.path));
            reach(&draft, &below, false)?.path
        } else {
            reach(&draft, path, false)?.path
        };
        parent_exists(&draft, &real)?;
        match draft.view().find(&real) {
            Found::Absent => {}
            Found::Known(node) if options.force && !node.is_directory() => {}
            Found::Known(_) => return Err(NotNative::because(format!("`{path}` exists"))),
            Found::Unknown => return Err(NotNative::unknown(&real)),
        }
        let kind = PlacedKind::Symlink { target: target.into() };
        draft.put(PlacedEntry { path: entry_path(&real)?, kind, mode: 0o777, owner }, None);
        Ok(draft.finish())
    }

    /// `rm PATH`.
    ///
    /// # Errors
    /// Fails when the path is unknown, is missing without `force`, or is a directory without `recursive`.
    pub fn remove_path(&self, path: &str, options: RemoveOptions) -> Result<Placed, NotNative> {
        let mut draft = Draft::on(self);
        let reached = match draft.view().reach(path, false) {
            Ok(reached) => reached,
            Err(_) if options.force => return Ok(draft.finish()),
            Err(error) => return Err(NotNative::because(error.to_string())),
        };
        if reached.path.is_empty() {
            return Err(NotNative::because("it removes the root directory"));
        }
        match reached.found {
            Found::Absent if options.force => {}
            Found::Absent => return Err(NotNative::because(format!("`{path}` does not exist"))),
            // Below an unknown directory even a whiteout would be a guess.
            Found::Unknown => return Err(NotNative::unknown(&reached.path)),
            Found::Known(node) if node.is_directory() && !options.recursive => {
                return Err(NotNative::because(format!("`{path}` is a directory")));
            }
            Found::Known(_) => {
                let real = entry_path(&reached.path)?;
                draft.remove(&real);
            }
        }
        Ok(draft.finish())
    }

    /// `touch PATH`, as `owner`; times are not kept, so what exists stays as it is.
    ///
    /// # Errors
    /// Fails when the path is unknown or the directory above is missing.
    pub fn touch(&self, path: &str, owner: Owner) -> Result<Placed, NotNative> {
        let mut draft = Draft::on(self);
        let reached = reach(&draft, path, true)?;
        match reached.found {
            Found::Unknown => return Err(NotNative::unknown(&reached.path)),
            Found::Known(_) => {}
            Found::Absent if reached.path.is_empty() => {}
            Found::Absent => {
                let real = reached.path.clone();
                parent_exists(&draft, &real)?;
                let above = draft.view().directories_above(&real).last().map(|(_, node)| (node.mode, node.gid));
                let handed = above.filter(|(mode, _)| mode & SET_GROUP != 0);
                let owner = Owner { gid: handed.map_or(owner.gid, |(_, gid)| gid), ..owner };
                let kind = PlacedKind::File { size: 0, content: FileContent::Text([].into()) };
                draft.put(PlacedEntry { path: entry_path(&real)?, kind, mode: FILE, owner }, Some([].into()));
            }
        }
        Ok(draft.finish())
    }
}

fn reach<'a>(draft: &'a Draft, path: &str, follow: bool) -> Result<Reached<'a>, NotNative> {
    let reached = draft.view().reach(path, follow).map_err(|error| NotNative::because(error.to_string()))?;
    if reached.found == Found::Unknown && !reached.path.is_empty() {
        return Err(NotNative::unknown(&reached.path));
    }
    Ok(reached)
}

fn existing<'a>(reached: &Reached<'a>, path: &str) -> Result<&'a Node, NotNative> {
    reached.found.node().ok_or_else(|| NotNative::because(format!("`{path}` does not exist")))
}

fn entry_path(real: &[u8]) -> Result<EntryPath, NotNative> {
    EntryPath::parse(real).map_err(|error| NotNative::because(error.to_string()))
}

fn parent_exists(draft: &Draft, real: &[u8]) -> Result<(), NotNative> {
    let Some(slash) = real.iter().rposition(|byte| *byte == b'/') else { return Ok(()) };
    let parent = &real[..slash];
    match draft.view().find(parent) {
        Found::Known(node) if node.is_directory() => Ok(()),
        Found::Unknown => Err(NotNative::unknown(parent)),
        _ => Err(NotNative::because(format!("`/{}` is no directory", String::from_utf8_lossy(parent)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::filesystem::View;
    use crate::plan::files::PlacedFiles;

    const ROOT: Owner = Owner { uid: 0, gid: 0 };

    /// A line a change, the stage as it is then.
    fn lines(placed: &Placed) -> Vec<String> {
        let PlacedFiles { removed, entries, .. } = &placed.files;
        let entry = |entry: &PlacedEntry| {
            let kind = match &entry.kind {
                PlacedKind::Directory => "dir".to_owned(),
                PlacedKind::File { size, .. } => format!("file {size}"),
                PlacedKind::Symlink { target } => format!("link {}", String::from_utf8_lossy(target)),
                PlacedKind::Hardlink { target } => format!("same {target}"),
            };
            format!("{} {:o} {}:{} {kind}", entry.path, entry.mode, entry.owner.uid, entry.owner.gid)
        };
        removed.iter().map(|path| format!("- {path}")).chain(entries.iter().map(entry)).collect()
    }

    fn stage() -> StageFiles {
        let mut stage = StageFiles::new(View::default());
        let path = |text: &str| EntryPath::parse(text).unwrap();
        let node = |kind, mode| Node::new(kind, mode, 1, 2);
        stage.put(path("srv"), node(NodeKind::Directory, 0o2775));
        stage.put(path("srv/theirs"), node(NodeKind::File { size: 3 }, 0o644));
        stage.put(path("l"), node(NodeKind::Symlink { target: b"srv".into() }, 0o777));
        stage.put(path("u"), node(NodeKind::Directory, 0o755));
        stage.mark_contents_unknown(&path("u"));
        let mut draft = Draft::on(&stage);
        let content = FileContent::Text((*b"ours").into());
        let kind = PlacedKind::File { size: 4, content };
        draft.put(PlacedEntry { path: path("app/ours"), kind, mode: 0o4711, owner: Owner { uid: 5, gid: 6 } }, None);
        draft.finish().after
    }

    #[test]
    fn directories_are_made_as_the_command_makes_them() {
        let stage = stage();
        let owner = Owner { uid: 7, gid: 8 };
        let made = stage.make_directory("/l/a/b", true, Some(0o700), owner).unwrap();
        assert_eq!(lines(&made), ["srv/a 2755 7:2 dir", "srv/a/b 2700 7:2 dir"]);
        let directory = &made.files.directories[0];
        assert_eq!((directory.path.as_bytes(), directory.mode), (&b"srv"[..], 0o2775));
        assert!(made.after.make_directory("/srv/a", true, None, owner).unwrap().files.is_empty());
        for (path, parents) in [("/srv/a", false), ("/new/b", false), ("/srv/theirs/x", true), ("/u/x", true)] {
            assert!(made.after.make_directory(path, parents, None, owner).is_err(), "{path}");
        }
        let made = stage.working_directory("/l/w", None).unwrap();
        assert_eq!(lines(&made), ["srv/w 755 0:2 dir"]);
    }

    #[test]
    fn own_files_are_placed_again_and_the_parents_are_not_native() {
        let stage = stage();
        let plus = ModeChange::parse_as_command("+w").unwrap();
        assert_eq!(lines(&stage.change_mode("/app", &plus, true).unwrap()), ["app/ours 4711 5:6 file 4"; 0]);
        let open = ModeChange::parse_as_command("755").unwrap();
        assert_eq!(lines(&stage.change_mode("/app", &open, true).unwrap()), ["app/ours 755 5:6 file 4"]);
        assert_eq!(lines(&stage.change_mode("/l", &open, false).unwrap()), ["srv 2755 1:2 dir"]);
        let owner = NewOwner { uid: Some(9), gid: None };
        let all = stage.change_owner("/app", owner, true).unwrap();
        assert_eq!(lines(&all), ["app 755 9:0 dir", "app/ours 711 9:6 file 4"]);
        assert_eq!(lines(&stage.change_owner("/l", owner, true).unwrap()), ["l 777 9:2 link srv"]);
        let reason = stage.change_owner("/srv", owner, true).unwrap_err().reason;
        assert_eq!(reason, "the content of `/srv/theirs` is not of this build's own files");
        let reason = stage.change_mode("/u", &open, true).unwrap_err().reason;
        assert_eq!(reason, "what is at `/u` is not known before it is made");
    }

    #[test]
    fn links_removals_and_touches() {
        let stage = stage();
        let force = LinkOptions { force: true, ..LinkOptions::default() };
        let plain = LinkOptions::default();
        assert_eq!(lines(&stage.link("/app/ours", "/srv", plain, ROOT).unwrap()), ["srv/ours 777 0:0 link /app/ours"]);
        assert_eq!(lines(&stage.link("x", "/l/theirs", force, ROOT).unwrap()), ["srv/theirs 777 0:0 link x"]);
        let replaced = LinkOptions { force: true, no_dereference: true };
        assert_eq!(lines(&stage.link("x", "/l", replaced, ROOT).unwrap()), ["l 777 0:0 link x"]);
        assert!(
            stage.link("x", "/srv/theirs", plain, ROOT).is_err() && stage.link("x", "/no/where", force, ROOT).is_err()
        );
        let recursive = RemoveOptions { recursive: true, force: true };
        let gone = stage.remove_path("/l/theirs", RemoveOptions::default()).unwrap();
        assert_eq!(lines(&gone), ["- srv/theirs"]);
        let gone = stage.remove_path("/srv", recursive).unwrap();
        assert_eq!(gone.after.view().find(b"srv/theirs"), Found::Absent);
        assert!(stage.remove_path("/none/x", recursive).unwrap().files.is_empty());
        assert!(
            stage.remove_path("/u/x", recursive).is_err()
                && stage.remove_path("/app", RemoveOptions::default()).is_err()
        );
        assert_eq!(lines(&stage.touch("/srv/new", ROOT).unwrap()), ["srv/new 644 0:2 file 0"]);
        assert!(stage.touch("/srv/theirs", ROOT).unwrap().files.is_empty());
    }

    #[test]
    fn a_directory_that_takes_a_removed_ones_place_begins_empty() {
        let stage = stage();
        let path = |text: &str| EntryPath::parse(text).unwrap();
        let mut draft = Draft::on(&stage);
        draft.remove(&path("srv"));
        draft.put(PlacedEntry { path: path("srv"), kind: PlacedKind::Directory, mode: 0o755, owner: ROOT }, None);
        let placed = draft.finish();
        assert_eq!((placed.files.removed.len(), placed.files.emptied), (0, vec![path("srv")]));
        assert_eq!(placed.after.view().find(b"srv/theirs"), Found::Absent);
    }
}
