//! First build, unchanged build, edit: what moves, and what does not.

use crate::harness::{Case, Figures, Halt, check, same};
use crate::image;
use crate::project::{Build, Project, shown};
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case { name: "parents are made and pushed", run: parents },
    Case { name: "the project builds against docker-registry", run: first },
    Case { name: "crane and skopeo accept the image", run: accepted },
    Case { name: "an unchanged build reuses the image", run: unchanged },
    Case { name: "a source edit makes the source layer alone", run: edited },
    Case { name: "the embedded registry gets the same digest from a build without a cache", run: embedded },
    Case { name: "a fresh machine reuses an unchanged image", run: fresh_unchanged },
    Case { name: "a source edit on a fresh machine moves kilobytes", run: fresh_edited },
    Case { name: "one small requirement more downloads that wheel alone", run: one_more },
];

/// Bytes that manifests, configs and one small layer may come to; the image has a thousand times as many.
const SMALL: u64 = 400_000;

fn parents(world: &World) -> Figures {
    Ok(vec![world.plain()?.figures.clone(), world.venv()?.figures.clone(), world.arm64()?.figures.clone()])
}

fn first(world: &World) -> Figures {
    let build = world.main()?;
    check(!build.reused, || "the first build reused an image".to_owned())?;
    let python: Vec<_> = build.of_kind("python").collect();
    check(!python.is_empty() && python.iter().all(|layer| layer.action == "build"), || format!("{python:?}"))?;
    same("the number of source layers", build.of_kind("sources").count(), 1)?;
    check(build.layers.len() <= 60, || format!("{} layers", build.layers.len()))?;
    for layer in &build.layers {
        check(layer.key.is_some() || layer.kind == "parent", || format!("`{}` has no key", layer.title))?;
    }
    let manifest = image::manifest(&build.reference)?;
    let layers: Vec<_> = build.layers.iter().map(|layer| layer.digest.as_str()).collect();
    let pushed = manifest["layers"].as_array().into_iter().flatten();
    same("the list of pushed layers", pushed.filter_map(|layer| layer["digest"].as_str()).collect(), layers)?;
    let base = manifest["annotations"]["org.opencontainers.image.base.name"].as_str();
    same("the base name", base, Some(world.plain()?.reference.as_str()))?;
    config(build)?;
    Ok(vec![
        build.figures("first build"),
        format!("{} layers, {} of packages, made in the order of the wheels", build.layers.len(), python.len()),
    ])
}

fn config(build: &Build) -> Result<(), Halt> {
    let config = image::config(&build.reference)?;
    let settings = &config["config"];
    same("User", settings["User"].as_str(), Some("www-data"))?;
    same("WorkingDir", settings["WorkingDir"].as_str(), Some("/app"))?;
    same("Entrypoint", settings["Entrypoint"].to_string().as_str(), r#"["python3","pipeline.py"]"#)?;
    let has = |line: &str| settings["Env"].as_array().is_some_and(|all| all.iter().any(|entry| entry == line));
    for line in ["GREETING=ahoy", "ZENML_CONFIG_PATH=/tmp/zenml", "LANG=C.UTF-8"] {
        check(has(line), || format!("Env lacks `{line}`: {}", settings["Env"]))?;
    }
    let (history, diff_ids) = (&config["history"], &config["rootfs"]["diff_ids"]);
    let told = history.as_array().into_iter().flatten().filter(|entry| entry["empty_layer"] != true).count();
    same("the number of history entries with a layer", Some(told), diff_ids.as_array().map(Vec::len))
}

fn accepted(world: &World) -> Figures {
    let build = world.main()?;
    image::accepted(&build.reference)?;
    Ok(vec![format!("{}", build.digest)])
}

/// Builds, and says which requests docker-registry saw meanwhile.
fn watched(world: &World, project: &Project, target: &str) -> Result<(Build, Vec<String>), Halt> {
    let before = world.registry()?.requests().len();
    let build = project.build(&["--parent-image", &world.plain()?.reference, "--tag", target])?;
    // The log is written by another process: the last line may come a little later.
    std::thread::sleep(std::time::Duration::from_millis(200));
    let requests = world.registry()?.requests().split_off(before);
    Ok((build, requests))
}

fn target(world: &World) -> Result<String, Halt> {
    world.main()?;
    Ok(format!("{}/app:main", world.registry()?.address))
}

fn unchanged(world: &World) -> Figures {
    let (build, requests) = watched(world, world.project()?, &target(world)?)?;
    same("the digest", &build.digest, &world.main()?.digest)?;
    check(build.reused, || "the image was not reused".to_owned())?;
    same("bytes uploaded", build.uploaded, 0)?;
    check(requests.len() <= 3, || format!("{} requests: {requests:#?}", requests.len()))?;
    Ok(vec![build.figures("unchanged"), format!("{} requests: {}", requests.len(), requests.join(", "))])
}

/// What only an edited source may cost.
fn only_sources(build: &Build) -> Result<(), Halt> {
    let made: Vec<_> = build.with_action("build").map(|layer| layer.kind.as_str()).collect();
    same("the kinds of layers made", made, vec!["sources"])?;
    same("the number of other layers that were not there", build.with_action("hit").count(), build.layers.len() - 1)?;
    check(build.uploaded + build.downloaded < SMALL, || build.figures("too many bytes"))
}

fn edited(world: &World) -> Figures {
    let project = world.project()?;
    let before = std::fs::read_to_string(project.folder.join("steps/train.py"))?;
    project.write("steps/train.py", &format!("{before}\n# edited\n"))?;
    let (build, requests) = watched(world, project, &target(world)?)?;
    only_sources(&build)?;
    check(build.digest != world.main()?.digest, || "the edit did not change the digest".to_owned())?;
    project.write("steps/train.py", &before)?;
    let (back, _) = watched(world, project, &target(world)?)?;
    same("the digest after the edit was taken back", &back.digest, &world.main()?.digest)?;
    check(back.reused, || "the image of the edit taken back was not reused".to_owned())?;
    Ok(vec![build.figures("edited"), format!("{} requests", requests.len()), back.figures("taken back")])
}

fn embedded(world: &World) -> Figures {
    let main = world.main()?;
    let target = format!("{}/team/app:main", world.embedded()?.address);
    let parent = &world.plain()?.reference;
    let build = world.project()?.build(&["--no-cache", "--parent-image", parent, "--tag", &target])?;
    same("the digest", &build.digest, &main.digest)?;
    check(build.of_kind("python").all(|layer| layer.action == "build"), || "a layer was reused".to_owned())?;
    image::accepted(&build.reference)?;
    Ok(vec![build.figures("made again, pushed to the embedded registry")])
}

fn fresh_unchanged(world: &World) -> Figures {
    let project = Project::copy(world, "fresh-unchanged", &world.fresh("fresh-unchanged-store")?)?;
    let (build, requests) = watched(world, &project, &target(world)?)?;
    same("the digest", &build.digest, &world.main()?.digest)?;
    check(build.reused, || "the image was not reused".to_owned())?;
    Ok(vec![build.figures("unchanged, empty store"), format!("{} requests", requests.len())])
}

fn fresh_edited(world: &World) -> Figures {
    let project = Project::copy(world, "fresh-edited", &world.fresh("fresh-edited-store")?)?;
    project.write("steps/load.py", "\"\"\"Edited on a fresh machine.\"\"\"\n")?;
    let (build, requests) = watched(world, &project, &target(world)?)?;
    let left = world.project()?.build(&["--parent-image", &world.plain()?.reference, "--tag", &target(world)?])?;
    same("the digest that others see", &left.digest, &world.main()?.digest)?;
    only_sources(&build)?;
    let methods = ["HEAD", "GET", "POST", "PATCH", "PUT"].map(|method| {
        let count = requests.iter().filter(|request| request.starts_with(method)).count();
        format!("{count} {method}")
    });
    Ok(vec![
        build.figures("edited, empty store"),
        format!("{} requests: {}", requests.len(), methods.join(", ")),
        format!("the image has {}", shown(build.layers.iter().map(|layer| layer.size).sum())),
    ])
}

fn one_more(world: &World) -> Figures {
    let requirements = std::fs::read_to_string(world.project()?.folder.join("requirements.txt"))?;
    let with_one = format!("{requirements}toolz\n");
    let project = Project::requiring(world, "one-more", &world.folder("store"), &with_one)?;
    let (build, requests) = watched(world, &project, &target(world)?)?;
    let made: Vec<_> = build.with_action("build").map(|layer| layer.kind.as_str()).collect();
    same("the kinds of layers made, with the requirement file itself,", made, vec!["python", "sources"])?;
    check(build.downloaded < 2_000_000, || build.figures("too many bytes"))?;
    watched(world, world.project()?, &target(world)?)?;
    Ok(vec![build.figures("one more"), format!("{} requests", requests.len())])
}
