//! Which wheels an interpreter takes, and why it does not take the others (PEP 425, 600, 656, 703).
//!
//! It looks at tags alone; whether a version is wanted is the resolver's business.

use std::collections::BTreeMap;

use super::filename::{Tag, WheelFilename};
use crate::image::filesystem::Libc;

/// What decides which wheels fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// `cp` for CPython, `pp` for PyPy.
    pub implementation: String,
    /// The language version.
    pub version: (u32, u32),
    /// Whether it is a build without the global lock (ABI `cp313t`).
    pub free_threaded: bool,
    /// The C library.
    pub libc: Libc,
    /// The machine in Python's words: `x86_64`, `aarch64`...
    pub machine: String,
}

/// The tags that an interpreter takes; the best first.
#[derive(Clone, Debug)]
pub struct CompatibleTags {
    interpreter: Interpreter,
    ranks: BTreeMap<Tag, usize>,
    ordered: Vec<Tag>,
}

impl CompatibleTags {
    /// All tags that `interpreter` takes, in the order in which packaging.tags gives them.
    pub fn of(interpreter: &Interpreter) -> Self {
        let mut ordered = Vec::new();
        let (major, minor) = interpreter.version;
        let own = format!("{}{major}{minor}", interpreter.implementation);
        let platforms = platforms(interpreter);
        let mut push = |python: &str, abi: &str, platform: &str| {
            ordered.push(Tag { python: python.into(), abi: abi.into(), platform: platform.into() });
        };
        let threads = if interpreter.free_threaded { "t" } else { "" };
        let limited = interpreter.implementation == "cp" && !interpreter.free_threaded;
        let mut abis = vec![format!("{own}{threads}")];
        abis.extend(limited.then(|| "abi3".to_owned()));
        abis.push("none".to_owned());
        for abi in &abis {
            platforms.iter().for_each(|platform| push(&own, abi, platform));
        }
        for older in (2..minor).rev().filter(|_| limited) {
            platforms.iter().for_each(|platform| push(&format!("cp{major}{older}"), "abi3", platform));
        }
        let generic: Vec<String> = [format!("py{major}{minor}"), format!("py{major}")]
            .into_iter()
            .chain((0..minor).rev().map(|older| format!("py{major}{older}")))
            .collect();
        for python in &generic {
            platforms.iter().for_each(|platform| push(python, "none", platform));
        }
        push(&own, "none", "any");
        generic.iter().for_each(|python| push(python, "none", "any"));
        let ranks = ordered.iter().cloned().enumerate().map(|(rank, tag)| (tag, rank)).collect();
        Self { interpreter: interpreter.clone(), ranks, ordered }
    }

    /// The tags, best first.
    pub fn tags(&self) -> &[Tag] {
        &self.ordered
    }

    /// The rank of the wheel's best tag, from 0; `None` when no tag fits.
    pub fn fits(&self, wheel: &WheelFilename) -> Option<usize> {
        wheel.tags.iter().filter_map(|tag| self.ranks.get(tag)).min().copied()
    }

    /// Why a wheel does not fit, as one clause for each of its tags that comes nearest; `None` when it fits.
    pub fn why_not(&self, wheel: &WheelFilename) -> Option<String> {
        if self.fits(wheel).is_some() {
            return None;
        }
        let nearest = wheel.tags.iter().map(|tag| self.obstacle(tag)).min_by_key(|(distance, _)| *distance);
        nearest.map(|(_, reason)| reason)
    }

    /// What keeps `tag` away, and how far it is: platform version, platform, ABI, Python.
    fn obstacle(&self, tag: &Tag) -> (u8, String) {
        let (major, minor) = self.interpreter.version;
        let have = format!("the image has {}{major}.{minor}", self.python_name());
        if !self.ordered.iter().any(|own| own.python == tag.python) {
            return (3, format!("needs {}, {have}", tag.python));
        }
        if !self.ordered.iter().any(|own| own.python == tag.python && own.abi == tag.abi) {
            return (2, format!("needs ABI {}, {have}", tag.abi));
        }
        let libc = self.interpreter.libc;
        if !tag.platform.ends_with(&format!("_{}", self.interpreter.machine)) {
            return (1, format!("needs {}, the image has {} with {libc}", tag.platform, self.interpreter.machine));
        }
        (
            0,
            format!(
                "needs {}, the image has {libc}",
                tag.platform.trim_end_matches(&format!("_{}", self.interpreter.machine))
            ),
        )
    }

    fn python_name(&self) -> &'static str {
        match self.interpreter.implementation.as_str() {
            "cp" if self.interpreter.free_threaded => "free-threaded CPython ",
            "cp" => "CPython ",
            "pp" => "PyPy ",
            _ => "Python ",
        }
    }
}

/// The platforms, newest first.
fn platforms(interpreter: &Interpreter) -> Vec<String> {
    let machine = &interpreter.machine;
    let mut platforms = Vec::new();
    match interpreter.libc {
        Libc::Glibc(2, newest) => {
            let oldest = if matches!(machine.as_str(), "x86_64" | "i686") { 5 } else { 17 };
            for minor in (oldest..=newest).rev() {
                platforms.push(format!("manylinux_2_{minor}_{machine}"));
                let legacy = match minor {
                    17 => Some("manylinux2014"),
                    12 => Some("manylinux2010"),
                    5 => Some("manylinux1"),
                    _ => None,
                };
                platforms.extend(legacy.map(|name| format!("{name}_{machine}")));
            }
        }
        Libc::Musl(major, newest) => {
            platforms.extend((0..=newest).rev().map(|minor| format!("musllinux_{major}_{minor}_{machine}")));
        }
        Libc::Glibc(..) | Libc::Unknown => {}
    }
    platforms.push(format!("linux_{machine}"));
    platforms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn debian() -> Interpreter {
        Interpreter {
            implementation: "cp".into(),
            version: (3, 11),
            free_threaded: false,
            libc: Libc::Glibc(2, 36),
            machine: "x86_64".into(),
        }
    }

    fn wheel(tags: &str) -> WheelFilename {
        WheelFilename::parse(&format!("a-1-{tags}.whl")).unwrap()
    }

    #[test]
    fn better_tags_come_first() {
        let tags = CompatibleTags::of(&debian());
        let order = [
            "cp311-cp311-manylinux_2_36_x86_64",
            "cp311-cp311-manylinux2014_x86_64",
            "cp311-cp311-manylinux1_x86_64",
            "cp311-cp311-linux_x86_64",
            "cp311-abi3-manylinux_2_17_x86_64",
            "cp311-none-linux_x86_64",
            "cp310-abi3-manylinux_2_17_x86_64",
            "cp32-abi3-linux_x86_64",
            "py311-none-manylinux_2_17_x86_64",
            "py3-none-manylinux_2_17_x86_64",
            "py30-none-linux_x86_64",
            "cp311-none-any",
            "py311-none-any",
            "py3-none-any",
            "py310-none-any",
        ];
        let ranks: Vec<usize> = order.iter().map(|tag| tags.fits(&wheel(tag)).expect(tag)).collect();
        assert!(ranks.is_sorted(), "{ranks:?}");
        assert_eq!(ranks[0], 0);
        assert_eq!(tags.fits(&wheel("py2.py3-none-any")), tags.fits(&wheel("py3-none-any")));
    }

    #[test]
    fn wheel_that_does_not_fit_says_what_it_needs() {
        let tags = CompatibleTags::of(&debian());
        let cases = [
            ("cp311-cp311-manylinux_2_39_x86_64", "needs manylinux_2_39, the image has glibc 2.36"),
            ("cp311-cp311-musllinux_1_2_x86_64", "needs musllinux_1_2, the image has glibc 2.36"),
            (
                "cp311-cp311-manylinux_2_17_aarch64",
                "needs manylinux_2_17_aarch64, the image has x86_64 with glibc 2.36",
            ),
            ("cp312-cp312-manylinux_2_17_x86_64", "needs cp312, the image has CPython 3.11"),
            ("cp311-cp311d-manylinux_2_17_x86_64", "needs ABI cp311d, the image has CPython 3.11"),
            ("cp312.cp311-cp311-win_amd64", "needs win_amd64, the image has x86_64 with glibc 2.36"),
        ];
        for (tag, reason) in cases {
            assert_eq!(tags.why_not(&wheel(tag)).as_deref(), Some(reason), "{tag}");
        }
        assert_eq!(tags.why_not(&wheel("py3-none-any")), None);
    }

    #[test]
    fn free_threaded_interpreter_takes_no_limited_abi() {
        let tags = CompatibleTags::of(&Interpreter { free_threaded: true, version: (3, 13), ..debian() });
        assert!(tags.fits(&wheel("cp313-cp313t-linux_x86_64")).is_some());
        assert!(tags.fits(&wheel("cp313-abi3-linux_x86_64")).is_none());
        assert!(tags.fits(&wheel("cp313-cp313-linux_x86_64")).is_none());
    }

    #[test]
    fn musl_image_takes_musllinux_up_to_its_version() {
        let tags = CompatibleTags::of(&Interpreter { libc: Libc::Musl(1, 2), machine: "aarch64".into(), ..debian() });
        assert!(tags.fits(&wheel("cp311-cp311-musllinux_1_1_aarch64")).is_some());
        assert!(tags.fits(&wheel("cp311-cp311-musllinux_1_3_aarch64")).is_none());
        assert!(tags.fits(&wheel("cp311-cp311-manylinux_2_17_aarch64")).is_none());
    }
}
