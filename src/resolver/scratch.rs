//! The temporary folder that uv works in: requirement files, settings, the parent's skeleton.
//!
//! Only its owner can read it, since the settings may hold credentials; it goes when the resolution ends.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::arguments::UvArguments;
use super::child::ChildEnvironment;
use super::error::ResolveError;
use super::pip_arguments::PipArguments;
use super::request::{ParentDistribution, RequirementText, ResolveRequest};
use super::requirement;

/// The folder of one resolution.
pub(super) struct Scratch {
    folder: TempDir,
    /// Paths in the folder, each with the name that a person knows the file by.
    requirements: Vec<(String, String)>,
    constraints: Vec<(String, String)>,
}

impl Scratch {
    /// Writes all that uv reads about `request`.
    pub(super) fn write(request: &ResolveRequest, arguments: &UvArguments) -> Result<Self, ResolveError> {
        let failed = |source| ResolveError::Scratch { path: request.scratch.clone(), source };
        let private = std::fs::Permissions::from_mode(0o700);
        let folder = tempfile::Builder::new().prefix("resolve-").permissions(private).tempdir_in(&request.scratch);
        let folder = folder.map_err(failed)?;
        let mut scratch = Self { folder, requirements: Vec::new(), constraints: Vec::new() };
        // Written even when empty: uv would look for one in the folders above, which may be anybody's.
        scratch.put("uv.toml", arguments.settings.as_bytes())?;
        let requirements = scratch.with_made(request)?;
        scratch.requirements = scratch.put_all("requirements", &requirements.requirements)?;
        scratch.constraints = scratch.put_all("constraints", &request.constraints)?;
        scratch.make_folder(&scratch.skeleton())?;
        for distribution in &request.installed {
            scratch.put_distribution(distribution)?;
        }
        Ok(scratch)
    }

    /// The folder for pip: the lines that its arguments became stand before the requirements.
    pub(super) fn for_pip(request: &ResolveRequest, arguments: &PipArguments) -> Result<Self, ResolveError> {
        let mut request = request.clone();
        let lines: String = arguments.lines.iter().map(|line| format!("{line}\n")).collect();
        match request.requirements.first_mut() {
            Some(first) => first.text.insert_str(0, &lines),
            None => {
                let folder = request.folder.clone();
                request.requirements.push(RequirementText { name: "arguments".into(), text: lines, folder });
            }
        }
        Self::write(&request, &UvArguments::default())
    }

    /// The folder for a build, which reads no requirements.
    pub(super) fn empty(request: &ResolveRequest, arguments: &UvArguments) -> Result<Self, ResolveError> {
        let (requirements, constraints, installed) = Default::default();
        Self::write(&ResolveRequest { requirements, constraints, installed, ..request.clone() }, arguments)
    }

    /// `request` with wheels in the place of lines for which some were made; their files have their names below this folder.
    pub(super) fn with_made<'a>(&self, request: &'a ResolveRequest) -> Result<Cow<'a, ResolveRequest>, ResolveError> {
        if request.made.is_empty() {
            return Ok(Cow::Borrowed(request));
        }
        let mut lines = BTreeMap::new();
        for (at, made) in request.made.iter().enumerate() {
            let folder = self.folder().join(format!("made-{at}"));
            let path = folder.join(&made.wheel.filename);
            if !path.exists() {
                self.make_folder(&folder)?;
                let linked = std::os::unix::fs::symlink(&made.path, &path);
                linked.map_err(|source| ResolveError::Scratch { path: path.clone(), source })?;
            }
            if let Some(line) = made.line(&path) {
                lines.insert(made.place.line.as_str(), line);
            }
        }
        let mut changed = request.clone();
        for file in &mut changed.requirements {
            let own = requirement::logical_lines(&file.text);
            let new = own.iter().map(|line| lines.get(line.as_str()).unwrap_or(line).clone() + "\n");
            file.text = new.collect();
        }
        Ok(Cow::Owned(changed))
    }

    /// The folder itself, uv's working folder.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A folder that holds the parent's `*.dist-info` folders alone.
    pub(super) fn skeleton(&self) -> PathBuf {
        self.folder().join("skeleton")
    }

    /// The requirement files.
    pub(super) fn requirements(&self) -> Vec<String> {
        self.requirements.iter().map(|(path, _)| path.clone()).collect()
    }

    /// The constraint files.
    pub(super) fn constraints(&self) -> Vec<String> {
        self.constraints.iter().map(|(path, _)| path.clone()).collect()
    }

    /// Writes a requirements file of pins and gives its path.
    pub(super) fn write_pins(&self, text: &str) -> Result<String, ResolveError> {
        self.put("pins.txt", text.as_bytes())
    }

    /// `text` with the files' own names in place of those here.
    pub(super) fn with_names(&self, text: &str) -> String {
        let mut clean = text.to_owned();
        for (path, name) in self.requirements.iter().chain(&self.constraints) {
            let short = path.rsplit('/').next().unwrap_or(path);
            clean = clean.replace(path.as_str(), name).replace(short, name);
        }
        clean
    }

    /// The environment of uv: the given one without what would move or colour uv's answer.
    pub(super) fn environment(&self, given: &ChildEnvironment, arguments: &UvArguments) -> ChildEnvironment {
        const DROPPED: [&str; 12] = [
            "CLICOLOR_FORCE",
            "CONDA_PREFIX",
            "FORCE_COLOR",
            "RUST_LOG",
            "UV_CUSTOM_COMPILE_COMMAND",
            "UV_PROJECT",
            "UV_PYTHON",
            "UV_SYSTEM_PYTHON",
            "UV_WORKING_DIR",
            "UV_WORKING_DIRECTORY",
            "VIRTUAL_ENV",
            "UV_NO_WRAP",
        ];
        let mut environment = given.clone();
        for name in DROPPED {
            environment = environment.without(name);
        }
        if arguments.replaces_index {
            environment = environment.without("UV_DEFAULT_INDEX").without("UV_INDEX_URL");
        }
        let chooses_settings = given.value("UV_NO_CONFIG").is_some() || given.value("UV_CONFIG_FILE").is_some();
        if chooses_settings && !arguments.settings.is_empty() {
            let settings = self.folder().join("uv.toml").display().to_string();
            environment = environment.without("UV_NO_CONFIG").with("UV_CONFIG_FILE", settings);
        }
        if let Some(timeout) = &arguments.timeout {
            environment = environment.with("UV_HTTP_TIMEOUT", timeout.clone());
        }
        environment.with("NO_COLOR", "1").with("UV_NO_PROGRESS", "1").with("UV_PYTHON_DOWNLOADS", "never")
    }

    fn put_all(&self, kind: &str, files: &[RequirementText]) -> Result<Vec<(String, String)>, ResolveError> {
        let put = |(at, file): (usize, &RequirementText)| {
            let path = self.put(&format!("{kind}-{at}.txt"), requirement::rebased(file).as_bytes())?;
            Ok((path, file.name.clone()))
        };
        files.iter().enumerate().map(put).collect()
    }

    fn put_distribution(&self, distribution: &ParentDistribution) -> Result<(), ResolveError> {
        // Not the image's own spelling: uv refuses folders whose name it cannot take apart.
        let folder = format!("skeleton/{}-{}.dist-info", distribution.name.replace('-', "_"), distribution.version);
        if distribution.name.contains('/') || distribution.version.contains(['/', '-']) {
            return Ok(());
        }
        self.make_folder(&self.folder().join(&folder))?;
        self.put(&format!("{folder}/METADATA"), &distribution.metadata)?;
        self.put(&format!("{folder}/RECORD"), b"")?;
        if let Some(installer) = &distribution.installer {
            self.put(&format!("{folder}/INSTALLER"), installer.as_bytes())?;
        }
        Ok(())
    }

    fn make_folder(&self, path: &Path) -> Result<(), ResolveError> {
        std::fs::create_dir_all(path).map_err(|source| ResolveError::Scratch { path: path.to_owned(), source })
    }

    fn put(&self, name: &str, bytes: &[u8]) -> Result<String, ResolveError> {
        let path = self.folder().join(name);
        let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let written = file.and_then(|mut file| file.write_all(bytes));
        written.map_err(|source| ResolveError::Scratch { path: path.clone(), source })?;
        Ok(path.display().to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolver::request::tests::request;

    #[test]
    fn folder_is_private_and_holds_what_uv_reads() {
        let mut request = request("./w/a-1-py3-none-any.whl\n");
        request.arguments.insert("index-url".into(), Some("https://u:s3cret@h.example/s".into()));
        request.installed.push(ParentDistribution {
            name: "numpy".into(),
            version: "2.1.0".into(),
            metadata: b"Name: numpy\n".to_vec(),
            installer: Some("pip\n".into()),
        });
        request.environment = ChildEnvironment::default().with("UV_INDEX_URL", "x").with("VIRTUAL_ENV", "/v");
        let arguments = UvArguments::of(&request).unwrap();
        let scratch = Scratch::write(&request, &arguments).unwrap();
        let mode = |path: &str| scratch.folder().join(path).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(""), mode("uv.toml"), mode("requirements-0.txt")), (0o700, 0o600, 0o600));
        let read = |path: &str| std::fs::read_to_string(scratch.folder().join(path)).unwrap();
        assert_eq!(read("requirements-0.txt"), "/project/w/a-1-py3-none-any.whl\n");
        assert_eq!(read("skeleton/numpy-2.1.0.dist-info/METADATA"), "Name: numpy\n");
        let environment = scratch.environment(&request.environment, &arguments);
        assert_eq!((environment.value("UV_INDEX_URL"), environment.value("VIRTUAL_ENV")), (None, None));
        let text = format!("at `{}`", scratch.requirements()[0]);
        assert_eq!(scratch.with_names(&text), "at `r.txt`");
    }
}
