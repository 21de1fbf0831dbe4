//! `lapstrake demo`: the main job, seen in five rounds.
//!
//! Everything happens in one temporary folder and on one loopback port; without `--real` nothing else is reached.

use std::path::Path;
use std::time::{Duration, Instant};

use lapstrake::diagnostic::Diagnose;
use lapstrake::ops::{self, Built};
use lapstrake::plan::{Action, LayerKind};
use lapstrake::serve::{ServeOptions, Server};
use serde_json::json;

use super::args::{BuildArgs, DemoArgs, Format, Reach, Shown};
use super::environment::Environment;
use super::exit::{self, Outcome, UsageError};
use super::settings::Changes;
use super::{config, demo_project, output, plan, setup};

type Failure = Box<dyn Diagnose + Send>;

const REAL: [&str; 3] = ["requests", "rich", "numpy"];

/// What one round came to.
struct Round {
    name: &'static str,
    took: Duration,
    built: Built,
}

/// Runs the demo.
pub(crate) async fn run(args: &DemoArgs, shown: &Shown, environment: &Environment) -> Outcome {
    let folder = tempfile::Builder::new().prefix("lapstrake-demo-").tempdir().map_err(|error| {
        exit::fail(UsageError::new(
            format!("cannot make a temporary folder: {error}"),
            "set TMPDIR to a folder with room",
        ))
    })?;
    let options = ServeOptions { durable: false, ..ServeOptions::new(folder.path().join("registry")) };
    let server = Server::bind(options).await.map_err(exit::fail)?.spawn();
    let address = server.address().to_string();
    let demo = Demo { args, shown, environment, root: folder.path(), address };
    let outcome = demo.run().await;
    server.stop().await;
    if args.keep {
        let path = folder.keep();
        output::to_stderr(&format!("kept: {}", path.display()));
    }
    output::to_stdout(&outcome?).map_err(exit::fail)
}

struct Demo<'a> {
    args: &'a DemoArgs,
    shown: &'a Shown,
    environment: &'a Environment,
    root: &'a Path,
    address: String,
}

impl Demo<'_> {
    async fn run(&self) -> Result<String, Failure> {
        let project = self.root.join("project");
        demo_project::write(&project).map_err(|error| self.disk(&project, &error))?;
        self.prepare(&project).await?;
        self.say(&format!("A registry at {}, a parent image, and a project. First the plan:\n", self.address));
        let prepared = config::prepare(&self.build_args("store"), &self.quiet(), self.environment).await?;
        let planned = ops::plan(&prepared.means, prepared.pipeline()).await.map_err(exit::fail)?;
        self.say(&indented(&plan::text(&planned, &self.target())));

        let mut rounds = vec![self.round("first build", "store").await?];
        self.edit(&project, "steps/train.py", "RATE = 0.2\n")?;
        rounds.push(self.round("one file edited", "store").await?);
        rounds.push(self.round("nothing changed", "store").await?);
        self.edit(&project, "steps/load.py", "SOURCE = \"elsewhere\"\n")?;
        rounds.push(self.round("one file edited, fresh machine", "empty-store").await?);
        rounds.push(self.round("nothing changed, fresh machine", "other-store").await?);
        Ok(match self.shown.format {
            Format::Text => text(&rounds),
            Format::Json => as_json(&rounds),
        })
    }

    /// Puts the parent in place, and the requirements of `--real` into the project.
    async fn prepare(&self, project: &Path) -> Result<(), Failure> {
        let reach = Reach { store: Some(self.root.join("store")), ..Reach::default() };
        let means = setup::means(&reach, &[], &[], &self.quiet(), self.environment)?;
        let parent = config::reference(&self.embedded_parent())?;
        demo_project::push_parent(&means.registry, &parent).await.map_err(exit::fail)?;
        if self.args.real {
            let lines = match self.args.requirements.is_empty() {
                true => REAL.map(str::to_owned).to_vec(),
                false => self.args.requirements.clone(),
            };
            let file = project.join("requirements.txt");
            std::fs::write(&file, lines.join("\n") + "\n").map_err(|error| self.disk(&file, &error))?;
        }
        Ok(())
    }

    fn embedded_parent(&self) -> String {
        format!("{}/demo/parent:1", self.address)
    }

    fn target(&self) -> String {
        format!("{}/demo/app:latest", self.address)
    }

    fn quiet(&self) -> Shown {
        Shown { quiet: true, ..self.shown.clone() }
    }

    fn build_args(&self, store: &str) -> BuildArgs {
        let project = self.root.join("project");
        let changes = Changes {
            parent_image: Some(self.args.parent.clone().unwrap_or_else(|| self.embedded_parent())),
            requirements: self.args.real.then(|| project.join("requirements.txt")),
            user: self.args.parent.is_some().then(|| "1000".to_owned()),
            ..Changes::default()
        };
        BuildArgs {
            config: Some(project.join("lapstrake.yaml")),
            tags: vec![self.target()],
            changes,
            reach: Reach { store: Some(self.root.join(store)), ..Reach::default() },
            ..BuildArgs::default()
        }
    }

    async fn round(&self, name: &'static str, store: &str) -> Result<Round, Failure> {
        let prepared = config::prepare(&self.build_args(store), &self.quiet(), self.environment).await?;
        let started = Instant::now();
        let built = ops::build(&prepared.means, prepared.pipeline()).await.map_err(exit::fail)?;
        Ok(Round { name, took: started.elapsed(), built })
    }

    fn edit(&self, project: &Path, file: &str, line: &str) -> Result<(), Failure> {
        let path = project.join(file);
        let text = std::fs::read_to_string(&path).map_err(|error| self.disk(&path, &error))?;
        std::fs::write(&path, text + line).map_err(|error| self.disk(&path, &error))
    }

    fn disk(&self, path: &Path, error: &std::io::Error) -> Failure {
        let what = format!("cannot write `{}`: {error}", path.display());
        exit::fail(UsageError::new(what, "set TMPDIR to a folder with room"))
    }

    fn say(&self, text: &str) {
        if !self.shown.quiet && self.shown.format == Format::Text {
            output::to_stderr(text);
        }
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}").trim_end().to_owned() + "\n").collect()
}

/// How many layers were made, and how many there are.
fn made(built: &Built) -> (usize, usize) {
    let made = built.layers.iter().filter(|layer| layer.action == Action::Build && layer.kind != LayerKind::Parent);
    (made.count(), built.layers.len())
}

fn text(rounds: &[Round]) -> String {
    let mut rows = vec![["ROUND", "TIME", "DOWN", "UP", "MOUNTED", "MADE"].map(str::to_owned).to_vec()];
    rows.extend(rounds.iter().map(|round| {
        let moved = round.built.moved;
        let layers = match (round.built.reused, made(&round.built)) {
            (true, _) => "reused".to_owned(),
            (false, (made, all)) => format!("{made} of {all}"),
        };
        vec![
            round.name.to_owned(),
            format!("{:.1} ms", round.took.as_secs_f64() * 1000.0),
            output::bytes(moved.downloaded),
            output::bytes(moved.uploaded),
            output::bytes(moved.mounted),
            layers,
        ]
    }));
    let last = rounds.last().map(|round| round.built.reference.clone()).unwrap_or_default();
    format!("{}\n\n{last}", output::table(&rows, &[1, 2, 3, 4, 5]))
}

fn as_json(rounds: &[Round]) -> String {
    let rounds: Vec<_> = rounds
        .iter()
        .map(|round| {
            let (made, all) = made(&round.built);
            json!({
                "round": round.name,
                "seconds": round.took.as_secs_f64(),
                "reused": round.built.reused,
                "layersMade": made,
                "layers": all,
                "bytes": round.built.moved,
                "reference": round.built.reference,
            })
        })
        .collect();
    json!({"schemaVersion": 1, "rounds": rounds}).to_string()
}
