//! The local store: what is put is what is read, or it is absent.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use lapstrake::diagnostic::Diagnose as _;
use lapstrake::oci::Digest;
use lapstrake::store::{Damage, PruneOptions, Store, StoreError};

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    (folder, store)
}

fn everything() -> PruneOptions {
    PruneOptions { now: in_days(0), older_than: None, keep_bytes: None, everything: true }
}

/// The tests' clock; the library has none.
#[expect(clippy::disallowed_methods, reason = "the tests need the time that the kernel stamps files with")]
fn in_days(days: u64) -> SystemTime {
    SystemTime::now() + Duration::from_secs(days * 24 * 60 * 60 + 1)
}

fn temporaries(store: &Store) -> usize {
    let usage = store.usage().unwrap();
    usage.iter().filter(|kind| kind.kind == "temporary").map(|kind| usize::try_from(kind.entries).unwrap()).sum()
}

#[test]
fn blob_is_read_back_by_another_opening_of_the_store() {
    let (_folder, store) = store();
    let digest = store.put(b"hello").unwrap();
    let mut writer = store.writer().unwrap();
    writer.write_all(b"streamed").unwrap();
    let streamed = Digest::of(b"streamed");
    assert_eq!(store.contains(&streamed), None);
    writer.commit(&streamed).unwrap();

    let again = Store::open(store.root()).unwrap();
    assert_eq!(again.contains(&digest), Some(5));
    assert_eq!(again.read(&digest, 5).unwrap().as_deref(), Some(&b"hello"[..]));
    assert!(matches!(again.read(&digest, 4), Err(StoreError::TooLarge { size: 5, cap: 4, .. })));
    let mut text = String::new();
    again.open_blob(&streamed).unwrap().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "streamed");
    assert_eq!(again.read(&Digest::of(b"never"), 9).unwrap(), None);
}

#[test]
fn writer_that_is_dropped_leaves_nothing() {
    let (_folder, store) = store();
    let mut writer = store.writer_for(4 << 20).unwrap();
    writer.write_all(b"half").unwrap();
    assert_eq!(temporaries(&store), 1);
    drop(writer);
    assert_eq!(temporaries(&store), 0);
}

type Damaging = fn(&Path);

/// Ways in which a file may be damaged behind the store's back.
const DAMAGES: [(&str, Damaging); 6] = [
    ("flipped", |path| {
        let mut bytes = fs::read(path).unwrap();
        bytes[3] ^= 1;
        fs::write(path, bytes).unwrap();
    }),
    ("truncated", |path| {
        let bytes = fs::read(path).unwrap();
        fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    }),
    ("emptied", |path| fs::write(path, b"").unwrap()),
    ("link to the same bytes", |path| {
        let elsewhere = path.with_extension("elsewhere");
        fs::rename(path, &elsewhere).unwrap();
        symlink(&elsewhere, path).unwrap();
    }),
    ("folder", |path| {
        fs::remove_file(path).unwrap();
        fs::create_dir(path).unwrap();
    }),
    ("pipe", |path| {
        fs::remove_file(path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
    }),
];

#[test]
fn damaged_blob_is_absent_and_can_be_put_again() {
    for (name, damage) in DAMAGES {
        let (_folder, store) = store();
        let digest = store.put(b"some bytes").unwrap();
        damage(&store.path(&digest));
        let fresh = Store::open(store.root()).unwrap();
        assert!(fresh.open_blob(&digest).unwrap().is_none(), "{name}");
        assert!(fs::symlink_metadata(fresh.path(&digest)).is_err(), "{name} is left");
        assert_eq!(fresh.put(b"some bytes").unwrap(), digest, "{name}");
        assert!(fresh.verified(&digest).unwrap().is_some(), "{name}");
    }
}

#[test]
fn damaged_blob_is_replaced_by_a_writer() {
    for (name, damage) in DAMAGES {
        let (_folder, store) = store();
        let digest = store.put(b"some bytes").unwrap();
        damage(&store.path(&digest));
        let mut writer = store.writer().unwrap();
        writer.write_all(b"some bytes").unwrap();
        writer.commit(&digest).unwrap();
        let fresh = Store::open(store.root()).unwrap();
        assert!(fresh.open_blob(&digest).unwrap().is_some(), "{name}");
    }
}

#[test]
fn damaged_record_is_absent() {
    for (name, damage) in DAMAGES {
        let (_folder, store) = store();
        store.put_record("layers", "a key\nwith a line", b"value").unwrap();
        let path = only_file(&store.root().join("records"));
        damage(&path);
        assert_eq!(store.record("layers", "a key\nwith a line").unwrap(), None, "{name}");
        store.put_record("layers", "a key\nwith a line", b"other").unwrap();
        assert_eq!(store.record("layers", "a key\nwith a line").unwrap().as_deref(), Some(&b"other"[..]), "{name}");
    }
}

#[expect(clippy::disallowed_methods, reason = "looks behind the store's back; each folder holds one name")]
fn only_file(folder: &Path) -> std::path::PathBuf {
    let path = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    if path.is_dir() { only_file(&path) } else { path }
}

#[test]
fn records_of_a_kind_come_in_order_of_their_keys() {
    let (_folder, store) = store();
    for key in ["c", "a", "b"] {
        store.put_record("builds", key, key.as_bytes()).unwrap();
    }
    store.put_record("layers", "z", b"z").unwrap();
    let keys: Vec<_> = store.records("builds").unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(keys, ["a", "b", "c"]);
    store.remove_record("builds", "b").unwrap();
    assert_eq!(store.record("builds", "b").unwrap(), None);
    for kind in ["", "..", "a/b", "Upper"] {
        assert!(matches!(store.record(kind, "a"), Err(StoreError::Kind(_))), "{kind}");
    }
}

#[test]
fn verify_names_every_damaged_entry_and_removes_them_when_asked() {
    let (_folder, store) = store();
    for number in 0..20_u8 {
        store.put(&[number; 100]).unwrap();
    }
    store.put_record("layers", "key", b"value").unwrap();
    assert_eq!(store.verify(false).unwrap().damaged, []);
    let flipped = store.path(&Digest::of(&[3; 100]));
    fs::write(&flipped, b"wrong").unwrap();
    let linked = store.path(&Digest::of(&[4; 100]));
    fs::remove_file(&linked).unwrap();
    symlink("/etc/passwd", &linked).unwrap();
    let stray = store.root().join("blobs/sha256/aa/stray");
    fs::create_dir_all(stray.parent().unwrap()).unwrap();
    fs::write(&stray, b"stray").unwrap();
    let record = only_file(&store.root().join("records"));
    fs::write(&record, b"").unwrap();

    let report = store.verify(true).unwrap();
    assert_eq!(report.entries, 22);
    let damages: Vec<_> = report.damaged.iter().map(|found| (found.path.clone(), found.damage)).collect();
    let mut expected =
        vec![(flipped, Damage::Content), (linked, Damage::Kind), (stray, Damage::Name), (record, Damage::Content)];
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(damages, expected);
    let clean = store.verify(false).unwrap();
    assert_eq!((clean.entries, clean.damaged.len()), (18, 0));
}

#[test]
fn prune_removes_what_was_not_used_for_longest() {
    let (_folder, store) = store();
    let blobs: Vec<_> = (0..4_u8).map(|number| store.put(&[number; 100]).unwrap()).collect();
    for (blob, age) in blobs.iter().zip([40, 30, 20, 10]) {
        let file = fs::File::options().write(true).open(store.path(blob)).unwrap();
        file.set_modified(in_days(0) - Duration::from_secs(age * 24 * 60 * 60)).unwrap();
    }
    assert!(store.open_blob(&blobs[0]).unwrap().is_some(), "a use makes an entry young");
    let month = Duration::from_secs(25 * 24 * 60 * 60);
    let options = PruneOptions { now: in_days(0), older_than: Some(month), keep_bytes: None, everything: false };
    let pruned = store.prune(&options).unwrap();
    assert_eq!((pruned.entries, pruned.bytes, pruned.left, pruned.kept_in_use), (1, 100, 300, 0));
    let options = PruneOptions { older_than: None, keep_bytes: Some(150), ..options };
    assert_eq!(store.prune(&options).unwrap().left, 100);
    assert_eq!(store.contains(&blobs[0]), Some(100));
    assert_eq!(store.prune(&everything()).unwrap().left, 0);
    assert_eq!(store.usage().unwrap(), []);
}

#[test]
fn prune_beside_a_build_keeps_what_the_build_may_need() {
    let (_folder, store) = store();
    let digest = store.put(b"in use").unwrap();
    let build = Store::open(store.root()).unwrap();
    let scratch = build.scratch().unwrap();
    let pruned = store.prune(&everything()).unwrap();
    assert_eq!((pruned.entries, pruned.kept_in_use), (0, 1));
    assert!(build.open_blob(&digest).unwrap().is_some());
    assert!(scratch.path().exists());
    let later = PruneOptions { now: in_days(2), ..everything() };
    assert_eq!(store.prune(&later).unwrap().entries, 1, "nobody uses it for two days");
    drop((scratch, build));

    store.put(b"again").unwrap();
    let clone = store.clone();
    assert_eq!(store.prune(&everything()).unwrap().kept_in_use, 1, "a clone is a build, too");
    drop(clone);
    assert_eq!(store.prune(&everything()).unwrap().entries, 1);
}

#[test]
fn builds_beside_a_prune_in_a_loop_never_miss_what_they_put() {
    let (_folder, store) = store();
    let root = store.root().to_owned();
    let done = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for worker in 0..4_u8 {
            let (root, done) = (&root, &done);
            threads.spawn(move || {
                for round in 0..30_u8 {
                    let store = Store::open(root).unwrap();
                    let digest = store.put(&[worker, round]).unwrap();
                    let shared = store.put(b"wanted by all").unwrap();
                    store.put_record("layers", "key", b"value").unwrap();
                    std::thread::yield_now();
                    assert!(store.open_blob(&digest).unwrap().is_some());
                    assert!(store.open_blob(&shared).unwrap().is_some());
                    assert!(store.record("layers", "key").unwrap().is_some());
                }
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        let mut removed = 0;
        drop(store);
        while done.load(Ordering::SeqCst) < 4 {
            removed += Store::open(&root).unwrap().prune(&everything()).unwrap().entries;
        }
        println!("pruned {removed} entries beside 120 builds");
    });
    assert_eq!(Store::open(&root).unwrap().verify(false).unwrap().damaged, []);
}

#[test]
fn eight_builds_at_once_make_each_entry_once() {
    let folder = tempfile::tempdir().unwrap();
    let made = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        for _ in 0..8 {
            threads.spawn(|| {
                let store = Store::open(&folder.path().join("cold")).unwrap();
                for wheel in 0..20_u8 {
                    let _claim = store.claim(&format!("wheel {wheel}")).unwrap();
                    if store.contains(&Digest::of(&[wheel])).is_none() {
                        made.fetch_add(1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(1));
                        store.put(&[wheel]).unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(made.load(Ordering::SeqCst), 20);
    assert!(fs::remove_dir(folder.path().join("cold/locks")).is_ok(), "claims leave no files");
}

#[test]
fn claim_is_refused_until_it_is_given_back() {
    let (_folder, store) = store();
    let claim = store.claim("a").unwrap();
    assert!(store.try_claim("a").unwrap().is_none());
    assert!(store.try_claim("b").unwrap().is_some());
    drop(claim);
    assert!(store.try_claim("a").unwrap().is_some());
}

#[test]
fn remains_of_killed_processes_are_removed_by_the_next_one_alone() {
    let (_folder, store) = store();
    fs::write(store.root().join("tmp/.part-dead"), b"half").unwrap();
    let second = Store::open(store.root()).unwrap();
    assert_eq!(temporaries(&second), 1, "somebody else is there: it may be theirs");
    let root = store.root().to_owned();
    drop((store, second));
    assert_eq!(temporaries(&Store::open(&root).unwrap()), 0);
}

#[test]
fn folder_of_something_else_or_of_a_later_version_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), b"").unwrap();
    let error = Store::open(folder.path()).unwrap_err();
    assert!(matches!(&error, StoreError::Foreign { found, .. } if found == "thesis.tex"), "{error:?}");
    assert!(error.hint().unwrap().contains("--store"));

    let (_folder, store) = store();
    fs::write(store.root().join("layout"), "lapstrake-store 2\n").unwrap();
    let error = Store::open(store.root()).unwrap_err();
    assert!(matches!(error, StoreError::Newer { found: 2, known: 1, .. }), "{error:?}");
    fs::write(store.root().join("layout"), "").unwrap();
    Store::open(store.root()).unwrap();
    assert_eq!(fs::read_to_string(store.root().join("layout")).unwrap(), "lapstrake-store 1\n");
}

#[test]
fn store_that_cannot_be_made_is_an_error_with_its_path_and_a_temporary_one_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = Store::open(&file.join("store")).unwrap_err();
    assert!(error.to_string().contains("file/store"), "{error}");
    let temporary = Store::temporary(folder.path()).unwrap();
    let digest = temporary.put(b"x").unwrap();
    let root = temporary.root().to_owned();
    let clone = temporary.clone();
    drop(temporary);
    assert!(clone.open_blob(&digest).unwrap().is_some());
    drop(clone);
    assert!(!root.exists());
}
