//! Where an image of ours may differ from BuildKit's, and why.
//!
//! The one list of such places; docs/design/dockerfiles.md has it as a table. Nothing is excused for one fixture alone.

use std::collections::BTreeSet;

use crate::merged::{Difference, Entry, Merged, Node};

/// A reason, and the differences that it explains.
struct Exception {
    reason: &'static str,
    explains: fn(&Difference, &Pair<'_>) -> bool,
}

/// The two images of a difference.
struct Pair<'a> {
    ours: &'a Merged,
    theirs: &'a Merged,
}

const EXCEPTIONS: &[Exception] = &[
    Exception { reason: "compiled by the installer or at run time, with the hour of it", explains: compiled },
    Exception { reason: "the times of a project's files, for uv's next look at them", explains: looked_at },
    Exception { reason: "RECORD's lines of these", explains: record },
    Exception {
        reason: "launchers, whose text changes with pip's version: ours start the same object",
        explains: launcher,
    },
    Exception { reason: "the interpreter of virtualenv's command by another of its names", explains: commanded },
    Exception { reason: "what installers keep for their next run", explains: cached },
    Exception { reason: "folders that the parents' Python names and official ones do not", explains: of_debian },
    Exception { reason: "the lock that uv leaves in /tmp", explains: lock_of_uv },
    Exception { reason: "the day on which a user was added, which is not the clock's", explains: changed },
    Exception { reason: "logs and indexes of Debian's tools, with the hour of their run", explains: logged },
];

/// The reason that explains a difference, if one does.
pub(crate) fn reason(difference: &Difference, ours: &Merged, theirs: &Merged) -> Option<&'static str> {
    let pair = Pair { ours, theirs };
    EXCEPTIONS.iter().find(|exception| (exception.explains)(difference, &pair)).map(|exception| exception.reason)
}

/// `FOLDER/__pycache__`, and in it what belongs to a source that both have; never a folder that is ours alone.
fn compiled(difference: &Difference, pair: &Pair<'_>) -> bool {
    let path = difference.path.as_str();
    if path.ends_with("/__pycache__") {
        return is_folder_of_theirs(difference);
    }
    let Some((folder, name)) = path.rsplit_once("/__pycache__/") else { return false };
    let Some(module) = name.strip_suffix(".pyc").and_then(|name| name.split('.').next()) else { return false };
    let source = format!("{folder}/{module}.py");
    let same = |image: &Merged| image.entries.get(&source).map(|entry| entry.node.clone());
    let in_both = same(pair.ours).is_some() && same(pair.ours) == same(pair.theirs) || same_launch(&source, pair);
    in_both && (difference.ours.is_none() || differs_in_bytes_alone(difference))
}

/// `uv_cache.json` of a project that was installed out of its folder.
fn looked_at(difference: &Difference, _: &Pair<'_>) -> bool {
    difference.path.ends_with(".dist-info/uv_cache.json") && differs_in_bytes_alone(difference)
}

/// The lines of RECORD, in their order, without those of what is explained above.
fn record(difference: &Difference, pair: &Pair<'_>) -> bool {
    if !difference.path.ends_with(".dist-info/RECORD") || !differs_in_bytes_alone(difference) {
        return false;
    }
    let lines = |image: &Merged| {
        let is_explained = |line: &&str| {
            let path = line.split(',').next().unwrap_or_default();
            path.contains("__pycache__/") || path.ends_with(".dist-info/uv_cache.json")
        };
        let lines = image.text(&difference.path).lines().filter(|line| !is_explained(line));
        lines.map(|line| without_launcher(line, &difference.path, pair)).collect::<BTreeSet<_>>()
    };
    lines(pair.ours) == lines(pair.theirs)
}

/// A line of RECORD; of a launcher that is explained, the path alone.
fn without_launcher(line: &str, record: &str, pair: &Pair<'_>) -> String {
    let path = line.split(',').next().unwrap_or_default();
    let Some(site) = record.rsplitn(3, '/').nth(2) else { return line.to_owned() };
    let mut folders: Vec<&str> = site.split('/').collect();
    for part in path.split('/') {
        match part {
            ".." => drop(folders.pop()),
            part => folders.push(part),
        }
    }
    let at = folders.join("/");
    // A program that neither image has was left behind when packages were copied.
    let is_gone = [pair.ours, pair.theirs].iter().all(|image| !image.entries.contains_key(&at));
    let is_launcher = folders.iter().rev().nth(1) == Some(&"bin") && (is_gone || same_launch(&at, pair));
    if is_launcher { path.to_owned() } else { line.to_owned() }
}

/// Programs in `bin` that start an entry point.
fn launcher(difference: &Difference, pair: &Pair<'_>) -> bool {
    let is_program = difference.path.rsplit('/').nth(1) == Some("bin");
    is_program && differs_in_bytes_alone(difference) && same_launch(&difference.path, pair)
}

fn same_launch(path: &str, pair: &Pair<'_>) -> bool {
    let (ours, theirs) = (pair.ours.text(path), pair.theirs.text(path));
    let script = |text: &str| Some((interpreter(text)?, text.split_once('\n')?.1.to_owned()));
    let is_script = script(ours).is_some() && script(ours) == script(theirs);
    is_script || started(ours).is_some() && started(ours) == started(theirs)
}

/// The interpreter of a program's first line, by whichever of its names.
fn interpreter(text: &str) -> Option<String> {
    let named = text.lines().next()?.strip_prefix("#!")?;
    Some(named.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').to_owned())
}

/// What a launcher is run by, what it imports, and what it calls.
fn started(text: &str) -> Option<(String, String, String)> {
    let import = text.lines().find(|line| line.starts_with("from ") && line.contains(" import "))?;
    let call = text.lines().find_map(|line| line.trim().strip_prefix("sys.exit("))?;
    Some((interpreter(text)?, import.to_owned(), call.to_owned()))
}

/// `pyvenv.cfg` with the command that made it, which is run by the same interpreter by one of its names.
fn commanded(difference: &Difference, pair: &Pair<'_>) -> bool {
    let lines = |image: &Merged| {
        let line = |line: &str| match line.strip_prefix("command = ").and_then(|line| line.split_once(' ')) {
            Some((program, rest)) => {
                let program = program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
                format!("command = {program} {rest}")
            }
            None => line.to_owned(),
        };
        image.text(&difference.path).lines().map(line).collect::<Vec<_>>()
    };
    let is_configuration = difference.path.ends_with("/pyvenv.cfg") && differs_in_bytes_alone(difference);
    is_configuration && lines(pair.ours) == lines(pair.theirs)
}

/// Folders of installers below `.cache`, which Lapstrake leaves none of.
fn cached(difference: &Difference, pair: &Pair<'_>) -> bool {
    let is_home = |path: &str| ["root/.cache", "root/.config", "root/.local", "root/.local/share"].contains(&path);
    if is_home(&difference.path) && is_folder_of_theirs(difference) {
        let below = format!("{}/", difference.path);
        let mut paths = pair.theirs.entries.keys().filter(|path| path.starts_with(&below));
        return paths.all(|path| is_cache(path) || is_home(path));
    }
    let in_backend = difference.ours.is_some() && differs_in_bytes_alone(difference);
    is_cache(&difference.path) && (difference.ours.is_none() || in_backend)
}

/// Folders for packages that Debian's `site` names, which Poetry makes to see whether it may write there; nothing is in them.
fn of_debian(difference: &Difference, pair: &Pair<'_>) -> bool {
    let named = ["lib/python3", "lib/python3/dist-packages", "lib/python3.11/dist-packages", "local", "local/lib"];
    let more = ["local/lib/python3.11", "local/lib/python3.11/dist-packages"];
    let path = &difference.path;
    let is_named = named.iter().chain(&more).any(|named| path.ends_with(&format!("/{named}")));
    let below = format!("{path}/");
    let mut inside = pair.theirs.entries.iter().filter(|(other, _)| other.starts_with(&below));
    is_named && is_folder_of_theirs(difference) && inside.all(|(_, entry)| entry.node == Node::Directory)
}

/// An empty file by which uv keeps other runs of itself away.
fn lock_of_uv(difference: &Difference, _: &Pair<'_>) -> bool {
    let is_named = difference.path.starts_with("tmp/uv-") && difference.path.ends_with(".lock");
    let is_empty = |entry: &Entry| matches!(entry.node, Node::File(0, _));
    is_named && difference.ours.is_none() && difference.theirs.as_ref().is_some_and(is_empty)
}

fn is_cache(path: &str) -> bool {
    let caches = ["pip", "uv", "pypoetry", "virtualenv"].map(|name| format!("root/.cache/{name}"));
    let others = ["root/.config/pypoetry", "root/.local/share/virtualenv"].map(str::to_owned);
    let folders = [caches.as_slice(), &others].concat();
    folders.iter().any(|folder| path == *folder || path.starts_with(&format!("{folder}/")))
}

/// `/etc/shadow` and its backup with other days of the last change of accounts without a password, all else being equal.
fn changed(difference: &Difference, pair: &Pair<'_>) -> bool {
    if !["etc/shadow", "etc/shadow-"].contains(&difference.path.as_str()) || !differs_in_bytes_alone(difference) {
        return false;
    }
    let without_days = |image: &Merged| {
        let line = |line: &str| {
            let mut fields: Vec<String> = line.split(':').map(str::to_owned).collect();
            if let [_, password, day, ..] = fields.as_mut_slice()
                && password == "!"
                && day.parse::<u32>().is_ok()
            {
                day.clear();
            }
            fields
        };
        image.text(&difference.path).lines().map(line).collect::<Vec<_>>()
    };
    !without_days(pair.ours).is_empty() && without_days(pair.ours) == without_days(pair.theirs)
}

fn logged(difference: &Difference, _: &Pair<'_>) -> bool {
    let logs = ["var/log/apt/history.log", "var/log/apt/term.log", "var/log/apt/eipp.log.xz", "var/log/dpkg.log"];
    let more = ["var/log/alternatives.log", "var/cache/ldconfig/aux-cache"];
    let indexes = ["var/cache/apt/pkgcache.bin", "var/cache/apt/srcpkgcache.bin"];
    logs.iter().chain(&more).chain(&indexes).any(|log| difference.path == *log) && differs_in_bytes_alone(difference)
}

fn is_folder_of_theirs(difference: &Difference) -> bool {
    difference.ours.is_none() && difference.theirs.as_ref().is_some_and(|entry| entry.node == Node::Directory)
}

fn differs_in_bytes_alone(difference: &Difference) -> bool {
    let (Some(ours), Some(theirs)) = (&difference.ours, &difference.theirs) else { return false };
    let files = matches!((&ours.node, &theirs.node), (Node::File(..), Node::File(..)));
    files && ours.mode == theirs.mode && ours.owner == theirs.owner
}
