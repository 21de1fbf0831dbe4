//! Where commands that list requirements run: the user's environment, with the project's Python in front.
//!
//! Python itself is started for its version alone; which interpreter a command takes is up to the command.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::resolver::child::{Child, ChildEnvironment};

/// How long Python may take to say its version.
const PATIENCE: Duration = Duration::from_secs(20);

/// The user's environment as commands in the source root see it.
#[derive(Clone, Debug)]
pub struct PythonHost {
    pub(super) environment: ChildEnvironment,
    pub(super) folder: PathBuf,
    /// The virtual environment: `VIRTUAL_ENV`, else `.venv` in the source root.
    pub(super) virtual_environment: Option<PathBuf>,
    pub(super) uv: Option<PathBuf>,
}

impl PythonHost {
    /// Commands run in `source_root`; `uv` is the uv that there is.
    pub fn new(environment: &ChildEnvironment, source_root: &Path, uv: Option<PathBuf>) -> Self {
        let named = environment.value("VIRTUAL_ENV").filter(|value| !value.is_empty()).map(PathBuf::from);
        let usual = || Some(source_root.join(".venv")).filter(|folder| folder.join("bin/python").exists());
        let virtual_environment = named.or_else(usual);
        let mut environment = environment.clone().with("NO_COLOR", "1").with("UV_NO_PROGRESS", "1");
        if let Some(folder) = &virtual_environment {
            let path = environment.value("PATH").unwrap_or_default();
            let path = format!("{}/bin:{path}", folder.display());
            environment = environment.with("PATH", path).with("VIRTUAL_ENV", folder.display().to_string());
        }
        Self { environment, folder: source_root.to_owned(), virtual_environment, uv }
    }

    /// The same with `uv` for the one that there is.
    #[must_use]
    pub fn with_uv(self, uv: Option<PathBuf>) -> Self {
        Self { uv, ..self }
    }

    /// Major and minor version of the environment's Python; `None` where there is none that says.
    pub async fn version(&self) -> Option<(u32, u32)> {
        let python = match &self.virtual_environment {
            Some(folder) => folder.join("bin/python"),
            None => ["python3", "python"].iter().find_map(|name| self.environment.find_on_path(name))?,
        };
        let mut child = Child::new(python, self.environment.clone(), &self.folder);
        child.arguments = ["-c", "import sys; print(*sys.version_info[:2])"].map(str::to_owned).to_vec();
        child.timeout = PATIENCE;
        let printed = String::from_utf8(child.run().await.ok()?.stdout).ok()?;
        let (major, minor) = printed.trim().split_once(' ')?;
        Some((major.parse().ok()?, minor.parse().ok()?))
    }

    /// Whether the environment's packages can be listed by `pip`.
    pub fn has_pip(&self) -> bool {
        self.pip().is_some()
    }

    /// The `pip` of the virtual environment; without one the first on `PATH`.
    pub(super) fn pip(&self) -> Option<PathBuf> {
        let names = ["pip", "pip3"];
        match &self.virtual_environment {
            Some(folder) => names.iter().map(|name| folder.join("bin").join(name)).find(|path| path.is_file()),
            None => names.iter().find_map(|name| self.environment.find_on_path(name)),
        }
    }

    pub(super) fn poetry(&self) -> Option<PathBuf> {
        self.environment.find_on_path("poetry")
    }
}
