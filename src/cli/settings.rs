//! `lapstrake settings`: what counts for the pipeline and for each step, and where every value comes from.
//!
//! Nothing is built, and no file but the configuration is read.

use std::path::{Path, PathBuf};

use clap::Args;
use lapstrake::diagnostic::Diagnose;
use lapstrake::event::Event;
use lapstrake::settings::{Effective, Origin, Overrides, RunSettings, Substitution, schema};
use serde_json::{Value, json};

use super::args::{Format, Shown};
use super::environment::Environment;
use super::exit::{self, Outcome, UsageError};
use super::{config, output, progress};

type Failure = Box<dyn Diagnose + Send>;

/// What `settings` takes.
#[derive(Clone, Debug, Default, Args)]
#[command(after_long_help = "Examples:
  lapstrake settings
  lapstrake settings run.yaml --set docker.user=zen --format json
  lapstrake settings --schema > lapstrake.schema.json")]
pub(crate) struct SettingsArgs {
    /// The configuration; a ZenML run configuration works as it is [default: lapstrake.yaml]
    pub(crate) config: Option<PathBuf>,
    /// The configuration, as a flag
    #[arg(long = "config", value_name = "FILE", conflicts_with = "config")]
    pub(crate) config_flag: Option<PathBuf>,
    /// Show defaults, too
    #[arg(long)]
    pub(crate) all: bool,
    /// Print the JSON Schema of the configuration, and read none
    #[arg(long)]
    pub(crate) schema: bool,
    #[command(flatten)]
    pub(crate) changes: Changes,
}

/// Flags that beat the configuration, and how it is read.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Changes {
    /// Instead of the setting `parent_image`
    #[arg(long, value_name = "REF")]
    pub(crate) parent_image: Option<String>,
    /// Instead of the setting `requirements`: a file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) requirements: Option<PathBuf>,
    /// Beside the setting `environment`; repeatable
    #[arg(short, long = "env", value_name = "NAME=VALUE")]
    pub(crate) environment: Vec<String>,
    /// Instead of the setting `user`
    #[arg(short, long, value_name = "USER")]
    pub(crate) user: Option<String>,
    /// Instead of any setting, such as `docker.user=zen` or `steps.train.docker.apt_packages=[git]`; repeatable
    #[arg(long, value_name = "PATH=YAML")]
    pub(crate) set: Vec<String>,
    /// Warn of keys that are unknown, instead of refusing them
    #[arg(long)]
    pub(crate) lenient: bool,
    /// Refuse what looks like a secret, in the settings and among the sources, instead of warning of it
    #[arg(long)]
    pub(crate) strict: bool,
}

impl Changes {
    /// What the flags put in the place of the file's values; relative paths start at `here`.
    pub(crate) fn overrides(&self, here: &Path) -> Result<Overrides, Failure> {
        let mut overrides = Overrides::new(self.lenient, self.strict);
        let mut docker = |key: &[&str], value: &str, flag: &str| {
            overrides.flag(&[&["settings", "docker"], key].concat(), value, flag);
        };
        if let Some(parent) = &self.parent_image {
            docker(&["parent_image"], parent, "--parent-image");
        }
        if let Some(file) = &self.requirements {
            docker(&["requirements"], &here.join(file).to_string_lossy(), "--requirements");
        }
        if let Some(user) = &self.user {
            docker(&["user"], user, "--user");
        }
        for variable in &self.environment {
            let (name, value) = variable.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
                let name = variable.split('=').next().unwrap_or_default();
                let what = format!("`--env {name}` is not of the form NAME=VALUE");
                exit::fail(UsageError::new(what, "write `--env NAME=VALUE`"))
            })?;
            docker(&["environment", name], value, &format!("--env {name}"));
        }
        for assignment in &self.set {
            overrides.set(assignment).map_err(exit::fail)?;
        }
        Ok(overrides)
    }
}

/// Shows the settings.
pub(crate) fn run(args: &SettingsArgs, shown: &Shown, environment: &Environment) -> Outcome {
    if args.schema {
        return output::to_stdout(&pretty(&schema())).map_err(exit::fail);
    }
    let overrides = args.changes.overrides(&config::working_folder()?)?;
    let named = args.config.as_deref().or(args.config_flag.as_deref());
    let (text, file) = match config::file(named) {
        Some(file) => (config::text(&file)?, file.display().to_string()),
        None => (String::new(), config::DEFAULT.to_owned()),
    };
    let substitution = Substitution::new(environment.variables().clone());
    let (settings, warnings) = RunSettings::parse(&text, &file, &overrides, &substitution).map_err(exit::fail)?;
    let reporter = progress::reporter(shown);
    for warning in warnings {
        reporter.report(Event::Warning { text: warning.to_string() });
    }
    let text = match shown.format {
        Format::Text => match settings.to_yaml(args.all) {
            text if text.is_empty() => "{}  # every setting has its default".to_owned(),
            text => text,
        },
        Format::Json => json(&settings).to_string(),
    };
    output::to_stdout(&text).map_err(exit::fail)
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn json(settings: &RunSettings) -> Value {
    let pipeline = &settings.provenance.pipeline;
    let step = |(name, values): &(String, Vec<Effective>)| {
        let differs = |value: &Effective| {
            !pipeline.iter().any(|other| (&other.path, &other.value) == (&value.path, &value.value))
        };
        let value = |value: &Effective| {
            let mut shown = effective(value);
            shown["differs"] = differs(value).into();
            shown
        };
        json!({"name": name, "values": values.iter().map(value).collect::<Vec<_>>()})
    };
    json!({
        "schemaVersion": 1,
        "pipeline": {"name": settings.name, "values": pipeline.iter().map(effective).collect::<Vec<_>>()},
        "steps": settings.provenance.steps.iter().map(step).collect::<Vec<_>>(),
    })
}

fn effective(value: &Effective) -> Value {
    let origin = match &value.origin {
        Origin::Default => json!({"kind": "default"}),
        Origin::File(at) => json!({"kind": "file", "file": at.file, "line": at.line, "column": at.column}),
        Origin::Flag(name) => json!({"kind": "flag", "name": name}),
        Origin::Environment(name) => json!({"kind": "environment", "name": name}),
    };
    json!({"path": value.path.join("."), "value": value.value, "origin": origin})
}
