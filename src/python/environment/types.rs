//! What a Python environment is, once found.
//!
//! Finding it is the work of `detect`.

use super::{InstalledDistribution, Libc};
use crate::image::users::Owner;
use crate::python::InstallScheme;

/// What the settings say about the image's Python; `None` where it is to be found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PythonHints {
    /// Major and minor version.
    pub version: Option<(u32, u32)>,
    /// The environment's prefix, an absolute path such as `/opt/venv` or `/usr/local`.
    pub prefix: Option<String>,
    /// Another place than the interpreter's own for what is installed.
    pub place: Option<InstallPlace>,
}

/// A place that packages are installed to beside the interpreter's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallPlace {
    /// Its prefix: what `--prefix` or `--target` names, or `~/.local` for `--user`.
    pub prefix: String,
    /// Whether packages lie in the prefix itself, and what the interpreter has does not count (`--target`).
    pub is_bare: bool,
    /// Who owns what is made there.
    pub owner: Owner,
}

impl InstallPlace {
    /// The environment with this place for what is installed; what it has already counts on.
    #[must_use]
    pub fn of(&self, python: PythonEnvironment) -> PythonEnvironment {
        let Self { prefix, .. } = self;
        let (major, minor) = python.version;
        let library = match self.is_bare {
            true => prefix.clone(),
            false => format!("{prefix}/lib/python{major}.{minor}/site-packages"),
        };
        let scheme = InstallScheme {
            purelib: library.clone(),
            platlib: library,
            scripts: format!("{prefix}/bin"),
            include: format!("{prefix}/include/python{major}.{minor}"),
            data: prefix.clone(),
            ..python.scheme
        };
        let installed = if self.is_bare { Vec::new() } else { python.installed };
        PythonEnvironment { scheme, installed, ..python }
    }
}

/// What kind of environment an interpreter installs into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvironmentKind {
    /// A virtual environment: it has a `pyvenv.cfg`.
    Virtual,
    /// An interpreter with a prefix of its own, as in the `python` images.
    System,
    /// Debian's or Ubuntu's own: found in `/usr`, installs into `/usr/local/lib/python3.X/dist-packages`.
    Debian,
    /// Fedora's or Red Hat's own: found in `/usr`, installs into `/usr/local`.
    Fedora,
    /// A conda environment.
    Conda,
}

/// The Python environment of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PythonEnvironment {
    /// Where things are installed, and the interpreter that scripts name.
    pub scheme: InstallScheme,
    /// Major and minor version.
    pub version: (u32, u32),
    /// The implementation's short name in wheel tags: `cp`.
    pub implementation: String,
    /// What kind of environment this is.
    pub kind: EnvironmentKind,
    /// The prefix, an absolute path: `/usr`, `/usr/local`, `/opt/venv`...
    pub prefix: String,
    /// The C library; `Unknown` when the image shows none.
    pub libc: Libc,
    /// Whether an `EXTERNALLY-MANAGED` file asks installers to keep out (PEP 668).
    pub externally_managed: bool,
    /// What `sys.path` shows, the first of each name, by normalised name.
    pub installed: Vec<InstalledDistribution>,
}
