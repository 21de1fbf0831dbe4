//! Which packages of a lock are installed for some groups and extras.
//!
//! Poetry asks the lock in two ways: by its groups and markers, or by resolving once more with nothing but what is in it,
//! as versions before 2.3 do unless told otherwise. Both are worked out, and have to say the same.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use pep440_rs::Version;

use super::dependency::{Dependency, Surroundings};
use super::error::PoetryError;
use super::lock::{LockedPackage, PoetryLock};
use super::project::{MAIN, PoetryProject};
use super::version::Constraint;
use crate::python::normalize_name;

/// What is asked for of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Groups besides those that are not optional.
    pub with: Vec<String>,
    /// Groups that are left out.
    pub without: Vec<String>,
    /// The only groups, where some are named.
    pub only: Vec<String>,
    /// All groups.
    pub all_groups: bool,
    /// Extras of the project.
    pub extras: Vec<String>,
    /// All of them.
    pub all_extras: bool,
}

/// The packages that are installed, by name.
///
/// # Errors
/// Fails where the lock is stale, and wherever the answer is not certain.
pub fn choose<'a>(
    project: &PoetryProject,
    lock: &'a PoetryLock,
    selection: &Selection,
    here: &Surroundings,
) -> Result<BTreeMap<String, &'a LockedPackage>, PoetryError> {
    if project.content_hash != lock.content_hash {
        return Err(PoetryError::Stale);
    }
    for python in &project.python {
        here.check_python(&project.name, python)?;
    }
    let chooser =
        Chooser { project, lock, here, groups: groups(project, selection)?, extras: extras(project, lock, selection)? };
    let wanted = chooser.reached(false)?;
    let whole = chooser.reached(true)?;
    let of_extras = chooser.of_extras(&whole);
    let is_kept = |package: &&LockedPackage| !package.is_optional || of_extras.contains(&package.name);
    chooser.agree(&wanted, &whole.into_values().filter(is_kept).collect::<Vec<_>>())?;
    if lock.has_groups {
        chooser.agree(&wanted, &chooser.marked()?)?;
    }
    for package in wanted.values() {
        here.check_python(&package.name, &package.python)?;
        if let Some(kind) = &package.place {
            return Err(PoetryError::Place { name: package.name.clone(), kind: kind.clone() });
        }
        if package.hashes.is_empty() {
            return Err(PoetryError::NoHash { name: package.name.clone() });
        }
    }
    Ok(wanted)
}

/// The groups that are asked for.
fn groups(project: &PoetryProject, asked: &Selection) -> Result<BTreeSet<String>, PoetryError> {
    let named = asked.with.iter().chain(&asked.without).chain(&asked.only);
    if let Some(name) = named.into_iter().find(|name| !project.groups.contains_key(*name)) {
        return Err(PoetryError::NoGroup { name: name.clone() });
    }
    if !asked.only.is_empty() {
        return Ok(asked.only.iter().cloned().collect());
    }
    let is_taken =
        |name: &str, is_optional: bool| !is_optional || asked.all_groups || asked.with.iter().any(|own| own == name);
    let taken = project.groups.iter().filter(|(name, group)| is_taken(name, group.is_optional));
    Ok(taken.map(|(name, _)| name.clone()).filter(|name| !asked.without.contains(name)).collect())
}

/// The extras that are asked for, normalised.
fn extras(project: &PoetryProject, lock: &PoetryLock, asked: &Selection) -> Result<Vec<String>, PoetryError> {
    if asked.all_extras {
        return Ok(project.extras.keys().cloned().collect());
    }
    let names: Vec<String> = asked.extras.iter().map(|name| normalize_name(name)).collect();
    match names.iter().find(|name| !project.extras.contains_key(*name) || !lock.extras.contains(*name)) {
        Some(name) => Err(PoetryError::NoExtra { name: name.clone() }),
        None => Ok(names),
    }
}

struct Chooser<'a, 'p> {
    project: &'p PoetryProject,
    lock: &'a PoetryLock,
    here: &'p Surroundings,
    groups: BTreeSet<String>,
    extras: Vec<String>,
}

type Packages<'a> = BTreeMap<String, &'a LockedPackage>;

impl<'a> Chooser<'a, '_> {
    /// What the dependencies of the groups lead to; `with_optional` follows those of extras that nobody asked for, too.
    fn reached(&self, with_optional: bool) -> Result<Packages<'a>, PoetryError> {
        let mut found = Packages::new();
        // The extras by which a package was looked at already.
        let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut open: Vec<Dependency> = Vec::new();
        for (name, group) in self.project.groups.iter().filter(|(name, _)| self.groups.contains(*name)) {
            for dependency in &group.dependencies {
                let is_of_extra =
                    |extra: &String| self.project.extras.get(extra).is_some_and(|of| of.contains(&dependency.name));
                let is_asked = with_optional || !dependency.is_optional || self.extras.iter().any(is_of_extra);
                if (name != MAIN || is_asked) && dependency.counts(self.here, &self.extras)? {
                    open.push(dependency.clone());
                }
            }
        }
        while let Some(dependency) = open.pop() {
            if let Some(kind) = dependency.place {
                return Err(PoetryError::Place { name: dependency.name, kind: kind.to_owned() });
            }
            let package = self.package(&dependency)?;
            match found.insert(package.name.clone(), package) {
                Some(other) if other.version != package.version => {
                    return Err(PoetryError::Ambiguous { name: dependency.name });
                }
                _ => {}
            }
            let extras: BTreeSet<String> = all_extras(package, &dependency.extras);
            let known = seen.get(&package.name);
            if known.is_some_and(|known| extras.is_subset(known)) {
                continue;
            }
            let extras: BTreeSet<String> = known.into_iter().flatten().cloned().chain(extras).collect();
            let listed: Vec<String> = extras.iter().cloned().collect();
            let of_extras = names_of(package, &extras);
            for below in &package.dependencies {
                let is_asked = !below.is_optional || of_extras.contains(&below.name);
                if is_asked && below.name != package.name && below.counts(self.here, &listed)? {
                    open.push(below.clone());
                }
            }
            seen.insert(package.name.clone(), extras);
        }
        Ok(found)
    }

    /// The package of the lock that a dependency means.
    fn package(&self, dependency: &Dependency) -> Result<&'a LockedPackage, PoetryError> {
        let ambiguous = || PoetryError::Ambiguous { name: dependency.name.clone() };
        let mut candidates: Vec<&LockedPackage> =
            self.lock.packages.iter().filter(|package| package.name == dependency.name).collect();
        if candidates.len() > 1 {
            let constraint = Constraint::parse(&dependency.version).ok_or_else(ambiguous)?;
            candidates
                .retain(|package| Version::from_str(&package.version).is_ok_and(|version| constraint.allows(&version)));
            if candidates.len() > 1 && self.lock.has_groups {
                let mut marked = Vec::new();
                for package in candidates {
                    if self.is_marked(package)? {
                        marked.push(package);
                    }
                }
                candidates = marked;
            }
        }
        match candidates.as_slice() {
            [one] => Ok(one),
            _ => Err(ambiguous()),
        }
    }

    /// What the lock's groups and markers name.
    fn marked(&self) -> Result<Vec<&'a LockedPackage>, PoetryError> {
        let mut found = Vec::new();
        for package in &self.lock.packages {
            if self.is_marked(package)? {
                found.push(package);
            }
        }
        Ok(found)
    }

    fn is_marked(&self, package: &LockedPackage) -> Result<bool, PoetryError> {
        for group in package.groups.intersection(&self.groups) {
            let marker = package.markers.get("").or_else(|| package.markers.get(group));
            if marker.map_or(Ok(true), |marker| self.here.holds(&package.name, marker, &self.extras))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The names that the extras lead to, whatever markers say.
    fn of_extras(&self, whole: &Packages<'a>) -> BTreeSet<String> {
        let first = self.extras.iter().filter_map(|extra| self.project.extras.get(extra)).flatten().cloned();
        let mut open: Vec<String> = first.collect();
        let mut found = BTreeSet::new();
        while let Some(name) = open.pop() {
            if found.insert(name.clone())
                && let Some(package) = whole.get(&name)
            {
                open.extend(package.dependencies.iter().map(|below| below.name.clone()));
            }
        }
        found
    }

    /// Fails unless `other` are the packages of `wanted`.
    fn agree(&self, wanted: &Packages<'a>, other: &[&'a LockedPackage]) -> Result<(), PoetryError> {
        let versions = |packages: &mut dyn Iterator<Item = &&LockedPackage>| {
            packages.map(|package| (package.name.clone(), package.version.clone())).collect::<BTreeSet<_>>()
        };
        let (own, other) = (versions(&mut wanted.values()), versions(&mut other.iter()));
        match own.symmetric_difference(&other).next() {
            Some((name, _)) => Err(PoetryError::Disagreement { name: name.clone() }),
            None => Ok(()),
        }
    }
}

/// The extras of a package that `asked` comes to: they may name the package itself with others.
fn all_extras(package: &LockedPackage, asked: &[String]) -> BTreeSet<String> {
    let mut open = asked.to_vec();
    let mut found = BTreeSet::new();
    while let Some(extra) = open.pop() {
        if found.insert(extra.clone()) {
            let own = lines(package, &extra).filter(|dependency| dependency.name == package.name);
            open.extend(own.flat_map(|dependency| dependency.extras));
        }
    }
    found
}

/// The names that these extras of a package ask for.
fn names_of(package: &LockedPackage, extras: &BTreeSet<String>) -> BTreeSet<String> {
    extras.iter().flat_map(|extra| lines(package, extra)).map(|dependency| dependency.name).collect()
}

fn lines<'a>(package: &'a LockedPackage, extra: &str) -> impl Iterator<Item = Dependency> + use<'a> {
    let listed = package.extras.get(extra).into_iter().flatten();
    listed.filter_map(|line| Dependency::of_line(line).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROJECT: &str = "[tool.poetry]\nname = 'p'\n[tool.poetry.dependencies]\npython = '^3.9'\na = '^1'\n\
        web = {version = '*', extras = ['fast']}\nrare = {version = '*', optional = true}\n\
        [tool.poetry.extras]\nmore = ['rare']\n[tool.poetry.group.dev.dependencies]\nt = '*'\n\
        [tool.poetry.group.docs]\noptional = true\n[tool.poetry.group.docs.dependencies]\nd = '*'\n";

    /// A lock of `NAME GROUPS [MARKER]` with what stands behind it, all of version 1.0.
    fn lock(version: &str, packages: &[(&str, &str, &str)]) -> String {
        let mut text = String::new();
        for (name, groups, rest) in packages {
            let hash = "0".repeat(64);
            let optional = rest.contains("OPTIONAL");
            text += &format!(
                "[[package]]\nname = '{name}'\nversion = '1.0'\noptional = {optional}\npython-versions = '>=3.8'\n\
                 files = [{{file = 'x', hash = 'sha256:{hash}'}}]\n"
            );
            if version == "2.1" {
                text += &format!("groups = [{groups}]\n");
            }
            text += &format!("{}\n", rest.replace("OPTIONAL", ""));
        }
        let hash = PoetryProject::parse(PROJECT).unwrap().content_hash;
        format!("{text}[extras]\nmore = ['rare']\n[metadata]\nlock-version = '{version}'\ncontent-hash = '{hash}'\n")
    }

    const PACKAGES: [(&str, &str, &str); 8] = [
        ("a", "'main'", "[package.dependencies]\nwin = {version='*', markers=\"sys_platform == 'win32'\"}\nb = '*'"),
        ("b", "'main', 'dev'", ""),
        ("win", "'main'", "markers = \"sys_platform == 'win32'\""),
        (
            "web",
            "'main'",
            "[package.dependencies]\nloop = {version='*', optional=true, markers=\"extra == 'fast'\"}\n\
             slow = {version='*', optional=true, markers=\"extra == 'slow'\"}\n\
             [package.extras]\nfast = ['loop (>=1) ; sys_platform != \"win32\"']\nslow = ['slow']",
        ),
        ("loop", "'main'", ""),
        ("rare", "'main'", "markers = \"extra == 'more'\"\nOPTIONAL"),
        ("t", "'dev'", "[package.dependencies]\nb = '*'"),
        ("d", "'docs'", ""),
    ];

    fn chosen(text: &str, selection: &Selection) -> Result<String, PoetryError> {
        let (project, lock) = (PoetryProject::parse(PROJECT)?, PoetryLock::parse(text)?);
        let chosen = choose(&project, &lock, selection, &Surroundings::linux((3, 11, 7), "x86_64"))?;
        Ok(chosen.into_keys().collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn groups_extras_and_markers_choose() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        for version in ["2.0", "2.1"] {
            let text = lock(version, &PACKAGES);
            let base = Selection::default();
            for (selection, expected) in [
                (base.clone(), "a b loop t web"),
                (Selection { only: names(&["main"]), ..base.clone() }, "a b loop web"),
                (Selection { without: names(&["dev"]), ..base.clone() }, "a b loop web"),
                (Selection { only: names(&["dev"]), ..base.clone() }, "b t"),
                (Selection { with: names(&["docs"]), ..base.clone() }, "a b d loop t web"),
                (Selection { all_groups: true, ..base.clone() }, "a b d loop t web"),
                (Selection { extras: names(&["More"]), without: names(&["dev"]), ..base.clone() }, "a b loop rare web"),
                (Selection { all_extras: true, only: names(&["main"]), ..base.clone() }, "a b loop rare web"),
            ] {
                assert_eq!(chosen(&text, &selection).as_deref(), Ok(expected), "{version} {selection:?}");
            }
            let absent = Selection { with: names(&["nope"]), ..base.clone() };
            assert_eq!(chosen(&text, &absent), Err(PoetryError::NoGroup { name: "nope".into() }));
            let absent = Selection { extras: names(&["nope"]), ..base };
            assert_eq!(chosen(&text, &absent), Err(PoetryError::NoExtra { name: "nope".into() }));
        }
    }

    #[test]
    fn what_is_not_certain_is_an_error() {
        let all = Selection::default();
        let with = |changed: (&str, &str, &str)| {
            let mut packages: Vec<_> = PACKAGES.iter().filter(|package| package.0 != changed.0).copied().collect();
            packages.push((
                Box::leak(changed.0.to_owned().into_boxed_str()),
                "'main'",
                Box::leak(changed.2.to_owned().into_boxed_str()),
            ));
            chosen(&lock("2.1", &packages), &all)
        };
        assert_eq!(
            with(("b", "", "markers = \"python_version < '3.9'\"")),
            Err(PoetryError::Disagreement { name: "b".into() })
        );
        let place = "[package.source]\ntype = 'git'\nurl = 'u'";
        assert_eq!(with(("b", "", place)), Err(PoetryError::Place { name: "b".into(), kind: "git".into() }));
        let twice: Vec<_> = PACKAGES.iter().chain([&PACKAGES[1]]).copied().collect();
        assert_eq!(chosen(&lock("2.1", &twice), &all), Err(PoetryError::Ambiguous { name: "b".into() }));
        let less: Vec<_> = PACKAGES.iter().filter(|package| package.0 != "b").copied().collect();
        assert_eq!(chosen(&lock("2.0", &less), &all), Err(PoetryError::Ambiguous { name: "b".into() }));
        let stale = lock("2.1", &PACKAGES).replace("content-hash = '", "content-hash = '0");
        assert_eq!(chosen(&stale, &all), Err(PoetryError::Stale));
        let old = lock("2.1", &PACKAGES).replace("lock-version = '2.1'", "lock-version = '1.1'");
        assert_eq!(chosen(&old, &all), Err(PoetryError::LockVersion { version: "1.1".into() }));
        let project = PoetryProject::parse(PROJECT).unwrap();
        let read = PoetryLock::parse(&lock("2.1", &PACKAGES)).unwrap();
        let here = Surroundings::linux((3, 8, 1), "x86_64");
        assert!(matches!(choose(&project, &read, &all, &here), Err(PoetryError::Python { .. })));
    }
}
