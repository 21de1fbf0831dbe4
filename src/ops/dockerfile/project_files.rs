//! The files of a project in a stage, as far as they came out of the context: what a build of it on this machine reads.
//!
//! Files of a parent and of commands are not read; a project that has some is not built here.

use std::path::Path;

use crate::dockerfile::absolute;
use crate::dockerfile::run::Mounted;
use crate::image::filesystem::{Content, NodeKind};
use crate::plan::files::{FileContent, NotNative};
use crate::python::setup_script;
use crate::resolver::ProjectFile;

use super::requirements::{Asked, content};

/// The most that is copied, in bytes.
const CAP: u64 = 128 << 20;
/// Never a source, however it came there.
const NOT_SOURCES: [&str; 2] = [".git", "__pycache__"];

/// The files below the working folder, without those of the environment at `environment`.
///
/// # Errors
/// Fails where what is there is not known, or is no plain file of the context.
pub(super) fn project_files(asked: &Asked<'_>, root: &Path, environment: &str) -> Result<Vec<ProjectFile>, NotNative> {
    let reached =
        asked.files.view().reach(asked.folder, true).map_err(|error| NotNative::because(error.to_string()))?;
    if format!("/{}", String::from_utf8_lossy(&reached.path)) != asked.folder {
        return Err(NotNative::because(format!("a link leads to `{}`", asked.folder)));
    }
    let mut gathering = Gathering { asked, root, environment, files: Vec::new(), bytes: 0 };
    gathering.folder(&reached.path, "")?;
    gathering.mounted()?;
    Ok(gathering.files)
}

/// The text of the file at the absolute path `at`, as a command of the stage reads it; `None` where there is none.
///
/// # Errors
/// Fails where its content is not known, as of what another stage's mount shows.
pub(super) fn text_of(asked: &Asked<'_>, root: &Path, at: &str) -> Result<Option<String>, NotNative> {
    for mount in asked.mounts.iter().filter(|mount| !matches!(mount, Mounted::Files { from: None, .. })) {
        let target = mount.target().map(|target| absolute(asked.folder, target)).unwrap_or_default();
        if !target.is_empty() && (at == target || at.starts_with(&format!("{target}/"))) {
            return Err(NotNative::because(format!("`{at}` is of a mount that is not the context's")));
        }
    }
    let bytes = match content(asked, at) {
        Some(FileContent::Context { path, .. }) => match std::fs::read(root.join(path.to_string())) {
            Ok(bytes) => bytes,
            // Of a folder that is mounted, what is not there is not there.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(NotNative::because(format!("`{path}` of the context cannot be read: {error}"))),
        },
        Some(FileContent::Text(bytes)) => bytes.to_vec(),
        Some(FileContent::Member { .. } | FileContent::Layer(_)) | None => match asked.files.view().content(at) {
            Content::Known(bytes) => bytes.to_vec(),
            Content::Absent => return Ok(None),
            Content::Unknown => return Err(NotNative::because(format!("the content of `{at}` is not known"))),
        },
    };
    String::from_utf8(bytes).map(Some).map_err(|_| NotNative::because(format!("`{at}` is no text")))
}

/// Whether a `setup.py` does more than to say what its project is: it could read what only the image has.
pub(super) fn may_do_anything(script: &ProjectFile) -> bool {
    !std::str::from_utf8(&script.bytes).is_ok_and(setup_script::is_declaration)
}

struct Gathering<'a> {
    asked: &'a Asked<'a>,
    root: &'a Path,
    environment: &'a str,
    files: Vec<ProjectFile>,
    bytes: u64,
}

impl Gathering<'_> {
    fn folder(&mut self, real: &[u8], below: &str) -> Result<(), NotNative> {
        let files = self.asked.files;
        let listing = files.view().list(real);
        if !listing.is_complete {
            return Err(NotNative::unknown(real));
        }
        for (path, node) in listing.entries {
            let name = String::from_utf8_lossy(path.file_name()).into_owned();
            let at = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            if NOT_SOURCES.contains(&name.as_str()) || absolute(self.asked.folder, &at) == self.environment {
                continue;
            }
            match &node.kind {
                NodeKind::Directory => self.folder(path.as_bytes(), &at)?,
                NodeKind::File { size } => {
                    self.bytes += size;
                    let bytes = match files.content(path) {
                        Some(FileContent::Text(bytes)) => bytes.to_vec(),
                        Some(FileContent::Context { path, .. }) => self.read(&path.to_string())?,
                        _ => return Err(NotNative::because(format!("`/{path}` of its project is not of the context"))),
                    };
                    self.put(ProjectFile { path: at, mode: node.mode & 0o777, bytes })?;
                }
                _ => return Err(NotNative::because(format!("`/{path}` of its project is no plain file"))),
            }
        }
        Ok(())
    }

    /// Files that are mounted in the place of others.
    fn mounted(&mut self) -> Result<(), NotNative> {
        let inside = format!("{}/", self.asked.folder.trim_end_matches('/'));
        for mount in self.asked.mounts {
            let Some(target) = mount.target().map(|target| absolute(self.asked.folder, target)) else { continue };
            let covers = self.asked.folder == target || inside.starts_with(&format!("{target}/"));
            let below = target.strip_prefix(&inside);
            match (mount, below) {
                (_, None) if !covers => {}
                (Mounted::Files { source: Some(source), from: None, .. }, Some(below)) => {
                    let path = absolute("/", source);
                    let path = path.trim_start_matches('/');
                    if !self.root.join(path).is_file() {
                        return Err(NotNative::because("a folder is mounted into its project"));
                    }
                    let bytes = self.read(path)?;
                    self.files.retain(|file| file.path != below);
                    self.put(ProjectFile { path: below.to_owned(), mode: 0o644, bytes })?;
                }
                _ => return Err(NotNative::because("something is mounted over its project")),
            }
        }
        Ok(())
    }

    fn read(&self, path: &str) -> Result<Vec<u8>, NotNative> {
        let failed = |error| NotNative::because(format!("`{path}` of the context cannot be read: {error}"));
        std::fs::read(self.root.join(path)).map_err(failed)
    }

    fn put(&mut self, file: ProjectFile) -> Result<(), NotNative> {
        if self.bytes > CAP {
            return Err(NotNative::because("its project is larger than what is copied for a build"));
        }
        self.files.push(file);
        Ok(())
    }
}
