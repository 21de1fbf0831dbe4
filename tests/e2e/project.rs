//! The sample project, and builds of it by the binary under test.
//!
//! A copy is its own project: cases may change its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::clients::Client;
use crate::harness::Halt;
use crate::process::{Ran, Running, done, run};
use crate::servers;
use crate::world::World;

/// A copy of the sample project.
pub(crate) struct Project {
    pub(crate) folder: PathBuf,
    store: PathBuf,
    settings: BTreeMap<String, String>,
}

impl Project {
    /// Copies the sample project into the work folder as `name`; builds use the store at `store`.
    pub(crate) fn copy(world: &World, name: &str, store: &Path) -> Result<Self, Halt> {
        Self::copy_of(world, "tests/e2e/project", name, store)
    }

    /// Copies the demo's project, which has its four wheels and a lock in its own folder, with an empty store.
    pub(crate) fn demo(world: &World, name: &str) -> Result<Self, Halt> {
        let store = world.fresh(&format!("{name}-store"))?;
        Self::copy_of(world, "fixtures/demo/project", name, &store)
    }

    /// Copies a run configuration without what is expected of it; all of them share a store.
    pub(crate) fn run_configuration(world: &World, name: &str) -> Result<Self, Halt> {
        let sample = format!("fixtures/runs/{name}");
        let project = Self::copy_of(world, &sample, &format!("run-{name}"), &world.folder("store"))?;
        std::fs::remove_file(project.folder.join("expected.json"))?;
        Ok(project)
    }

    fn copy_of(world: &World, sample: &str, name: &str, store: &Path) -> Result<Self, Halt> {
        let folder = world.fresh(name)?;
        let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join(sample);
        let from = format!("{}/.", sample.display());
        done("cp", ["--recursive", "--no-preserve=timestamps", &from, &folder.display().to_string()])?;
        let docker_config = world.folder("no-docker-config");
        std::fs::create_dir_all(&docker_config)?;
        let settings = BTreeMap::from([
            ("LAPSTRAKE_STORE".to_owned(), store.display().to_string()),
            ("DOCKER_CONFIG".to_owned(), docker_config.display().to_string()),
            ("UV_CACHE_DIR".to_owned(), world.uv_cache().display().to_string()),
        ]);
        Ok(Self { folder, store: store.to_owned(), settings })
    }

    /// A copy with other requirements.
    pub(crate) fn requiring(world: &World, name: &str, store: &Path, requirements: &str) -> Result<Self, Halt> {
        let project = Self::copy(world, name, store)?;
        project.write("requirements.txt", requirements)?;
        Ok(project)
    }

    /// Writes a file of the project.
    pub(crate) fn write(&self, name: &str, text: &str) -> Result<(), Halt> {
        Ok(std::fs::write(self.folder.join(name), text)?)
    }

    /// Sets an environment variable of all its builds.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.insert(name.to_owned(), value.to_owned());
        self
    }

    /// Sets what clients have to know of a registry.
    pub(crate) fn knowing(mut self, client: &Client) -> Self {
        self.settings.extend(client.environment.clone());
        self
    }

    /// Puts bytes into the project that nothing makes smaller, the same for the same seed.
    pub(crate) fn load(&self, name: &str, size: usize, seed: u64) -> Result<(), Halt> {
        Ok(std::fs::write(self.folder.join(name), noise(size, seed))?)
    }

    /// The folder of the store.
    pub(crate) fn store(&self) -> &Path {
        &self.store
    }

    /// `lapstrake ARGUMENTS` in the project's folder.
    pub(crate) fn lapstrake(&self, arguments: &[&str]) -> Command {
        let mut command = servers::lapstrake();
        command.current_dir(&self.folder).envs(&self.settings).args(arguments);
        command
    }

    /// A build that must succeed.
    pub(crate) fn build(&self, arguments: &[&str]) -> Result<Build, Halt> {
        self.build_by(&mut self.lapstrake(&[]), arguments)
    }

    /// A build by this command, which must succeed.
    pub(crate) fn build_by(&self, command: &mut Command, arguments: &[&str]) -> Result<Build, Halt> {
        let start = Instant::now();
        let ran = run(command.args(["build", "--format", "json", "--progress", "none"]).args(arguments))?.done()?;
        Build::read(&ran.stdout, start.elapsed().as_secs_f64())
    }

    /// Starts a build, which may end in any way.
    pub(crate) fn start(&self, arguments: &[&str]) -> Result<Running, Halt> {
        Running::start(self.lapstrake(&["build", "--format", "json", "--progress", "none"]).args(arguments))
    }

    /// A build that must fail with `code`, and what it said on stderr.
    pub(crate) fn refused(&self, code: i32, arguments: &[&str]) -> Result<String, Halt> {
        let ran = run(self.lapstrake(&["build", "--progress", "none"]).args(arguments))?;
        refused(ran, code)
    }
}

/// What a command that failed with `code` said on stderr; stdout must be empty.
pub(crate) fn refused(ran: Ran, code: i32) -> Result<String, Halt> {
    if ran.code == Some(code) && ran.stdout.is_empty() {
        return Ok(ran.stderr);
    }
    Err(Halt::Failed(format!("`{}` ended with {:?}, not {code}:\n{}", ran.line, ran.code, ran.shown())))
}

/// One layer of a build's report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layer {
    pub(crate) key: Option<String>,
    pub(crate) kind: String,
    pub(crate) title: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    pub(crate) action: String,
}

/// The report of a build.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    /// `repository@digest`.
    pub(crate) reference: String,
    pub(crate) digest: String,
    pub(crate) platforms: Vec<String>,
    pub(crate) reused: bool,
    pub(crate) layers: Vec<Layer>,
    pub(crate) downloaded: u64,
    pub(crate) uploaded: u64,
    pub(crate) mounted: u64,
    /// As a clock on the wall saw it.
    pub(crate) seconds: f64,
}

impl Build {
    /// The report of a build that was started, and must have succeeded.
    pub(crate) fn of(ran: Ran, seconds: f64) -> Result<Self, Halt> {
        Self::read(&ran.done()?.stdout, seconds)
    }

    fn read(json: &str, seconds: f64) -> Result<Self, Halt> {
        let value: Value = serde_json::from_str(json)?;
        let lacking = |what: &str| Halt::Failed(format!("the report has no {what}:\n{json}"));
        if value["schemaVersion"] != 1 {
            return Err(lacking("`schemaVersion` 1"));
        }
        let image = &value["images"][0];
        let text = |of: &Value, name: &str| of[name].as_str().map(str::to_owned).ok_or_else(|| lacking(name));
        let number = |of: &Value, name: &str| of[name].as_u64().ok_or_else(|| lacking(name));
        let layers = image["layers"].as_array().ok_or_else(|| lacking("`layers`"))?;
        let layer = |of: &Value| {
            Ok(Layer {
                key: of["key"].as_str().map(str::to_owned),
                kind: text(of, "kind")?,
                title: text(of, "title")?,
                digest: text(of, "digest")?,
                size: number(of, "size")?,
                action: text(of, "action")?,
            })
        };
        let platforms = image["platforms"].as_array().ok_or_else(|| lacking("`platforms`"))?;
        text(&image["parent"], "reference")?;
        text(&image["parent"], "digest")?;
        let digest = text(image, "digest")?;
        let named = text(image, "reference")?;
        let reference = pinned(&named, &digest);
        Ok(Self {
            reference,
            digest,
            platforms: platforms.iter().filter_map(|name| name.as_str().map(str::to_owned)).collect(),
            reused: image["reused"].as_bool().ok_or_else(|| lacking("`reused`"))?,
            layers: layers.iter().map(layer).collect::<Result<_, Halt>>()?,
            downloaded: number(&image["bytes"], "downloaded")?,
            uploaded: number(&image["bytes"], "uploaded")?,
            mounted: number(&image["bytes"], "mounted")?,
            seconds,
        })
    }

    /// The layers with this action.
    pub(crate) fn with_action<'a>(&'a self, action: &'a str) -> impl Iterator<Item = &'a Layer> {
        self.layers.iter().filter(move |layer| layer.action == action)
    }

    /// The layers of this kind.
    pub(crate) fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Layer> {
        self.layers.iter().filter(move |layer| layer.kind == kind)
    }

    /// Time and bytes, for people.
    pub(crate) fn figures(&self, what: &str) -> String {
        format!(
            "{what}: {:.2} s, down {}, up {}, mounted {}",
            self.seconds,
            shown(self.downloaded),
            shown(self.uploaded),
            shown(self.mounted)
        )
    }
}

/// `repository@digest` of a name with a tag, a digest, or neither.
fn pinned(name: &str, digest: &str) -> String {
    let name = name.split('@').next().unwrap_or(name);
    let repository = match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    };
    format!("{repository}@{digest}")
}

/// A number of bytes for people.
pub(crate) fn shown(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

/// Bytes that look like chance (xorshift64*), the same for the same seed.
pub(crate) fn noise(size: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_be_bytes()
    };
    let mut bytes: Vec<u8> = (0..size.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(size);
    bytes
}
