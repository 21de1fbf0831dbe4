//! Registries and pushers that end, stand still, or meet, in the middle of a push.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::clients::Client;
use crate::harness::{Case, Figures, Halt, check, same};
use crate::image;
use crate::line::Line;
use crate::parents;
use crate::process::run;
use crate::project::{Build, Project, shown};
use crate::registries::{Door, Maker, Registry, methods};
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case { name: "a push goes on when its registry is killed and started again", run: restarted },
    Case { name: "a push fails when its registry stays away, and a rerun gives the same digest", run: away },
    Case { name: "a push waits for a registry that stands still for 3 s", run: still },
    Case { name: "a push that is killed leaves the tag where it was, and a rerun gives the same digest", run: killed },
    Case { name: "two pushers of one tag both succeed", run: two_pushers },
];

/// What the large layer of a scene has.
const LOAD: usize = 3_000_000;
/// How much has gone up when something happens.
const MIDDLE: u64 = 1_200_000;

/// A registry behind a slow line, and a project whose sources take three seconds to go up.
struct Scene {
    registry: Registry,
    line: Line,
    project: Project,
    parent: String,
    target: String,
    /// What a push that nothing disturbs comes to.
    expected: String,
}

impl Scene {
    fn set(world: &World, maker: Maker, name: &str) -> Result<Self, Halt> {
        let name = format!("{name}-{}", maker.name());
        let registry = Registry::start(maker, &world.fresh(&name)?, &Door::default())?;
        let parent = world.small()?.reference.clone();
        let line = Line::to(&registry.address, 1_000_000)?;
        let target = format!("{}/team/app:1", line.address);
        let calm = loaded(world, &format!("{name}-calm"))?;
        let elsewhere = format!("{}/calm/{name}:1", world.registry()?.address);
        let expected = calm.build(&["--parent-image", &parent, "--tag", &elsewhere])?.digest;
        let project = loaded(world, &format!("{name}-project"))?;
        Ok(Self { registry, line, project, parent, target, expected })
    }

    fn arguments(&self) -> [&str; 4] {
        ["--parent-image", &self.parent, "--tag", &self.target]
    }

    /// Starts a build, and waits until the middle of its push.
    fn push_half(&self) -> Result<crate::process::Running, Halt> {
        let running = self.project.start(&self.arguments())?;
        self.line.wait_for(self.line.passed() + MIDDLE)?;
        Ok(running)
    }

    /// Builds again over a fast line, and checks the image.
    fn rerun(&self) -> Result<Build, Halt> {
        self.line.open();
        let build = self.project.build(&self.arguments())?;
        self.right(&build)?;
        Ok(build)
    }

    fn right(&self, build: &Build) -> Result<(), Halt> {
        same("the digest", &build.digest, &self.expected)?;
        same("what the tag names", Client::default().digest(&self.target)?.as_ref(), Some(&self.expected))?;
        image::accepted(&build.reference)
    }
}

fn loaded(world: &World, name: &str) -> Result<Project, Halt> {
    let project = Project::demo(world, name)?;
    project.load("cargo.bin", LOAD, 7)?;
    Ok(project)
}

fn restarted(world: &World) -> Figures {
    let (makers, mut figures) = Maker::here(&Maker::DISTRIBUTION)?;
    for maker in makers {
        let mut scene = Scene::set(world, maker, "restarted")?;
        let running = scene.push_half()?;
        scene.registry.kill()?;
        let asked = scene.registry.requests().len();
        scene.registry.restart()?;
        let passed = scene.line.passed();
        let (ran, seconds) = running.end()?;
        let build = Build::of(ran, seconds)?;
        scene.right(&build)?;
        let after = scene.registry.requests().split_off(asked);
        let again = shown(scene.line.passed() - passed);
        figures.push(format!("{}; {again} after the kill; {}", build.figures(maker.name()), methods(&after)));
    }
    Ok(figures)
}

fn away(world: &World) -> Figures {
    let mut scene = Scene::set(world, Maker::Debian, "away")?;
    let running = scene.push_half()?;
    scene.registry.kill()?;
    let (ran, seconds) = running.end()?;
    let error = crate::project::refused(ran, 1)?;
    check(error.contains(&scene.line.address), || format!("the error does not name the registry:\n{error}"))?;
    check(error.contains("hint: "), || format!("the error has no hint:\n{error}"))?;
    scene.registry.restart()?;
    same("what the tag names", Client::default().digest(&scene.target)?, None)?;
    let mut figures: Vec<_> = error.lines().map(str::to_owned).collect();
    figures.push(format!("failed after {seconds:.1} s"));
    figures.push(scene.rerun()?.figures("again"));
    Ok(figures)
}

fn still(world: &World) -> Figures {
    let scene = Scene::set(world, Maker::Debian, "still")?;
    let running = scene.push_half()?;
    scene.registry.signal(Signal::STOP)?;
    let since = Instant::now();
    std::thread::sleep(Duration::from_secs(3));
    scene.registry.signal(Signal::CONT)?;
    let stood = since.elapsed().as_secs_f64();
    let (ran, seconds) = running.end()?;
    let build = Build::of(ran, seconds)?;
    scene.right(&build)?;
    Ok(vec![format!("{}; stood still for {stood:.1} s of them", build.figures("pushed"))])
}

fn killed(world: &World) -> Figures {
    let scene = Scene::set(world, Maker::Debian, "killed")?;
    // The tag stands for an image already.
    let old = Project::demo(world, "killed-old")?.build(&scene.arguments())?.digest;
    scene.push_half()?.kill()?;
    same("what the tag names", Client::default().digest(&scene.target)?, Some(old))?;
    let verified = run(&mut scene.project.lapstrake(&["cache", "verify"]))?.done()?;
    let build = scene.rerun()?;
    let said = verified.shown();
    Ok(vec![format!("cache verify: {}", said.lines().next().unwrap_or("no word")), build.figures("again")])
}

/// Ends both builds and gives their digests.
fn both(first: &Project, second: &Project, arguments: &[&str]) -> Result<[String; 2], Halt> {
    let running = [first.start(arguments)?, second.start(arguments)?];
    let mut digests = Vec::new();
    for running in running {
        let (ran, seconds) = running.end()?;
        digests.push(Build::of(ran, seconds)?.digest);
    }
    <[String; 2]>::try_from(digests).map_err(|_| Halt::Failed("not two builds".to_owned()))
}

fn two_pushers(world: &World) -> Figures {
    let (makers, mut figures) = Maker::here(&Maker::ALL)?;
    for maker in makers {
        let name = maker.name();
        let registry = Registry::start(maker, &world.fresh(&format!("two-{name}"))?, &Door::default())?;
        let parent = parents::small(world, &Client::default(), &registry.address, 1)?.reference;
        let project = |part: u32| Project::demo(world, &format!("two-{name}-{part}"));
        let target = |tag: &str| format!("{}/team/app:{tag}", registry.address);
        let at = |tag: &str| ["--parent-image".to_owned(), parent.clone(), "--tag".to_owned(), target(tag)];
        let [one, other] = both(&project(1)?, &project(2)?, &at("same").each_ref().map(String::as_str))?;
        same("the digest of the second of two equal builds", other, one.clone())?;
        same("what the tag names", Client::default().digest(&target("same"))?, Some(one))?;
        let (left, right) = (project(3)?, project(4)?);
        left.load("cargo.bin", 1_000_000, 1)?;
        right.load("cargo.bin", 1_000_000, 2)?;
        let digests = both(&left, &right, &at("one").each_ref().map(String::as_str))?;
        check(digests[0] != digests[1], || "two projects have one digest".to_owned())?;
        let named = Client::default().digest(&target("one"))?.unwrap_or_default();
        let winner = digests.iter().position(|digest| *digest == named);
        let winner =
            winner.ok_or_else(|| Halt::Failed(format!("the tag names {named}, which is none of {digests:?}")))?;
        for digest in &digests {
            image::accepted(&format!("{}/team/app@{digest}", registry.address))?;
        }
        figures.push(format!(
            "{name}: equal builds, one digest; two others, both whole, the tag is number {}",
            winner + 1
        ));
    }
    Ok(figures)
}
