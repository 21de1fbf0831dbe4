//! The Dockerfiles of `fixtures/dockerfiles`: copied, built by BuildKit and by lapstrake, and read back.
//!
//! What a fixture needs stands in its `expected.json`, which is no part of its context.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::{Halt, check};
use crate::image;
use crate::merged::Merged;
use crate::official;
use crate::process::{command, done, run};
use crate::registries::{Door, Maker, Registry};
use crate::rootfs;
use crate::servers::{self, Buildkitd};
use crate::tools;
use crate::world::World;

/// Programs that would make a backend.
const BACKENDS: [&str; 6] = ["buildctl", "buildkitd", "buildah", "podman", "docker", "kaniko"];

/// Stands in `expected.json` for the package index, which pip knows.
const INDEX: &str = "${INDEX}";
const ASK_PIP: &str = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)";

/// How much BuildKit may keep between two fixtures, in MB: the parents.
const KEPT: &str = "800";

/// How many layers a parent has; images share those, and they are read once.
const PARENT: usize = 2;

/// The names of all fixtures, or of those that `LAPSTRAKE_E2E_DOCKERFILES` has a part of, by commas.
pub(crate) fn names() -> Result<Vec<String>, Halt> {
    let wanted = std::env::var("LAPSTRAKE_E2E_DOCKERFILES").unwrap_or_default();
    let wanted: Vec<&str> = wanted.split(',').filter(|part| !part.is_empty()).collect();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(fixtures())? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part)) {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dockerfiles")
}

/// What `expected.json` says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Expected {
    /// The instruction that only a backend can run; without one the file needs none.
    backend: Option<String>,
    /// The Dockerfile, from the context.
    #[serde(default = "dockerfile")]
    file: String,
    target: Option<String>,
    #[serde(default)]
    build_args: BTreeMap<String, String>,
    /// Commands that prepare the context: locks that name an index are written where the index is known.
    #[serde(default)]
    before: Vec<Vec<String>>,
    /// Secrets in files, and in variables, by their ids.
    #[serde(default)]
    secrets: BTreeMap<String, String>,
    #[serde(default)]
    secret_variables: BTreeMap<String, String>,
    /// What is run in the image to see that it works; none where nothing can run.
    tries: Option<Vec<String>>,
    /// The source that is edited.
    edit: String,
}

fn dockerfile() -> String {
    "Dockerfile".to_owned()
}

/// One fixture, in a folder of its own.
pub(crate) struct Fixture {
    pub(crate) name: String,
    context: PathBuf,
    secrets: PathBuf,
    expected: Expected,
}

impl Fixture {
    /// Copies `fixtures/dockerfiles/NAME`.
    pub(crate) fn open(world: &World, name: &str) -> Result<Self, Halt> {
        let folder = world.fresh(&format!("dockerfile-{name}"))?;
        let (context, secrets) = (folder.join("context"), folder.join("secrets"));
        let from = fixtures().join(name);
        done("cp", ["--recursive", "--no-dereference", &from.display().to_string(), &context.display().to_string()])?;
        let mut text = std::fs::read_to_string(context.join("expected.json"))?;
        if text.contains(INDEX) {
            text = text.replace(INDEX, done("python3", ["-c", ASK_PIP])?.trim());
        }
        let expected: Expected =
            serde_json::from_str(&text).map_err(|error| Halt::Failed(format!("{name}/expected.json: {error}")))?;
        std::fs::remove_file(context.join("expected.json"))?;
        std::fs::create_dir(&secrets)?;
        for (id, value) in &expected.secrets {
            std::fs::write(secrets.join(id), value)?;
        }
        for words in &expected.before {
            let mut prepare = command(&words[0], &words[1..]);
            run(prepare.current_dir(&context).env("UV_CACHE_DIR", world.uv_cache()))?.done()?;
        }
        Ok(Self { name: name.to_owned(), context, secrets, expected })
    }

    /// The instruction that only a backend can run.
    pub(crate) fn backend(&self) -> Option<&str> {
        self.expected.backend.as_deref()
    }

    /// The arguments that name the secrets, as both programs take them.
    fn secret_arguments(&self) -> Vec<String> {
        let files = self.expected.secrets.keys();
        let files = files.map(|id| format!("id={id},src={}", self.secrets.join(id).display()));
        let variables = self.expected.secret_variables.keys().map(|id| format!("id={id},env={}", variable(id)));
        files.chain(variables).flat_map(|secret| ["--secret".to_owned(), secret]).collect()
    }

    fn secret_environment(&self) -> impl Iterator<Item = (String, &String)> {
        self.expected.secret_variables.iter().map(|(id, value)| (variable(id), value))
    }

    /// Adds a comment to a source.
    pub(crate) fn edit(&self) -> Result<(), Halt> {
        let path = self.context.join(&self.expected.edit);
        let text = std::fs::read_to_string(&path)?;
        Ok(std::fs::write(path, format!("{text}\n# edited\n"))?)
    }

    /// Writes a file of the context.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), Halt> {
        Ok(std::fs::write(self.context.join(name), text)?)
    }

    /// Gives the disk back.
    pub(crate) fn remove(self) -> Result<(), Halt> {
        rootfs::remove(self.context.parent().unwrap_or(&self.context))
    }
}

/// The variable in which a secret is handed over.
fn variable(id: &str) -> String {
    format!("E2E_{}", id.to_uppercase().replace('-', "_"))
}

/// An image that one of the two built.
pub(crate) struct Built {
    pub(crate) files: Merged,
    /// What it says of itself, without times and history.
    pub(crate) config: BTreeMap<String, Value>,
    pub(crate) seconds: f64,
    pub(crate) reference: String,
}

/// A daemon, a registry with the parents, and what lapstrake knows of them.
pub(crate) struct Yard {
    pub(crate) registry: Registry,
    daemon: Buildkitd,
    folder: PathBuf,
    /// The files of the parents that came first, by their layers.
    bases: BTreeMap<Vec<String>, Merged>,
}

impl Yard {
    /// Starts both, and pushes the parents.
    pub(crate) fn open(world: &World) -> Result<Self, Halt> {
        tools::need(&["crane", "uv", "uvx"])?;
        let folder = world.fresh("dockerfiles")?;
        let registry = Registry::start(Maker::Debian, &folder.join("registry"), &Door::default())?;
        let mirrors = official::buildkit_mirrors(&registry.address);
        let daemon = Buildkitd::start(&folder.join("buildkitd"), &registry.address, &mirrors)?;
        official::push_all(world, &registry.address)?;
        official::lapstrake_mirrors(&registry.address, &folder.join("config.yaml"))?;
        without_backends(&folder.join("bin"))?;
        std::fs::create_dir(folder.join("no-docker-config"))?;
        Ok(Self { registry, daemon, folder, bases: BTreeMap::new() })
    }

    fn buildctl(&self, fixture: &Fixture, output: &str) -> Command {
        let local = |name: &str, folder: &Path| format!("{name}={}", folder.display());
        let file = fixture.context.join(&fixture.expected.file);
        let folder = file.parent().unwrap_or(&fixture.context);
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut buildctl = command("buildctl", ["--addr", &self.daemon.address, "build", "--progress=plain"]);
        buildctl.args(["--frontend", "dockerfile.v0", "--opt", &format!("filename={name}")]);
        // A `# syntax=` line would have the frontend fetched from Docker Hub; this is the same language, built in.
        buildctl.args(["--opt", "cmdline=docker/dockerfile:1"]);
        buildctl.args(["--local", &local("context", &fixture.context), "--local", &local("dockerfile", folder)]);
        if let Some(target) = &fixture.expected.target {
            buildctl.args(["--opt", &format!("target={target}")]);
        }
        for (name, value) in &fixture.expected.build_args {
            buildctl.args(["--opt", &format!("build-arg:{name}={value}")]);
        }
        buildctl.args(fixture.secret_arguments()).envs(fixture.secret_environment());
        buildctl.args(["--output", output]);
        buildctl
    }

    /// Builds a fixture by BuildKit, under this tag.
    pub(crate) fn by_buildkit(&mut self, fixture: &Fixture, tag: &str, more: &[&str]) -> Result<Built, Halt> {
        let reference = format!("{}/dockerfiles/{}:{tag}", self.registry.address, fixture.name);
        let start = Instant::now();
        let output = format!("type=image,name={reference},push=true,oci-mediatypes=true");
        run(self.buildctl(fixture, &output).args(more))?.done()?;
        self.built(reference, start.elapsed().as_secs_f64())
    }

    /// Builds a fixture by lapstrake; on a machine without a backend, unless `backend`.
    pub(crate) fn by_lapstrake(&mut self, fixture: &Fixture, backend: bool) -> Result<Built, Halt> {
        let reference = format!("{}/dockerfiles/{}:lapstrake", self.registry.address, fixture.name);
        let start = Instant::now();
        let mut lapstrake = self.lapstrake(fixture, backend);
        run(lapstrake.args(["--tag", &reference]))?.done()?;
        self.built(reference, start.elapsed().as_secs_f64())
    }

    /// Builds a fixture as the Dockerfile of a run configuration that asks for nothing else.
    pub(crate) fn by_settings(&mut self, fixture: &Fixture, backend: bool, store: &str) -> Result<Built, Halt> {
        let reference = format!("{}/dockerfiles/{}:settings", self.registry.address, fixture.name);
        let (file, context) = (fixture.context.join(&fixture.expected.file), &fixture.context);
        let docker = json!({
            "dockerfile": file, "build_context_root": context, "install_stack_requirements": false,
            "allow_including_files_in_images": false, "allow_download_from_code_repository": false,
            "allow_download_from_artifact_store": false,
        });
        let settings = self.folder.join("run.yaml");
        std::fs::write(&settings, json!({"settings": {"docker": docker}}).to_string())?;
        let start = Instant::now();
        let mut lapstrake = self.program(backend);
        lapstrake.env("LAPSTRAKE_STORE", self.folder.join(store)).args(["build", "--progress", "none"]).arg(settings);
        run(lapstrake.args(["--tag", &reference]))?.done()?;
        self.built(reference, start.elapsed().as_secs_f64())
    }

    /// The program with what it has to know, and a backend or none.
    fn program(&self, backend: bool) -> Command {
        let below = |name: &str| self.folder.join(name);
        let mut lapstrake = servers::lapstrake();
        lapstrake
            .current_dir(&self.folder)
            .env("LAPSTRAKE_STORE", below("store"))
            .env("LAPSTRAKE_CONFIG", below("config.yaml"));
        lapstrake.env("DOCKER_CONFIG", below("no-docker-config")).env("LAPSTRAKE_LEDGER", "off");
        lapstrake.env("UV_CACHE_DIR", below("uv")).env_remove("LAPSTRAKE_UV");
        if backend {
            lapstrake.env("BUILDKIT_HOST", &self.daemon.address);
        } else {
            lapstrake.env("PATH", below("bin")).env_remove("BUILDKIT_HOST").env_remove("DOCKER_HOST");
        }
        lapstrake
    }

    fn lapstrake(&self, fixture: &Fixture, backend: bool) -> Command {
        let mut lapstrake = self.program(backend);
        let file = fixture.context.join(&fixture.expected.file);
        lapstrake.args(["build", "--progress", "none", "--dockerfile"]).arg(file);
        lapstrake.arg("--context").arg(&fixture.context);
        if let Some(target) = &fixture.expected.target {
            lapstrake.args(["--target", target]);
        }
        for (name, value) in &fixture.expected.build_args {
            lapstrake.args(["--build-arg", &format!("{name}={value}")]);
        }
        lapstrake.args(fixture.secret_arguments()).envs(fixture.secret_environment());
        lapstrake
    }

    /// Lets BuildKit forget what no other fixture needs.
    pub(crate) fn prune(&self) -> Result<(), Halt> {
        done("buildctl", ["--addr", &self.daemon.address, "prune", "--keep-storage", KEPT]).map(drop)
    }

    fn built(&mut self, reference: String, seconds: f64) -> Result<Built, Halt> {
        Ok(Built { files: self.files(&reference)?, config: config(&reference)?, seconds, reference })
    }

    /// The files of an image in the registry.
    fn files(&mut self, reference: &str) -> Result<Merged, Halt> {
        let manifest = image::manifest(reference)?;
        let layers: Vec<&str> =
            manifest["layers"].as_array().into_iter().flatten().filter_map(|layer| layer["digest"].as_str()).collect();
        check(!layers.is_empty() || manifest["mediaType"].is_string(), || format!("no image: {manifest}"))?;
        let mut files = Merged::default();
        let mut below: Vec<String> = Vec::new();
        for digest in layers {
            below.push(digest.to_owned());
            if let Some(known) = self.bases.get(&below) {
                files = known.clone();
                continue;
            }
            files.lay(&self.registry.blob(digest))?;
            if below.len() <= PARENT {
                self.bases.insert(below.clone(), files.clone());
            }
        }
        Ok(files)
    }

    /// Runs what a fixture tries in an image, as its user, in its folder, with its environment.
    pub(crate) fn try_out(&self, fixture: &Fixture, reference: &str) -> Result<(), Halt> {
        let Some(tries) = &fixture.expected.tries else { return Ok(()) };
        let folder = self.folder.join("tries");
        std::fs::create_dir_all(&folder)?;
        let words = serde_json::to_string(tries)?;
        std::fs::write(folder.join("Dockerfile"), format!("FROM {reference}\nRUN {words}\n"))?;
        let mut buildctl = command("buildctl", ["--addr", &self.daemon.address, "build", "--progress=plain"]);
        buildctl.args(["--frontend", "dockerfile.v0", "--no-cache"]);
        for name in ["context", "dockerfile"] {
            buildctl.args(["--local", &format!("{name}={}", folder.display())]);
        }
        run(&mut buildctl)?.done().map(drop)
    }
}

/// All programs of this machine but those that would make a backend, as links in a folder.
fn without_backends(folder: &Path) -> Result<(), Halt> {
    std::fs::create_dir(folder)?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    for place in std::env::split_paths(&path) {
        for entry in std::fs::read_dir(&place).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let link = folder.join(&name);
            let is_backend = BACKENDS.iter().any(|backend| name == *backend)
                || name.to_string_lossy().starts_with("lapstrake-backend-");
            // The first of a name is the one that counts.
            if !is_backend && link.symlink_metadata().is_err() {
                std::os::unix::fs::symlink(entry.path(), link)?;
            }
        }
    }
    Ok(())
}

/// What an image says of itself and of its machine; nothing, where there is only an empty value.
fn config(reference: &str) -> Result<BTreeMap<String, Value>, Halt> {
    let whole = image::config(reference)?;
    let is_said = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Bool(said) => *said,
        Value::Number(_) => true,
    };
    let machine = ["architecture", "os", "variant", "os.version"].map(|name| (name, &whole[name]));
    let own = whole["config"].as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value));
    let said = machine.into_iter().chain(own).filter(|(_, value)| is_said(value));
    Ok(said.map(|(name, value)| (name.to_owned(), value.clone())).collect())
}
