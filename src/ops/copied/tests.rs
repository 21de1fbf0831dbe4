//! Layers of placed and of copied files, made as a build makes them.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::artifacts::Artifacts;
use crate::backend::Backends;
use crate::event::{Reporter, Silent};
use crate::image::filesystem::visit_files;
use crate::layer::read::ReadLimits;
use crate::layer::{Entry, EntryKind, EntryPath, LayerWriter};
use crate::oci::{Compression, Descriptor, Platform, Repository};
use crate::ops::make::{Job, MadeLayer, Shared};
use crate::ops::once::Memory;
use crate::ops::request::{BuildRequest, Output};
use crate::ops::traffic::Traffic;
use crate::plan::files::{Draft, FileContent, PlacedEntry, PlacedKind, files_layer};
use crate::plan::{Action, LayerKind, Place};
use crate::registry::{self, BlobBody, Client, ClientConfig, Clouds, Facts, Registry as _};
use crate::resolver::child::ChildEnvironment;
use crate::resolver::index::IndexCredentials;
use crate::resolver::{HttpClient, Resolver};
use crate::settings::Settings;
use crate::store::Store;

fn means(store: &Path, registry: registry::Memory) -> Means {
    let reporter: Arc<dyn Reporter> = Arc::new(Silent);
    let client = Arc::new(Client::new(ClientConfig::default()));
    let environment = ChildEnvironment::new(BTreeMap::new());
    let http = HttpClient::new("test", Duration::from_secs(5), true);
    let keychain = ClientConfig::default().keychain;
    let clouds = Clouds::new(Facts {
        variables: BTreeMap::new(),
        home: None,
        clock: Arc::new(|| 0),
        insecure: Vec::new(),
        extra_roots: Vec::new(),
        user_agent: "test".to_owned(),
        offline: true,
    });
    Means {
        registry: Arc::new(registry),
        artifacts: Arc::new(Artifacts::new(clouds)),
        store: Store::open(store).unwrap(),
        resolver: Arc::new(Resolver::new(environment.clone(), http, None)),
        backends: Arc::new(Backends::new(environment, keychain, client, Vec::new())),
        netrc: None,
        reporter,
        memory: Arc::new(Memory::new(2)),
        traffic: Arc::new(Traffic::default()),
        host_platform: Platform::new("linux", "amd64"),
        threads: 2,
        keeps_records: false,
    }
}

fn request() -> BuildRequest {
    BuildRequest {
        dockerfile: None,
        pipeline: None,
        keys: Vec::new(),
        document: String::new(),
        settings: Settings::default(),
        folder: "/".into(),
        source_root: "/".into(),
        not_sources: Vec::new(),
        targets: Vec::new(),
        output: Output::Registry,
        platforms: Vec::new(),
        cache_from: Vec::new(),
        python: Default::default(),
        no_reuse: false,
        backend: None,
        refresh_backend: false,
        no_cache: false,
        upgrade: false,
        locked: false,
        strict: false,
        created: None,
        secrets: BTreeMap::new(),
        variables: BTreeMap::new(),
    }
}

async fn make(means: &Means, layer: &PlannedLayer) -> Result<Vec<MadeLayer>, OpsError> {
    let fetcher = means.resolver.fetcher(&means.store, IndexCredentials::default(), &means.reporter);
    let shared = Arc::new(Shared::new(fetcher, Arc::clone(&means.memory.cores)));
    Job::new(means, &request(), layer, None, &shared, 0).run().await
}

fn path(text: &str) -> EntryPath {
    EntryPath::parse(text).unwrap()
}

/// A layer of these files (`x=content`), links (`x>target`), other names (`x&first`) and directories (`x`).
fn layer(entries: &[&str]) -> (Descriptor, Vec<u8>) {
    let mut writer = LayerWriter::new(Vec::new());
    for text in entries {
        let at = text.find(['=', '>', '&']).unwrap_or(text.len());
        let (name, content) = (path(&text[..at]), text[at..].get(1..).unwrap_or_default());
        let kind = match text.as_bytes().get(at) {
            Some(b'=') => EntryKind::File { size: content.len() as u64 },
            Some(b'>') => EntryKind::Symlink { target: content.into() },
            Some(b'&') => EntryKind::Hardlink { target: path(content) },
            _ => EntryKind::Directory,
        };
        let entry = Entry { path: name, kind, mode: 0o750, uid: 7, gid: 8, mtime: 5 };
        match entry.kind {
            EntryKind::File { .. } => writer.append_bytes(&entry, content.as_bytes()).unwrap(),
            _ => writer.append(&entry).unwrap(),
        }
    }
    let (finished, bytes) = writer.finish().unwrap();
    (finished.descriptor, bytes)
}

fn in_registry(descriptor: &Descriptor, at: &Repository) -> PlannedLayer {
    PlannedLayer {
        kind: LayerKind::Parent,
        title: String::new(),
        key: None,
        blob: Some((descriptor.clone(), None)),
        place: Some(Place::Repository(at.clone())),
        action: Action::Hit,
        bytes: None,
        fetch: 0,
        making: None,
    }
}

fn arguments(sources: &[&str], destination: &str) -> CopyArguments {
    let copy = crate::dockerfile::Copy {
        sources: sources.iter().map(ToString::to_string).collect(),
        destination: destination.into(),
        ..Default::default()
    };
    CopyArguments::new(&copy, crate::plan::files::CopyVerb::Copy, "/", &StageFiles::default()).unwrap()
}

/// The entries of a layer in the store, as `path mode kind`, and files with their content.
fn lines(means: &Means, made: &MadeLayer) -> Vec<String> {
    let bytes = std::fs::read(means.store.path(&made.descriptor.digest)).unwrap();
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(&bytes[..]));
    let line = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry = entry.unwrap();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        let target = entry.link_name().unwrap().map(|to| format!("-> {}", to.display())).unwrap_or_default();
        let header = entry.header();
        let (mode, uid) = (header.mode().unwrap(), header.uid().unwrap());
        format!("{} {mode:o} {uid} {content}{target}", entry.path().unwrap().display()).trim_end().to_owned()
    };
    let lines = archive.entries().unwrap().map(line).collect();
    visit_files(&bytes[..], Compression::Gzip, &ReadLimits::default(), &mut |_, _| Ok(())).unwrap();
    lines
}

/// An image of three layers, of which the first and the last hold `/data`.
async fn image() -> (registry::Memory, CopySource, u64) {
    let (registry, at) = (registry::Memory::new(), Repository::parse("registry.example/tools").unwrap());
    let mut layers = Vec::new();
    let huge = format!("huge={}", (0..40_000).map(|n| n.to_string()).collect::<String>());
    let blobs = [
        layer(&["data", "data/a=one", "data/b&data/a", "data/gone=x", "l>data"]),
        layer(&["other", "other/f=1", &huge]),
        layer(&["data", "data/c=three", "data/sub", "data/sub/d=four", "data/.wh.gone="]),
    ];
    let middle = blobs[1].0.size;
    for (descriptor, bytes) in blobs {
        registry.push_blob(&at, &descriptor, BlobBody::Bytes(bytes.into()), &|_| ()).await.unwrap();
        layers.push(in_registry(&descriptor, &at));
    }
    (registry, CopySource { name: "tools".into(), layers }, middle)
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_streamed_out_of_the_layers_that_hold_them() {
    let store = tempfile::tempdir().unwrap();
    let (registry, source, middle) = image().await;
    let means = means(store.path(), registry);
    let arguments = arguments(&["/l"], "/opt/data");
    let stage = StageFiles::default();
    let plan = || plan_copy(&source, &View::unknown(), &arguments, &stage, "copy".into()).unwrap();
    let (planned, after) = plan();
    assert_eq!(after.view().find(b"opt/data/a"), crate::image::filesystem::Found::Unknown);
    let made = make(&means, &planned).await.unwrap();
    let expected = [
        "opt/ 755 0",
        "opt/data/ 755 0",
        "opt/data/sub/ 750 7",
        "opt/data/a 750 7 one",
        "opt/data/c 750 7 three",
        "opt/data/sub/d 750 7 four",
        "opt/data/b 750 7 -> opt/data/a",
    ];
    assert_eq!(lines(&means, &made[0]), expected);
    assert_eq!(made[0].key, plan().0.key);
    // The indexes are known now: what holds nothing is not fetched once more.
    let before = means.traffic.moved();
    let again = make(&means, &planned).await.unwrap();
    assert_eq!(again[0].descriptor.digest, made[0].descriptor.digest);
    let fetched = means.traffic.moved().since(before).downloaded;
    assert!(fetched > 0 && fetched < middle, "{fetched} of {middle}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_copied_from_a_stage_of_our_own_is_made_first() {
    let folder = tempfile::tempdir().unwrap();
    let means = means(&folder.path().join("store"), registry::Memory::new());
    std::fs::write(folder.path().join("f"), "from the context").unwrap();
    let mut draft = Draft::on(&StageFiles::default());
    let digest = crate::oci::Digest::of(b"from the context");
    let contents = [
        ("app/f", FileContent::Context { path: path("f"), digest }, 16),
        ("app/t", FileContent::Text((*b"text").into()), 4),
    ];
    for (name, content, size) in contents {
        let (kind, owner) = (PlacedKind::File { size, content }, Default::default());
        draft.put(PlacedEntry { path: path(name), kind, mode: 0o640, owner }, None);
    }
    let placed = draft.finish();
    let first = files_layer(placed.files, folder.path(), "files".into());
    let source = CopySource { name: "builder".into(), layers: vec![first.clone()] };
    let arguments = arguments(&["/app/*"], "/x/");
    let (planned, after) =
        plan_copy(&source, placed.after.view(), &arguments, &StageFiles::default(), "copy".into()).unwrap();
    assert!(after.view().find(b"x/f").node().is_some());
    let made = make(&means, &planned).await.unwrap();
    assert_eq!(lines(&means, &made[0]), ["x/ 755 0", "x/f 640 0 from the context", "x/t 640 0 text"]);
    std::fs::write(folder.path().join("f"), "from the CONTEXT").unwrap();
    assert!(make(&means, &first).await.is_err(), "a file that changed is refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_source_turns_out_to_lack_is_named() {
    let store = tempfile::tempdir().unwrap();
    let (registry, source, _) = image().await;
    let means = means(store.path(), registry);
    let arguments = arguments(&["/data/dd"], "/x");
    let (planned, _) = plan_copy(&source, &View::unknown(), &arguments, &StageFiles::default(), "copy".into()).unwrap();
    let error = make(&means, &planned).await.err().unwrap();
    assert_eq!(error.to_string(), "`/data/dd` is not in tools");
}
