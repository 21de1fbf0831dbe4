//! The run configurations of `fixtures/runs`: each is built, and each of its images is run and held against what it must be.
//!
//! What must be stands beside each configuration; docs/design/run-configurations.md says which sample it is the twin of.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::configuration::{Configuration, Report};
use crate::container::Container;
use crate::harness::{Case, Figures, Halt, check, same};
use crate::process::{command, done, run};
use crate::servers::{Serving, answers, free_port};
use crate::tools;
use crate::world::World;

/// A case a configuration: the folder's name, and what is done beside building and looking when there is more.
macro_rules! configurations {
    ($($name:literal $(by $run:path)?),+ $(,)?) => {
        &[$(Case {
            name: concat!("run configuration: ", $name),
            run: configurations!(@run $name $($run)?),
        }),+]
    };
    (@run $name:literal) => { |world| built_and_checked(world, $name) };
    (@run $name:literal $run:path) => { $run };
}

pub(super) const CASES: &[Case] = configurations![
    "pipeline-settings",
    "step-settings",
    "hierarchy",
    "run-configuration",
    "build-args",
    "labels-platform",
    "prebuilt-parent",
    "skip-build",
    "requirements-list",
    "requirements-file",
    "local-environment",
    "pyproject-uv",
    "pyproject-export",
    "integration",
    "stack-requirements",
    "sequential",
    "detection",
    "local-project",
    "installer-arguments",
    "pip-installer",
    "private-index" by private_index,
    "ignored-files",
    "no-sources",
    "code-repository" by code_repository,
    "artifact-store" by artifact_store,
    "environment",
    "runtime-environment",
    "named-user",
    "image-tag",
    "reuse" by reuse,
    "prevent-reuse" by prevent_reuse,
    "apt-packages" by found_without_a_backend,
    "custom-dockerfile" by found_without_a_backend_too,
    "dockerfile-alone",
    "yaml-file",
];

fn built_and_checked(world: &World, name: &str) -> Figures {
    let configuration = Configuration::open(world, name)?;
    configuration.prepare(world)?;
    let report = configuration.build(&[])?;
    configuration.check(world, &report)
}

/// Serves a wheel to who knows the token, and leaves the token out of everything but the variable that the settings ask for.
fn private_index(world: &World) -> Figures {
    let mut configuration = Configuration::open(world, "private-index")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/e2e/private_index.py").display().to_string();
    let port = free_port()?.to_string();
    let address = format!("127.0.0.1:{port}");
    let arguments = [script.as_str(), &port, "boatswain", "canary-7f3a-e2e"];
    let mut index = Serving::start("python3", &arguments, &world.folder("index.log"), Stdio::null())?;
    index.wait(|| answers(&address)).map_err(|log| Halt::Failed(format!("the index did not start\n{log}")))?;
    configuration.set("INDEX", &address);
    let report = configuration.build(&[])?;
    check(!report.said.contains("canary-7f3a-e2e"), || format!("the token was said:\n{}", report.said))?;
    let figures = configuration.check(world, &report)?;
    configuration.set("INDEX_TOKEN", "another");
    let refused = configuration.lapstrake(&["build", "run.yaml", "--no-cache", "--progress", "none"])?;
    check(refused.code == Some(1), || format!("another token was taken:\n{}", refused.shown()))?;
    Ok(figures)
}

/// Runs git without the user's own configuration.
fn git(folder: &Path, arguments: &[&str]) -> Result<String, Halt> {
    let identity = ["-c", "user.name=e2e", "-c", "user.email=e2e@example.test"];
    let mut git = command("git", identity);
    git.args(arguments).current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_SYSTEM", "/dev/null");
    Ok(run(&mut git)?.done()?.stdout)
}

/// Makes a checkout of the project, clean and pushed.
fn checked_out(world: &World, configuration: &mut Configuration) -> Result<PathBuf, Halt> {
    let bare = world.fresh("run-code-repository-remote")?;
    let url = format!("file://{}", bare.display());
    let folder = configuration.project.folder.clone();
    git(&bare, &["init", "--quiet", "--bare", "--initial-branch", "main"])?;
    git(&folder, &["init", "--quiet", "--initial-branch", "main"])?;
    git(&folder, &["remote", "add", "origin", &url])?;
    configuration.set("CODE_REPOSITORY", &url);
    committed(configuration, &folder)?;
    git(&folder, &["push", "--quiet", "--set-upstream", "origin", "main"])?;
    Ok(folder)
}

fn committed(configuration: &mut Configuration, folder: &Path) -> Result<(), Halt> {
    git(folder, &["add", "--all"])?;
    git(folder, &["commit", "--quiet", "--message", "a change"])?;
    configuration.set("COMMIT", git(folder, &["rev-parse", "HEAD"])?.trim());
    Ok(())
}

/// A commit changes the image's config alone; what is not committed goes into the image.
fn code_repository(world: &World) -> Figures {
    let mut configuration = Configuration::open(world, "code-repository")?;
    let folder = checked_out(world, &mut configuration)?;
    let first = configuration.build(&[])?;
    let mut figures = configuration.check(world, &first)?;
    configuration.project.write("pipeline.py", "print('second')\n")?;
    committed(&mut configuration, &folder)?;
    git(&folder, &["push", "--quiet"])?;
    let second = configuration.build(&[])?;
    figures.extend(configuration.check(world, &second)?);
    same("the layers after a commit", &second.images[0].layers, &first.images[0].layers)?;
    check(second.images[0].digest != first.images[0].digest, || "the image does not name its commit".to_owned())?;
    configuration.project.write("pipeline.py", "print('third')\n")?;
    let dirty = configuration.build(&[])?;
    let container = Container::of(world, "code-repository-dirty", &dirty.images[0].reference)?;
    same("what runs", container.run(Some(&["python3", "pipeline.py"]))?.trim(), "third")?;
    container.remove()?;
    figures.push(format!(
        "a commit changes none of {} layers; a dirty checkout is included",
        first.images[0].layers.len()
    ));
    Ok(figures)
}

/// The archive is in the store once, and the container runs what is in it.
fn artifact_store(world: &World) -> Figures {
    tools::need(&["tar", "sha256sum"])?;
    let mut configuration = Configuration::open(world, "artifact-store")?;
    let store = world.fresh("run-artifact-store-artifacts")?;
    configuration.set("ARTIFACTS", &store.display().to_string());
    let report = configuration.build(&[])?;
    let listed = done("find", [store.display().to_string().as_str(), "-name", "*.tar.gz"])?;
    same("the archives", listed.lines().count(), 1)?;
    let digest = done("sha256sum", [listed.trim()])?;
    configuration.set("ARCHIVE", listed.trim());
    configuration.set("ARCHIVE_DIGEST", &format!("sha256:{}", digest.split(' ').next().unwrap_or_default()));
    let mut figures = configuration.check(world, &report)?;
    let container = Container::of(world, "artifact-store-filled", &report.images[0].reference)?;
    done("tar", ["-xzf", listed.trim(), "-C", &container.root().join("app").display().to_string()])?;
    same("what it prints with its code", container.run(None)?.trim(), "unpacked")?;
    container.remove()?;
    let changed = "\"\"\"Changed.\"\"\"\n";
    configuration.project.write("pipeline.py", changed)?;
    let second = configuration.build(&[])?;
    same("the layers after a change", &second.images[0].layers, &report.images[0].layers)?;
    let listed = done("find", [store.display().to_string().as_str(), "-name", "*.tar.gz"])?;
    same("the archives after a change", listed.lines().count(), 2)?;
    figures.push("a change makes an archive, and no layer".to_owned());
    Ok(figures)
}

fn digests(report: &Report) -> Vec<(&str, bool)> {
    report.images.iter().map(|image| (image.digest.as_str(), image.reused)).collect()
}

/// An unchanged project is found again, by another machine too; a changed file makes an image with one new layer.
fn reuse(world: &World) -> Figures {
    let configuration = Configuration::open(world, "reuse")?;
    let first = configuration.build(&[])?;
    let mut figures = configuration.check(world, &first)?;
    let digest = first.images[0].digest.as_str();
    same("the first build", digests(&first), vec![(digest, false)])?;
    same("the second build", digests(&configuration.build(&[])?), vec![(digest, true)])?;
    let elsewhere = world.fresh("run-reuse-elsewhere")?.display().to_string();
    let found = configuration.build(&["--store", &elsewhere])?;
    same("the build of another machine", digests(&found), vec![(digest, true)])?;
    configuration.project.write("pipeline.py", "print('second')\n")?;
    let changed = configuration.build(&[])?;
    let image = &changed.images[0];
    check(image.digest != digest && !image.reused, || "a changed file is not in the image".to_owned())?;
    let new = image.layers.iter().filter(|layer| !first.images[0].layers.contains(layer)).count();
    same("how many layers are new", new, 1)?;
    let listed =
        configuration.lapstrake(&["builds", "list", "--pipeline", "my_pipeline", "--format", "json"])?.done()?;
    for digest in [digest, image.digest.as_str()] {
        check(listed.stdout.contains(digest), || format!("`builds list` lacks {digest}:\n{}", listed.stdout))?;
    }
    figures.push("found twice; a changed file makes one layer; `builds list` knows both".to_owned());
    Ok(figures)
}

/// All images are made again, and come out as they were.
fn prevent_reuse(world: &World) -> Figures {
    let configuration = Configuration::open(world, "prevent-reuse")?;
    let first = configuration.build(&[])?;
    let second = configuration.build(&[])?;
    same("the second build", digests(&second), digests(&first))?;
    check(second.images.iter().all(|image| !image.reused), || "an image was reused".to_owned())?;
    let allowed = configuration.build(&["--set", "steps.train.settings.docker.prevent_build_reuse=false"])?;
    check(allowed.images.iter().all(|image| image.reused), || "an image was not reused".to_owned())?;
    configuration.check(world, &second)
}

fn found_without_a_backend(world: &World) -> Figures {
    without_a_backend(world, "apt-packages")
}

fn found_without_a_backend_too(world: &World) -> Figures {
    without_a_backend(world, "custom-dockerfile")
}

/// What a backend made is found by a machine that has none, when the sources change.
fn without_a_backend(world: &World, name: &str) -> Figures {
    let mut figures = built_and_checked(world, name)?;
    let mut configuration = Configuration::open(world, name)?;
    configuration.project.write("pipeline.py", "print('changed')\n")?;
    let folder = world.fresh(&format!("run-{name}-path"))?;
    if let Some(uv) = tools::find("uv") {
        std::os::unix::fs::symlink(uv, folder.join("uv"))?;
    }
    configuration.set("PATH", &folder.display().to_string());
    let store = world.fresh(&format!("run-{name}-elsewhere"))?.display().to_string();
    let report = configuration.build(&["--store", &store])?;
    figures.extend(configuration.check(world, &report)?);
    Ok(figures)
}
