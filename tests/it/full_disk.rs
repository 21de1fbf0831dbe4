//! A full disk: every writer says where and how much, and what was there before stays whole.
//!
//! Needs the path of an empty, writable file system of 2 to 16 MiB in `LAPSTRAKE_SMALL_FS`.

use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use lapstrake::diagnostic::Diagnose as _;
use lapstrake::oci::media_type::OCI_LAYER;
use lapstrake::oci::{Descriptor, Digest};
use lapstrake::serve::{ServeOptions, Server};
use lapstrake::store::ledger::{BuildId, BuildRecord, Ledger, LedgerError, Moment, Query};
use lapstrake::store::{DockerArchive, ImageSink, OciLayout, SinkError, Store, StoreError};

const TOO_MUCH: usize = 20 << 20;

#[expect(clippy::disallowed_methods, reason = "only a caller can mount a small file system")]
fn small_file_system() -> Option<PathBuf> {
    let found = std::env::var_os("LAPSTRAKE_SMALL_FS").map(PathBuf::from);
    if found.is_none() {
        println!("skipped: LAPSTRAKE_SMALL_FS is not set");
    }
    found
}

fn is_full(error: &StoreError, wanted: u64) {
    assert!(matches!(error, StoreError::Full { need: Some(need), .. } if *need >= wanted), "{error:?}");
    assert!(error.hint().unwrap().contains("free some space"), "{error}");
}

#[tokio::test]
async fn every_writer_names_the_place_and_the_need_and_leaves_no_rest() {
    let Some(root) = small_file_system() else { return };
    let bytes = vec![7; TOO_MUCH];
    let store = Store::open(&root.join("store")).unwrap();
    let kept = store.put(b"kept").unwrap();
    is_full(&store.put(&bytes).unwrap_err(), TOO_MUCH as u64);
    is_full(&store.writer_for(TOO_MUCH as u64).unwrap_err(), TOO_MUCH as u64);
    is_full(&store.put_record("layers", "key", &bytes).unwrap_err(), TOO_MUCH as u64);
    let mut writer = store.writer().unwrap();
    let error = writer.write_all(&bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert!(error.to_string().contains("store"), "{error}");
    drop(writer);
    let whole = store.verify(false).unwrap();
    assert_eq!((whole.entries, whole.damaged.len()), (1, 0));
    assert!(store.open_blob(&kept).unwrap().is_some());

    let blob = Descriptor::of(OCI_LAYER, &bytes);
    let sinks: [Box<dyn ImageSink>; 2] = [
        Box::new(OciLayout::create(&root.join("layout"), None).unwrap()),
        Box::new(DockerArchive::create(&root.join("a.tar"), &[]).unwrap()),
    ];
    for mut sink in sinks {
        match sink.put_blob(&blob, &mut bytes.as_slice()).unwrap_err() {
            SinkError::Storage(error) => is_full(&error, TOO_MUCH as u64),
            other => panic!("{other:?}"),
        }
    }
    assert!(!root.join("a.tar").exists());

    let server = Server::bind(ServeOptions::new(root.join("registry"))).await.unwrap().spawn();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let base = format!("http://{}/v2/a/blobs/uploads/", server.address());
    let push = |bytes: Vec<u8>| client.post(format!("{base}?digest={}", Digest::of(&bytes))).body(bytes).send();
    // The server answers and hangs up before all is sent, which a client may see as either.
    if let Ok(answer) = push(bytes).await {
        assert_eq!(answer.status(), 507);
    }
    assert_eq!(push(b"small".to_vec()).await.unwrap().status(), 201);
    ledger_says_so_and_takes_what_there_is_room_for(&root.join("ledger.db"));
}

fn ledger_says_so_and_takes_what_there_is_room_for(path: &Path) {
    let ledger = Ledger::open(path).unwrap();
    let record = |id: u8| {
        let text = "is_local: true\ncontains_code: false\nimages: {orchestrator: {image: a}}\n";
        BuildRecord::from_yaml(text, "f", BuildId::of_random([id; 16]), Moment::of_seconds(0)).unwrap()
    };
    let mut large = record(1);
    large.images.values_mut().for_each(|image| image.requirements = Some("x".repeat(TOO_MUCH)));
    let error = ledger.put(&mut large).unwrap_err();
    assert!(matches!(&error, LedgerError::Full { path: at } if at == path), "{error:?}");
    assert!(ledger.put(&mut record(2)).unwrap());
    let found = ledger.list(&Query::default()).unwrap().builds;
    assert_eq!(found, [record(2)]);
}
