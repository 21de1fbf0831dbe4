//! Images for another architecture, made here and run nowhere.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::compare::{self, Node};
use crate::harness::{Case, Figures, Halt, check, same};
use crate::image::{self, Unpacked};
use crate::project::Build;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case { name: "an arm64 image of the project holds aarch64 objects only, and misses none", run: arm64 },
    Case { name: "two platforms make an index", run: index },
];

/// `e_machine` of the ELF header.
const AARCH64: u16 = 183;
const X86_64: u16 = 62;
const PACKAGES: &str = "usr/local/lib/python3.11/dist-packages";

/// Builds the project for arm64.
fn build_arm64(world: &World) -> Result<Build, Halt> {
    let target = format!("{}/app:arm64", world.registry()?.address);
    let parent = &world.arm64()?.reference;
    world.project()?.build(&["--platform", "linux/arm64", "--parent-image", parent, "--tag", &target])
}

fn arm64(world: &World) -> Figures {
    let build = build_arm64(world)?;
    same("the platforms", build.platforms.clone(), vec!["linux/arm64".to_owned()])?;
    let config = image::config(&build.reference)?;
    same("the architecture", config["architecture"].as_str(), Some("arm64"))?;
    image::accepted(&build.reference)?;
    let unpacked = Unpacked::of(world, "arm64", &build.reference)?;
    let ours = objects(&unpacked.root.join(PACKAGES))?;
    let theirs = objects(&world.unpacked()?.root.join(PACKAGES))?;
    let wrong: Vec<_> = ours.iter().filter(|(_, machine)| **machine != AARCH64).collect();
    check(wrong.is_empty(), || format!("{} of another machine: {wrong:?}", wrong.len()))?;
    check(theirs.values().all(|machine| *machine == X86_64), || "the amd64 image has foreign objects".to_owned())?;
    let modules = modules(&ours);
    let missing: Vec<_> = self::modules(&theirs).into_iter().filter(|name| !modules.contains(name)).collect();
    // A package may leave its speed-ups out on one platform; none may lose all of its modules.
    let packages = |names: &[String]| -> std::collections::BTreeSet<String> {
        names.iter().filter_map(|name| name.split('/').next().map(str::to_owned)).collect()
    };
    let (here, there) = (packages(&modules), packages(&self::modules(&theirs)));
    same("the packages with extension modules", here, there)?;
    unpacked.remove()?;
    Ok(vec![
        build.figures("built"),
        format!("{} objects, {} modules; on amd64 alone: {missing:?}", ours.len(), modules.len()),
    ])
}

/// The ELF objects below a folder, and which machine each is for.
fn objects(folder: &Path) -> Result<BTreeMap<PathBuf, u16>, Halt> {
    let mut objects = BTreeMap::new();
    for (path, file) in compare::walk(folder)? {
        if !matches!(file.node, Node::File(size) if size > 20) {
            continue;
        }
        let bytes = std::fs::read(folder.join(&path))?;
        if bytes.starts_with(b"\x7fELF") {
            objects.insert(path, u16::from_le_bytes([bytes[18], bytes[19]]));
        }
    }
    check(objects.len() > 50, || format!("only {} objects below {}", objects.len(), folder.display()))?;
    Ok(objects)
}

/// The names of extension modules, without what differs by platform.
fn modules(objects: &BTreeMap<PathBuf, u16>) -> Vec<String> {
    let names = objects.keys().map(|path| path.display().to_string());
    let modules = names.filter(|name| name.contains(".cpython-311-") || name.ends_with(".abi3.so"));
    modules.filter_map(|name| name.split(".cpython-311-").next().map(str::to_owned)).collect()
}

fn index(world: &World) -> Figures {
    world.main()?;
    build_arm64(world)?;
    let target = format!("{}/app:both", world.registry()?.address);
    let parent = &world.index()?.reference;
    let platforms = ["--platform", "linux/amd64", "--platform", "linux/arm64"];
    let rest = ["--parent-image", parent, "--tag", &target];
    let build = world.project()?.build(&[platforms, rest].concat())?;
    same("the platforms", build.platforms.clone(), vec!["linux/amd64".to_owned(), "linux/arm64".to_owned()])?;
    let manifest = image::manifest(&build.reference)?;
    let entries = manifest["manifests"].as_array().cloned().unwrap_or_default();
    let architectures: Vec<_> = entries.iter().filter_map(|entry| entry["platform"]["architecture"].as_str()).collect();
    same("the index", architectures, vec!["amd64", "arm64"])?;
    image::accepted(&build.reference)?;
    let python = build.of_kind("python").filter(|layer| layer.action == "build").count();
    same("the number of package layers made though both images were there", python, 0)?;
    Ok(vec![build.figures("built")])
}
