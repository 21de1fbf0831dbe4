//! What one command of a RUN line does.
//!
//! Paths are as they were written, variables and `~` replaced: what they are relative to is the working folder, which
//! `ChangeFolder` steps change. Whether a path exists is not known here.

use std::collections::BTreeMap;

use super::accounts::{AddGroup, AddMember, AddUser};
use super::mode::Mode;
use super::mounted::Mounted;
use super::pattern::Pattern;
use super::pip::PipInstall;
use super::poetry::{PoetryInstall, PoetrySetting};
use super::sync::UvSync;
use super::venv::Venv;

/// A RUN line of which every command is known.
///
/// It stands for a run in which every command succeeds. Where a step cannot be carried out (a path is missing, say) what a
/// shell would have done depends on `;`, `&&` and `set -e`, and the line has to be given to one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRun {
    /// What its commands do, in order.
    pub steps: Vec<Step>,
    /// What is mounted while they do it. Files below a target are not the image's.
    pub mounts: Vec<Mounted>,
}

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its text, without the passwords of URLs.
    pub command: String,
    /// What it does.
    pub does: RunStep,
    /// The variables that it is given besides those of the image, or in place of them.
    pub environment: BTreeMap<String, String>,
    /// Its words that are patterns of file names, which stand in `does` as they are: `uvicorn[standard]`, `/tmp/*`.
    ///
    /// The step holds where no file matches. Where one does, the shell would have put the names of all that match in the
    /// place of the word; that is known too where the word is a path of `does` and the pattern is exact.
    pub patterns: Vec<Pattern>,
}

/// What a command does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunStep {
    /// `pip install` and `uv pip install`.
    Pip(Box<PipInstall>),
    /// `uv sync`.
    UvSync(Box<UvSync>),
    /// `poetry install`.
    PoetryInstall(Box<PoetryInstall>),
    /// `poetry config`, which writes the user's file of settings.
    PoetryConfig(PoetrySetting),
    /// `python -m venv`, `virtualenv` and `uv venv`.
    Venv(Venv),
    /// `mkdir`.
    Mkdir {
        /// The folders.
        paths: Vec<String>,
        /// Whether parents are made as well, and folders may exist (`-p`).
        parents: bool,
        /// The mode of the folders named, applied to `0777`; parents have `0755` of the umask.
        mode: Option<Mode>,
    },
    /// `chmod`, which leaves links that it finds below a folder alone and follows those that are named.
    Chmod {
        /// The files.
        paths: Vec<String>,
        /// The change of their modes.
        mode: Mode,
        /// Whether what is below folders is changed as well.
        recursive: bool,
    },
    /// `chown` and `chgrp`. Of a file that may be executed it takes the set-user-ID and set-group-ID bits away.
    Chown {
        /// The files.
        paths: Vec<String>,
        /// The new owner, a name or a number; `None` leaves it.
        user: Option<String>,
        /// The new group.
        group: ChownGroup,
        /// Whether what is below folders is changed as well, links themselves and not what they lead to.
        recursive: bool,
        /// Whether a link that is named is changed itself.
        no_dereference: bool,
    },
    /// `ln`.
    Link {
        /// What the links lead to.
        targets: Vec<String>,
        /// The link, or the folder that the links are put into; `None` is the working folder.
        place: Option<String>,
        /// Whether links are symbolic.
        symbolic: bool,
        /// Whether a file in the place is removed first.
        force: bool,
        /// Whether a link to a folder in the place is taken for a file (`-n`).
        no_dereference: bool,
        /// Whether the place is the link in any case (`-T`).
        no_target_folder: bool,
    },
    /// `rm`.
    Remove {
        /// The files.
        paths: Vec<String>,
        /// Whether folders are removed with what is in them.
        recursive: bool,
        /// Whether paths may be missing.
        force: bool,
        /// Whether empty folders are removed as well (`-d`).
        empty_folders: bool,
    },
    /// `touch`.
    Touch {
        /// The files.
        paths: Vec<String>,
        /// Whether a missing file is left missing.
        no_create: bool,
    },
    /// `useradd` and `adduser`.
    AddUser(Box<AddUser>),
    /// `groupadd` and `addgroup`.
    AddGroup(AddGroup),
    /// `adduser USER GROUP` and `addgroup USER GROUP`.
    AddMember(AddMember),
    /// `. FOLDER/bin/activate`, the script of the environment in this folder: the steps that follow have `PATH` and
    /// `VIRTUAL_ENV` in their variables. There has to be such an environment.
    Activate(String),
    /// `cd`: relative paths start here from the next step of this RUN on.
    ChangeFolder(String),
    /// It changes no file.
    Nothing,
}

/// The group that `chown` gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChownGroup {
    /// It stays.
    Kept,
    /// The login group of the new owner (`chown app:`).
    Own,
    /// A name or a number.
    Named(String),
}

impl RunStep {
    /// Whether it can fail where everything it needs is there to be seen.
    pub(super) fn can_fail(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Mkdir { parents, .. } => !parents,
            Self::Remove { force, .. } => !force,
            _ => true,
        }
    }

    /// Whether it asks an index for packages.
    pub(super) fn installs(&self) -> bool {
        match self {
            Self::Pip(_) | Self::UvSync(_) | Self::PoetryInstall(_) => true,
            Self::Venv(venv) => venv.asks_an_index(),
            _ => false,
        }
    }
}
