//! What users do every day, at registries of several makers.

use serde_json::Value;

use crate::clients::Client;
use crate::harness::{Case, Figures, Halt, check, same};
use crate::image;
use crate::parents;
use crate::project::{Project, shown};
use crate::registries::{Door, Maker, Registry, methods};
use crate::servers;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case { name: "docker-registry: first, unchanged and edited builds, read back", run: debian },
    Case { name: "distribution 3: first, unchanged and edited builds, read back", run: distribution },
    Case { name: "go-containerregistry: first, unchanged and edited builds, read back", run: google },
    Case { name: "all makers' registries hold the same digest", run: one_digest },
];

const INDEX_TYPE: &str = "application/vnd.lapstrake.parent-index.v1";

fn debian(world: &World) -> Figures {
    every_day(world, Maker::Debian)
}

fn distribution(world: &World) -> Figures {
    every_day(world, Maker::Distribution)
}

fn google(world: &World) -> Figures {
    every_day(world, Maker::Google)
}

fn every_day(world: &World, maker: Maker) -> Figures {
    let name = maker.name();
    let registry = Registry::start(maker, &world.fresh(&format!("day-{name}"))?, &Door::default())?;
    let parent = parents::small(world, &Client::default(), &registry.address, 1)?.reference;
    let target = format!("{}/team/app:1", registry.address);
    let arguments = ["--parent-image", parent.as_str(), "--tag", &target];
    let project = Project::demo(world, &format!("day-{name}-project"))?;

    let first = project.build(&arguments)?;
    check(!first.reused, || "the first build reused an image".to_owned())?;
    // go-containerregistry keeps one heap of blobs for all repositories: what one has, another need not mount.
    check(first.mounted > 300_000 || maker == Maker::Google, || first.figures("the parent's layers are not mounted"))?;
    check(first.uploaded < 300_000, || first.figures("the parent's layers are pushed"))?;
    image::accepted(&first.reference)?;
    let mut figures = vec![first.figures("first build, parent in another repository of the registry")];

    let before = registry.requests().len();
    let unchanged = project.build(&arguments)?;
    same("the digest", &unchanged.digest, &first.digest)?;
    check(unchanged.reused, || "the image was not reused".to_owned())?;
    same("bytes uploaded", unchanged.uploaded, 0)?;
    // The log is written by another process: the last line may come a little later.
    std::thread::sleep(std::time::Duration::from_millis(100));
    let asked = registry.requests().split_off(before);
    check(asked.len() <= 3, || format!("{} requests: {asked:#?}", asked.len()))?;
    figures.push(format!("{}; {}", unchanged.figures("unchanged"), methods(&asked)));

    figures.push(edited_elsewhere(world, &registry, maker, &arguments, first.layers.len())?);
    figures.push(referrers(&registry, maker, &parent)?);
    Ok(figures)
}

/// A machine that has nothing yet edits a file: one layer is made, the rest is where it was.
fn edited_elsewhere(
    world: &World,
    registry: &Registry,
    maker: Maker,
    arguments: &[&str],
    layers: usize,
) -> Result<String, Halt> {
    let project = Project::demo(world, &format!("day-{}-elsewhere", maker.name()))?;
    project.write("steps/load.py", "\"\"\"Edited elsewhere.\"\"\"\n")?;
    let before = registry.requests().len();
    let edited = project.build(arguments)?;
    let made: Vec<_> = edited.with_action("build").map(|layer| layer.kind.as_str()).collect();
    same("the kinds of layers made", made, vec!["sources"])?;
    same("the number of other layers that were there", edited.with_action("hit").count(), layers - 1)?;
    check(edited.uploaded < 20_000, || edited.figures("too many bytes"))?;
    image::accepted(&edited.reference)?;
    std::thread::sleep(std::time::Duration::from_millis(100));
    let asked = registry.requests().split_off(before);
    Ok(format!("{}; {}", edited.figures("edited, empty store"), methods(&asked)))
}

/// The parent's index stands beside the image as a referrer of the parent: in the API where there is one, else by tag.
fn referrers(registry: &Registry, maker: Maker, parent: &str) -> Result<String, Halt> {
    let digest = Client::default().digest(parent)?;
    let digest = digest.ok_or_else(|| Halt::Failed("the parent is gone".to_owned()))?;
    let listed = listed(registry, maker, "team/app", &digest)?;
    same("the number of manifests that refer to the parent", listed.len(), 1)?;
    let named = listed[0]["digest"].as_str().unwrap_or_default();
    let artifact = image::manifest(&format!("{}/team/app@{named}", registry.address))?;
    same("the type of what refers to the parent", artifact["artifactType"].as_str(), Some(INDEX_TYPE))?;
    same("what the parent index refers to", artifact["subject"]["digest"].as_str(), Some(digest.as_str()))?;
    let size = artifact["layers"][0]["size"].as_u64().unwrap_or_default();
    let by =
        if maker.has_referrers() { "the referrers API" } else { "the tag `sha256-…`, since the API answers 404" };
    Ok(format!("the parent's index, {}, is listed by {by}", shown(size)))
}

/// What refers to a manifest, as a registry or its fallback tag lists it.
pub(super) fn listed(registry: &Registry, maker: Maker, repository: &str, digest: &str) -> Result<Vec<Value>, Halt> {
    let (status, body) = servers::get(&registry.address, &format!("/v2/{repository}/referrers/{digest}"))?;
    let mut list: Value = if maker.has_referrers() {
        same("the status of the referrers API", status, 200)?;
        serde_json::from_str(&body)?
    } else {
        same("the status of the referrers API", status, 404)?;
        image::manifest(&format!("{}/{repository}:{}", registry.address, digest.replace(':', "-")))?
    };
    match list["manifests"].take() {
        Value::Array(listed) => Ok(listed),
        _ => Err(Halt::Failed("a list of referrers is no index".to_owned())),
    }
}

/// The parent is in one registry, the images go to all.
fn one_digest(world: &World) -> Figures {
    let (makers, mut figures) = Maker::here(&Maker::ALL)?;
    let home = Registry::start(makers[0], &world.fresh("digest-home")?, &Door::default())?;
    let parent = parents::small(world, &Client::default(), &home.address, 3)?.reference;
    let mut digests = Vec::new();
    for maker in makers {
        let name = maker.name();
        let registry = Registry::start(maker, &world.fresh(&format!("digest-{name}"))?, &Door::default())?;
        let target = format!("{}/deep/er/app:1", registry.address);
        let project = Project::demo(world, &format!("digest-{name}-project"))?;
        let build = project.build(&["--parent-image", &parent, "--tag", &target])?;
        image::accepted(&build.reference)?;
        check(build.uploaded > 900_000, || build.figures("the parent did not come along"))?;
        figures.push(build.figures(name));
        digests.push(build.digest);
    }
    for digest in &digests {
        same("the digest", digest, &digests[0])?;
    }
    figures.push(digests.remove(0));
    Ok(figures)
}
