//! Requirements that cannot be met: the error says why, nothing is published.

use crate::harness::{Case, Figures, Halt, check};
use crate::process::run;
use crate::project::Project;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case { name: "an unsatisfiable requirement is explained in uv's words", run: unsatisfiable },
    Case { name: "a package that does not exist is named", run: misspelt },
    Case { name: "a package without a wheel for the platform is named", run: no_wheel },
    Case { name: "a wheel that is not the locked one is refused", run: other_hash },
    Case { name: "uv is fetched when there is none", run: without_uv },
];

/// Builds a project with these requirements, which must fail with 1; the error must hold each of `words`.
fn refused(world: &World, name: &str, requirements: &str, words: &[&str]) -> Figures {
    let project = Project::requiring(world, name, &world.folder("store"), requirements)?;
    refused_build(world, &project, name, &[], words)
}

fn refused_build(world: &World, project: &Project, name: &str, more: &[&str], words: &[&str]) -> Figures {
    let target = format!("{}/refused/{name}:1", world.registry()?.address);
    let arguments = ["--parent-image", &world.plain()?.reference, "--tag", &target];
    let error = project.refused(1, &[&arguments, more].concat())?;
    for word in words {
        check(error.contains(word), || format!("the error lacks `{word}`:\n{error}"))?;
    }
    check(error.contains("hint: "), || format!("the error has no hint:\n{error}"))?;
    unpublished(world, &target)?;
    Ok(error.lines().map(str::to_owned).collect())
}

/// Checks that nothing stands under this name.
pub(super) fn unpublished(world: &World, target: &str) -> Result<(), Halt> {
    let _ = world.registry()?;
    crate::tools::need(&["crane"])?;
    let asked = run(&mut crate::process::command("crane", ["digest", target]))?;
    check(asked.code != Some(0), || format!("`{target}` was published"))
}

fn unsatisfiable(world: &World) -> Figures {
    let requirements = "pandas==2.2.0\nnumpy<1.20\n";
    refused(world, "unsatisfiable", requirements, &["pandas==2.2.0", "numpy", "unsatisfiable"])
}

fn misspelt(world: &World) -> Figures {
    refused(world, "misspelt", "reqeusts-not-a-package-e2e\n", &["reqeusts-not-a-package-e2e", "not found"])
}

fn no_wheel(world: &World) -> Figures {
    refused(world, "no-wheel", "pywin32==306\n", &["pywin32", "wheel"])
}

/// A lock that uv wrote, with one digit of one hash changed.
fn other_hash(world: &World) -> Figures {
    crate::tools::need(&["uv"])?;
    let project = Project::requiring(world, "other-hash", &world.fresh("other-hash-store")?, "idna==3.10\n")?;
    let mut uv = crate::process::command("uv", ["pip", "compile", "--quiet", "--format", "pylock.toml"]);
    uv.args(["--python-version", "3.11", "requirements.txt", "--output-file", "pylock.toml"]);
    run(uv.current_dir(&project.folder).env("UV_CACHE_DIR", world.uv_cache()))?.done()?;
    let lock = std::fs::read_to_string(project.folder.join("pylock.toml"))?;
    let at = lock.rfind("sha256 = \"").map(|at| at + "sha256 = \"".len());
    let at = at.ok_or_else(|| Halt::Failed(format!("uv wrote no hash:\n{lock}")))?;
    let other = if &lock[at..=at] == "0" { "1" } else { "0" };
    project.write("pylock.toml", &format!("{}{other}{}", &lock[..at], &lock[at + 1..]))?;
    refused_build(world, &project, "other-hash", &["--locked"], &["idna-3.10-py3-none-any.whl", "sha256:"])
}

/// Leaves uv out of the search path; lapstrake must come to one by itself.
fn without_uv(world: &World) -> Figures {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let without = std::env::split_paths(&path).filter(|folder| !folder.join("uv").exists());
    let without = std::env::join_paths(without).map_err(|error| Halt::Failed(error.to_string()))?;
    let store = world.fresh("without-uv-store")?;
    let project = Project::requiring(world, "without-uv", &store, "idna\n")?;
    let project = project.with("PATH", &without.to_string_lossy());
    let target = format!("{}/without-uv:1", world.registry()?.address);
    let build = project.build(&["--parent-image", &world.plain()?.reference, "--tag", &target])?;
    Ok(vec![build.figures("built without uv on the search path")])
}
