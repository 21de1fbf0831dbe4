//! Who installs packages in an image, as far as the files tell: INSTALLER, REQUESTED, launchers.
//!
//! What is installed is chosen elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use crate::inputs::requirements::SourcedRequirements;
use crate::plan::{KeyHasher, Placement};
use crate::python::install::Manner;
use crate::python::lock::{Lock, LockedWheel};
use crate::python::normalize_name;
use crate::settings::Installer;

/// Who installs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    /// uv.
    Uv,
    /// pip.
    Pip,
    /// virtualenv, which puts pip into an environment.
    Virtualenv,
    /// Poetry.
    Poetry {
        /// Its version.
        version: String,
        /// The interpreter that launchers name.
        interpreter: String,
    },
}

impl By {
    /// The one that a command or a setting names.
    pub(super) fn of(installer: Installer) -> Self {
        match installer {
            Installer::Uv => Self::Uv,
            Installer::Pip => Self::Pip,
        }
    }

    /// The bytes of `INSTALLER`.
    fn text(&self) -> String {
        match self {
            Self::Uv => "uv".to_owned(),
            Self::Pip | Self::Virtualenv => "pip\n".to_owned(),
            Self::Poetry { version, .. } => format!("Poetry {version}"),
        }
    }

    fn manner(&self) -> Manner {
        match self {
            Self::Uv => Manner::Uv,
            Self::Pip => Manner::Pip,
            Self::Virtualenv => Manner::Virtualenv,
            Self::Poetry { .. } => Manner::Poetry,
        }
    }

    /// Adds all that shapes layers to a key.
    pub(super) fn add_to(&self, key: &mut KeyHasher) {
        key.add("by", self.text());
        key.add("manner", self.manner().word().unwrap_or_default());
        if let Self::Poetry { interpreter, .. } = self {
            key.add("interpreter", interpreter);
        }
    }

    /// `placement` as it is when this one installs, upon `sources` of its own.
    pub(super) fn placement<'a>(
        &self,
        placement: &Placement,
        sources: impl Iterator<Item = &'a SourcedRequirements>,
    ) -> Placement {
        let mut placement = Placement { installer: self.text(), manner: self.manner(), ..placement.clone() };
        placement.requested = match self {
            Self::Uv => None,
            Self::Pip => Some(sources.flat_map(names).collect()),
            Self::Virtualenv | Self::Poetry { .. } => Some(BTreeSet::new()),
        };
        if let Self::Poetry { interpreter, .. } = self {
            placement.scheme.interpreter.clone_from(interpreter);
        }
        placement
    }
}

/// What was asked for by name.
pub(super) fn names(source: &SourcedRequirements) -> impl Iterator<Item = String> + use<'_> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    source
        .set
        .requirements
        .iter()
        .map(move |line| normalize_name(line.text.split(|c| !is_part(c)).next().unwrap_or_default()))
}

/// The wheels of `lock` by who installed them; `last` tells which of the installations placed a package.
pub(super) fn parts(
    placement: &Placement,
    installs: &[(&By, &SourcedRequirements)],
    lock: &Lock,
    last: &BTreeMap<String, usize>,
) -> Vec<(Placement, Vec<LockedWheel>)> {
    let mut parts: BTreeMap<&By, Vec<LockedWheel>> = BTreeMap::new();
    for wheel in &lock.packages {
        let at = last.get(&wheel.name).copied().unwrap_or_default();
        if let Some((by, _)) = installs.get(at) {
            parts.entry(*by).or_default().push(wheel.clone());
        }
    }
    let placed = |(by, wheels): (&By, Vec<LockedWheel>)| {
        let own = installs.iter().filter(|(other, _)| *other == by).map(|(_, source)| *source);
        (by.placement(placement, own), wheels)
    };
    parts.into_iter().map(placed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::users::Owner;
    use crate::inputs::requirements::{self, RequirementOrigin, RequirementSource};
    use crate::oci::Digest;
    use crate::python::InstallScheme;

    fn wheel(name: &str) -> LockedWheel {
        LockedWheel {
            name: name.into(),
            version: "1".into(),
            filename: format!("{name}-1-py3-none-any.whl"),
            url: format!("https://files.example/{name}-1-py3-none-any.whl"),
            sha256: Digest::of(name.as_bytes()),
            size: None,
            direct_url: None,
            index: None,
            origin: None,
        }
    }

    fn source(line: &str) -> SourcedRequirements {
        let folder = std::path::Path::new("/");
        let named = RequirementSource::Lines { name: "x".into(), lines: vec![line.into()] };
        let set = requirements::read(folder, &named, &BTreeMap::new()).unwrap();
        SourcedRequirements::new(RequirementOrigin::User, "x", line, folder, set)
    }

    #[test]
    fn each_package_is_placed_as_whoever_installed_it_last_does_it() {
        let folder = || "/s".to_owned();
        let scheme = InstallScheme {
            interpreter: "/bin/python".into(),
            purelib: folder(),
            platlib: folder(),
            scripts: folder(),
            include: folder(),
            data: folder(),
        };
        let placement = Placement {
            scheme,
            directories: Vec::new(),
            owner: Owner::default(),
            installer: String::new(),
            manner: Manner::default(),
            python: (3, 11),
            requested: None,
        };
        let poetry = By::Poetry { version: "2.1.4".into(), interpreter: "/e/bin/python".into() };
        let sources = ["a==1", "b", "c==1"].map(source);
        let installs = [(&By::Pip, &sources[0]), (&By::Uv, &sources[1]), (&poetry, &sources[2])];
        let lock = Lock { packages: ["a", "b", "c", "d"].map(wheel).to_vec(), removed: Vec::new() };
        let last = BTreeMap::from([("b".to_owned(), 1), ("c".to_owned(), 2)]);
        let parts = parts(&placement, &installs, &lock, &last);
        let shown: Vec<(&str, Option<&str>, &str, String)> = parts
            .iter()
            .map(|(own, wheels)| {
                let names = wheels
                    .iter()
                    .map(|wheel| format!("{}{}", wheel.name, if own.is_requested(wheel) { "*" } else { "" }));
                (
                    own.installer.as_str(),
                    own.manner.word(),
                    own.scheme.interpreter.as_str(),
                    names.collect::<Vec<_>>().join(" "),
                )
            })
            .collect();
        let expected = [
            ("uv", None, "/bin/python", "b*".to_owned()),
            ("pip\n", Some("pip"), "/bin/python", "a* d".to_owned()),
            ("Poetry 2.1.4", Some("poetry"), "/e/bin/python", "c".to_owned()),
        ];
        assert_eq!(shown, expected);
    }
}
