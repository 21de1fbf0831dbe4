//! Copies from maker to maker: all platforms, and what refers to an image.

use std::collections::BTreeSet;

use crate::clients::Client;
use crate::harness::{Case, Figures, Halt, same};
use crate::image;
use crate::parents;
use crate::process::done;
use crate::project::Project;
use crate::registries::{Door, Maker, Registry};
use crate::world::World;

use super::copy::{copy, moved};
use super::registries::listed;

pub(super) const CASES: &[Case] = &[
    Case { name: "an image with what refers to it goes from maker to maker and comes back the same", run: referrers },
    Case { name: "all platforms of an index go from maker to maker", run: platforms },
];

/// A registry of each maker.
type Fleet = Vec<(Maker, Registry)>;

/// The registries that are here, and what is said of those that are not.
fn fleet(world: &World, name: &str) -> Result<(Fleet, Vec<String>), Halt> {
    let (makers, absent) = Maker::here(&Maker::ALL)?;
    let start = |maker: Maker| {
        let folder = world.fresh(&format!("{name}-{}", maker.name()))?;
        Ok((maker, Registry::start(maker, &folder, &Door::default())?))
    };
    Ok((makers.into_iter().map(start).collect::<Result<_, Halt>>()?, absent))
}

fn digest(reference: &str) -> Result<String, Halt> {
    let found = Client::default().digest(reference)?;
    found.ok_or_else(|| Halt::Failed(format!("`{reference}` is not there")))
}

fn referrers(world: &World) -> Figures {
    let (fleet, mut figures) = fleet(world, "copies")?;
    let home = &fleet[0].1;
    let parent = parents::small(world, &Client::default(), &home.address, 1)?.reference;
    // A build into the parent's own repository leaves there what refers to the parent.
    let target = format!("{}/parents/small-1:app", home.address);
    Project::demo(world, "copies-project")?.build(&["--parent-image", &parent, "--tag", &target])?;
    let expected = digest(&parent)?;
    let digests = |registry: &Registry, maker: Maker, repository: &str| -> Result<BTreeSet<String>, Halt> {
        let listed = listed(registry, maker, repository, &expected)?;
        Ok(listed.iter().filter_map(|entry| entry["digest"].as_str().map(str::to_owned)).collect())
    };
    let all = digests(home, fleet[0].0, "parents/small-1")?;
    same("the number of referrers", all.len(), 1)?;
    let mut source = parent;
    // Round the makers, and home.
    for (maker, registry) in fleet.iter().skip(1).chain(&fleet[..1]) {
        let target = format!("{}/copied/parent:1", registry.address);
        let copied = copy(world, &["--referrers", &source, &target])?;
        same("the digest", digest(&target)?, expected.clone())?;
        same("the list of referrers", digests(registry, *maker, "copied/parent")?, all.clone())?;
        image::accepted(&target)?;
        figures.push(format!("{}: {}, {} referrer", maker.name(), moved(&copied), all.len()));
        source = target;
    }
    Ok(figures)
}

fn platforms(world: &World) -> Figures {
    let (fleet, mut figures) = fleet(world, "platforms")?;
    let address = &fleet[0].1.address;
    let amd64 = parents::small(world, &Client::default(), address, 2)?.reference;
    let (arm64, mut source) = (format!("{address}/parents/arm64:1"), format!("{address}/parents/both:1"));
    done("crane", ["mutate", &amd64, "--tag", &arm64, "--set-platform", "linux/arm64"])?;
    done("crane", ["index", "append", "-m", &amd64, "-m", &arm64, "-t", &source])?;
    let expected = digest(&source)?;
    for (maker, registry) in fleet.iter().skip(1).chain(&fleet[..1]) {
        let target = format!("{}/copied/both:1", registry.address);
        let copied = copy(world, &[&source, &target])?;
        same("the digest", digest(&target)?, expected.clone())?;
        image::accepted(&target)?;
        let again = copy(world, &[&source, &target])?;
        same("what a second copy sends", again["bytes"]["uploaded"].as_u64(), Some(0))?;
        figures.push(format!("{}: {}; again: {}", maker.name(), moved(&copied), moved(&again)));
        source = target;
    }
    Ok(figures)
}
