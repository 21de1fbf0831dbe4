//! The Dockerfiles of `fixtures/dockerfiles`, built by lapstrake and by BuildKit from the same context: the same files and config.
//!
//! `LAPSTRAKE_E2E_DOCKERFILES=03,flask` takes those of which the name has one of the parts. With `LAPSTRAKE_E2E_TWICE` BuildKit
//! stands on both sides, the second time without its cache: what differs then is no fault of ours. With `LAPSTRAKE_E2E_EDITED`
//! lapstrake builds each once before an edit of a source, so that what it takes of the build before is held against BuildKit's.

use std::collections::{BTreeMap, BTreeSet};

use crate::dockerfiles::{Built, Fixture, Yard, names};
use crate::exceptions;
use crate::harness::{Case, Figures, Halt, check, same};
use crate::image::Unpacked;
use crate::merged::{Node, differences};
use crate::process::run;
use crate::servers;
use crate::world::World;

pub(super) const CASES: &[Case] = &[
    Case {
        name: "Dockerfiles: the comparison sees nothing between two builds of BuildKit, and every change",
        run: sound,
    },
    Case {
        name: "Dockerfiles: one of the settings gives BuildKit's image, and an edit runs no command again",
        run: of_settings,
    },
    Case { name: "Dockerfiles: lapstrake's image is BuildKit's, and thirty need no backend", run: equal },
];

/// How many of all must need no backend.
const NATIVE: usize = 30;
/// How many differences of a fixture are shown.
const SHOWN: usize = 10;
/// The fixture by which the comparison itself is tried.
const SAMPLE: &str = "01-flask-pip";

/// What two images differ in that no exception explains, and how often each exception was used.
fn compared(ours: &Built, theirs: &Built) -> (Vec<String>, BTreeMap<&'static str, usize>) {
    let mut unexplained = Vec::new();
    let mut explained = BTreeMap::new();
    for difference in differences(&ours.files, &theirs.files) {
        match exceptions::reason(&difference, &ours.files, &theirs.files) {
            Some(reason) => *explained.entry(reason).or_default() += 1,
            None => unexplained.push(difference.shown()),
        }
    }
    let names: BTreeSet<&String> = ours.config.keys().chain(theirs.config.keys()).collect();
    for name in names {
        let (ours, theirs) = (ours.config.get(name), theirs.config.get(name));
        if ours != theirs {
            let shown = |value: Option<&serde_json::Value>| value.map_or("nothing".to_owned(), ToString::to_string);
            unexplained.push(format!("config {name}: {} in place of {}", shown(ours), shown(theirs)));
        }
    }
    (unexplained, explained)
}

fn sound(world: &World) -> Figures {
    let mut yard = Yard::open(world)?;
    let fixture = Fixture::open(world, SAMPLE)?;
    let one = yard.by_buildkit(&fixture, "one", &[])?;
    let other = yard.by_buildkit(&fixture, "other", &["--no-cache"])?;
    let (unexplained, explained) = compared(&one, &other);
    same("the differences of two builds by BuildKit", unexplained, Vec::new())?;
    let paths = read_as_umoci_does(world, &one)?;
    let source = "app.py";
    fixture.write(source, "print('another')\n")?;
    let changed = yard.by_buildkit(&fixture, "changed", &[])?;
    let (unexplained, _) = compared(&changed, &one);
    same("the differences after an edit", unexplained, vec![format!("app/{source}: other bytes")])?;
    fixture.write("Dockerfile", "FROM python:3.11-slim\nRUN mkdir -m 700 /app && chown 7:8 /app\nENV A=b\nUSER 7\n")?;
    let (unexplained, _) = compared(&yard.by_buildkit(&fixture, "other-file", &[])?, &one);
    for part in
        ["app: mode 700", "owner (7, 8) in place of (0, 0)", "app/app.py: is not in ours", "config User", "config Env"]
    {
        check(unexplained.iter().any(|line| line.contains(part)), || format!("nobody saw `{part}`: {unexplained:?}"))?;
    }
    let mut figures = vec![
        format!("{paths} paths, read as umoci reads them"),
        format!("{:.1} s, then {:.1} s without a cache", one.seconds, other.seconds),
        format!("{} differences seen after a deliberate change", unexplained.len()),
    ];
    figures.extend(explained.iter().map(|(reason, count)| format!("expected: {count} paths: {reason}")));
    fixture.remove()?;
    Ok(figures)
}

/// Holds our reading of an image's layers against what umoci unpacks, and counts the paths.
fn read_as_umoci_does(world: &World, built: &Built) -> Result<usize, Halt> {
    let unpacked = Unpacked::of(world, "dockerfiles", &built.reference)?;
    let theirs = crate::compare::walk(&unpacked.root)?;
    same("the number of paths", built.files.entries.len(), theirs.len())?;
    for (path, found) in &theirs {
        let path = path.to_string_lossy();
        let entry = built.files.entries.get(path.as_ref());
        let entry = entry.ok_or_else(|| Halt::Failed(format!("umoci has `{path}`, and the layers do not")))?;
        let node = match &entry.node {
            Node::Directory => crate::compare::Node::Directory,
            Node::File(length, _) => crate::compare::Node::File(*length),
            Node::Link(target) => crate::compare::Node::Link(target.into()),
            Node::Other(_) => crate::compare::Node::Other,
        };
        let owner = (u64::from(found.owner.0), u64::from(found.owner.1));
        same(&path, (node, entry.mode, entry.owner), (found.node.clone(), found.mode, owner))?;
    }
    unpacked.remove()?;
    Ok(theirs.len())
}

/// The fixture of which commands only a backend can run, before the file that is edited.
const MIXED: (&str, &str) = ("27-apt-make", "jobs/run.py");

fn of_settings(world: &World) -> Figures {
    let mut yard = Yard::open(world)?;
    let (name, file) = MIXED;
    let fixture = Fixture::open(world, name)?;
    let theirs = yard.by_buildkit(&fixture, "buildkit", &[])?;
    let ours = yard.by_settings(&fixture, true, "store")?;
    same("what differs from BuildKit's image", compared(&ours, &theirs).0, Vec::new())?;
    fixture.write(file, "print('edited')\n")?;
    let theirs = yard.by_buildkit(&fixture, "edited", &[])?;
    // Another machine, where nobody could run anything.
    let edited = yard.by_settings(&fixture, false, "another-store")?;
    same("what differs after an edit", compared(&edited, &theirs).0, Vec::new())?;
    let figures = format!("{:.1} s, after an edit {:.1} s without a backend", ours.seconds, edited.seconds);
    fixture.remove()?;
    Ok(vec![figures])
}

/// What became of one fixture.
struct Outcome {
    line: String,
    is_equal: bool,
    is_native: bool,
}

fn equal(world: &World) -> Figures {
    let twice = std::env::var_os("LAPSTRAKE_E2E_TWICE").is_some();
    let help = run(servers::lapstrake().args(["build", "--help"]))?.shown();
    if !twice && !help.contains("--dockerfile") {
        return Err(Halt::Skipped("`lapstrake build` has no `--dockerfile`".to_owned()));
    }
    let mut yard = Yard::open(world)?;
    let names = names()?;
    let mut outcomes = Vec::new();
    let mut explained: BTreeMap<&'static str, usize> = BTreeMap::new();
    for name in &names {
        let fixture = Fixture::open(world, name)?;
        let outcome = outcome(&mut yard, &fixture, twice, &mut explained)?;
        // A failure is far from the first fixture: what was seen on the way is said at once.
        println!("    {}", outcome.line.replace('\n', "\n        "));
        outcomes.push(outcome);
        fixture.remove()?;
        yard.prune()?;
    }
    let (equal, native) = (
        outcomes.iter().filter(|outcome| outcome.is_equal).count(),
        outcomes.iter().filter(|outcome| outcome.is_equal && outcome.is_native).count(),
    );
    let summary = format!("{equal} of {} are equal, {native} of them needed no backend", names.len());
    let failed: Vec<&str> =
        outcomes.iter().filter(|outcome| !outcome.is_equal).map(|outcome| outcome.line.as_str()).collect();
    check(failed.is_empty(), || format!("{summary}\n{}", failed.join("\n")))?;
    check(twice || names.len() < NATIVE || native >= NATIVE, || format!("{summary}; {NATIVE} must need none"))?;
    let explained = explained.iter().map(|(reason, count)| format!("expected: {count} paths: {reason}"));
    Ok([summary].into_iter().chain(explained).collect())
}

/// An image to be held against BuildKit's, whether a backend was at hand, and what was said about that.
type Ours = (Result<Built, Halt>, bool, String);

fn ours(yard: &mut Yard, fixture: &Fixture, twice: bool) -> Ours {
    if twice {
        return (yard.by_buildkit(fixture, "again", &["--no-cache"]), false, String::new());
    }
    let expects_backend = fixture.backend().is_some();
    match yard.by_lapstrake(fixture, expects_backend) {
        Err(Halt::Failed(why)) if !expects_backend => {
            let why = why.lines().filter(|line| line.contains("error: ") || line.contains("because: "));
            let note = format!("; without a backend: {}", why.collect::<Vec<_>>().join(" "));
            (yard.by_lapstrake(fixture, true), false, note)
        }
        built => (built, !expects_backend, String::new()),
    }
}

fn outcome(
    yard: &mut Yard,
    fixture: &Fixture,
    twice: bool,
    explained: &mut BTreeMap<&'static str, usize>,
) -> Result<Outcome, Halt> {
    let name = &fixture.name;
    if std::env::var_os("LAPSTRAKE_E2E_EDITED").is_some() {
        yard.by_lapstrake(fixture, fixture.backend().is_some())?;
        fixture.edit()?;
    }
    let theirs = yard.by_buildkit(fixture, "buildkit", &[])?;
    let (ours, is_native, note) = ours(yard, fixture, twice);
    let ran = ours.and_then(|ours| yard.try_out(fixture, &ours.reference).map(|()| ours));
    let ours = match ran {
        Ok(ours) => ours,
        Err(Halt::Failed(why)) => {
            let line = format!("{name}: {why}{note}");
            return Ok(Outcome { line, is_equal: false, is_native });
        }
        Err(halt) => return Err(halt),
    };
    let (unexplained, reasons) = compared(&ours, &theirs);
    reasons.into_iter().for_each(|(reason, count)| *explained.entry(reason).or_default() += count);
    let how = if is_native { "native" } else { "backend" };
    let seconds = format!("{:.1} s, BuildKit {:.1} s", ours.seconds, theirs.seconds);
    let is_equal = unexplained.is_empty();
    let line = if is_equal {
        format!("{name}: equal, {how}, {seconds}{note}")
    } else {
        let shown = unexplained.iter().take(SHOWN).map(|line| format!("\n    {line}")).collect::<String>();
        format!("{name}: {} differences, {how}, {seconds}{note}{shown}", unexplained.len())
    };
    Ok(Outcome { line, is_equal, is_native })
}
