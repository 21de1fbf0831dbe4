//! Pushing an image of 30 layers to a registry 20 ms away, beside `crane push`; and again when one layer is new.
//!
//! `cargo bench --bench push`. The embedded registry stands behind a proxy on loopback that holds every answer back for
//! 20 ms and slows nothing down. The fastest of five pushes counts, each to a repository of its own. Without crane (on
//! the PATH, or by `CRANE`) its column is left out, and said to be.
#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lapstrake::oci::media_type::{OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST};
use lapstrake::oci::{Descriptor, Digest};
use lapstrake::serve::{RequestLine, ServeOptions, Server};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const LAYERS: u64 = 30;
const LAYER_BYTES: usize = 256 << 10;
const DELAY: Duration = Duration::from_millis(20);
const ROUNDS: u32 = 5;
/// The most that our time may be of crane's.
const RATIO: f64 = 0.6;
/// The most requests of a push of which one layer is new.
const REQUESTS: usize = 34;

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let observer = Arc::clone(&seen);
    let options = ServeOptions {
        durable: false,
        observer: Some(Arc::new(move |line: &RequestLine| {
            observer.lock().unwrap().push(format!("{} {}", line.method, line.path));
        })),
        ..ServeOptions::new(folder.path().join("registry"))
    };
    let running = runtime.block_on(Server::bind(options)).unwrap();
    let address = runtime.block_on(delayed(running.address()));
    let _running = {
        let _inside = runtime.enter();
        running.spawn()
    };
    let requests = || std::mem::take(&mut *seen.lock().unwrap()).len();

    let first = layout(&folder.path().join("first"), 0..LAYERS);
    let second = layout(&folder.path().join("second"), 1..LAYERS + 1);
    println!("{LAYERS} layers of {} KiB, every answer {} ms late", LAYER_BYTES >> 10, DELAY.as_millis());
    let ours = fastest(|round| lapstrake(folder.path(), &first, &format!("{address}/ours/all{round}:1")));
    println!("lapstrake copy: {:.3} s, {} requests", ours.as_secs_f64(), requests() / ROUNDS as usize);
    let crane = crane().map(|crane| fastest(|round| push(&crane, &first, &format!("{address}/crane/all{round}:1"))));
    let theirs = requests() / ROUNDS as usize;
    match crane {
        Some(crane) => {
            let ratio = ours.as_secs_f64() / crane.as_secs_f64();
            println!("crane push:     {:.3} s, {theirs} requests", crane.as_secs_f64());
            println!("ratio:          {ratio:.2} (at most {RATIO})");
            assert!(ratio <= RATIO, "{ratio:.2} of crane's time");
        }
        None => println!("crane push:     skipped: crane is not installed"),
    }
    requests();
    for (name, target) in [("the same", "all0:1"), ("a new", "all1:2")] {
        let again = lapstrake(folder.path(), &second, &format!("{address}/ours/{target}"));
        let count = requests();
        println!("lapstrake copy, 29 layers there, under {name} tag: {:.3} s, {count} requests", again.as_secs_f64());
        assert!(count <= REQUESTS, "{count} requests");
    }
    let same = lapstrake(folder.path(), &second, &format!("{address}/ours/all0:1"));
    println!("lapstrake copy, unchanged: {:.3} s, {} requests", same.as_secs_f64(), requests());
}

/// The fastest of some rounds.
fn fastest(mut round: impl FnMut(u32) -> Duration) -> Duration {
    (0..ROUNDS).map(&mut round).min().unwrap()
}

fn lapstrake(home: &Path, layout: &Path, target: &str) -> Duration {
    let mut command = command(Path::new(env!("CARGO_BIN_EXE_lapstrake")), home);
    command.args(["copy", "--quiet", &format!("oci:{}", layout.display()), target]);
    timed(command)
}

fn push(crane: &Path, layout: &Path, target: &str) -> Duration {
    let mut command = command(crane, layout);
    command.arg("push").arg(layout).arg(target);
    timed(command)
}

#[expect(clippy::disallowed_methods, reason = "programs are what is measured")]
fn command(program: &Path, home: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("HOME", home).env("LAPSTRAKE_STORE", home.join("store"));
    command
}

fn timed(mut command: Command) -> Duration {
    let started = Instant::now();
    let output = command.output().unwrap();
    let elapsed = started.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    elapsed
}

#[expect(clippy::disallowed_methods, reason = "a benchmark finds its peer where its caller does")]
fn crane() -> Option<PathBuf> {
    let named = std::env::var_os("CRANE").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    named.into_iter().chain(std::env::split_paths(&path).map(|folder| folder.join("crane"))).find(|file| file.is_file())
}

/// An OCI layout of one image with a layer for each number.
fn layout(folder: &Path, numbers: std::ops::Range<u64>) -> PathBuf {
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    let put = |media_type: &str, bytes: &[u8]| {
        let descriptor = Descriptor::of(media_type, bytes);
        std::fs::write(blobs.join(descriptor.digest.hex()), bytes).unwrap();
        descriptor
    };
    let layers: Vec<(Descriptor, Digest)> = numbers
        .map(|number| {
            let bytes = stored_gzip(&noise(number, LAYER_BYTES));
            (put(OCI_LAYER_GZIP, &bytes), Digest::of(&noise(number, LAYER_BYTES)))
        })
        .collect();
    let diff_ids: Vec<&Digest> = layers.iter().map(|(_, diff_id)| diff_id).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = put(OCI_CONFIG, config.to_string().as_bytes());
    let layers: Vec<&Descriptor> = layers.iter().map(|(layer, _)| layer).collect();
    let manifest = json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config, "layers": layers});
    let manifest = put(OCI_MANIFEST, manifest.to_string().as_bytes());
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [manifest]});
    std::fs::write(folder.join("index.json"), index.to_string()).unwrap();
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    folder.to_owned()
}

/// Bytes that do not compress, and differ by seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length / 8).flat_map(|_| next().to_le_bytes()).collect()
}

/// A gzip member around `bytes`, not compressed.
fn stored_gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    std::io::Write::write_all(&mut encoder, bytes).unwrap();
    encoder.finish().unwrap()
}

/// An address in front of `server` whose answers come [`DELAY`] later.
async fn delayed(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let Ok(server) = TcpStream::connect(server).await else { return };
                // Without it the delay of small writes would be ours and not the registry's.
                let _ = (client.set_nodelay(true), server.set_nodelay(true));
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let there = async move {
                    let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
                    let _ = to_server.shutdown().await;
                };
                let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
                let read = async move {
                    let mut buffer = vec![0; 64 << 10];
                    while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                        let _ = sender.send((Instant::now() + DELAY, buffer[..count].to_vec()));
                    }
                };
                let back = async move {
                    while let Some((due, bytes)) = receiver.recv().await {
                        tokio::time::sleep_until(due.into()).await;
                        if to_client.write_all(&bytes).await.is_err() {
                            return;
                        }
                    }
                };
                tokio::join!(there, read, back);
            });
        }
    });
    address
}
