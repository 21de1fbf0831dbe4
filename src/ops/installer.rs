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

use super::facts::Install;

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
            Self::Uv | Self::Pip => Manner::Installers,
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
fn names(source: &SourcedRequirements) -> impl Iterator<Item = String> + use<'_> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    source
        .set
        .requirements
        .iter()
        .map(move |line| normalize_name(line.text.split(|c| !is_part(c)).next().unwrap_or_default()))
}

/// The wheels of `lock` by who installed them; `last` tells which installation placed a package.
pub(super) fn parts(
    placement: &Placement,
    installs: &[Install],
    lock: &Lock,
    last: &BTreeMap<String, usize>,
) -> Vec<(Placement, Vec<LockedWheel>)> {
    let mut parts: BTreeMap<&By, Vec<LockedWheel>> = BTreeMap::new();
    for wheel in &lock.packages {
        let at = last.get(&wheel.name).copied().unwrap_or_default();
        if let Some(install) = installs.get(at) {
            parts.entry(&install.by).or_default().push(wheel.clone());
        }
    }
    let placed = |(by, wheels): (&By, Vec<LockedWheel>)| {
        let own = installs.iter().filter(|install| install.by == *by).map(|install| &install.source);
        (by.placement(placement, own), wheels)
    };
    parts.into_iter().map(placed).collect()
}
