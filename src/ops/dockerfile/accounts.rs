//! Commands of a `RUN` that add users and groups.
//!
//! What they change is worked out in `plan::files`; here it gets its day and a layer.

use crate::dockerfile::run::{Mounted, RunStep, Step};
use crate::image::accounts::Day;
use crate::plan::files::{NotNative, Placed, StageFiles};

use super::super::error::OpsError;
use super::evaluate::Evaluation;
use super::run::Place;
use super::stage::Stage;

impl Evaluation<'_> {
    /// Carries out a command that adds a user, a group or a member.
    pub(super) fn add_account(
        &self,
        stage: &mut Stage,
        files: &StageFiles,
        step: &Step,
        place: &Place,
        mounts: &[Mounted],
    ) -> Result<Result<(), NotNative>, OpsError> {
        let made = match &step.does {
            RunStep::AddUser(user) => files.add_user(user, self.day(stage)),
            RunStep::AddGroup(group) => files.add_group(group),
            RunStep::AddMember(member) => files.add_member(member),
            _ => return Ok(Err(NotNative::because("it adds no account"))),
        };
        let made = match made {
            Ok(made) => made,
            Err(reason) => return Ok(Err(reason)),
        };
        if place.owner.uid != 0 {
            return Ok(Err(NotNative::because("it is run by a user who may not add accounts")));
        }
        if let Some(path) = mounted(&made, mounts) {
            return Ok(Err(NotNative::because(format!("`{path}` is below a mount"))));
        }
        self.place(stage, made, step.command.clone())?;
        Ok(Ok(()))
    }

    /// The day that counts as today: that of the image's own time, else of its parent's. The clock plays no part.
    fn day(&self, stage: &Stage) -> Option<Day> {
        let created = self.request.created.as_deref().or_else(|| stage.base.image.config.created());
        created.and_then(Day::of)
    }
}

/// A file of the layer that is not the image's while the command runs.
fn mounted(made: &Placed, mounts: &[Mounted]) -> Option<String> {
    let covers = |path: &str| {
        mounts
            .iter()
            .filter_map(Mounted::target)
            .any(|target| path == target || path.starts_with(&format!("{}/", target.trim_end_matches('/'))))
    };
    made.files.entries.iter().map(|entry| format!("/{}", entry.path)).find(|path| covers(path))
}
