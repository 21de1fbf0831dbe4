//! Makes one layer: fetches its wheels, writes it into the store, remembers its key.
//!
//! Waiting is async, writing is on a blocking thread, as many at a time as there are cores.

use std::fs::File;
use std::io::ErrorKind;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::event::{Event, Task, Work};
use crate::image::users::Owner;
use crate::inputs::context::write_files;
use crate::inputs::source::{self, SourceTree};
use crate::layer::{Entry, EntryKind, EntryPath, FinishedLayer, LayerBuffers, LayerWriter, PLACED_MTIME};
use crate::oci::{Descriptor, DiffId};
use crate::plan::files::CopiedFiles;
use crate::plan::{
    DirectoryEntry, LayerKey, LayerKind, Making, PART_BYTES, Place, Placement, PlannedLayer, annotate, part_title,
    wheels_key,
};
use crate::python::Wheel;
use crate::python::install::{InstallOptions, Installation};
use crate::python::lock::LockedWheel;
use crate::python::write::{self, DirectoryMeta};
use crate::resolver::WheelFetcher;
use crate::store::BlobWriter;

use super::copied::CopiedLayers;
use super::cores::Cores;
use super::error::OpsError;
use super::layer_blob::LayerBlob;
use super::means::Means;
use super::overlap::Taken;
use super::request::BuildRequest;
use super::{earlier, plan};

/// A layer whose blob exists: made now, or found.
#[derive(Clone, Debug)]
pub(super) struct MadeLayer {
    /// Its key, when it is ours.
    pub key: Option<LayerKey>,
    /// The blob.
    pub descriptor: Descriptor,
    /// The digest of its tar, when the layer is ours.
    pub diff_id: Option<DiffId>,
    /// What it holds.
    pub title: String,
}

/// The making of one planned layer.
pub(super) struct Job {
    means: Means,
    request: BuildRequest,
    kind: LayerKind,
    key: Option<LayerKey>,
    title: String,
    making: Option<Making>,
    sources: Option<Arc<SourceTree>>,
    shared: Arc<Shared>,
    /// About how much there is to write.
    bytes: u64,
    at: usize,
}

/// What the jobs of one image share.
pub(super) struct Shared {
    /// Fetches wheels.
    fetcher: WheelFetcher,
    /// Bounds how many layers are written at once.
    cores: Arc<Cores>,
    /// The paths that wheels took.
    taken: Taken,
    /// Buffers of layers that are written: never more than layers that are written at once.
    buffers: Mutex<Vec<LayerBuffers>>,
}

impl Shared {
    /// Nothing is taken yet.
    pub(super) fn new(fetcher: WheelFetcher, cores: Arc<Cores>) -> Self {
        Self { fetcher, cores, taken: Taken::default(), buffers: Mutex::default() }
    }

    fn buffers(&self) -> MutexGuard<'_, Vec<LayerBuffers>> {
        self.buffers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Job {
    /// The making of `layer`, which is number `at` of its image.
    pub(super) fn new(
        means: &Means,
        request: &BuildRequest,
        layer: &PlannedLayer,
        sources: Option<Arc<SourceTree>>,
        shared: &Arc<Shared>,
        at: usize,
    ) -> Self {
        Self {
            means: means.clone(),
            request: request.clone(),
            kind: layer.kind,
            key: layer.key.clone(),
            title: layer.title.clone(),
            making: layer.making.clone(),
            sources,
            shared: Arc::clone(shared),
            bytes: layer.bytes.unwrap_or_default(),
            at,
        }
    }

    /// Makes the layer; a wheel that is split gives several.
    ///
    /// # Errors
    /// Fails when a wheel cannot be had or is refused, a source changed, or the store cannot be written.
    pub(super) async fn run(self) -> Result<Vec<MadeLayer>, OpsError> {
        if let Some(Making::Wheels { wheels, .. }) = &self.making {
            let is_remote = |wheel: &&LockedWheel| !wheel.url.starts_with("file:");
            let absent = wheels.iter().filter(|wheel| self.means.store.contains(&wheel.sha256).is_none());
            let coming: u64 = absent.filter(is_remote).filter_map(|wheel| wheel.size).sum();
            self.shared.fetcher.fetch_all(wheels).await?;
            self.means.traffic.downloaded(coming);
        }
        let source = match &self.making {
            Some(Making::Copied(copied)) => Some(self.copy_source(copied).await?),
            _ => None,
        };
        let _core = self.shared.cores.take(self.bytes).await;
        tokio::task::spawn_blocking(move || self.make(source)).await.map_err(OpsError::Worker)?
    }

    /// As [`Job::run`], for jobs that others wait for.
    fn run_first(self) -> Pin<Box<dyn Future<Output = Result<Vec<MadeLayer>, OpsError>> + Send>> {
        Box::pin(self.run())
    }

    /// The layers that are copied from: those that nobody has yet are made.
    async fn copy_source(&self, copied: &CopiedFiles) -> Result<CopiedLayers, OpsError> {
        let target = earlier::target_repository(&self.request);
        let mut blobs = Vec::new();
        for (at, layer) in copied.source.layers.iter().enumerate() {
            if let Some((descriptor, _)) = &layer.blob {
                let repository = match &layer.place {
                    Some(Place::Repository(repository)) => Some(repository.clone()),
                    Some(Place::Target) => target.clone(),
                    Some(Place::Store) | None => None,
                };
                blobs.push(LayerBlob { descriptor: descriptor.clone(), repository });
                continue;
            }
            // Which paths wheels take in another stage is no matter of this one.
            let shared = Arc::new(Shared::new(self.shared.fetcher.clone(), Arc::clone(&self.shared.cores)));
            let job = Self::new(&self.means, &self.request, layer, self.sources.clone(), &shared, at);
            let made = match layer.key.clone() {
                Some(key) => self.means.memory.layers.get(key, || job.run_first()).await?,
                None => job.run_first().await?,
            };
            blobs.extend(made.into_iter().map(|made| LayerBlob { descriptor: made.descriptor, repository: None }));
        }
        CopiedLayers::open(&self.means, &copied.source.name, blobs).await
    }

    fn make(&self, source: Option<CopiedLayers>) -> Result<Vec<MadeLayer>, OpsError> {
        let task = Task::start(&self.means.reporter, Work::Layer, &self.title, None);
        let made = match &self.making {
            Some(Making::Removals { paths, directories }) => {
                vec![self.layer(self.title.clone(), self.key.clone(), |writer| removals(paths, directories, writer))?]
            }
            Some(Making::Sources { owner }) => {
                vec![self.layer(self.title.clone(), self.key.clone(), |writer| self.sources(*owner, writer))?]
            }
            Some(Making::Files { files, context }) => {
                let fill = |writer: &mut LayerWriter<BlobWriter>| Ok(write_files(files, context, writer)?);
                vec![self.layer(self.title.clone(), self.key.clone(), fill)?]
            }
            Some(Making::Copied(copied)) => {
                let source = source.unwrap_or_default();
                let fill = |writer: &mut LayerWriter<BlobWriter>| source.write(&self.means, copied, writer);
                vec![self.layer(self.title.clone(), self.key.clone(), fill)?]
            }
            Some(Making::Wheels { wheels, split, placement }) => self.wheels(wheels, *split, placement)?,
            None => Vec::new(),
        };
        drop(task);
        Ok(made)
    }

    /// Writes one layer into the store and remembers it.
    fn layer(
        &self,
        title: String,
        key: Option<LayerKey>,
        fill: impl FnOnce(&mut LayerWriter<BlobWriter>) -> Result<(), OpsError>,
    ) -> Result<MadeLayer, OpsError> {
        let buffers = self.shared.buffers().pop().unwrap_or_default();
        let mut writer = LayerWriter::with_buffers(self.means.store.writer()?, buffers);
        fill(&mut writer)?;
        let (FinishedLayer { descriptor, diff_id, .. }, blob, buffers) = writer.finish_keeping_buffers()?;
        self.shared.buffers().push(buffers);
        blob.commit(&descriptor.digest)?;
        if let Some(key) = &key {
            let annotated = annotate(descriptor.clone(), key, &diff_id.to_string(), self.kind, &title);
            earlier::remember_layer(&self.means, key, &annotated, &diff_id)?;
        }
        Ok(MadeLayer { key, descriptor, diff_id: Some(diff_id), title })
    }

    fn sources(&self, owner: Owner, writer: &mut LayerWriter<BlobWriter>) -> Result<(), OpsError> {
        let Some(tree) = &self.sources else { return Ok(()) };
        let placement = source::Placement {
            destination: plan::source_prefix()?,
            uid: owner.uid,
            gid: owner.gid,
            parent: &|_| None,
        };
        Ok(source::write_layer(tree, &self.request.source_root, &placement, writer)?)
    }

    fn wheels(&self, wheels: &[LockedWheel], split: bool, placement: &Placement) -> Result<Vec<MadeLayer>, OpsError> {
        let mut opened = Vec::new();
        for locked in wheels {
            opened.push(self.open(locked)?);
        }
        let mut installed = Vec::new();
        for (wheel, locked) in opened.iter().zip(wheels) {
            let options = InstallOptions {
                python_version: placement.python,
                requested: placement.is_requested(locked),
                direct_url: locked.direct_url.clone(),
                installer: placement.installer.clone(),
                manner: placement.manner,
            };
            let installation = wheel.plan_install(&placement.scheme, &options)?;
            for text in self.shared.taken.add(self.at, wheel, &installation) {
                self.means.reporter.report(Event::Warning { text });
            }
            installed.push(installation);
        }
        if !split {
            let group: Vec<(&Wheel, &Installation)> = opened.iter().zip(&installed).collect();
            let fill = |writer: &mut LayerWriter<BlobWriter>| self.place(&group, placement, writer);
            return Ok(vec![self.layer(self.title.clone(), self.key.clone(), fill)?]);
        }
        let named: Vec<&LockedWheel> = wheels.iter().collect();
        let mut made = Vec::new();
        for (wheel, installation) in opened.iter().zip(installed) {
            let parts = installation.parts(PART_BYTES);
            for (at, part) in parts.iter().enumerate() {
                let key = wheels_key(&named, Some(at), placement);
                let title = part_title(&named, at, parts.len());
                made.push(self.layer(title, Some(key), |writer| self.place(&[(wheel, part)], placement, writer))?);
            }
        }
        Ok(made)
    }

    fn open(&self, locked: &LockedWheel) -> Result<Wheel, OpsError> {
        let path = self.means.store.path(&locked.sha256);
        let file = File::open(&path).map_err(|source| match source.kind() {
            ErrorKind::NotFound => OpsError::LostBlob { digest: locked.sha256.to_string() },
            _ => OpsError::FetchBlob { digest: locked.sha256.to_string(), source },
        })?;
        Ok(Wheel::open(file, &locked.filename)?)
    }

    fn place(
        &self,
        group: &[(&Wheel, &Installation)],
        placement: &Placement,
        writer: &mut LayerWriter<BlobWriter>,
    ) -> Result<(), OpsError> {
        let parent = |path: &EntryPath| {
            let directory = placement.directories.iter().find(|directory| directory.path == *path)?;
            let DirectoryEntry { mode, owner, .. } = directory;
            Some(DirectoryMeta { mode: *mode, uid: owner.uid, gid: owner.gid, mtime: PLACED_MTIME })
        };
        let owner = placement.owner;
        let placement = write::Placement { uid: owner.uid, gid: owner.gid, parent: &parent };
        for conflict in write::write(group, &placement, writer)? {
            self.means.reporter.report(Event::Warning { text: conflict.to_string() });
        }
        Ok(())
    }
}

/// Writes whiteouts for `paths` (image-spec, layer.md, "Whiteouts").
fn removals(
    paths: &[EntryPath],
    directories: &[DirectoryEntry],
    writer: &mut LayerWriter<BlobWriter>,
) -> Result<(), OpsError> {
    for directory in directories {
        writer.append(&Entry {
            path: directory.path.clone(),
            kind: EntryKind::Directory,
            mode: directory.mode,
            uid: directory.owner.uid,
            gid: directory.owner.gid,
            mtime: PLACED_MTIME,
        })?;
    }
    for path in paths {
        writer.append(&Entry {
            path: path.whiteout(),
            kind: EntryKind::File { size: 0 },
            mode: 0o644,
            uid: 0,
            gid: 0,
            mtime: PLACED_MTIME,
        })?;
    }
    Ok(())
}
