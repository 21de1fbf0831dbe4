//! The ledger under strain: many writers, killed writers, damaged files; and what of it may be used again.

use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use lapstrake::oci::{Descriptor, MediaType, Reference, media_type};
use lapstrake::ops::{self, Means};
use lapstrake::registry::{Chain, Memory, Registry as _};
use lapstrake::resolver::child::ChildEnvironment;
use lapstrake::store::ledger::{
    BuildId, BuildRecord, ImageRecord, Ledger, LedgerError, Moment, Query, Versions, Wanted,
};

use crate::support::means::Parts;
use crate::support::yard::{Ran, Yard};

fn record(number: usize) -> BuildRecord {
    let image = |key: &str| {
        let name = format!("registry.example/app@sha256:{number:064x}");
        let step_name = key.strip_suffix(".orchestrator").map(str::to_owned);
        let dockerfile = Some("FROM a\n".repeat(99));
        (key.to_owned(), ImageRecord { image: name, dockerfile, step_name, ..ImageRecord::default() })
    };
    BuildRecord {
        id: BuildId::parse(&format!("{number:032x}")).unwrap(),
        created: Moment::of_seconds(1_000_000_000 + number as u64),
        pipeline: Some("train".to_owned()),
        stack: Some("cloud".to_owned()),
        stack_checksum: None,
        versions: Versions { python: Some("3.12.4".to_owned()), zenml: Some("0.98.0".to_owned()), lapstrake: None },
        checksum: Some("5f".to_owned()),
        is_local: false,
        contains_code: false,
        images: [image("orchestrator"), image("step.orchestrator")].into(),
        duration_seconds: Some(1.5),
    }
}

fn all(ledger: &Ledger) -> Vec<BuildRecord> {
    ledger.list(&Query::default()).unwrap().builds
}

fn is_sound(path: &Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    let found: String = connection.query_row("PRAGMA integrity_check", (), |row| row.get(0)).unwrap();
    assert_eq!(found, "ok");
}

/// Files of records to import, `count` from `first` on.
fn files(folder: &Path, first: usize, count: usize) -> Vec<PathBuf> {
    let write = |number: usize| {
        let path = folder.join(format!("{number}.yaml"));
        std::fs::write(&path, record(number).to_yaml()).unwrap();
        path
    };
    (first..first + count).map(write).collect()
}

fn importing(yard: &Yard, ledger: &Path, files: &[PathBuf]) -> Child {
    let mut command = yard.command("store");
    command.env("LAPSTRAKE_LEDGER", ledger).args(["builds", "import"]).args(files).spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_processes_write_one_ledger_that_none_of_them_found() {
    let yard = Yard::with_ledger().await;
    let ledger = yard.path("data/deep/ledger.db");
    let children: Vec<Child> =
        (0..8).map(|at| importing(&yard, &ledger, &files(&yard.path(""), at * 20, 20))).collect();
    for child in children {
        let ran: Ran = child.wait_with_output().unwrap().into();
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    }
    let mut found = all(&Ledger::open(&ledger).unwrap());
    found.reverse();
    assert_eq!(found, (0..160).map(record).collect::<Vec<_>>());
    is_sound(&ledger);
}

#[test]
fn eight_threads_write_one_ledger_each_through_its_own_connection() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    std::thread::scope(|scope| {
        for at in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let ledger = Ledger::open(path).unwrap();
                for number in at * 25..at * 25 + 25 {
                    assert!(ledger.put(&mut record(number)).unwrap());
                }
            });
        }
    });
    assert_eq!(all(&Ledger::open(&path).unwrap()).len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_that_are_killed_leave_whole_records() {
    let yard = Yard::with_ledger().await;
    let ledger = yard.path("ledger.db");
    let files = files(&yard.path(""), 0, 300);
    let mut before = 0;
    for round in 0..8 {
        let mut child = importing(&yard, &ledger, &files);
        // The later rounds kill writers that are further on.
        let deadline = Instant::now() + Duration::from_secs(20);
        let enough = before + 10 + round;
        let count = || Ledger::read(&ledger, &yard.path("")).unwrap().list(&Query::default()).unwrap().total;
        while count() < enough as u64 && child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let found = all(&Ledger::open(&ledger).unwrap());
        assert!(found.len() >= enough.min(300), "{} of {enough}", found.len());
        for found in &found {
            let number = usize::from_str_radix(found.id.as_str(), 16).unwrap();
            assert_eq!(*found, record(number));
        }
        is_sound(&ledger);
        before = found.len();
    }
    let ran: Ran = importing(&yard, &ledger, &files).wait_with_output().unwrap().into();
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert_eq!(all(&Ledger::open(&ledger).unwrap()).len(), 300);
}

#[test]
fn a_damaged_file_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&path).unwrap();
    for number in 0..200 {
        ledger.put(&mut record(number)).unwrap();
    }
    drop(ledger);
    let log = folder.path().join("ledger.db-wal");
    rusqlite::Connection::open(&path).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    assert!(!log.exists() || log.metadata().unwrap().len() == 0);
    let mut bytes = std::fs::read(&path).unwrap();
    let length = bytes.len();
    bytes[4096..length - 4096].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let error = Ledger::open(&path).and_then(|ledger| ledger.list(&Query::default())).unwrap_err();
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
}

#[test]
fn passwords_in_urls_are_nowhere_in_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger.db");
    let ledger = Ledger::open(&path).unwrap();
    let mut with_secret = record(1);
    let text = "--index-url https://me:canary5f1c@host/simple\nnumpy\n".to_owned();
    for image in with_secret.images.values_mut() {
        image.requirements = Some(text.clone());
        image.dockerfile = Some(format!("FROM a\nRUN pip install {text}"));
    }
    ledger.put(&mut with_secret).unwrap();
    assert_eq!(
        with_secret.images["orchestrator"].requirements.as_deref(),
        Some("--index-url https://****@host/simple\nnumpy\n")
    );
    for name in ["ledger.db", "ledger.db-wal"] {
        let bytes = std::fs::read(folder.path().join(name)).unwrap();
        assert!(!bytes.windows(10).any(|window| window == b"canary5f1c"), "{name}");
    }
    assert_eq!(all(&ledger), [with_secret]);
}

/// What ZenML's `find_existing_build` would ask for.
fn wanted() -> Wanted {
    Wanted {
        checksum: "5f".to_owned(),
        stack: Some("cloud".to_owned()),
        pipeline: None,
        zenml: Some("0.98.0".to_owned()),
        python: Some("3.12.11".to_owned()),
    }
}

#[test]
fn builds_are_used_again_under_zenmls_conditions_and_the_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("ledger.db")).unwrap();
    let changes: [fn(&mut BuildRecord); 9] = [
        |_| {},
        |record| record.pipeline = Some("serve".to_owned()),
        |record| record.is_local = true,
        |record| record.contains_code = true,
        |record| record.stack = None,
        |record| record.checksum = Some("60".to_owned()),
        |record| record.versions.zenml = Some("0.97.0".to_owned()),
        |record| record.versions.python = Some("3.1.2".to_owned()),
        |record| record.versions.python = None,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut record = record(number);
        change(&mut record);
        ledger.put(&mut record).unwrap();
    }
    let found = |wanted: &Wanted| {
        let found = ledger.reusable(wanted, 9).unwrap();
        found.iter().map(|record| usize::from_str_radix(record.id.as_str(), 16).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(found(&wanted()), [1, 0]);
    assert_eq!(ledger.reusable(&wanted(), 1).unwrap().len(), 1);
    assert_eq!(found(&Wanted { pipeline: Some("train".to_owned()), ..wanted() }), [0]);
    assert_eq!(found(&Wanted { python: Some("3.1".to_owned()), ..wanted() }), [7]);
    assert_eq!(found(&Wanted { python: None, ..wanted() }), [8, 7, 1, 0]);
    assert_eq!(found(&Wanted { stack: None, ..wanted() }), [4]);
    assert_eq!(found(&Wanted { zenml: None, ..wanted() }), [6, 1, 0]);
}

#[tokio::test]
async fn a_build_is_used_again_only_where_all_its_images_are_still_there() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("ledger.db")).unwrap();
    let memory = Memory::new();
    let means = means(&memory, folder.path());
    let at = Reference::parse("registry.example/app:1").unwrap().repository();
    let mut there = Vec::new();
    for number in 0..2 {
        let manifest = format!("{{\"schemaVersion\":2,\"manifests\":[],\"annotations\":{{\"a\":\"{number}\"}}}}");
        let kind = MediaType::new(media_type::OCI_INDEX);
        let index = Descriptor::of(media_type::OCI_INDEX, manifest.as_bytes());
        memory.push_manifest(&Reference::pinned(&at, &index.digest), &kind, manifest.as_bytes()).await.unwrap();
        there.push(index.digest);
    }
    for number in 0..3 {
        let mut record = record(number);
        for image in record.images.values_mut() {
            if let Some(digest) = there.get(number) {
                image.image = Reference::pinned(&at, digest).to_string();
            }
        }
        ledger.put(&mut record).unwrap();
    }
    let find = async |registry| {
        let found = ops::find_reusable_build(&means, &ledger, &wanted(), registry).await.unwrap();
        found.map(|record| usize::from_str_radix(record.id.as_str(), 16).unwrap())
    };
    assert_eq!(find(None).await, Some(1), "the newest one's images are gone");
    assert_eq!(find(Some("registry.example")).await, Some(1));
    assert_eq!(find(Some("other.example")).await, None);
    let gone = ops::still_there(&means, &ledger.find(&format!("{:032x}", 2)).unwrap()).await.unwrap();
    assert_eq!(gone, [format!("registry.example/app@sha256:{:064x}", 2)]);
    let mut local = record(3);
    local.images.values_mut().for_each(|image| image.image = "oci:out@sha256:00".to_owned());
    assert_eq!(ops::still_there(&means, &local).await.unwrap(), ["oci:out@sha256:00"]);
    memory.delete(&Reference::pinned(&at, &there[1])).await.unwrap();
    assert_eq!(find(None).await, Some(0));
}

fn means(memory: &Memory, folder: &Path) -> Means {
    let parts = Parts {
        registry: Some(std::sync::Arc::new(memory.clone())),
        environment: ChildEnvironment::default(),
        keychain: std::sync::Arc::new(Chain(Vec::new())),
        reporter: std::sync::Arc::new(lapstrake::event::Silent),
    };
    crate::support::means::means(parts, &folder.join("store"))
}

#[test]
fn names_are_found_by_their_beginnings() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&folder.path().join("ledger.db")).unwrap();
    for number in [0x10, 0x11, 0x2f] {
        ledger.put(&mut record(number)).unwrap();
    }
    let zeros = "0".repeat(30);
    assert_eq!(ledger.find(&format!("{zeros}2")).unwrap(), record(0x2f));
    assert!(matches!(ledger.find(&zeros), Err(LedgerError::Ambiguous { candidates, .. }) if candidates.len() == 3));
    assert!(matches!(ledger.find("f"), Err(LedgerError::Unknown(_))));
    assert!(matches!(ledger.find("_"), Err(LedgerError::NotAName(_))));
    assert!(ledger.delete(&record(0x10).id).unwrap());
    assert!(!ledger.delete(&record(0x10).id).unwrap());
    assert_eq!(ledger.by_id(&record(0x11).id).unwrap(), Some(record(0x11)));
}
