//! Equal inputs, equal digest, whatever else differs.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::harness::{Case, Figures, Halt, same};
use crate::process::{command, done};
use crate::project::{Build, Project};
use crate::world::World;

pub(super) const CASES: &[Case] = &[Case { name: "disturbed builds give one digest", run: disturbed }];

const REQUIREMENTS: &str = "numpy\nrequests\nrich\n";

/// What surrounds a build, and must not show.
struct Surroundings {
    name: &'static str,
    umask: &'static str,
    zone: &'static str,
    locale: &'static str,
    threads: &'static str,
    mtime: &'static str,
    reversed: bool,
}

const SURROUNDINGS: [Surroundings; 3] = [
    Surroundings {
        name: "here",
        umask: "022",
        zone: "UTC",
        locale: "C.UTF-8",
        threads: "2",
        mtime: "2001-01-01",
        reversed: false,
    },
    Surroundings {
        name: "a deeper/folder with spaces",
        umask: "077",
        zone: "Pacific/Kiritimati",
        locale: "C",
        threads: "1",
        mtime: "2033-07-07",
        reversed: true,
    },
    Surroundings {
        name: "ünïcode",
        umask: "000",
        zone: "America/St_Johns",
        locale: "tr_TR.UTF-8",
        threads: "7",
        mtime: "1980-01-02",
        reversed: false,
    },
];

fn disturbed(world: &World) -> Figures {
    let parent = &world.plain()?.reference;
    let mut digests = Vec::new();
    let mut figures = Vec::new();
    for surroundings in &SURROUNDINGS {
        let store = world.fresh(&format!("disturbed-store/{}", surroundings.name))?;
        let project = Project::requiring(world, &format!("disturbed/{}", surroundings.name), &store, REQUIREMENTS)?;
        disturb(&project, surroundings)?;
        // A repository each, so that none finds the layers of another.
        let target = format!("{}/disturbed/{}:1", world.registry()?.address, digests.len());
        let build = build(&project, surroundings, &["--parent-image", parent, "--tag", &target])?;
        figures.push(build.figures(surroundings.name));
        digests.push((surroundings.name, build.digest));
    }
    for (name, digest) in &digests {
        same(&format!("the digest in `{name}`"), digest, &digests[0].1)?;
    }
    figures.push(digests[0].1.clone());
    Ok(figures)
}

/// Writes the files again in another order, with other times and other modes of the same meaning.
fn disturb(project: &Project, surroundings: &Surroundings) -> Result<(), Halt> {
    let folder = &project.folder;
    let mut names = vec!["pipeline.py", "import_all.py", "steps/__init__.py", "steps/load.py", "steps/train.py"];
    if surroundings.reversed {
        names.reverse();
    }
    let mode = if surroundings.umask == "077" { 0o600 } else { 0o644 };
    for name in names {
        rewrite(&folder.join(name), mode)?;
    }
    let all = folder.display().to_string();
    done("find", [&all, "-exec", "touch", "-d", surroundings.mtime, "{}", "+"]).map(drop)
}

fn rewrite(file: &Path, mode: u32) -> Result<(), Halt> {
    let bytes = std::fs::read(file)?;
    std::fs::remove_file(file)?;
    std::fs::write(file, bytes)?;
    Ok(std::fs::set_permissions(file, std::fs::Permissions::from_mode(mode))?)
}

fn build(project: &Project, surroundings: &Surroundings, arguments: &[&str]) -> Result<Build, Halt> {
    let plain = project.lapstrake(&[]);
    let script = "umask \"$1\"; shift; exec \"$@\"";
    let mut shell = command("sh", ["-c", script, "sh", surroundings.umask]);
    shell.arg(plain.get_program()).current_dir(&project.folder);
    shell.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell
        .env("TZ", surroundings.zone)
        .env("LC_ALL", surroundings.locale)
        .env("RAYON_NUM_THREADS", surroundings.threads);
    project.build_by(&mut shell, arguments)
}
