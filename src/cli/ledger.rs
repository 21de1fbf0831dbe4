//! Where the ledger is, and what goes into it after a build.
//!
//! A ledger that cannot be had is a warning here and an error in `builds`, whose business it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use lapstrake::diagnostic::Diagnose;
use lapstrake::event::{Event, Reporter};
use lapstrake::ops::{self, BuildRequest, Built, NewImage, Output};
use lapstrake::plan::LayerKind;
use lapstrake::store::ledger::{BuildId, BuildRecord, ImageRecord, Ledger, Moment, Versions};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::config::Prepared;
use super::environment::Environment;
use super::exit::{self, UsageError};
use super::setup;

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
    let (id, is_local) = (fresh_id()?, prepared.pipeline().output != Output::Registry);
    let pairs: Vec<(&BuildRequest, &Built)> = prepared.requests.iter().zip(built).collect();
    let images = pairs.iter().flat_map(|(request, built)| {
        let image = image(request, built);
        request.keys.iter().map(move |key| {
            let step_name = key.strip_suffix(".orchestrator").map(str::to_owned);
            (key.clone(), ImageRecord { step_name, ..image.clone() })
        })
    });
    let images: BTreeMap<String, ImageRecord> = images.collect();
    let record = BuildRecord {
        id,
        created: now(),
        pipeline: prepared.pipeline().pipeline.clone(),
        stack: prepared.pipeline().settings.lapstrake.stack.name.clone(),
        stack_checksum: None,
        versions: Versions { lapstrake: Some(env!("CARGO_PKG_VERSION").to_owned()), ..Versions::default() },
        checksum: None,
        is_local,
        contains_code: images.values().any(|image| image.contains_code),
        images,
        duration_seconds: Some((seconds * 1000.0).round() / 1000.0),
    };
    let made = pairs.iter().filter(|(_, built)| !is_local && !built.reused);
    let new: Vec<NewImage> = made
        .filter_map(|(request, built)| {
            let repository = request.targets.first()?.repository();
            Some(NewImage { repository, descriptor: built.descriptor.clone() })
        })
        .collect();
    Some(ops::record_build(&prepared.means, ledger.as_ref(), record, &new).await.id)
}

fn image(request: &BuildRequest, built: &Built) -> ImageRecord {
    let docker = &request.settings.docker;
    // Of an image that was there already no layers were made: what was asked for says what is in it.
    let contains_code = match built.reused {
        true => docker.allow_including_files_in_images && !docker.skip_build,
        false => built.layers.iter().any(|layer| layer.kind == LayerKind::Sources),
    };
    ImageRecord {
        image: built.reference.clone(),
        plan_key: Some(built.plan_key.to_string()),
        contains_code,
        reused: built.reused,
        ..ImageRecord::default()
    }
}
