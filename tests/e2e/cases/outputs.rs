//! Images that go into a folder or a file instead of a registry.

use crate::harness::{Case, Figures, check, same};
use crate::image::Unpacked;
use crate::process::{done, run};
use crate::tools;
use crate::world::World;

use super::runtime::as_asked_for;

pub(super) const CASES: &[Case] = &[
    Case { name: "an OCI layout is read by skopeo and umoci", run: layout },
    Case { name: "a docker archive is read by skopeo, and docker load runs it", run: archive },
];

fn layout(world: &World) -> Figures {
    tools::need(&["skopeo"])?;
    let main = world.main()?;
    let folder = world.fresh("layout")?.join("image");
    let output = format!("oci:{}", folder.display());
    let parent = &world.plain()?.reference;
    let build = world.project()?.build(&["--parent-image", parent, "--output", &output, "--tag", "app:layout"])?;
    same("the digest", &build.digest, &main.digest)?;
    let index: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.join("index.json"))?)?;
    let names = index["manifests"].as_array().into_iter().flatten();
    let names: Vec<_> =
        names.filter_map(|of| of["annotations"]["org.opencontainers.image.ref.name"].as_str()).collect();
    check(names.len() == 1, || format!("the layout names {names:?}"))?;
    let inspected = done("skopeo", ["inspect", &format!("oci:{}:{}", folder.display(), names[0])])?;
    check(inspected.contains(&main.digest), || inspected.clone())?;
    let unpacked = Unpacked::of_layout(world, "layout", &folder, names[0])?;
    let (differences, paths) = crate::compare::trees(&unpacked.root, &world.unpacked()?.root)?;
    let pyc = |path: &std::path::Path| path.to_string_lossy().contains("__pycache__") || path.starts_with("tmp");
    let other = differences.iter().find(|difference| !pyc(&difference.path) && !difference.path.starts_with("var"));
    check(other.is_none(), || format!("unlike the pulled image: {other:?}"))?;
    unpacked.remove()?;
    Ok(vec![build.figures("built"), format!("{paths} paths as in the pulled image")])
}

fn archive(world: &World) -> Figures {
    tools::need(&["skopeo"])?;
    let file = world.work.join("image.tar");
    let output = format!("docker-archive:{}", file.display());
    let parent = &world.plain()?.reference;
    let arguments = ["build", "--progress", "none", "--parent-image", parent, "--output", &output];
    run(world.project()?.lapstrake(&arguments).args(["--tag", "e2e/app:archive"]))?.done()?;
    let inspected = done("skopeo", ["inspect", &format!("docker-archive:{}", file.display())])?;
    check(inspected.contains("\"amd64\""), || inspected.clone())?;
    let size = file.metadata()?.len();
    let dockerd = world.dockerd()?;
    dockerd.docker(&["load", "--input", &file.display().to_string()])?;
    let said = dockerd.docker(&["run", "--rm", "--network", "none", "e2e/app:archive"])?;
    as_asked_for(&said)?;
    std::fs::remove_file(&file)?;
    Ok(vec![format!("{}, loaded and run", crate::project::shown(size))])
}
