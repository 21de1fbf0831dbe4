//! Where installers differ in what they leave of a wheel: uv and pip, Poetry, virtualenv.
//!
//! INSTALLER's text and REQUESTED are options of an installation, not of a manner.

use std::collections::BTreeSet;

use super::{InstallOptions, Installation, InstalledFile, Planner, Source, entry_path};
use crate::python::entry_points::{self, EntryPoint, EntryPoints};
use crate::python::normalize_name;
use crate::python::record::RecordRow;
use crate::python::wheel::Refusal;
use crate::python::zip::Member;

/// Whose way of placing a wheel it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Manner {
    /// That of uv.
    #[default]
    Uv,
    /// pip's: that of uv without folders in which no file lies.
    Pip,
    /// Poetry's: launchers of the library `installer`, programs that may be executed where the wheel says so, and no empty
    /// folders.
    Poetry,
    /// That in which virtualenv puts pip into an environment: unpacked, with launchers of its own and a mark beside it.
    Virtualenv,
}

impl Manner {
    /// The word for it in keys; none for that of uv.
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Uv => None,
            Self::Pip => Some("pip"),
            Self::Poetry => Some("poetry"),
            Self::Virtualenv => Some("virtualenv"),
        }
    }

    /// The folder of a distribution's headers, below that for all headers.
    pub(super) fn headers(self, name: &str) -> String {
        if self == Self::Poetry { name.to_owned() } else { normalize_name(name) }
    }

    /// The text of a launcher.
    pub(super) fn script(self, point: &EntryPoint, shebang: &str) -> String {
        let EntryPoint { module, function, .. } = point;
        let import = function.split('.').next().unwrap_or(function);
        match self {
            Self::Uv | Self::Pip => point.script(shebang),
            Self::Poetry => format!(
                "{shebang}\n# -*- coding: utf-8 -*-\nimport re\nimport sys\nfrom {module} import {import}\n\
                 if __name__ == \"__main__\":\n    \
                 sys.argv[0] = re.sub(r\"(-script\\.pyw|\\.exe)?$\", \"\", sys.argv[0])\n    sys.exit({function}())\n"
            ),
            Self::Virtualenv => format!(
                "{shebang}\n# -*- coding: utf-8 -*-\nimport re\nimport sys\nif __name__ == '__main__':\n    \
                 from {module} import {import}\n    \
                 sys.argv[0] = re.sub(r'(-script\\.pyw|\\.exe)?$', '', sys.argv[0])\n    sys.exit({function}())\n"
            ),
        }
    }
}

impl Planner<'_> {
    pub(super) fn mode_of(&self, member: &Member) -> u32 {
        let executable = member.mode.is_some_and(|mode| mode & 0o111 != 0);
        if executable && self.manner != Manner::Virtualenv { 0o755 } else { 0o644 }
    }

    /// Adds what virtualenv adds to the files of an unpacked wheel: launchers, INSTALLER, its mark, and rows for all of
    /// them and for bytecode, none with a hash.
    pub(super) fn placed_by_virtualenv(
        mut self,
        points: &EntryPoints,
        options: &InstallOptions,
    ) -> Result<Installation, Refusal> {
        let (major, minor) = options.python_version;
        let mut rows = self.bytecode(major, minor);
        let (site, scripts) = (self.site.to_owned(), self.scheme.scripts.clone());
        let shebang = entry_points::shebang(&self.scheme.interpreter);
        let mut made = BTreeSet::new();
        for point in &points.console {
            // `pip3.11` and its like are made for `pip`.
            let name = point.name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').trim_end_matches('-');
            if !made.insert(name.to_owned()) {
                continue;
            }
            let script = Manner::Virtualenv.script(point, &shebang).into_bytes();
            let names = [
                name.to_owned(),
                format!("{name}{major}"),
                format!("{name}{major}.{minor}"),
                format!("{name}-{major}.{minor}"),
            ];
            for name in names {
                rows.insert(super::relative(&site, &scripts, &name));
                self.put_bytes(&scripts, &name, script.clone(), 0o755)?;
            }
        }
        let info = format!("{}.dist-info", self.wheel.stem);
        for (name, text) in
            [(format!("{info}/INSTALLER"), options.installer.as_str()), (format!("{}.virtualenv", self.wheel.stem), "")]
        {
            self.put_bytes(&site, &name, text.as_bytes().to_vec(), 0o644)?;
            rows.insert(name);
        }
        self.rows.extend(rows.into_iter().map(|path| RecordRow { path, hash: None, size: None }));
        self.finish()
    }

    /// The rows that virtualenv writes for bytecode, which it does not make.
    fn bytecode(&self, major: u32, minor: u32) -> BTreeSet<String> {
        let mut rows = BTreeSet::new();
        for member in self.wheel.archive.members() {
            if let Some(module) = member.name.strip_suffix(".py").filter(|_| !member.folder) {
                rows.insert(format!("{module}.cpython-{major}{minor}.pyc"));
            }
            let mut folder = member.name.trim_end_matches('/');
            while let Some((above, _)) = folder.rsplit_once('/') {
                rows.insert(format!("{above}/__pycache__"));
                folder = above;
            }
        }
        rows
    }

    fn put_bytes(&mut self, base: &str, rest: &str, content: Vec<u8>, mode: u32) -> Result<(), Refusal> {
        let path = entry_path(base, rest)?;
        self.put(InstalledFile { path, mode, size: content.len() as u64, source: Source::Bytes(content) });
        Ok(())
    }
}
