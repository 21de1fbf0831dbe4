//! What we leave of a wheel against what `uv pip install` leaves: every path, mode and byte.
//!
//! Runs where `LAPSTRAKE_UV` names a uv executable; `LAPSTRAKE_WHEELS` may name a folder of wheels to compare besides
//! those made here.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use lapstrake::layer::LayerWriter;
use lapstrake::python::install::{InstallOptions, Manner};
use lapstrake::python::write::{Placement, write};
use lapstrake::python::{InstallScheme, Wheel};

use crate::support::wheel_maker::WheelMaker;

/// Mode and content; a folder has no content.
type Tree = BTreeMap<String, (u32, Option<Vec<u8>>)>;

#[expect(clippy::disallowed_methods, reason = "which uv to compare with is a matter of the machine that tests")]
fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

#[expect(clippy::disallowed_methods, reason = "uv is what the test compares with")]
fn uv(program: &Path, cache: &Path, arguments: &[&str]) -> Result<(), String> {
    let output = std::process::Command::new(program)
        .args(["--quiet", "--offline", "--no-config", "--cache-dir"])
        .arg(cache)
        .args(arguments)
        .output()
        .unwrap();
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
}

/// All below `folder`, links left out; paths as in a layer.
#[expect(clippy::disallowed_methods, reason = "the map sorts")]
fn walk(folder: &Path, tree: &mut Tree) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        if metadata.is_symlink() {
            continue;
        }
        let name = path.to_str().unwrap().trim_start_matches('/').to_owned();
        let content = metadata.is_file().then(|| std::fs::read(&path).unwrap());
        tree.insert(name, (metadata.permissions().mode() & 0o7777, content));
        if metadata.is_dir() {
            walk(&path, tree);
        }
    }
}

fn scheme(environment: &Path) -> InstallScheme {
    let mut tree = Tree::new();
    walk(&environment.join("lib"), &mut tree);
    let (site, _) = tree.iter().find(|(path, _)| path.ends_with("/site-packages")).unwrap();
    let python = site.rsplit('/').nth(1).unwrap();
    let at = |path: &str| environment.join(path).to_str().unwrap().to_owned();
    InstallScheme {
        interpreter: at("bin/python"),
        purelib: format!("/{site}"),
        platlib: format!("/{site}"),
        scripts: at("bin"),
        include: at(&format!("include/site/{python}")),
        data: at("").trim_end_matches('/').to_owned(),
    }
}

/// What the layer of a wheel holds.
fn ours(wheel: &Path, scheme: &InstallScheme, direct_url: Option<String>) -> Result<Tree, String> {
    let filename = wheel.file_name().unwrap().to_str().unwrap();
    let describe = |error: &dyn std::error::Error| {
        format!("{error}: {}", error.source().map_or_else(String::new, ToString::to_string))
    };
    let minor = scheme.purelib.split("python3.").nth(1).unwrap().split('/').next().unwrap().parse().unwrap();
    let options = InstallOptions {
        python_version: (3, minor),
        requested: true,
        direct_url,
        installer: "uv".to_owned(),
        manner: Manner::default(),
    };
    let wheel = Wheel::open(File::open(wheel).unwrap(), filename).map_err(|error| describe(&error))?;
    let installation = wheel.plan_install(scheme, &options).map_err(|error| describe(&error))?;
    let mut writer = LayerWriter::new(Vec::new());
    let placement = Placement { uid: 0, gid: 0, parent: &|_| None };
    write(&[(&wheel, &installation)], &placement, &mut writer).map_err(|error| describe(&error))?;
    let (_, blob) = writer.finish().unwrap();
    let mut tree = Tree::new();
    for entry in tar::Archive::new(MultiGzDecoder::new(&blob[..])).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().to_vec()).unwrap();
        let mode = entry.header().mode().unwrap();
        let content = (!entry.header().entry_type().is_dir()).then(|| {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            content
        });
        tree.insert(path.trim_end_matches('/').to_owned(), (mode, content));
    }
    Ok(tree)
}

/// What uv leaves, without its own cache key of local files, and the `direct_url.json` that it wrote.
fn theirs(environment: &Path, before: &Tree) -> (Tree, Option<String>) {
    let mut tree = Tree::new();
    walk(environment, &mut tree);
    tree.retain(|path, value| before.get(path) != Some(value) && !path.ends_with("/uv_cache.json"));
    tree.remove(&format!("{}/.lock", environment.to_str().unwrap().trim_start_matches('/')));
    let mut direct_url = None;
    for (path, (_, content)) in &mut tree {
        let Some(content) = content else { continue };
        if path.ends_with(".dist-info/RECORD") {
            let text = String::from_utf8(std::mem::take(content)).unwrap();
            let kept = text.lines().filter(|line| !line.contains("/uv_cache.json,"));
            *content = kept.flat_map(|line| [line, "\n"]).collect::<String>().into_bytes();
        } else if path.ends_with(".dist-info/direct_url.json") {
            direct_url = Some(String::from_utf8(content.clone()).unwrap());
        }
    }
    (tree, direct_url)
}

/// The differences of one wheel; `None` when both refuse it.
fn differences(uv_program: &Path, wheel: &Path, scratch: &Path) -> Option<Vec<String>> {
    let environment = scratch.join("env");
    let _ = std::fs::remove_dir_all(&environment);
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let cache = scratch.join("cache");
    uv(uv_program, &cache, &["venv", &text(&environment)]).unwrap();
    let mut before = Tree::new();
    walk(&environment, &mut before);
    let scheme = scheme(&environment);
    let python = text(&environment.join("bin/python"));
    let installed =
        uv(uv_program, &cache, &["pip", "install", "--no-deps", "--no-index", "--python", &python, &text(wheel)]);
    if let Err(error) = installed {
        let own = ours(wheel, &scheme, None);
        return own.is_ok().then(|| vec![format!("uv refuses it: {error}")]);
    }
    let (theirs, direct_url) = theirs(&environment, &before);
    let mut ours = match ours(wheel, &scheme, direct_url) {
        Ok(ours) => ours,
        Err(error) => return Some(vec![error]),
    };
    let inside = text(&environment.join("")).trim_start_matches('/').to_owned();
    ours.retain(|path, value| path.starts_with(&inside) && (value.1.is_some() || !before.contains_key(path)));
    let paths: std::collections::BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let differs = |path: &&&String| theirs.get(**path) != ours.get(**path);
    let say = |path: &String| {
        let show = |tree: &Tree| match tree.get(path) {
            None => "nothing".to_owned(),
            Some((mode, None)) => format!("folder {mode:o}"),
            Some((mode, Some(content))) if content.len() > 4000 => format!("file {mode:o} of {} bytes", content.len()),
            Some((mode, Some(content))) => format!("file {mode:o} {}", content.escape_ascii()),
        };
        format!("{path}: uv {}; ours {}", show(&theirs), show(&ours))
    };
    Some(paths.iter().filter(differs).map(|path| say(path)).collect())
}

/// Wheels with everything that real ones seldom have.
fn made() -> Vec<WheelMaker> {
    let script = |text: &str| WheelMaker::new("one", "1.0").entry_points(text);
    let all = WheelMaker::new("Al_pha", "1.0")
        .file("alpha/a,b.py", "1")
        .file("alpha/sp ace.txt", "2")
        .file("alpha/é.txt", "3")
        .file("alpha/__pycache__/x.cpython-311.pyc", "junk")
        .member("alpha/all", "x", 0o100_755)
        .member("alpha/group", "x", 0o100_654)
        .member("alpha/wide", "x", 0o100_666)
        .member("alpha/none", "x", 0)
        .folder("alpha/empty/deep")
        .folder("Al_pha-1.0.data/data/void")
        .file("Al_pha-1.0.data/data/etc/x.conf", "a")
        .file("Al_pha-1.0.data/headers/sub/h.h", "//")
        .file("Al_pha-1.0.data/platlib/plat/x.py", "a")
        .executable("Al_pha-1.0.data/purelib/tool.sh", "a")
        .file("Al_pha-1.0.data/scripts/s1", "#!python\nprint(1)\n")
        .file("Al_pha-1.0.data/scripts/s2", "#!pythonw -u\r\nprint(1)\r\n")
        .file("Al_pha-1.0.data/scripts/s3", "#!/bin/sh\n")
        .file("Al_pha-1.0.data/scripts/s4", "#!py")
        .file("Al_pha-1.0.data/scripts/s5", "#!python")
        .file("Al_pha-1.0.data/scripts/s6", "#!pythonic nonsense\nx\n")
        .file("Al_pha-1.0.data/scripts/s7,", "#!python\n\n")
        .file("Al_pha-1.0.data/scripts/made.exe", "MZ")
        .file("Al_pha-1.0.data/scripts/made-script.py", "MZ")
        .entry_points("[console_scripts]\nmade = a.b:c.d [x]\nother=a:b\n[gui_scripts]\nother = a:c\n");
    let installer = "Two-3.dist-info";
    vec![
        all,
        script("; c\n[DEFAULT]\nd = a:b\n[console_scripts] # tail\r\nlong = a:\n  b\nwith space = a-b:c\n"),
        script("[ console_scripts ]\nx = q\n"),
        script("[console_scripts]\npip=p:m\npip3=p:m\npip3.9=p:m\n"),
        script("[console_scripts]\nx : a:b\n"),
        script("[console_scripts]\nx = a:b # c\n"),
        script("[console_scripts]\npython3.11 = a:b\n"),
        script("[console_scripts]\n../x = a:b\n"),
        script("x = a:b\n"),
        WheelMaker::new("Two", "3")
            .file(&format!("{installer}/INSTALLER"), "me\n")
            .file(&format!("{installer}/REQUESTED"), "x"),
        WheelMaker::new("Two", "3").file("m.py", "1").file("Two-3.data/purelib/m.py", "2"),
        WheelMaker::new("Two", "3")
            .file("m.py", "1")
            .record_row("m.py,sha256=a4ayc_80_OGda4BO_1o_V0etpOqiLx1JwB5S3beHW0s,1"),
        WheelMaker::new("Two", "3").file("Two-3.data/unknown/m.py", "2"),
        WheelMaker::new("Two", "3").file("Two-3.data/scripts/d/m.py", "2"),
        WheelMaker::new("Two", "3").file("Two-3.data/scripts/python", "2"),
        WheelMaker::new("Two", "3")
            .platlib()
            .file("m.py", "1")
            .stored()
            .file("Two-3.dist-info/RECORD.jws", "{}")
            .unrecorded(),
    ]
}

#[test]
fn installation_equals_what_uv_leaves() {
    let Some(program) = variable("LAPSTRAKE_UV") else {
        println!("skipped: LAPSTRAKE_UV is not set");
        return;
    };
    let scratch = tempfile::tempdir().unwrap();
    let mut wheels = Vec::new();
    for (index, maker) in made().iter().enumerate() {
        let folder = scratch.path().join(index.to_string());
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join(maker.filename());
        std::fs::write(&path, maker.build()).unwrap();
        wheels.push(path);
    }
    if let Some(folder) = variable("LAPSTRAKE_WHEELS") {
        #[expect(clippy::disallowed_methods, reason = "the order of the comparison is of no account")]
        let entries = std::fs::read_dir(folder).unwrap();
        wheels.extend(
            entries.map(|entry| entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "whl")),
        );
    }
    // The second folder has a blank in its name, which the line of a script cannot take.
    let roots = [scratch.path().join("plain"), scratch.path().join("with 'blank")];
    let (mut found, mut both_refused) = (Vec::new(), 0);
    for (index, wheel) in wheels.iter().enumerate() {
        match differences(&program, wheel, &roots[usize::from(index == 0)]) {
            Some(list) => found.extend(list.into_iter().map(|line| format!("{}: {line}", wheel.display()))),
            None => both_refused += 1,
        }
    }
    let first = differences(&program, &wheels[0], &roots[0]).unwrap();
    println!("{} wheels compared, {both_refused} refused by both, {} differences", wheels.len(), found.len());
    assert!(found.is_empty() && first.is_empty(), "{}\n{}", found.join("\n"), first.join("\n"));
}
