//! `lapstrake doctor`.
//!
//! Looks at this machine itself; registries are the library's to examine. Changes nothing.

use std::io::IsTerminal;
use std::time::{Duration, Instant, SystemTime};

use lapstrake::backend::Surveyed;
use lapstrake::diagnostic::Diagnose;
use lapstrake::ops::{self, Check, Diagnosis, State, Subject};
use lapstrake::registry::{Client, ClientConfig};
use lapstrake::resolver::Uv;
use lapstrake::resolver::child::ChildEnvironment;
use lapstrake::store::{Store, StoreError};
use serde_json::{Value, json};

use super::args::{ColorMode, DoctorArgs, Format, Shown};
use super::environment::Environment;
use super::exit::{self, Outcome, UsageError};
use super::{config, doctor_backends, output, progress, setup, user_config};

type Failure = Box<dyn Diagnose + Send>;

/// Tries of a request: whoever looks wants to see trouble, and soon.
const TRIES: u32 = 2;
/// Columns of a check's name and of its time.
const NAME: usize = 14;
const TIME: usize = 8;

/// At least one check failed.
#[derive(Debug, thiserror::Error)]
#[error("{0} of the checks failed")]
struct Unwell(usize);

impl Diagnose for Unwell {
    fn hint(&self) -> Option<String> {
        Some("each failed check above says what to do".to_owned())
    }
}

/// Examines the machine, and the registries that are named or that the project uses.
pub(crate) async fn run(args: &DoctorArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let project = config::project(args.config.as_deref(), environment)?;
    let subjects = subjects(args, &project)?;
    let mut domains: Vec<String> = subjects.iter().map(|subject| subject.registry().to_owned()).collect();
    domains.dedup();
    let reporter = progress::reporter(shown);
    let mut reach = setup::client_config(&args.reach, &project.insecure, &domains, &reporter, environment)?;
    reach.retry.tries = TRIES;
    let mut diagnoses = vec![machine(args, &project, &reach, environment).await?];
    let backends = doctor_backends::survey(&reach, project.backend.as_deref(), environment).await;
    let of_backends = doctor_backends::diagnosis(&backends, project.backend.as_deref());
    let client = Client::new(reach);
    let now = clock();
    for subject in &subjects {
        diagnoses.push(ops::doctor(&client, subject, &now).await);
    }
    let failures: usize = diagnoses.iter().map(Diagnosis::failures).sum();
    let text = match shown.format {
        Format::Json => as_json(&diagnoses, &backends, failures).to_string(),
        Format::Text => {
            diagnoses.insert(1, of_backends);
            text(&diagnoses, colored(shown.color, environment))
        }
    };
    output::to_stdout(&text).map_err(exit::fail)?;
    if failures == 0 { Ok(()) } else { Err(exit::fail(Unwell(failures))) }
}

#[expect(clippy::disallowed_methods, reason = "a registry's clock is compared with this machine's")]
fn clock() -> impl Fn() -> SystemTime + Send + Sync {
    || SystemTime::now()
}

fn subjects(args: &DoctorArgs, project: &config::Project) -> Result<Vec<Subject>, Failure> {
    let parse = |text: &String| {
        Subject::parse(text).ok_or_else(|| {
            let what = format!("`{text}` is neither a registry nor a repository");
            exit::fail(UsageError::new(what, "write `ghcr.io`, `localhost:5000` or `ghcr.io/me/app`"))
        })
    };
    if !args.subjects.is_empty() {
        return args.subjects.iter().map(parse).collect();
    }
    let mut subjects: Vec<Subject> =
        project.targets.iter().map(|target| Subject::Target(target.repository())).collect();
    subjects.extend(project.parent.iter().map(|parent| Subject::Source(parent.repository())));
    subjects.dedup();
    Ok(subjects)
}

async fn machine(
    args: &DoctorArgs,
    project: &config::Project,
    reach: &ClientConfig,
    environment: &Environment,
) -> Result<Diagnosis, Failure> {
    let mut found = Diagnosis::new("this machine".to_owned());
    found.add(Check::fine("lapstrake", env!("CARGO_PKG_VERSION").to_owned()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    found.add(Check::fine("platform", format!("{}, {cores} cores", setup::host_platform())));
    found.add(Check::fine(
        "configuration",
        match (user_config::read(environment)?.file, environment.default_config()) {
            (Some(file), _) => file.display().to_string(),
            (None, Some(file)) => format!("none; `{}` would be read", file.display()),
            (None, None) => "none".to_owned(),
        },
    ));
    let settings = project.file.as_ref().map(|file| file.display().to_string());
    found.add(Check::fine("settings", settings.unwrap_or_else(|| "none in this folder".to_owned())));
    found.add(store(args, environment));
    found.add(uv(environment).await);
    let proxies = reach.proxies.shown();
    found.add(Check::fine("proxies", if proxies.is_empty() { "none".to_owned() } else { proxies.join(", ") }));
    if reach.offline {
        found.add(Check::fine("network", "switched off by `--offline`".to_owned()));
    }
    Ok(found)
}

fn store(args: &DoctorArgs, environment: &Environment) -> Check {
    let Some(root) = args.reach.store.clone().or_else(|| environment.default_store()) else {
        let text = "there is no home folder to keep it in".to_owned();
        return Check::warning("store", text).hint("name a folder with `--store DIR`".to_owned());
    };
    let started = Instant::now();
    let used = || -> Result<(u64, u64), StoreError> {
        let store = Store::open(&root)?;
        // Goes away with this function, as a build's does that is interrupted.
        store.writer()?;
        Ok(store.usage()?.iter().fold((0, 0), |(n, b), kind| (n + kind.entries, b + kind.bytes)))
    };
    match used() {
        Ok((entries, bytes)) => {
            let text = format!("{}, writable, {} in {entries} entries", root.display(), output::bytes(bytes));
            Check::fine("store", text).took(started)
        }
        Err(error) => Check::failed("store", &error).took(started),
    }
}

async fn uv(environment: &Environment) -> Check {
    let children = ChildEnvironment::new(environment.variables().clone());
    let started = Instant::now();
    let found = match environment.var("LAPSTRAKE_UV") {
        Some(program) => Some(Uv::at(program.as_ref(), &children).await),
        None => Uv::on_path(&children).await.map(Ok),
    };
    match found {
        Some(Ok(uv)) => Check::fine("uv", format!("{} at {}", uv.version(), uv.program().display())).took(started),
        Some(Err(error)) => Check::failed("uv", &error).took(started),
        None => Check::not_tried("uv", "not on PATH; it is fetched when versions have to be chosen".to_owned()),
    }
}

fn colored(mode: ColorMode, environment: &Environment) -> bool {
    match mode {
        ColorMode::Always => true,
        ColorMode::Never => false,
        ColorMode::Auto => environment.var("NO_COLOR").is_none() && std::io::stdout().is_terminal(),
    }
}

fn text(diagnoses: &[Diagnosis], colored: bool) -> String {
    let mut lines = Vec::new();
    for diagnosis in diagnoses {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.push(if colored { format!("\x1b[1m{}\x1b[0m", diagnosis.subject) } else { diagnosis.subject.clone() });
        lines.extend(diagnosis.checks.iter().flat_map(|check| check_lines(check, colored)));
    }
    lines.join("\n")
}

fn check_lines(check: &Check, colored: bool) -> Vec<String> {
    let (sign, color) = match check.state {
        State::Fine => ('✓', "\x1b[32m"),
        State::Note => ('i', "\x1b[36m"),
        State::Warning => ('!', "\x1b[33m"),
        State::Failed => ('✗', "\x1b[31m"),
        State::NotTried => ('-', "\x1b[2m"),
    };
    let sign = if colored { format!("{color}{sign}\x1b[0m") } else { sign.to_string() };
    let time = check.took.map(milliseconds).unwrap_or_default();
    let text = match check.state {
        State::NotTried if check.name != "uv" => format!("not tried: {}", check.text),
        _ => check.text.clone(),
    };
    let mut lines = vec![format!("  {sign} {:<NAME$}{time:>TIME$}  {text}", check.name)];
    lines.extend(check.hint.iter().map(|hint| format!("{:>1$}hint: {hint}", "", NAME + TIME + 6)));
    lines
}

fn milliseconds(took: Duration) -> String {
    match took.as_millis() {
        0..=9 => format!("{:.1} ms", took.as_secs_f64() * 1e3),
        whole => format!("{whole} ms"),
    }
}

fn as_json(diagnoses: &[Diagnosis], backends: &[Surveyed], failures: usize) -> Value {
    let checks = |diagnosis: &Diagnosis| -> Vec<Value> {
        diagnosis
            .checks
            .iter()
            .map(|check| {
                json!({
                    "name": check.name, "state": check.state, "text": check.text, "hint": check.hint,
                    "seconds": check.took.map(|took| took.as_secs_f64()),
                })
            })
            .collect()
    };
    let subjects: Vec<Value> =
        diagnoses.iter().map(|diagnosis| json!({"subject": diagnosis.subject, "checks": checks(diagnosis)})).collect();
    let backends = doctor_backends::as_json(backends);
    json!({"schemaVersion": 1, "failures": failures, "subjects": subjects, "backends": backends})
}
