//! A parent that has packages already: what satisfies stays, what does not is replaced whole.

use crate::compare;
use crate::harness::{Case, Figures, check, same};
use crate::image::Unpacked;
use crate::project::Project;
use crate::rootfs::chroot;
use crate::world::World;

use super::runtime::installed;

pub(super) const CASES: &[Case] = &[Case {
    name: "in a virtual environment, a replaced package is gone and a satisfied one untouched",
    run: replaced,
}];

const REQUIREMENTS: &str = "numpy>=2\nrequests\n";
const SITE: &str = "opt/venv/lib/python3.11/site-packages";

fn replaced(world: &World) -> Figures {
    let parent = &world.venv()?.reference;
    let target = format!("{}/app:venv", world.registry()?.address);
    let project = Project::requiring(world, "venv-project", &world.folder("store"), REQUIREMENTS)?;
    let build = project.build(&["--parent-image", parent, "--tag", &target])?;
    let before = Unpacked::of(world, "venv-before", parent)?;
    let after = Unpacked::of(world, "venv-after", &build.reference)?;
    let list = ["/opt/venv/bin/python3", "-m", "pip", "--disable-pip-version-check", "list", "--format", "json"];
    let found = installed(&chroot(&after.root, &[], &list)?)?;
    for (name, version) in [("certifi", "2023.7.22"), ("idna", "3.4")] {
        same(&format!("the version of {name}, which satisfied"), found.get(name).map(String::as_str), Some(version))?;
    }
    let numpy = found.get("numpy").cloned().unwrap_or_default();
    check(!numpy.is_empty() && !numpy.starts_with("1."), || format!("numpy is {numpy:?}"))?;
    let check_said = chroot(&after.root, &[], &["/opt/venv/bin/python3", "-m", "pip", "check"])?;
    check(check_said.contains("No broken requirements found"), || check_said.clone())?;

    let kept = untouched(&before, &after)?;
    let stale = stale(&after)?;
    check(stale.is_empty(), || format!("{} stale files, such as {:?}", stale.len(), stale.first()))?;
    let import =
        "import numpy, requests, sys; assert sys.prefix == '/opt/venv'; print(numpy.__version__, numpy.__file__)";
    let said = chroot(&after.root, &[], &["/opt/venv/bin/python3", "-c", import])?;
    check(said.starts_with(&numpy), || format!("it imports {said}"))?;
    let removals = build.of_kind("removals").count();
    (before.remove()?, after.remove()?);
    Ok(vec![
        format!(
            "numpy 1.26.4 became {numpy}; {kept} files of certifi and idna untouched; {removals} layer of removals"
        ),
        build.figures("built"),
    ])
}

/// Compares the files of the satisfied packages; gives how many there are.
fn untouched(before: &Unpacked, after: &Unpacked) -> Result<usize, crate::harness::Halt> {
    let mut kept = 0;
    for folder in ["certifi", "certifi-2023.7.22.dist-info", "idna", "idna-3.4.dist-info"] {
        let below = |image: &Unpacked| image.root.join(SITE).join(folder);
        let (differences, paths) = compare::trees(&below(after), &below(before))?;
        let touched = differences.iter().find(|difference| !difference.path.to_string_lossy().contains("__pycache__"));
        check(touched.is_none(), || format!("{folder}: {touched:?}"))?;
        kept += paths;
    }
    check(kept > 10, || format!("only {kept} files"))?;
    Ok(kept)
}

/// Files below site-packages/numpy* that the new numpy's RECORD does not name.
fn stale(after: &Unpacked) -> Result<Vec<String>, crate::harness::Halt> {
    let site = after.root.join(SITE);
    let found = compare::walk(&site)?;
    let names: Vec<_> = found.iter().map(|(path, file)| (path.display().to_string(), file)).collect();
    let record = names.iter().find(|(name, _)| name.starts_with("numpy-2") && name.ends_with(".dist-info/RECORD"));
    let text = record.map(|(name, _)| std::fs::read_to_string(site.join(name))).transpose()?.unwrap_or_default();
    let recorded: std::collections::BTreeSet<&str> =
        text.lines().map(|line| line.split(",sha256=").next().unwrap_or(line).trim_end_matches(',')).collect();
    let files = names.iter().filter(|(name, file)| {
        let is_numpy = ["numpy/", "numpy.libs/", "numpy-"].iter().any(|start| name.starts_with(start));
        is_numpy && file.node != compare::Node::Directory && !name.contains("__pycache__")
    });
    Ok(files.filter(|(name, _)| !recorded.contains(name.as_str())).map(|(name, _)| name.clone()).collect())
}
