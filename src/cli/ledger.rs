//! Where the ledger is, and what goes into it after a build.
//!
//! A ledger that cannot be had is a warning here and an error in `builds`, whose business it is.

use std::path::PathBuf;

use lapstrake::diagnostic::Diagnose;
use lapstrake::event::{Event, Reporter};
use lapstrake::ops::{self, Built, NewImage, Output, ZenmlImage};
use lapstrake::store::ledger::{BuildId, BuildRecord, ImageRecord, Ledger, Moment, Versions};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::config::Prepared;
use super::environment::Environment;
use super::exit::{self, UsageError};
use super::{reuse, setup};

/// The files that a ledger may consist of; they are nobody's sources.
pub(crate) fn files(environment: &Environment) -> Vec<PathBuf> {
    let Some(path) = environment.ledger() else { return Vec::new() };
    let with = |suffix: &str| {
        let mut name = path.clone().into_os_string();
        name.push(suffix);
        std::path::absolute(PathBuf::from(name)).ok()
    };
    ["", "-wal", "-shm"].into_iter().filter_map(with).collect()
}

/// The ledger's file, for commands that are about it.
pub(crate) fn path(environment: &Environment) -> Result<PathBuf, Box<dyn Diagnose + Send>> {
    environment.ledger().ok_or_else(|| {
        let what = match environment.var("LAPSTRAKE_LEDGER") {
            Some(_) => "the ledger is switched off by `LAPSTRAKE_LEDGER`",
            None => "neither `LAPSTRAKE_LEDGER` nor `HOME` says where the ledger is",
        };
        exit::fail(UsageError::new(what, "set `LAPSTRAKE_LEDGER` to a file"))
    })
}

/// The ledger for a build; when it cannot be had, that is reported.
pub(crate) fn for_build(environment: &Environment, reporter: &dyn Reporter) -> Option<Ledger> {
    let opened = Ledger::open(&environment.ledger()?);
    let warn = |error| {
        let causes: String = exit::causes(&error, false).into_iter().map(|cause| format!(": {cause}")).collect();
        reporter.report(Event::Warning { text: format!("the build is not in the ledger: {error}{causes}") });
    };
    opened.map_err(warn).ok()
}

/// A name that no other build has.
pub(crate) fn fresh_id() -> Option<BuildId> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(BuildId::of_random(bytes))
}

/// The time of day.
pub(crate) fn now() -> Moment {
    Moment::of_milliseconds(setup::milliseconds_since_1970())
}

/// Records a build, unless `LAPSTRAKE_LEDGER` is `off`; gives its name.
pub(crate) async fn record(
    prepared: &Prepared,
    built: &[Built],
    seconds: f64,
    environment: &Environment,
) -> Option<BuildId> {
    environment.ledger()?;
    let ledger = for_build(environment, &*prepared.means.reporter);
    let zenml = match reuse::zenml_images(prepared).await {
        Ok(images) => images,
        Err(error) => {
            let text = format!("ZenML's checksum of the build is not recorded: {error}");
            prepared.means.reporter.report(Event::Warning { text });
            Vec::new()
        }
    };
    let images = || prepared.requests.iter().zip(built);
    let said = |at: usize| zenml.get(at).cloned().unwrap_or_default();
    let records = images().enumerate().flat_map(|(at, (request, image))| {
        let said = said(at);
        request.keys.iter().map(move |key| of_key(key, image, &said)).collect::<Vec<_>>()
    });
    let records = records.collect();
    let pipeline = prepared.pipeline();
    let record = BuildRecord {
        id: fresh_id()?,
        created: now(),
        pipeline: pipeline.pipeline.clone(),
        stack: pipeline.settings.lapstrake.stack.name.clone(),
        stack_checksum: None,
        versions: Versions { lapstrake: Some(env!("CARGO_PKG_VERSION").to_owned()), ..Versions::default() },
        checksum: (!zenml.is_empty()).then(|| reuse::checksum(prepared, &zenml)),
        is_local: pipeline.output != Output::Registry,
        contains_code: built.iter().any(|image| image.contains_code),
        images: records,
        duration_seconds: Some((seconds * 1000.0).round() / 1000.0),
    };
    let new = images().filter(|(request, image)| request.output == Output::Registry && !image.reused);
    let new = new.filter_map(|(request, image)| {
        let repository = request.targets.first()?.repository();
        Some(NewImage { repository, descriptor: image.descriptor.clone() })
    });
    let new: Vec<NewImage> = new.collect();
    Some(ops::record_build(&prepared.means, ledger.as_ref(), record, &new).await.id)
}

fn of_key(key: &str, built: &Built, zenml: &ZenmlImage) -> (String, ImageRecord) {
    let image = ImageRecord {
        image: built.reference.clone(),
        plan_key: Some(built.plan_key.to_string()),
        step_name: key.rsplit_once('.').map(|(step, _)| step.to_owned()),
        contains_code: built.contains_code,
        requires_code_download: built.requires_code_download,
        reused: built.reused,
        settings_checksum: Some(zenml.settings_checksum.clone()).filter(|checksum| !checksum.is_empty()),
        dockerfile: zenml.dockerfile.clone(),
        requirements: zenml.requirements.clone(),
        ..ImageRecord::default()
    };
    (key.to_owned(), image)
}
