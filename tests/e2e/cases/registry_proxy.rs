//! A registry behind a proxy that limits what one request may carry.

use crate::clients::Client;
use crate::harness::{Case, Figures, check, same};
use crate::nginx::Nginx;
use crate::parents;
use crate::project::{Project, shown};
use crate::registries::{Door, Maker, Registry, methods};
use crate::world::World;

pub(super) const CASES: &[Case] =
    &[Case { name: "nginx with a limit of 2 MB: a larger layer goes up in chunks", run: chunks }];

fn chunks(world: &World) -> Figures {
    let folder = world.fresh("nginx")?;
    let registry = Registry::start(Maker::Debian, &folder.join("registry"), &Door::default())?;
    let nginx = Nginx::start(&folder.join("nginx"), &registry.address, "2m", None)?;
    let parent = parents::small(world, &Client::default(), &registry.address, 0)?.reference;
    let project = Project::demo(world, "nginx-project")?;
    project.load("cargo.bin", 5_000_000, 5)?;
    let target = format!("{}/team/app:1", nginx.address);
    let build = project.build(&["--parent-image", &parent, "--tag", &target])?;
    let requests = nginx.requests();
    let too_large = requests.iter().filter(|request| request.ends_with(" 413")).count();
    let patches = requests.iter().filter(|request| request.starts_with("PATCH ") && request.ends_with(" 202")).count();
    check(too_large >= 1, || format!("nginx let all through: {requests:#?}"))?;
    check(patches >= 3, || format!("{patches} chunks: {requests:#?}"))?;
    let largest = build.layers.iter().map(|layer| layer.size).max().unwrap_or_default();
    check(largest > 2 << 20, || format!("the largest layer has {largest} bytes"))?;
    crate::image::accepted(&build.reference)?;
    let plain = Project::demo(world, "nginx-plain")?;
    plain.load("cargo.bin", 5_000_000, 5)?;
    let direct = plain.build(&["--parent-image", &parent, "--tag", &format!("{}/plain/app:1", registry.address)])?;
    same("the digest", &build.digest, &direct.digest)?;
    Ok(vec![
        build.figures("through nginx"),
        format!("a layer of {}: {too_large} answers 413, then {patches} chunks", shown(largest)),
        methods(&requests),
    ])
}
