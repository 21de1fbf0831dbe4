//! Copies between registries and archives that others made and others read.

use serde_json::Value;

use crate::harness::{Case, Figures, Halt, check, same};
use crate::image;
use crate::process::{done, run};
use crate::servers::lapstrake;
use crate::tools;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case { name: "an index is copied to the embedded registry and back, and crane and skopeo accept both", run: index },
    Case { name: "an archive that skopeo made is copied into a registry", run: of_skopeo },
    Case { name: "an archive that docker save made is copied into a registry", run: of_docker },
    Case { name: "docker-registry removes what is asked for and no more", run: deleting },
];

/// `lapstrake copy`, which has to succeed; gives its only image of `--format json`.
pub(super) fn copy(world: &World, arguments: &[&str]) -> Result<Value, Halt> {
    let mut command = lapstrake();
    command.args(["copy", "--format", "json", "--progress", "none"]).args(arguments);
    let ran = run(command.env("LAPSTRAKE_STORE", world.folder("store")))?.done()?;
    let mut printed: Value = serde_json::from_str(&ran.stdout)?;
    Ok(printed["images"][0].take())
}

pub(super) fn moved(copied: &Value) -> String {
    let bytes = |name: &str| crate::project::shown(copied["bytes"][name].as_u64().unwrap_or_default());
    format!("{} down, {} up", bytes("downloaded"), bytes("uploaded"))
}

fn index(world: &World) -> Figures {
    tools::need(&["crane", "skopeo"])?;
    let source = &world.index()?.reference;
    let out = format!("{}/copied/both:1", world.embedded()?.address);
    let back = format!("{}/copied/both:1", world.registry()?.address);
    let there = copy(world, &[source, &out])?;
    let again = copy(world, &[&out, &back])?;
    let expected = done("crane", ["digest", source])?;
    for (name, copied) in [(&out, &there), (&back, &again)] {
        same("the digest", copied["digest"].as_str(), Some(expected.trim()))?;
        same("crane's digest", done("crane", ["digest", name])?, expected.clone())?;
        image::accepted(name)?;
        for architecture in ["amd64", "arm64"] {
            let inspect =
                ["inspect", "--tls-verify=false", "--override-arch", architecture, &format!("docker://{name}")];
            let said: Value = serde_json::from_str(&done("skopeo", inspect)?)?;
            same("the architecture", said["Architecture"].as_str(), Some(architecture))?;
        }
    }
    let second = copy(world, &[source, &out])?;
    same("what a second copy sends", second["bytes"]["uploaded"].as_u64(), Some(0))?;
    Ok(vec![format!("there: {}", moved(&there)), format!("back: {}", moved(&again))])
}

/// Copies an archive into the embedded registry, and compares the image with the one that the archive was made of.
fn archived(world: &World, file: &str, config: &str) -> Figures {
    let target = format!("{}/copied/archive:1", world.embedded()?.address);
    let copied = copy(world, &[&format!("docker-archive:{file}"), &target])?;
    // `crane validate` takes every layer for gzip; what reads layers for use does not.
    done("crane", ["export", &target, "/dev/null"])?;
    let layout = format!("oci:{}:image", world.fresh("copied-layout")?.display());
    done("skopeo", ["copy", "--quiet", "--src-tls-verify=false", &format!("docker://{target}"), &layout])?;
    let manifest: Value = serde_json::from_str(&done("crane", ["manifest", &target])?)?;
    let found = manifest["config"]["digest"].as_str().unwrap_or_default();
    same("the image's identifier", found, config)?;
    let types: Vec<&str> =
        manifest["layers"].as_array().into_iter().flatten().filter_map(|of| of["mediaType"].as_str()).collect();
    Ok(vec![format!("{}, layers of {}", moved(&copied), types.join(" and "))])
}

fn of_skopeo(world: &World) -> Figures {
    tools::need(&["crane", "skopeo"])?;
    let source = &world.plain()?.reference;
    let file = world.work.join("skopeo.tar").display().to_string();
    let archive = format!("docker-archive:{file}:e2e/plain:1");
    done("skopeo", ["copy", "--src-tls-verify=false", &format!("docker://{source}"), &archive])?;
    let inspected: Value = serde_json::from_str(&done("skopeo", ["inspect", "--raw", &archive])?)?;
    let figures = archived(world, &file, inspected["config"]["digest"].as_str().unwrap_or_default())?;
    std::fs::remove_file(&file)?;
    Ok(figures)
}

fn of_docker(world: &World) -> Figures {
    tools::need(&["crane", "skopeo"])?;
    let (source, dockerd) = (&world.plain()?.reference, world.dockerd()?);
    let (ours, theirs) = (world.work.join("ours.tar"), world.work.join("theirs.tar"));
    let (ours, theirs) = (ours.display().to_string(), theirs.display().to_string());
    copy(world, &["--platform", "linux/amd64", source, &format!("docker-archive:{ours}:e2e/saved:1")])?;
    dockerd.docker(&["load", "--input", &ours])?;
    dockerd.docker(&["save", "--output", &theirs, "e2e/saved:1"])?;
    let id = dockerd.docker(&["image", "inspect", "--format", "{{.Id}}", "e2e/saved:1"])?;
    let figures = archived(world, &theirs, id.trim())?;
    std::fs::remove_file(&ours)?;
    std::fs::remove_file(&theirs)?;
    Ok(figures)
}

fn deleting(world: &World) -> Figures {
    tools::need(&["crane"])?;
    let source = &world.plain()?.reference;
    let names = ["one", "two"].map(|tag| format!("{}/doomed/app:{tag}", world.registry().map_or("", |at| &at.address)));
    copy(world, &[source, &names[0], &names[1]])?;
    let digest = done("crane", ["digest", &names[1]])?;
    let removing =
        |name: &str| run(lapstrake().args(["delete", "--yes", name]).env("LAPSTRAKE_STORE", world.folder("store")));
    let tag = removing(&names[0])?;
    let alone = tag.code == Some(0);
    check(alone || tag.shown().contains("does not remove a tag alone"), || tag.shown())?;
    same("the other tag", done("crane", ["digest", &names[1]])?, digest.clone())?;
    let manifest = format!("{}@{}", names[1].trim_end_matches(":two"), digest.trim());
    removing(&manifest)?.done()?;
    check(done("crane", ["digest", &names[1]]).is_err(), || "the manifest is still there".to_owned())?;
    Ok(vec![format!("a tag alone: {}", if alone { "removed" } else { "refused with a hint" })])
}
