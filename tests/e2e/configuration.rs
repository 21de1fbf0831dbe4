//! Run configurations of `fixtures/runs`: copied, built, and held against what stands beside them in `expected.json`.
//!
//! What is expected is data; what one configuration alone has to show is told by its case.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;

use crate::container::Container;
use crate::harness::{Halt, check, same};
use crate::image;
use crate::process::{Ran, command, done, run, tail};
use crate::project::Project;
use crate::tools;
use crate::world::World;

/// Asks a container about itself.
const PROBE: &str = include_str!("probe.py");
/// Packages of the parents that say nothing about a configuration.
const INSTALLERS: [&str; 3] = ["pip", "setuptools", "wheel"];
/// Variables that a parent, a runtime or a shell sets.
const SURROUNDINGS: [&str; 11] = [
    "HOME",
    "HOSTNAME",
    "LANG",
    "LC_CTYPE",
    "OLDPWD",
    "PATH",
    "PWD",
    "PYTHONDONTWRITEBYTECODE",
    "SHLVL",
    "TERM",
    "VIRTUAL_ENV",
];
/// What a package manager says when its mirror cannot be reached.
const UNREACHABLE: [&str; 4] = ["Could not connect", "Could not resolve", "Temporary failure", "Unable to fetch"];

/// What `expected.json` says; `${NAME}` in it stands for a variable of the client.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    /// Programs without which it cannot be tried.
    #[serde(default)]
    needs: Vec<String>,
    /// Whether the embedded registry serves it, in place of docker-registry.
    #[serde(default)]
    embedded: bool,
    /// Whether something is fetched from the distribution's mirror.
    #[serde(default)]
    mirror: bool,
    /// Variables of the client, beside `REGISTRY`, `PARENT_IMAGE` and `VENV_PARENT_IMAGE`.
    #[serde(default)]
    client: BTreeMap<String, String>,
    /// Commands that prepare the project.
    #[serde(default)]
    before: Vec<Vec<String>>,
    /// Parts of what the build says on stderr.
    #[serde(default)]
    says: Vec<String>,
    /// The images by their keys, and no others.
    images: BTreeMap<String, Wanted>,
}

/// What an image must be.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// Its name below the registry, with the tag; `null` for the parent itself, which stays where it is.
    name: Option<String>,
    /// Packages beside the installers; `*` is any version.
    packages: BTreeMap<String, String>,
    /// Modules that can be imported.
    #[serde(default)]
    imports: Vec<String>,
    /// Programs on the search path.
    #[serde(default)]
    programs: Vec<String>,
    /// Variables beside those of the surroundings.
    environment: BTreeMap<String, String>,
    /// Who runs, by number.
    #[serde(default = "root")]
    user: String,
    /// Whose `/app` is, by number.
    #[serde(default = "root")]
    owner: String,
    /// Where it starts.
    #[serde(default = "app")]
    folder: String,
    /// What is in `/app`; `null` when there is no such folder.
    files: Option<BTreeSet<String>>,
    /// What its own process prints.
    prints: Option<String>,
    /// Labels, all of them.
    labels: Option<BTreeMap<String, String>>,
}

fn normalized(name: &str) -> String {
    name.to_lowercase().replace(['_', '.'], "-")
}

fn root() -> String {
    "0:0".to_owned()
}

fn app() -> String {
    "/app".to_owned()
}

/// What a container says of itself.
#[derive(Deserialize)]
struct Seen {
    user: String,
    folder: String,
    environment: BTreeMap<String, String>,
    packages: BTreeMap<String, String>,
    modules: BTreeMap<String, String>,
    programs: BTreeMap<String, bool>,
    files: Option<BTreeMap<String, (u32, u32, u32)>>,
    writes: bool,
}

/// An image in the report of a build.
#[derive(Deserialize)]
pub(crate) struct Image {
    keys: Vec<String>,
    /// `repository@digest`.
    pub(crate) reference: String,
    pub(crate) digest: String,
    pub(crate) reused: bool,
    pub(crate) layers: Vec<Layer>,
}

/// A layer in the report of a build.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) digest: String,
}

/// The report of a build, and what was said on the way.
#[derive(Deserialize)]
pub(crate) struct Report {
    pub(crate) images: Vec<Image>,
    #[serde(skip)]
    pub(crate) said: String,
}

/// A copy of one run configuration, with what it is built in.
pub(crate) struct Configuration {
    name: String,
    text: String,
    expected: Expected,
    client: BTreeMap<String, String>,
    pub(crate) project: Project,
    registry: String,
    parent: String,
}

impl Configuration {
    /// Copies `fixtures/runs/NAME`; ends the case when a program is missing.
    pub(crate) fn open(world: &World, name: &str) -> Result<Self, Halt> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/runs").join(name);
        let text = std::fs::read_to_string(folder.join("expected.json"))?;
        let expected: Expected = serde_json::from_str(&text)?;
        tools::need(&expected.needs.iter().map(String::as_str).collect::<Vec<_>>())?;
        let (registry, parent) = match expected.embedded {
            true => (&world.embedded()?.address, world.embedded_slim()?),
            false => (&world.registry()?.address, world.slim()?),
        };
        let mut client = expected.client.clone();
        client.insert("REGISTRY".to_owned(), registry.clone());
        client.insert("PARENT_IMAGE".to_owned(), parent.reference.clone());
        if std::fs::read_to_string(folder.join("run.yaml"))?.contains("${VENV_PARENT_IMAGE}") {
            client.insert("VENV_PARENT_IMAGE".to_owned(), world.slim_venv()?.reference.clone());
        }
        client.insert("LAPSTRAKE_LEDGER".to_owned(), world.folder("ledger.db").display().to_string());
        let project = Project::run_configuration(world, name)?;
        Ok(Self {
            name: name.to_owned(),
            text,
            expected,
            client,
            project,
            registry: registry.clone(),
            parent: parent.reference.clone(),
        })
    }

    /// Sets a variable of the client.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.client.insert(name.to_owned(), value.to_owned());
    }

    /// Makes what the project needs beside its files.
    pub(crate) fn prepare(&self, world: &World) -> Result<(), Halt> {
        for words in &self.expected.before {
            let Some((program, arguments)) = words.split_first() else { continue };
            let mut before = command(program, arguments);
            before.current_dir(&self.project.folder).env("UV_CACHE_DIR", world.uv_cache());
            run(&mut before)?.done()?;
        }
        Ok(())
    }

    /// Runs `lapstrake ARGUMENTS` as the client.
    pub(crate) fn lapstrake(&self, arguments: &[&str]) -> Result<Ran, Halt> {
        run(self.project.lapstrake(arguments).envs(&self.client))
    }

    /// Builds it.
    pub(crate) fn build(&self, arguments: &[&str]) -> Result<Report, Halt> {
        let build = ["build", "run.yaml", "--format", "json", "--progress", "plain"];
        let ran = self.lapstrake(&[build.as_slice(), arguments].concat())?;
        if ran.code != Some(0) && self.expected.mirror {
            let said = tail(&ran.stderr);
            if UNREACHABLE.iter().any(|sign| said.contains(sign)) {
                return Err(Halt::Skipped(format!("the distribution's mirror cannot be reached:\n{said}")));
            }
        }
        let ran = ran.done()?;
        let report: Report = serde_json::from_str(&ran.stdout)?;
        Ok(Report { said: ran.stderr, ..report })
    }

    /// What is expected now that all variables are known.
    fn expected(&self) -> Result<Expected, Halt> {
        let filled = self.client.iter().fold(self.text.clone(), |text, (name, value)| {
            let quoted = serde_json::Value::from(value.as_str()).to_string();
            text.replace(&format!("${{{name}}}"), quoted.trim_matches('"'))
        });
        Ok(serde_json::from_str(&filled)?)
    }

    /// Holds all images of `report` against what is expected; a line each.
    pub(crate) fn check(&self, world: &World, report: &Report) -> Result<Vec<String>, Halt> {
        let expected = self.expected()?;
        for part in &expected.says {
            check(report.said.contains(part.as_str()), || format!("`{part}` was not said:\n{}", report.said))?;
        }
        let keys: BTreeSet<&str> = report.images.iter().flat_map(|image| &image.keys).map(String::as_str).collect();
        same("the keys of the images", keys, expected.images.keys().map(String::as_str).collect())?;
        let mut figures = Vec::new();
        for image in &report.images {
            let container = Container::of(world, &format!("{}-{}", self.name, image.keys[0]), &image.reference)?;
            for key in &image.keys {
                let wanted = &expected.images[key];
                let seen = self.check_image(image, wanted, &container).map_err(|halt| match halt {
                    Halt::Failed(why) => Halt::Failed(format!("{key}: {why}")),
                    skipped => skipped,
                })?;
                figures.push(format!("{key}: {seen}"));
            }
            container.remove()?;
        }
        Ok(figures)
    }

    fn check_image(&self, image: &Image, wanted: &Wanted, container: &Container) -> Result<String, Halt> {
        let at = match &wanted.name {
            Some(name) => format!("{}/{name}", self.registry),
            None => self.parent.clone(),
        };
        same(&format!("what `{at}` stands for"), done("crane", ["digest", &at])?.trim(), image.digest.as_str())?;
        if let Some(labels) = &wanted.labels {
            let config = image::config(&image.reference)?;
            same("the labels", config["config"]["Labels"].clone(), serde_json::json!(labels))?;
        }
        let programs: Vec<String> = wanted.programs.iter().map(|name| format!("/{name}")).collect();
        let words = wanted.imports.iter().chain(&programs).map(String::as_str);
        let asked: Vec<&str> = ["python3", "-c", PROBE].into_iter().chain(words).collect();
        let seen: Seen = serde_json::from_str(&container.run(Some(&asked))?)?;
        let figure = wanted.holds(seen)?;
        // After the look around, since it may leave files.
        if let Some(text) = &wanted.prints {
            same("what it prints", container.run(None)?.trim(), text.as_str())?;
        }
        Ok(figure)
    }
}

impl Wanted {
    /// Holds what a container saw of itself against this, and gives a line for people.
    fn holds(&self, seen: Seen) -> Result<String, Halt> {
        same("the user", &seen.user, &self.user)?;
        same("the folder", &seen.folder, &self.folder)?;
        let mut packages: BTreeMap<String, String> =
            seen.packages.into_iter().map(|(name, version)| (normalized(&name), version)).collect();
        packages.retain(|name, _| !INSTALLERS.contains(&name.as_str()));
        let count = packages.len();
        for (name, version) in &self.packages {
            if let (Some(found), "*") = (packages.get_mut(name), version.as_str()) {
                *found = "*".to_owned();
            }
        }
        same("the list of packages", &packages, &self.packages)?;
        let mut environment = seen.environment;
        environment.retain(|name, _| !SURROUNDINGS.contains(&name.as_str()));
        same("the environment", &environment, &self.environment)?;
        same("how many modules were imported", seen.modules.len(), self.imports.len())?;
        for (path, is_there) in seen.programs {
            check(is_there, || format!("`{}` is not on the search path", &path[1..]))?;
        }
        let files = match (&seen.files, &self.files) {
            (Some(found), Some(wanted)) => {
                self.holds_files(found, wanted)?;
                check(seen.writes, || "its user cannot write into /app".to_owned())?;
                found.len() - 1
            }
            (None, None) => 0,
            (found, _) => return Err(Halt::Failed(format!("/app holds {found:?}, not {:?}", self.files))),
        };
        let variables = environment.len();
        Ok(format!("user {}, {count} packages, {variables} variables, {files} paths in /app", seen.user))
    }

    fn holds_files(&self, found: &BTreeMap<String, (u32, u32, u32)>, wanted: &BTreeSet<String>) -> Result<(), Halt> {
        let paths: BTreeSet<String> = found.keys().filter(|path| *path != ".").cloned().collect();
        same("the list of files", &paths, wanted)?;
        for (path, (user, group, mode)) in found {
            same(&format!("the owner of `{path}`"), format!("{user}:{group}"), self.owner.clone())?;
            // A folder that only a working directory makes has the runtime's mode.
            let is_made_by_the_image = path != "." || !wanted.is_empty();
            check(!is_made_by_the_image || mode & 0o666 == 0o666, || format!("`{path}` has mode {mode:o}"))?;
        }
        Ok(())
    }
}
