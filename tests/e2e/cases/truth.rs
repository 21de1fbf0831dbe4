//! The image against what an installer leaves in the same root filesystem, path by path.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::compare::{self, Difference};
use crate::harness::{Case, Figures, Halt, check};
use crate::image::Unpacked;
use crate::parents;
use crate::process::{command, run};
use crate::project::Project;
use crate::rootfs;
use crate::tools;
use crate::world::World;

use super::runtime::{constraints, installed};

pub(super) const CASES: &[Case] = &[
    Case { name: "the files equal those that uv pip install leaves", run: by_uv },
    Case { name: "the files equal those that pip install leaves, on a smaller set", run: by_pip },
    Case { name: "with pip as the installer, the files equal those that pip install leaves", run: by_pip_itself },
];

const PIP: &str = "settings:\n  docker:\n    python_package_installer: pip\n    requirements: requirements.txt\n";

const SMALLER: &str = "requests\nrich\npyyaml\n";

/// The root filesystem of the image's own parent.
fn parent_root(world: &World, name: &str, image: &Unpacked) -> Result<PathBuf, Halt> {
    let root = world.fresh(name)?;
    rootfs::extract(&parents::plain_layer(world)?, &root)?;
    let bundle = "etc/ssl/certs/ca-certificates.crt";
    std::fs::copy(image.root.join(bundle), root.join(bundle))?;
    Ok(root)
}

fn versions(root: &Path) -> Result<BTreeMap<String, String>, Halt> {
    let list = ["python3", "-m", "pip", "--disable-pip-version-check", "list", "--format", "json"];
    installed(&rootfs::chroot(root, &[], &list)?)
}

/// Lets uv keep the wheels of these versions, so that it needs no network inside the root filesystem.
fn warm(world: &World, requirements: &Path, constraints: &str) -> Result<(), Halt> {
    let scratch = world.fresh("uv-scratch")?;
    let mut uv = command("uv", ["pip", "install", "--quiet", "--target", &scratch.display().to_string()]);
    uv.args(["--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28", "--constraint", constraints]);
    uv.arg("--requirements").arg(requirements).env("UV_CACHE_DIR", world.uv_cache());
    run(&mut uv)?.done()?;
    rootfs::remove(&scratch)
}

fn by_uv(world: &World) -> Figures {
    tools::need(&["uv", "mount"])?;
    let image = world.unpacked()?;
    let constraints = constraints(world, &versions(&image.root)?)?;
    let requirements = world.project()?.folder.join("requirements.txt");
    warm(world, &requirements, &constraints)?;
    let root = parent_root(world, "truth-uv", image)?;
    let tools_folder = world.fresh("truth-tools")?;
    std::fs::copy(&requirements, tools_folder.join("requirements.txt"))?;
    std::fs::copy(&constraints, tools_folder.join("constraints.txt"))?;
    let uv = tools::find("uv").ok_or_else(|| Halt::Skipped("`uv` is not installed".to_owned()))?;
    std::fs::copy(uv.canonicalize()?, tools_folder.join("uv"))?;
    let script = "uv() { /mnt/uv --offline --cache-dir /media \"$@\"; }\n\
        uv pip install --quiet --system --break-system-packages --link-mode copy \
        --requirements /mnt/requirements.txt --constraint /mnt/constraints.txt";
    let mounts = [(tools_folder.as_path(), "mnt"), (&world.uv_cache(), "media")];
    rootfs::chroot_with(&root, &mounts, &["sh", "-c", script])?;
    let (differences, paths) = compare::trees(&image.root, &root)?;
    let mut figures = compare::explained(differences, always)?;
    figures.insert(0, format!("{paths} paths compared: type, mode, owner, content, link target"));
    rootfs::remove(&root)?;
    Ok(figures)
}

/// Why a difference is no defect, whoever installed.
fn always(difference: &Difference) -> Option<&'static str> {
    let path = difference.path.to_string_lossy();
    let first = path.split('/').next().unwrap_or_default();
    match first {
        "app" => Some("the project's own files"),
        "tmp" | "run" | "proc" | "dev" | "mnt" | "media" => Some("what programs leave at run time and mounts need"),
        _ if path.starts_with("root/") || path.starts_with("var/cache/") => Some("caches of the installer"),
        _ if path.contains("__pycache__") => Some("compiled at run time"),
        _ => None,
    }
}

fn by_pip(world: &World) -> Figures {
    let project = Project::requiring(world, "smaller", &world.folder("store"), SMALLER)?;
    against_pip(world, "smaller", &project, "uv")
}

fn by_pip_itself(world: &World) -> Figures {
    let project = Project::requiring(world, "by-pip", &world.folder("store"), SMALLER)?;
    project.write("lapstrake.yaml", PIP)?;
    against_pip(world, "by-pip", &project, "pip")
}

/// Builds `project` and holds the image against what pip leaves for the same versions; `installer` is named in the image.
fn against_pip(world: &World, name: &str, project: &Project, installer: &str) -> Figures {
    let target = format!("{}/app:{name}", world.registry()?.address);
    let build = project.build(&["--parent-image", &world.plain()?.reference, "--tag", &target])?;
    let image = Unpacked::of(world, name, &build.reference)?;
    let wheels = world.fresh("truth-wheels")?;
    let mut pins = versions(&image.root)?;
    pins.retain(|name, _| !["pip", "setuptools", "wheel"].contains(&name.as_str()));
    let pins: Vec<_> = pins.iter().map(|(name, version)| format!("{name}=={version}")).collect();
    rootfs::download_wheels(&pins.iter().map(String::as_str).collect::<Vec<_>>(), &wheels)?;
    std::fs::write(wheels.join("requirements.txt"), SMALLER)?;
    let root = parent_root(world, "truth-pip", &image)?;
    let pip = ["python3", "-m", "pip", "--quiet", "install", "--break-system-packages", "--no-compile", "--no-index"];
    let from = ["--root-user-action", "ignore", "--find-links", "/mnt", "--requirement", "/mnt/requirements.txt"];
    rootfs::chroot_with(&root, &[(wheels.as_path(), "mnt")], &[pip.as_slice(), &from].concat())?;
    let (differences, paths) = compare::trees(&image.root, &root)?;
    let (ours, theirs) = (image.root.clone(), root.clone());
    let mut figures = compare::explained(differences, |difference| {
        always(difference).or_else(|| by_another_installer(&ours, &theirs, difference, installer))
    })?;
    check(paths > 1_000, || format!("only {paths} paths"))?;
    figures.insert(0, format!("{paths} paths compared; {} packages", pins.len()));
    image.remove()?;
    rootfs::remove(&root)?;
    Ok(figures)
}

/// What pip writes otherwise than uv, which Lapstrake follows.
fn by_another_installer(ours: &Path, theirs: &Path, difference: &Difference, installer: &str) -> Option<&'static str> {
    let path = &difference.path;
    let content = |root: &Path| std::fs::read_to_string(root.join(path)).unwrap_or_default();
    match path.file_name()?.to_str()? {
        "INSTALLER" => {
            let named = (content(ours).trim() == installer, content(theirs).trim() == "pip");
            (installer != "pip" && named == (true, true)).then_some("INSTALLER names who installed")
        }
        "REQUESTED" => (content(ours).is_empty() && !theirs.join(path).exists())
            .then_some("REQUESTED, which uv writes for dependencies too"),
        "RECORD" => {
            let lines = |text: String| {
                let kept = text.lines().filter(|line| !is_installers(line)).map(str::to_owned);
                kept.collect::<std::collections::BTreeSet<_>>()
            };
            let equal = lines(content(ours)) == lines(content(theirs));
            equal.then_some("RECORD in another order, and without what differs above")
        }
        _ if path.parent()?.ends_with("usr/local/bin") => {
            let by_python = |root: &Path| content(root).starts_with("#!/usr/bin/python3\n");
            (by_python(ours) && by_python(theirs)).then_some("console scripts from another template")
        }
        _ => None,
    }
}

/// Whether a line of RECORD is about a file that installers write in their own words.
fn is_installers(line: &str) -> bool {
    let path = line.split(',').next().unwrap_or_default();
    path.ends_with(".dist-info/INSTALLER") || path.ends_with(".dist-info/REQUESTED") || path.contains("/bin/")
}
