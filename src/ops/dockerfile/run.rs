//! Carries out the commands of a `RUN` that are known: small changes of files here, installations in `python`.
//!
//! A command that cannot be carried out leaves the stage as it was, and the whole `RUN` to a backend.

use crate::dockerfile::run::{ChownGroup, KnownRun, Mounted, Pattern, RunStep, Step, VenvTool, read_run};
use crate::dockerfile::{Run, absolute};
use crate::image::filesystem::{Change, Content, Filesystem, Found, LayerIndex, Node, NodeKind};
use crate::image::users::{Owner, resolve_user};
use crate::layer::EntryPath;
use crate::plan::files::{LinkOptions, NewOwner, NotNative, Placed, RemoveOptions, StageFiles};

use super::super::error::OpsError;
use super::evaluate::{Evaluation, Outcome};
use super::stage::Stage;

/// What the commands of `run` are, by its text alone.
///
/// # Errors
/// Fails with the reason when one is not known.
pub(super) fn known(stage: &Stage, run: &Run) -> Result<KnownRun, NotNative> {
    let lookup = |name: &str| stage.scope.value(name).or_else(|| home(stage, name));
    read_run(run, &stage.config.config.shell().unwrap_or_default(), &lookup)
        .map_err(|unknown| NotNative::because(format!("`{}`: {}", unknown.command, unknown.reason)))
}

/// A container's home where its config names none: that of root, when it runs as root.
fn home(stage: &Stage, name: &str) -> Option<String> {
    let is_root = matches!(stage.config.config.user(), None | Some("root" | "0" | "root:root" | "0:0"));
    (name == "HOME" && is_root).then(|| "/root".to_owned())
}

/// The home of who runs the stage's commands: by `HOME`, else by the stage's own list of users.
pub(super) fn home_of(stage: &Stage, files: &StageFiles) -> Option<String> {
    if let Some(home) = stage.scope.value("HOME").or_else(|| home(stage, "HOME")) {
        return Some(home);
    }
    let user = stage.config.config.user()?.split(':').next()?.to_owned();
    let Content::Known(users) = files.view().content("etc/passwd") else { return None };
    let users = String::from_utf8_lossy(users).into_owned();
    let mut lines = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let fields = lines.find(|fields| fields.len() > 5 && (fields[0] == user || fields[2] == user))?;
    Some(fields[5].to_owned()).filter(|home| home.starts_with('/'))
}

/// Where a command is run, and by whom.
pub(super) struct Place {
    folder: String,
    pub(super) owner: Owner,
    /// Changes of files that no layer has yet, and the command that began them.
    made: Vec<Placed>,
    first: String,
    /// The stage's files before them.
    before: StageFiles,
}

impl Evaluation<'_> {
    /// Carries the commands of `run` out.
    pub(super) async fn run(&mut self, stage: &mut Stage, run: &Run) -> Result<Outcome, OpsError> {
        let known = match known(stage, run) {
            Ok(known) => known,
            Err(reason) => return Ok(Err(reason)),
        };
        let owner = match self.runner(stage).await? {
            Ok(owner) => owner,
            Err(reason) => return Ok(Err(reason)),
        };
        self.files(stage).await?;
        let mut draft = stage.clone();
        let (folder, before) = (stage.config.working_dir(), StageFiles::default());
        let mut place = Place { folder, owner, made: Vec::new(), first: String::new(), before };
        let mut whys: Vec<String> = Vec::new();
        for step in &known.steps {
            match self.command(&mut draft, &known.mounts, step, &mut place).await? {
                Ok(why) => whys.extend(Some(why).filter(|why| !why.is_empty() && !whys.contains(why))),
                Err(NotNative { reason }) => {
                    return Ok(Err(NotNative::because(format!("`{}`: {reason}", step.command))));
                }
            }
        }
        self.flush(&mut draft, &mut place)?;
        *stage = draft;
        Ok(Ok(if whys.is_empty() { "it changes no file".to_owned() } else { whys.join("; ") }))
    }

    /// Makes one layer of the changes of files so far.
    fn flush(&self, stage: &mut Stage, place: &mut Place) -> Result<(), OpsError> {
        if place.made.is_empty() {
            return Ok(());
        }
        let joined = Placed::joined(&place.before, std::mem::take(&mut place.made));
        self.place(stage, joined, std::mem::take(&mut place.first))
    }

    async fn command(
        &mut self,
        stage: &mut Stage,
        mounts: &[Mounted],
        step: &Step,
        place: &mut Place,
    ) -> Result<Outcome, OpsError> {
        let files = self.files(stage).await?;
        if let Some(reason) = step.patterns.iter().find_map(|pattern| matching(&files, pattern, &place.folder)) {
            return Ok(Err(reason));
        }
        if matches!(
            step.does,
            RunStep::Pip(_)
                | RunStep::UvSync(_)
                | RunStep::PoetryInstall(_)
                | RunStep::PoetryConfig(_)
                | RunStep::Venv(_)
                | RunStep::AddUser(_)
                | RunStep::AddGroup(_)
                | RunStep::AddMember(_)
        ) {
            self.flush(stage, place)?;
        }
        match &step.does {
            RunStep::Nothing => Ok(Ok(String::new())),
            RunStep::ChangeFolder(path) => {
                place.folder = absolute(&place.folder, path);
                match files.view().reach(&place.folder, true) {
                    Ok(reached) if reached.is_directory() => Ok(Ok(String::new())),
                    _ => Ok(Err(NotNative::because(format!("`{}` is no folder that is known", place.folder)))),
                }
            }
            RunStep::Pip(install) => self.pip(stage, mounts, step, install, (&place.folder, place.owner)).await,
            RunStep::PoetryInstall(install) => {
                self.poetry(stage, mounts, step, install, (&place.folder, place.owner)).await
            }
            RunStep::PoetryConfig(setting) => {
                self.poetry_config(stage, mounts, step, *setting, (&place.folder, place.owner)).await
            }
            RunStep::AddUser(_) | RunStep::AddGroup(_) | RunStep::AddMember(_) => {
                match self.add_account(stage, &files, step, place, mounts)? {
                    Ok(()) => Ok(Ok("users and groups".into())),
                    Err(reason) => Ok(Err(reason)),
                }
            }
            RunStep::UvSync(sync) => self.uv_sync(stage, (mounts, step, sync), (&place.folder, place.owner)).await,
            RunStep::Venv(venv) if venv.tool == VenvTool::Uv => {
                self.uv_venv(stage, (mounts, step, venv), (&place.folder, place.owner)).await
            }
            RunStep::Venv(venv) => self.venv(stage, mounts, step, venv, (&place.folder, place.owner)).await,
            RunStep::Activate(folder) => Ok(super::venv::activated(&files, folder)),
            other => match changed(files.clone(), other, place, mounts) {
                None => Ok(Err(NotNative::because("it is not carried out without running it"))),
                Some(Err(reason)) => Ok(Err(reason)),
                Some(Ok(made)) => {
                    if place.made.is_empty() {
                        (place.before, place.first) = (files, step.command.clone());
                    }
                    place.made.extend(made.iter().cloned());
                    if let Some(last) = made.into_iter().next_back() {
                        stage.files = Some(last.after);
                    }
                    Ok(Ok("small changes of files".into()))
                }
            },
        }
    }
}

/// Why a pattern of file names stands in the way: files match it, or nobody knows.
fn matching(files: &StageFiles, pattern: &Pattern, folder: &str) -> Option<NotNative> {
    let text = pattern.text();
    let below = absolute(folder, &pattern.folder());
    let reached = match files.view().reach(&below, true) {
        Ok(reached) if reached.found == Found::Absent && !reached.path.is_empty() => return None,
        Ok(reached) => reached,
        Err(_) => return None,
    };
    if reached.found == Found::Unknown {
        return Some(NotNative::unknown(&reached.path));
    }
    if text[pattern.folder().len()..].contains('/') {
        return Some(NotNative::because(format!("`{text}` is a pattern of folders")));
    }
    let listing = files.view().list(&reached.path);
    let is_match = |path: &&EntryPath| {
        let name = String::from_utf8_lossy(path.file_name()).into_owned();
        pattern.matches(&format!("{}{name}", pattern.folder()))
    };
    match listing.entries.iter().map(|(path, _)| *path).find(is_match) {
        Some(path) => Some(NotNative::because(format!("`{text}` is a pattern that matches `/{path}`"))),
        None if !listing.is_complete => Some(NotNative::because(format!("what matches `{text}` is not known"))),
        None => None,
    }
}

/// What a command changes, as layers one after the other; `None` when this module does not know the command.
fn changed(
    files: StageFiles,
    step: &RunStep,
    place: &Place,
    mounts: &[Mounted],
) -> Option<Result<Vec<Placed>, NotNative>> {
    let mut changes = Changes { files, made: Vec::new(), place, mounts };
    let done = match step {
        RunStep::Mkdir { paths, parents, mode } => {
            let mode = mode.as_ref().map(|mode| mode.apply(0o777, true));
            changes.each(paths, |files, path| files.make_directory(path, *parents, mode, place.owner))
        }
        RunStep::Chmod { paths, mode, recursive } => {
            changes.each(paths, |files, path| files.change_mode(path, mode, *recursive))
        }
        RunStep::Chown { paths, user, group, recursive, no_dereference } if !no_dereference || *recursive => {
            match new_owner(&changes.files, user.as_deref(), group) {
                Ok(owner) => changes.each(paths, |files, path| files.change_owner(path, owner, *recursive)),
                Err(reason) => Err(reason),
            }
        }
        RunStep::Link { targets, place: at, symbolic: true, force, no_dereference, no_target_folder } => {
            let options = LinkOptions { force: *force, no_dereference: *no_dereference || *no_target_folder };
            let at = at.clone().unwrap_or_else(|| ".".to_owned());
            targets
                .iter()
                .try_for_each(|target| changes.one(&at, |files, path| files.link(target, path, options, place.owner)))
        }
        RunStep::Remove { paths, recursive, force, empty_folders: false } => {
            let options = RemoveOptions { recursive: *recursive, force: *force };
            changes.each(paths, |files, path| files.remove_path(path, options))
        }
        RunStep::Touch { paths, no_create: false } => changes.each(paths, |files, path| files.touch(path, place.owner)),
        _ => return None,
    };
    // Who is not root may not do all of this everywhere; a backend says so in its own words.
    let is_root = place.owner.uid == 0;
    let made = std::mem::take(&mut changes.made);
    Some(done.and_then(|()| {
        let is_empty = made.iter().all(|placed| placed.files.is_empty());
        if is_root || is_empty {
            Ok(made)
        } else {
            Err(NotNative::because("it is run by a user who may lack the right"))
        }
    }))
}

/// Changes of files, one upon the other.
struct Changes<'a> {
    files: StageFiles,
    made: Vec<Placed>,
    place: &'a Place,
    mounts: &'a [Mounted],
}

impl Changes<'_> {
    fn each(
        &mut self,
        paths: &[String],
        change: impl Fn(&StageFiles, &str) -> Result<Placed, NotNative>,
    ) -> Result<(), NotNative> {
        paths.iter().try_for_each(|path| self.one(path, &change))
    }

    fn one(
        &mut self,
        path: &str,
        change: impl Fn(&StageFiles, &str) -> Result<Placed, NotNative>,
    ) -> Result<(), NotNative> {
        let at = absolute(&self.place.folder, path);
        let covers = |target: &str| at == target || at.starts_with(&format!("{}/", target.trim_end_matches('/')));
        // What is below a mount is not the image's.
        if self.mounts.iter().filter_map(Mounted::target).any(covers) {
            return Ok(());
        }
        // A slash at the end says something of its own.
        let at = if path.ends_with('/') { format!("{at}/") } else { at };
        let placed = change(&self.files, &at)?;
        self.files = placed.after.clone();
        self.made.push(placed);
        Ok(())
    }
}

/// Who a user and a group are for a command, by the stage's own files.
///
/// # Errors
/// Fails when those files are not known, or do not name them.
pub(super) fn account(files: &StageFiles, text: &str) -> Result<Owner, NotNative> {
    let mut changes = Vec::new();
    for file in ["etc/passwd", "etc/group"] {
        match files.view().content(file) {
            Content::Known(content) => {
                let node = Node::new(NodeKind::File { size: content.len() as u64 }, 0o644, 0, 0).with_content(content);
                let path = EntryPath::parse(file).map_err(|error| NotNative::because(error.to_string()))?;
                changes.push((path, Change::Put(node)));
            }
            Content::Absent => {}
            Content::Unknown => return Err(NotNative::unknown(file.as_bytes())),
        }
    }
    let known = Filesystem::merge([LayerIndex::new(changes)]);
    let known = known.map_err(|error| NotNative::because(error.to_string()))?;
    resolve_user(&known, text).map_err(|error| NotNative::because(error.to_string()))
}

/// The owner that `chown` gives.
fn new_owner(files: &StageFiles, user: Option<&str>, group: &ChownGroup) -> Result<NewOwner, NotNative> {
    let mut owner = NewOwner::default();
    if let Some(user) = user {
        let found = account(files, user)?;
        owner.uid = Some(found.uid);
        if *group == ChownGroup::Own {
            owner.gid = Some(found.gid);
        }
    }
    if let ChownGroup::Named(name) = group {
        owner.gid = Some(account(files, &format!("0:{name}"))?.gid);
    }
    Ok(owner)
}
