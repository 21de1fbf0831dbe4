//! The image runs: in a chroot of what umoci unpacked, and in a container of dockerd.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::harness::{Case, Figures, Halt, check, same};
use crate::image;
use crate::process::{command, run};
use crate::rootfs::{chroot, chroot_as};
use crate::tools;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case { name: "umoci and chroot: everything can be imported", run: imports },
    Case { name: "umoci and chroot: pip check and pip list are right", run: pip },
    Case { name: "umoci and chroot: console scripts run", run: scripts },
    Case { name: "umoci: sources have the owner and the modes that were asked for", run: sources },
    Case { name: "dockerd pulls and runs the image", run: docker },
];

/// The environment of the image's config.
fn environment(world: &World) -> Result<Vec<(String, String)>, Halt> {
    let config = image::config(&world.main()?.reference)?;
    let lines = config["config"]["Env"].as_array().into_iter().flatten().filter_map(Value::as_str);
    Ok(lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect())
}

/// Runs in the unpacked image as the image's user, with the image's environment.
fn inside(world: &World, arguments: &[&str]) -> Result<String, Halt> {
    let environment = environment(world)?;
    let borrowed: Vec<_> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    chroot_as(&world.unpacked()?.root, "33:33", &borrowed, arguments)
}

fn imports(world: &World) -> Figures {
    let count = imported(&inside(world, &["python3", "/app/import_all.py"])?)?;
    Ok(vec![format!("{count} modules at the top of packages")])
}

/// How many modules the sample project could import: one a package at least.
fn imported(said: &str) -> Result<usize, Halt> {
    let count: usize = said.trim().lines().last().and_then(|line| line.parse().ok()).unwrap_or(0);
    check(count >= 46, || format!("only {count} modules: {said:?}"))?;
    Ok(count)
}

/// Names and versions in pip's list.
pub(super) fn installed(list: &str) -> Result<BTreeMap<String, String>, Halt> {
    let value: Value = serde_json::from_str(list)?;
    let text = |of: &Value, name: &str| of[name].as_str().unwrap_or_default().to_owned();
    let packages = value.as_array().into_iter().flatten();
    Ok(packages.map(|of| (normalized(&text(of, "name")), text(of, "version"))).collect())
}

fn normalized(name: &str) -> String {
    name.to_lowercase().replace(['_', '.'], "-")
}

const LIST: [&str; 7] = ["python3", "-m", "pip", "--disable-pip-version-check", "list", "--format", "json"];

fn pip(world: &World) -> Figures {
    let said = inside(world, &["python3", "-m", "pip", "check"])?;
    check(said.contains("No broken requirements found"), || said.clone())?;
    let found = installed(&inside(world, &LIST)?)?;
    let expected = resolved(world, &found)?;
    for (name, version) in &expected {
        same(&format!("the version of {name}"), found.get(name), Some(version))?;
    }
    let debians = ["pip", "setuptools", "wheel"];
    let odd: Vec<_> = found.keys().filter(|name| !expected.contains_key(*name)).collect();
    check(odd.iter().all(|name| debians.contains(&name.as_str())), || format!("nobody asked for {odd:?}"))?;
    Ok(vec![format!("{} packages, just what uv resolves outside the image", expected.len())])
}

/// What uv resolves the project's requirements to, at the versions that are installed.
fn resolved(world: &World, versions: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Halt> {
    tools::need(&["uv"])?;
    let constraints = constraints(world, versions)?;
    let requirements = world.project()?.folder.join("requirements.txt");
    let mut uv =
        command("uv", ["pip", "compile", "--quiet", "--no-header", "--no-annotate", "--python-version", "3.11"]);
    uv.args(["--python-platform", "x86_64-manylinux_2_28", "--constraint", &constraints]).arg(requirements);
    let text = run(uv.env("UV_CACHE_DIR", world.uv_cache()))?.done()?.stdout;
    let pins = text.lines().filter_map(|line| line.split(';').next()?.trim().split_once("=="));
    Ok(pins.map(|(name, version)| (normalized(name), version.trim().to_owned())).collect())
}

/// A constraints file that holds these versions.
pub(super) fn constraints(world: &World, versions: &BTreeMap<String, String>) -> Result<String, Halt> {
    let file = world.work.join("constraints.txt");
    let lines = versions.iter().map(|(name, version)| format!("{name}=={version}\n"));
    std::fs::write(&file, lines.collect::<String>())?;
    Ok(file.display().to_string())
}

fn scripts(world: &World) -> Figures {
    let numpy = inside(world, &["f2py", "-v"])?;
    let zenml = inside(world, &["sh", "-c", "zenml version 2>&1"])?;
    check(zenml.contains("0.98.0"), || format!("zenml said {zenml}"))?;
    let first = chroot(&world.unpacked()?.root, &[], &["head", "-n", "1", "/usr/local/bin/zenml"])?;
    same("the shebang", first.trim(), "#!/usr/bin/python3")?;
    Ok(vec![format!("f2py {}, zenml 0.98.0", numpy.trim())])
}

fn sources(world: &World) -> Figures {
    let root = &world.unpacked()?.root;
    let found = crate::compare::walk(&root.join("app"))?;
    let paths: Vec<_> = found.keys().map(|path| path.display().to_string()).collect();
    let expected = [
        "import_all.py",
        "lapstrake.yaml",
        "pipeline.py",
        "requirements.txt",
        "steps",
        "steps/__init__.py",
        "steps/load.py",
        "steps/train.py",
    ];
    let paths: Vec<_> = paths.into_iter().filter(|path| path != ".dockerignore").collect();
    same("the list of sources", paths, expected.map(str::to_owned).to_vec())?;
    for (path, file) in &found {
        same(&format!("the owner of {}", path.display()), file.owner, (33, 0))?;
        same(&format!("the write bits of {}", path.display()), file.mode & 0o666, 0o666)?;
    }
    Ok(vec![format!("{} paths", found.len())])
}

fn docker(world: &World) -> Figures {
    let reference = &world.main()?.reference;
    let dockerd = world.dockerd()?;
    dockerd.docker(&["pull", "--quiet", reference])?;
    let run = ["run", "--rm", "--network", "none"];
    let said = dockerd.docker(&[run.as_slice(), &[reference]].concat())?;
    as_asked_for(&said)?;
    let with = |entrypoint: &str, arguments: &[&str]| {
        dockerd.docker(&[run.as_slice(), &["--entrypoint", entrypoint, reference], arguments].concat())
    };
    same("id -u", with("id", &["-u"])?.trim(), "33")?;
    let imported = imported(&with("python3", &["import_all.py"])?)?;
    let broken = with("python3", &["-m", "pip", "check"])?;
    check(broken.contains("No broken requirements found"), || broken.clone())?;
    let version =
        dockerd.docker(&["version", "--format", "{{.Server.Version}} with {{(index .Server.Components 2).Name}}"])?;
    Ok(vec![said.trim().to_owned(), format!("{imported} modules imported; dockerd {}", version.trim())])
}

/// Checks what the sample project says of its surroundings.
pub(super) fn as_asked_for(said: &str) -> Result<(), Halt> {
    let value: Value = serde_json::from_str(said.trim())?;
    same("uid", value["uid"].as_u64(), Some(33))?;
    same("folder", value["folder"].as_str(), Some("/app"))?;
    same("greeting", value["greeting"].as_str(), Some("ahoy"))?;
    same("slope", value["slope"].as_f64(), Some(2.0))
}
