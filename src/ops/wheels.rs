//! Wheels that nobody offers: of folders, repositories and source distributions that a project asks for.
//!
//! Brings the files of folders; everything else about a build is the resolver's.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use crate::event::Event;
use crate::inputs::ignore::IgnoreRules;
use crate::inputs::requirements::SourcedRequirements;
use crate::inputs::source::{SourceKind, SourceTree, WalkOptions, walk};
use crate::oci::{Digest, Digester};
use crate::python::lock::{Lock, LockedWheel, lexically_absolute};
use crate::python::marker::MarkerEnvironment;
use crate::python::origin::Origin;
use crate::python::tags::CompatibleTags;
use crate::resolver::request::{RequirementText, ResolveRequest};
use crate::resolver::{MadeWheel, Place, PlaceTarget, Resolved, WantedWheel, WheelBuilder, WheelFetcher, places};
use crate::store::Store;

use super::error::OpsError;
use super::means::Means;
use super::resolution;

/// What of a project's folder no wheel is made of, and what builds leave behind there.
const NOT_SOURCES: &str = "**/.git
**/__pycache__
**/*.pyc
**/*.egg-info
**/.mypy_cache
**/.pytest_cache
**/.ruff_cache
.nox
.tox
.venv
build/bdist.*
build/lib*
dist/*.tar.gz
dist/*.whl
";

/// The digests of folders and files of this machine that `sources` name, by absolute path; what is not there has none.
///
/// # Errors
/// Fails when something that is there cannot be read.
pub(super) fn contents(sources: &[SourcedRequirements]) -> Result<BTreeMap<PathBuf, Digest>, OpsError> {
    let mut found = BTreeMap::new();
    for SourcedRequirements { set, folder, .. } in sources {
        for text in [set.to_text(), set.constraints_text()] {
            let file = RequirementText { name: String::new(), text, folder: folder.clone() };
            let places = places(std::slice::from_ref(&file));
            for path in places.iter().filter_map(|place| place.local_path(folder)) {
                if path.is_dir() {
                    found.insert(path.clone(), listed(&path)?.key_material());
                } else if path.is_file() {
                    found.insert(path.clone(), digest_of(&path)?);
                }
            }
        }
    }
    Ok(found)
}

fn listed(folder: &Path) -> Result<SourceTree, OpsError> {
    Ok(walk(folder, &IgnoreRules::parse(NOT_SOURCES.as_bytes())?, &WalkOptions::default())?)
}

fn digest_of(path: &Path) -> Result<Digest, OpsError> {
    let unreadable = |source| OpsError::ReadFile { path: path.to_owned(), source };
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    let mut digester = Digester::sha256();
    let mut buffer = vec![0; 256 << 10];
    loop {
        match std::io::Read::read(&mut file, &mut buffer).map_err(unreadable)? {
            0 => return Ok(digester.finish()),
            read => digester.update(&buffer[..read]),
        }
    }
}

/// Whether the store has every wheel of `lock` that was built here.
pub(super) fn are_here(store: &Store, lock: &Lock) -> bool {
    lock.packages.iter().all(|wheel| wheel.origin.is_none() || store.contains(&wheel.sha256).is_some())
}

/// What wheels are made with.
pub(super) struct Making<'a> {
    pub(super) means: &'a Means,
    pub(super) asked: &'a ResolveRequest,
    pub(super) tags: &'a CompatibleTags,
    pub(super) fetcher: &'a WheelFetcher,
}

impl Making<'_> {
    /// Wheels for the lines of the question that name a folder or a repository.
    ///
    /// # Errors
    /// Fails when one cannot be built, or is of no use in the image.
    pub(super) async fn of_places(&self) -> Result<Vec<MadeWheel>, OpsError> {
        let target = &self.asked.target;
        let markers = MarkerEnvironment::linux(&target.version, resolution::machine(&target.platform));
        let counts = |place: &Place| {
            let is_made = matches!(place.target, PlaceTarget::Folder(..) | PlaceTarget::Repository { .. });
            is_made && (place.marker.is_empty() || markers.holds(&place.marker, &[]) != Some(false))
        };
        let places: Vec<Place> = places(&self.asked.requirements).into_iter().filter(counts).collect();
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let builder = self.builder().await?;
        let mut made = Vec::new();
        for place in places {
            let Some(origin) = self.origin(&builder, &place).await? else { continue };
            let shown = crate::resolver::public_line(&place.line);
            if place.is_editable {
                let text = format!("`{shown}` is installed as a wheel: later edits of its sources do not show");
                self.means.reporter.report(Event::Note { text });
            }
            let wanted = WantedWheel { shown, name: place.name.clone(), version: String::new(), index: None, origin };
            let wheel = self.make(&builder, &wanted).await?;
            let path = self.means.store.path(&wheel.sha256);
            made.push(MadeWheel { place, wheel, path });
        }
        Ok(made)
    }

    /// `resolved` with a wheel for everything that has none, or whose wheel the store lost.
    ///
    /// # Errors
    /// As [`Making::of_places`].
    pub(super) async fn complete(&self, mut resolved: Resolved) -> Result<Lock, OpsError> {
        let store = &self.means.store;
        let is_lost = |wheel: &LockedWheel| wheel.origin.is_some() && store.contains(&wheel.sha256).is_none();
        let (lost, here) = std::mem::take(&mut resolved.lock.packages).into_iter().partition(is_lost);
        resolved.lock.packages = here;
        let lost: Vec<LockedWheel> = lost;
        let of_lost = lost.into_iter().filter_map(|LockedWheel { name, version, index, origin, .. }| {
            Some(WantedWheel { shown: format!("{name}=={version}"), name: Some(name), version, index, origin: origin? })
        });
        let mut wanted: Vec<(WantedWheel, Option<Digest>)> = of_lost.map(|wanted| (wanted, None)).collect();
        for source in std::mem::take(&mut resolved.unbuilt) {
            let expected = source.expected.clone();
            wanted.push((source.into(), expected));
        }
        if wanted.is_empty() {
            return Ok(resolved.lock);
        }
        let builder = self.builder().await?;
        for (mut wanted, expected) in wanted {
            self.look_at(&mut wanted).await?;
            let wheel = self.make(&builder, &wanted).await?;
            if expected.is_some_and(|expected| expected != wheel.sha256) {
                let text = format!("`{}` builds into other bytes than when the lock was made", wanted.shown);
                self.means.reporter.report(Event::Warning { text });
            }
            resolved.add(wheel);
        }
        Ok(resolved.lock)
    }

    /// The wheel of `wanted`, made now or before.
    pub(super) async fn make(&self, builder: &WheelBuilder<'_>, wanted: &WantedWheel) -> Result<LockedWheel, OpsError> {
        if let Some(wheel) = builder.remembered(wanted)? {
            return Ok(wheel);
        }
        let files = match &wanted.origin {
            Origin::Folder { path, content, .. } => {
                Some(staged(self.means, lexically_absolute(&self.asked.folder, path), content.clone()).await?)
            }
            _ => None,
        };
        Ok(builder.build(wanted, files.as_ref().map(TempDir::path)).await?)
    }

    pub(super) async fn builder(&self) -> Result<WheelBuilder<'_>, OpsError> {
        let Means { resolver, store, reporter, .. } = self.means;
        Ok(resolver.builder(self.asked, self.tags, store, self.fetcher, reporter).await?)
    }

    async fn origin(&self, builder: &WheelBuilder<'_>, place: &Place) -> Result<Option<Origin>, OpsError> {
        let PlaceTarget::Folder(path, subdirectory) = &place.target else {
            return Ok(builder.repository(&place.target).await?);
        };
        let content = match self.asked.contents.get(path) {
            Some(content) => content.clone(),
            None => content_of(path.clone()).await?,
        };
        let shown = path.strip_prefix(&self.asked.folder).unwrap_or(path);
        let shown = if shown.as_os_str().is_empty() { Path::new(".") } else { shown };
        let (path, content) = (shown.display().to_string(), Some(content));
        Ok(Some(Origin::Folder { path, content, subdirectory: subdirectory.clone() }))
    }

    /// A folder's content as it is now, which has to be the one that a lock names, if it names one.
    async fn look_at(&self, wanted: &mut WantedWheel) -> Result<(), OpsError> {
        let Origin::Folder { path, content, .. } = &mut wanted.origin else { return Ok(()) };
        let found = content_of(lexically_absolute(&self.asked.folder, &*path)).await?;
        if content.as_ref().is_some_and(|content| *content != found) {
            return Err(OpsError::FolderChanged { path: PathBuf::from(&*path) });
        }
        *content = Some(found);
        Ok(())
    }
}

async fn content_of(path: PathBuf) -> Result<Digest, OpsError> {
    let listing = tokio::task::spawn_blocking(move || listed(&path));
    Ok(listing.await.map_err(OpsError::Worker)??.key_material())
}

/// A copy of the folder's sources, which a build may write into; it is the content that its key says.
async fn staged(means: &Means, folder: PathBuf, content: Option<Digest>) -> Result<TempDir, OpsError> {
    let copy = means.store.scratch()?;
    let copying = tokio::task::spawn_blocking(move || {
        let tree = listed(&folder)?;
        if content.is_some_and(|content| content != tree.key_material()) {
            return Err(OpsError::FolderChanged { path: folder });
        }
        copy_tree(&tree, &folder, copy.path())?;
        Ok(copy)
    });
    copying.await.map_err(OpsError::Worker)?
}

/// A copy of the project's own files, those that go into the image.
pub(super) async fn staged_sources(means: &Means, tree: &Arc<SourceTree>, root: &Path) -> Result<TempDir, OpsError> {
    let (copy, tree, root) = (means.store.scratch()?, Arc::clone(tree), root.to_owned());
    let copying = tokio::task::spawn_blocking(move || {
        copy_tree(&tree, &root, copy.path())?;
        Ok(copy)
    });
    copying.await.map_err(OpsError::Worker)?
}

/// Copies a tree; a file that is not what the tree says any more is an error.
fn copy_tree(tree: &SourceTree, from: &Path, to: &Path) -> Result<(), OpsError> {
    for entry in tree.entries() {
        let path = OsStr::from_bytes(entry.path.as_bytes());
        let (source, copy) = (from.join(path), to.join(path));
        copy_entry(&entry.kind, &source, &copy)
            .map_err(|error| OpsError::ReadFile { path: source.clone(), source: error })?;
        if let SourceKind::File { digest, .. } = &entry.kind
            && digest_of(&copy)? != *digest
        {
            return Err(OpsError::FolderChanged { path: source });
        }
    }
    Ok(())
}

fn copy_entry(kind: &SourceKind, source: &Path, copy: &Path) -> std::io::Result<()> {
    if let Some(above) = copy.parent() {
        std::fs::create_dir_all(above)?;
    }
    match kind {
        SourceKind::Directory => std::fs::create_dir_all(copy),
        SourceKind::Symlink { target } => std::os::unix::fs::symlink(OsStr::from_bytes(target), copy),
        SourceKind::File { executable, .. } => {
            let mode = if *executable { 0o755 } else { 0o644 };
            std::fs::copy(source, copy)?;
            std::fs::set_permissions(copy, std::fs::Permissions::from_mode(mode))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_builds_leave_behind_changes_no_content() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        };
        write("src/lib/__init__.py");
        write("build/__init__.py");
        let before = listed(folder.path()).unwrap().key_material();
        for left in [
            "build/lib/lib/__init__.py",
            "build/bdist.linux/x",
            "src/lib.egg-info/PKG-INFO",
            "dist/a-1.whl",
            ".git/HEAD",
            "src/lib/__pycache__/a.pyc",
            ".venv/bin/python",
        ] {
            write(left);
        }
        let copy = tempfile::tempdir().unwrap();
        copy_tree(&listed(folder.path()).unwrap(), folder.path(), copy.path()).unwrap();
        assert!(!copy.path().join("build/lib").exists() && copy.path().join("build/__init__.py").exists());
        assert_ne!(before, listed(folder.path()).unwrap().key_material(), "the folder `dist` is new");
        std::fs::remove_dir_all(folder.path().join("dist")).unwrap();
        assert_eq!(before, listed(folder.path()).unwrap().key_material());
    }
}
