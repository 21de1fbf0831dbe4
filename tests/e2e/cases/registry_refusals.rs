//! Registries and machines that refuse: login, name, network, disk.

use crate::harness::{Case, Figures, Halt, check};
use crate::process::{command, done, run};
use crate::project::Project;
use crate::registries::{Door, Maker, Registry};
use crate::servers;
use crate::tools;
use crate::world::World;

use super::refusals::unpublished;

pub(super) const CASES: &[Case] = &[
    Case { name: "a refused login names the registry, and a right one publishes", run: login },
    Case { name: "a registry that is not there is named", run: nobody },
    Case { name: "a host without an address is named", run: unknown_host },
    Case { name: "a parent that does not exist is named", run: no_parent },
    Case { name: "a parent without the platform names those it has", run: no_platform },
    Case { name: "a full disk fails with its path and publishes nothing", run: full_disk },
    Case { name: "an unwritable store costs a warning only", run: no_store },
];

/// A project that needs one small wheel.
fn small(world: &World, name: &str) -> Result<Project, Halt> {
    Project::requiring(world, name, &world.folder("store"), "idna\n")
}

/// The lines of the error that `arguments` end in, which must hold each of `words`.
fn refused(project: &Project, arguments: &[&str], words: &[&str]) -> Figures {
    let error = project.refused(1, arguments)?;
    for word in words {
        check(error.contains(word), || format!("the error lacks `{word}`:\n{error}"))?;
    }
    check(error.contains("hint: "), || format!("the error has no hint:\n{error}"))?;
    Ok(error.lines().map(str::to_owned).collect())
}

fn login(world: &World) -> Figures {
    tools::need(&["htpasswd"])?;
    let folder = world.fresh("locked-registry")?;
    let file = folder.join("htpasswd");
    let name = file.display().to_string();
    done("htpasswd", ["-Bbc", &name, "boatswain", "right-pass-e2e"])?;
    let registry = Registry::start(Maker::Debian, &folder, &Door { htpasswd: Some(&file), ..Door::default() })?;
    let target = format!("{}/app:1", registry.address);
    let arguments = ["--parent-image", &world.plain()?.reference, "--tag", &target];
    let mut figures = refused(&small(world, "login-none")?, &arguments, &[&registry.address])?;
    let user = |project: Project, password: &str| {
        project.with("LAPSTRAKE_USERNAME", "boatswain").with("LAPSTRAKE_PASSWORD", password)
    };
    let wrong = user(small(world, "login-wrong")?, "wrong-pass-e2e");
    figures.extend(refused(&wrong, &arguments, &[&registry.address])?);
    check(!figures.iter().any(|line| line.contains("pass-e2e")), || "an error shows the password".to_owned())?;
    let build = user(small(world, "login-right")?, "right-pass-e2e").build(&arguments)?;
    figures.push(build.figures("with the right password"));
    Ok(figures)
}

fn nobody(world: &World) -> Figures {
    let address = format!("127.0.0.1:{}", servers::free_port()?);
    let target = format!("{address}/app:1");
    refused(&small(world, "nobody")?, &["--parent-image", &world.plain()?.reference, "--tag", &target], &[&address])
}

fn unknown_host(world: &World) -> Figures {
    let parent = "nowhere.invalid/parent:1";
    let target = format!("{}/refused/unknown-host:1", world.registry()?.address);
    let figures =
        refused(&small(world, "unknown-host")?, &["--parent-image", parent, "--tag", &target], &["nowhere.invalid"])?;
    unpublished(world, &target)?;
    Ok(figures)
}

fn no_parent(world: &World) -> Figures {
    let address = &world.registry()?.address;
    let parent = format!("{address}/parents/absent:1");
    let target = format!("{address}/refused/no-parent:1");
    let figures = refused(&small(world, "no-parent")?, &["--parent-image", &parent, "--tag", &target], &[&parent])?;
    unpublished(world, &target)?;
    Ok(figures)
}

fn no_platform(world: &World) -> Figures {
    let target = format!("{}/refused/no-platform:1", world.registry()?.address);
    let parent = &world.plain()?.reference;
    let arguments = ["--platform", "linux/arm64", "--parent-image", parent, "--tag", &target];
    let figures = refused(&small(world, "no-platform")?, &arguments, &["linux/arm64", "linux/amd64"])?;
    unpublished(world, &target)?;
    Ok(figures)
}

fn full_disk(world: &World) -> Figures {
    tools::need(&["unshare", "mount"])?;
    tools::need_root()?;
    let disk = world.fresh("full-disk")?;
    let store = disk.join("store");
    let project = Project::requiring(world, "full-disk-project", &store, "numpy\n")?;
    let target = format!("{}/refused/full-disk:1", world.registry()?.address);
    let build = project.lapstrake(&["build", "--progress", "none"]);
    let script = "mount -t tmpfs -o size=12m tmpfs \"$1\" || exit 99; shift; exec \"$@\"";
    let mut shell = command("unshare", ["--mount", "sh", "-c", script, "sh", &disk.display().to_string()]);
    shell.arg(build.get_program()).args(build.get_args()).current_dir(&project.folder);
    shell.envs(build.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = run(shell.args(["--no-cache", "--parent-image", &world.plain()?.reference, "--tag", &target]))?;
    if ran.code == Some(99) {
        return Err(Halt::Skipped("this machine lets nobody mount a small disk".to_owned()));
    }
    let error = crate::project::refused(ran, 1)?;
    check(error.to_lowercase().contains("no space left"), || {
        format!("the error does not say that the disk is full:\n{error}")
    })?;
    check(error.contains(&disk.display().to_string()), || format!("the error does not name the path:\n{error}"))?;
    unpublished(world, &target)?;
    Ok(error.lines().map(str::to_owned).collect())
}

fn no_store(world: &World) -> Figures {
    // A file where the store's folder would be: not even root can write below it.
    let file = world.work.join("no-folder");
    std::fs::write(&file, "in the way")?;
    let project = Project::requiring(world, "no-store", &file.join("store"), "idna\n")?;
    let target = format!("{}/no-store:1", world.registry()?.address);
    let arguments = ["build", "--parent-image", &world.plain()?.reference, "--tag", &target];
    let ran = run(&mut project.lapstrake(&arguments))?.done()?;
    let warning = ran.stderr.lines().find(|line| line.contains("no-folder")).map(str::to_owned);
    let warning = warning.ok_or_else(|| Halt::Failed(format!("no warning names the store:\n{}", ran.stderr)))?;
    check(project.store().starts_with(&file), || "the store moved".to_owned())?;
    Ok(vec![warning, ran.stdout.trim().to_owned()])
}
